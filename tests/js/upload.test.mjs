import { json, Locks, newStore, Office, sha, until } from "./office.mjs";
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { hear } from "../../static/js/offline/channel.js";
import { enqueue, items } from "../../static/js/offline/outbox.js";
import { prune } from "../../static/js/offline/prune.js";
import { Sender } from "../../static/js/offline/sender.js";
import { QuotaFull } from "../../static/js/offline/store.js";
import { fateOf } from "../../static/js/offline/upload.js";

const RANGE = 65_536;
const DAY = 86_400_000;
const gone = () => {
  throw new TypeError("Failed to fetch");
};

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: Date.UTC(2026, 10, 22, 4) });
});

async function phone() {
  const store = await newStore();
  const office = new Office(store.user);
  const sender = new Sender(store, { fetch: office.fetch, random: () => 1, online: () => true, locks: new Locks().tab() });
  return { store, office, sender };
}

/** A photo on the phone, of this many bytes. */
async function taken(store, size) {
  const { buffer: bytes } = crypto.getRandomValues(new Uint8Array(Math.min(size, RANGE)));
  const whole = new Uint8Array(size);
  for (let at = 0; at < size; at += RANGE) whole.set(new Uint8Array(bytes).subarray(0, Math.min(RANGE, size - at)), at);
  const photo = { sha256: sha(whole), bytes: whole.buffer, size, type: "image/jpeg" };
  await store.put("blobs", photo);
  return photo;
}

const record = (store, photos, visit = "v1") => enqueue(store, { path: `/visits/${visit}/completion`, fields: [], visit, photos });
const told = (office, method) => office.requests.filter((line) => line.startsWith(method));

test("photos follow their record, in ranges of 64 KiB", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 2 * RANGE + 5);
  const shares = [];
  hear(store.user, ({ type, sha256, share }) => type === "upload" && shares.push([sha256, share]));
  await record(store, [photo.sha256]);

  await sender.wake();

  const url = `/photos/${photo.sha256}`;
  assert.deepEqual(office.requests.filter((line) => !line.includes("contact")), ["POST /visits/v1/completion", `HEAD ${url}`, `PUT ${url}`, `PUT ${url}`, `PUT ${url}`]);
  assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
  assert.deepEqual(shares.map(([, share]) => Math.round(share * 100)), [0, 50, 100, 100]);
  assert.equal((await store.get("uploads", photo.sha256)).arrived, true);
  assert.deepEqual((await store.get("uploads", photo.sha256)).server, "server-1");
  await sender.wake();
  assert.equal(told(office, "PUT").length, 3, "what has arrived is not sent again");
});

test("a photo of a draft goes early only when nothing else waits", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 10);
  await record(store, []);
  office.answers = [() => json(500, {})];

  await sender.wake();
  assert.deepEqual(told(office, "HEAD"), []);
  await sender.wake(true);

  assert.deepEqual(told(office, "HEAD"), [`HEAD /photos/${photo.sha256}`]);
  assert.equal((await store.get("uploads", photo.sha256)).arrived, true);
});

for (const cut of Array.from({ length: 8 }, (_, i) => i)) {
  test(`X15 the connection is cut at step ${cut}: it goes on where the office is`, async () => {
    const { store, office, sender } = await phone();
    const photo = await taken(store, 3 * RANGE + 7);
    await record(store, [photo.sha256]);
    let step = 0;
    office.toPhoto = () => (step++ === cut ? gone() : null);

    for (let i = 0; i < 3; i += 1) await sender.wake(true);

    assert.equal((await store.get("uploads", photo.sha256)).arrived, true);
    assert.equal(office.photos.size, 1);
    assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
    assert.ok(told(office, "PUT").length <= 8, "after a cut in halves");
  });
}

