/** The list of errors takes the focus when the page opens, so that it is read first. */

/** @param {HTMLElement} element */
export function start(element) {
  element.focus();
}
