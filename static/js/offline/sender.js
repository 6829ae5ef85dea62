/**
 * Brings what waits in the outbox to the office, while any page is open: on open, focus, `online`, after each enqueue, every 60 s.
 * Here is when and in which order; what becomes of one item is in deliver.js. It never gives up, and never throws anything away.
 */
import { hear, tell } from "./channel.js";
import { contact } from "./contact.js";
import { deliver } from "./deliver.js";
import { firsts, pause, wait } from "./lanes.js";
import { prune } from "./prune.js";
import { Turn } from "./turn.js";
import { Uploads } from "./upload.js";

const TICK_MS = 60_000;
const LEASED_ELSEWHERE_MS = 2_000;
const SIGNS_OF_SENDING = new Set(["alive", "sending", "received", "again", "attention", "upload"]);
const SILENCES_IN_A_ROW = 2; // then the office is out of reach, and the rest need not be tried one by one

/** @type {Map<string, Sender>} */
const senders = new Map();

/**
 * Start sending on this page, once.
 *
 * @param {import("./store.js").Store} store
 * @param {Edges & {user?: string}} [edges]
 * @returns {Sender}
 */
export function startSending(store, edges = {}) {
  const known = senders.get(store.user);
  if (known) return known;
  const sender = new Sender(store, edges);
  senders.set(store.user, sender);
  sender.start();
  return sender;
}

/**
 * @typedef {object} Edges  what a test puts in the place of the world
 * @property {typeof globalThis.fetch} [fetch]
 * @property {() => number} [now]
 * @property {() => number} [random]
 * @property {LockManager | null} [locks]
 * @property {() => boolean} [online]
 * @property {string} [build]
 */
export class Sender {
  #wanted = false;
  #forced = false;
  #paused = false;
  #pauses = 0;
  #stopped = false;
  #reached = true;
  #quietUntil = 0;
  /** @type {Promise<void> | null} */
  #running = null;
  /** @type {Promise<void> | null} */
  #checking = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {import("./store.js").Store} store
   * @param {Edges} [edges]
   */
  constructor(store, { fetch, now = () => Date.now(), random = Math.random, locks, online, build } = {}) {
    this.store = store;
    this.now = now;
    this.random = random;
    this.edges = { fetch, now, random, online, build };
    this.turn = new Turn(store, { locks, now });
    this.uploads = new Uploads(store, { fetch, now, random });
  }

  start() {
    hear(this.store.user, (news) => this.#hear(news));
    addEventListener("online", () => void this.check());
    addEventListener("focus", () => void this.check());
    document.addEventListener("visibilitychange", () => document.hidden || void this.check());
    setInterval(() => document.hidden || void this.check(false), TICK_MS);
    this.store.relief = () => prune(this.store, { urgent: true });
    void prune(this.store).then(() => this.store.refill());
    void this.check();
  }

  /** No further attempt on this page. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  // ---- actions

  /**
   * Send what is due; with `force` also what waits after a failure.
   *
   * @param {boolean} [force]
   * @returns {Promise<void>} when there is nothing left to do now
   */
  wake(force = false) {
    this.#wanted = true;
    this.#forced ||= force;
    this.#running ??= this.#run().then((elsewhere) => {
      this.#running = null;
      // Whoever woke us while we were finishing is not forgotten.
      if (this.#wanted && !this.#paused && !this.#stopped && !this.#quiet() && !elsewhere) return this.wake();
    });
    return this.#running;
  }

