import assert from "node:assert/strict";
import { test } from "node:test";
import { asSent, submissionOf } from "../../static/js/offline/submission.js";

const INK = '{"v":1,"strokes":[]}';
const AROUND = { path: "/visits/v1/completion", label: "Service record", about: "华锐医院", at: "2026-11-22T14:10:00+08:00" };

const draft = (more = {}) => ({
  visit: "v1",
  form_version: "2",
  fields: [["content_text", "更换电源模块"], ["outcome", "all_done"], ["ended_at", ""], ["contact_phone", "139"]],
  customer: [["customer_strokes", INK], ["customer_typed", ""], ["customer_reason", ""], ["signer_name", "陈晓"], ["contact_phone", "138"], ["skill_rating", "3"]],
  engineer: [["engineer_strokes", ""], ["engineer_typed", "王磊"]],
  photos: [{ sha256: "ab", size: 4, kind: "before", caption: "铭牌", taken_at: "", width: 1, height: 1 }],
  base: { revision: 4, fields: {} },
  ended_at: "2026-11-22T14:09",
  given: { method: "drawn", at: "2026-11-22T14:08:00+08:00" },
  shown: { text: "{}", sha256: "44136f" },
  ...more,
});

const sent = (more) => Object.fromEntries(submissionOf(draft(more), AROUND).fields);

test("a record is sent with both signatures, its photos and what was shown", () => {
  const request = submissionOf(draft(), AROUND);
  const fields = Object.fromEntries(request.fields);

  assert.equal(fields.content_text, "更换电源模块");
  assert.deepEqual([fields.customer_method, fields.customer_strokes, fields.signer_name], ["drawn", INK, "陈晓"]);
  assert.deepEqual([fields.engineer_typed, fields.engineer_strokes, fields.engineer_at], ["王磊", "", AROUND.at]);
  assert.equal(JSON.parse(fields.photos)[0].caption, "铭牌");
  assert.deepEqual([fields.shown, fields.shown_sha256, fields.whole], ["{}", "44136f", "1"]);
  assert.deepEqual([request.visit, request.baseRevision, request.photos, request.deviceAt], ["v1", 4, ["ab"], AROUND.at]);
});

test("the service ends when somebody typed it, else when the phone was handed over", () => {
  assert.equal(sent().ended_at, "2026-11-22T14:09");
  assert.equal(sent({ fields: [["ended_at", "2026-11-22T13:00"]] }).ended_at, "2026-11-22T13:00");
});

test("the customer's contact phone counts, and each field goes once", () => {
  const { fields } = submissionOf(draft(), AROUND);

  assert.deepEqual(fields.filter(([name]) => name === "contact_phone"), [["contact_phone", "138"]]);
});

test("who did not sign sends the reason, and no ink that was tried before", () => {
  const refused = sent({ given: { method: "refused", at: "" }, customer: [["customer_strokes", INK], ["customer_typed", "陈"], ["customer_reason", "赶时间"]] });

  assert.deepEqual([refused.customer_method, refused.customer_strokes, refused.customer_typed, refused.customer_reason], ["refused", "", "", "赶时间"]);
});

test("what remains leads to a visit that is partly done", () => {
  assert.equal(submissionOf(draft(), AROUND).leadsTo, "completed");
  assert.equal(submissionOf(draft({ fields: [["outcome", "remaining"]] }), AROUND).leadsTo, "partial");
});

test("what is not known is left as it stands", () => {
  assert.deepEqual(asSent([["cause", "电容老化"], ["ended_at", ""]], { endedAt: "", phone: "138" }), [["cause", "电容老化"], ["ended_at", ""]]);
});
