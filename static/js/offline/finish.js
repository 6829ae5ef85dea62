/** The end of a record: the engineer signs, the draft becomes one submission, and the page says what becomes of that. */
import { methodOf, wrongInSignature } from "./check.js";
import { fill } from "./customer-screen.js";
import { localTime } from "./digest.js";
import { fieldsOf } from "./draft.js";
import { freezeAndFinish, PhotoDamaged } from "./outbox.js";
import { submissionOf } from "./submission.js";
import { short, when } from "./words.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./outbox.js").Listed} Listed
 */

export class Finish {
  /**
   * @param {object} page
   * @param {HTMLElement} page.root
   * @param {import("./record-forms.js").RecordForms} page.forms
   * @param {import("./open-draft.js").OpenDraft} page.draft
   * @param {import("./waiting.js").Waiting} page.waiting
   * @param {import("./screens.js").Screens} page.screens
   */
  constructor({ root, forms, draft, waiting, screens }) {
    this.root = root;
    this.forms = forms;
    this.draft = draft;
    this.waiting = waiting;
    this.screens = screens;
  }

  /**
   * One transaction: the draft, with what is on the page this moment, becomes one submission. Nothing is read from the page after.
   *
   * @returns {Promise<Draft | null>} as it was sent; null: the page says why not
   */
  async send() {
    this.forms.collectInk();
    const engineer = fieldsOf(this.forms.engineer);
    const wrong = wrongInSignature(engineer, "engineer", methodOf(engineer, "engineer"));
    this.screens.complainAbout(wrong);
    if (wrong.size > 0) return null;
    const { draft } = this;
    const at = localTime();
    const memory = draft.collect();
    draft.touch();
    await draft.saver.flush();
    try {
      const { id } = await freezeAndFinish(draft.store, draft.key, (kept) => submissionOf({ ...kept, ...memory }, this.#around(at)));
      return { ...memory, sent: id };
    } catch (error) {
      if (!(error instanceof PhotoDamaged)) throw error;
      this.screens.complainAbout([["", "photo_damaged"]]);
      return null;
    }
  }

  /** @param {Draft} sent */
  async show(sent) {
    const { draft } = this;
    draft.finish(sent.sent ?? "");
    draft.screen = "done";
    draft.savedAt = sent.saved_at;
    const mine = await this.waiting.items();
    this.screens.show(0);
    this.tell(mine);
  }

  /** @param {Listed[]} items of this visit */
  tell(items) {
    const item = items.find(({ id }) => id === this.draft.finished);
    const { receipt } = item ?? {};
    const state = item?.state ?? "received"; // receipts are thrown away after 30 days, waiting items never
    const texts = {
      saved_at: when(item?.device_at ?? this.draft.savedAt),
      received_at: receipt ? when(receipt.received_at) : "",
      receipt: short(this.draft.finished),
      office_says: item?.sentence ?? "",
    };
    fill(this.root, { texts, flags: { sent: state, noted: texts.office_says && state === "received" ? "yes" : "" }, lists: {} });
  }

  // ---- private

  /** @param {string} at */
  #around(at) {
    const { label = "", about = "" } = this.root.dataset;
    return { path: new URL(this.forms.record.dataset.sendUrl ?? "", location.href).pathname, label, about, at };
  }
}
