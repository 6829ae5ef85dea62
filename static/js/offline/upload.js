/**
 * Photos follow their record: HEAD says how much of one the office has, PUT brings the next 64 KiB (less after each failure), until all of it is there and its hash
 * is right. A photo that no receipt names yet goes early only when nothing else waits.
 */
import { verdict } from "../answer.js";
import { ask } from "./ask.js";
import { tell } from "./channel.js";
import { sha256 } from "./digest.js";
import { pause, wait } from "./lanes.js";
import { items } from "./outbox.js";

const RANGE = 65_536;
const SHORTEST_RANGE = 4_096;

/** @typedef {{sha256: string, bytes: ArrayBuffer, size: number, type: string}} Photo */
/** @typedef {"done" | "again" | "interrupted" | "logged-out"} Outcome */

export class Uploads {
  /** @type {Map<string, {attempts: number, next_at: number, asked: boolean}>} */
  #failed = new Map();

  /**
   * @param {import("./store.js").Store} store
   * @param {{fetch?: typeof globalThis.fetch, now?: () => number, random?: () => number}} [edges]
   */
  constructor(store, { fetch, now = () => Date.now(), random = Math.random } = {}) {
    this.store = store;
    this.fetch = fetch;
    this.now = now;
    this.random = random;
    this.headers = { Accept: "application/json", "X-User": store.user };
  }

  /** @returns {number} ms until a photo that failed may be tried again; Infinity when none did */
  wait() {
    return Math.min(...[...this.#failed.values()].map((failed) => wait(failed, this.now())));
  }

  /**
   * @param {() => boolean} interrupted  asked between ranges: a record goes first
   * @param {boolean} [forced]
   * @returns {Promise<Outcome>}
   */
  async run(interrupted, forced = false) {
    for (const sha of await pending(this.store)) {
      const failed = this.#failed.get(sha);
      if (failed && wait(failed, this.now()) > 0 && !(forced && !failed.asked)) continue;
      if (interrupted()) return "interrupted";
      const outcome = await this.#bring(sha, interrupted);
      if (outcome !== "done") return outcome;
    }
    return "done";
  }

  // ---- private

  /**
   * @param {string} sha
   * @param {() => boolean} interrupted
   * @returns {Promise<Outcome>}
   */
  async #bring(sha, interrupted) {
    const photo = /** @type {Photo | undefined} */ (await this.store.get("blobs", sha));
    if (!photo) return "done";
    let known = await this.#head(sha);
    const range = Math.max(SHORTEST_RANGE, RANGE >> (this.#failed.get(sha)?.attempts ?? 0)); // less at a time on a line that broke
    let left = 2 * Math.ceil(photo.size / range) + 4; // an office that sends us back and forth ends somewhere
    while (known.state === "at" && !known.complete) {
      if ((left -= 1) < 0) return this.#again(sha, null, false);
      if (interrupted()) return "interrupted";
      this.#progress(photo, known.offset);
      known = await this.#put(photo, known.offset, range);
    }
    if (known.state === "at") return this.#arrived(photo, known.office);
    if (known.state === "logged-out") return "logged-out";
    if (known.state === "refused") return this.#refused(photo, known);
    return this.#again(sha, known.wait, known.silent);
  }

  /**
   * @typedef {{state: "at", offset: number, complete: boolean, office: {server?: string, epoch?: number}}} Offset
   * @typedef {{state: "logged-out"} | {state: "refused", code: string, sentence: string}
   *   | {state: "again", wait: number | null, silent: boolean}} Failure
   */

  /**
   * @param {string} sha
   * @returns {Promise<Offset | Failure>}
   */
  async #head(sha) {
    const answer = await ask(`/photos/${sha}`, { method: "HEAD", headers: this.headers }, this);
    const offset = answer.headers.get("Upload-Offset") ?? "";
    const complete = answer.headers.get("Upload-Complete");
    if (answer.status === 200 && /^\d+$/.test(offset) && complete) {
      return { state: "at", offset: Number(offset), complete: complete === "?1", office: {} };
    }
    return failure(answer);
  }

  /**
   * @param {Photo} photo
   * @param {number} offset
   * @param {number} range
   * @returns {Promise<Offset | Failure>}
   */
  async #put({ sha256: sha, bytes, type }, offset, range) {
    const headers = {
      ...this.headers,
      "Content-Type": type,
      "Upload-Length": String(bytes.byteLength),
      "Upload-Offset": String(offset),
    };
    const answer = await ask(`/photos/${sha}`, { method: "PUT", headers, body: bytes.slice(offset, offset + range) }, this);
    const said = verdict(answer, (told) => told.sha256 === sha && typeof told.server === "string" && Number.isInteger(told.offset));
    if (said.state === "received") {
      const { offset: next, complete, server, epoch } = said.receipt;
      if (complete === true || next > offset) return { state: "at", offset: next, complete: complete === true, office: { server, epoch } };
    }
    if (said.state === "refused" && said.code === "offset") return elsewhere(answer, offset);
    return failure(answer);
  }

  /**
   * @param {Photo} photo
   * @param {{server?: string, epoch?: number}} office
   * @returns {Promise<Outcome>}
   */
  async #arrived(photo, office) {
    this.#failed.delete(photo.sha256);
    // The bytes are not written again: a full phone has no room for them twice, and a photo that was removed meanwhile stays removed.
    await this.store.transaction(["uploads", "meta"], async (tx) => {
      const meta = tx.objectStore("meta");
      const server = office.server ?? (await meta.get("server"));
      const epoch = office.epoch ?? (await meta.get("epoch")) ?? 1;
      await tx.objectStore("uploads").put({ arrived: true, at: this.now(), server, epoch, error: null }, photo.sha256);
    });
    this.#progress(photo, photo.size);
    return "done";
  }

