/**
 * What people do with the record page before its draft was read, even before its modules were there: typing counts, sending waits.
 */
import { fieldsOf, isField } from "./draft.js";

const TEXT = /^(text|tel|number)$/; // a date is written anew by the browser itself

export class Early {
  /** @param {HTMLElement} root */
  constructor(root) {
    /** @type {Set<string>} */
    this.touched = new Set([...root.querySelectorAll("input, textarea")].flatMap((each) => (isField(each) && isTyped(each) ? [each.name] : [])));
    this.over = new AbortController();
    const { signal } = this.over;
    root.addEventListener("input", ({ target }) => target instanceof Element && isField(target) && this.touched.add(target.name), { signal });
    root.addEventListener("submit", (event) => event.preventDefault(), { signal });
  }
}

/**
 * The fields as the office made the page, whatever was typed since.
 *
 * @param {HTMLFormElement} form
 * @returns {import("./draft.js").Fields}
 */
export function asMade(form) {
  return fieldsOf(form).map(([name, value]) => {
    const field = form.elements.namedItem(name);
    const isText = field instanceof HTMLTextAreaElement || (field instanceof HTMLInputElement && TEXT.test(field.type));
    return [name, isText ? field.defaultValue : value];
  });
}

/**
 * Whether a person has been at this field already. The forms are not filled in by the browser, but for the fields that say so.
 *
 * @param {Element} field
 */
function isTyped(field) {
  if (field instanceof HTMLTextAreaElement) return field.value !== field.defaultValue;
  if (!(field instanceof HTMLInputElement) || (field.autocomplete && field.autocomplete !== "off")) return false;
  if (/radio|checkbox/.test(field.type)) return field.checked !== field.defaultChecked;
  return TEXT.test(field.type) && field.value !== field.defaultValue;
}
