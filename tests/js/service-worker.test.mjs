/** The service worker's decisions, run as the browser would run its script, with caches, network and clock of the test. */
import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";
import { FakeCaches } from "./caches.mjs";

const ORIGIN = "http://127.0.0.1";
const USER = "0193a1b2-0000-7000-8000-0000000000a1";
const SOURCE = await readFile(new URL("../../static/js/service-worker.js", import.meta.url), "utf8");

/** A page as the office sends it, or as the pack keeps it. */
const page = (text, headers = {}, status = 200) => new Response(text, { status, headers: { "X-Fieldapp-Build": "b1", ...headers } });

class Phone {
  constructor({ caches = new FakeCaches(ORIGIN), answer = () => Promise.reject(new TypeError("no network")), now = () => new Date() } = {}) {
    this.caches = caches;
    this.asked = [];
    this.handlers = {};
    this.skipped = 0;
    this.windows = [];
    this.waited = [];
    this.patient = []; // who waits longer: the test ends it
    const phone = this;
    const self = {
      location: { origin: ORIGIN },
      clients: { claim: async () => {}, matchAll: async () => this.windows },
      skipWaiting: () => (this.skipped += 1),
      addEventListener: (name, handler) => (this.handlers[name] = handler),
    };
    this.context = vm.createContext({
      self, caches, indexedDB, Response, URL, console,
      Date: class extends Date { constructor(...given) { super(...(given.length ? given : [now()])); } },
      setTimeout: (done, ms) => (ms <= 3_000 ? setImmediate(done) : this.patient.push(done)), // three seconds pass at once
      fetch: (request, init) => (phone.asked.push([request.url ?? request, init]), answer(request.url ?? request)),
    });
    vm.runInContext(SOURCE.replace("%BUILD%", "b1").replace("%FILES%", "js/main.js img/icons.svg"), this.context);
  }

  async opens(path, { mode = "navigate", method = "GET" } = {}) {
    let answer;
    const waitUntil = (given) => this.waited.push(given);
    this.handlers.fetch({ request: { url: ORIGIN + path, mode, method }, respondWith: (given) => (answer = given), waitUntil });
    return answer;
  }

  async lives(name) {
    let work;
    this.handlers[name]({ waitUntil: (given) => (work = given) });
    await work;
  }
}

async function withPack(pages, more = {}) {
  const caches = new FakeCaches(ORIGIN);
  const pack = await caches.open(`pack-${USER}`);
  for (const [url, response] of Object.entries(pages)) await pack.put(url, response);
  return new Phone({ caches, ...more });
}

const text = async (answer) => (await answer)?.text();
const never = () => new Promise(() => {});
const letIn = async () => ({ type: "opaqueredirect", ok: false, status: 0, headers: new Headers() });

test("a page comes from the network while that answers", async () => {
  const phone = await withPack({ "/": page("kept") }, { answer: async () => page("fresh") });

  assert.equal(await text(phone.opens("/")), "fresh");
});

test("a page comes from the pack when nothing answers, at once or within three seconds", async () => {
  assert.equal(await text((await withPack({ "/visits/1": page("kept") })).opens("/visits/1")), "kept");
  assert.equal(await text((await withPack({ "/visits/1": page("kept") }, { answer: never })).opens("/visits/1")), "kept");
});

test("a page that breaks off half way is no answer while the pack has it whole", async () => {
  const broken = () => new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode("<h1>half")), pull: (stream) => stream.error(new TypeError("reset")) });
  const stalled = () => new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode("<h1>half")) });
  for (const body of [broken, stalled]) {
    assert.equal(await text((await withPack({ "/visits/1": page("kept") }, { answer: async () => page(body()) })).opens("/visits/1")), "kept");
  }
});

test("a page that is nowhere is waited for half a minute, then the phone says so", async () => {
  const phone = await withPack({ "/offline": page("own words") }, { answer: never });
  const shown = phone.opens("/customers");
  while (phone.patient.length === 0) await new Promise(setImmediate);

  phone.patient.forEach((done) => done());

  assert.equal(await text(shown), "own words");
});

