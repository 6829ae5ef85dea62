import assert from "node:assert/strict";
import { test } from "node:test";
import { backupIn, newsSince } from "../../static/js/offline/waiting.js";

const answer = (fields) => backupIn(new URLSearchParams(fields));

test("the answer to the backup reminder is read from what was queued", () => {
  assert.deepEqual(answer({ backup_ack_name: "陈晓" }), { state: "signed", reason: "", name: "陈晓" });
  assert.deepEqual(answer({ backup_ack_method: "typed", backup_ack_typed: "陈" }), { state: "signed", reason: "", name: "陈" });
  assert.deepEqual(answer({ backup_ack_method: "refused", backup_ack_reason: "自行备份" }), { state: "refused", reason: "自行备份", name: "" });
  assert.equal(answer({ backup_ack_method: "not_applicable" }).state, "not_applicable");
});

test("a page that was made after the office had received something knows of it already", () => {
  const made = "2026-11-21T06:00:00.000Z";
  const waiting = { id: "waiting", state: "waiting", receipt: null };
  const [before, after] = ["05:59:59", "06:00:01"].map((at) => ({ id: at, state: "received", receipt: { received_at: `2026-11-21T${at}Z` } }));

  assert.deepEqual(newsSince(made, [before, waiting, after]), [waiting, after]);
  assert.deepEqual(newsSince("", [before, waiting]), [before, waiting], "a page that does not say when it was made knows nothing");
});
