import { json, Locks, newStore, Office, settled, sha, until } from "./office.mjs";
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { hear, tell } from "../../static/js/offline/channel.js";
import { enqueue, items, itemOf, tryAgain } from "../../static/js/offline/outbox.js";
import { prune } from "../../static/js/offline/prune.js";
import { Sender } from "../../static/js/offline/sender.js";

const NOON = Date.UTC(2026, 10, 22, 4);
const MINUTE = 60_000;
const gone = () => {
  throw new TypeError("Failed to fetch");
};
const html = (status) => new Response("<h1>Welcome to this Wi-Fi</h1>", { status, headers: { "Content-Type": "text/html" } });

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: NOON });
});

/** A phone of a new person, and the office. */
async function phone(more = {}) {
  const store = await newStore();
  const office = new Office(store.user);
  const locks = new Locks();
  const page = (edges = {}) => new Sender(store, { fetch: office.fetch, random: () => 1, online: () => true, locks: locks.tab(), ...more, ...edges });
  return { store, office, locks, page, sender: page() };
}

/** Queue a step of a visit. */
const step = (store, name = "departure", visit = "v1", more = {}) =>
  enqueue(store, { path: `/visits/${visit}/${name}`, fields: [["a", "b"]], visit, label: name, leadsTo: "traveling", ...more });
const states = async (store) => (await items(store)).map(({ state, reason }) => (reason ? `${state}: ${reason}` : state));
const paths = (office) => office.requests.filter((line) => !line.endsWith("/offline/contact"));

// ---- one item

test("what was queued arrives with all its headers, once, and the receipt is kept", async () => {
  const { store, office, sender } = await phone();
  const item = await step(store, "departure", "v1", { baseRevision: 4 });
  await step(store, "arrival");
  const redirects = [];
  office.answers = [({ redirect }) => void redirects.push(redirect)];

  await sender.wake();

  assert.deepEqual(redirects, ["manual"], "a log-in page behind a redirect is not followed");
  assert.deepEqual(office.received.map(({ path }) => path), ["/visits/v1/departure", "/visits/v1/arrival"]);
  const [{ headers, body }] = office.received;
  assert.equal(body, `a=b&submission_id=${item.id}`);
  assert.deepEqual(headers, {
    Accept: "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
    "Idempotency-Key": item.id,
    "X-Body-SHA256": item.sha256,
    "Content-Digest": `sha-256=:${Buffer.from(item.sha256, "hex").toString("base64")}:`,
    "X-User": store.user,
    "X-Device": await store.get("meta", "device"),
    "X-Sequence": "1",
    "X-Device-At": item.device_at,
    "X-Sent-At": headers["X-Sent-At"],
    "X-Time-Zone": item.zone,
    "X-Base-Revision": "4",
    "X-Form-Version": "2",
    "X-Waiting": "2",
    "X-Oldest": item.device_at,
  });
  assert.equal(Date.parse(headers["X-Sent-At"]), NOON);
  const [received] = await items(store);
  assert.equal(received.state, "received");
  assert.deepEqual([received.receipt.server, received.receipt.epoch, received.receipt.at], ["server-1", 1, new Date(NOON).toISOString()]);
  assert.deepEqual((await itemOf(store, 1)).sha256, item.sha256, "the body stays for an office that forgets");
});

test("conflict and quarantine are received too: the office has it, and says what it did", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [({ body, headers }) => json(200, office.receipt(headers["Idempotency-Key"], body, { outcome: "conflict", sentence: "两边都改了" }))];

  await sender.wake();

  const [item] = await items(store);
  assert.deepEqual([item.state, item.sentence, item.receipt.outcome], ["received", "两边都改了", "conflict"]);
});

