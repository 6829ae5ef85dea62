import assert from "node:assert/strict";
import { test } from "node:test";
import { screenAfter } from "../../static/js/offline/hand-over.js";

test("while the phone is locked a page comes back to the customer, whatever it remembers", () => {
  assert.equal(screenAfter("form", undefined, true), "customer");
  assert.equal(screenAfter("engineer", "engineer", true), "customer");
  assert.equal(screenAfter("customer", "customer", true), "customer");
  assert.equal(screenAfter("thanks", "thanks", true), "thanks");
});

test("without the lock the engineer has the phone, and signs when the customer has", () => {
  assert.equal(screenAfter("thanks", "thanks", false), "engineer");
  assert.equal(screenAfter("engineer", "engineer", false), "engineer");
  assert.equal(screenAfter("customer", "customer", false), "form");
  assert.equal(screenAfter("code", "code", false), "form");
});
