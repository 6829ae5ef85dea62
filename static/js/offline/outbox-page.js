/**
 * The outbox: each thing that goes to the office in plain words, and how far it has come. Nothing can be thrown away here.
 * All words come from the page: attributes of `[data-outbox]` and its templates.
 */
import { hear } from "./channel.js";
import { items, tryAgain } from "./outbox.js";
import { download, needed, partsOf } from "./rescue.js";
import { openStore } from "./store.js";
import { fateOf } from "./upload.js";
import { say, short, when } from "./words.js";

/**
 * @typedef {import("./outbox.js").Listed} Listed
 * @typedef {{arrived: number, error: {code: string, sentence: string} | null}} Photos
 */

const ENDED = new Set(["cannot_complete", "no_show", "declined"]); // ends without a record

/** @param {HTMLElement} root */
export async function start(root) {
  const user = document.body.dataset.user;
  if (user) new OutboxPage(root, await openStore(user)).start();
}

export class OutboxPage {
  /** @type {Set<string>} */
  #sending = new Set();
  /** @type {Map<string, number>} */
  #shares = new Map();
  #paused = false;
  #rendering = false;
  #stale = false;

  /**
   * @param {HTMLElement} root
   * @param {import("./store.js").Store} store
   */
  constructor(root, store) {
    this.root = root;
    this.store = store;
    this.words = root.dataset;
  }

