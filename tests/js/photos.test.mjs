import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { fitted, forget, keep, named } from "../../static/js/offline/photos.js";
import { enqueue, PhotoDamaged } from "../../static/js/offline/outbox.js";
import { Store } from "../../static/js/offline/store.js";
import { fateOf } from "../../static/js/offline/upload.js";

test("a photo fits into 1600 pixels, upright or not, and is never enlarged", () => {
  assert.deepEqual(fitted(4000, 3000), [1600, 1200]);
  assert.deepEqual(fitted(3000, 4000), [1200, 1600]);
  assert.deepEqual(fitted(800, 600), [800, 600]);
  assert.deepEqual(fitted(5000, 2), [1600, 1]);
});

test("a photo is named by its bytes", async () => {
  const bytes = new TextEncoder().encode("abc").buffer;

  const photo = await named({ bytes, width: 4, height: 3 }, "before", Date.UTC(2026, 10, 22, 6, 9));

  assert.equal(photo.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.deepEqual([photo.size, photo.kind, photo.caption, photo.width, photo.height], [3, "before", "", 4, 3]);
  assert.equal(Date.parse(photo.taken_at), Date.UTC(2026, 10, 22, 6, 9));
});

test("a photo that is taken out of a draft stays while another visit needs its bytes", async () => {
  const store = await Store.open("photos-of-two-visits");
  const names = (sha256, more = {}) => ({ photos: [{ sha256 }], ...more });
  for (const sha256 of ["own", "waits", "received", "shared", "sent"]) await store.put("blobs", { sha256 });
  await store.put("sending", { head: { photos: ["waits"] } }, "1");
  await store.put("receipts", { head: { photos: ["received"] } }, "2");
  await store.put("drafts", { photos: ["own", "waits", "received", "shared", "sent"].map((sha256) => ({ sha256 })) }, "visit:1");
  await store.put("drafts", names("shared"), "visit:2");
  await store.put("drafts", names("sent", { sent: "3" }), "visit:3");

  for (const sha of await store.keys("blobs")) await store.transaction(["blobs", "sending", "receipts", "drafts"], (tx) => forget(tx, sha));

  assert.deepEqual(await store.keys("blobs"), ["received", "shared", "waits"]);
});

test("a photo that was damaged on the phone is whole again when the same picture is chosen once more", async () => {
  const store = await Store.open("photos-damaged");
  const bytes = new TextEncoder().encode("a picture").buffer;
  const photo = await named({ bytes, width: 4, height: 3 }, "before", 0);
  const record = (visit) => enqueue(store, { path: `/visits/${visit}/completion`, fields: [], visit, photos: [photo.sha256] });
  await store.put("blobs", { sha256: photo.sha256, bytes: new ArrayBuffer(9), size: 9, type: "image/jpeg" });
  await store.put("uploads", { arrived: false, error: { code: "damaged", sentence: "" } }, photo.sha256);
  await assert.rejects(record("v1"), PhotoDamaged);

  await store.transaction(["blobs", "uploads"], (tx) => keep(tx, photo, bytes));

  assert.deepEqual((await record("v1")).photos, [photo.sha256]);
  assert.deepEqual(await fateOf(store, [photo.sha256]), { arrived: 0, error: null }, "and it is sent again");
});

test("a photo that the office has is not sent again for being chosen in another record", async () => {
  const store = await Store.open("photos-arrived");
  const bytes = new TextEncoder().encode("a picture").buffer;
  const photo = await named({ bytes, width: 4, height: 3 }, "before", 0);
  await store.put("uploads", { arrived: true }, photo.sha256);

  await store.transaction(["blobs", "uploads"], (tx) => keep(tx, photo, bytes));

  assert.deepEqual(await fateOf(store, [photo.sha256]), { arrived: 1, error: null });
});
