/**
 * The way out when nothing else gets through: everything that the office has not received, in one file that the dispatcher can read in.
 * It carries the ids of the items, so it does no harm when they arrive as well.
 */
import { base64, localTime } from "./digest.js";
import { itemOf, items } from "./outbox.js";

const AFTER_MS = 24 * 3_600_000;
const AFTER_ATTEMPTS = 50;

/**
 * @param {import("./outbox.js").Listed[]} listed
 * @param {number} [now]
 * @returns {boolean} whether the export package should be offered
 */
export function needed(listed, now = Date.now()) {
  return listed.some(
    ({ state, attempts, device_at }) =>
      state === "attention" || (state === "waiting" && (attempts >= AFTER_ATTEMPTS || now - Date.parse(device_at) > AFTER_MS)),
  );
}

/**
 * @param {import("./store.js").Store} store
 * @param {Date} [now]
 * @returns {Promise<string>} the package as JSON
 */
export async function packageOf(store, now = new Date()) {
  const open = (await items(store)).filter(({ state }) => state !== "received");
  const kept = await Promise.all(open.map(({ sequence }) => itemOf(store, sequence)));
  return JSON.stringify({
    format: "fieldapp-rescue",
    version: 1,
    user: store.user,
    device: await store.get("meta", "device"),
    made_at: localTime(now),
    items: kept.filter(Boolean).map(packed),
    photos: await photosOf(store),
  });
}

/**
 * Put the package where this phone keeps its downloads.
 *
 * @param {import("./store.js").Store} store
 * @param {Date} [now]
 */
export async function download(store, now = new Date()) {
  const file = new Blob([await packageOf(store, now)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `fieldapp-${localTime(now).slice(0, 16).replace(/\D/g, "")}.json`;
  document.body.append(link); // some browsers ignore a link that is nowhere
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {import("./outbox.js").Item} item */
function packed({ sequence, id, path, body, sha256, type, device_at, zone, form_version, base_revision }) {
  return { sequence, id, path, body_b64: base64(body), sha256, type, device_at, zone, form_version, base_revision };
}

/**
 * @param {import("./store.js").Store} store
 * @returns {Promise<{sha256: string, type: string, bytes_b64: string}[]>} what has not arrived
 */
async function photosOf(store) {
  const photos = [];
  for (const sha of await store.keys("blobs")) {
    if ((await store.get("uploads", sha))?.arrived) continue;
    const { type, bytes } = await store.get("blobs", sha);
    photos.push({ sha256: sha, type, bytes_b64: base64(bytes) });
  }
  return photos;
}
