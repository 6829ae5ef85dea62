import assert from "node:assert/strict";
import { test } from "node:test";
import { uuid7 } from "../../static/js/uuid7.js";

test("an id is a UUIDv7 that begins with its time", () => {
  const id = uuid7(0x0193_a1b2_c3d4);

  assert.match(id, /^0193a1b2-c3d4-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("ids are different, and later ones sort later", () => {
  assert.notEqual(uuid7(1), uuid7(1));
  assert.ok(uuid7(1_000) < uuid7(2_000));
});
