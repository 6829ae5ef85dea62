/**
 * Photos on the phone: made small (longest side 1600 px, JPEG, no position inside), named by their hash, and stored together with the
 * draft that names them, in one go. They go to the office after the record (upload.js).
 *
 * @typedef {import("./draft.js").NamedPhoto} NamedPhoto
 * @typedef {import("./store.js").Store} Store
 * @typedef {{bytes: ArrayBuffer, width: number, height: number}} Small
 *
 * @typedef {object} Page
 * @property {Store} store
 * @property {() => NamedPhoto[]} photos
 * @property {() => unknown} before saves what was typed until now
 * @property {() => void} changed
 * @property {(stores: string[], work: (tx: import("./store.js").Transaction) => Promise<unknown>, photos: (known: NamedPhoto[]) => NamedPhoto[]) => Promise<unknown>} write
 *   the work and the draft with these photos, in one transaction
 */
import { localTime, sha256 } from "./digest.js";
import { QuotaFull } from "./store.js";

export const MOST_PHOTOS = 20;
const LONGEST_SIDE = 1600;
const QUALITY = 0.85;

/** One kind of photo (before, after, label): its two buttons, its thumbnails, what is said about each. */
export class PhotoPlace {
  /**
   * @param {HTMLElement} root carries data-photos="before" and the sentences as data-…
   * @param {Page} page
   */
  constructor(root, page) {
    this.root = root;
    this.page = page;
    this.kind = root.dataset.photos ?? "";
    this.name = root.querySelector("legend")?.textContent?.trim() ?? "";
    this.list = /** @type {HTMLUListElement} */ (root.querySelector("[data-thumbs]"));
    this.queue = Promise.resolve();
  }

  start() {
    // a phone short of memory may kill the page while its camera is open: everything is saved before
    this.root.addEventListener("click", () => void this.page.before());
    this.root.addEventListener("submit", (event) => event.preventDefault());
    this.root.addEventListener("change", (event) => this.take(event));
  }

  // ---- actions

  /** @param {Event} event */
  take(event) {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.type !== "file") return;
    for (const file of input.files ?? []) this.enqueue(file);
    input.value = "";
  }

  /**
   * The draft was read: show the photos that it names.
   *
   * @returns {Promise<void>}
   */
  async show() {
    for (const item of this.list.querySelectorAll("[data-sha256]")) item.remove();
    for (const photo of this.page.photos().filter(({ kind }) => kind === this.kind)) {
      const kept = await this.page.store.get("blobs", photo.sha256);
      this.thumb().shown(photo, kept?.bytes ?? null);
    }
  }

  // ---- private

  /**
   * One at a time: a phone's memory holds one decoded picture, not ten.
   *
   * @param {File} file
   */
  enqueue(file) {
    const thumb = this.thumb();
    thumb.say("saving", this.words("saving"));
    this.queue = this.queue.then(() => this.add(file, thumb)).catch((error) => thumb.say("failed", this.reason(error)));
  }

  /**
   * @param {File} file
   * @param {Thumb} thumb
   */
  async add(file, thumb) {
    if (this.page.photos().length >= MOST_PHOTOS) return thumb.say("failed", this.words("most"));
    const small = await shrunk(file);
    if (!small) return thumb.say("failed", this.words("unreadable"));
    const photo = await named(small, this.kind, file.lastModified);
    if (this.page.photos().some((each) => each.sha256 === photo.sha256)) return thumb.say("failed", this.words("twice"));
    await this.page.write(["blobs", "uploads"], (tx) => keep(tx, photo, small.bytes), (known) => [...known, photo]);
    thumb.shown(photo, small.bytes);
  }

  /** @param {NamedPhoto} photo */
  async remove(photo) {
    await this.page.write(["blobs", "sending", "receipts"], (tx) => forget(tx, photo.sha256), (known) => known.filter(({ sha256: each }) => each !== photo.sha256));
  }

  thumb() {
    return new Thumb(this, this.list.appendChild(document.createElement("li")), `${this.name} ${this.list.children.length}`);
  }

  /** @param {string} name */
  words(name) {
    return this.root.dataset[name] ?? "";
  }

  /** @param {unknown} error */
  reason(error) {
    return this.words(error instanceof QuotaFull ? "full" : "failed");
  }
}

/** One photo in the list: picture, caption, remove, what became of it. */
class Thumb {
  /**
   * @param {PhotoPlace} place
   * @param {HTMLLIElement} item
   * @param {string} name
   */
  constructor(place, item, name) {
    this.place = place;
    this.item = item;
    this.name = name;
    this.state = item.appendChild(document.createElement("span"));
    this.state.setAttribute("role", "status");
  }