test("a captive portal's page and a proxy's error are no answers while there is a page in the pack", async () => {
  for (const answer of [async () => new Response("<h1>Wi-Fi</h1>"), async () => new Response("bad gateway", { status: 502 }), async () => page("broken", {}, 500)]) {
    assert.equal(await text((await withPack({ "/": page("kept") }, { answer })).opens("/")), "kept");
  }
});

test("what is not in the pack is waited for, whoever answers", async () => {
  const phone = await withPack({ "/": page("kept") }, { answer: async () => new Response("<h1>Wi-Fi</h1>") });

  assert.equal(await text(phone.opens("/customers")), "<h1>Wi-Fi</h1>");
});

test("a refusal of the office is shown: the pack may be out of date", async () => {
  const phone = await withPack({ "/visits/1": page("kept") }, { answer: async () => page("not yours", {}, 404) });

  assert.equal((await phone.opens("/visits/1")).status, 404);
});

test("a record that was begun here is finished on its page, though the office refuses the visit by now", async () => {
  const { openStore } = await import("../../static/js/offline/store.js");
  const store = await openStore(USER);
  await store.put("drafts", { visit: "1" }, "visit:1");
  await store.put("drafts", { visit: "2", sent: "0193" }, "visit:2");
  const opens = async (path, status) => text((await withPack({ [path]: page("kept") }, { answer: async () => page("fresh", {}, status) })).opens(path));

  for (const status of [404, 409]) assert.equal(await opens("/visits/1/record", status), "kept");
  assert.equal(await opens("/visits/1/record", 200), "fresh");
  assert.equal(await opens("/visits/1", 404), "fresh");
  assert.equal(await opens("/visits/2/record", 404), "fresh", "what was sent needs no page");
  assert.equal(await opens("/visits/3/record", 404), "fresh", "nothing was begun");
});

test("a page that is nowhere is the page for no connection: the person's own, else nobody's", async () => {
  const own = await withPack({ "/offline": page("own words") });
  assert.equal(await text(own.opens("/customers")), "own words");

  const caches = new FakeCaches(ORIGIN);
  await (await caches.open("assets-b1")).put("/offline", page("nobody's words"));
  assert.equal(await text(new Phone({ caches }).opens("/customers")), "nobody's words");
});

test("on another day than the pack's the first page is that day's", async () => {
  const pages = () => ({ "/": page("Saturday", { "X-Fieldapp-Day": "2026-11-21" }), "/?day=2026-11-22": page("Sunday") });
  const on = (day) => ({ now: () => new Date(`${day}T09:00:00`) });

  assert.equal(await text((await withPack(pages(), on("2026-11-21"))).opens("/")), "Saturday");
  assert.equal(await text((await withPack(pages(), on("2026-11-22"))).opens("/")), "Sunday");
  assert.equal(await text((await withPack(pages(), on("2026-11-23"))).opens("/")), "Saturday");
});

test("when somebody else is logged in, the pages of the person before leave", async () => {
  const phone = await withPack({ "/": page("hers") }, { answer: async () => page("his", { "X-Fieldapp-Page": "another" }) });

  assert.equal(await text(phone.opens("/")), "his");
  assert.deepEqual(await phone.caches.keys(), []);
});

test("whatever writes, and whatever is no page, passes by", async () => {
  const phone = await withPack({ "/": page("kept") });

  for (const [path, asked] of [["/visits/1/arrival", { method: "POST", mode: "cors" }], ["/photos/ab", { method: "PUT", mode: "cors" }], ["/offline/pack", { mode: "cors" }]]) {
    assert.equal(await phone.opens(path, asked), undefined, path);
  }
  assert.deepEqual(phone.asked, []);
});

