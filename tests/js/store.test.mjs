import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { openStore, QuotaFull, Store, StoreLost } from "../../static/js/offline/store.js";

const unpatched = { transaction: IDBDatabase.prototype.transaction, put: IDBObjectStore.prototype.put };
let users = 0;

/** A store of a new person. */
const fresh = () => Store.open(`store-test-${(users += 1)}`);

afterEach(() => {
  IDBDatabase.prototype.transaction = unpatched.transaction;
  IDBObjectStore.prototype.put = unpatched.put;
});

/** The next `times` transactions find a dead handle. */
function killHandle(times) {
  IDBDatabase.prototype.transaction = function (...args) {
    if (times > 0) {
      times -= 1;
      throw new DOMException("The database connection is closing.", "InvalidStateError");
    }
    return unpatched.transaction.apply(this, args);
  };
}

/** The phone is full: nothing can be put into these stores while `full()`. */
function fillPhone(full) {
  IDBObjectStore.prototype.put = function (...args) {
    if (full(this)) throw new DOMException("", "QuotaExceededError");
    return unpatched.put.apply(this, args);
  };
}

const ballastOf = async (store) => (await store.keys("ballast")).length;

/** The ballast is laid in behind the opening. */
async function withBallast() {
  const store = await fresh();
  while ((await ballastOf(store)) < 6) await new Promise((done) => setImmediate(done));
  return store;
}

test("what was put is found again by another page", async () => {
  const store = await fresh();
  await store.put("drafts", { text: "换了网卡" }, "visit:1");

  const other = await Store.open(store.user);

  assert.deepEqual(await other.get("drafts", "visit:1"), { text: "换了网卡" });
  assert.deepEqual(await other.all("drafts"), [{ text: "换了网卡" }]);
  assert.deepEqual(await other.keys("drafts"), ["visit:1"]);
  await other.delete("drafts", "visit:1");
  assert.equal(await store.get("drafts", "visit:1"), undefined);
});

test("each person has an own database; a phone's number stays", async () => {
  const [mine, yours] = [await fresh(), await fresh()];
  await mine.put("drafts", { text: "mine" }, "visit:1");

  assert.equal(await yours.get("drafts", "visit:1"), undefined);
  assert.match(await mine.get("meta", "device"), /^[0-9a-f-]{36}$/);
  assert.equal(await (await Store.open(mine.user)).get("meta", "device"), await mine.get("meta", "device"));
});

test("the modules of a page share one store", async () => {
  assert.equal(await openStore("shared"), await openStore("shared"));
});

test("every write asks for strict durability", async () => {
  const asked = [];
  IDBDatabase.prototype.transaction = function (names, mode, options) {
    if (mode === "readwrite") asked.push(options?.durability);
    return unpatched.transaction.call(this, names, mode, options);
  };

  const store = await fresh();
  await store.put("drafts", {}, "visit:1");
  await store.delete("drafts", "visit:1");
  await store.transaction(["drafts", "meta"], async (tx) => tx.objectStore("meta").put(1, "x"));

  assert.ok(asked.length >= 4);
  assert.deepEqual(new Set(asked), new Set(["strict"]));
});

test("a transaction is all or nothing", async () => {
  const store = await fresh();

  const failed = store.transaction(["drafts", "meta"], async (tx) => {
    await tx.objectStore("drafts").put({ text: "half" }, "visit:1");
    throw new Error("no");
  });

  await assert.rejects(failed, /^Error: no$/);
  assert.equal(await store.get("drafts", "visit:1"), undefined);
});

test("X20 a handle that died is opened again, and the value is saved", async () => {
  const store = await withBallast();
  const lost = [];
  store.onLost((error) => lost.push(error));

  killHandle(1);
  await store.put("drafts", { text: "still here" }, "visit:1");

  assert.deepEqual(await store.get("drafts", "visit:1"), { text: "still here" });
  assert.deepEqual(lost, []);
});

test("X20 a handle that dies twice is said aloud; the next save tries again", async () => {
  const store = await withBallast();
  const lost = [];
  store.onLost((error) => lost.push(error));

  killHandle(2);
  await assert.rejects(store.put("drafts", { text: "x" }, "visit:1"), StoreLost);

  assert.equal(lost.length, 1);
  await store.put("drafts", { text: "back" }, "visit:1");
  assert.deepEqual(await store.get("drafts", "visit:1"), { text: "back" });
});

test("X20 a transaction that the browser aborts is repeated whole", async () => {
  const store = await fresh();
  let times = 0;

  await store.transaction(["meta"], async (tx) => {
    times += 1;
    await tx.objectStore("meta").put("value", "key");
    if (times === 1) tx.abort();
  });

  assert.equal(times, 2);
  assert.equal(await store.get("meta", "key"), "value");
});

test("a database that cannot be opened is lost, not silent", async () => {
  const open = indexedDB.open;
  indexedDB.open = () => {
    throw new DOMException("", "SecurityError");
  };
  try {
    await assert.rejects(openStore("refused"), StoreLost);
  } finally {
    indexedDB.open = open;
  }
  await openStore("refused");
});

test("a page with a newer version is not held up, and the older page goes on", async () => {
  const store = await fresh();
  await store.put("drafts", { text: "old page" }, "visit:1");

  const newer = await new Promise((done, failed) => {
    const request = indexedDB.open(`fieldapp-${store.user}`, 2);
    request.onsuccess = () => done(request.result);
    request.onblocked = () => failed(new Error("blocked"));
  });
  newer.close();
  await store.put("drafts", { text: "old page, later" }, "visit:1");

  assert.deepEqual(await store.get("drafts", "visit:1"), { text: "old page, later" });
});

test("X18 the last save gets through a full phone: the ballast makes room", async () => {
  const store = await withBallast();
  let room = false;
  const clear = IDBObjectStore.prototype.clear;
  IDBObjectStore.prototype.clear = function () {
    room = true;
    return clear.call(this);
  };
  fillPhone(() => !room);

  await store.put("drafts", { text: "the last" }, "visit:1");

  IDBObjectStore.prototype.clear = clear;
  assert.deepEqual(await store.get("drafts", "visit:1"), { text: "the last" });
  assert.equal(await ballastOf(store), 0);
});

test("X18 a photo is refused on a full phone and does not cost the ballast", async () => {
  const store = await withBallast();
  fillPhone(({ name }) => name === "blobs");

  await assert.rejects(store.put("blobs", { sha256: "ab", bytes: new ArrayBuffer(4) }), QuotaFull);

  assert.equal(await ballastOf(store), 6);
  assert.deepEqual(await store.all("blobs"), []);
});

test("X18 when even the ballast is not enough, nothing claims to be saved", async () => {
  const store = await withBallast();
  fillPhone(({ name }) => name === "drafts");

  await assert.rejects(store.put("drafts", {}, "visit:1"), QuotaFull);
  await assert.rejects(store.put("drafts", {}, "visit:1"), QuotaFull);

  assert.equal(await store.get("drafts", "visit:1"), undefined);
});

test("the ballast comes back when there is room again, and is not laid in twice", async () => {
  const store = await withBallast();
  await store.transaction(["ballast"], (tx) => tx.objectStore("ballast").clear());

  fillPhone(({ name }) => name === "ballast");
  await store.refill();
  assert.equal(await ballastOf(store), 0);
  fillPhone(() => false);
  await store.refill();
  await store.refill();

  assert.equal(await ballastOf(store), 6);
});