for (const [name, answer] of [
  ["X5 a captive portal's page", () => html(200)],
  ["X5 a portal that refuses", () => html(403)],
  ["a log-in page behind a redirect", () => new Response(null, { status: 302, headers: { Location: "/login" } })],
  ["other JSON", () => json(200, { ok: true })],
  ["a list", () => json(200, [])],
  ["broken JSON", () => new Response("{", { headers: { "Content-Type": "application/json" } })],
  ["nothing", () => new Response(null, { status: 204 })],
  ["a receipt of another item", ({ body }, office) => json(200, office.receipt("0193a1b2-c3d4-7000-8000-000000000009", body))],
  ["a receipt of another body", ({ headers }, office) => json(200, office.receipt(headers["Idempotency-Key"], Buffer.from("x")))],
  ["a receipt of nobody", ({ headers, body }, office) => json(200, office.receipt(headers["Idempotency-Key"], body, { server: "" }))],
  ["a receipt without a time", ({ headers, body }, office) => json(200, office.receipt(headers["Idempotency-Key"], body, { received_at: null }))],
  ["a receipt that is not yet one", ({ headers, body }, office) => json(202, office.receipt(headers["Idempotency-Key"], body))],
  ["a gateway without an office behind it", () => html(502)],
]) {
  test(`${name} is no answer of the office; the item waits and arrives later`, async () => {
    const { store, office, sender } = await phone();
    await step(store);
    office.answers = [(request) => answer(request, office)];

    await sender.wake();
    assert.deepEqual(await states(store), ["waiting: no_answer"]);
    await sender.wake(true);

    assert.deepEqual(await states(store), ["received"]);
  });
}

for (const status of [408, 425, 429, 500, 502, 503, 504]) {
  test(`${status} is tried again: after 2 s, 4 s, 8 s … 5 min, for ever`, async () => {
    const { store, office, sender } = await phone();
    await step(store);
    office.answers = Array.from({ length: 60 }, () => () => json(status, { error: "busy", message: "…" }));

    const waits = [];
    for (let i = 0; i < 60; i += 1) {
      await sender.wake(true);
      const [{ next_at, attempts, state }] = await items(store);
      assert.deepEqual([attempts, state], [i + 1, "waiting"]);
      waits.push((next_at - Date.now()) / 1000);
    }
    await sender.wake(true);

    assert.deepEqual(waits.slice(0, 10), [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert.deepEqual(new Set(waits.slice(8)), new Set([300]));
    assert.deepEqual(await states(store), ["received"]);
    sender.stop();
  });
}

test("409 is tried again only while the same is in progress", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [() => json(409, { error: "in_progress", message: "…" }), () => json(409, { error: "not_allowed_now", message: "Not now." })];

  await sender.wake();
  assert.deepEqual(await states(store), ["waiting: no_answer"]);
  await sender.wake(true);

  assert.deepEqual(await states(store), ["attention: not_allowed_now"]);
  assert.equal((await items(store))[0].sentence, "Not now.");
});

for (const [status, code] of [[403, "cross_site"], [404, "not_found"], [410, "gone"], [413, "too_large"], [422, "key_reused"]]) {
  test(`${status} needs attention: kept with its reason, not tried again by itself, sent when the person asks`, async () => {
    const { store, office, sender } = await phone();
    const { id } = await step(store);
    office.answers = [() => json(status, { error: code, message: "因为。" })];

    await sender.wake();
    await sender.wake(true);
    const [item] = await items(store);
    assert.deepEqual([item.id, item.state, item.reason, item.sentence], [id, "attention", code, "因为。"]);
    assert.equal(office.requests.filter((line) => line.includes("/visits/")).length, 1);
    assert.ok((await itemOf(store, 1)).body.byteLength > 0);
    await tryAgain(store);
    await sender.wake();

    assert.deepEqual(await states(store), ["received"]);
  });
}

test("a proxy that says 413 without our words needs attention as well", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [() => html(413)];

  await sender.wake();

  assert.deepEqual(await states(store), ["attention: too_large"]);
});

test("X4 an answer that is lost after the office committed: the stored receipt comes with the next try", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [
    ({ url, ...init }) => {
      office.receive(url, init);
      return gone();
    },
  ];

  await sender.wake();
  assert.deepEqual(await states(store), ["waiting: no_answer"]);
  await sender.wake(true);

  const [item] = await items(store);
  assert.deepEqual([item.state, item.receipt.replayed, office.received.length], ["received", true, 1]);
});

test("X16 bytes damaged on the way are sent again, bytes damaged here need attention", async () => {
  const { store, office, sender } = await phone();
  const mismatch = () => json(422, { error: "digest_mismatch", message: "…" });
  await step(store);
  office.answers = [mismatch];
  await sender.wake();
  assert.deepEqual(await states(store), ["waiting: no_answer"]);
  const item = await itemOf(store, 1);
  await store.put("outbox", { ...item, body: new ArrayBuffer(3) });
  office.answers = [mismatch];

  await sender.wake(true);

  assert.deepEqual(await states(store), ["attention: damaged"]);
});

