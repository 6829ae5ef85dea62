/**
 * The card "This phone" on the account page: how much is kept here and how safely, what waits, and how to install the app.
 *
 * @typedef {Event & {prompt: () => Promise<unknown>}} InstallPrompt
 */
import { hear } from "./channel.js";
import { unsent } from "./upload.js";

/** @type {InstallPrompt | null} */
let offered = null;
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  offered = /** @type {InstallPrompt} */ (event);
  document.querySelector("[data-install]")?.removeAttribute("hidden");
});

/**
 * @param {import("./store.js").Store} store
 * @param {Element} card
 */
export function start(store, card) {
  const tell = async () => {
    put(card, "waiting", String(await unsent(store)));
    await tellStorage(card);
  };
  hear(store.user, () => void tell());
  void tell();
  offerInstallation(card);
}

/** @param {Element} card */
async function tellStorage(card) {
  const storage = globalThis.navigator?.storage;
  if (!storage?.estimate) return;
  const { usage = 0, quota = 0 } = await storage.estimate();
  put(card, "used", megabytes(usage));
  put(card, "quota", megabytes(quota));
  const safe = await storage.persisted?.();
  show(card, "persisted", Boolean(safe));
  show(card, "not-persisted", !safe);
}

/** @param {Element} card */
function offerInstallation(card) {
  const installed = matchMedia("(display-mode: standalone)").matches || Boolean(/** @type {any} */ (navigator).standalone);
  const apple = /iPhone|iPad|Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1;
  show(card, "installed", installed);
  show(card, "apple", apple && !installed);
  show(card, "install", Boolean(offered) && !installed);
  card.querySelector("[data-install] button")?.addEventListener("click", () => void offered?.prompt());
}

/**
 * @param {Element} card
 * @param {string} name
 * @param {string} words
 */
function put(card, name, words) {
  const place = card.querySelector(`[data-${name}]`);
  if (place) place.textContent = words;
}

/**
 * @param {Element} card
 * @param {string} name
 * @param {boolean} wanted
 */
function show(card, name, wanted) {
  card.querySelector(`[data-${name}]`)?.toggleAttribute("hidden", !wanted);
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1_000_000).toLocaleString(document.documentElement.lang, { maximumFractionDigits: bytes < 10_000_000 ? 1 : 0 })} MB`;
}
