import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, test } from "node:test";
import { hear } from "../../static/js/offline/channel.js";
import { base64, base64OfHex, localTime } from "../../static/js/offline/digest.js";
import { enqueue, freezeAndFinish, itemOf, items, PhotoDamaged, saveDraft } from "../../static/js/offline/outbox.js";
import { Store } from "../../static/js/offline/store.js";

const unpatchedAdd = IDBObjectStore.prototype.add;
let users = 0;
const fresh = () => Store.open(`outbox-test-${(users += 1)}`);
const sha = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");
const text = (body) => new TextDecoder().decode(body);
const departure = (more = {}) => ({ path: "/visits/v1/departure", fields: [["note", "出发 & 走"]], visit: "v1", label: "出发", leadsTo: "traveling", ...more });

afterEach(() => {
  IDBObjectStore.prototype.add = unpatchedAdd;
});

test("a form is frozen as bytes, with its hash, its number and its time", async () => {
  const store = await fresh();

  const item = await enqueue(store, departure());

  const kept = await itemOf(store, 1);
  assert.deepEqual(kept, item);
  assert.equal(text(kept.body), `note=%E5%87%BA%E5%8F%91+%26+%E8%B5%B0&submission_id=${item.id}`);
  assert.equal(kept.sha256, sha(kept.body));
  assert.deepEqual([kept.sequence, kept.leads_to, kept.form_version, kept.base_revision], [1, "traveling", "2", null]);
  assert.match(kept.device_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/);
  assert.equal(kept.zone, Intl.DateTimeFormat().resolvedOptions().timeZone);
});

test("numbers go up by one, however many are queued at once", async () => {
  const store = await fresh();

  const queued = await Promise.all(Array.from({ length: 20 }, () => enqueue(store, departure())));

  assert.deepEqual(queued.map(({ sequence }) => sequence).sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i + 1));
  assert.deepEqual((await items(store)).map(({ sequence }) => sequence), Array.from({ length: 20 }, (_, i) => i + 1));
});

test("NUL, which the office refuses for ever, is not sent", async () => {
  const store = await fresh();

  const item = await enqueue(store, departure({ fields: [["a", "b\0c"]] }));

  assert.equal(text(item.body), `a=bc&submission_id=${item.id}`);
});

test("the id of the page's form is replaced: a page that is kept offline would use it twice", async () => {
  const store = await fresh();

  const item = await enqueue(store, departure({ fields: [["submission_id", "of-the-page"], ["a", "b"]] }));

  assert.equal(text(item.body), `a=b&submission_id=${item.id}`);
});

test("the same id is queued once", async () => {
  const store = await fresh();
  const id = "0193a1b2-c3d4-7000-8000-000000000001";

  const [first, second] = [await enqueue(store, departure({ id })), await enqueue(store, departure({ id }))];

  assert.deepEqual(second, first);
  assert.equal((await items(store)).length, 1);
});

test("what joins the transaction is saved with the item, or neither is", async () => {
  const store = await fresh();

  await enqueue(store, departure(), (tx) => tx.objectStore("drafts").put({ backup: "told" }, "visit:v1"));
  const failed = enqueue(store, departure(), async (tx) => {
    await tx.objectStore("drafts").put({ backup: "twice" }, "visit:v1");
    throw new Error("no");
  });

  await assert.rejects(failed, /^Error: no$/);
  assert.deepEqual(await store.get("drafts", "visit:v1"), { backup: "told" });
  assert.deepEqual([(await items(store)).length, await store.get("meta", "sequence")], [1, 1]);
});

test("the pages hear of it when it is on the disk, not before", async () => {
  const store = await fresh();
  const heard = [];
  hear(store.user, (news) => heard.push(news));
  IDBObjectStore.prototype.add = () => {
    throw new DOMException("", "QuotaExceededError");
  };
  await assert.rejects(enqueue(store, departure()));
  assert.deepEqual(heard, []);
  IDBObjectStore.prototype.add = unpatchedAdd;

  const { id } = await enqueue(store, departure());

  assert.deepEqual(heard, [{ type: "queued", id, visit: "v1" }]);
});

test("what is listed says state and words, without bytes", async () => {
  const store = await fresh();
  const { body: _body, ...head } = await enqueue(store, departure({ about: "华东纸业" }));

  const [listed] = await items(store);

  assert.deepEqual(listed, { ...head, state: "waiting", reason: "", sentence: "", attempts: 0, next_at: 0, receipt: null });
});

