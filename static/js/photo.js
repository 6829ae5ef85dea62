/**
 * Photos are made small on the phone (longest side 1600 px, JPEG, no position inside) and sent one after another as soon as they are
 * chosen, each with its own progress. Without this module the form sends the files as they are.
 */
import { meaning } from "./answer.js";
import { uuid7 } from "./uuid7.js";

const LONGEST_SIDE = 1600;
const QUALITY = 0.85;

/** @typedef {{id: string, type: string, body: ArrayBuffer}} Frozen  a request as it will be sent, however often */

/** @param {HTMLFormElement} form */
export function start(form) {
  new Photos(form).start();
}

class Photos {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.list = /** @type {HTMLUListElement} */ (form.querySelector("[data-thumbs]"));
    this.legend = form.querySelector("legend")?.textContent?.trim() ?? "";
    this.unsent = new Set();
    this.queue = Promise.resolve();
  }

  start() {
    this.form.addEventListener("change", (event) => this.take(event));
    addEventListener("beforeunload", (event) => this.unsent.size > 0 && event.preventDefault());
    this.form.dataset.ready = "";
  }

  // ---- actions

  /** @param {Event} event */
  take(event) {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.type !== "file") return;
    for (const file of input.files ?? []) this.enqueue(file, input.name);
    input.value = "";
  }

  // ---- private

  /**
   * One at a time: a phone's memory holds one decoded picture, not ten.
   *
   * @param {File} file
   * @param {string} name
   */
  enqueue(file, name) {
    const photo = new Thumb(this.list, `${this.legend} ${this.list.children.length + 1}`, this.form.dataset);
    this.unsent.add(photo);
    this.next(photo, async () => {
      const small = await shrunk(file);
      photo.picture(small);
      await this.deliver(photo, await frozen(this.form, name, small, file.name));
    });
  }

  /**
   * @param {Thumb} photo
   * @param {Frozen} request
   */
  async deliver(photo, request) {
    photo.sending();
    const answer = await post(this.form.action, request, (share) => photo.progress(share));
    if (answer.state === "received") {
      this.unsent.delete(photo);
      photo.sent();
    } else if (answer.state === "refused") {
      this.unsent.delete(photo);
      photo.refused(answer.sentence);
    } else {
      photo.failed(answer.sentence, () => this.next(photo, () => this.deliver(photo, request)));
    }
  }

  /**
   * Work that fails (no memory for a large picture) stops neither the queue nor the words beside it.
   *
   * @param {Thumb} photo
   * @param {() => Promise<void>} work
   */
  next(photo, work) {
    this.queue = this.queue.then(work).catch(() => photo.failed("", () => this.next(photo, work)));
  }
}

/** One photo in the list: picture, progress, what became of it. */
class Thumb {
  /**
   * @param {HTMLUListElement} list
   * @param {string} name
   * @param {DOMStringMap} words
   */
  constructor(list, name, words) {
    this.words = words;
    this.item = list.appendChild(document.createElement("li"));
    this.image = this.item.appendChild(document.createElement("img"));
    this.image.alt = name;
    this.bar = this.item.appendChild(document.createElement("progress"));
    this.bar.setAttribute("aria-label", name);
    this.state = this.item.appendChild(document.createElement("span"));
    this.state.setAttribute("role", "status");
  }

  /** @param {Blob} blob */
  picture(blob) {
    this.image.src = URL.createObjectURL(blob);
    this.image.addEventListener("load", () => URL.revokeObjectURL(this.image.src), { once: true });
  }

  sending() {
    this.item.dataset.state = "sending";
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
    this.state.textContent = this.words.sending ?? "";
  }

  /** @param {number} share 0 to 1 */
  progress(share) {
    this.bar.value = share;
  }

  sent() {
    this.#rest("sent", this.words.sent ?? "");
  }

  /** @param {string} sentence */
  refused(sentence) {
    this.#rest("refused", sentence || (this.words.unreadable ?? ""));
  }

  /**
   * @param {string} sentence
   * @param {() => void} again
   */
  failed(sentence, again) {
    this.#rest("failed", sentence);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button quiet";
    button.textContent = this.words.failed ?? "";
    button.addEventListener("click", () => (button.remove(), again()), { once: true });
    this.item.append(button);
  }

  /**
   * @param {string} state
   * @param {string} words
   */
  #rest(state, words) {
    this.item.dataset.state = state;
    this.bar.hidden = true;
    this.state.textContent = words;
  }
}

/**
 * The picture, turned upright, small and without metadata; the file itself where this browser cannot read it: the server decides.
 *
 * @param {File} file
 * @returns {Promise<Blob>}
 */
async function shrunk(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = fitted(bitmap.width, bitmap.height);
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((done) => {
      canvas.toBlob((blob) => done(blob ?? file), "image/jpeg", QUALITY);
    });
  } catch {
    return file;
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
 * The request body as bytes, so that a repeated sending is the same to the byte and counts once.
 *
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {Blob} picture
 * @param {string} filename
 * @returns {Promise<Frozen>}
 */
async function frozen(form, name, picture, filename) {
  const id = uuid7();
  const data = new FormData();
  for (const [key, value] of new FormData(form)) if (typeof value === "string") data.set(key, value);
  data.set("submission_id", id);
  data.set(name, picture, picture.type === "image/jpeg" ? filename.replace(/\.\w+$/, "") + ".jpg" : filename);
  const packed = new Response(data);
  return { id, type: packed.headers.get("Content-Type") ?? "", body: await packed.arrayBuffer() };
}

/**
 * XMLHttpRequest, because fetch does not tell how much was sent.
 *
 * @param {string} url
 * @param {Frozen} request
 * @param {(share: number) => void} onProgress
 * @returns {Promise<import("./answer.js").Received | import("./answer.js").NotReceived>}
 */
function post(url, { id, type, body }, onProgress) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", id);
    request.setRequestHeader("Content-Type", type);
    request.upload.addEventListener("progress", ({ loaded, total, lengthComputable }) => lengthComputable && onProgress(loaded / total));
    request.addEventListener("loadend", () =>
      done(meaning(request.status, request.getResponseHeader("Content-Type") ?? "", request.responseText)),
    );
    request.send(body);
  });
}