  /**
   * Ask the office who it is and whether we may speak, then send.
   *
   * @param {boolean} [force]
   * @returns {Promise<void>} when it has answered
   */
  check(force = true) {
    this.#forced ||= force;
    this.#checking ??= this.#check().finally(() => {
      this.#checking = null;
    });
    return this.#checking;
  }

  // ---- private

  /** @param {import("./channel.js").News} news */
  #hear({ type }) {
    if (SIGNS_OF_SENDING.has(type)) this.turn.alive();
    if (type === "logout") this.#pause();
    else if (type === "wake") void this.check();
    else if (type === "queued" && this.#paused) void this.check();
    else if (type === "queued") {
      this.#quietUntil = 0;
      void this.wake();
    }
  }

  async #check() {
    const before = this.#pauses;
    const found = await contact(this.store, this.edges).catch(() => "silent");
    if (found === "logged-out") return this.#pause();
    if (before !== this.#pauses) return; // logged out while the office answered: what it said is old
    const back = found === "reached" && !this.#reached;
    this.#reached = found === "reached";
    if (this.#reached && this.#paused) {
      this.#paused = false;
      tell(this.store.user, { type: "resumed" });
    }
    tell(this.store.user, { type: "contact", reached: this.#reached });
    void this.wake(back);
  }

  #pause() {
    this.#paused = true;
    this.#pauses += 1;
    tell(this.store.user, { type: "paused" });
  }

  /** @returns {Promise<boolean>} whether another page is sending, and does not know that we wait */
  async #run() {
    let received = 0;
    let elsewhere = false;
    try {
      elsewhere = !(await this.turn.take(async (still) => {
        received = await this.#drain(still);
      }));
    } catch (error) {
      console.warn("sending stopped", error); // the database died: it is opened again at the next try
      this.#wanted = false; // which has its time: at once it would fail again, and again
    }
    if (received > 0) await contact(this.store, this.edges).catch(() => "silent");
    await this.#plan(elsewhere).catch(() => undefined);
    return elsewhere;
  }

  /**
   * @param {() => boolean} still
   * @returns {Promise<number>} how many were received
   */
  async #drain(still) {
    let received = 0;
    while (this.#wanted && !this.#paused && !this.#stopped && still()) {
      const forced = this.#forced;
      this.#wanted = this.#forced = false;
      received += await this.#sendDue(still, forced);
      if (this.#paused || this.#quiet()) break;
      const outcome = await this.uploads.run(() => this.#wanted || !still(), forced);
      if (outcome === "logged-out") this.#pause();
    }
    return received;
  }

  /**
   * @param {() => boolean} still
   * @param {boolean} forced
   * @returns {Promise<number>}
   */
  async #sendDue(still, forced) {
    const tried = new Set();
    let [received, silences] = [0, 0];
    if (forced) this.#quietUntil = 0;
    while (!this.#paused && still() && !this.#quiet()) {
      const rows = await this.store.all("sending");
      const due = (/** @type {import("./outbox.js").Sending} */ row) => wait(row, this.now()) === 0 || (forced && !row.asked && !tried.has(row.head.id));
      const row = firsts(rows).find(due);
      if (!row) break;
      tried.add(row.head.id);
      const { state, silent, forgotten } = await deliver(this.store, row, rows, this.edges);
      if (state === "logged-out") this.#pause();
      if (state === "received") received += 1;
      if (forgotten) this.#wanted = true;
      silences = silent ? silences + 1 : 0;
      if (silences === SILENCES_IN_A_ROW) this.#quietUntil = this.now() + pause(row.attempts, this.random);
    }
    return received;
  }

  #quiet() {
    return wait({ next_at: this.#quietUntil }, this.now()) > 0;
  }

  /** @param {boolean} elsewhere */
  async #plan(elsewhere) {
    clearTimeout(this.#timer);
    if (this.#paused || this.#stopped) return;
    const now = this.now();
    const waits = firsts(await this.store.all("sending")).map((row) => Math.max(wait(row, now), wait({ next_at: this.#quietUntil }, now)));
    const next = Math.min(...waits, this.uploads.wait(), elsewhere ? LEASED_ELSEWHERE_MS : TICK_MS);
    if (next < TICK_MS) this.#timer = setTimeout(() => void this.wake(), Math.max(next, 100));
  }
}
