/** The line under the thumb that says where what was typed is. Its words come with the page, as data-… of the line. */
import { QuotaFull } from "./store.js";
import { when } from "./words.js";

export class SavingLine {
  /** @param {ParentNode} page */
  constructor(page) {
    this.lines = /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-draft-state]"));
    this.words = this.lines[0]?.dataset ?? {};
  }

  /** Nothing was typed yet. */
  rest() {
    this.#say(this.words.rest, "rest");
  }

  saving() {
    this.#say(this.words.saving, "saving");
  }

  /**
   * @param {string} at
   * @param {boolean} isCopied whether the office has all of it as well
   */
  saved(at, isCopied) {
    this.#say([`${this.words.saved} ${when(at)}`, ...(isCopied ? [this.words.copied ?? ""] : [])].join(" · "), "saved");
  }

  /** @param {unknown} error */
  failed(error) {
    this.#say(error instanceof QuotaFull ? this.words.full : this.words.failed, "failed");
  }

  /** Another window writes. */
  reading() {
    this.#say(this.words.reading, "reading");
  }

  /** This browser keeps nothing: the page's own button sends. */
  plain() {
    for (const line of this.lines) {
      line.classList.remove("scripted");
      line.textContent = line.dataset.plain ?? "";
    }
  }

  // ---- private

  /**
   * @param {string | undefined} words
   * @param {string} state
   */
  #say(words, state) {
    for (const line of this.lines) {
      line.dataset.state = state;
      line.textContent = words ?? "";
      line.toggleAttribute("role", false);
      if (state === "failed") line.setAttribute("role", "alert");
    }
  }
}
