import assert from "node:assert/strict";
import { test } from "node:test";
import { removedPhotos, sentenceOf, statusOf } from "../../static/js/offline/visit-state.js";

const MADE = "2026-11-21T06:00:00.000Z";
const VISIT = "v1";
const step = (leads_to, more = {}) => ({ visit: VISIT, leads_to, state: "waiting", label: leads_to, device_at: MADE, id: "0193-ab12", receipt: null, ...more });
const received = (leads_to, at, more = {}) => step(leads_to, { state: "received", receipt: { visit: VISIT, status: leads_to, received_at: at, ...more } });

test("without own steps the page is right", () => {
  assert.equal(statusOf("accepted", [], MADE), "accepted");
});

test("the newest step that waits counts, whatever the page says", () => {
  assert.equal(statusOf("scheduled", [step("accepted"), step("traveling"), step("arrived")], MADE), "arrived");
});

test("a step that brings no state leaves the state alone", () => {
  assert.equal(statusOf("scheduled", [step("working"), step("")], MADE), "working");
});

test("a step that the office received counts until a page was made that knows of it", () => {
  assert.equal(statusOf("accepted", [received("traveling", "2026-11-21T06:00:01Z")], MADE), "traveling");
  assert.equal(statusOf("paused", [received("working", "2026-11-21T05:59:59Z")], MADE), "paused");
});

test("what the office made of it counts more than where it should have led", () => {
  assert.equal(statusOf("traveling", [received("arrived", "2026-11-21T06:00:01Z", { status: "canceled" })], MADE), "canceled");
  const elsewhere = received("completed", "2026-11-21T06:00:01Z", { visit: "v2", status: "completed" });
  assert.equal(statusOf("working", [elsewhere], MADE), "completed", "a record that went to a new visit is done for this engineer");
});

test("a record that the office could only file does not show the visit as completed", () => {
  const filed = received("completed", "2026-11-21T06:00:02Z", { visit: undefined, status: undefined, outcome: "quarantined" });
  assert.equal(statusOf("arrived", [received("working", "2026-11-21T06:00:01Z"), filed], MADE), "working");
  assert.equal(statusOf("working", [filed], MADE), "working");
});

test("a cancelled visit shows as cancelled, and one that needs attention as the office has it", () => {
  assert.equal(statusOf("canceled", [step("arrived")], MADE), "canceled");
  assert.equal(statusOf("scheduled", [step("accepted", { state: "attention" })], MADE), "scheduled");
});

test("a photo that was taken out here is gone from a page that cannot know of it yet", () => {
  const out = (photo, made) => ({ ...made, path: `/visits/v1/photos/${photo}/removal` });
  const steps = [
    out("waits", step("")),
    out("after", received("", "2026-11-21T06:00:01Z")),
    out("before", received("", "2026-11-21T05:59:59Z")),
    out("refused", step("", { state: "attention" })),
    { ...step("arrived"), path: "/visits/v1/arrival" },
  ];

  assert.deepEqual(removedPhotos(steps, MADE), ["waits", "after"]);
});

test("what became of a step is said with its receipt", () => {
  const words = { kept: "saved on this phone", received: "received {time} (receipt {receipt})", attention: "needs attention" };
  const at = new Date();
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const tapped = { device_at: at.toISOString() };

  assert.equal(sentenceOf(step("arrived", tapped), words), `arrived ${time} · saved on this phone`);
  const done = received("arrived", at.toISOString(), { sentence: "The visit was cancelled." });
  assert.equal(sentenceOf({ ...done, ...tapped }, words), `arrived ${time} · received ${time} (receipt ab12) · The visit was cancelled.`);
  assert.equal(sentenceOf(step("arrived", { ...tapped, state: "attention" }), words), `arrived ${time} · needs attention`);
});