test("with the log-out the pages leave, also where no script of a page sees to it", async () => {
  const phone = await withPack({ "/": page("kept") });
  let work;

  phone.handlers.fetch({ request: { url: `${ORIGIN}/logout`, mode: "navigate", method: "POST" }, waitUntil: (given) => (work = given) });
  await work;
  assert.deepEqual(await phone.caches.keys(), []);

  const asking = await withPack({ "/": page("kept") });
  asking.handlers.fetch({ request: { url: `${ORIGIN}/logout`, mode: "cors", method: "POST" } });
  assert.equal((await asking.caches.keys()).length, 1, "a script removes them itself, once the office has agreed");
});

test("assets of any build that is kept come from the phone", async () => {
  const caches = new FakeCaches(ORIGIN);
  await (await caches.open("assets-b0")).put("/assets/b0/js/main.js", new Response("old"));
  const phone = new Phone({ caches });

  assert.equal(await text(phone.opens("/assets/b0/js/main.js", { mode: "cors" })), "old");
});

test("while a customer holds the phone there is one page, and the ways to log in and to take it back", async () => {
  await lock(`/visits/7/record`);
  const phone = await withPack({ "/visits/7/record": page("record") });

  for (const path of ["/", "/visits/7", "/visits/8/record", "/account"]) {
    assert.equal((await phone.opens(path)).headers.get("location"), `${ORIGIN}/visits/7/record`, path);
  }
  assert.equal(await text(phone.opens("/visits/7/record")), "record");
  await (await phone.caches.open(`pack-${USER}`)).put("/offline", page("no connection"));
  for (const path of ["/login", "/taking-back"]) assert.equal(await text(phone.opens(path)), "no connection");
  await lock(null);
});

test("asking for the lock makes no database", async () => {
  const caches = new FakeCaches(ORIGIN);
  await caches.open("pack-nobody");
  const phone = new Phone({ caches, answer: async () => page("fresh") });

  assert.equal(await text(phone.opens("/")), "fresh");
  assert.ok(!(await indexedDB.databases()).some(({ name }) => name === "fieldapp-nobody"));
});

test("a new worker lays in everything or nothing, and the page for no connection without cookies", async () => {
  const answer = async (url) => (url === "/offline" ? page("no connection") : new Response(url));
  const phone = new Phone({ answer });
  phone.caches.fetch = answer;

  await phone.lives("install");

  assert.equal(JSON.stringify(phone.asked), JSON.stringify([["/offline", { credentials: "omit", cache: "no-store" }]]));
  const kept = await (await phone.caches.open("assets-b1")).keys();
  assert.deepEqual(kept.map(({ url }) => new URL(url).pathname).sort(), ["/assets/b1/img/icons.svg", "/assets/b1/js/main.js", "/offline"]);
  assert.equal(phone.skipped, 0, "it waits until it is asked");

  const other = new Phone({ answer: async () => page("of a newer build", { "X-Fieldapp-Build": "b2" }) });
  await assert.rejects(other.lives("install"));
});

test("it takes over when the page asks for it, and keeps the scripts of the last builds", async () => {
  const phone = new Phone();
  for (const name of ["assets-a", "assets-b", "assets-c", "assets-b1", `pack-${USER}`]) await phone.caches.open(name);

  phone.handlers.message({ data: { type: "skip-waiting" } });
  await phone.lives("activate");

  assert.equal(phone.skipped, 1);
  assert.deepEqual(await phone.caches.keys(), ["assets-b", "assets-c", "assets-b1", `pack-${USER}`]);
});

/** Meta `lock` as offline/lock.js writes it, in the database that offline/store.js makes. */
function lock(path) {
  return new Promise((done, fail) => {
    const opening = indexedDB.open(`fieldapp-${USER}`, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("meta");
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
      const writing = opening.result.transaction("meta", "readwrite");
      writing.objectStore("meta").put(path && { visit: path.split("/")[2], path }, "lock");
      writing.oncomplete = () => (opening.result.close(), done());
    };
  });
}

// ---- a tap that was quicker than the page

test("a step that the browser posts to nobody leads back to the visit", async () => {
  const phone = await withPack({});

  const answer = await phone.opens("/visits/7/acceptance", { method: "POST" });

  assert.equal(answer.status, 303);
  assert.equal(answer.headers.get("Location"), `${ORIGIN}/visits/7`);
});

