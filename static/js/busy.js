/**
 * A tapped submit button answers at once ("Sending…") and a second tap does nothing, on every POST form of the page.
 * The words come from the button's `data-busy`.
 */

const GIVE_UP_AFTER_MS = 15_000;

/** @param {Document} page */
export function start(page) {
  page.addEventListener("submit", answer);
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of page.forms) release(form);
  });
}

/** @param {SubmitEvent} event */
function answer(event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (event.defaultPrevented || form.method !== "post" || isQueued(form)) return;
  if (form.dataset.onTheWay === "yes") return event.preventDefault();
  hold(form, /** @type {HTMLButtonElement | null} */ (event.submitter));
  setTimeout(() => release(form), GIVE_UP_AFTER_MS);
}

/**
 * Steps that offline/shell.js keeps on the phone: it answers these taps.
 *
 * @param {HTMLFormElement} form
 */
function isQueued(form) {
  return form.dataset.queue !== undefined && document.documentElement.dataset.offline === "ready";
}

/**
 * Not `disabled`: a disabled button would drop out of the form's data.
 *
 * @param {HTMLFormElement} form
 * @param {HTMLButtonElement | null} button
 */
export function hold(form, button) {
  form.dataset.onTheWay = "yes";
  if (!button) return;
  button.setAttribute("aria-busy", "true");
  const words = button.querySelector("span");
  if (words && button.dataset.busy) {
    button.dataset.rest = words.textContent ?? "";
    words.textContent = button.dataset.busy;
  }
}

/** @param {HTMLFormElement} form */
export function release(form) {
  delete form.dataset.onTheWay;
  for (const button of form.elements) {
    if (!(button instanceof HTMLButtonElement) || !button.hasAttribute("aria-busy")) continue;
    button.removeAttribute("aria-busy");
    const words = button.querySelector("span");
    if (words && button.dataset.rest) words.textContent = button.dataset.rest;
  }
}