test("an item whose bytes are gone needs attention and stops nobody", async () => {
  const { store, sender } = await phone();
  await step(store, "departure", "v1");
  await step(store, "departure", "v2");
  await store.delete("outbox", 1);

  await sender.wake();

  assert.deepEqual(await states(store), ["attention: damaged", "received"]);
});

test("no signal and no answer are told apart", async () => {
  const { store, office, page } = await phone();
  await step(store);
  office.answers = [gone, gone];

  await page({ online: () => false }).wake();
  assert.deepEqual(await states(store), ["waiting: no_signal"]);
  await page().wake(true);

  assert.deepEqual(await states(store), ["waiting: no_answer"]);
});

for (const [size, patiences] of [[10, [30, 30, 30, 30]], [70_000, [30, 30, 68, 68]], [900_000, [30, 30, 120, 120]]]) {
  test(`an office that says nothing about ${size} bytes for ${patiences} s has not answered`, async () => {
    const { store, office, sender } = await phone();
    await step(store, "completion", "v1", { fields: [["text", "x".repeat(size)]] });
    const silence = ({ signal }) => new Promise((_, failed) => signal.addEventListener("abort", () => failed(signal.reason)));
    office.answers = Array.from({ length: 6 }, () => silence);

    for (const patience of patiences) {
      const { attempts } = (await items(store))[0];
      const woken = sender.wake(true);
      await until(() => paths(office).length === attempts + 1);
      mock.timers.tick(patience * 1_000 - 1);
      await settled();
      assert.equal((await items(store))[0].attempts, attempts);
      mock.timers.tick(1_000);
      await woken;
      assert.deepEqual([(await items(store))[0].attempts, ...(await states(store))], [attempts + 1, "waiting: no_answer"]);
    }
    sender.stop();
  });
}

// ---- waiting

test("an office that asks to come back at once is not asked without a pause", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  const past = { "Retry-After": "Sun, 22 Nov 1970 06:00:00 GMT", Date: "Sun, 22 Nov 1970 06:02:00 GMT" };
  const busy = [{ "Retry-After": "0" }, past].map((headers) => () => json(503, { error: "busy" }, headers));
  office.answers = [...busy, ...busy];

  await sender.wake();

  assert.equal(paths(office).length, 1, "the second try waits as after any failure");
  const [row] = await store.all("sending");
  assert.deepEqual([row.attempts, row.next_at - Date.now(), row.asked], [1, 2_000, false]);
});

test("Retry-After wins over our own patience, in seconds and as a date by the office's clock", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  const date = { "Retry-After": "Sun, 22 Nov 1970 06:02:00 GMT", Date: "Sun, 22 Nov 1970 06:00:00 GMT" };
  office.answers = [() => json(503, { error: "busy" }, { "Retry-After": "90" }), () => json(429, { error: "busy" }, date), () => json(503, {}, { "Retry-After": "x" })];
  const left = async () => ((await items(store))[0].next_at - Date.now()) / 1000;

  await sender.wake();
  assert.equal(await left(), 90);
  await sender.wake(true);
  assert.equal(paths(office).length, 1, "a mere focus does not break the office's wish");
  mock.timers.tick(90_000);
  await sender.wake();
  assert.equal(await left(), 120);
  mock.timers.tick(120_000);
  await sender.wake();

  assert.equal(await left(), 8, "the third failure by our own rule");
});

test("jitter spreads phones over the whole time, and never makes a storm", async () => {
  const { store, office, page } = await phone();
  await step(store);
  office.answers = Array.from({ length: 4 }, () => () => json(500, {}));
  const left = async () => (await items(store))[0].next_at - Date.now();

  await page({ random: () => 0.5 }).wake();
  assert.equal(await left(), 1_000);
  await page({ random: () => 0 }).wake(true);

  assert.equal(await left(), 250);
  assert.equal(paths(office).length, 2);
});

test("the page tries by itself when the time has come", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [() => json(500, {})];

  await sender.wake();
  mock.timers.tick(1_999);
  await settled();
  assert.equal(paths(office).length, 1);
  mock.timers.tick(1);
  await until(async () => (await states(store))[0] === "received");

  assert.equal(paths(office).length, 2);
});

test("X21 a clock that was set back holds nothing for a day", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.answers = [() => json(500, {})];
  await sender.wake();

  mock.timers.setTime(Date.UTC(1970, 0, 1));
  await sender.wake();

  assert.deepEqual(await states(store), ["received"]);
});

// ---- lanes

