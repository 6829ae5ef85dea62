/**
 * The short talk with the office that says: this phone is here, so much waits on it. The answer says which office it is, since when,
 * and what time it is there. An office that was restored from a backup (a new epoch) has forgotten what it received since then:
 * everything it gave receipts for in an older epoch is queued again, which does no harm where it had not forgotten.
 */
import { ask } from "./ask.js";
import { localTime } from "./digest.js";
import { items } from "./outbox.js";
import { verdict } from "../answer.js";

/** @typedef {"reached" | "logged-out" | "silent"} Contact */

/**
 * @param {import("./store.js").Store} store
 * @param {{fetch?: typeof globalThis.fetch, now?: () => number, build?: string}} [edges]
 * @returns {Promise<Contact>} logged-out: also when somebody else is logged in, whose session must not carry this person's work
 */
export async function contact(store, { fetch, now = () => Date.now(), build = "" } = {}) {
  const body = new URLSearchParams(await situation(store, new Date(now()), build));
  const asked = now();
  const headers = { Accept: "application/json", "X-User": store.user };
  const answer = await ask("/offline/contact", { method: "POST", headers, body }, { fetch, patience: 10_000 });
  const said = verdict(answer, (told) => typeof told.server === "string" && typeof told.now === "string" && typeof told.user === "string");
  if (said.state === "logged-out") return "logged-out";
  if (said.state !== "received") return "silent";
  const told = said.receipt;
  if (told.user !== store.user) return "logged-out";
  await meet(store, told, { pin: told.lock ?? null, contact_at: now(), offset_ms: Math.round(Date.parse(told.now) - (asked + now()) / 2) });
  return "reached";
}

/**
 * Remember which office it is. When it is not the one that gave the receipts, queue again what they were for.
 *
 * @param {import("./store.js").Store} store
 * @param {{server: string, epoch?: number}} office
 * @param {Record<string, unknown>} [more] for meta
 * @returns {Promise<boolean>} whether anything was queued again
 */
export async function meet(store, { server, epoch = 1 }, more = {}) {
  return store.transaction(["meta", "receipts", "sending", "outbox", "uploads"], async (tx) => {
    const meta = tx.objectStore("meta");
    const [known, since] = [await meta.get("server"), (await meta.get("epoch")) ?? 0];
    for (const [name, value] of Object.entries(more)) await meta.put(value, name);
    if (known === server && epoch <= since) return false;
    await meta.put(server, "server");
    await meta.put(epoch, "epoch");
    return known === undefined ? false : queueAgain(tx, server, epoch);
  });
}

/**
 * @param {import("./store.js").Transaction} tx
 * @param {string} server
 * @param {number} epoch
 */
async function queueAgain(tx, server, epoch) {
  const [receipts, uploads] = [tx.objectStore("receipts"), tx.objectStore("uploads")];
  const old = (/** @type {any} */ given) => !given.superseded && (given.server !== server || given.epoch < epoch);
  const forgotten = (await receipts.getAll()).filter(old);
  for (const receipt of forgotten) {
    const { head } = receipt;
    if ((await tx.objectStore("outbox").getKey(head.sequence)) === undefined) continue;
    await receipts.put({ ...receipt, superseded: true }, head.id);
    await tx.objectStore("sending").put({ attempts: 0, next_at: 0, state: "waiting", reason: "", sentence: "", head }, head.id);
  }
  for (const sha of await uploads.getAllKeys()) if (old(await uploads.get(sha))) await uploads.delete(sha);
  return forgotten.length > 0;
}

/**
 * @param {import("./store.js").Store} store
 * @param {Date} now
 * @param {string} build
 * @returns {Promise<Record<string, string>>}
 */
async function situation(store, now, build) {
  const all = await items(store);
  const waiting = all.filter(({ state }) => state === "waiting");
  const room = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
  return {
    device: await store.get("meta", "device"),
    waiting: String(waiting.length),
    attention: String(all.filter(({ state }) => state === "attention").length),
    oldest_at: waiting[0]?.device_at ?? "",
    build,
    storage_used: String(room.usage ?? ""),
    storage_quota: String(room.quota ?? ""),
    sent_at: localTime(now),
  };
}
