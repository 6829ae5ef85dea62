/**
 * What may leave the phone: receipts with their bodies after 30 days, the drafts that they became, photos that the office has, sooner
 * when room is short. Never a draft that was not sent, an item without receipt, or a photo that has not arrived.
 *
 * @typedef {import("./store.js").Transaction} Transaction
 * @typedef {import("./outbox.js").Receipt} Receipt
 */

const KEPT_MS = 30 * 24 * 3_600_000;
const SHORT_OF_ROOM = 0.8;

/**
 * @param {import("./store.js").Store} store
 * @param {{now?: () => number, urgent?: boolean}} [options] urgent: all photos that have arrived, however young
 * @returns {Promise<boolean>} whether anything left
 */
export async function prune(store, { now = () => Date.now(), urgent = false } = {}) {
  const short = urgent || (await isShort());
  return store.transaction(["receipts", "sending", "outbox", "uploads", "blobs", "drafts", "meta"], async (tx) => {
    // By the office's clock: one that was wrong here must not make everything old.
    const oldest = now() + ((await tx.objectStore("meta").get("offset_ms")) ?? 0) - KEPT_MS;
    const receipts = /** @type {Receipt[]} */ (await tx.objectStore("receipts").getAll()).filter(({ superseded }) => !superseded);
    const isOld = (/** @type {Receipt} */ { received_at }) => Date.parse(received_at) < oldest;
    const old = receipts.filter(isOld);
    if (old.length === 0 && !short) return false;
    const unsent = await unsentPhotos(tx);
    const named = photosOf(receipts.filter((each) => !isOld(each)));
    const going = [...photosOf(short ? receipts : old)].filter((sha) => !unsent.has(sha) && (short || !named.has(sha)));
    const left = await dropPhotos(tx, going);
    for (const { head } of old) await letGo(tx, head, new Set([...unsent, ...named]));
    return left + old.length > 0;
  });
}

/**
 * Two records may show the same photo: the younger one's is not forgotten with the older.
 *
 * @param {Transaction} tx
 * @param {import("./outbox.js").Head} head
 * @param {Set<string>} named  photos that something else here names
 */
async function letGo(tx, { id, sequence, visit, photos }, named) {
  const [uploads, blobs, drafts] = ["uploads", "blobs", "drafts"].map((name) => tx.objectStore(name));
  for (const sha of photos) if (!named.has(sha) && (await blobs.getKey(sha)) === undefined) await uploads.delete(sha);
  if ((await drafts.get(`visit:${visit}`))?.sent === id) await drafts.delete(`visit:${visit}`);
  await tx.objectStore("outbox").delete(sequence);
  await tx.objectStore("receipts").delete(id);
}

/** @param {Transaction} tx */
async function unsentPhotos(tx) {
  const drafts = /** @type {import("./draft.js").Draft[]} */ (await tx.objectStore("drafts").getAll());
  const begun = drafts.filter(({ sent }) => !sent).flatMap(({ photos }) => photos ?? []);
  return new Set([...photosOf(await tx.objectStore("sending").getAll()), ...begun.map(({ sha256 }) => sha256)]);
}

/**
 * @param {{head: {photos: string[]}}[]} rows
 * @returns {Set<string>}
 */
function photosOf(rows) {
  return new Set(rows.flatMap(({ head }) => head.photos));
}

/**
 * @param {Transaction} tx
 * @param {string[]} photos
 * @returns {Promise<number>} how many left
 */
async function dropPhotos(tx, photos) {
  const [uploads, blobs] = [tx.objectStore("uploads"), tx.objectStore("blobs")];
  let left = 0;
  for (const sha of photos) {
    if (!(await uploads.get(sha))?.arrived || (await blobs.getKey(sha)) === undefined) continue;
    await blobs.delete(sha);
    left += 1;
  }
  return left;
}

async function isShort() {
  const { usage = 0, quota = Infinity } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
  return usage > quota * SHORT_OF_ROOM;
}