test("a failure holds the later items of its visit, and only those", async () => {
  const { store, office, sender } = await phone();
  await step(store, "departure", "v1");
  await step(store, "arrival", "v1");
  await step(store, "departure", "v2");
  office.answers = [() => json(500, {})];

  await sender.wake();
  assert.deepEqual(office.received.map(({ path }) => path), ["/visits/v2/departure"]);
  await sender.wake(true);

  assert.deepEqual(office.received.map(({ path }) => path).slice(1), ["/visits/v1/departure", "/visits/v1/arrival"]);
});

test("an item that needs attention holds nobody, not even its own visit", async () => {
  const { store, office, sender } = await phone();
  await step(store, "departure", "v1");
  await step(store, "arrival", "v1");
  office.answers = [() => json(403, { error: "refused", message: "…" })];

  await sender.wake();

  assert.deepEqual(await states(store), ["attention: refused", "received"]);
});

test("two silences in a row: the office is out of reach, and the rest is not tried one by one", async () => {
  const { store, office, sender } = await phone();
  for (const visit of ["v1", "v2", "v3", "v4", "v5"]) await step(store, "departure", visit);
  office.answers = Array.from({ length: 9 }, () => gone);

  await sender.wake();
  assert.equal(paths(office).length, 2);
  await sender.wake();
  assert.equal(paths(office).length, 2);
  office.answers = [];
  await sender.wake(true);

  assert.equal(office.received.length, 5);
});

test("items that kill every connection do not starve the others", async () => {
  const { store, office, sender } = await phone();
  for (const visit of ["bad1", "bad2", "v3", "v4"]) await step(store, "departure", visit);
  office.answer = (url, init) => (url.includes("/bad") ? gone() : Office.prototype.answer.call(office, url, init));

  await sender.wake();
  await sender.wake(true);

  assert.deepEqual(await states(store), ["waiting: no_answer", "waiting: no_answer", "received", "received"]);
});

// ---- log-in

test("X6 a session that ended pauses the whole queue without counting, and it drains after the log-in", async () => {
  const { store, office, sender } = await phone();
  const heard = [];
  hear(store.user, ({ type }) => heard.push(type));
  await step(store, "departure", "v1");
  await step(store, "departure", "v2");
  office.answers = [() => json(401, { error: "login_needed", message: "…" })];

  await sender.wake();
  await sender.wake(true);
  assert.equal(paths(office).length, 1);
  assert.deepEqual((await items(store)).map(({ state, attempts, reason }) => [state, attempts, reason]), [["waiting", 0, ""], ["waiting", 0, ""]]);
  assert.deepEqual(heard.filter((type) => type === "paused"), ["paused"]);
  await sender.check();
  await sender.wake();

  assert.ok(heard.includes("resumed"));
  assert.deepEqual(await states(store), ["received", "received"]);
});

test("nobody's work travels with somebody else's session", async () => {
  const { store, office, sender } = await phone();
  office.user = "somebody else";
  await step(store);

  await sender.check();
  await sender.wake(true);
  assert.deepEqual([paths(office), office.received], [[], []]);
  office.user = store.user;
  await sender.check();
  await sender.wake();

  assert.deepEqual(await states(store), ["received"]);
});

test("logging out in another tab stops this one at once", async () => {
  const { store, office, sender } = await phone();
  globalThis.document = { addEventListener() {}, dispatchEvent() {}, hidden: true };
  globalThis.addEventListener = () => undefined;
  sender.start();
  await until(() => office.contacts.length > 0);
  office.toContact = () => json(401, { error: "login_needed" });
  tell(store.user, { type: "logout" });
  await step(store);
  await until(() => office.contacts.length > 1);
  delete globalThis.document;
  delete globalThis.addEventListener;

  assert.deepEqual(paths(office), []);
  sender.stop();
});

test("what the page queues goes at once, by itself", async () => {
  const { store, office, sender } = await phone();
  globalThis.document = { addEventListener() {}, dispatchEvent() {}, hidden: false };
  globalThis.addEventListener = () => undefined;
  sender.start();
  await until(() => office.contacts.length > 0);

  await Promise.all(Array.from({ length: 12 }, (_, i) => step(store, "departure", `v${i % 5}`)));
  await until(() => office.received.length === 12);
  await until(async () => (await states(store)).every((state) => state === "received"));
  delete globalThis.document;
  delete globalThis.addEventListener;

  await until(() => office.contacts.at(-1).waiting === "0");
  sender.stop();
});

// ---- two tabs

