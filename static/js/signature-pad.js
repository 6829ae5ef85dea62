/**
 * A place to sign with finger, pen or mouse. The hidden field of the pad holds the ink (ink.js) as JSON; it survives rotation,
 * can be undone, and a form is not sent with a dot for a signature, nor by pressing Enter.
 */
import { enough, groupsOf, inkOf, RATIO, readInk } from "./ink.js";

const PEN = { penColor: "#0b1f3a", minWidth: 0.9, maxWidth: 2.8, dotSize: 1.6, velocityFilterWeight: 0.7 };

/** @param {HTMLElement} root */
export async function start(root) {
  const { default: SignaturePad } = await import("../vendor/signature_pad.js");
  new Signing(root, (canvas) => new SignaturePad(canvas, PEN)).start();
}

class Signing {
  /**
   * @param {HTMLElement} root
   * @param {(canvas: HTMLCanvasElement) => import("../vendor/signature_pad.js").default} makePad
   */
  constructor(root, makePad) {
    this.root = root;
    this.canvas = find(root, "canvas", HTMLCanvasElement);
    this.field = find(root, "[data-strokes]", HTMLInputElement);
    this.complaint = find(root, "[data-complaint]", HTMLElement);
    this.pad = makePad(this.canvas);
    this.ink = readInk(this.field.value);
    this.width = 0;
  }

  start() {
    this.pad.addEventListener("endStroke", () => this.keep());
    this.root.querySelector("[data-undo]")?.addEventListener("click", () => this.undo());
    this.root.querySelector("[data-clear]")?.addEventListener("click", () => this.clear());
    this.root.addEventListener("restore", () => this.read());
    this.root.addEventListener("collect", () => this.keepNow());
    this.field.form?.addEventListener("submit", (event) => this.check(event));
    this.field.form?.addEventListener("keydown", ignoreEnter);
    new ResizeObserver(() => this.fit()).observe(this.canvas);
    this.fit();
    this.root.dataset.ready = "";
  }

  // ---- actions

  undo() {
    this.ink = { ...this.ink, strokes: this.ink.strokes.slice(0, -1) };
    this.draw();
    this.tell();
  }

  clear() {
    this.ink = { ...this.ink, strokes: [] };
    this.draw();
    this.tell();
  }

  /** @param {SubmitEvent} event */
  check(event) {
    const typed = /** @type {HTMLInputElement | null} */ (this.root.querySelector("[data-typed]"));
    const optional = this.root.dataset.optional !== undefined && this.ink.strokes.length === 0;
    if (enough(this.ink) || optional || typed?.value.trim() || isSkipped(event.submitter)) return;
    event.preventDefault();
    this.complain(this.root.dataset.tooLittle ?? "");
    this.root.scrollIntoView({ block: "center" });
  }

  /** The field was filled from elsewhere: show what it holds. */
  read() {
    this.ink = readInk(this.field.value);
    this.complain("");
    this.draw();
  }

  /** Also a stroke that is not over yet: the other hand may tap "finish" before this finger is lifted. */
  keepNow() {
    if (this.width && !this.pad.isEmpty()) this.keep();
  }

  // ---- private

  keep() {
    this.ink = inkOf(this.pad.toData(), this.width);
    this.tell();
  }

  tell() {
    this.field.value = this.ink.strokes.length ? JSON.stringify(this.ink) : "";
    this.field.dispatchEvent(new Event("change", { bubbles: true }));
    if (enough(this.ink)) this.complain("");
  }

  /** A new width redraws; a new height alone (the keyboard opens) does not touch the drawing. */
  fit() {
    const width = this.canvas.clientWidth;
    if (!width || width === this.width) return;
    if (this.width && !this.pad.isEmpty()) this.ink = inkOf(this.pad.toData(), this.width);
    this.width = width;
    const density = Math.max(devicePixelRatio || 1, 1);
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round((width / RATIO) * density);
    this.canvas.getContext("2d")?.scale(density, density);
    this.draw();
  }

  draw() {
    this.pad.fromData(groupsOf(this.ink, this.width).map((group) => ({ ...PEN, compositeOperation: "source-over", ...group })));
  }

  /** @param {string} sentence */
  complain(sentence) {
    this.complaint.textContent = sentence;
    this.complaint.hidden = !sentence;
    this.root.toggleAttribute("data-invalid", Boolean(sentence));
  }
}

/** @param {KeyboardEvent} event */
function ignoreEnter(event) {
  const target = event.target;
  if (event.key === "Enter" && target instanceof HTMLInputElement && !["submit", "button"].includes(target.type)) event.preventDefault();
}

/** @param {HTMLElement | null} submitter */
function isSkipped(submitter) {
  return submitter?.hasAttribute("formnovalidate") ?? false;
}

/**
 * @template {HTMLElement} T
 * @param {HTMLElement} root
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
function find(root, selector, kind) {
  const found = root.querySelector(selector);
  if (found instanceof kind) return found;
  throw new Error(`the signature pad has no ${selector}`);
}
