/**
 * One item goes to the office, and what came back is written down. Only a receipt with its own id and hash ends it (see answer.js).
 */
import { isReceiptOf, verdict } from "../answer.js";
import { ask, PATIENCE_MS } from "./ask.js";
import { tell } from "./channel.js";
import { meet } from "./contact.js";
import { base64OfHex, localTime, sha256 } from "./digest.js";
import { pause } from "./lanes.js";
import { itemOf } from "./outbox.js";

const SHORT_TRIES = 2;
const BYTES_PER_S = 1_024; // of a thin line
const MOST_PATIENCE_MS = 120_000;

/**
 * @typedef {import("./outbox.js").Sending} Sending
 * @typedef {import("./store.js").Store} Store
 * @typedef {{fetch?: typeof globalThis.fetch, now: () => number, random: () => number, online?: () => boolean}} Edges
 * @typedef {{state: "received" | "logged-out" | "refused" | "again", silent?: boolean, forgotten?: boolean}} Outcome
 *   silent: nothing answered at all; forgotten: the office lost older items, which are queued again
 */

/**
 * @param {Store} store
 * @param {Sending} row  the item's
 * @param {Sending[]} rows  of everything that waits
 * @param {Edges} edges
 * @returns {Promise<Outcome>}
 */
export async function deliver(store, row, rows, edges) {
  const { online = () => navigator.onLine } = edges;
  const item = await itemOf(store, row.head.sequence);
  if (!item) return attention(store, row, "damaged", "");
  const headers = await headersOf(store, row.head, rows, edges.now());
  tell(store.user, { type: "sending", id: row.head.id, visit: row.head.visit });
  const answer = await ask(item.path, { method: "POST", headers, body: item.body }, { ...edges, patience: patienceFor(item, row.attempts) });
  const said = verdict(answer, (body) => isReceiptOf(body, item));
  if (said.state === "received") return received(store, row, said.receipt, edges);
  if (said.state === "logged-out") return said;
  if (said.state === "refused") return refused(store, row, item, said, edges);
  const outcome = await again(store, row, answer.status || online() ? "no_answer" : "no_signal", said.wait, edges);
  return { ...outcome, silent: answer.status === 0 };
}

/**
 * 30 s tell a dead line from a thin one; when that was not enough twice, a long record gets the time that its bytes need.
 *
 * @param {import("./outbox.js").Item} item
 * @param {number} attempts
 */
function patienceFor({ body }, attempts) {
  const thin = attempts < SHORT_TRIES ? 0 : (body.byteLength / BYTES_PER_S) * 1_000;
  return Math.min(MOST_PATIENCE_MS, Math.max(PATIENCE_MS, thin));
}

/**
 * @param {Store} store
 * @param {Sending} row
 * @param {any} receipt
 * @param {Edges} edges
 * @returns {Promise<Outcome>}
 */
async function received(store, { head }, receipt, { now }) {
  const kept = { ...receipt, at: new Date(now()).toISOString(), head };
  await store.transaction(["receipts", "sending"], async (tx) => {
    await tx.objectStore("receipts").put(kept, head.id);
    await tx.objectStore("sending").delete(head.id);
  });
  tell(store.user, { type: "received", id: head.id, visit: head.visit, receipt: kept });
  return { state: "received", forgotten: await meet(store, receipt) };
}

/**
 * @param {Store} store
 * @param {Sending} row
 * @param {string} reason
 * @param {number | null} asked  ms
 * @param {Edges} edges
 * @returns {Promise<Outcome>}
 */
async function again(store, row, reason, asked, { now, random }) {
  const next_at = now() + (asked ?? pause(row.attempts, random));
  await note(store, { ...row, attempts: row.attempts + 1, next_at, reason, sentence: "", asked: asked !== null });
  tell(store.user, { type: "again", id: row.head.id, visit: row.head.visit, reason });
  return { state: "again" };
}

/**
 * @param {Store} store
 * @param {Sending} row
 * @param {import("./outbox.js").Item} item
 * @param {{code: string, sentence: string}} said
 * @param {Edges} edges
 * @returns {Promise<Outcome>}
 */
async function refused(store, row, item, { code, sentence }, edges) {
  if (code !== "digest_mismatch") return attention(store, row, code || "too_large", sentence);
  // What arrived was not what we sent. When the bytes here are still those that were frozen, it was the way: send them again.
  const whole = (await sha256(item.body)) === item.sha256;
  return whole ? again(store, row, "no_answer", null, edges) : attention(store, row, "damaged", sentence);
}

/**
 * @param {Store} store
 * @param {Sending} row
 * @param {string} reason
 * @param {string} sentence
 * @returns {Promise<Outcome>}
 */
async function attention(store, row, reason, sentence) {
  await note(store, { ...row, attempts: row.attempts + 1, state: "attention", reason, sentence });
  tell(store.user, { type: "attention", id: row.head.id, visit: row.head.visit, reason });
  return { state: "refused" };
}

/**
 * Only where it still waits: another page may have brought it to the office meanwhile.
 *
 * @param {Store} store
 * @param {Sending} row
 */
function note(store, row) {
  return store.transaction(["sending"], async (tx) => {
    const sending = tx.objectStore("sending");
    if ((await sending.getKey(row.head.id)) !== undefined) await sending.put(row, row.head.id);
  });
}

/**
 * @param {Store} store
 * @param {import("./outbox.js").Head} head
 * @param {Sending[]} rows
 * @param {number} now
 * @returns {Promise<Record<string, string>>}
 */
async function headersOf(store, head, rows, now) {
  const waiting = rows.filter(({ state }) => state === "waiting").sort((one, other) => one.head.sequence - other.head.sequence);
  return {
    Accept: "application/json",
    "Content-Type": head.type,
    "Idempotency-Key": head.id,
    "X-Body-SHA256": head.sha256,
    "Content-Digest": `sha-256=:${base64OfHex(head.sha256)}:`,
    "X-User": store.user,
    "X-Device": await store.get("meta", "device"),
    "X-Sequence": String(head.sequence),
    "X-Device-At": head.device_at,
    "X-Sent-At": localTime(new Date(now)),
    "X-Time-Zone": head.zone,
    ...(head.base_revision === null ? {} : { "X-Base-Revision": String(head.base_revision) }),
    "X-Form-Version": head.form_version,
    "X-Waiting": String(waiting.length),
    "X-Oldest": waiting[0]?.head.device_at ?? head.device_at,
  };
}
