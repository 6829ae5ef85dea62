/** What the line at the top says of the page itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { madeAt } from "../../static/js/offline/sync-line.js";

const MADE = "2026-11-21T06:00:00.000Z";
const after = (minutes) => Date.parse(MADE) + minutes * 60_000;
const clock = new Date(MADE).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

test("a page that was just made says nothing of its age", () => {
  assert.equal(madeAt(MADE, after(4)), "");
  assert.equal(madeAt(MADE, after(-600)), "", "a clock that is wrong makes no page old");
  assert.equal(madeAt("", after(0)), "", "a page that does not say when it was made");
});

test("a page of the pack says when it was made, and on another day the day as well", () => {
  assert.equal(madeAt(MADE, after(6)), clock);
  assert.match(madeAt(MADE, after(2 * 24 * 60)), new RegExp(`.+ ${clock}$`));
});