  /**
   * @param {NamedPhoto} photo
   * @param {ArrayBuffer | null} bytes null: the phone lost them
   */
  shown(photo, bytes) {
    const { item, place, name } = this;
    item.dataset.sha256 = photo.sha256;
    this.say(bytes ? "saved" : "failed", bytes ? "" : place.words("gone"));
    const picture = document.createElement("img");
    picture.alt = name;
    picture.width = picture.height = 104;
    if (bytes) picture.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    item.prepend(picture);
    item.append(this.#caption(photo), this.#removal(photo));
  }

  /**
   * @param {string} state
   * @param {string} words
   */
  say(state, words) {
    this.item.dataset.state = state;
    this.state.textContent = words;
    this.state.hidden = !words;
  }

  /** @param {NamedPhoto} photo */
  #caption(photo) {
    const input = document.createElement("input");
    input.className = "input";
    input.maxLength = 200;
    input.value = photo.caption;
    input.placeholder = this.place.words("caption");
    input.setAttribute("aria-label", `${this.name}: ${this.place.words("caption")}`);
    input.addEventListener("input", () => {
      const kept = this.place.page.photos().find(({ sha256: each }) => each === photo.sha256);
      if (kept) kept.caption = input.value;
      this.place.page.changed();
    });
    return input;
  }

  /** @param {NamedPhoto} photo */
  #removal(photo) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button quiet";
    button.textContent = this.place.words("remove");
    button.setAttribute("aria-label", `${this.place.words("remove")}: ${this.name}`);
    button.addEventListener("click", () => {
      void this.place.remove(photo).then(
        () => this.item.remove(),
        (error) => this.say("failed", this.place.reason(error)),
      );
    });
    return button;
  }
}

/**
 * The picture, turned upright, small and without metadata; null where this browser cannot read it.
 *
 * @param {File} file
 * @returns {Promise<Small | null>}
 */
async function shrunk(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const canvas = document.createElement("canvas");
    const [width, height] = fitted(bitmap.width, bitmap.height);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ done) => {
      canvas.toBlob(done, "image/jpeg", QUALITY);
    });
    return blob && { bytes: await blob.arrayBuffer(), width, height };
  } catch {
    return null;
  }
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {[width: number, height: number]} whole pixels, the longest side at most 1600, never enlarged
 */
export function fitted(width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/**
 * @param {Small} small
 * @param {string} kind
 * @param {number} taken milliseconds
 * @returns {Promise<NamedPhoto>}
 */
export async function named({ bytes, width, height }, kind, taken) {
  const hash = await sha256(bytes);
  return { sha256: hash, size: bytes.byteLength, kind, caption: "", taken_at: localTime(new Date(taken)), width, height };
}

/**
 * These bytes are right, for the photo is named by them: where others lay under its name they were damaged, and what the office said of
 * them is over.
 *
 * @param {import("./store.js").Transaction} tx with blobs and uploads
 * @param {{sha256: string, size: number}} photo
 * @param {ArrayBuffer} bytes
 */
export async function keep(tx, photo, bytes) {
  const uploads = tx.objectStore("uploads");
  await tx.objectStore("blobs").put(blobOf(photo, bytes));
  if ((await uploads.get(photo.sha256))?.error) await uploads.delete(photo.sha256);
}

/**
 * The bytes leave with the last draft that names them. What was sent needs them until the office has them (prune.js): two visits may
 * share a picture.
 *
 * @param {import("./store.js").Transaction} tx with blobs, sending, receipts and drafts, before the draft without the photo is written
 * @param {string} sha
 */
export async function forget(tx, sha) {
  const [sending, receipts, drafts] = await Promise.all(["sending", "receipts", "drafts"].map((name) => tx.objectStore(name).getAll()));
  const isSent = [...sending, ...receipts].some(({ head }) => head.photos.includes(sha));
  const naming = drafts.filter(({ sent, photos }) => !sent && photos.some((/** @type {NamedPhoto} */ each) => each.sha256 === sha));
  if (!isSent && naming.length < 2) await tx.objectStore("blobs").delete(sha);
}

/**
 * @param {{sha256: string, size: number}} photo
 * @param {ArrayBuffer} bytes
 */
function blobOf({ sha256: hash, size }, bytes) {
  return { sha256: hash, bytes, size, type: "image/jpeg" };
}
