/**
 * The draft that is open on this page: what it says beside its fields, and how it comes into this phone's database. It is written whole,
 * never over one that was sent, and only while this page has the pen.
 */
import { uuid7 } from "../uuid7.js";
import { tell } from "./channel.js";
import { Farewell, Saver } from "./draft.js";
import { saveDraft } from "./outbox.js";
import { FORM_VERSION } from "./shown.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./draft.js").NamedPhoto} NamedPhoto
 * @typedef {import("./draft.js").Screen} Screen
 * @typedef {import("./store.js").Store} Store
 * @typedef {Pick<import("./record-forms.js").RecordForms, "written" | "made" | "scrolled">} Forms
 * @typedef {Pick<import("./saving-line.js").SavingLine, "saving" | "saved" | "failed">} Line
 */

export class OpenDraft {
  /** @type {Screen} */
  screen = "form";
  /** @type {NamedPhoto[]} */
  photos = [];
  version = FORM_VERSION;
  changed = 0;
  scroll = 0;
  endedAt = "";
  /** @type {Draft["given"]} */
  given = null;
  /** @type {Draft["shown"]} */
  shown = null;
  /** @type {Draft["copied"]} */
  copied = null;
  savedAt = "";
  /** Another page writes it: here it is read. */
  reading = false;
  /** The submission that it became. */
  finished = "";

  /**
   * @param {object} page
   * @param {Store} page.store
   * @param {string} page.visit
   * @param {string} page.about words that name the visit
   * @param {Forms} page.forms
   * @param {Line} page.line
   * @param {() => void} page.saved called when a draft is on the disk
   * @param {(draft: Draft) => unknown} page.sent called when it turns out that another page has sent it
   */
  constructor({ store, visit, about, forms, line, saved, sent }) {
    this.store = store;
    this.visit = visit;
    this.about = about;
    this.forms = forms;
    this.line = line;
    this.saved = saved;
    this.sent = sent;
    this.key = `visit:${visit}`;
    this.tab = uuid7();
    this.base = forms.made();
    this.farewell = new Farewell(`fieldapp-left-${store.user}-${visit}`);
    this.saver = new Saver({ save: () => this.save(), show: (state, error) => this.tellState(state, error) });
  }

  /** Whether this page is the one that writes it. */
  get writes() {
    return !this.reading && !this.finished;
  }

  /** Whether the office has a copy of all that stands here. */
  get isCopied() {
    return this.copied?.changed === this.changed;
  }

  // ---- reading

  /** @returns {Promise<Draft | undefined>} what the database has */
  kept() {
    return this.store.get("drafts", this.key);
  }

  /**
   * @param {Draft} draft
   * @param {boolean} newer whether the page knows the record better than the draft does
   */
  takeIn(draft, newer) {
    if (!newer) this.base = draft.base;
    this.photos = draft.photos;
    this.version = draft.form_version;
    this.changed = draft.changed;
    this.copied = newer ? null : draft.copied;
    this.shown = draft.shown;
    this.given = draft.given;
    this.endedAt = draft.ended_at;
    this.scroll = draft.scroll;
    this.savedAt = draft.saved_at;
    this.screen = draft.screen;
  }

  // ---- writing

  touch() {
    if (!this.writes) return;
    this.changed += 1;
    this.saver.change();
  }

  /** @returns {Draft} as it is on the page this moment */
  collect() {
    return {
      visit: this.visit,
      label: this.about,
      form_version: this.version,
      screen: this.screen,
      ...this.forms.written(),
      photos: this.photos.map((photo) => ({ ...photo })),
      scroll: (this.screen === "form" ? this.forms.scrolled() : null) ?? this.scroll,
      base: this.base,
      copied: this.copied,
      ended_at: this.endedAt,
      given: this.given,
      shown: this.shown,
      changed: this.changed,
      saved_at: new Date().toISOString(),
    };
  }

  async save() {
    if (!this.writes) return;
    const draft = this.collect();
    if (!(await saveDraft(this.store, this.key, draft))) return this.#wasSentElsewhere();
    this.#isSaved(draft);
  }

  /**
   * The draft together with something else, all or nothing.
   *
   * @param {string[]} stores
   * @param {(tx: import("./store.js").Transaction) => Promise<unknown>} work
   * @param {(known: NamedPhoto[]) => NamedPhoto[]} [change]
   */
  write(stores, work, change = (known) => known) {
    return this.saver.alone(async () => {
      if (!this.writes) throw new Error("this page does not write the draft");
      const photos = change(this.photos);
      const draft = { ...this.collect(), photos };
      await this.store.transaction([...stores, "drafts"], async (tx) => {
        const drafts = tx.objectStore("drafts");
        if ((await drafts.get(this.key))?.sent) throw new Error("the record was sent meanwhile");
        await work(tx);
        await drafts.put(draft, this.key);
      });
      this.photos = photos;
      this.#isSaved(draft);
    });
  }

  /** @param {boolean} reading whether another page writes from here on */
  read(reading) {
    this.reading = reading;
    if (reading) this.saver.stop();
    else this.saver.resume();
  }

  /** @param {string} id the submission that it became: nothing is written from here on */
  finish(id) {
    this.finished = id;
    this.saver.stop();
  }

  /**
   * The office has a copy.
   *
   * @param {number} revision
   * @param {number} changed which change it was made after
   */
  isCopiedAs(revision, changed) {
    this.copied = { revision, changed };
    this.tellState("saved");
  }

  /** The page goes away. */
  leave() {
    if (!this.writes) return;
    this.farewell.say(this.changed, this.saver.busy ? this.collect() : null);
    void this.saver.flush();
  }

  /**
   * @param {"saving" | "saved" | "failed"} state
   * @param {unknown} [error]
   */
  tellState(state, error) {
    if (!this.writes) return;
    if (state === "saving") this.line.saving();
    else if (state === "failed") this.line.failed(error);
    else this.line.saved(this.savedAt, this.isCopied);
  }

  // ---- private

  /** @param {Draft} draft */
  #isSaved(draft) {
    this.savedAt = draft.saved_at;
    if (!this.saver.dirty) this.tellState("saved");
    tell(this.store.user, { type: "draft", visit: this.visit, saved: this.tab });
    this.saved();
  }

  async #wasSentElsewhere() {
    this.saver.stop();
    const draft = await this.kept();
    if (draft?.sent) await this.sent(draft);
  }
}
