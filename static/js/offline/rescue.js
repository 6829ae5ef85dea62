/**
 * The way out when nothing else gets through: everything that the office has not received, in one file that the dispatcher can read in.
 * It carries the ids of the items, so it does no harm when they arrive as well. What is much becomes several files, each whole in itself:
 * mail and proxies carry no large ones, and a phone that is full has not the memory for them.
 *
 * @typedef {{number: number, count: number, items: number[], photos: string[]}} Part  sequences of items, hashes of photos
 */
import { base64, localTime } from "./digest.js";
import { itemOf, items } from "./outbox.js";

const AFTER_MS = 24 * 3_600_000;
const AFTER_ATTEMPTS = 50;
const MOST_BYTES = 12_000_000; // in a file, before base64 makes a third more of them
const MOST_THINGS = 500;

/**
 * @param {import("./outbox.js").Listed[]} listed
 * @param {number} [now]
 * @param {(item: import("./outbox.js").Listed) => boolean} [lacksPhotos]  whether photos of it have not arrived
 * @returns {boolean} whether the export package should be offered
 */
export function needed(listed, now = Date.now(), lacksPhotos = () => false) {
  return listed.some((item) => {
    const { state, attempts, device_at } = item;
    const stands = state === "waiting" || lacksPhotos(item);
    return state === "attention" || (stands && (attempts >= AFTER_ATTEMPTS || now - Date.parse(device_at) > AFTER_MS));
  });
}

/**
 * How everything that has not arrived is divided into files: items first, in their order, then photos.
 *
 * @param {import("./store.js").Store} store
 * @returns {Promise<Part[]>} at least one
 */
export async function partsOf(store) {
  /** @type {Omit<Part, "number" | "count">[]} */
  const parts = [{ items: [], photos: [] }];
  let [bytes, things] = [0, 0];
  const roomFor = (/** @type {ArrayBuffer} */ { byteLength }) => {
    if (things > 0 && (bytes + byteLength > MOST_BYTES || things >= MOST_THINGS)) {
      parts.push({ items: [], photos: [] });
      [bytes, things] = [0, 0];
    }
    [bytes, things] = [bytes + byteLength, things + 1];
    return parts[parts.length - 1];
  };
  for (const { sequence, state } of await items(store)) {
    const item = state === "received" ? undefined : await itemOf(store, sequence);
    if (item) roomFor(item.body).items.push(sequence);
  }
  for (const sha of await store.keys("blobs")) {
    const photo = (await store.get("uploads", sha))?.arrived ? undefined : await store.get("blobs", sha);
    if (photo) roomFor(photo.bytes).photos.push(sha);
  }
  return parts.map((part, at) => ({ number: at + 1, count: parts.length, ...part }));
}

/**
 * @param {import("./store.js").Store} store
 * @param {Part} part
 * @param {Date} [now]
 * @returns {Promise<string>} the file as JSON
 */
export async function packageOf(store, { number, count, items: sequences, photos }, now = new Date()) {
  const kept = await Promise.all(sequences.map((sequence) => itemOf(store, sequence)));
  const pictures = await Promise.all(photos.map((sha) => store.get("blobs", sha)));
  return JSON.stringify({
    format: "fieldapp-rescue",
    version: 1,
    part: number,
    parts: count,
    user: store.user,
    device: await store.get("meta", "device"),
    made_at: localTime(now),
    items: kept.filter(Boolean).map(packed),
    photos: pictures.filter(Boolean).map(({ sha256, type, bytes }) => ({ sha256, type, bytes_b64: base64(bytes) })),
  });
}

/**
 * Put one file where this phone keeps its downloads.
 *
 * @param {import("./store.js").Store} store
 * @param {Part} part
 * @param {Date} [now]
 */
export async function download(store, part, now = new Date()) {
  const file = new Blob([await packageOf(store, part, now)], { type: "application/json" });
  const which = part.count > 1 ? `-${part.number}-of-${part.count}` : "";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `fieldapp-${localTime(now).slice(0, 16).replace(/\D/g, "")}${which}.json`;
  document.body.append(link); // some browsers ignore a link that is nowhere
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {import("./outbox.js").Item} item */
function packed({ sequence, id, path, body, sha256, type, device_at, zone, form_version, base_revision }) {
  return { sequence, id, path, body_b64: base64(body), sha256, type, device_at, zone, form_version, base_revision };
}
