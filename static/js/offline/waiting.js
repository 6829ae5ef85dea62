/**
 * What this phone's outbox knows about a record, though its page was made before: the backup reminder, the start, what was sent.
 */
import { enqueue, itemOf, items } from "./outbox.js";
import { forgive } from "./places.js";
import { wallTime } from "./words.js";

/**
 * @typedef {import("./outbox.js").Listed} Listed
 * @typedef {{state: string, reason: string, name: string}} Backup  state: signed, refused, not_applicable; open: nobody has answered yet
 */

export class Waiting {
  /**
   * @param {HTMLElement} root
   * @param {import("./store.js").Store} store
   * @param {(code: string, values?: Record<string, string | number>) => string} sentence
   */
  constructor(root, store, sentence) {
    this.root = root;
    this.store = store;
    this.sentence = sentence;
    this.visit = root.dataset.visit ?? "";
    /** @type {Backup} */
    this.backup = { state: root.dataset.backup ?? "open", reason: root.dataset.backupReason ?? "", name: "" };
    this.startedAt = root.dataset.started ?? "";
  }

  /** @returns {Promise<Listed[]>} all of this visit */
  async items() {
    return (await items(this.store)).filter(({ visit }) => visit === this.visit);
  }

  /** @returns {Promise<Listed[]>} all of this visit, and what it says about the record is known from here on */
  async learn() {
    const mine = await this.items();
    const acknowledged = newsSince(document.body.dataset.renderedAt ?? "", mine).findLast(({ path }) => path.endsWith("/backup-acknowledgement"));
    if (acknowledged) {
      const { body } = await itemOf(this.store, acknowledged.sequence);
      this.backup = backupIn(new URLSearchParams(new TextDecoder().decode(body)));
      this.#showBackup();
    }
    const begun = mine.find(({ path }) => path.endsWith("/start"));
    if (begun && !this.startedAt) this.startedAt = await this.wall(new Date(begun.device_at));
    return mine;
  }

  /**
   * The engineer says that there is no work on data.
   *
   * @param {HTMLFormElement} form
   */
  async noData(form) {
    const fields = /** @type {[string, string][]} */ ([...new FormData(form)].filter(([, value]) => typeof value === "string"));
    const path = new URL(form.action).pathname;
    await enqueue(this.store, { path, fields, visit: this.visit, label: this.sentence("not_applicable_label"), about: this.root.dataset.about });
    await this.learn();
  }

  /** @param {HTMLFormElement} record gets the start that this phone knows */
  fillStart(record) {
    const field = record.elements.namedItem("started_at");
    if (!this.startedAt || !(field instanceof HTMLInputElement) || field.value) return;
    field.value = this.startedAt;
    const line = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-times]"));
    if (!line) return;
    line.hidden = false;
    line.textContent = this.sentence("times_until_now", { start: this.startedAt.slice(11) });
  }

  /**
   * @param {Date} moment by this phone's clock
   * @returns {Promise<string>} on the wall of the installation, by the office's clock as far as this phone knows it
   */
  async wall(moment) {
    const offset = (await this.store.get("meta", "offset_ms")) ?? 0;
    return wallTime(moment.getTime() + offset, this.root.dataset.zone);
  }

  // ---- private

  #showBackup() {
    const { state, reason, name } = this.backup;
    const words = {
      signed: () => this.sentence("signed_by", { name }),
      refused: () => this.sentence("refused", { text: reason }),
      not_applicable: () => this.sentence("not_applicable_label"),
    };
    const place = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-backup-phone]"));
    const says = place?.querySelector("[data-backup-state]");
    if (!place || !says) return;
    place.hidden = false;
    says.textContent = words[/** @type {keyof typeof words} */ (state)]();
    forgive(place);
    for (const old of this.root.querySelectorAll("[data-backup-ask], [data-backup-office], [data-backup-open]")) /** @type {HTMLElement} */ (old).hidden = true;
    for (const link of this.root.querySelectorAll("[data-backup-change]")) /** @type {HTMLElement} */ (link).hidden = false;
  }
}

/**
 * @param {string} rendered when the office made the page
 * @param {Listed[]} items
 * @returns {Listed[]} those that the page cannot know of
 */
export function newsSince(rendered, items) {
  return items.filter(({ state, receipt }) => state !== "received" || !receipt || !rendered || Date.parse(receipt.received_at) > Date.parse(rendered));
}

/**
 * @param {URLSearchParams} answer of the form of the backup reminder
 * @returns {Backup}
 */
export function backupIn(answer) {
  const method = answer.get("backup_ack_method") || "signed";
  const state = method === "refused" || method === "not_applicable" ? method : "signed";
  const name = answer.get("backup_ack_typed") || answer.get("backup_ack_name") || "";
  return { state, reason: answer.get("backup_ack_reason") ?? "", name };
}
