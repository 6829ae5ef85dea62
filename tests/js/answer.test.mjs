import assert from "node:assert/strict";
import { test } from "node:test";
import { meaning } from "../../static/js/answer.js";

const JSON_TYPE = "application/json";

test("only our JSON with success is a receipt", () => {
  assert.deepEqual(meaning(200, JSON_TYPE, '{"revision": 4}'), { state: "received", body: { revision: 4 } });
  assert.equal(meaning(201, "application/json; charset=utf-8", "{}").state, "received");
});

test("a captive portal, a log-in page and a broken body are no answer", () => {
  for (const [status, type, text] of [
    [200, "text/html", "<h1>Wi-Fi</h1>"],
    [302, "text/html", ""],
    [0, "", ""],
    [200, JSON_TYPE, "{"],
    [200, JSON_TYPE, "[]"],
    [404, "text/html", "<h1>router</h1>"],
  ]) {
    assert.equal(meaning(status, type, text).state, "again", `${status} ${type} ${text}`);
  }
});

test("trouble of the moment is tried again, with the office's sentence", () => {
  for (const status of [408, 425, 429, 500, 502, 503]) {
    assert.deepEqual(meaning(status, JSON_TYPE, '{"message": "Please wait."}'), { state: "again", sentence: "Please wait." });
  }
  assert.equal(meaning(409, JSON_TYPE, '{"error": "in_progress"}').state, "again");
});

test("a refusal says why, a lost log-in asks to log in", () => {
  assert.deepEqual(meaning(422, JSON_TYPE, '{"error":"invalid","message":"No picture."}'), { state: "refused", sentence: "No picture." });
  assert.equal(meaning(409, JSON_TYPE, '{"error":"not_allowed_now"}').state, "refused");
  assert.equal(meaning(401, JSON_TYPE, '{"message":"Log in."}').state, "logged-out");
});
