import assert from "node:assert/strict";
import { test } from "node:test";
import { say, wallTime, when } from "../../static/js/offline/words.js";

const NOW = new Date("2026-11-21T18:30:00Z"); // 02:30 of the next day in Shanghai

test("a moment is said by the office's clock, whatever zone the phone is in", () => {
  assert.equal(when("2026-11-21T17:05:00Z", NOW, "Asia/Shanghai"), "01:05");
  assert.equal(when("2026-11-21T17:05:00Z", NOW, "Europe/Paris"), "18:05");
});

test("a moment of another day says its day, by the same clock", () => {
  const yesterday = when("2026-11-21T15:59:00Z", NOW, "Asia/Shanghai");

  assert.match(yesterday, /11.*21.* 23:59$/);
  assert.equal(when("2026-11-21T15:59:00Z", NOW, "UTC"), "15:59");
});

test("what is no moment is not said", () => {
  assert.equal(when("soon", NOW, "UTC"), "");
});

test("places in a sentence are filled in, and unknown ones are left out", () => {
  assert.equal(say("{n} waiting since {time}{more}", { n: 3, time: "14:09" }), "3 waiting since 14:09");
});

test("a moment stands on the installation's wall, whatever the phone's zone", () => {
  const moment = Date.parse("2026-11-22T16:09:30Z");

  assert.equal(wallTime(moment, "Asia/Shanghai"), "2026-11-23T00:09");
  assert.equal(wallTime(moment, "Europe/Berlin"), "2026-11-22T17:09");
});
