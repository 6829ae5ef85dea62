/**
 * The page works without this. Elements that name behaviours get their modules:
 * `data-behaviour="chips"` loads ./chips.js and calls its `start(element)`.
 */
import { start as answerTaps } from "./busy.js";

/** @type {Record<string, () => Promise<{start: (element: any) => unknown}>>} */
const BEHAVIOURS = {
  "backup-page": () => import("./offline/backup-page.js"),
  chips: () => import("./chips.js"),
  copy: () => import("./copy.js"),
  focus: () => import("./focus.js"),
  "outbox-page": () => import("./offline/outbox-page.js"),
  "record-page": () => import("./offline/record-page.js"),
  "signature-pad": () => import("./signature-pad.js"),
};

answerTaps(document);
const { user, role } = document.body.dataset;
if (user && role === "engineer") void import("./offline/shell.js").then(({ start }) => start(user));
for (const element of document.querySelectorAll("[data-behaviour]")) {
  for (const name of (element.getAttribute("data-behaviour") ?? "").split(" ")) void begin(name, element);
}

/**
 * @param {string} name
 * @param {Element} element
 */
async function begin(name, element) {
  const behaviour = await BEHAVIOURS[name]();
  behaviour.start(element);
}
