/**
 * The page works without this. Elements that name a behaviour get its module:
 * `data-behaviour="autosave"` loads ./autosave.js and calls its `start(element)`.
 */
import { start as answerTaps } from "./busy.js";

answerTaps(document);
for (const element of document.querySelectorAll("[data-behaviour]")) {
  for (const name of (element.getAttribute("data-behaviour") ?? "").split(" ")) {
    if (/^[a-z-]+$/.test(name)) void begin(name, element);
  }
}

/**
 * @param {string} name
 * @param {Element} element
 */
async function begin(name, element) {
  const behaviour = await import(`./${name}.js`);
  behaviour.start(element);
}
