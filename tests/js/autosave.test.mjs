import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Draft, Revision } from "../../static/js/autosave.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
});

/** An office that answers when told to, and a line that remembers what it showed. */
function office() {
  const requests = [];
  const shown = [];
  const send = () => new Promise((answer) => requests.push(answer));
  return { requests, shown, draft: new Draft({ send, show: (state, sentence) => shown.push(sentence ? `${state}: ${sentence}` : state) }) };
}

const settled = () => new Promise((done) => setImmediate(done));

test("a change is saved 300 ms after the last key", () => {
  const { draft, requests } = office();

  draft.change();
  mock.timers.tick(200);
  draft.change();
  mock.timers.tick(299);
  assert.equal(requests.length, 0);
  mock.timers.tick(1);

  assert.equal(requests.length, 1);
});

test("a person who never pauses is saved after a second", () => {
  const { draft, requests } = office();

  for (let at = 0; at < 1_000; at += 100) {
    draft.change();
    mock.timers.tick(100);
  }

  assert.equal(requests.length, 1);
});

test("leaving a field saves at once, and nothing when nothing changed", () => {
  const { draft, requests } = office();

  draft.flush();
  assert.equal(requests.length, 0);
  draft.change();
  draft.flush();

  assert.equal(requests.length, 1);
});

test("one request at a time: what was typed meanwhile goes after the answer", async () => {
  const { draft, requests, shown } = office();
  draft.change();
  draft.flush();

  draft.change();
  mock.timers.tick(1_000);
  assert.equal(requests.length, 1);
  requests[0]({ state: "saved" });
  await settled();
  mock.timers.tick(0);
  assert.equal(requests.length, 2);
  assert.equal(shown.includes("saved"), false);
  requests[1]({ state: "saved" });
  await settled();

  assert.equal(shown.at(-1), "saved");
});

test("a page that goes away does not wait for the request before", () => {
  const { draft, requests } = office();
  draft.change();
  draft.flush();
  draft.change();

  draft.flush(true);

  assert.equal(requests.length, 2);
});

test("a failure is said, tried again after 2 s, then after 4 s", async () => {
  const { draft, requests, shown } = office();
  draft.change();
  draft.flush();

  requests[0]({ state: "failed", sentence: "" });
  await settled();
  assert.equal(shown.at(-1), "failed");
  mock.timers.tick(2_000);
  assert.equal(requests.length, 2);
  requests[1]({ state: "failed", sentence: "The office is closed for a moment." });
  await settled();
  assert.equal(shown.at(-1), "failed: The office is closed for a moment.");
  mock.timers.tick(3_999);
  assert.equal(requests.length, 2);
  mock.timers.tick(1);

  assert.equal(requests.length, 3);
});

test("after the form itself is sent, nothing is saved behind it", async () => {
  const { draft, requests, shown } = office();
  draft.change();
  draft.flush();
  draft.change();

  draft.stop();
  requests[0]({ state: "saved" });
  await settled();
  mock.timers.tick(5_000);

  assert.equal(requests.length, 1);
  assert.equal(shown.includes("saved"), false);
});

test("a refusal is said and waits for the next change", async () => {
  const { draft, requests, shown } = office();
  draft.change();
  draft.flush();

  requests[0]({ state: "refused", sentence: "Somebody signed meanwhile." });
  await settled();
  mock.timers.tick(120_000);
  assert.equal(requests.length, 1);
  assert.equal(shown.at(-1), "refused: Somebody signed meanwhile.");
  draft.change();
  mock.timers.tick(300);

  assert.equal(requests.length, 2);
});

/** @param {string} value */
const formWith = (value) => ({ elements: { namedItem: () => ({ value }) } });

test("a lost answer is not taken for somebody else's change", () => {
  const revision = new Revision(formWith("3"));

  revision.expect();
  assert.equal(revision.field.value, "4");
  const settle = revision.expect();
  settle(4);

  assert.equal(revision.field.value, "4");
});

test("an answer that comes late changes nothing", () => {
  const revision = new Revision(formWith("3"));

  const first = revision.expect();
  const second = revision.expect();
  second(5);
  first(4);

  assert.equal(revision.field.value, "5");
});

test("the first draft has no revision until the office gives one", () => {
  const revision = new Revision(formWith(""));

  const settle = revision.expect();
  assert.equal(revision.field.value, "");
  settle(undefined);
  assert.equal(revision.field.value, "");
  settle(1);

  assert.equal(revision.field.value, "1");
});