for (const part of [1, RANGE - 1, RANGE]) {
  test(`X15 the office kept ${part} bytes of a range whose answer was lost: only the rest is sent`, async () => {
    const { store, office, sender } = await phone();
    const photo = await taken(store, 2 * RANGE);
    await record(store, [photo.sha256]);
    let cut = true;
    office.toPhoto = (name, { method, body }) => {
      if (method !== "PUT" || !cut) return null;
      cut = false;
      office.photos.set(name, Buffer.from(body).subarray(0, part));
      return gone();
    };

    await sender.wake();
    await sender.wake(true);

    assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
  });
}

test("a line that breaks at every long range gets short ones, and the photo arrives", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, RANGE);
  await record(store, [photo.sha256]);
  const users = new Set();
  office.toPhoto = (_, { method, body, headers }) => {
    users.add(headers["X-User"]);
    return method === "PUT" && body.byteLength > 5_000 ? gone() : null;
  };

  for (let i = 0; i < 5; i += 1) await sender.wake(true);

  assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
  assert.deepEqual(users, new Set([store.user]));
});

test("an office that is at another place says so, and is followed", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 2 * RANGE);
  await record(store, [photo.sha256]);
  office.toPhoto = (name, { method }) => {
    if (method !== "HEAD") return null;
    office.photos.set(name, Buffer.from(photo.bytes).subarray(0, 100));
    return new Response(null, { headers: { "Upload-Offset": "0", "Upload-Complete": "?0" } });
  };

  await sender.wake();

  assert.equal((await store.get("uploads", photo.sha256)).arrived, true);
});

test("an office that sends us back and forth ends somewhere", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 10);
  await record(store, [photo.sha256]);
  office.toPhoto = (_, { method, headers }) => (method === "PUT" ? json(409, { error: "offset", offset: headers["Upload-Offset"] === "5" ? 0 : 5 }) : null);

  await sender.wake();

  assert.ok(told(office, "PUT").length < 10);
  assert.equal(await store.get("uploads", photo.sha256), undefined);
  sender.stop();
});

test("X16 the office counts another hash: our own bytes are checked and all of them sent again", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, RANGE + 3);
  await record(store, [photo.sha256]);
  let damage = true;
  office.toPhoto = (name, { method, body, headers }) => {
    if (method !== "PUT" || !damage) return null;
    damage = false;
    const bytes = Buffer.from(body);
    bytes[5] ^= 1;
    return office.keep(name, bytes, Number(headers["Upload-Length"]));
  };

  await sender.wake();
  assert.equal(office.photos.has(photo.sha256), false);
  await sender.wake(true);

  assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
});

test("X16 a photo that is damaged here is marked, not sent for ever", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 50);
  const other = await taken(store, 60);
  await record(store, [photo.sha256, other.sha256]);
  await store.put("blobs", { ...photo, bytes: new ArrayBuffer(50) });

  await sender.wake();
  await sender.wake(true);

  assert.deepEqual((await store.get("uploads", photo.sha256)).error, { code: "damaged", sentence: "Not what was sent." });
  assert.equal(told(office, "HEAD").length, 2);
  assert.equal((await store.get("uploads", other.sha256)).arrived, true);
  assert.equal(await prune(store, { urgent: true }), true);
  assert.deepEqual(await store.keys("blobs"), [photo.sha256], "what has not arrived stays, damaged or not");
  assert.equal(await prune(store, { urgent: true }), false);
});

test("what is no picture for the office is kept, with its words", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 50);
  await record(store, [photo.sha256]);
  office.toPhoto = (_, { method }) => (method === "PUT" ? json(422, { error: "invalid", message: "这不是照片。" }) : null);

  await sender.wake();

  const [kept, fate] = [await store.get("blobs", photo.sha256), await store.get("uploads", photo.sha256)];
  assert.deepEqual([fate.error, kept.bytes.byteLength], [{ code: "invalid", sentence: "这不是照片。" }, 50]);
});

