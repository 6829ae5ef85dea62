/**
 * The phone goes to the customer, who reads and signs, and back to the engineer. Who holds it is in the database, together with the screen
 * that this person sees (lock.js): a killed page comes back to it.
 */
import { tell } from "./channel.js";
import { methodOf, wrongInForm, wrongInSignature } from "./check.js";
import { localTime } from "./digest.js";
import { fieldsOf } from "./draft.js";
import { checkFor, knowsPin, lockOf, SHORTEST_CODE, tryToOpen } from "./lock.js";
import { complain } from "./places.js";
import { inputOf } from "./record-forms.js";
import { first, sealed, shownOf } from "./shown.js";

/**
 * @typedef {import("./draft.js").Screen} Screen
 * @typedef {import("./lock.js").Lock} Lock
 */

const HANDED = new Set(["customer", "thanks"]);

export class HandOver {
  #sealing = 0;

  /**
   * @param {object} page
   * @param {HTMLElement} page.root
   * @param {import("./record-forms.js").RecordForms} page.forms
   * @param {import("./open-draft.js").OpenDraft} page.draft
   * @param {import("./waiting.js").Waiting} page.waiting
   * @param {import("./screens.js").Screens} page.screens
   * @param {(code: string, values?: Record<string, string | number>) => string} page.sentence
   */
  constructor({ root, forms, draft, waiting, screens, sentence }) {
    this.root = root;
    this.store = draft.store;
    this.forms = forms;
    this.draft = draft;
    this.waiting = waiting;
    this.screens = screens;
    this.sentence = sentence;
  }

  // ---- to the customer

  /** The form is complete, or says what is missing; then the phone goes to the customer. */
  async begin() {
    await this.waiting.learn();
    const fields = this.forms.fields();
    const limits = JSON.parse(this.root.dataset.limits ?? "{}");
    const now = await this.waiting.wall(new Date());
    const wrong = wrongInForm(fields, { backup: this.waiting.backup.state, startedByEvent: this.waiting.startedAt, now, limits });
    this.screens.complainAbout(wrong, fields, limits);
    if (wrong.size > 0) return;
    this.draft.endedAt = first(fields, "ended_at") ? "" : now;
    this.forms.offerPhone();
    if (await knowsPin(this.store)) await this.#toTheCustomer(null);
    else await this.turnTo("code");
  }

  /**
   * By an engineer who has no PIN.
   *
   * @param {HTMLFormElement} form
   */
  async chooseCode(form) {
    const input = inputOf(form, "code");
    const code = input.value.trim();
    if (code.length < SHORTEST_CODE) return complain(form, [["code", this.sentence("code_short")]], "");
    complain(form, [], "");
    await this.#toTheCustomer(await checkFor(code));
    input.value = "";
  }

  /** @param {HTMLButtonElement | null} button */
  async customerSigns(button) {
    this.forms.collectInk();
    const fields = fieldsOf(this.forms.customer);
    const method = methodOf(fields, "customer", button?.name === "customer_method" ? button.value : "");
    const wrong = wrongInSignature(fields, "customer", method);
    this.screens.complainAbout(wrong);
    if (wrong.size > 0) return;
    await this.#orBack(async () => {
      this.draft.given = { method, at: localTime() };
      await this.seal();
      await this.turnTo("thanks");
    });
  }

  /** Bind what is shown now; of several at once the last one counts. */
  async seal() {
    const { draft } = this;
    const turn = (this.#sealing += 1);
    const { company = "", engineer = "" } = this.root.dataset;
    const photos = draft.photos.map(({ sha256 }) => sha256);
    const around = { visit: draft.visit, company, engineer, language: document.documentElement.lang, backup: this.waiting.backup.state, photos };
    const { text, sha256, code } = await sealed(shownOf(this.forms.everything(draft.endedAt), around));
    if (turn !== this.#sealing || (draft.given && draft.shown && draft.screen !== "customer")) return;
    draft.shown = { text, sha256 };
    this.screens.showCode(code);
  }

  // ---- back to the engineer

  /** @param {HTMLFormElement} form */
  async takeBack(form) {
    const input = inputOf(form, "pin");
    const verdict = await tryToOpen(this.store, input.value);
    if (verdict.state === "right") {
      complain(form, [], "");
      input.value = "";
      return this.turnTo(this.draft.screen === "thanks" ? "engineer" : "form", null);
    }
    const seconds = verdict.state === "wait" ? verdict.seconds : 0;
    complain(form, [[input.id, this.sentence(`pin_${verdict.state}`, { seconds })]], "");
    input.select();
    input.focus();
  }

  /** Something is wrong: the customer reads and signs again what will then be written. */
  async reopen() {
    await this.#orBack(async () => {
      this.draft.given = this.draft.shown = null;
      this.draft.endedAt = "";
      await this.turnTo("form");
    }, this.forms.voidSignatures());
  }

  // ---- from screen to screen

  /**
   * What a killed page comes back to.
   *
   * @param {import("./draft.js").Draft | undefined} kept
   */
  async firstScreen(kept) {
    const { draft } = this;
    const lock = await lockOf(this.store);
    if (lock && lock.visit !== draft.visit) return location.replace(lock.path);
    draft.screen = screenAfter(draft.screen, kept?.screen, lock !== null);
    await this.seal();
    this.screens.show(draft.scroll);
  }

  /**
   * Draft and lock change in one transaction: a page killed between the two would show the wrong person the wrong screen.
   *
   * @param {Screen} screen
   * @param {Lock | null} [lock] null: the engineer has the phone again
   */
  async turnTo(screen, lock) {
    const { draft, store } = this;
    const before = draft.screen;
    if (before === "form") draft.scroll = scrollY;
    draft.screen = screen;
    draft.changed += 1;
    try {
      await draft.write(["meta"], async (tx) => {
        if (lock === null) await tx.objectStore("meta").delete("lock");
        else if (lock) await tx.objectStore("meta").put(lock, "lock");
      });
    } catch (error) {
      draft.screen = before;
      throw error;
    }
    if (lock) tell(store.user, { type: "draft", visit: draft.visit, locked: lock.path });
    this.screens.show(screen === "form" ? draft.scroll : 0);
  }

  // ---- private

  /**
   * What could not be kept did not happen: no signature comes or goes by it.
   *
   * @param {() => Promise<void>} work
   * @param {() => void} [undo]
   */
  async #orBack(work, undo) {
    const { draft } = this;
    const { given, shown, endedAt } = draft;
    try {
      await work();
    } catch (error) {
      undo?.();
      Object.assign(draft, { given, shown, endedAt });
      throw error;
    }
  }

  /** @param {import("./lock.js").Check | null} code */
  async #toTheCustomer(code) {
    await this.seal();
    const { visit } = this.draft;
    await this.turnTo("customer", { visit, path: `/visits/${visit}/record`, since: localTime(), code });
  }
}

/**
 * The lock decides whether a customer holds the phone, not what the page remembers.
 *
 * @param {Screen} screen that the page was on
 * @param {Screen | undefined} kept as the database has it
 * @param {boolean} isLocked
 * @returns {Screen}
 */
export function screenAfter(screen, kept, isLocked) {
  if (isLocked) return kept && HANDED.has(kept) ? kept : "customer";
  if (screen === "thanks") return "engineer";
  return screen === "engineer" ? screen : "form";
}
