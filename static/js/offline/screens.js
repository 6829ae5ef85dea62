/**
 * The screens of the record page: which one is seen, what the customer's and the engineer's say of the record, and what is wrong on them.
 */
import { fill, saidBy } from "./customer-screen.js";
import { fieldsOf } from "./draft.js";
import { complain, element } from "./places.js";
import { first } from "./shown.js";
import { when } from "./words.js";

export class Screens {
  /**
   * @param {object} page
   * @param {HTMLElement} page.root
   * @param {import("./record-forms.js").RecordForms} page.forms
   * @param {import("./open-draft.js").OpenDraft} page.draft
   * @param {import("./waiting.js").Waiting} page.waiting
   * @param {(code: string, values?: Record<string, string | number>) => string} page.sentence
   */
  constructor({ root, forms, draft, waiting, sentence }) {
    this.root = root;
    this.forms = forms;
    this.draft = draft;
    this.waiting = waiting;
    this.sentence = sentence;
    this.formTitle = document.querySelector("h1")?.textContent?.trim() ?? "";
  }

  /**
   * The draft's screen and no other.
   *
   * @param {number} scroll
   */
  show(scroll) {
    const { screen } = this.draft;
    document.body.dataset.screen = screen;
    for (const part of document.querySelectorAll("[data-screen]:not(body)")) {
      /** @type {HTMLElement} */ (part).hidden = /** @type {HTMLElement} */ (part).dataset.screen !== screen;
    }
    const heading = document.querySelector("h1");
    const title = this.root.dataset[`title${screen[0].toUpperCase()}${screen.slice(1)}`] ?? this.formTitle;
    if (heading) heading.textContent = title;
    document.title = document.title.replace(/^.*(?= · )/, title);
    this.#fill();
    if (screen !== "form") this.#current().focus({ preventScroll: true });
    scrollTo(0, scroll);
  }

  /** @param {string} code for people to compare what was signed */
  showCode(code) {
    for (const place of this.root.querySelectorAll("[data-say=code]")) place.textContent = code;
  }

  /**
   * @param {import("./check.js").Wrong | [field: string, code: string][]} wrong  nothing: all complaints go
   * @param {import("./draft.js").Fields} [fields]
   * @param {Record<string, [characters: number, lines: number | null]>} [limits]
   */
  complainAbout(wrong, fields = [], limits = {}) {
    const errors = Array.from(wrong, ([name, code]) => {
      const [characters, lines] = limits[name.replace(/-\d+-/, "-*-")] ?? [0, 0];
      const value = first(fields, name);
      const [most, found] = code === "too_many_lines" ? [lines ?? 0, value.split("\n").length] : [characters, [...value].length];
      return /** @type {[string, string]} */ ([name, this.sentence(code, { most, found })]);
    });
    complain(this.#current(), errors, errors.length === 1 ? this.sentence("places_one") : this.sentence("places", { num: errors.length }));
  }

  /** @param {import("./draft.js").Draft} kept what the page came back to, after it was killed */
  tellRecovered(kept) {
    const box = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-recovered]"));
    const words = box?.querySelector("[data-words]");
    if (!box || !words) return;
    words.textContent = this.sentence("recovered", { visit: kept.label, time: when(kept.saved_at) });
    box.hidden = false;
  }

  /** @param {boolean} reading whether another window writes */
  tellReading(reading) {
    const box = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-other-window]"));
    if (box) box.hidden = !reading;
  }

  // ---- private

  #current() {
    return /** @type {HTMLElement} */ (this.root.querySelector(`section[data-screen="${this.draft.screen}"]`));
  }

  /** The customer's summary and what the engineer reads, from the fields as they are now. */
  #fill() {
    const { backup } = this.waiting;
    const { given, shown, endedAt } = this.draft;
    const said = saidBy(this.forms.everything(endedAt), {
      wordOf: (name, value) => this.#wordOf(name, value),
      sentence: this.sentence,
      language: document.documentElement.lang,
      backup: backup.state,
      backupReason: backup.reason,
      device: this.root.dataset.asset ?? "",
    });
    const method = given?.method ?? "";
    said.texts.customer_given = this.#given(method);
    if (shown) said.texts.code = shown.sha256.slice(0, 8);
    said.flags.signed = method === "drawn" || method === "typed" ? "yes" : "no";
    fill(this.root, said);
    this.#showPhotos();
  }

  /** @param {string} method how the customer signed, or did not */
  #given(method) {
    const fields = fieldsOf(this.forms.customer);
    const texts = {
      drawn: () => this.sentence("signed_by", { name: first(fields, "signer_name").trim() }),
      typed: () => this.sentence("typed_by", { name: first(fields, "customer_typed") }),
      refused: () => this.sentence("refused", { text: first(fields, "customer_reason") }),
      absent: () => this.sentence("absent", { text: first(fields, "customer_reason") }),
    };
    return texts[/** @type {keyof typeof texts} */ (method)]?.() ?? "";
  }

  #showPhotos() {
    for (const list of this.root.querySelectorAll("[data-list=photos]")) {
      const pictures = Array.from(document.querySelectorAll("[data-thumbs] img"), (each) => {
        const picture = /** @type {HTMLImageElement} */ (each.cloneNode());
        const words = each.closest("li")?.querySelector("input")?.value || picture.alt;
        if (words === picture.alt) picture.alt = ""; // said once
        return element("li", picture, element("span", words));
      });
      list.replaceChildren(...pictures);
    }
  }

  /**
   * The word that stands at an answer: of a radio or tick box with this value.
   *
   * @param {string} name
   * @param {string} value
   */
  #wordOf(name, value) {
    const box = value ? this.root.querySelector(`input[name="${name}"][value="${CSS.escape(value)}"]`) : null;
    return box?.id ? (this.root.querySelector(`label[for="${CSS.escape(box.id)}"]`)?.textContent?.trim() ?? "") : "";
  }
}
