import assert from "node:assert/strict";
import { test } from "node:test";
import { fitted } from "../../static/js/photo.js";

test("the longest side is at most 1600 pixels and the shape stays", () => {
  assert.deepEqual(fitted(4000, 3000), [1600, 1200]);
  assert.deepEqual(fitted(3000, 4000), [1200, 1600]);
  assert.deepEqual(fitted(20_000, 3), [1600, 1]);
});

test("a small picture is not enlarged", () => {
  assert.deepEqual(fitted(640, 480), [640, 480]);
});
