import assert from "node:assert/strict";
import { test } from "node:test";
import { methodOf, wrongInForm, wrongInSignature } from "../../static/js/offline/check.js";

const KNOWN = { backup: "signed", startedByEvent: "2026-11-22T13:05", now: "2026-11-22T14:09", limits: { content_text: [20, 3], "parts-*-name": [5, null] } };
const GOOD = { service_type: "maintenance", content_text: "更换电源", outcome: "all_done", started_at: "2026-11-22T13:05", ended_at: "" };
const DRAWN = JSON.stringify({ v: 1, w: 300, h: 150, strokes: [[[1000, 1000, 0], [5000, 2500, 16], [1000, 2500, 32]]] });
const DOT = JSON.stringify({ v: 1, w: 300, h: 150, strokes: [[[1000, 1000, 0]]] });

/** @param {object} changed */
const wrong = (changed, known = {}) => Object.fromEntries(wrongInForm(Object.entries({ ...GOOD, ...changed }), { ...KNOWN, ...known }));

test("a record that says everything is good", () => {
  assert.deepEqual(wrong({}), {});
});

test("what is missing is named in the order of the form", () => {
  const found = wrongInForm([], { ...KNOWN, backup: "open" });

  assert.deepEqual([...found], [
    ["service_type", "service_type"],
    ["content_text", "content_text"],
    ["outcome", "outcome"],
    ["backup", "backup"],
    ["started_at", "started_at"],
  ]);
});

test("a text of blanks says nothing", () => {
  assert.deepEqual(wrong({ content_text: " \n " }), { content_text: "content_text" });
});

test("outcome and open items must agree", () => {
  assert.deepEqual(wrong({ outcome: "remaining" }), { open_items: "open_items" });
  assert.deepEqual(wrong({ "open_items-0-text": "风扇" }), { outcome: "not_all_done" });
  assert.deepEqual(wrong({ outcome: "remaining", "open_items-2-text": "风扇" }), {});
});

test("refused and not applicable settle the backup reminder", () => {
  for (const backup of ["signed", "refused", "not_applicable"]) assert.deepEqual(wrong({}, { backup }), {});
  assert.deepEqual(wrong({}, { backup: "open" }), { backup: "backup" });
});

test("times that cannot be", () => {
  assert.deepEqual(wrong({ started_at: "2026-11-22T14:30" }), { ended_at: "ends_before" });
  assert.deepEqual(wrong({ ended_at: "2026-11-22T14:20" }), { ended_at: "ends_later" });
  assert.deepEqual(wrong({ ended_at: "2026-11-22T14:19" }), {});
  assert.deepEqual(wrong({ started_at: "2026-11-01T13:05" }), { started_at: "too_long" });
  assert.deepEqual(wrong({ started_at: "0026-11-22T13:05" }), { started_at: "far_away" });
  assert.deepEqual(wrong({ started_at: "" }), { started_at: "started_at" });
});

test("another start than the recorded one asks why, from a minute on", () => {
  assert.deepEqual(wrong({ started_at: "2026-11-22T13:06" }), {});
  assert.deepEqual(wrong({ started_at: "2026-11-22T13:07" }), { times_reason: "times_reason" });
  assert.deepEqual(wrong({ started_at: "2026-11-22T13:07", times_reason: "堵车" }), {});
  assert.deepEqual(wrong({ started_at: "2026-11-22T13:30" }, { startedByEvent: "" }), {});
});

test("numbers, days and lengths are those of the server", () => {
  assert.deepEqual(wrong({ "parts-0-quantity": "2.5" }), { "parts-0-quantity": "not_whole" });
  assert.deepEqual(wrong({ "parts-0-quantity": "0" }), { "parts-0-quantity": "quantity" });
  assert.deepEqual(wrong({ "parts-0-quantity": " 3 " }), {});
  assert.deepEqual(wrong({ outcome: "remaining", "open_items-0-text": "x", "open_items-0-promised_by": "0026-01-01" }), { "open_items-0-promised_by": "far_away" });
  assert.deepEqual(wrong({ content_text: "一二三四五六七八九十一二三四五六七八九十一" }), { content_text: "too_long_text" });
  assert.deepEqual(wrong({ content_text: "😀".repeat(20) }), {}, "characters, not UTF-16 units");
  assert.deepEqual(wrong({ content_text: "1\n2\n3\n4" }), { content_text: "too_many_lines" });
  assert.deepEqual(wrong({ "parts-7-name": "123456" }), { "parts-7-name": "too_long_text" });
  assert.deepEqual(wrong(Object.fromEntries(Array.from({ length: 31 }, (_each, n) => [`parts-${n}-name`, "x"]))), { parts: "too_many_rows" });
});

test("a row that lacks only its first field is asked for it, not left out", () => {
  assert.deepEqual(wrong({ "parts-1-name": " ", "parts-1-serial": "SN-7" }), { "parts-1-name": "part_name" });
  assert.deepEqual(wrong({ "parts-1-quantity": "1" }), {});
  assert.deepEqual(wrong({ outcome: "remaining", "open_items-0-text": "x", "open_items-1-cause": "没有备件" }), { "open_items-1-text": "open_items" });
});

test("a customer draws and writes the name, or gives a reason", () => {
  /** @param {object} fields @param {string} method */
  const customer = (fields, method) => Object.fromEntries(wrongInSignature(Object.entries(fields), "customer", method));

  assert.deepEqual(customer({ customer_strokes: DRAWN, signer_name: "陈晓" }, "drawn"), {});
  assert.deepEqual(customer({ customer_strokes: DRAWN, signer_name: "陈" }, "drawn"), { signer_name: "signer_name" });
  assert.deepEqual(customer({ customer_strokes: DOT, signer_name: "陈晓" }, "drawn"), { customer_strokes: "too_little" });
  assert.deepEqual(customer({ customer_typed: "陈晓" }, "typed"), {});
  assert.deepEqual(customer({ customer_typed: "陈" }, "typed"), { customer_typed: "signer_name" });
  assert.deepEqual(customer({ customer_reason: " " }, "refused"), { customer_reason: "reason" });
  assert.deepEqual(customer({ customer_reason: "外出" }, "absent"), {});
});

test("an engineer needs no second name", () => {
  assert.deepEqual([...wrongInSignature([["engineer_strokes", DRAWN]], "engineer", "drawn")], []);
  assert.deepEqual([...wrongInSignature([], "engineer", "drawn")], [["engineer_strokes", "too_little"]]);
});

test("drawn beats typed, what was chosen beats both", () => {
  assert.equal(methodOf([["customer_strokes", DRAWN], ["customer_typed", "陈晓"]], "customer"), "drawn");
  assert.equal(methodOf([["customer_typed", "陈晓"]], "customer"), "typed");
  assert.equal(methodOf([], "customer"), "drawn");
  assert.equal(methodOf([["customer_strokes", DRAWN]], "customer", "refused"), "refused");
});
