/** Laying in the pack: a fake office and cache, the real store. */
import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { readyOf, refreshPack } from "../../static/js/offline/pack.js";
import { openStore } from "../../static/js/offline/store.js";
import { isIdle } from "../../static/js/offline/update.js";
import { keepToOneself } from "../../static/js/offline/session.js";
import { FakeCaches } from "./caches.mjs";

let number = 0;
let store;
let office;

/** Answers as the office does: the list, and pages that carry their person's mark. */
class Office {
  constructor(user) {
    this.user = user;
    this.pages = new Map();
    this.asked = [];
    this.atOnce = this.most = 0;
  }

  has(url, digest, more = {}) {
    this.pages.set(url, { url, digest, first: true, visit: null, day: null, text: `<p>${url} ${digest}</p>`, ...more });
    return this;
  }

  fetch = async (url) => {
    this.asked.push(url);
    if (url === "/offline/pack") return Response.json({ user: this.user, build: "b1", made_at: "", pages: [...this.pages.values()] });
    this.most = Math.max(this.most, (this.atOnce += 1));
    await new Promise((done) => setImmediate(done));
    this.atOnce -= 1;
    const { text, status = 200, mark = this.user, silent = false, build = "b1" } = this.pages.get(url);
    if (silent) throw new TypeError("no network");
    return new Response(text, { status, headers: { "Content-Type": "text/html", "Content-Security-Policy": "default-src 'none'", Vary: "Cookie", "X-Fieldapp-Build": build, ...(mark && { "X-Fieldapp-Page": mark }) } });
  };
}

beforeEach(async () => {
  number += 1;
  globalThis.caches = new FakeCaches("http://127.0.0.1");
  store = await openStore(`user-${number}`);
  office = new Office(store.user);
});

const refresh = (edges = {}) => refreshPack(store, { fetch: office.fetch, thrifty: false, ...edges });
const kept = async () => (await (await caches.open(`pack-${store.user}`)).keys()).map(({ url }) => new URL(url).pathname + new URL(url).search);
const read = async (url) => (await (await caches.open(`pack-${store.user}`)).match(url))?.text();

test("every page is fetched, kept and read back; the visit is ready", async () => {
  office.has("/", "d1", { day: "2026-11-21" }).has("/visits/1", "d2", { visit: "1" }).has("/visits/1/record", "d2", { visit: "1" });

  const laid = await refresh();

  assert.deepEqual([laid.whole, laid.ready, laid.build], [true, ["1"], "b1"]);
  assert.deepEqual(await store.get("meta", "pack"), laid);
  assert.equal(await read("/visits/1/record"), "<p>/visits/1/record d2</p>");
  const { headers } = await (await caches.open(`pack-${store.user}`)).match("/");
  assert.equal(headers.get("X-Fieldapp-Day"), "2026-11-21");
  assert.equal(headers.get("Content-Security-Policy"), "default-src 'none'", "a page of the pack is as strict as one of the office");
});

test("only what changed is fetched again, and what is no longer listed leaves", async () => {
  office.has("/", "d1").has("/visits/1", "d2").has("/?day=2026-11-22", "d3");
  await refresh();
  office.asked = [];
  office.pages.delete("/visits/1");
  office.has("/?day=2026-11-22", "d4");

  await refresh();

  assert.deepEqual(office.asked, ["/offline/pack", "/?day=2026-11-22"]);
  assert.deepEqual((await kept()).sort(), ["/", "/?day=2026-11-22"]);
  assert.equal(await read("/?day=2026-11-22"), "<p>/?day=2026-11-22 d4</p>");
});

test("at most four pages at a time", async () => {
  for (let i = 0; i < 12; i += 1) office.has(`/visits/${i}`, "d");

  await refresh();

  assert.equal(office.most, 4);
  assert.equal((await kept()).length, 12);
});