test("X10 two tabs: one sends, and when it dies in the middle the other takes over at once", async () => {
  const { store, office, locks } = await phone();
  const [first, second] = [locks.tab(), locks.tab()];
  const page = (own) => new Sender(store, { fetch: office.fetch, locks: own, random: () => 1, online: () => true });
  await step(store, "departure", "v1");
  await step(store, "departure", "v2");
  office.answers = [() => new Promise(() => {})]; // the first tab dies while it waits for this

  void page(first).wake();
  await until(() => paths(office).length === 1);
  const other = page(second).wake();
  await settled();
  assert.equal(paths(office).length, 1, "the other tab waits for its turn");
  first.die();
  await other;

  assert.deepEqual(await states(store), ["received", "received"]);
});

test("X10 a frozen tab that says nothing any more loses its turn, and does no harm when it wakes", async () => {
  const { store, office, page } = await phone();
  await step(store);
  await step(store, "departure", "v2");
  let thaw;
  office.answers = [() => new Promise((done) => (thaw = done))];
  const { setTimeout, setInterval } = globalThis;
  globalThis.setTimeout = globalThis.setInterval = () => 0; // a frozen page's timers do not run
  const frozen = page().wake();
  await until(() => paths(office).length === 1);
  Object.assign(globalThis, { setTimeout, setInterval });

  const other = page().wake();
  await settled();
  mock.timers.tick(45_000);
  await settled();
  assert.deepEqual(await states(store), ["waiting", "waiting"], "45 s are still patience");
  mock.timers.tick(15_000);
  await other;
  assert.deepEqual(await states(store), ["received", "received"]);
  await step(store, "departure", "v3");
  thaw(json(500, {}));
  await frozen;
  assert.equal((await states(store)).at(-1), "waiting", "a page that lost its turn sends nothing more");
  await page().wake();

  assert.deepEqual(await states(store), ["received", "received", "received"]);
  assert.equal(office.received.length, 3);
});

test("X10 a tab that waits long for one answer keeps its turn: it says that it lives", async () => {
  const { store, office, page } = await phone();
  await step(store, "completion", "v1", { fields: [["text", "x".repeat(90_000)]] });
  let answer;
  office.answers = [gone, gone, () => new Promise((done) => (answer = done))];
  for (let i = 0; i < 2; i += 1) await page().wake(true);
  const heard = [];
  hear(store.user, ({ type }) => heard.push(type));
  const sender = page();
  hear(store.user, ({ type }) => type === "alive" && other.turn.alive());
  const other = page();
  const sending = sender.wake(true);
  await until(() => answer);

  const waiting = other.wake(true);
  for (let i = 0; i < 5; i += 1) {
    mock.timers.tick(15_000); // the third try has 88 s
    await settled();
  }
  assert.equal(paths(office).length, 3);
  assert.deepEqual(new Set(heard), new Set(["sending", "alive"]));
  answer();
  await Promise.all([sending, waiting]);

  assert.deepEqual(await states(store), ["received"]);
});

test("a browser that gives no turn is asked again later, not all the time", async () => {
  let asked = 0;
  const request = () => {
    if ((asked += 1) > 5) sender.stop();
    return Promise.reject(new Error("no locks today"));
  };
  const { store, office, sender } = await phone({ locks: { request } });
  await step(store);

  await sender.wake();

  assert.equal(asked, 1);
  assert.deepEqual([office.received, await states(store)], [[], ["waiting"]]);
  sender.stop();
});

test("without Web Locks a lease keeps it to one tab, and runs out when its holder dies", async () => {
  const { store, office, page } = await phone({ locks: null });
  await step(store);
  office.answers = [() => new Promise(() => {})];
  const [first, second] = [page(), page()];

  void first.wake();
  await until(() => paths(office).length === 1);
  await second.wake();
  assert.equal(paths(office).length, 1);
  mock.timers.setTime(NOON + 4_001); // no tick: the first tab is dead and does not renew its lease
  await second.wake();

  assert.deepEqual(await states(store), ["received"]);
});

// ---- contact and epochs

