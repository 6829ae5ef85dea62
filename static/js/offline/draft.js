/**
 * The draft of one record on this phone: when it is saved, what is said about it, and who may write it.
 *
 * @typedef {[name: string, value: string][]} Fields
 * @typedef {"form" | "code" | "customer" | "thanks" | "engineer" | "done"} Screen
 * @typedef {{sha256: string, size: number, kind: string, caption: string, taken_at: string, width: number, height: number}} NamedPhoto
 *
 * @typedef {object} Draft
 * @property {string} visit
 * @property {string} label words that name the visit
 * @property {string} form_version of the page it was begun on
 * @property {Screen} screen
 * @property {Fields} fields
 * @property {Fields} customer
 * @property {Fields} engineer
 * @property {NamedPhoto[]} photos
 * @property {number[]} opened which of the page's fold-outs stand open
 * @property {number} scroll
 * @property {{revision: number | null, fields: Record<string, string[]>}} base what the page said when the draft was begun
 * @property {{revision: number, changed: number} | null} copied the newest copy at the office
 * @property {string} ended_at the end of the service, when nobody typed one: the moment of the hand-over
 * @property {{method: string, at: string} | null} given how and when the customer signed, or did not
 * @property {{text: string, sha256: string} | null} shown what the customer saw
 * @property {number} changed counts up with every change
 * @property {string} saved_at
 * @property {string} [sent] the submission that it became
 */

const PAUSE_MS = 300;
const LONGEST_MS = 1_000;
const RETRY_MS = 5_000;
const GIVE_WAY_MS = 1_500;
const COMING_BACK_MS = 600; // a page that is loaded again may still hold it for a moment

/** Saves what changes, one write at a time, and never says "saved" before it is on the disk. */
export class Saver {
  #since = 0;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  #dirty = false;
  #stopped = false;
  #saving = false;
  #writing = /** @type {Promise<void>} */ (Promise.resolve());

  /**
   * @param {{save: () => Promise<unknown>, show: (state: "saving" | "saved" | "failed", error?: unknown) => void, now?: () => number}} edges
   *   `save` writes what the page says at that moment
   */
  constructor({ save, show, now = () => Date.now() }) {
    this.save = save;
    this.show = show;
    this.now = now;
  }

  /** Something is not written yet. */
  get dirty() {
    return this.#dirty;
  }

  /** Something is not on the disk yet. */
  get busy() {
    return this.#dirty || this.#saving;
  }

