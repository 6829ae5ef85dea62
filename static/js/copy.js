/**
 * Copies the text of the element that `data-copy` names, and says so on the button itself (`data-copied`).
 *
 * @param {HTMLButtonElement} button
 */
export function start(button) {
  button.addEventListener("click", () => void copy(button));
}

/** @param {HTMLButtonElement} button */
async function copy(button) {
  const source = document.getElementById(button.dataset.copy ?? "");
  const words = button.querySelector("span");
  if (!source || !words) return;
  await navigator.clipboard.writeText(source.textContent ?? "");
  words.textContent = button.dataset.copied ?? "";
  words.setAttribute("role", "status");
}
