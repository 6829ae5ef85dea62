/**
 * What the phone keeps: one IndexedDB database for each person. Nothing counts as saved before its transaction has completed,
 * with `durability: "strict"`: the default of browsers forgets the last seconds when the battery falls out.
 *
 * | store    | key                | value |
 * |----------|--------------------|-------|
 * | drafts   | `visit:<id>`       | what is being written |
 * | outbox   | sequence (inside)  | frozen submissions, never changed after they were put |
 * | sending  | submission id      | how far the sending of one is: attempts, next_at, state, reason, head |
 * | receipts | submission id      | the office's receipt, `at` by this phone's clock, head |
 * | blobs    | sha256 (inside)    | photos as ArrayBuffers: WebKit has lost Blobs |
 * | uploads  | sha256             | what became of a photo's sending: arrived, at, server, epoch, error |
 * | meta     | a name             | device, sequence, server, epoch, offset_ms, lock, pin, pack … |
 * | ballast  | 0 … 5              | room for the last save, see below |
 */
import { openDB } from "../../vendor/idb.js";
import { uuid7 } from "../uuid7.js";

const VERSION = 1;
const WITH_KEY_INSIDE = { outbox: "sequence", blobs: "sha256" };
const OTHERS = ["drafts", "sending", "receipts", "uploads", "meta", "ballast"];
const MEBIBYTE = 1_048_576;
const BALLAST = 6; // mebibytes, thrown away when the phone is full, so that the last record can still be saved
const DEAD = new Set(["InvalidStateError", "UnknownError", "AbortError", "TransactionInactiveError"]);

/** The database could not be used, and not after opening it again either. What is on the page is nowhere else. */
export class StoreLost extends Error {}

/** No room on this phone: nothing of this transaction was saved. */
export class QuotaFull extends Error {}

/** @typedef {"none" | "some" | "all"} Effort  to make room: none; what the office has may leave; the ballast as well */
/** @typedef {import("idb").IDBPDatabase<any>} Handle */
/** @typedef {import("idb").IDBPTransaction<any, string[], "readwrite">} Transaction */

/** @type {Map<string, Promise<Store>>} */
const opened = new Map();

/**
 * The store of this person; every module of a page shares one.
 *
 * @param {string} user
 * @returns {Promise<Store>}
 */
export function openStore(user) {
  const known = opened.get(user);
  if (known) return known;
  const opening = Store.open(user);
  opened.set(user, opening);
  opening.catch(() => opened.delete(user));
  return opening;
}

export class Store {
  /** @type {Promise<Handle> | null} */
  #handle = null;
  /** @type {Set<(error: StoreLost) => void>} */
  #mourners = new Set();

  /**
   * Makes room by letting go of what the office has (see prune.js); a full phone asks for it first.
   *
   * @type {(() => Promise<boolean>) | null}
   */
  relief = null;

  /** @param {string} user */
  constructor(user) {
    this.user = user;
  }

  /** @param {string} user */
  static async open(user) {
    const store = new Store(user);
    await store.transaction(["meta"], async (tx) => {
      const meta = tx.objectStore("meta");
      if (!(await meta.get("device"))) await meta.put(uuid7(), "device");
    });
    void store.refill();
    return store;
  }

  /** @param {(error: StoreLost) => void} callback called each time that something could not be saved or read even after reopening */
  onLost(callback) {
    this.#mourners.add(callback);
  }

  /**
   * @param {string} name
   * @param {IDBValidKey} key
   * @returns {Promise<any>}
   */
  get(name, key) {
    return this.read([name], (tx) => tx.objectStore(name).get(key));
  }

  /**
   * @param {string} name
   * @returns {Promise<any[]>}
   */
  all(name) {
    return this.read([name], (tx) => tx.objectStore(name).getAll());
  }

  /**
   * @param {string} name
   * @returns {Promise<any[]>}
   */
  keys(name) {
    return this.read([name], (tx) => tx.objectStore(name).getAllKeys());
  }

  /**
   * @param {string} name
   * @param {any} value
   * @param {IDBValidKey} [key] not for outbox and blobs, which carry theirs inside
   * @returns {Promise<void>}
   */
  async put(name, value, key) {
    await this.transaction([name], (tx) => tx.objectStore(name).put(value, name in WITH_KEY_INSIDE ? undefined : key));
  }

  /**
   * @param {string} name
   * @param {IDBValidKey} key
   * @returns {Promise<void>}
   */
  async delete(name, key) {
    await this.transaction([name], (tx) => tx.objectStore(name).delete(key));
  }

  /**
   * Read several stores as they were at one moment. `work` awaits nothing but requests of `tx`.
   *
   * @template T
   * @param {string[]} names
   * @param {(tx: any) => Promise<T>} work
   * @returns {Promise<T>}
   */
  read(names, work) {
    return this.#attempt("readonly", names, work);
  }