  change() {
    if (this.#stopped) return;
    if (!this.#dirty) this.#since = this.now();
    this.#dirty = true;
    this.show("saving");
    this.#plan(Math.min(PAUSE_MS, Math.max(0, this.#since + LONGEST_MS - this.now())));
  }

  /** @returns {Promise<void>} when all that was changed until now is on the disk, or could not be written */
  flush() {
    clearTimeout(this.#timer);
    if (!this.#dirty || this.#stopped) return this.#writing;
    this.#dirty = false;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /**
   * Work that writes the draft itself: after what is being written, before what comes next.
   *
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  alone(work) {
    const done = this.#writing.then(work);
    this.#writing = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /** Nothing is written from here on: the record was sent, or another page writes it. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  resume() {
    this.#stopped = false;
  }

  async #write() {
    if (this.#stopped) return;
    this.#saving = true;
    try {
      await this.save();
      this.#saving = false;
      if (!this.#dirty && !this.#stopped) this.show("saved");
    } catch (error) {
      this.#saving = false;
      this.#dirty = true;
      this.show("failed", error);
      this.#plan(RETRY_MS);
    }
  }

  /** @param {number} delay */
  #plan(delay) {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.flush(), delay);
  }
}

/** One page at a time writes a draft. A page that closes or dies lets go by itself. */
export class Pen {
  #release = /** @type {(() => void) | null} */ (null);

  /**
   * @param {string} name of the lock
   * @param {() => void} lost called when another page took the pen by force
   * @param {LockManager | undefined} [locks]
   */
  constructor(name, lost, locks = globalThis.navigator?.locks) {
    this.name = name;
    this.lost = lost;
    this.locks = locks;
  }

  get held() {
    return this.#release !== null;
  }

  /** @returns {Promise<boolean>} whether this page may write now */
  async take() {
    return (await this.#request({ ifAvailable: true })) || this.#within(COMING_BACK_MS);
  }

  /** Take it from the page that has it, which was asked to save and let go; by force when it does not answer. */
  async takeOver() {
    return (await this.#within(GIVE_WAY_MS)) || (await this.#request({ steal: true }));
  }

  letGo() {
    this.#release?.();
    this.#release = null;
  }

  /** @param {number} ms */
  async #within(ms) {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), ms);
    const given = await this.#request({ signal: patience.signal });
    clearTimeout(timer);
    return given;
  }

  /**
   * @param {LockOptions} options
   * @returns {Promise<boolean>}
   */
  #request(options) {
    if (!this.locks) {
      this.#release = () => undefined; // a browser without locks: the newest writing counts
      return Promise.resolve(true);
    }
    return new Promise((answer) => {
      const hold = (/** @type {Lock | null} */ lock) => {
        if (!lock) return answer(false);
        return new Promise((/** @type {(value?: undefined) => void} */ release) => {
          this.#release = release;
          answer(true);
        });
      };
      this.locks?.request(this.name, options, hold).catch(() => {
        const stolen = this.held;
        this.#release = null;
        answer(false);
        if (stolen) this.lost();
      });
    });
  }
}

/**
 * @param {HTMLFormElement} form
 * @returns {Fields} everything in it that has a name and is text, in its order
 */
export function fieldsOf(form) {
  const all = /** @type {[string, FormDataEntryValue][]} */ ([...new FormData(form)]);
  return /** @type {Fields} */ (all.filter(([name, value]) => typeof value === "string" && !OWN.has(name)));
}

const OWN = new Set(["submission_id", "revision"]);

/**
 * Put values back into a form.
 *
 * @param {HTMLFormElement} form
 * @param {Fields} fields
 * @param {Set<string>} [touched] names that somebody has changed meanwhile
 * @returns {Fields} what found no place: it is carried along and sent, so that nothing is lost
 */
export function restore(form, fields, touched = new Set()) {
  const left = new Map(/** @type {[string, string[]][]} */ ([]));
  for (const [name, value] of fields) left.set(name, [...(left.get(name) ?? []), value]);
  for (const control of form.elements) {
    if (!isField(control) || touched.has(control.name) || OWN.has(control.name)) {
      if (isField(control)) left.delete(control.name);
      continue;
    }
    const values = left.get(control.name);
    if (control instanceof HTMLInputElement && (control.type === "radio" || control.type === "checkbox")) {
      control.checked = values?.includes(control.value) ?? false;
      if (control.checked && values) values.splice(values.indexOf(control.value), 1);
    } else if (values?.length) {
      control.value = values.shift() ?? "";
    }
  }
  return [...left].flatMap(([name, values]) => values.map((value) => /** @type {[string, string]} */ ([name, value])));
}

/**
 * @param {Element} control
 * @returns {control is HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement}
 */
export function isField(control) {
  if (control instanceof HTMLInputElement) return Boolean(control.name) && control.type !== "file" && control.type !== "submit";
  return (control instanceof HTMLTextAreaElement || control instanceof HTMLSelectElement) && Boolean(control.name);
}

/**
 * @param {Fields} fields
 * @returns {Record<string, string[]>}
 */
export function grouped(fields) {
  /** @type {Record<string, string[]>} */
  const groups = {};
  for (const [name, value] of fields) (groups[name] ??= []).push(value);
  return groups;
}

/**
 * Whether the page from the office is newer than the draft here, which holds nothing the office has not: then the page is right.
 *
 * @param {Draft} draft
 * @param {number | null} revision of the page
 */
export function overtaken(draft, revision) {
  const { copied, changed } = draft;
  return copied !== null && revision !== null && copied.changed === changed && revision > copied.revision;
}

/**
 * The last words of a page that goes away: it is gone before a transaction has its first answer, and only localStorage answers at once.
 * A page that was killed says nothing.
 */
export class Farewell {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /**
   * @param {number} changed the newest change on the page
   * @param {Draft | null} draft what is not on the disk yet
   */
  say(changed, draft) {
    try {
      localStorage.setItem(this.name, JSON.stringify({ changed, draft }));
    } catch {
      // full, or forbidden: what the database has is what remains
    }
  }

  /** @returns {{changed: number, draft: Draft | null}} once: the next page may be killed */
  heard() {
    try {
      const said = JSON.parse(localStorage.getItem(this.name) ?? "null");
      localStorage.removeItem(this.name);
      if (Number.isInteger(said?.changed)) return said;
    } catch {
      // nothing that we said
    }
    return { changed: -1, draft: null };
  }
}

/**
 * @param {Draft | undefined} kept what the database has
 * @param {Draft | null} last what the page said when it went
 * @returns {Draft | undefined} the newer of both; one that was sent stays as it is
 */
export function newest(kept, last) {
  if (!last || kept?.sent || (kept && kept.changed >= last.changed)) return kept;
  return last;
}
