/**
 * One window writes a record; every other can read it, follow what is written there, and ask for the pen.
 */
import { tell } from "./channel.js";
import { Pen } from "./draft.js";

/** @typedef {import("./draft.js").Draft} Draft */

export class Windows {
  /**
   * @param {object} page
   * @param {import("./open-draft.js").OpenDraft} page.draft
   * @param {(reading: boolean) => void} page.show that everything can be read here, but not changed; or that it can
   * @param {(draft: Draft) => Promise<unknown>} page.takeIn what another window has written
   * @param {(draft: Draft | undefined) => Promise<unknown>} page.begin to write here
   * @param {(draft: Draft) => Promise<unknown>} page.sent
   * @param {LockManager} [page.locks]
   */
  constructor({ draft, show, takeIn, begin, sent, locks }) {
    this.draft = draft;
    this.user = draft.store.user;
    this.show = show;
    this.takeIn = takeIn;
    this.begin = begin;
    this.sent = sent;
    this.pen = new Pen(`fieldapp-draft-${this.user}-${draft.key}`, () => this.read(), locks);
  }

  /** @param {boolean} [reading] whether another window writes */
  read(reading = true) {
    this.draft.read(reading);
    this.show(reading);
  }

  /** A person wants to write here instead. */
  async takeOver() {
    const { draft } = this;
    if (!draft.reading) return;
    tell(this.user, { type: "draft", visit: draft.visit, asks: draft.tab });
    if (!(await this.pen.takeOver())) return;
    const kept = await draft.kept();
    if (kept?.sent) return this.sent(kept);
    this.read(false);
    if (kept) await this.takeIn(kept);
    await this.begin(kept);
  }

  /**
   * Another window has saved, or asks for the pen.
   *
   * @param {import("./channel.js").News} news about this draft
   */
  async onNews({ asks, saved }) {
    const { draft, pen } = this;
    if (typeof asks === "string" && asks !== draft.tab && pen.held) {
      draft.touch();
      await draft.saver.flush();
      this.read();
      pen.letGo();
    }
    if (typeof saved === "string" && saved !== draft.tab && draft.reading) await this.#follow();
  }

  // ---- private

  async #follow() {
    const kept = await this.draft.kept();
    if (!kept) return;
    if (kept.sent) return this.sent(kept);
    this.read(false);
    await this.takeIn(kept);
    this.read();
  }
}