  /**
   * @param {Photo} photo
   * @param {{code: string, sentence: string}} said
   * @returns {Promise<Outcome>}
   */
  async #refused(photo, { code, sentence }) {
    // The office counted another hash. When our own bytes are still right, they were damaged on the way: all of them again.
    const whole = code === "digest_mismatch" && (await sha256(photo.bytes)) === photo.sha256;
    if (whole) return this.#again(photo.sha256, null, false);
    const error = { code: code === "digest_mismatch" ? "damaged" : code, sentence };
    await this.store.put("uploads", { arrived: false, at: this.now(), error }, photo.sha256);
    tell(this.store.user, { type: "upload", sha256: photo.sha256, error });
    return "done";
  }

  /**
   * @param {string} sha
   * @param {number | null} asked
   * @param {boolean} silent
   * @returns {Outcome}
   */
  #again(sha, asked, silent) {
    const attempts = this.#failed.get(sha)?.attempts ?? 0;
    this.#failed.set(sha, { attempts: attempts + 1, next_at: this.now() + (asked ?? pause(attempts, this.random)), asked: asked !== null });
    return silent ? "again" : "done";
  }

  /**
   * @param {Photo} photo
   * @param {number} offset
   */
  #progress({ sha256: sha, size }, offset) {
    tell(this.store.user, { type: "upload", sha256: sha, share: offset / size });
  }
}

/**
 * What became of photos so far.
 *
 * @param {import("./store.js").Store} store
 * @param {string[]} photos
 * @returns {Promise<{arrived: number, error: {code: string, sentence: string} | null}>} how many the office has, and what is wrong with one
 */
export async function fateOf(store, photos) {
  const fates = await Promise.all(photos.map((sha) => store.get("uploads", sha)));
  return { arrived: fates.filter((fate) => fate?.arrived).length, error: fates.find((fate) => fate?.error)?.error ?? null };
}

/**
 * @param {import("./store.js").Store} store
 * @returns {Promise<number>} how much the office has not got yet: what waits or needs attention, and photos of records that it has
 */
export async function unsent(store) {
  const listed = await items(store);
  const open = listed.filter(({ state }) => state !== "received");
  const photos = listed.filter(({ state }) => state === "received").flatMap((item) => item.photos);
  return open.length + photos.length - (await fateOf(store, photos)).arrived;
}

/**
 * @param {import("./store.js").Store} store
 * @returns {Promise<string[]>} photos that the office does not have, those of received records first
 */
async function pending(store) {
  const [kept, settled, queued] = await Promise.all([store.keys("blobs"), store.keys("uploads"), items(store)]);
  const open = new Set(kept);
  for (const sha of settled) open.delete(sha);
  const named = queued.filter(({ state }) => state === "received").flatMap(({ photos }) => photos);
  const first = [...new Set(named)].filter((sha) => open.delete(sha));
  return queued.some(({ state }) => state === "waiting") ? first : [...first, ...open];
}

/**
 * @param {import("../answer.js").Answer} answer
 * @returns {Failure}
 */
function failure(answer) {
  const said = verdict(answer, () => false);
  if (said.state === "refused" || said.state === "logged-out") return said;
  return { state: "again", wait: said.state === "again" ? said.wait : null, silent: answer.status === 0 };
}

/**
 * The office has another part than we thought (the answer to an earlier range was lost). Never twice to the same place.
 *
 * @param {import("../answer.js").Answer} answer
 * @param {number} offset
 * @returns {Offset | Failure}
 */
function elsewhere(answer, offset) {
  const next = JSON.parse(answer.text).offset;
  if (Number.isInteger(next) && next >= 0 && next !== offset) return { state: "at", offset: next, complete: false, office: {} };
  return { state: "again", wait: null, silent: false };
}
