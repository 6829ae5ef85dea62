/**
 * The record form saves itself to `data-autosave-url`: 300 ms after a change and at most 1 s, at once on leaving a field or the page.
 * The line `[data-saving-state]` always says where the text is. The field `revision` says which draft the person saw (see Revision).
 */
import { meaning } from "./answer.js";

const PAUSE_MS = 300;
const LONGEST_MS = 1_000;
const FIRST_RETRY_MS = 2_000;
const LAST_RETRY_MS = 60_000;
const KEEPALIVE_LIMIT = 60_000; // browsers refuse more than 64 KiB for requests that outlive the page

/** @param {HTMLFormElement} form */
export function start(form) {
  const line = /** @type {HTMLElement | null} */ (document.querySelector("[data-saving-state]"));
  const revision = new Revision(form);
  const draft = new Draft({ send: (leaving) => send(form, revision, leaving), show: (state, sentence) => show(line, state, sentence) });
  form.addEventListener("input", () => draft.change());
  form.addEventListener("change", () => draft.change());
  form.addEventListener("focusout", () => void draft.flush());
  document.addEventListener("visibilitychange", () => document.hidden && void draft.flush(true));
  addEventListener("pagehide", () => void draft.flush(true));
  addEventListener("online", () => void draft.flush());
  document.addEventListener("submit", (event) => event.target === form && !event.defaultPrevented && draft.stop());
}

/**
 * When to send, and what to say about it. One request at a time, so an older text never overtakes a newer one.
 *
 * @typedef {{state: "saved" | "failed" | "logged-out" | "refused", sentence?: string}} Outcome
 */
export class Draft {
  #since = 0;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  #dirty = false;
  #sending = false;
  #stopped = false;
  #retry = FIRST_RETRY_MS;

  /**
   * @param {{send: (leaving: boolean) => Promise<Outcome>, show: (state: string, sentence: string) => void, now?: () => number}} edges
   */
  constructor({ send, show, now = () => Date.now() }) {
    this.send = send;
    this.show = show;
    this.now = now;
  }

  change() {
    if (!this.#dirty) this.#since = this.now();
    this.#dirty = true;
    this.show("saving", "");
    this.#plan(Math.min(PAUSE_MS, Math.max(0, this.#since + LONGEST_MS - this.now())));
  }

  /** @param {boolean} [leaving] the page may be gone before the answer comes */
  async flush(leaving = false) {
    if (!this.#dirty || this.#stopped || (this.#sending && !leaving)) return;
    clearTimeout(this.#timer);
    this.#dirty = false;
    this.#sending = true;
    const outcome = await this.send(leaving);
    this.#sending = false;
    this.#settle(outcome);
  }

  /** The form itself is on its way: nothing may be saved after it. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** @param {Outcome} outcome */
  #settle({ state, sentence = "" }) {
    if (this.#stopped) return;
    if (state === "saved") {
      this.#retry = FIRST_RETRY_MS;
      if (this.#dirty) this.#plan(0);
      else this.show("saved", "");
      return;
    }
    this.#dirty = true;
    this.show(state, sentence);
    if (state === "refused") return; // the same text would be refused again; the next change is another one
    this.#plan(this.#retry);
    this.#retry = Math.min(this.#retry * 2, LAST_RETRY_MS);
  }

  /** @param {number} delay */
  #plan(delay) {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.flush(), delay);
  }
}

/**
 * Each saving is expected to make the next revision, because its answer may be lost or late; the newest answer corrects that.
 * So our own lost answers are never taken for somebody else's change, and an older text that arrives late is refused.
 */
export class Revision {
  #newest = 0;

  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.field = /** @type {HTMLInputElement | null} */ (form.elements.namedItem("revision"));
  }

  /** @returns {(answered: unknown) => void} to be called with the revision in the answer */
  expect() {
    const mine = (this.#newest += 1);
    if (this.field?.value) this.field.value = String(Number(this.field.value) + 1);
    return (answered) => {
      if (this.field && mine === this.#newest && Number.isInteger(answered)) this.field.value = String(answered);
    };
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {Revision} revision
 * @param {boolean} leaving
 * @returns {Promise<Outcome>}
 */
async function send(form, revision, leaving) {
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (typeof value === "string") body.append(name, value);
  const settle = revision.expect();
  try {
    const response = await fetch(form.dataset.autosaveUrl ?? form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body,
      keepalive: leaving && body.toString().length < KEEPALIVE_LIMIT,
      redirect: "manual",
    });
    const answer = meaning(response.status, response.headers.get("Content-Type") ?? "", await response.text());
    if (answer.state !== "received") return { state: answer.state === "again" ? "failed" : answer.state, sentence: answer.sentence };
    settle(answer.body.revision);
    return { state: "saved" };
  } catch {
    return { state: "failed" };
  }
}

/**
 * @param {HTMLElement | null} line
 * @param {string} state
 * @param {string} sentence
 */
function show(line, state, sentence) {
  if (!line) return;
  const words = { saving: line.dataset.saving, saved: line.dataset.saved, "logged-out": line.dataset.loggedOut }[state] ?? line.dataset.failed;
  const time = new Date().toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hour12: false });
  line.dataset.state = state;
  line.textContent = sentence || (state === "saved" ? `${words} ${time}` : (words ?? ""));
  line.toggleAttribute("role", false);
  if (state !== "saving" && state !== "saved") line.setAttribute("role", "alert");
}
