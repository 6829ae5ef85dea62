import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { uuid7 } from "../../static/js/uuid7.js";
import { checkFor, knowsPin, lockedAt, tryToOpen } from "../../static/js/offline/lock.js";
import { openStore } from "../../static/js/offline/store.js";

/** As the account page makes it (fieldapp/accounts/passwords.py, phone_check) for the PIN 5937, with fewer rounds. */
const PIN = { salt: "AAECAwQFBgcICQoLDA0ODw==", iterations: 1000, hash: "" };
const silent = { ask: async () => false };
let store;

beforeEach(async () => {
  store = await openStore(uuid7());
  PIN.hash = await pbkdf2("5937", PIN);
});

async function pbkdf2(secret, { salt, iterations }) {
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: Buffer.from(salt, "base64"), iterations }, key, 256);
  return Buffer.from(bits).toString("base64");
}

test("a value that the server made opens here", async () => {
  // hashlib.pbkdf2_hmac("sha256", b"5937", bytes(range(16)), 1000)
  assert.equal(PIN.hash, "JmalBpoJ8YS1bS7pBlT948tetZbnyKu2nPCHA4NOU9E=");
});

test("nothing is locked until the phone is handed over", async () => {
  assert.equal(await lockedAt(store), "");

  await store.put("meta", { visit: "v", path: "/visits/v/record", since: "", code: null }, "lock");

  assert.equal(await lockedAt(store), "/visits/v/record");
});

test("the PIN opens without signal, another does not", async () => {
  assert.equal(await knowsPin(store), false);
  await store.put("meta", PIN, "pin");

  assert.equal(await knowsPin(store), true);
  assert.deepEqual(await tryToOpen(store, "0000", silent), { state: "wrong" });
  assert.deepEqual(await tryToOpen(store, " ", silent), { state: "empty" });
  assert.deepEqual(await tryToOpen(store, "5937", silent), { state: "right" });
});

test("without a PIN the code of this hand-over opens", async () => {
  await store.put("meta", null, "pin");
  await store.put("meta", { visit: "v", path: "/", since: "", code: await checkFor("4711") }, "lock");

  assert.deepEqual(await tryToOpen(store, "5937", silent), { state: "wrong" });
  assert.deepEqual(await tryToOpen(store, "4711", silent), { state: "right" });
});

test("what is not known here is asked of the office", async () => {
  const asked = [];
  const ask = async (secret) => asked.push(secret) > 0;

  assert.deepEqual(await tryToOpen(store, "a long password", { ask }), { state: "right" });
  assert.deepEqual(asked, ["a long password"]);
});

test("the office is asked for this phone's person, whoever is logged in by now", async (t) => {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (url, { headers }) => {
    asked.push([url, headers["X-User"]]);
    return new Response('{"taken_back": true}', { headers: { "Content-Type": "application/json" } });
  });

  assert.deepEqual(await tryToOpen(store, "a long password"), { state: "right" });
  assert.deepEqual(asked, [["/taking-back", store.user]]);
});

test("after five wrong tries each further one waits longer, also after a reload", async () => {
  let at = 1_000_000;
  const now = () => at;
  await store.put("meta", PIN, "pin");
  for (let i = 0; i < 5; i += 1) assert.deepEqual(await tryToOpen(store, "0000", { now, ...silent }), { state: "wrong" });

  assert.deepEqual(await tryToOpen(store, "5937", { now, ...silent }), { state: "wait", seconds: 5 });
  at += 4_000;
  assert.deepEqual(await tryToOpen(store, "5937", { now, ...silent }), { state: "wait", seconds: 1 });
  at += 1_000;
  assert.deepEqual(await tryToOpen(store, "0000", { now, ...silent }), { state: "wrong" });
  assert.deepEqual(await tryToOpen(store, "5937", { now, ...silent }), { state: "wait", seconds: 10 });
  at += 10_000;
  assert.deepEqual(await tryToOpen(store, "5937", { now, ...silent }), { state: "right" });
  assert.deepEqual(await tryToOpen(store, "0000", { now, ...silent }), { state: "wrong" }, "counted anew");
});

test("a clock that was set back locks nobody out", async () => {
  await store.put("meta", PIN, "pin");
  for (let i = 0; i < 5; i += 1) await tryToOpen(store, "0000", { now: () => 900_000_000_000, ...silent });

  assert.deepEqual(await tryToOpen(store, "5937", { now: () => 1_000_000, ...silent }), { state: "right" });
});
