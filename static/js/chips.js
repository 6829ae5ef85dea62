/** Common phrases: a tap adds the words to the field named by `data-target`. */

/** @param {HTMLElement} group */
export function start(group) {
  const field = document.getElementById(group.dataset.target ?? "");
  if (!(field instanceof HTMLTextAreaElement || field instanceof HTMLInputElement)) return;
  group.addEventListener("click", (event) => {
    const chip = event.target instanceof Element ? event.target.closest("button") : null;
    if (chip) add(field, chip.textContent ?? "");
  });
}

/**
 * @param {HTMLTextAreaElement | HTMLInputElement} field
 * @param {string} phrase
 */
function add(field, phrase) {
  field.value = withPhrase(field.value, phrase.trim(), field instanceof HTMLTextAreaElement ? "\n" : " ");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/**
 * The text with the phrase at its end, on a line of its own; unchanged when that line is already there.
 *
 * @param {string} text
 * @param {string} phrase
 * @param {string} between
 */
export function withPhrase(text, phrase, between) {
  if (text.split(between).some((line) => line.trim() === phrase)) return text;
  return text.trim() ? `${text.trimEnd()}${between}${phrase}` : phrase;
}
