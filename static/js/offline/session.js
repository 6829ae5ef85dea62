/**
 * Who holds this phone: nobody sees another's pages, a customer sees one page only, and logging out throws no work away.
 */
import { verdict } from "../answer.js";
import { ask } from "./ask.js";
import { hear, tell } from "./channel.js";
import { lockedAt } from "./lock.js";
import { unsent } from "./upload.js";

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

/**
 * Only the office's own word ends it: after a captive portal's page the session would live on, for whoever takes the phone next.
 *
 * @param {string} user
 * @param {string} url
 * @param {{fetch?: typeof globalThis.fetch}} [edges]
 * @returns {Promise<boolean>} whether this person is logged out now
 */
export async function endSession(user, url, { fetch } = {}) {
  const headers = { Accept: "application/json", "X-User": user };
  const answer = await ask(url, { method: "POST", headers }, { fetch, patience: PATIENCE_MS });
  const { state } = verdict(answer, (told) => told.logged_out === true);
  return state === "received" || (state === "logged-out" && answer.type.startsWith("application/json"));
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
    this.unsent?.querySelector("[data-send-now]")?.addEventListener("click", () => void this.sendNow());
    this.unsent?.querySelector("[data-keep]")?.addEventListener("click", () => void this.go());
    hear(this.store.user, (news) => this.going && void this.follow(news));
  }

  // ---- actions

  async ask() {
    const [waiting, begun] = await Promise.all([unsent(this.store), this.begun()]);
    if (waiting + begun === 0 || !this.unsent) return this.go();
    const number = this.unsent.querySelector("[data-count]");
    if (number) number.textContent = String(waiting + begun);
    this.unsent.hidden = false;
    if (!this.going) return this.unsent.focus();
    this.going = waiting > 0;
    this.say(this.going ? "sending" : "begun");
  }

  async sendNow() {
    this.going = true;
    await this.ask();
    if (this.going) tell(this.store.user, { type: "wake" });
  }

  async go() {
    this.say("leaving");
    if (!(await endSession(this.store.user, this.form.action))) return this.say("noSignal");
    await keepToOneself();
    tell(this.store.user, { type: "logout" }); // every page of this person goes to the log-in, this one, too
  }

  // ---- private

  /**
   * It goes on when the signal comes back: that was asked for.
   *
   * @param {import("./channel.js").News} news
   */
  follow({ type, share, reached, error }) {
    if (type === "received" || (type === "upload" && share === 1)) return this.ask();
    if (type === "attention" || error) return this.say("attention");
    if (type === "again" || type === "paused" || reached === false) return this.say("noSignal");
  }

  async begun() {
    return (await this.store.all("drafts")).filter(({ sent }) => !sent).length;
  }

  /** @param {"sending" | "leaving" | "noSignal" | "begun" | "attention"} what */
  say(what) {
    const line = document.querySelector("[data-log-out-says]");
    if (line instanceof HTMLElement) line.textContent = line.dataset[what] ?? "";
  }
}
