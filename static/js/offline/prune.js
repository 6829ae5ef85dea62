/**
 * What may leave the phone: receipts with their bodies after 30 days, photos that the office has, sooner when room is short.
 * Never a draft, an item without receipt, or a photo that has not arrived.
 */
import { QuotaFull } from "./store.js";

const KEPT_MS = 30 * 24 * 3_600_000;
const SHORT_OF_ROOM = 0.8;

/**
 * @param {import("./store.js").Store} store
 * @param {{now?: () => number, urgent?: boolean}} [options] urgent: all photos that have arrived, however young
 */
export async function prune(store, { now = () => Date.now(), urgent = false } = {}) {
  const short = urgent || (await isShort());
  await store.transaction(["receipts", "sending", "outbox", "uploads", "blobs", "meta"], async (tx) => {
    // By the office's clock: one that was wrong here must not make everything old.
    const oldest = now() + ((await tx.objectStore("meta").get("offset_ms")) ?? 0) - KEPT_MS;
    const receipts = (await tx.objectStore("receipts").getAll()).filter(({ superseded }) => !superseded);
    const needed = new Set((await tx.objectStore("sending").getAll()).flatMap(({ head }) => head.photos));
    for (const { head, received_at } of receipts) {
      const old = Date.parse(received_at) < oldest;
      if (old || short) await dropPhotos(tx, head.photos.filter((/** @type {string} */ sha) => !needed.has(sha)));
      if (!old) continue;
      for (const sha of head.photos) if ((await tx.objectStore("blobs").getKey(sha)) === undefined) await tx.objectStore("uploads").delete(sha);
      await tx.objectStore("outbox").delete(head.sequence);
      await tx.objectStore("receipts").delete(head.id);
    }
  });
  if (short) await store.refill();
}

/**
 * Keep a photo; when there is no room, the ones that the office has make some.
 *
 * @param {import("./store.js").Store} store
 * @param {import("./upload.js").Photo} photo
 * @returns {Promise<void>} rejected with QuotaFull when there is no room all the same
 */
export async function keepPhoto(store, photo) {
  try {
    await store.put("blobs", photo);
  } catch (error) {
    if (!(error instanceof QuotaFull)) throw error;
    await prune(store, { urgent: true });
    await store.put("blobs", photo);
  }
}

/**
 * @param {import("./store.js").Transaction} tx
 * @param {string[]} photos
 */
async function dropPhotos(tx, photos) {
  for (const sha of photos) {
    if ((await tx.objectStore("uploads").get(sha))?.arrived) await tx.objectStore("blobs").delete(sha);
  }
}

async function isShort() {
  const { usage = 0, quota = Infinity } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
  return usage > quota * SHORT_OF_ROOM;
}