test("a log-in page, a captive portal's or an error is never kept, and the visit is not ready", async () => {
  office.has("/visits/1", "d", { visit: "1" }).has("/visits/1/record", "d", { visit: "1", mark: null }).has("/visits/2", "d", { visit: "2", status: 404 }).has("/visits/3", "d", { visit: "3", mark: "another" });

  const laid = await refresh();

  assert.deepEqual(await kept(), ["/visits/1"]);
  assert.deepEqual(laid.ready, []);
});

test("while the office changes builds, a page of the other one is not kept: its scripts are not here", async () => {
  office.has("/visits/1", "d", { visit: "1" }).has("/visits/1/record", "d", { visit: "1", build: "b0" });
  const during = await refresh();
  office.has("/visits/1/record", "d", { visit: "1" });
  const after = await refresh();

  assert.deepEqual([during.ready, during.whole, after.ready, after.whole], [[], false, ["1"], true]);
});

test("when the signal goes, what is there stays and the rest is left for another time", async () => {
  office.has("/visits/1", "d", { visit: "1" });
  await refresh();
  office.has("/visits/2", "d", { visit: "2", silent: true });
  for (let i = 3; i < 12; i += 1) office.has(`/visits/${i}`, "d", { visit: String(i) });

  const laid = await refresh();

  assert.equal(laid.whole, false);
  assert.ok(laid.ready.includes("1"));
  assert.ok(!laid.ready.includes("2"));
  assert.ok(office.asked.length < 12);
});

test("an answer that is not our list for this person changes nothing", async () => {
  office.has("/", "d");
  await refresh();
  for (const answer of [Response.json({ user: "another", pages: [] }), new Response("<h1>Wi-Fi</h1>"), Response.json({ error: "login_needed" }, { status: 401 })]) {
    assert.equal(await refreshPack(store, { fetch: async () => answer, thrifty: false }), null);
  }
  assert.equal(await refreshPack(store, { fetch: () => Promise.reject(new TypeError()), thrifty: false }), null);

  assert.deepEqual(await kept(), ["/"]);
});

test("a phone that spares data takes along what is needed first", async () => {
  office.has("/", "d").has("/customers/1", "d", { first: false });

  await refresh({ thrifty: true });

  assert.deepEqual(await kept(), ["/"]);
});

test("a page that the cache returns otherwise than it was put is not ready", async () => {
  office.has("/visits/1", "d", { visit: "1" });
  const cache = await caches.open(`pack-${store.user}`);
  cache.put = async () => undefined; // a full phone may drop it without a word

  assert.deepEqual((await refresh()).ready, []);
});

test("a visit is ready when all its pages are", () => {
  const pages = [["/visits/1", "1"], ["/visits/1/record", "1"], ["/visits/2", "2"], ["/visits/2/record", "2"], ["/", null]].map(([url, visit]) => ({ url, visit }));

  assert.deepEqual(readyOf(pages, new Set(["/visits/1", "/visits/1/record", "/visits/2"])), ["1"]);
});

test("the page of a record that was begun here stays, though the visit is somebody else's by now", async () => {
  for (const visit of ["1", "2", "3"]) office.has(`/visits/${visit}/record`, "d1", { visit });
  await refresh();
  await store.put("drafts", { visit: "1" }, "visit:1");
  await store.put("drafts", { visit: "2", sent: "0193" }, "visit:2");
  office.pages.clear();

  await refresh();

  assert.deepEqual(await kept(), ["/visits/1/record"]);
});

test("another person's pages leave, their database stays", async () => {
  await caches.open("pack-another");
  await caches.open(`pack-${store.user}`);
  await caches.open("assets-b1");

  await keepToOneself(store.user);

  assert.deepEqual(await caches.keys(), [`pack-${store.user}`, "assets-b1"]);
});

test("a new version waits for the outbox, not for what only a person can settle", async () => {
  await store.put("sending", { state: "attention", head: { id: "0" } }, "0");
  assert.equal(await isIdle(store), true);
  await store.put("sending", { state: "waiting", head: { id: "1" } }, "1");
  assert.equal(await isIdle(store), false);
});