  /**
   * All of `work` or nothing. `work` awaits nothing but requests of `tx` (anything else ends the transaction) and may run twice.
   * When the phone is full, what the office has leaves first; then the ballast is dropped, but not for new photos: those are
   * refused with QuotaFull.
   *
   * @template T
   * @param {string[]} names
   * @param {(tx: Transaction) => Promise<T>} work
   * @param {{effort?: Effort}} [options]
   * @returns {Promise<T>} when it is on the disk
   */
  async transaction(names, work, { effort = names.includes("blobs") && !names.includes("outbox") ? "some" : "all" } = {}) {
    const ways = { none: [], some: [this.#relieve], all: [this.#relieve, this.#dropBallast] }[effort];
    for (;;) {
      try {
        return await this.#attempt("readwrite", names, work);
      } catch (error) {
        if (!isFull(error)) throw error;
        await this.#makeRoom(ways, error);
      }
    }
  }

  /** Lay in the ballast where it is missing and there is plenty of room. */
  async refill() {
    try {
      const { quota = Infinity, usage = 0 } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
      if (quota - usage < 3 * BALLAST * MEBIBYTE || (await this.keys("ballast")).length > 0) return;
      await this.transaction(["ballast"], (tx) => fill(tx.objectStore("ballast")), { effort: "none" });
    } catch (error) {
      console.warn("no ballast", error);
    }
  }

  /** Let go of the database; the next use opens it again. */
  async close() {
    const handle = this.#handle;
    this.#handle = null;
    (await handle)?.close();
  }

  // ---- private

  /**
   * Phones kill the handle behind the page's back (WebKit does it in the background): open it again, once.
   *
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {string[]} names
   * @param {(tx: Transaction) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #attempt(mode, names, work) {
    try {
      return await this.#once(mode, names, work);
    } catch (error) {
      if (!hasDied(error)) throw error;
    }
    try {
      return await this.#once(mode, names, work);
    } catch (error) {
      if (!hasDied(error)) throw error;
      const lost = new StoreLost("the database of this phone does not answer", { cause: error });
      for (const mourn of this.#mourners) mourn(lost);
      throw lost;
    }
  }

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {string[]} names
   * @param {(tx: Transaction) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #once(mode, names, work) {
    const handle = (this.#handle ??= this.#open());
    try {
      return await run(await handle, mode, names, work);
    } catch (error) {
      if (hasDied(error) && this.#handle === handle) await this.close().catch(() => undefined);
      throw error;
    }
  }

  /** @returns {Promise<Handle>} */
  async #open() {
    const ended = () => (this.#handle = null);
    const name = `fieldapp-${this.user}`;
    const options = { upgrade, terminated: ended, blocking: (_old, _new, event) => (ended(), event.target.close()) };
    try {
      return await openDB(name, VERSION, options);
    } catch (error) {
      // A newer page has made the next version, which keeps these stores.
      if (nameOf(error) === "VersionError") return await openDB(name, undefined, options);
      throw new DOMException(String(error), "UnknownError");
    }
  }

  /**
   * @param {(() => Promise<boolean>)[]} ways  not tried yet
   * @param {unknown} error
   */
  async #makeRoom(ways, error) {
    for (let way = ways.shift(); way; way = ways.shift()) if (await way.call(this)) return;
    throw new QuotaFull("no room left on this phone", { cause: error });
  }

  /** @returns {Promise<boolean>} whether anything left */
  async #relieve() {
    const { relief } = this;
    if (!relief) return false;
    this.relief = null; // it writes as well
    try {
      return await relief();
    } finally {
      this.relief = relief;
    }
  }

  /** @returns {Promise<boolean>} whether there was any */
  async #dropBallast() {
    if ((await this.keys("ballast")).length === 0) return false;
    await this.transaction(["ballast"], (tx) => tx.objectStore("ballast").clear(), { effort: "none" });
    return true;
  }
}

/** @param {Handle} db */
function upgrade(db) {
  for (const [name, keyPath] of Object.entries(WITH_KEY_INSIDE)) db.createObjectStore(name, { keyPath });
  for (const name of OTHERS) db.createObjectStore(name);
}

/**
 * @template T
 * @param {Handle} db
 * @param {IDBTransactionMode} mode
 * @param {string[]} names
 * @param {(tx: any) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function run(db, mode, names, work) {
  const tx = db.transaction(names, mode, { durability: "strict" });
  const done = tx.done.then(
    () => null,
    (error) => error ?? new DOMException("", "AbortError"),
  );
  try {
    const result = await work(tx);
    const failure = await done;
    if (failure) throw failure;
    return result;
  } catch (error) {
    abort(tx);
    await done;
    throw tx.error ?? error; // requests of a full phone say "aborted", the transaction says why
  }
}

/** @param {{abort: () => void}} tx */
function abort(tx) {
  try {
    tx.abort();
  } catch {
    // it had ended by itself
  }
}

/**
 * Random, because browsers compress what they store, and compressed nothing is no ballast.
 *
 * @param {any} ballast
 */
async function fill(ballast) {
  for (let i = 0; i < BALLAST; i += 1) {
    const bytes = new Uint8Array(MEBIBYTE);
    for (let at = 0; at < MEBIBYTE; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    await ballast.put(bytes.buffer, i);
  }
}

/** @param {unknown} error */
function hasDied(error) {
  return DEAD.has(nameOf(error));
}

/** @param {unknown} error */
function isFull(error) {
  return nameOf(error) === "QuotaExceededError";
}

/** @param {unknown} error */
function nameOf(error) {
  return error instanceof Error || error instanceof DOMException ? error.name : "";
}