test("the contact says what waits, and remembers the office, its time and the lock", async () => {
  const { store, office, sender } = await phone({ build: "abc123" });
  const item = await step(store);
  office.toContact = () => json(200, { server: "s", epoch: 3, now: new Date(NOON + 7 * MINUTE).toISOString(), user: store.user, lock: { salt: "s", iterations: 1, hash: "h" } });
  office.answers = [() => json(500, {})];

  await sender.check();
  await sender.wake();

  const [{ sent_at, ...told }] = office.contacts;
  assert.equal(Date.parse(sent_at), NOON);
  assert.deepEqual(told, {
    device: await store.get("meta", "device"),
    waiting: "1",
    attention: "0",
    oldest_at: item.device_at,
    build: "abc123",
    storage_used: "",
    storage_quota: "",
  });
  const meta = (name) => store.get("meta", name);
  assert.deepEqual([await meta("server"), await meta("epoch"), await meta("offset_ms")], ["s", 3, 7 * MINUTE]);
  assert.deepEqual(await meta("pin"), { salt: "s", iterations: 1, hash: "h" });
});

test("a new epoch: the office forgot, and everything it gave receipts for is sent again", async () => {
  const { store, office, sender } = await phone();
  const heard = [];
  hear(store.user, ({ type }) => heard.push(type));
  await step(store, "departure");
  await step(store, "arrival");
  await sender.check();
  await sender.wake();
  const before = await store.all("outbox");

  office.received = [];
  office.epoch = 2;
  await sender.check();
  await sender.wake();

  assert.deepEqual(office.received.map(({ path, id }) => [path, id]), before.map(({ path, id }) => [path, id]));
  assert.deepEqual(await store.all("outbox"), before);
  assert.deepEqual((await items(store)).map(({ receipt }) => [receipt.epoch, receipt.superseded ?? false]), [[2, false], [2, false]]);
  await sender.check();
  await sender.wake();
  assert.equal(office.received.length, 2);
  sender.stop();
});

test("a receipt itself may tell of the new epoch; an item waits again with its old receipt until the new one comes", async () => {
  const { store, office, sender } = await phone();
  await step(store, "departure");
  await sender.wake();
  office.epoch = 2;
  office.received = [];
  await step(store, "departure", "v2");
  office.answers = [undefined, () => json(500, {})];

  await sender.wake();
  const [old, young] = await items(store);
  assert.deepEqual([old.state, old.receipt.superseded, young.state], ["waiting", true, "received"]);
  await sender.wake(true);

  assert.deepEqual(office.received.map(({ path }) => path), ["/visits/v2/departure", "/visits/v1/departure"]);
});

test("another server is an office that knows nothing", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  await sender.wake();

  office.server = "server-2";
  office.received = [];
  await sender.check();
  await sender.wake();

  assert.equal(office.received.length, 1);
});

test("an office that comes back is noticed by the contact, and what waited goes without waiting longer", async () => {
  const { store, office, sender } = await phone();
  await step(store);
  office.toContact = gone;
  office.answers = [gone];
  await sender.check(false);
  await sender.wake();
  assert.deepEqual(await states(store), ["waiting: no_answer"]);

  office.toContact = null;
  await sender.check(false);
  await sender.wake();

  assert.deepEqual(await states(store), ["received"]);
});

// ---- pruning

test("receipts leave after 30 days by the office's clock, with their bodies; what waits and drafts stay", async () => {
  const { store, office, sender } = await phone();
  await step(store, "departure", "v1");
  await sender.check();
  await sender.wake();
  await step(store, "arrival", "v1");
  await store.put("drafts", { text: "x" }, "visit:v1");
  const days = (count) => ({ now: () => NOON + count * 24 * 60 * MINUTE });

  await prune(store, days(29));
  assert.deepEqual(await states(store), ["received", "waiting"]);
  await store.put("meta", -5 * 24 * 60 * MINUTE, "offset_ms"); // this phone is five days ahead
  await prune(store, days(31));
  assert.deepEqual(await states(store), ["received", "waiting"]);
  await prune(store, days(36));

  assert.deepEqual([await states(store), await store.keys("outbox")], [["waiting"], [2]]);
  assert.deepEqual(await store.keys("drafts"), ["visit:v1"]);
  office.answers = [];
});

test("no receipt is shown whose hash is not that of the frozen body", async () => {
  const { store, office, sender } = await phone();
  for (let i = 0; i < 30; i += 1) await step(store, "departure", `v${i % 4}`);
  office.answers = Array.from({ length: 40 }, (_, i) => [undefined, gone, () => html(200), () => json(503, {})][i % 4]);

  for (let i = 0; i < 60; i += 1) await sender.wake(true);

  for (const { state, sequence, receipt, sha256 } of await items(store)) {
    const { body } = await itemOf(store, sequence);
    assert.deepEqual([state, receipt.body_sha256, sha(body)], ["received", sha256, sha256]);
  }
  assert.equal(office.received.length, 30);
  sender.stop();
});