test("a portal between is no office: nothing counts as arrived", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 50);
  await record(store, [photo.sha256]);
  const answers = [
    () => new Response("<h1>Wi-Fi</h1>", { headers: { "Content-Type": "text/html" } }),
    () => new Response(null, { status: 404, headers: { "Upload-Offset": "50", "Upload-Complete": "?1" } }),
    (_, { method }) => (method === "PUT" ? json(200, { complete: true, offset: 50 }) : null),
    (_, { method }) => (method === "PUT" ? json(200, { sha256: "other", server: "s", offset: 50, complete: true }) : null),
    (_, { method }) => (method === "PUT" ? json(200, { sha256: photo.sha256, server: "s", offset: 0, complete: false }) : null),
  ];
  for (const answer of answers) {
    office.toPhoto = answer;
    await sender.wake(true);
    assert.equal(await store.get("uploads", photo.sha256), undefined);
  }
  sender.stop();
});

test("a log-in that ended pauses photos too; a new record goes before the next range", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 3 * RANGE);
  await record(store, [photo.sha256]);
  office.toPhoto = () => json(401, { error: "login_needed" });
  await sender.wake();
  await sender.wake(true);
  assert.equal(told(office, "HEAD").length, 1);

  office.toPhoto = async (name, init) => {
    office.toPhoto = null;
    await record(store, [], "v2");
    void sender.wake();
    return office.photo(name, init);
  };
  await sender.check();
  await sender.wake();

  const [second, last] = [office.requests.lastIndexOf("POST /visits/v2/completion"), office.requests.lastIndexOf(`PUT /photos/${photo.sha256}`)];
  assert.ok(second > 0 && second < last);
});

test("photos wait as well when a record finds nobody, or nobody logged in", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 50);
  await record(store, [photo.sha256]);
  office.toPhoto = () => json(500, {});
  await sender.wake();
  await record(store, [], "v2");
  await record(store, [], "v3");
  const heads = () => told(office, "HEAD").length;
  const before = heads();

  office.answers = [gone, gone];
  await sender.wake(true);
  assert.equal(heads(), before);
  office.answers = [() => json(401, { error: "login_needed" })];
  await sender.wake(true);

  assert.equal(heads(), before);
});

test("Retry-After of a busy office holds a photo, and a failed one is tried again by itself", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 10);
  await record(store, [photo.sha256]);
  office.toPhoto = () => json(503, {}, { "Retry-After": "30" });
  await sender.wake();
  office.toPhoto = null;

  await sender.wake(true);
  assert.equal(told(office, "HEAD").length, 1);
  mock.timers.tick(30_000);
  await until(async () => (await store.get("uploads", photo.sha256))?.arrived);

  assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
});

test("after a new epoch the photos are offered again", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 10);
  await record(store, [photo.sha256]);
  await sender.check();
  await sender.wake();
  office.photos.clear();
  office.epoch = 2;

  await sender.check();
  await sender.wake();

  assert.equal(sha(office.photos.get(photo.sha256)), photo.sha256);
});

test("X18 no room for a photo: those that the office has make some; without them it is refused", async () => {
  const { store, sender } = await phone();
  store.relief = () => prune(store, { urgent: true });
  const old = await taken(store, 100);
  const draft = await taken(store, 90);
  await record(store, [old.sha256]);
  const put = IDBObjectStore.prototype.put;
  let room = 0;
  IDBObjectStore.prototype.put = function (value, key) {
    if (this.name === "blobs" && room <= 0) throw new DOMException("", "QuotaExceededError");
    return put.call(this, value, key);
  };
  try {
    await assert.rejects(taken(store, 80), QuotaFull);
    assert.deepEqual((await store.keys("blobs")).sort(), [old.sha256, draft.sha256].sort(), "what has not arrived stays");
    await sender.wake();
    const remove = IDBObjectStore.prototype.delete;
    IDBObjectStore.prototype.delete = function (key) {
      if (key === old.sha256) room = 1;
      return remove.call(this, key);
    };
    const young = await taken(store, 80);
    IDBObjectStore.prototype.delete = remove;
    assert.deepEqual((await store.keys("blobs")).sort(), [young.sha256, draft.sha256].sort());
  } finally {
    IDBObjectStore.prototype.put = put;
  }
});

