import assert from "node:assert/strict";
import { test } from "node:test";
import { saidBy, span } from "../../static/js/offline/customer-screen.js";

test("times are said as people do", () => {
  assert.equal(span("2026-11-22T13:05", "2026-11-22T14:09", "zh-CN"), "11月22日 13:05–14:09");
  assert.equal(span("2026-11-22T23:05", "2026-11-23T01:09", "en"), "November 22 23:05 – November 23 01:09");
  assert.equal(span("2026-11-22T13:05", "", "en"), "November 22 13:05");
  assert.equal(span("", "2026-11-22T13:05", "en"), "");
});

test("the customer reads words, not keys", () => {
  const fields = [
    ["content_text", "<b>更换</b>"],
    ["service_type", "maintenance"],
    ["outcome", "remaining"],
    ["parts-0-name", "电源"],
    ["parts-0-quantity", ""],
    ["parts-0-serial", "PSU-9"],
    ["open_items-0-text", "风扇"],
    ["open_items-0-cause", "缺货"],
    ["solved", "one"],
    ["solved", "two"],
  ];
  const page = {
    wordOf: (name, value) => (value ? `${name}:${value}` : ""),
    sentence: (code, { text = "" } = {}) => `${code} ${text}`,
    language: "zh-CN",
    backup: "refused",
    backupReason: "自行备份",
    device: "ZW",
  };

  const { texts, flags, lists } = saidBy(fields, page);

  assert.equal(texts.content_text, "<b>更换</b>");
  assert.equal(texts.service_type, "service_type:maintenance");
  assert.equal(texts.skill_rating, "");
  assert.equal(texts.solved, "solved:one; solved:two");
  assert.equal(texts.backup, "backup_refused 自行备份");
  assert.deepEqual(flags, { outcome: "remaining" });
  assert.deepEqual(lists.parts, [{ text: "电源 × 1 · part_new PSU-9", more: [] }]);
  assert.deepEqual(lists.open_items, [{ text: "风扇", more: ["item_why 缺货"] }]);
});
