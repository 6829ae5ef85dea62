/** A copy of the draft at the office, where there is signal and nothing waits: a bonus that is never spoken of when it fails. */
import { uuid7 } from "../uuid7.js";

const COPY_AFTER_MS = 2_000;
const NO_COPY_MS = 60_000;
const AT_WORK = new Set(["arrived", "working", "paused"]); // when the office takes a draft

export class OfficeCopy {
  #notBefore = 0;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {object} page
   * @param {import("./open-draft.js").OpenDraft} page.draft
   * @param {string} page.url
   * @param {() => import("./draft.js").Fields} page.fields of the record
   * @param {() => string} page.status of the visit
   * @param {() => Promise<import("./outbox.js").Listed[]>} page.items what this phone has to send for the visit, and has sent
   */
  constructor({ draft, url, fields, status, items }) {
    this.draft = draft;
    this.url = url;
    this.fields = fields;
    this.status = status;
    this.items = items;
  }

  /** Something was saved. */
  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.make(), COPY_AFTER_MS);
  }

  async make() {
    const { draft } = this;
    if (draft.screen !== "form" || !draft.writes || Date.now() < this.#notBefore || !navigator.onLine) return;
    if (!AT_WORK.has(this.status()) || draft.isCopied || (await this.items()).some(({ state }) => state !== "received")) return;
    const { changed } = draft;
    this.#notBefore = Date.now() + NO_COPY_MS;
    const revision = await this.#send(draft.copied?.revision ?? draft.base.revision);
    if (revision === null) return;
    draft.isCopiedAs(revision, changed);
    this.#notBefore = 0;
    if (draft.changed === changed) await draft.saver.alone(() => draft.save()).catch(() => undefined); // the next saving says it
  }

  // ---- private

  /**
   * @param {number | null} base
   * @returns {Promise<number | null>} the revision that it is there
   */
  async #send(base) {
    const { store } = this.draft;
    const device = await store.get("meta", "device");
    const headers = { Accept: "application/json", "X-User": store.user, "X-Device": device, ...(base ? { "X-Base-Revision": String(base) } : {}) };
    const body = new URLSearchParams([...this.fields(), ["submission_id", uuid7()]]);
    try {
      const response = await fetch(this.url, { method: "POST", headers, body, redirect: "manual" });
      const answer = response.ok ? await response.json() : null;
      return Number.isInteger(answer?.revision) ? answer.revision : null;
    } catch {
      return null; // no signal: the text is on this phone
    }
  }
}
