import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { canonical, rowsOf, sealed, shownOf } from "../../static/js/offline/shown.js";

const VECTORS = JSON.parse(readFileSync(new URL("./shown-vectors.json", import.meta.url), "utf8"));

for (const { name, value, text, sha256, code } of VECTORS) {
  test(`the same bytes as the server's: ${name}`, async () => {
    assert.deepEqual(await sealed(value), { text, sha256, code });
  });
}

test("what has no single spelling is not signed", () => {
  assert.throws(() => canonical({ price: 0.1 }), TypeError);
  assert.throws(() => canonical({ nothing: undefined }), TypeError);
});

test("half a character becomes the sign for an unreadable one, as it would on its way", () => {
  assert.equal(canonical("a\uD83D"), '"a\uFFFD"');
  assert.equal(canonical("a\0b"), '"ab"');
  assert.equal(canonical("😀"), '"😀"');
});

test("the record is shown with every value as it is sent, and rows that say nothing are left out", () => {
  const fields = [
    ["content_text", " 更换电源模块 "],
    ["parts-0-name", "电源"],
    ["parts-0-quantity", ""],
    ["parts-0-serial", "PSU-9"],
    ["parts-1-name", " "],
    ["parts-1-serial", "alone"],
    ["open_items-0-text", ""],
    ["solved", "one"],
    ["solved", "two"],
  ];
  const shown = shownOf(fields, { visit: "v", company: "c", engineer: "e", language: "zh-CN", backup: "signed", photos: ["ab"] });

  assert.equal(shown.content_text, " 更换电源模块 ");
  assert.equal(shown.outcome, "");
  assert.deepEqual(shown.parts, [{ name: "电源", quantity: "", serial: "PSU-9", old_serial: "" }]);
  assert.deepEqual(shown.open_items, []);
  assert.deepEqual(shown.solved, ["one", "two"]);
  assert.deepEqual([shown.form_version, shown.consent, shown.backup, shown.photos], ["2", "customer/1", "signed", ["ab"]]);
});

test("the tenth row comes after the second", () => {
  const fields = Array.from({ length: 11 }, (_each, n) => [`parts-${n}-name`, `part ${n}`]);

  assert.deepEqual(rowsOf(fields, "parts").map(({ name }) => name), fields.map(([, name]) => name));
});
