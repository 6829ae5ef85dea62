/**
 * The three forms of the record page: the record, what the customer adds to it, the engineer's signature. What stands in them now, and
 * how a draft is put back into them. Nothing of it is saved here.
 */
import { fieldsOf, grouped, restore } from "./draft.js";
import { asMade } from "./early.js";
import { rowCount, rowsAtLeast } from "./places.js";
import { first } from "./shown.js";
import { asSent } from "./submission.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./draft.js").Fields} Fields
 */

const LISTS = ["parts", "open_items"];
const MOST_ROWS = 30;

export class RecordForms {
  /** @type {Fields} what a draft said and this page has no field for: it is carried along and sent */
  strays = [];

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.record = formOf(root, "record");
    this.customer = formOf(root, "customer");
    this.engineer = formOf(root, "engineer");
  }

  /**
   * @param {HTMLFormElement | null} form
   * @returns {boolean} whether it is one of the three
   */
  has(form) {
    return form === this.record || form === this.customer || form === this.engineer;
  }

  // ---- what they say

  /** @returns {Fields} of the record itself */
  fields() {
    return [...fieldsOf(this.record), ...this.strays];
  }

  /** @returns {Pick<Draft, "fields" | "customer" | "engineer" | "opened">} their part of a draft */
  written() {
    const opened = this.#folds().flatMap((fold, at) => (fold.open ? [at] : []));
    return { fields: this.fields(), customer: fieldsOf(this.customer), engineer: fieldsOf(this.engineer), opened };
  }

  /**
   * @param {string} endedAt the end of the service, when nobody typed one
   * @returns {Fields} everything that will be sent, as the customer sees it
   */
  everything(endedAt) {
    const fields = this.fields();
    const customer = fieldsOf(this.customer);
    return [...asSent(fields, { endedAt, phone: first(customer, "contact_phone") }), ...customer.filter(([name]) => name !== "contact_phone")];
  }

  /** @returns {Draft["base"]} as the office made the page */
  made() {
    const revision = Number(first(/** @type {Fields} */ ([...new FormData(this.record)]), "revision")) || null;
    return { revision, fields: grouped(asMade(this.record)) };
  }

  /** @returns {number | null} how far the form is scrolled; null while another screen is shown */
  scrolled() {
    return document.body.dataset.screen === "form" ? Math.round(scrollY) : null;
  }

  // ---- what is put into them

  /**
   * @param {Draft} draft
   * @param {Set<string>} touched names that somebody has changed meanwhile
   * @param {boolean} newer whether the page knows the record better than the draft does
   */
  takeIn(draft, touched, newer) {
    for (const list of LISTS) rowsAtLeast(this.record, list, Math.min(MOST_ROWS, rowsIn(draft.fields, list)));
    if (!newer) this.strays = restore(this.record, draft.fields, touched);
    restore(this.customer, draft.customer);
    restore(this.engineer, draft.engineer);
    this.#tellPads("restore");
    const folds = this.#folds();
    for (const at of draft.opened) if (folds[at]) folds[at].open = true;
  }

  /** The customer's contact phone is the record's, until the customer says another. */
  offerPhone() {
    const phone = this.customer.elements.namedItem("contact_phone");
    if (phone instanceof HTMLInputElement && (!phone.value || phone.value === phone.defaultValue)) phone.value = first(this.fields(), "contact_phone");
  }

  /** @returns {() => void} to take it back */
  voidSignatures() {
    const customers = ["customer_strokes", "customer_typed", "customer_reason"].map((name) => inputOf(this.customer, name));
    const fields = [...customers, ...["engineer_strokes", "engineer_typed"].map((name) => inputOf(this.engineer, name))];
    const signed = fields.map(({ value }) => value);
    const put = (/** @type {string[]} */ values) => {
      for (const [at, field] of fields.entries()) field.value = values[at] ?? "";
      this.#tellPads("restore");
    };
    put([]);
    return () => put(signed);
  }

  /** A stroke under way when the button was tapped belongs to the signature as well. */
  collectInk() {
    this.#tellPads("collect");
  }

  /** @param {boolean} reading whether they can be read only */
  lock(reading) {
    for (const form of [this.record, this.customer, this.engineer]) {
      for (const each of form.elements) {
        if (each instanceof HTMLInputElement && each.type !== "hidden") each.disabled = reading;
        else if (each instanceof HTMLTextAreaElement) each.readOnly = reading;
        else if (each instanceof HTMLSelectElement || each instanceof HTMLButtonElement) each.disabled = reading;
      }
    }
    for (const part of this.root.querySelectorAll(".signature, .photos")) /** @type {HTMLElement} */ (part).inert = reading;
  }

  /**
   * One more row as soon as the last is begun.
   *
   * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field
   */
  grow(field) {
    const [list, number] = field.name.split("-");
    const count = LISTS.includes(list) ? rowCount(this.record, list) : 0;
    if (count > 0 && Number(number) === count - 1 && count < MOST_ROWS) rowsAtLeast(this.record, list, count + 1);
  }

  // ---- private

  #folds() {
    return /** @type {HTMLDetailsElement[]} */ ([...this.record.querySelectorAll("details")]);
  }

  /** @param {"restore" | "collect"} what signature-pad.js hears both */
  #tellPads(what) {
    for (const pad of this.root.querySelectorAll(".signature")) pad.dispatchEvent(new Event(what));
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {string} name
 */
export function inputOf(form, name) {
  return /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
}

/**
 * @param {Fields} fields
 * @param {string} list
 * @returns {number} how many rows of the list they say something about, counted from the first
 */
export function rowsIn(fields, list) {
  const numbers = fields.filter(([name]) => name.startsWith(`${list}-`)).map(([name]) => Number(name.split("-")[1]));
  return numbers.length ? Math.max(...numbers) + 1 : 0;
}

/**
 * @param {ParentNode} root
 * @param {string} id
 */
function formOf(root, id) {
  const found = root.querySelector(`#${id}`);
  if (found instanceof HTMLFormElement) return found;
  throw new Error(`the record page has no form ${id}`);
}
