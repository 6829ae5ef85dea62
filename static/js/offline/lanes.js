/**
 * Which item goes next. Items of one visit are a lane and go in their order; a lane whose first item failed waits without holding
 * the others, and items that need attention hold nobody.
 */

const FIRST_MS = 2_000;
const LONGEST_MS = 300_000;
const LONGEST_ASKED_MS = 3_600_000;
const SHORTEST_MS = 250;

/** @typedef {import("./outbox.js").Sending} Sending */

/**
 * @param {Sending[]} rows
 * @returns {Sending[]} the first of each lane; those that failed least come first, so a bad one starves nobody
 */
export function firsts(rows) {
  /** @type {Map<string, Sending>} */
  const lanes = new Map();
  for (const row of rows) {
    const first = lanes.get(row.head.visit);
    if (row.state === "waiting" && !(first && first.head.sequence < row.head.sequence)) lanes.set(row.head.visit, row);
  }
  return [...lanes.values()].sort((one, other) => one.attempts - other.attempts || one.head.sequence - other.head.sequence);
}

/**
 * @param {{next_at: number, asked?: boolean}} row
 * @param {number} now
 * @returns {number} ms until it may be tried; a time too far away was written by a clock that was wrong
 */
export function wait({ next_at, asked = false }, now) {
  const left = next_at - now;
  return left > (asked ? LONGEST_ASKED_MS : LONGEST_MS) ? 0 : Math.max(0, left);
}

/**
 * How long to leave it after a failure: anything up to 2 s, 4 s, 8 s … 5 min, so that many phones do not come back at once.
 *
 * @param {number} attempts that failed before
 * @param {() => number} random
 * @returns {number} ms
 */
export function pause(attempts, random) {
  return Math.max(SHORTEST_MS, Math.round(random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempts, 20))));
}
