/**
 * What every page of a logged-in engineer does: answers taps on the steps of a visit at once, keeps them in the queue, shows what
 * this phone knows, keeps the pack fresh and the app up to date. A browser that can keep no queue posts the forms as they are.
 */
import { hear } from "./channel.js";
import { canQueue, enqueue } from "./outbox.js";
import { startPack } from "./pack.js";
import { startSending } from "./sender.js";
import { guardCustomer, keepToOneself, startSession } from "./session.js";
import { openStore, QuotaFull, StoreLost } from "./store.js";
import { start as startSyncLine } from "./sync-line.js";
import { offerUpdates } from "./update.js";
import { showStates } from "./visit-state.js";

const SAID_FOR_MS = 600; // so long the button says that it is saved, and a second tap meets no other button

/**
 * @param {string} user
 * @param {() => void} ready  called when taps are kept on the phone
 */
export async function start(user, ready) {
  if (!canQueue()) return;
  await keepToOneself(user);
  const store = await openStore(user);
  store.onLost(() => void import("./lost.js").then(({ showLost }) => showLost(document)));
  if (await guardCustomer(store, location)) return;
  let taps = 0; // while a button says what became of its tap, the page does not change under the thumb
  const show = () => void (taps > 0 || showStates(store, document));
  document.addEventListener("submit", async (event) => {
    taps += 1;
    await caught(store, event).finally(() => (taps -= 1));
    show();
  });
  document.documentElement.dataset.offline = "ready"; // from here on taps are kept on the phone
  ready();
  hear(user, ({ type }) => ["queued", "received", "attention", "draft"].includes(type) && show());
  addEventListener("pageshow", show);
  show();
  startSending(store, { build: document.body.dataset.build });
  for (const line of document.querySelectorAll("[data-sync-line]")) startSyncLine(store, /** @type {HTMLElement} */ (line));
  startSession(store);
  const registration = await registered();
  startPack(store);
  if (registration) offerUpdates(registration, store);
}

// ---- taps

/**
 * @param {import("./store.js").Store} store
 * @param {SubmitEvent} event
 */
async function caught(store, event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.dataset.queue === undefined || event.defaultPrevented) return;
  event.preventDefault();
  if (form.dataset.onTheWay === "yes" || !complete(form)) return;
  form.dataset.onTheWay = "yes";
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter ?? form.querySelector("[type=submit]"));
  button?.setAttribute("aria-busy", "true");
  try {
    await enqueue(store, requestOf(form, event.submitter));
    await say(form, button);
    if (form.dataset.then) location.assign(form.dataset.then);
  } catch (error) {
    console.error(error);
    complain(button ?? form, whyNot(error, document.body.dataset));
  } finally {
    delete form.dataset.onTheWay;
    button?.removeAttribute("aria-busy");
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLElement | null} submitter
 * @returns {import("./outbox.js").Request} without the number of the page's form: a page of the pack is used many times
 */
function requestOf(form, submitter) {
  const { visit, label, about, leadsTo } = form.dataset;
  const fields = [...new FormData(form, submitter)].filter(([, value]) => typeof value === "string");
  const path = new URL(form.action).pathname;
  return { path, fields: /** @type {[string, string][]} */ (fields), visit, label, about, leadsTo };
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLButtonElement | null} button
 */
async function say(form, button) {
  const words = button?.querySelector("span");
  if (!button || !words) return;
  const rest = words.textContent;
  button.setAttribute("data-saved", "");
  words.textContent = document.body.dataset.kept ?? "";
  await new Promise((done) => {
    setTimeout(done, SAID_FOR_MS);
  });
  words.textContent = rest;
  button.removeAttribute("data-saved");
  const details = form.closest("details");
  if (details) details.open = false;
}

/**
 * The sentence stands at the field, as on a page of the office.
 *
 * @param {HTMLFormElement} form
 * @returns {boolean} whether every field that is needed is filled in
 */
function complete(form) {
  for (const old of form.querySelectorAll("[data-missing]")) old.remove();
  const fields = /** @type {(HTMLInputElement | HTMLTextAreaElement)[]} */ ([...form.elements].filter((field) => "validity" in field));
  for (const field of fields) field.removeAttribute("aria-invalid");
  const missing = fields.find((field) => field.required && (field.validity.valueMissing || !field.value.trim()));
  if (!missing) return true;
  complain(missing.closest(".options") ?? missing, document.body.dataset.missing ?? "");
  missing.setAttribute("aria-invalid", "true");
  missing.focus();
  return false;
}

/**
 * @param {Element} place
 * @param {string} sentence  empty: it is said elsewhere
 */
function complain(place, sentence) {
  if (!sentence) return;
  const line = document.createElement("p");
  line.className = "error";
  line.dataset.missing = "";
  line.setAttribute("role", "alert");
  line.textContent = sentence;
  place.before(line);
}

/**
 * A tap that was not kept is never passed over in silence; what was typed is still here.
 *
 * @param {unknown} error
 * @param {DOMStringMap} words
 * @returns {string} empty for a lost database: the dialog says it
 */
export function whyNot(error, { full = "", notKept = "" }) {
  if (error instanceof StoreLost) return "";
  return error instanceof QuotaFull ? full : notKept;
}

// ---- the service worker

/** @returns {Promise<ServiceWorkerRegistration | null>} */
async function registered() {
  if (!("serviceWorker" in navigator)) return null;
  try {
    return await navigator.serviceWorker.register(/** @type {any} */ (ownScript("/service-worker.js")), { scope: "/", updateViaCache: "none" });
  } catch (error) {
    console.warn("no pages without signal", error);
    return null;
  }
}

/**
 * Our policy asks for a TrustedScriptURL where the browser knows them; this makes one for our own worker and nothing else.
 *
 * @param {string} path
 */
function ownScript(path) {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  if (!types) return path;
  const createScriptURL = (/** @type {string} */ url) => {
    if (url === path) return url;
    throw new TypeError("only our own service worker");
  };
  return types.createPolicy("fieldapp", { createScriptURL }).createScriptURL(path);
}
