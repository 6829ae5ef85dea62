/**
 * Who holds this phone: nobody sees another's pages, a customer sees one page only, and logging out throws no work away.
 */
import { hear, tell } from "./channel.js";
import { lockedAt } from "./lock.js";
import { items } from "./outbox.js";

const PACK = "pack-";
const ALWAYS_OPEN = new Set(["/login", "/taking-back"]);
const PATIENCE_MS = 15_000;

/**
 * Another person's pages leave this phone; their database stays, with what they have not sent.
 *
 * @param {string} [user] the one whose pages may stay
 */
export async function keepToOneself(user) {
  if (!("caches" in globalThis)) return;
  const others = (await caches.keys()).filter((name) => name.startsWith(PACK) && name !== PACK + user);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/**
 * The service worker sees to this as well, where there is one.
 *
 * @param {import("./store.js").Store} store
 * @param {Location} place
 * @returns {Promise<boolean>} whether a customer holds the phone and this is not their page
 */
export async function guardCustomer(store, place) {
  const page = await lockedAt(store);
  if (!page || page === place.pathname || ALWAYS_OPEN.has(place.pathname)) return false;
  place.replace(page);
  return true;
}

/** @param {import("./store.js").Store} store */
export function startSession(store) {
  hear(store.user, ({ type }) => {
    if (type === "logout") location.assign("/login");
    else if (type === "paused" || type === "resumed") leadToLogin(type === "paused");
  });
  void stayOnThisPhone();
  const form = document.querySelector("form[data-log-out]");
  if (form instanceof HTMLFormElement) new LogOut(form, store).start();
  const device = document.querySelector("[data-device]");
  if (device) void import("./device.js").then(({ start }) => start(store, device));
}

/**
 * While the session is over, the line at the top leads to the log-in and back to this page.
 *
 * @param {boolean} needed
 */
function leadToLogin(needed) {
  const here = encodeURIComponent(location.pathname + location.search);
  document.querySelector("[data-sync-line] a")?.setAttribute("href", needed ? `/login?next=${here}` : "/outbox");
}

/** Browsers evict what nobody asked them to keep. */
async function stayOnThisPhone() {
  const storage = globalThis.navigator?.storage;
  if (storage?.persist && !(await storage.persisted())) await storage.persist();
}

/** Logging out asks first what should become of unsent work: sent now, or kept on this phone. There is no third way. */
class LogOut {
  /**
   * @param {HTMLFormElement} form
   * @param {import("./store.js").Store} store
   */
  constructor(form, store) {
    this.form = form;
    this.store = store;
    this.unsent = /** @type {HTMLElement | null} */ (document.querySelector("[data-unsent]"));
    this.going = false;
  }

  start() {
    this.form.addEventListener("submit", (event) => (event.preventDefault(), void this.ask()));
    this.unsent?.querySelector("[data-send-now]")?.addEventListener("click", () => this.sendNow());
    this.unsent?.querySelector("[data-keep]")?.addEventListener("click", () => void this.go());
    hear(this.store.user, ({ type }) => type === "received" && this.going && void this.ask());
  }

  // ---- actions

  async ask() {
    const [all, drafts] = await Promise.all([items(this.store), this.store.all("drafts")]);
    const count = all.filter(({ state }) => state !== "received").length + drafts.filter(({ sent }) => !sent).length;
    if (count === 0 || !this.unsent) return this.go();
    const number = this.unsent.querySelector("[data-count]");
    if (number) number.textContent = String(count);
    this.unsent.hidden = false;
    this.unsent.focus();
  }

  sendNow() {
    this.going = true;
    this.say("sending");
    tell(this.store.user, { type: "wake" });
  }

  async go() {
    this.say("leaving");
    const answer = await fetch(this.form.action, { method: "POST", redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => null);
    if (!answer || answer.status >= 500) return this.say("noSignal");
    await keepToOneself();
    tell(this.store.user, { type: "logout" }); // every page of this person goes to the log-in, this one, too
  }

  // ---- private

  /** @param {"sending" | "leaving" | "noSignal"} what */
  say(what) {
    const line = document.querySelector("[data-log-out-says]");
    if (line instanceof HTMLElement) line.textContent = line.dataset[what] ?? "";
  }
}