  start() {
    hear(this.store.user, (news) => this.#hear(news));
    this.#button("[data-send]")?.addEventListener("click", () => void this.sendNow());
    this.#button("[data-export]")?.addEventListener("click", () => void this.exportPackage());
    void this.show();
  }

  // ---- actions

  async sendNow() {
    this.#trying(true);
    await tryAgain(this.store);
  }

  /** One tap is one file: browsers stop a page that brings several at once. */
  async exportPackage() {
    const parts = await partsOf(this.store);
    this.root.querySelector("[data-files]")?.replaceChildren(...(parts.length > 1 ? parts.map((part) => this.#file(part)) : []));
    if (parts.length === 1) await download(this.store, parts[0]);
    write(this.root, "[data-exported]", parts.length > 1 ? say(this.words.several, { count: parts.length }) : (this.words.exported ?? ""));
  }

  /** Show everything as it is on the disk; what changes meanwhile is shown right after. */
  async show() {
    this.#stale = true;
    if (this.#rendering) return;
    this.#rendering = true;
    while (this.#stale) {
      this.#stale = false;
      await this.#render();
    }
    this.#rendering = false;
  }

  // ---- private

  /** @param {import("./channel.js").News} news */
  #hear({ type, id = "", sha256, share }) {
    if (type === "alive") return;
    if (type === "sending") this.#sending.add(id);
    else this.#sending.delete(id);
    if (type === "upload" && typeof share === "number") this.#shares.set(String(sha256), share);
    if (type === "paused") this.#paused = true;
    if (type === "resumed" || type === "received") this.#paused = false;
    if (type === "contact" || type === "paused") this.#trying(false);
    void this.show();
  }

  async #render() {
    const listed = await items(this.store);
    const photos = new Map();
    for (const item of listed) photos.set(item.id, await fateOf(this.store, item.photos));
    const under = (/** @type {Listed} */ item) => item.state === "received" && photos.get(item.id).arrived === item.photos.length;
    const open = listed.filter((item) => !under(item));
    const begun = await this.#begun(listed);
    const today = listed.filter((item) => under(item) && isToday(item.receipt?.at ?? "")).reverse();
    this.#list("waiting", open, photos);
    this.#list("received", today, photos);
    this.#toggle("[data-empty]", open.length === 0 && today.length === 0 && begun === 0);
    this.#toggle("[data-login]", this.#paused && open.length > 0);
    const lacksPhotos = (/** @type {Listed} */ item) => photos.get(item.id).arrived < item.photos.length;
    this.#toggle("[data-rescue]", needed(open, Date.now(), lacksPhotos) || [...photos.values()].some(({ error }) => error));
    this.#toggle("[data-send]", open.length > 0 && !this.#paused, document);
    this.#toggle("[data-to-login]", open.length > 0 && this.#paused, document);
    this.#toggle("[data-home]", open.length === 0, document);
    this.root.dataset.ready = "";
  }

  /**
   * Records that were begun and neither finished nor made needless: their visit may be nobody's business of this person any more.
   *
   * @param {Listed[]} listed
   * @returns {Promise<number>}
   */
  async #begun(listed) {
    const over = new Set(listed.filter(({ leads_to }) => ENDED.has(leads_to)).map(({ visit }) => visit));
    const drafts = /** @type {import("./draft.js").Draft[]} */ (await this.store.all("drafts"));
    const unfinished = drafts.filter(({ sent, visit }) => !sent && !over.has(visit));
    const template = this.root.querySelector("template[data-begun]");
    const rows = unfinished.map(({ visit, label, saved_at }) => {
      const row = /** @type {HTMLElement} */ (/** @type {HTMLTemplateElement} */ (template).content.cloneNode(true));
      /** @type {HTMLAnchorElement | null} */ (row.querySelector("a"))?.setAttribute("href", `/visits/${visit}/record`);
      write(row, "[data-label]", label || (this.words.unnamed ?? ""));
      write(row, "[data-when]", when(saved_at));
      return row;
    });
    this.root.querySelector('[data-list="begun"]')?.replaceChildren(...rows);
    this.#toggle('[data-part="begun"]', rows.length > 0);
    return rows.length;
  }

  /**
   * @param {string} name
   * @param {Listed[]} listed
   * @param {Map<string, Photos>} photos
   */
  #list(name, listed, photos) {
    const list = this.root.querySelector(`[data-list="${name}"]`);
    list?.replaceChildren(...listed.map((item) => this.#card(item, /** @type {Photos} */ (photos.get(item.id)))));
    this.#toggle(`[data-part="${name}"]`, listed.length > 0);
  }

  /**
   * @param {Listed} item
   * @param {Photos} photos
   */
  #card(item, photos) {
    const card = this.#copy("[data-item]");
    const [state, sentence] = this.#fate(item, photos);
    card.dataset.state = state;
    write(card, "[data-label]", item.label || (this.words.unnamed ?? ""));
    write(card, "[data-when]", when(item.device_at));
    write(card, "[data-about]", item.about);
    write(card, "[data-fate]", sentence);
    card.querySelector("[data-badge]")?.replaceChildren(this.#copy(`[data-for="${state}"]`));
    if (item.photos.length > 0 && photos.arrived < item.photos.length) this.#photos(card, item, photos);
    return card;
  }

  /**
   * @param {Listed} item
   * @param {Photos} photos
   * @returns {[state: string, sentence: string]}
   */
  #fate({ id, state, reason, sentence, attempts, next_at, receipt }, photos) {
    const words = this.words;
    if (state === "attention") return ["attention", sentence || (words[REASONS[reason] ?? "refused"] ?? "")];
    if (photos.error) return ["attention", photos.error.sentence || (words.photoDamaged ?? "")];
    if (state === "received") {
      const said = say(words.received, { time: when(receipt?.received_at ?? ""), receipt: short(id) });
      return ["received", sentence ? `${said} · ${sentence}` : said];
    }
    if (this.#paused) return ["login", words.login ?? ""];
    if (this.#sending.has(id)) return ["sending", ""];
    if (attempts === 0) return ["kept", words.kept ?? ""];
    const again = say(words.again, { count: attempts, time: when(next_at) });
    return ["waiting", `${words[REASONS[reason] ?? "noAnswer"] ?? ""} ${again}`];
  }

  /** @param {import("./rescue.js").Part} part */
  #file(part) {
    const button = this.#copy("[data-file]");
    write(button, "span", say(this.words.file, { number: part.number, count: part.count }));
    button.addEventListener("click", () => void download(this.store, part).then(() => button.setAttribute("data-saved", "")));
    return button;
  }

  /**
   * @param {HTMLElement} card
   * @param {Listed} item
   * @param {Photos} photos
   */
  #photos(card, item, { arrived }) {
    const part = /** @type {HTMLElement} */ (card.querySelector("[data-photos]"));
    const bar = /** @type {HTMLProgressElement} */ (part.querySelector("progress"));
    const sentence = say(this.words.photos, { arrived, count: item.photos.length });
    const begun = item.photos.map((sha) => this.#shares.get(sha) ?? 0).filter((share) => share < 1);
    part.hidden = false;
    bar.value = Math.min(1, (arrived + begun.reduce((one, other) => one + other, 0)) / item.photos.length);
    bar.setAttribute("aria-label", sentence);
    write(part, "[data-said]", sentence);
  }

  /**
   * @param {string} selector  of a template in the page
   * @returns {HTMLElement}
   */
  #copy(selector) {
    const template = /** @type {HTMLTemplateElement} */ (this.root.querySelector(`template${selector}`));
    return /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
  }

  /**
   * The button says what it does until the office has answered, or has not.
   *
   * @param {boolean} yes
   */
  #trying(yes) {
    const button = this.#button("[data-send]");
    const label = button?.querySelector("span");
    if (!button || !label || yes === button.hasAttribute("aria-busy")) return;
    if (yes) button.setAttribute("aria-busy", "true");
    else button.removeAttribute("aria-busy");
    [label.textContent, button.dataset.other] = [button.dataset.other ?? "", label.textContent ?? ""];
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement | null}
   */
  #button(selector) {
    return document.querySelector(selector);
  }

  /**
   * @param {string} selector
   * @param {boolean} shown
   * @param {ParentNode} [where]
   */
  #toggle(selector, shown, where = this.root) {
    const element = where.querySelector(selector);
    if (element instanceof HTMLElement) element.hidden = !shown;
  }
}

/** @type {Record<string, string>} reason of an item → the attribute with its words */
const REASONS = { no_signal: "noSignal", no_answer: "noAnswer", damaged: "damaged", too_large: "tooLarge" };

/**
 * @param {ParentNode} where
 * @param {string} selector
 * @param {string} sentence
 */
function write(where, selector, sentence) {
  const place = where.querySelector(selector);
  if (!(place instanceof HTMLElement)) return;
  place.textContent = sentence;
  place.hidden = !sentence;
}

/** @param {string} moment */
function isToday(moment) {
  return new Date(moment).toDateString() === new Date().toDateString();
}