test("X18 a full phone notes what has arrived, and goes on with the next photo", async () => {
  const { store, office, sender } = await phone();
  const photos = [await taken(store, 100), await taken(store, 90)];
  await record(store, photos.map(({ sha256 }) => sha256));
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function (value, key) {
    if (this.name === "blobs") throw new DOMException("", "QuotaExceededError");
    return put.call(this, value, key);
  };
  try {
    await sender.wake();
  } finally {
    IDBObjectStore.prototype.put = put;
  }

  assert.equal(office.photos.size, 2);
  for (const { sha256 } of photos) assert.equal((await store.get("uploads", sha256))?.arrived, true);
});

test("a photo that was removed while it was on its way does not come back", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 2 * RANGE);
  office.toPhoto = (name, { method }) => void (method === "PUT" && store.delete("blobs", name));

  await sender.wake();

  assert.deepEqual(await store.keys("blobs"), []);
  assert.equal((await store.get("uploads", photo.sha256)).arrived, true);
});

test("an arrived photo that another waiting record names is not pruned", async () => {
  const { store, office, sender } = await phone();
  const photo = await taken(store, 100);
  await record(store, [photo.sha256]);
  await sender.wake();
  office.answers = [() => json(500, {})];
  await record(store, [photo.sha256], "v2");
  await sender.wake();

  await prune(store, { urgent: true });
  assert.deepEqual(await store.keys("blobs"), [photo.sha256]);
  await sender.wake(true);
  await prune(store, { urgent: true });

  assert.deepEqual(await store.keys("blobs"), []);
  assert.deepEqual((await record(store, [photo.sha256], "v3")).photos, [photo.sha256], "what the office has need not be here");
  sender.stop();
});

test("two records show the same photo: the younger keeps it when the older leaves", async () => {
  const { store, sender } = await phone();
  const photo = await taken(store, 50);
  const older = await record(store, [photo.sha256]);
  await record(store, [photo.sha256], "v2");
  await sender.wake();
  const receipt = await store.get("receipts", older.id);
  await store.put("receipts", { ...receipt, received_at: new Date(Date.now() - 31 * DAY).toISOString() }, older.id);

  await prune(store);

  assert.deepEqual((await items(store)).map(({ visit }) => visit), ["v2"]);
  assert.deepEqual(await store.keys("blobs"), [photo.sha256], "an office that was restored may ask for it again");
  assert.deepEqual(await fateOf(store, [photo.sha256]), { arrived: 1, error: null }, "and nothing is said to wait that has arrived");
  sender.stop();
});

test("a photo that has arrived with an old record can still be sent with one that was begun since", async () => {
  const { store, sender } = await phone();
  const photo = await taken(store, 50);
  const old = await record(store, [photo.sha256]);
  await store.put("drafts", { visit: "v2", photos: [{ sha256: photo.sha256 }] }, "visit:v2");
  await sender.wake();

  await prune(store, { now: () => Date.now() + 31 * DAY });

  assert.equal(await store.get("receipts", old.id), undefined);
  assert.deepEqual((await record(store, [photo.sha256], "v2")).photos, [photo.sha256]);
  sender.stop();
});

test("the draft that became a record leaves with its receipt; one that was not sent never does", async () => {
  const { store, sender } = await phone();
  const sent = await record(store, []);
  await store.put("drafts", { visit: "v1", photos: [], sent: sent.id }, "visit:v1");
  await store.put("drafts", { visit: "v2", photos: [], sent: "0193a1b2-0000-7000-8000-000000000001" }, "visit:v2");
  await store.put("drafts", { visit: "v3", photos: [] }, "visit:v3");
  await sender.wake();

  await prune(store, { now: () => Date.now() + 29 * DAY });
  assert.equal((await store.keys("drafts")).length, 3);
  await prune(store, { now: () => Date.now() + 31 * DAY });

  assert.deepEqual(await store.keys("drafts"), ["visit:v2", "visit:v3"]);
  sender.stop();
});
