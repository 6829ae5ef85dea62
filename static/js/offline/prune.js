/**
 * What may leave the phone: receipts with their bodies after 30 days, photos that the office has, sooner when room is short.
 * Never a draft, an item without receipt, or a photo that has not arrived.
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
  return store.transaction(["receipts", "sending", "outbox", "uploads", "blobs", "meta"], async (tx) => {
    // By the office's clock: one that was wrong here must not make everything old.
    const oldest = now() + ((await tx.objectStore("meta").get("offset_ms")) ?? 0) - KEPT_MS;
    const receipts = (await tx.objectStore("receipts").getAll()).filter(({ superseded }) => !superseded);
    const needed = new Set((await tx.objectStore("sending").getAll()).flatMap(({ head }) => head.photos));
    let left = 0;
    for (const { head, received_at } of receipts) {
      const old = Date.parse(received_at) < oldest;
      if (old || short) left += await dropPhotos(tx, head.photos.filter((/** @type {string} */ sha) => !needed.has(sha)));
      if (!old) continue;
      for (const sha of head.photos) if ((await tx.objectStore("blobs").getKey(sha)) === undefined) await tx.objectStore("uploads").delete(sha);
      await tx.objectStore("outbox").delete(head.sequence);
      await tx.objectStore("receipts").delete(head.id);
      left += 1;
    }
    return left > 0;
  });
}

/**
 * @param {import("./store.js").Transaction} tx
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
