import assert from "node:assert/strict";
import { test } from "node:test";
import { rowsIn } from "../../static/js/offline/record-forms.js";

test("as many rows are needed as the last one that a draft names", () => {
  const fields = [["parts-0-name", "电源"], ["parts-4-quantity", "2"], ["open_items-10-text", "风扇"]];

  assert.equal(rowsIn(fields, "parts"), 5);
  assert.equal(rowsIn(fields, "open_items"), 11);
  assert.equal(rowsIn([], "parts"), 0);
});
