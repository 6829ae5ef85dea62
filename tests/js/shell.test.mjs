/** What is said of a tap that could not be kept. */
import { newStore } from "./office.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { enqueue, items } from "../../static/js/offline/outbox.js";
import { whyNot } from "../../static/js/offline/shell.js";
import { StoreLost } from "../../static/js/offline/store.js";

const WORDS = { full: "no room", notKept: "tap again" };
const refused = (work) => work.then(() => assert.fail("it was kept"), (error) => whyNot(error, WORDS));

test("X18 a step that a full phone cannot keep says so, and is not in the queue", async () => {
  const store = await newStore();
  const { add } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.add = () => {
    throw new DOMException("", "QuotaExceededError");
  };
  try {
    assert.equal(await refused(enqueue(store, { path: "/visits/v1/arrival", fields: [], visit: "v1" })), "no room");
  } finally {
    IDBObjectStore.prototype.add = add;
  }
  assert.deepEqual(await items(store), []);
});

test("whatever else goes wrong is said as well; of a dead database the dialog speaks", () => {
  assert.equal(whyNot(new TypeError("?"), WORDS), "tap again");
  assert.equal(whyNot(new StoreLost(""), WORDS), "");
});
