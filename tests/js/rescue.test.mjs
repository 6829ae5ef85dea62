import { Locks, newStore, Office, json, sha } from "./office.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { enqueue, items } from "../../static/js/offline/outbox.js";
import { needed, packageOf, partsOf } from "../../static/js/offline/rescue.js";
import { Sender } from "../../static/js/offline/sender.js";

const HOUR = 3_600_000;
const whole = async (store, now) => packageOf(store, (await partsOf(store))[0], now);
const step = (store, name, more = {}) => enqueue(store, { path: `/visits/v1/${name}`, fields: [["note", "换了网卡"]], visit: "v1", baseRevision: 3, ...more });

test("the package holds what the office has not received, byte for byte, with the same ids", async () => {
  const store = await newStore();
  const office = new Office(store.user);
  const sender = new Sender(store, { fetch: office.fetch, online: () => true, locks: new Locks().tab() });
  const bytes = new TextEncoder().encode("a picture").buffer;
  await step(store, "departure");
  await sender.wake();
  await store.put("blobs", { sha256: sha(bytes), bytes, size: 9, type: "image/jpeg", offset: 0, arrived: false, error: null });
  const refused = await step(store, "arrival");
  office.answers = [() => json(403, { error: "refused" })];
  office.toPhoto = () => json(500, {});
  await sender.wake();
  sender.stop();
  const waiting = await step(store, "completion", { photos: [sha(bytes)] });
  await store.put("uploads", { arrived: false, error: { code: "invalid", sentence: "" } }, sha(bytes));

  const { items: packed, photos, ...about } = JSON.parse(await whole(store, new Date(0)));

  assert.deepEqual({ ...about, made_at: Date.parse(about.made_at) }, {
    format: "fieldapp-rescue",
    version: 1,
    part: 1,
    parts: 1,
    user: store.user,
    device: await store.get("meta", "device"),
    made_at: 0,
  });
  assert.deepEqual(packed.map(({ id }) => id), [refused.id, waiting.id]);
  assert.deepEqual(packed[0], {
    sequence: 2,
    id: refused.id,
    path: "/visits/v1/arrival",
    body_b64: Buffer.from(refused.body).toString("base64"),
    sha256: refused.sha256,
    type: "application/x-www-form-urlencoded",
    device_at: refused.device_at,
    zone: refused.zone,
    form_version: "2",
    base_revision: 3,
  });
  assert.deepEqual(photos, [{ sha256: sha(bytes), type: "image/jpeg", bytes_b64: Buffer.from(bytes).toString("base64") }]);
});

test("photos that have arrived need no rescue", async () => {
  const store = await newStore();
  const office = new Office(store.user);
  const bytes = new TextEncoder().encode("a picture").buffer;
  await store.put("blobs", { sha256: sha(bytes), bytes, size: 9, type: "image/jpeg", offset: 0, arrived: false, error: null });
  await step(store, "completion", { photos: [sha(bytes)] });
  await new Sender(store, { fetch: office.fetch, online: () => true, locks: new Locks().tab() }).wake();

  const { items: packed, photos } = JSON.parse(await whole(store));

  assert.deepEqual([packed, photos], [[], []]);
});

test("the package is offered for what needs attention, after 24 h, and after 50 tries", async () => {
  const store = await newStore();
  await step(store, "departure");
  const [item] = await items(store);
  const now = Date.parse(item.device_at);

  assert.equal(needed([item], now + 23 * HOUR), false);
  assert.equal(needed([item], now + 25 * HOUR), true);
  assert.equal(needed([{ ...item, attempts: 50 }], now), true);
  assert.equal(needed([{ ...item, state: "attention" }], now), true);
  assert.equal(needed([{ ...item, state: "received" }], now + 99 * HOUR), false);
});

test("photos that do not get through for a day get a package, though their record was received", async () => {
  const store = await newStore();
  await step(store, "completion");
  const [item] = await items(store);
  const received = { ...item, state: "received" };
  const now = Date.parse(item.device_at);

  assert.equal(needed([received], now + 25 * HOUR, () => true), true);
  assert.equal(needed([received], now + 23 * HOUR, () => true), false);
  assert.equal(needed([received], now + 99 * HOUR, () => false), false);
});

test("a fortnight's photos become several files that the office reads, with everything in them once", async () => {
  const store = await newStore();
  const names = [];
  const steps = [await step(store, "departure"), await step(store, "arrival")];
  for (let i = 0; i < 7; i += 1) {
    const bytes = new Uint8Array(5_000_000).fill(i).buffer;
    names.push(sha(bytes));
    await store.put("blobs", { sha256: sha(bytes), bytes, size: bytes.byteLength, type: "image/jpeg" });
  }

  const parts = await partsOf(store);
  const files = [];
  for (const part of parts) files.push(await packageOf(store, part));

  assert.deepEqual(files.map((file) => JSON.parse(file)).map(({ part, parts: count }) => [part, count]), [[1, 4], [2, 4], [3, 4], [4, 4]]);
  assert.ok(files.every((file) => file.length < 16_500_000), "as much as mail and proxies carry");
  const all = files.map((file) => JSON.parse(file));
  assert.deepEqual(all.flatMap((file) => file.items).map(({ id }) => id), steps.map(({ id }) => id));
  assert.deepEqual(all.flatMap((file) => file.photos).map(({ sha256 }) => sha256).sort(), names.sort());
});

test("a thing larger than a file is a file of its own, and many small ones are not too many for the office", async () => {
  const store = await newStore();
  const large = new Uint8Array(13_000_000).buffer;
  for (const [name, bytes] of [["a", large], ["b", new ArrayBuffer(1)]]) await store.put("blobs", { sha256: name, bytes, size: bytes.byteLength, type: "image/jpeg" });
  assert.deepEqual((await partsOf(store)).map(({ photos }) => photos), [["a"], ["b"]]);

  const many = await newStore();
  await many.transaction(["blobs"], async (tx) => {
    for (let i = 0; i < 501; i += 1) await tx.objectStore("blobs").put({ sha256: String(i), bytes: new ArrayBuffer(1), size: 1, type: "image/jpeg" });
  });
  assert.deepEqual((await partsOf(many)).map(({ photos }) => photos.length), [500, 1]);
});

test("what has arrived since the files were counted is no reason to fail", async () => {
  const store = await newStore();
  const bytes = new ArrayBuffer(3);
  await store.put("blobs", { sha256: sha(bytes), bytes, size: 3, type: "image/jpeg" });
  await step(store, "departure");
  const [part] = await partsOf(store);
  await store.delete("blobs", sha(bytes));
  await store.delete("outbox", 1);

  const { items: packed, photos } = JSON.parse(await packageOf(store, part));

  assert.deepEqual([packed, photos], [[], []]);
});
