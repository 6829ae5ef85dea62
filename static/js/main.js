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
if (user && role === "engineer") void keepTaps(user);
for (const element of document.querySelectorAll("[data-behaviour]")) {
  for (const name of (element.getAttribute("data-behaviour") ?? "").split(" ")) void begin(name, element);
}

/**
 * A tap on a step before the queue is there waits for it: without signal the browser would send it to nobody. Pads and checks that
 * are not there yet either have nothing to send.
 *
 * @param {string} user
 */
async function keepTaps(user) {
  /** @type {Map<HTMLFormElement, HTMLElement | null>} */
  const held = new Map();
  const hold = (/** @type {SubmitEvent} */ event) => {
    if (!(event.target instanceof HTMLFormElement) || event.target.dataset.queue === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    held.set(event.target, event.submitter);
  };
  const release = () => {
    document.removeEventListener("submit", hold, true);
    for (const [form, button] of held) if (!form.querySelector("[data-behaviour]")) form.requestSubmit(button);
    held.clear();
  };
  document.addEventListener("submit", hold, true);
  try {
    const { start } = await import("./offline/shell.js");
    await start(user, release);
  } finally {
    release(); // no queue in this browser: the forms go as they are
  }
}

/**
 * @param {string} name
 * @param {Element} element
 */
async function begin(name, element) {
  const behaviour = await BEHAVIOURS[name]();
  behaviour.start(element);
}