test("finishing freezes the draft as it is on the disk and marks it sent", async () => {
  const store = await fresh();
  await store.put("drafts", { changed: 1, content: "换了网卡" }, "visit:v1");

  const item = await freezeAndFinish(store, "visit:v1", ({ content }) => ({ path: "/visits/v1/completion", visit: "v1", fields: [["content", content]] }));

  assert.equal(new URLSearchParams(text(item.body)).get("content"), "换了网卡");
  const draft = await store.get("drafts", "visit:v1");
  assert.deepEqual([draft.sent, draft.sent_at, draft.content], [item.id, item.device_at, "换了网卡"]);
});

test("finishing twice is one item; a draft that is not there cannot be finished", async () => {
  const store = await fresh();
  await store.put("drafts", { changed: 1 }, "visit:v1");
  const build = () => ({ path: "/visits/v1/completion", visit: "v1", fields: [] });

  const [one, other] = await Promise.all([freezeAndFinish(store, "visit:v1", build), freezeAndFinish(store, "visit:v1", build)]);

  assert.equal(one.id, other.id);
  assert.equal((await items(store)).length, 1);
  await assert.rejects(freezeAndFinish(store, "visit:none", build), /no draft/);
});

test("a hundred saves race with finishing: each is in the body, or is told that it came too late", async () => {
  const store = await fresh();
  const key = "visit:v1";
  const saved = [];
  await saveDraft(store, key, { changed: 0, value: 0 });

  const save = async (value) => {
    if (await saveDraft(store, key, { changed: 7, value })) saved.push(value);
  };
  const racing = [];
  for (let value = 1; value <= 100; value += 1) {
    racing.push(save(value));
    if (value % 7 === 0) await new Promise((done) => setImmediate(done));
    if (value === 30) racing.push(freezeAndFinish(store, key, async (draft) => ({ path: "/c", visit: "v1", fields: [["value", String(draft.value)]] })));
  }
  await Promise.all(racing);

  const [item] = await store.all("outbox");
  const last = saved.at(-1);
  assert.equal(new URLSearchParams(text(item.body)).get("value"), String(last), "the last save that was confirmed is what was sent");
  assert.deepEqual(saved, Array.from({ length: last }, (_, i) => i + 1));
  assert.equal((await store.get("drafts", key)).value, last);
  assert.equal((await store.get("drafts", key)).sent, item.id);
});

test("nobody's late save opens a draft again that was sent", async () => {
  const store = await fresh();
  await saveDraft(store, "visit:v1", { changed: 1, content: "sent" });
  const { id } = await freezeAndFinish(store, "visit:v1", () => ({ path: "/c", visit: "v1", fields: [] }));

  assert.equal(await saveDraft(store, "visit:v1", { changed: 2, content: "late" }), false);

  assert.deepEqual([(await store.get("drafts", "visit:v1")).content, (await store.get("drafts", "visit:v1")).sent], ["sent", id]);
});

test("a record is not finished with a photo that is missing or not as it was taken", async () => {
  const store = await fresh();
  const bytes = new TextEncoder().encode("a picture").buffer;
  const photo = { sha256: sha(bytes), bytes, size: bytes.byteLength, type: "image/jpeg", offset: 0, arrived: false, error: null };
  const finish = (photos) => enqueue(store, departure({ photos }));

  await assert.rejects(finish([photo.sha256]), (error) => error instanceof PhotoDamaged && error.sha256 === photo.sha256);
  await store.put("blobs", { ...photo, bytes: bytes.slice(1) });
  await assert.rejects(finish([photo.sha256]), PhotoDamaged);
  await store.put("blobs", { ...photo, bytes: new TextEncoder().encode("b picture").buffer });
  await assert.rejects(finish([photo.sha256]), PhotoDamaged);
  assert.deepEqual(await items(store), []);
  await store.put("blobs", photo);

  assert.deepEqual((await finish([photo.sha256])).photos, [photo.sha256]);
});

test("base64 and times are written as the office reads them", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));

  assert.equal(base64(bytes.buffer), Buffer.from(bytes).toString("base64"));
  assert.equal(base64OfHex("00ff10"), Buffer.from([0, 255, 16]).toString("base64"));
  const there = { getTime: () => Date.UTC(2026, 10, 21, 6, 9, 30, 5), getTimezoneOffset: () => -480 };
  assert.equal(localTime(there), "2026-11-21T14:09:30.005+08:00");
  assert.equal(localTime({ ...there, getTimezoneOffset: () => 210 }), "2026-11-21T02:39:30.005-03:30");
});
