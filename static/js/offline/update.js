/**
 * A new version of the app waits until nobody is in the middle of something: no draft open, nothing in the outbox. Then it asks.
 * Nothing is lost either way: drafts and the outbox are in the database, and the office takes forms of every version of the past year.
 */
import { hear } from "./channel.js";

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {import("./store.js").Store} store
 */
export function offerUpdates(registration, store) {
  const bar = document.querySelector("[data-update]");
  if (!(bar instanceof HTMLElement)) return;
  const look = async () => {
    bar.hidden = !(registration.waiting && registration.active && (await isIdle(store)));
  };
  bar.querySelector("button")?.addEventListener("click", () => void change(registration, store, look));
  registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", () => void look()));
  hear(store.user, () => void look());
  document.addEventListener("visibilitychange", () => document.hidden || void registration.update().catch(() => undefined));
  void look();
}

/**
 * Open drafts hold a Web Lock each; what lies in the database unfinished does not keep anybody from a new version, nor does what needs
 * attention: it waits for a person, and maybe for this very version.
 *
 * @param {import("./store.js").Store} store
 */
export async function isIdle(store) {
  const queued = await store.all("sending");
  const { held = [] } = (await globalThis.navigator?.locks?.query()) ?? {};
  return !queued.some(({ state }) => state === "waiting") && !held.some(({ name }) => name?.startsWith("fieldapp-draft-"));
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {import("./store.js").Store} store
 * @param {() => Promise<void>} look
 */
async function change(registration, store, look) {
  if (!(await isIdle(store))) return look();
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  registration.waiting?.postMessage({ type: "skip-waiting" });
}