test("a form with something typed in it is left to the browser, which gives it back", async () => {
  const phone = await withPack({});

  for (const noun of ["record", "hand-over", "pause", "refusal", "backup-acknowledgement", "completion"]) {
    assert.equal(await phone.opens(`/visits/7/${noun}`, { method: "POST" }), undefined, noun);
  }
});

test("a step that the browser posts is answered by the office where there is one", async () => {
  const phone = await withPack({}, { answer: () => Promise.resolve(page("done")) });

  assert.equal(await text(phone.opens("/visits/7/acceptance", { method: "POST" })), "done");
});

// ---- somebody else's phone by now

const OTHER = "0193a1b2-0000-7000-8000-0000000000b2";

test("a slow answer for somebody else takes away the page that the pack showed", async () => {
  let answered;
  const slow = new Promise((done) => (answered = done));
  const phone = await withPack({ "/": page("hers", { "X-Fieldapp-Page": USER }) }, { answer: () => slow });
  const visited = [];
  phone.windows = [{ url: `${ORIGIN}/`, navigate: async (url) => visited.push(url) }];

  assert.equal(await text(phone.opens("/")), "hers");
  answered(page("his", { "X-Fieldapp-Page": OTHER }));
  await Promise.all(phone.waited);

  assert.deepEqual(visited, [`${ORIGIN}/`]);
  assert.deepEqual(await phone.caches.keys(), []);
});

test("a slow answer for the same person leaves the page as it is", async () => {
  let answered;
  const slow = new Promise((done) => (answered = done));
  const phone = await withPack({ "/": page("kept", { "X-Fieldapp-Page": USER }) }, { answer: () => slow });
  phone.windows = [{ url: `${ORIGIN}/`, navigate: () => assert.fail("nothing is to be shown anew") }];

  assert.equal(await text(phone.opens("/")), "kept");
  answered(page("fresh", { "X-Fieldapp-Page": USER }));
  await Promise.all(phone.waited);

  assert.deepEqual(await phone.caches.keys(), [`pack-${USER}`]);
});

test("after a log-in nobody's pack is quicker than the office's word about who it is", async () => {
  let answered;
  const slow = new Promise((done) => (answered = done));
  const phone = await withPack({ "/": page("hers", { "X-Fieldapp-Page": USER }) }, { answer: (url) => (url.endsWith("/login") ? letIn() : slow) });

  await phone.opens("/login", { method: "POST" });
  const shown = phone.opens("/");
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate); // longer than the pack is kept waiting for
  answered(page("his", { "X-Fieldapp-Page": OTHER }));

  assert.equal(await text(shown), "his");
});

test("after a log-in the pages of the person before are not shown, also when the line breaks at once", async () => {
  let line = letIn;
  const phone = await withPack({ "/": page("hers", { "X-Fieldapp-Page": USER }) }, { answer: () => line() });
  await (await phone.caches.open("assets-b1")).put("/offline", page("no connection"));

  await phone.opens("/login", { method: "POST" });
  line = () => Promise.reject(new TypeError("no network"));
  assert.equal(await text(phone.opens("/")), "no connection");

  line = async () => page("hers again", { "X-Fieldapp-Page": USER });
  assert.equal(await text(phone.opens("/")), "hers again");
  line = () => Promise.reject(new TypeError("no network"));
  assert.equal(await text(phone.opens("/")), "hers");
});

test("a log-in that is refused changes nothing", async () => {
  let line = async () => page("wrong password", {}, 422);
  const phone = await withPack({ "/": page("kept") }, { answer: () => line() });

  assert.equal(await text(phone.opens("/login", { method: "POST" })), "wrong password");
  line = () => Promise.reject(new TypeError("no network"));

  assert.equal(await text(phone.opens("/")), "kept");
});

test("a log-in that reaches nobody leaves the pack where it is", async () => {
  const phone = await withPack({ "/": page("kept", { "X-Fieldapp-Page": USER }) });

  await phone.opens("/login", { method: "POST" });

  assert.equal(await text(phone.opens("/")), "kept");
});
