import { Locks, newStore, Office, json, sha } from "./office.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { enqueue, items } from "../../static/js/offline/outbox.js";
import { needed, packageOf } from "../../static/js/offline/rescue.js";
import { Sender } from "../../static/js/offline/sender.js";

const HOUR = 3_600_000;
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

  const { items: packed, photos, ...about } = JSON.parse(await packageOf(store, new Date(0)));

  assert.deepEqual({ ...about, made_at: Date.parse(about.made_at) }, {
    format: "fieldapp-rescue",
    version: 1,
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

  const { items: packed, photos } = JSON.parse(await packageOf(store));

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
