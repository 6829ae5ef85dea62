import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { freezeAndFinish } from "../../static/js/offline/outbox.js";
import { OfficeCopy } from "../../static/js/offline/office-copy.js";
import { OpenDraft } from "../../static/js/offline/open-draft.js";
import { Windows } from "../../static/js/offline/windows.js";
import { json, Locks, newStore } from "./office.mjs";

let store;

beforeEach(async () => {
  store = await newStore();
});

/** A page with one field, and what it was told. */
function page(text = "") {
  const told = { line: [], saved: 0, sent: [] };
  const fields = { text };
  const forms = {
    written: () => ({ fields: [["content_text", fields.text]], customer: [], engineer: [], opened: [] }),
    made: () => ({ revision: 7, fields: {} }),
    scrolled: () => null,
  };
  const line = { saving: () => told.line.push("saving"), saved: (_at, copied) => told.line.push(copied ? "copied" : "saved"), failed: () => told.line.push("failed") };
  const draft = new OpenDraft({ store, visit: "v1", about: "华锐医院", forms, line, saved: () => (told.saved += 1), sent: (kept) => told.sent.push(kept.sent) });
  const type = (words) => {
    fields.text = words;
    draft.touch();
  };
  return { draft, told, fields, type };
}

const finished = () => freezeAndFinish(store, "visit:v1", () => ({ path: "/visits/v1/completion", fields: [], visit: "v1" }));

test("what is typed is on the phone when the page says so", async () => {
  const { draft, told, type } = page();

  type("更换电源模块");
  await draft.saver.flush();

  assert.deepEqual((await draft.kept()).fields, [["content_text", "更换电源模块"]]);
  assert.deepEqual([told.line[0], told.line.at(-1)], ["saving", "saved"]);
  assert.equal(told.saved, 1);
});

test("another page goes on where this one was", async () => {
  const first = page();
  first.draft.screen = "customer";
  first.draft.given = { method: "drawn", at: "now" };
  first.type("检查电源");
  await first.draft.saver.flush();
  const second = page();

  second.draft.takeIn(await second.draft.kept(), false);

  assert.deepEqual([second.draft.screen, second.draft.given, second.draft.changed], ["customer", { method: "drawn", at: "now" }, 1]);
  assert.deepEqual(second.draft.base, { revision: 7, fields: {} });
});

test("a draft that was sent from another page is not written over, and this page says that it was sent", async () => {
  const { draft, told, type } = page("检查电源");
  type("检查电源");
  await draft.saver.flush();
  const { id } = await finished();

  type("太晚了");
  await draft.saver.flush();

  assert.deepEqual(told.sent, [id]);
  assert.deepEqual((await draft.kept()).fields, [["content_text", "检查电源"]]);
});

test("the draft and what belongs to it are written together or not at all", async () => {
  const { draft, type } = page();
  type("检查电源");
  await draft.write(["meta"], (tx) => tx.objectStore("meta").put("locked", "lock"));
  const photo = { sha256: "ab" };
  const broken = draft.write(["meta"], async (tx) => {
    await tx.objectStore("meta").delete("lock");
    throw new Error("no");
  }, (known) => [...known, photo]);

  await assert.rejects(broken, /^Error: no$/);

  assert.equal(await store.get("meta", "lock"), "locked");
  assert.deepEqual([draft.photos, (await draft.kept()).photos], [[], []]);
});

test("nothing is written together with a draft that was sent", async () => {
  const { draft, type } = page();
  type("检查电源");
  await draft.saver.flush();
  await finished();

  await assert.rejects(draft.write(["meta"], (tx) => tx.objectStore("meta").put("locked", "lock")), /sent meanwhile/);

  assert.equal(await store.get("meta", "lock"), undefined);
});

test("a page that only reads writes nothing", async () => {
  const { draft, told, type } = page();
  draft.read(true);

  type("检查电源");
  await draft.saver.flush();

  assert.equal(await draft.kept(), undefined);
  assert.deepEqual(told.line, []);
});

// ---- windows

/** A window of the same browser, with the person's pages in it. */
function window_(locks, text) {
  const made = page(text);
  const seen = { reading: false };
  const takeIn = async (kept) => {
    made.draft.takeIn(kept, false);
    made.fields.text = kept.fields[0][1];
  };
  const windows = new Windows({ draft: made.draft, show: (reading) => (seen.reading = reading), takeIn, begin: async () => undefined, sent: async () => undefined, locks });
  return { ...made, windows, seen };
}

test("X9 the window that is asked for the pen saves its last letter first", async () => {
  const locks = new Locks();
  const first = window_(locks.tab());
  const second = window_(locks.tab());
  assert.equal(await first.windows.pen.take(), true);
  second.windows.read();
  first.type("最后一刻");

  const taken = second.windows.takeOver();
  await first.windows.onNews({ type: "draft", asks: second.draft.tab });
  await taken;

  assert.deepEqual([first.seen.reading, second.seen.reading], [true, false]);
  assert.equal(second.fields.text, "最后一刻");
});

test("X9 a window that reads follows what the other has saved", async () => {
  const locks = new Locks();
  const first = window_(locks.tab());
  const second = window_(locks.tab());
  await first.windows.pen.take();
  second.windows.read();
  first.type("检查电源");
  await first.draft.saver.flush();

  await second.windows.onNews({ type: "draft", saved: first.draft.tab });

  assert.equal(second.fields.text, "检查电源");
  assert.equal(second.seen.reading, true);
});

// ---- a copy at the office

Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true }); // older versions of node have none

function copyOf({ draft, fields }, items = []) {
  return new OfficeCopy({ draft, url: "/visits/v1/record/draft", fields: () => [["content_text", fields.text]], status: () => "working", items: async () => items });
}

test("what stands on the phone is copied to the office, in this person's name, over the revision that the page knows", async (t) => {
  const asked = t.mock.method(globalThis, "fetch", async () => json(200, { revision: 8 }));
  const made = page();
  made.type("检查电源");
  await made.draft.saver.flush();

  await copyOf(made).make();

  const [url, { headers, body }] = asked.mock.calls[0].arguments;
  assert.equal(url, "/visits/v1/record/draft");
  assert.deepEqual([headers["X-User"], headers["X-Base-Revision"], body.get("content_text")], [store.user, "7", "检查电源"]);
  assert.equal((await made.draft.kept()).copied.revision, 8);
  assert.equal(made.told.line.at(-1), "copied");
});

test("nothing is copied past what waits, nor from the customer's screen, nor of a page that reads", async (t) => {
  const asked = t.mock.method(globalThis, "fetch", async () => json(200, { revision: 8 }));
  const made = page();
  made.type("检查电源");
  await made.draft.saver.flush();

  await copyOf(made, [{ state: "waiting" }]).make();
  made.draft.screen = "customer";
  await copyOf(made).make();
  made.draft.screen = "form";
  made.draft.read(true);
  await copyOf(made).make();

  assert.equal(asked.mock.callCount(), 0);
});

test("an office that does not answer is not spoken of, and not asked again at once", async (t) => {
  const asked = t.mock.method(globalThis, "fetch", async () => {
    throw new TypeError("no network");
  });
  const made = page();
  made.type("检查电源");
  await made.draft.saver.flush();
  const copy = copyOf(made);

  await copy.make();
  await copy.make();

  assert.equal(asked.mock.callCount(), 1);
  assert.equal(made.told.line.at(-1), "saved");
});
