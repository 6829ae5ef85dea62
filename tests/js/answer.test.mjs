import assert from "node:assert/strict";
import { test } from "node:test";
import { isReceiptOf, verdict } from "../../static/js/answer.js";

const JSON_TYPE = "application/json";
const item = { id: "0193a1b2-c3d4-7000-8000-000000000001", sha256: "ab".repeat(32) };
const receipt = { submission_id: item.id, body_sha256: item.sha256, server: "s", received_at: "2026-11-22T06:09:00+00:00" };

/** What an answer means for the item. */
const said = (status, type, text, headers = {}) =>
  verdict({ status, type, text, headers: { get: (name) => headers[name] ?? null } }, (body) => isReceiptOf(body, item));

test("only our receipt with success is a receipt", () => {
  assert.deepEqual(said(200, JSON_TYPE, JSON.stringify(receipt)), { state: "received", receipt });
  assert.equal(said(201, "application/json; charset=utf-8", JSON.stringify(receipt)).state, "received");
  assert.equal(said(202, JSON_TYPE, JSON.stringify(receipt)).state, "again");
  for (const name of Object.keys(receipt)) {
    assert.equal(said(200, JSON_TYPE, JSON.stringify({ ...receipt, [name]: "" })).state, "again", name);
    assert.equal(said(200, JSON_TYPE, JSON.stringify({ ...receipt, [name]: null })).state, "again", name);
  }
});

test("a captive portal, a log-in page and a broken body are no answer", () => {
  for (const [status, type, text] of [
    [200, "text/html", "<h1>Wi-Fi</h1>"],
    [200, "text/html", JSON.stringify(receipt)],
    [302, "text/html", ""],
    [0, "", ""],
    [200, JSON_TYPE, "{"],
    [200, JSON_TYPE, "[]"],
    [200, JSON_TYPE, "null"],
    [404, "text/html", "<h1>router</h1>"],
    [404, JSON_TYPE, '{"detail": "another server"}'],
  ]) {
    assert.deepEqual(said(status, type, text), { state: "again", wait: null }, `${status} ${type} ${text}`);
  }
});

test("trouble of the moment is tried again, when the office wants it", () => {
  for (const status of [408, 425, 429, 500, 502, 503]) {
    assert.deepEqual(said(status, JSON_TYPE, '{"error": "busy"}', { "Retry-After": "7" }), { state: "again", wait: 7_000 });
  }
  assert.deepEqual(said(409, JSON_TYPE, '{"error": "in_progress"}', { "Retry-After": "1" }), { state: "again", wait: 1_000 });
  assert.deepEqual(said(503, "", "", { "Retry-After": "999999" }), { state: "again", wait: 3_600_000 });
  assert.deepEqual(said(503, "", "", { "Retry-After": "9".repeat(400) }), { state: "again", wait: 3_600_000 }, "longer than a number can say");
});

test("a refusal says why, a lost log-in asks to log in", () => {
  assert.deepEqual(said(422, JSON_TYPE, '{"error":"invalid","message":"No picture."}'), { state: "refused", code: "invalid", sentence: "No picture." });
  assert.deepEqual(said(409, JSON_TYPE, '{"error":"not_allowed_now"}'), { state: "refused", code: "not_allowed_now", sentence: "" });
  assert.equal(said(413, "text/html", "").state, "refused");
  assert.equal(said(401, JSON_TYPE, '{"message":"Log in."}').state, "logged-out");
});
