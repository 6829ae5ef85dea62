/**
 * The customer holds the phone: until the engineer takes it back, this browser shows nothing but that customer's screen. The lock is in
 * the phone's own database, because the hand-over works without signal, and the queue goes on emptying meanwhile.
 *
 * meta `lock`: which screen; meta `pin`: how the engineer's PIN is checked here; meta `tries`: wrong ones, across reloads.
 *
 * @typedef {{salt: string, iterations: number, hash: string}} Check  base64, PBKDF2-HMAC-SHA256
 * @typedef {{visit: string, path: string, since: string, code: Check | null}} Lock
 * @typedef {{wrong: number, until: number}} Tries
 * @typedef {{state: "right" | "wrong" | "empty"} | {state: "wait", seconds: number}} Verdict
 * @typedef {import("./store.js").Store} Store
 */
import { base64 } from "./digest.js";

export const SHORTEST_CODE = 4;
const ITERATIONS = 210_000;
const FREE_TRIES = 5;
const FIRST_WAIT_S = 5;
const LONGEST_WAIT_S = 300;
const ANSWER_WITHIN_MS = 8_000;

/**
 * @param {Store} store
 * @returns {Promise<string>} the only page that this browser may show now; empty when the engineer has the phone
 */
export async function lockedAt(store) {
  return (await lockOf(store))?.path ?? "";
}

/**
 * @param {Store} store
 * @returns {Promise<Lock | null>}
 */
export async function lockOf(store) {
  return (await store.get("meta", "lock")) ?? null;
}

/**
 * @param {Store} store
 * @returns {Promise<boolean>} whether this phone can check the engineer's PIN by itself
 */
export async function knowsPin(store) {
  return isCheck(await store.get("meta", "pin"));
}

/**
 * A code for this hand-over, chosen by an engineer who has no PIN.
 *
 * @param {string} code
 * @returns {Promise<Check>}
 */
export async function checkFor(code) {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const hash = await derived(code, salt, ITERATIONS);
  return { salt: base64(salt.buffer), iterations: ITERATIONS, hash: base64(hash) };
}

/**
 * Whether this opens the phone: the PIN or this hand-over's code, checked here; else the PIN or password, asked of the office.
 *
 * @param {Store} store
 * @param {string} secret
 * @param {{now?: () => number, ask?: (secret: string) => Promise<boolean>}} [edges]
 * @returns {Promise<Verdict>}
 */
export async function tryToOpen(store, secret, { now = () => Date.now(), ask = (given) => askTheOffice(store.user, given) } = {}) {
  if (!secret.trim()) return { state: "empty" };
  const wait = await countTry(store, now());
  if (wait > 0) return { state: "wait", seconds: wait };
  const [lock, pin] = [await lockOf(store), await store.get("meta", "pin")];
  const right = (await fits(lock?.code, secret)) || (await fits(pin, secret)) || (await ask(secret));
  if (!right) {
    await store.transaction(["meta"], (tx) => pause(tx.objectStore("meta"), now()));
    return { state: "wrong" };
  }
  await store.delete("meta", "tries");
  return { state: "right" };
}

// ---- private

/**
 * Counted before it is looked at, so that a reload does not win a free try.
 *
 * @param {Store} store
 * @param {number} now
 * @returns {Promise<number>} seconds to wait; 0: this try counts
 */
function countTry(store, now) {
  return store.transaction(["meta"], async (tx) => {
    const meta = tx.objectStore("meta");
    /** @type {Tries} */
    const { wrong, until } = (await meta.get("tries")) ?? { wrong: 0, until: 0 };
    const left = Math.ceil((until - now) / 1000);
    if (left > 0 && left <= LONGEST_WAIT_S) return left; // a clock that was set back must not lock anybody out
    await meta.put({ wrong: wrong + 1, until: 0 }, "tries");
    await pause(meta, now);
    return 0;
  });
}

/**
 * From the fifth wrong try on, the next may be made later and later.
 *
 * @param {any} meta the store, in a transaction
 * @param {number} now
 */
async function pause(meta, now) {
  const { wrong } = await meta.get("tries");
  const seconds = wrong < FREE_TRIES ? 0 : Math.min(FIRST_WAIT_S * 2 ** (wrong - FREE_TRIES), LONGEST_WAIT_S);
  await meta.put({ wrong, until: now + seconds * 1000 }, "tries");
}

/**
 * @param {Check | null | undefined} check
 * @param {string} secret
 */
async function fits(check, secret) {
  if (!isCheck(check)) return false;
  return base64(await derived(secret, bytesOf(check.salt), check.iterations)) === check.hash;
}

/**
 * @param {string} secret
 * @param {Uint8Array<ArrayBuffer>} salt
 * @param {number} iterations
 */
async function derived(secret, salt, iterations) {
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), "PBKDF2", false, ["deriveBits"]);
  return crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256);
}

/**
 * @param {unknown} check
 * @returns {check is Check}
 */
function isCheck(check) {
  const given = /** @type {Partial<Check> | null | undefined} */ (check);
  return typeof given?.salt === "string" && typeof given.hash === "string" && Number.isInteger(given.iterations);
}

/** @param {string} text */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
}

/**
 * @param {string} user whose phone it is: the secret of somebody who has logged in meanwhile does not open it
 * @param {string} secret
 * @returns {Promise<boolean>} false as well when nobody answers: only our own "taken back" counts
 */
async function askTheOffice(user, secret) {
  try {
    const response = await fetch("/taking-back", {
      method: "POST",
      headers: { Accept: "application/json", "X-User": user },
      body: new URLSearchParams({ pin: secret }),
      redirect: "manual",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    return response.ok && (await response.json()).taken_back === true;
  } catch {
    return false;
  }
}
