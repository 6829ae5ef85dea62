/**
 * The queue of what goes to the office. An item is frozen once, as the bytes that will be sent however often, and never changed;
 * how far its sending is stands beside it. Item, number and state are written in one transaction.
 */
import { uuid7 } from "../uuid7.js";
import { tell } from "./channel.js";
import { localTime, sha256 } from "./digest.js";

const TYPE = "application/x-www-form-urlencoded";
const STORES = ["outbox", "sending", "receipts", "meta", "drafts"];

/** A photo that the record names is not on this phone as it was taken: `sha256` says which. */
export class PhotoDamaged extends Error {
  /** @param {string} sha */
  constructor(sha) {
    super("a photo is not as it was taken");
    this.sha256 = sha;
  }
}

/**
 * @typedef {object} Request
 * @property {string} path
 * @property {[name: string, value: string][]} fields
 * @property {string} [visit] items of one visit go in their order
 * @property {string} [label] words for the outbox page
 * @property {string} [about] more words: the customer, the visit
 * @property {string} [leadsTo] the state of the visit that this brings
 * @property {string | number} [formVersion]
 * @property {number | null} [baseRevision]
 * @property {string[]} [photos] sha256 of each photo that it names
 * @property {string} [deviceAt] when it was tapped (default: now)
 * @property {string} [id] made when the form was first touched (default: a new one); the same id is queued once
 *
 * @typedef {object} Head  an item without its bytes
 * @property {number} sequence
 * @property {string} id
 * @property {string} path
 * @property {string} sha256
 * @property {string} type
 * @property {string} device_at
 * @property {string} zone
 * @property {string} visit
 * @property {string} label
 * @property {string} about
 * @property {string} leads_to
 * @property {string} form_version
 * @property {number | null} base_revision
 * @property {string[]} photos
 *
 * @typedef {Head & {body: ArrayBuffer}} Item
 * @typedef {{attempts: number, next_at: number, state: "waiting" | "attention", reason: string, sentence: string, asked?: boolean, head: Head}} Sending
 * @typedef {{submission_id: string, body_sha256: string, received_at: string, server: string, epoch: number, outcome: string, sentence: string,
 *   at: string, superseded?: boolean, head: Head, [more: string]: unknown}} Receipt
 * @typedef {Head & {state: "waiting" | "received" | "attention", reason: string, sentence: string, attempts: number, next_at: number,
 *   receipt: Receipt | null}} Listed
 */

/** Whether this browser can keep a queue; without it the forms post themselves as they always did. */
export function canQueue() {
  return Boolean(globalThis.indexedDB && globalThis.crypto?.subtle);
}

/**
 * @param {import("./store.js").Store} store
 * @param {Request} request
 * @param {(tx: import("./store.js").Transaction) => Promise<unknown>} [also] joins the transaction; may use drafts and meta
 * @returns {Promise<Item>} when it is on the disk
 */
export async function enqueue(store, request, also) {
  const frozen = await freeze(store, request);
  const item = await store.transaction(STORES, async (tx) => {
    const added = await add(tx, frozen);
    await also?.(tx);
    return added;
  });
  tell(store.user, { type: "queued", id: item.id, visit: item.visit });
  return item;
}

/**
 * Send what the draft says now. The draft is read inside the transaction that queues it: nobody's autosave slips between.
 * A draft that was sent already gives the item of that time.
 *
 * @param {import("./store.js").Store} store
 * @param {string} key of the draft
 * @param {(draft: any) => Request | Promise<Request>} build
 * @returns {Promise<Item | Head>}
 */
export async function freezeAndFinish(store, key, build) {
  for (;;) {
    const draft = await store.get("drafts", key);
    if (draft === undefined) throw new Error(`there is no draft ${key}`);
    if (draft.sent) return headOf(store, draft.sent);
    const frozen = await freeze(store, await build(draft));
    const item = await store.transaction(STORES, async (tx) => {
      const drafts = tx.objectStore("drafts");
      if (!same(await drafts.get(key), draft)) return null;
      const added = await add(tx, frozen);
      await drafts.put({ ...draft, sent: added.id, sent_at: added.device_at }, key);
      return added;
    });
    if (!item) continue;
    tell(store.user, { type: "queued", id: item.id, visit: item.visit });
    return item;
  }
}

/**
 * Save a draft, but never over one that was sent.
 *
 * @param {import("./store.js").Store} store
 * @param {string} key
 * @param {any} draft
 * @returns {Promise<boolean>} false when it was sent meanwhile: nothing was saved
 */
export function saveDraft(store, key, draft) {
  return store.transaction(["drafts"], async (tx) => {
    const drafts = tx.objectStore("drafts");
    if ((await drafts.get(key))?.sent) return false;
    await drafts.put(draft, key);
    return true;
  });
}

