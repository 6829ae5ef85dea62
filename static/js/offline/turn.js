/**
 * One page at a time sends what waits: a Web Lock, which the browser gives to the next page at the moment its holder dies. Where there
 * are no Web Locks, a lease of a few seconds in the store. Two senders at once would do no harm (the office counts each item once),
 * so a page that has waited long for a holder without a sign of life takes the lock: phones freeze pages that nobody looks at.
 */
import { uuid7 } from "../uuid7.js";
import { tell } from "./channel.js";

const PULSE_MS = 15_000;
const PATIENCE_MS = 3 * PULSE_MS;
const LEASE_MS = 4_000;

export class Turn {
  #me = uuid7();
  #lastSign = 0;

  /**
   * @param {import("./store.js").Store} store
   * @param {{locks?: LockManager | null, now?: () => number}} [edges]
   */
  constructor(store, { locks = globalThis.navigator?.locks ?? null, now = () => Date.now() } = {}) {
    this.store = store;
    this.locks = locks;
    this.now = now;
    this.name = `fieldapp-send-${store.user}`;
  }

  /** Whoever sends has just said something. */
  alive() {
    this.#lastSign = this.now();
  }

  /**
   * @param {(still: () => boolean) => Promise<void>} work  asks `still()` before each item: another page may have taken over
   * @returns {Promise<boolean>} false when another page sends, and this one should ask again
   */
  take(work) {
    return this.locks ? this.#locked(this.locks, work) : this.#leased(work);
  }

  /**
   * @param {LockManager} locks
   * @param {(still: () => boolean) => Promise<void>} work
   */
  async #locked(locks, work) {
    let [mine, running] = [true, Promise.resolve()];
    const waiting = new AbortController();
    this.alive();
    const timer = setInterval(() => this.now() - this.#lastSign > PATIENCE_MS && waiting.abort(), PULSE_MS);
    const granted = () => {
      clearInterval(timer);
      running = this.#withPulse(work(() => mine));
      return running;
    };
    try {
      await locks.request(this.name, { signal: waiting.signal }, granted).catch((error) => {
        if (!waiting.signal.aborted) throw error;
        return locks.request(this.name, { steal: true }, granted);
      });
    } catch (error) {
      mine = false; // taken from us, if it is not an error of the work itself
      await running;
      if (!(error instanceof DOMException)) throw error;
    } finally {
      clearInterval(timer);
    }
    return true;
  }

  /**
   * Pages that wait hear that this one is not frozen, also while one request takes long.
   *
   * @param {Promise<void>} work
   */
  async #withPulse(work) {
    const pulse = setInterval(() => tell(this.store.user, { type: "alive" }), PULSE_MS);
    try {
      await work;
    } finally {
      clearInterval(pulse);
    }
  }

  /** @param {(still: () => boolean) => Promise<void>} work */
  async #leased(work) {
    let mine = await this.#lease(LEASE_MS);
    if (!mine) return false;
    const timer = setInterval(async () => (mine = await this.#lease(LEASE_MS).catch(() => false)), LEASE_MS / 4);
    try {
      await work(() => mine);
    } finally {
      clearInterval(timer);
      if (mine) await this.#lease(0);
    }
    return true;
  }

  /**
   * @param {number} length in ms; 0 gives it back
   * @returns {Promise<boolean>} whether it is ours
   */
  #lease(length) {
    return this.store.transaction(["meta"], async (tx) => {
      const meta = tx.objectStore("meta");
      const { by, until } = (await meta.get("lease")) ?? { by: "", until: 0 };
      const left = until - this.now();
      if (by !== this.#me && left > 0 && left <= LEASE_MS) return false; // a longer one was written by a clock that was set back
      await meta.put({ by: this.#me, until: this.now() + length }, "lease");
      return true;
    });
  }
}