/**
 * Everything queued, in its order, with what became of it. Bodies are not read: see `itemOf`.
 *
 * @param {import("./store.js").Store} store
 * @returns {Promise<Listed[]>}
 */
export async function items(store) {
  const [sending, receipts] = await store.read(["sending", "receipts"], (tx) =>
    Promise.all([tx.objectStore("sending").getAll(), tx.objectStore("receipts").getAll()]),
  );
  const byId = new Map(receipts.map((receipt) => [receipt.submission_id, receipt]));
  const waiting = sending.map(({ head, ...state }) => ({ ...head, ...state, receipt: byId.get(head.id) ?? null }));
  const received = receipts
    .filter(({ superseded }) => !superseded)
    .map((receipt) => ({ ...receipt.head, state: "received", reason: "", sentence: receipt.sentence ?? "", attempts: 0, next_at: 0, receipt }));
  return [...waiting, ...received].sort((one, other) => one.sequence - other.sequence);
}

/**
 * @param {import("./store.js").Store} store
 * @param {number} sequence
 * @returns {Promise<Item>}
 */
export function itemOf(store, sequence) {
  return store.get("outbox", sequence);
}

/**
 * Something that needed attention shall be tried again: the person asked for it.
 *
 * @param {import("./store.js").Store} store
 * @returns {Promise<void>}
 */
export async function tryAgain(store) {
  await store.transaction(["sending", "uploads"], async (tx) => {
    const [sending, uploads] = [tx.objectStore("sending"), tx.objectStore("uploads")];
    for (const row of await sending.getAll()) await sending.put({ ...row, state: "waiting", next_at: 0, asked: false }, row.head.id);
    for (const sha of await uploads.getAllKeys()) if ((await uploads.get(sha)).error) await uploads.delete(sha);
  });
  tell(store.user, { type: "wake" });
}

// ---- private

/**
 * All that takes time, before the transaction: waiting for a hash would end it.
 *
 * @param {import("./store.js").Store} store
 * @param {Request} request
 */
async function freeze(store, request) {
  const id = request.id ?? uuid7();
  const body = bodyOf(request.fields, id);
  await checkPhotos(store, request.photos ?? []);
  const head = {
    id,
    path: request.path,
    sha256: await sha256(body),
    type: TYPE,
    device_at: request.deviceAt ?? localTime(),
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "",
    visit: request.visit ?? "",
    label: request.label ?? "",
    about: request.about ?? "",
    leads_to: request.leadsTo ?? "",
    form_version: String(request.formVersion ?? 2),
    base_revision: request.baseRevision ?? null,
    photos: request.photos ?? [],
  };
  return { head, body };
}

/**
 * @param {[string, string][]} fields
 * @param {string} id
 * @returns {ArrayBuffer}
 */
function bodyOf(fields, id) {
  const told = fields.filter(([name]) => name !== "submission_id");
  const body = new URLSearchParams(told.map(([name, value]) => [name, value.replaceAll("\0", "")])); // no database keeps NUL: the office refuses it
  body.append("submission_id", id);
  return new TextEncoder().encode(body.toString()).buffer;
}

/**
 * @param {import("./store.js").Store} store
 * @param {string[]} photos
 */
async function checkPhotos(store, photos) {
  for (const sha of photos) {
    if ((await store.get("uploads", sha))?.arrived) continue;
    const blob = await store.get("blobs", sha);
    if (blob?.bytes.byteLength !== blob?.size || (await sha256(blob?.bytes ?? new ArrayBuffer(0))) !== sha) throw new PhotoDamaged(sha);
  }
}

/**
 * @param {import("./store.js").Transaction} tx
 * @param {{head: Omit<Head, "sequence">, body: ArrayBuffer}} frozen
 * @returns {Promise<Item>}
 */
async function add(tx, frozen) {
  const meta = tx.objectStore("meta");
  const { id } = frozen.head;
  const before = (await tx.objectStore("sending").get(id)) ?? (await tx.objectStore("receipts").get(id));
  if (before) return tx.objectStore("outbox").get(before.head.sequence);
  const sequence = ((await meta.get("sequence")) ?? 0) + 1;
  const head = { sequence, ...frozen.head };
  const item = { ...head, body: frozen.body };
  await meta.put(sequence, "sequence");
  await tx.objectStore("outbox").add(item);
  await tx.objectStore("sending").put({ attempts: 0, next_at: 0, state: "waiting", reason: "", sentence: "", head }, id);
  return item;
}

/**
 * @param {import("./store.js").Store} store
 * @param {string} id
 * @returns {Promise<Head>}
 */
async function headOf(store, id) {
  const { head } = (await store.get("sending", id)) ?? (await store.get("receipts", id)) ?? { head: { id } };
  return head;
}

/**
 * @param {any} one
 * @param {any} other
 */
function same(one, other) {
  return one?.changed === other?.changed && JSON.stringify(one) === JSON.stringify(other);
}
