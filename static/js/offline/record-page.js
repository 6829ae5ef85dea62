/**
 * The record on one page: the form, the customer's screen, the engineer's signature. All of it is one draft on this phone, until "finish"
 * freezes it into one submission. Without a database or without crypto.subtle the page stays what the server made of it.
 *
 * Start / screens / signing / saving / several windows / what the outbox knows.
 */
import { uuid7 } from "../uuid7.js";
import { hear, tell } from "./channel.js";
import { methodOf, wrongInForm, wrongInSignature } from "./check.js";
import { fill, saidBy } from "./customer-screen.js";
import { localTime } from "./digest.js";
import { Farewell, fieldsOf, grouped, isField, newest, overtaken, Pen, restore, Saver } from "./draft.js";
import { checkFor, knowsPin, lockOf, SHORTEST_CODE, tryToOpen } from "./lock.js";
import { canQueue, enqueue, freezeAndFinish, itemOf, items, PhotoDamaged, saveDraft } from "./outbox.js";
import { PhotoPlace } from "./photos.js";
import { complain, element, forgive, rowCount, rowsAtLeast, sentencesOf } from "./places.js";
import { first, FORM_VERSION, sealed, shownOf } from "./shown.js";
import { openStore, QuotaFull } from "./store.js";
import { when } from "./words.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./draft.js").Fields} Fields
 * @typedef {import("./draft.js").Screen} Screen
 * @typedef {import("./store.js").Store} Store
 */

const LISTS = ["parts", "open_items"];
const MOST_ROWS = 30;
const COPY_AFTER_MS = 2_000;
const NO_COPY_MS = 60_000;
const LEAVE_AFTER_MS = 2_500;
const AT_WORK = new Set(["arrived", "working", "paused"]); // when the office takes a draft
const HANDED = new Set(["customer", "thanks"]);

/** @param {HTMLElement} root */
export async function start(root) {
  const early = new Early(root);
  const user = document.body.dataset.user ?? "";
  const store = user && canQueue() ? await openStore(user).catch(() => null) : null;
  if (!store) return asTheServerMadeIt(early);
  await new RecordPage(root, store, early).open();
}

/** What is done before the draft was read, even before this module was there: typing counts, sending waits. */
class Early {
  /** @param {HTMLElement} root */
  constructor(root) {
    /** @type {Set<string>} */
    this.touched = new Set([...root.querySelectorAll("input, textarea")].flatMap((each) => (isField(each) && isTyped(each) ? [each.name] : [])));
    this.over = new AbortController();
    const { signal } = this.over;
    root.addEventListener("input", ({ target }) => target instanceof Element && isField(target) && this.touched.add(target.name), { signal });
    root.addEventListener("submit", (event) => event.preventDefault(), { signal });
  }
}

/** @param {Early} early */
function asTheServerMadeIt(early) {
  early.over.abort();
  document.documentElement.dataset.plain = "";
  for (const line of document.querySelectorAll("[data-draft-state]")) {
    line.classList.remove("scripted");
    line.textContent = /** @type {HTMLElement} */ (line).dataset.plain ?? "";
  }
}

class RecordPage {
  /** @type {Screen} */
  screen = "form";
  /** @type {import("./draft.js").NamedPhoto[]} */
  photos = [];
  /** @type {Fields} */
  strays = [];
  version = FORM_VERSION;
  changed = 0;
  scroll = 0;
  reading = false;
  busy = false;
  endedAt = "";
  /** @type {{method: string, at: string} | null} */
  given = null;
  /** @type {Draft["shown"]} */
  shown = null;
  /** @type {Draft["copied"]} */
  copied = null;
  savedAt = "";
  noCopyBefore = 0;
  copyTimer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  sealing = 0;
  finished = "";

  /**
   * @param {HTMLElement} root
   * @param {Store} store
   * @param {Early} early
   */
  constructor(root, store, early) {
    this.root = root;
    this.store = store;
    this.early = early;
    this.said = root.dataset;
    this.visit = root.dataset.visit ?? "";
    this.key = `visit:${this.visit}`;
    this.home = `/visits/${this.visit}`;
    this.tab = uuid7();
    this.language = document.documentElement.lang;
    this.sentence = sentencesOf(root);
    this.form = formOf(root, "record");
    this.customer = formOf(root, "customer");
    this.engineer = formOf(root, "engineer");
    this.lines = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-draft-state]"));
    this.farewell = new Farewell(`fieldapp-left-${store.user}-${this.visit}`);
    this.saver = new Saver({ save: () => this.save(), show: (state, error) => this.tellState(state, error) });
    this.pen = new Pen(`fieldapp-draft-${store.user}-${this.key}`, () => this.read());
    this.places = Array.from(root.querySelectorAll("[data-photos]"), (each) => new PhotoPlace(/** @type {HTMLElement} */ (each), this.forPhotos()));
    this.backup = { state: root.dataset.backup ?? "open", reason: root.dataset.backupReason ?? "" };
    this.startedAt = root.dataset.started ?? "";
    const revision = Number(first(/** @type {Fields} */ ([...new FormData(this.form)]), "revision")) || null;
    this.base = { revision, fields: grouped(asMade(this.form)) };
  }

  // ---- start

  async open() {
    const [mine] = await Promise.all([this.pen.take(), this.learn()]);
    const kept = /** @type {Draft | undefined} */ (await this.store.get("drafts", this.key));
    const last = mine ? this.farewell.heard() : { changed: -1, draft: null };
    const draft = newest(kept, last.draft);
    if (draft?.sent) return this.isSent(draft);
    if (draft) await this.takeIn(draft);
    this.fillStart();
    this.early.over.abort();
    this.listen();
    for (const place of this.places) place.start();
    if (!mine) this.read();
    await this.firstScreen(draft);
    if (draft && mine && last.changed !== draft.changed) this.tellRecovered(draft);
    if (draft !== kept || (mine && this.early.touched.size > 0)) this.touch();
    else if (!draft && mine) this.say(this.lines[0]?.dataset.rest ?? "", "rest");
    this.root.dataset.ready = "";
  }

  /** @param {Draft} draft */
  async takeIn(draft) {
    const newer = overtaken(draft, this.base.revision);
    for (const list of LISTS) rowsAtLeast(this.form, list, Math.min(MOST_ROWS, rowsIn(draft.fields, list)));
    if (!newer) {
      this.strays = restore(this.form, draft.fields, this.early.touched);
      this.base = draft.base;
    }
    restore(this.customer, draft.customer);
    restore(this.engineer, draft.engineer);
    for (const pad of this.root.querySelectorAll(".signature")) pad.dispatchEvent(new Event("restore"));
    const folds = this.folds();
    for (const at of draft.opened) if (folds[at]) folds[at].open = true;
    Object.assign(this, {
      photos: draft.photos,
      version: draft.form_version,
      changed: draft.changed,
      copied: newer ? null : draft.copied,
      shown: draft.shown,
      given: draft.given,
      endedAt: draft.ended_at,
      scroll: draft.scroll,
      savedAt: draft.saved_at,
      screen: draft.screen,
    });
    await Promise.all(this.places.map((place) => place.show()));
    this.tellState("saved");
  }

  listen() {
    this.root.addEventListener("input", (event) => this.onInput(event));
    this.root.addEventListener("change", (event) => this.onStroke(event));
    this.root.addEventListener("toggle", () => this.touch(), true);
    this.root.addEventListener("focusout", () => void this.saver.flush());
    this.root.addEventListener("submit", (event) => this.onSubmit(event));
    this.root.addEventListener("click", (event) => this.onClick(event));
    document.addEventListener("visibilitychange", () => document.hidden && void this.saver.flush());
    addEventListener("pagehide", () => this.leave());
    addEventListener("pageshow", ({ persisted }) => persisted && this.farewell.heard());
    addEventListener("resize", () => (this.scroll = scrollY));
    hear(this.store.user, (news) => void this.onNews(news));
  }

  // ---- what people do

  /** @param {Event} event */
  onInput({ target }) {
    if (!(target instanceof Element) || !isField(target) || !this.isOurs(target.form)) return;
    this.grow(target);
    forgive(target);
    this.touch();
    if (this.screen === "customer") void this.seal();
  }

  /**
   * The end of a stroke is saved at once; its ink is in the field already.
   *
   * @param {Event} event
   */
  onStroke({ target }) {
    if (!(target instanceof HTMLInputElement) || target.dataset.strokes === undefined || !this.isOurs(target.form)) return;
    this.touch();
    void this.saver.flush();
  }

  /** @param {SubmitEvent} event */
  onSubmit(event) {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const works = {
      record: () => this.handOver(),
      "no-data": () => this.noData(form),
      "choose-code": () => this.chooseCode(form),
      customer: () => this.customerSigns(/** @type {HTMLButtonElement | null} */ (event.submitter)),
      back: () => this.takeBack(form),
      "back-early": () => this.takeBack(form),
      engineer: () => this.finish(),
    };
    const work = works[/** @type {keyof typeof works} */ (form.id)];
    if (!work) return;
    event.preventDefault();
    if (this.busy || this.reading) return;
    void this.during(event.submitter, work);
  }

  /** @param {Event} event */
  onClick({ target }) {
    if (!(target instanceof Element)) return;
    if (target.closest("[data-take-over]")) void this.takeOver();
    else if (target.closest("[data-to-form]")) void this.turnTo("form");
    else if (target.closest("[data-reopen]")) void this.reopen();
    else if (target.closest("a[href]")) void this.saver.flush();
  }

  /**
   * A second tap does nothing while the first is at work; the button says so.
   *
   * @param {HTMLElement | null} button
   * @param {() => Promise<unknown>} work
   */
  async during(button, work) {
    this.busy = true;
    button?.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      console.error(error);
      this.complainAbout(this.screenElement(), [["", error instanceof QuotaFull ? "full" : "not_finished"]]);
    } finally {
      this.busy = false;
      button?.removeAttribute("aria-busy");
    }
  }

  leave() {
    if (this.reading || this.finished) return;
    this.farewell.say(this.changed, this.saver.busy ? this.collect() : null);
    void this.saver.flush();
  }

  // ---- screens

  /**
   * What a killed page comes back to. The lock decides whether a customer holds the phone, not what this page remembers.
   *
   * @param {Draft | undefined} draft
   */
  async firstScreen(draft) {
    const lock = await lockOf(this.store);
    if (lock && lock.visit !== this.visit) return location.replace(lock.path);
    if (lock) this.screen = draft && HANDED.has(draft.screen) ? draft.screen : "customer";
    else if (this.screen === "thanks") this.screen = "engineer";
    else if (this.screen !== "engineer") this.screen = "form";
    await this.seal();
    this.show(this.scroll);
  }

  /**
   * Draft and lock change in one transaction: a page killed between the two would show the wrong person the wrong screen.
   *
   * @param {Screen} screen
   * @param {import("./lock.js").Lock | null} [lock] null: the engineer has the phone again
   */
  async turnTo(screen, lock) {
    const before = this.screen;
    if (before === "form") this.scroll = scrollY;
    this.screen = screen;
    this.changed += 1;
    try {
      await this.write(["meta"], async (tx) => {
        if (lock === null) await tx.objectStore("meta").delete("lock");
        else if (lock) await tx.objectStore("meta").put(lock, "lock");
      });
    } catch (error) {
      this.screen = before;
      throw error;
    }
    if (lock) tell(this.store.user, { type: "draft", visit: this.visit, locked: lock.path });
    this.show(screen === "form" ? this.scroll : 0);
  }

  /** @param {number} scroll */
  show(scroll) {
    const { screen } = this;
    document.body.dataset.screen = screen;
    for (const part of document.querySelectorAll("[data-screen]:not(body)")) {
      /** @type {HTMLElement} */ (part).hidden = /** @type {HTMLElement} */ (part).dataset.screen !== screen;
    }
    const heading = document.querySelector("h1");
    const title = this.said[`title${screen[0].toUpperCase()}${screen.slice(1)}`] ?? this.formTitle;
    if (heading) heading.textContent = title;
    document.title = document.title.replace(/^.*(?= · )/, title);
    this.fillScreens();
    if (screen !== "form") this.screenElement().focus({ preventScroll: true });
    scrollTo(0, scroll);
  }

  formTitle = document.querySelector("h1")?.textContent?.trim() ?? "";

  screenElement() {
    return /** @type {HTMLElement} */ (this.root.querySelector(`section[data-screen="${this.screen}"]`));
  }

  /** The customer's summary and what the engineer reads, from the fields as they are now. */
  fillScreens() {
    const said = saidBy(this.everything(), {
      wordOf: (name, value) => this.wordOf(name, value),
      sentence: this.sentence,
      language: this.language,
      backup: this.backup.state,
      backupReason: this.backup.reason,
      device: this.said.asset ?? "",
    });
    const fields = fieldsOf(this.customer);
    const method = this.given?.method ?? "";
    const name = first(fields, "signer_name").trim();
    const texts = {
      drawn: () => this.sentence("signed_by", { name }),
      typed: () => this.sentence("typed_by", { name: first(fields, "customer_typed") }),
      refused: () => this.sentence("refused", { text: first(fields, "customer_reason") }),
      absent: () => this.sentence("absent", { text: first(fields, "customer_reason") }),
    };
    said.texts.customer_given = texts[/** @type {keyof typeof texts} */ (method)]?.() ?? "";
    if (this.shown) said.texts.code = this.shown.sha256.slice(0, 8);
    said.flags.signed = method === "drawn" || method === "typed" ? "yes" : "no";
    fill(this.root, said);
    this.showPhotos();
  }

  showPhotos() {
    for (const list of this.root.querySelectorAll("[data-list=photos]")) {
      const pictures = Array.from(this.form.ownerDocument.querySelectorAll("[data-thumbs] img"), (each) => {
        const picture = /** @type {HTMLImageElement} */ (each.cloneNode());
        const words = each.closest("li")?.querySelector("input")?.value || picture.alt;
        if (words === picture.alt) picture.alt = ""; // said once
        return element("li", picture, element("span", words));
      });
      list.replaceChildren(...pictures);
    }
  }

  // ---- signing

  async handOver() {
    await this.learn();
    const fields = this.recordFields();
    const known = { backup: this.backup.state, startedByEvent: this.startedAt, now: await this.now(), limits: this.limits() };
    const wrong = wrongInForm(fields, known);
    this.complainAbout(this.screenElement(), [...wrong], fields, known.limits);
    if (wrong.size > 0) return;
    this.endedAt = first(fields, "ended_at") ? "" : known.now;
    const phone = this.customer.elements.namedItem("contact_phone");
    if (phone instanceof HTMLInputElement && (!phone.value || phone.value === phone.defaultValue)) phone.value = first(fields, "contact_phone");
    if (await knowsPin(this.store)) await this.toTheCustomer(null);
    else await this.turnTo("code");
  }

  /** @param {HTMLFormElement} form */
  async chooseCode(form) {
    const input = inputOf(form, "code");
    const code = input.value.trim();
    if (code.length < SHORTEST_CODE) return complain(form, [["code", this.sentence("code_short")]], "");
    complain(form, [], "");
    await this.toTheCustomer(await checkFor(code));
    input.value = "";
  }

  /** @param {import("./lock.js").Check | null} code */
  async toTheCustomer(code) {
    await this.seal();
    await this.turnTo("customer", { visit: this.visit, path: `${this.home}/record`, since: localTime(), code });
  }

  /** @param {HTMLButtonElement | null} button */
  async customerSigns(button) {
    this.collectInk();
    const fields = fieldsOf(this.customer);
    const method = methodOf(fields, "customer", button?.name === "customer_method" ? button.value : "");
    const wrong = wrongInSignature(fields, "customer", method);
    this.complainAbout(this.screenElement(), [...wrong]);
    if (wrong.size > 0) return;
    this.given = { method, at: localTime() };
    await this.seal();
    await this.turnTo("thanks");
  }

  /** @param {HTMLFormElement} form */
  async takeBack(form) {
    const input = inputOf(form, "pin");
    const verdict = await tryToOpen(this.store, input.value);
    if (verdict.state === "right") {
      complain(form, [], "");
      input.value = "";
      return this.turnTo(this.screen === "thanks" ? "engineer" : "form", null);
    }
    const seconds = verdict.state === "wait" ? verdict.seconds : 0;
    complain(form, [[input.id, this.sentence(`pin_${verdict.state}`, { seconds })]], "");
    input.select();
    input.focus();
  }

  /** Something is wrong: the customer reads and signs again what will then be written. */
  async reopen() {
    for (const name of ["customer_strokes", "customer_typed", "customer_reason"]) inputOf(this.customer, name).value = "";
    for (const name of ["engineer_strokes", "engineer_typed"]) inputOf(this.engineer, name).value = "";
    for (const pad of this.root.querySelectorAll(".signature")) pad.dispatchEvent(new Event("restore"));
    this.given = this.shown = null;
    this.endedAt = "";
    await this.turnTo("form");
  }

  /** One transaction: the draft, with what is on the page this moment, becomes one submission. */
  async finish() {
    this.collectInk();
    const wrong = wrongInSignature(fieldsOf(this.engineer), "engineer", methodOf(fieldsOf(this.engineer), "engineer"));
    this.complainAbout(this.screenElement(), [...wrong]);
    if (wrong.size > 0) return;
    const at = localTime();
    const memory = this.collect();
    this.touch();
    await this.saver.flush();
    try {
      const item = await freezeAndFinish(this.store, this.key, (draft) => this.requestOf({ ...draft, ...memory }, at));
      this.finished = item.id;
    } catch (error) {
      if (!(error instanceof PhotoDamaged)) throw error;
      return this.complainAbout(this.screenElement(), [["", "photo_damaged"]]);
    }
    this.saver.stop();
    this.pen.letGo();
    await this.isSent({ ...memory, sent: this.finished });
    this.leaveSoon();
  }

  /**
   * @param {Draft} draft
   * @param {string} at
   * @returns {import("./outbox.js").Request}
   */
  requestOf(draft, at) {
    const [customer, engineer] = [draft.customer, draft.engineer];
    const method = draft.given?.method ?? "";
    const how = methodOf(engineer, "engineer");
    const record = withValues(draft.fields, { ended_at: first(draft.fields, "ended_at") || draft.ended_at, contact_phone: first(customer, "contact_phone") });
    return {
      path: new URL(this.form.dataset.sendUrl ?? "", location.href).pathname,
      fields: [
        ...record,
        ["customer_method", method],
        ["customer_strokes", method === "drawn" ? first(customer, "customer_strokes") : ""],
        ["customer_typed", method === "typed" ? first(customer, "customer_typed") : ""],
        ["customer_reason", method === "refused" || method === "absent" ? first(customer, "customer_reason") : ""],
        ["signer_name", first(customer, "signer_name")],
        ["skill_rating", first(customer, "skill_rating")],
        ["attitude_rating", first(customer, "attitude_rating")],
        ["customer_at", draft.given?.at ?? ""],
        ["engineer_strokes", how === "drawn" ? first(engineer, "engineer_strokes") : ""],
        ["engineer_typed", how === "typed" ? first(engineer, "engineer_typed") : ""],
        ["engineer_at", at],
        ["photos", JSON.stringify(draft.photos)],
        ["base", JSON.stringify(draft.base)],
        ["shown", draft.shown?.text ?? ""],
        ["shown_sha256", draft.shown?.sha256 ?? ""],
        ["form_version", draft.form_version],
        ["whole", "1"],
      ],
      visit: this.visit,
      label: this.said.label ?? "",
      about: this.said.about ?? "",
      leadsTo: first(draft.fields, "outcome") === "all_done" ? "completed" : "partial",
      formVersion: draft.form_version,
      baseRevision: draft.base.revision,
      photos: draft.photos.map(({ sha256 }) => sha256),
      deviceAt: at,
    };
  }

  /** Everything that will be sent, as the customer sees it. */
  everything() {
    const fields = this.recordFields();
    const customer = fieldsOf(this.customer);
    const filled = { ended_at: first(fields, "ended_at") || this.endedAt, contact_phone: first(customer, "contact_phone") || first(fields, "contact_phone") };
    return [...withValues(fields, filled), ...customer.filter(([name]) => name !== "contact_phone")];
  }

  /** Bind what is shown now; of several at once the last one counts. */
  async seal() {
    const turn = (this.sealing += 1);
    const around = {
      visit: this.visit,
      company: this.said.company ?? "",
      engineer: this.said.engineer ?? "",
      language: this.language,
      backup: this.backup.state,
      photos: this.photos.map(({ sha256 }) => sha256),
    };
    const { text, sha256, code } = await sealed(shownOf(this.everything(), around));
    if (turn !== this.sealing || (this.given && this.shown && this.screen !== "customer")) return;
    this.shown = { text, sha256 };
    for (const place of this.root.querySelectorAll("[data-say=code]")) place.textContent = code;
  }

  /** A stroke under way when the button was tapped belongs to the signature as well. */
  collectInk() {
    for (const pad of this.root.querySelectorAll(".signature")) pad.dispatchEvent(new Event("collect"));
  }

  // ---- saving

  touch() {
    if (this.reading || this.finished) return;
    this.changed += 1;
    this.saver.change();
  }

  /** @returns {Draft} */
  collect() {
    return {
      visit: this.visit,
      label: this.said.about ?? "",
      form_version: this.version,
      screen: this.screen,
      fields: this.recordFields(),
      customer: fieldsOf(this.customer),
      engineer: fieldsOf(this.engineer),
      photos: this.photos.map((photo) => ({ ...photo })),
      opened: this.folds().flatMap((fold, at) => (fold.open ? [at] : [])),
      scroll: this.screen === "form" && document.body.dataset.screen === "form" ? Math.round(scrollY) : this.scroll,
      base: this.base,
      copied: this.copied,
      ended_at: this.endedAt,
      given: this.given,
      shown: this.shown,
      changed: this.changed,
      saved_at: new Date().toISOString(),
    };
  }

  async save() {
    if (this.reading || this.finished) return;
    const draft = this.collect();
    if (!(await saveDraft(this.store, this.key, draft))) return this.wasSentElsewhere();
    this.isSaved(draft);
  }

  /**
   * The draft together with something else, all or nothing.
   *
   * @param {string[]} stores
   * @param {(tx: import("./store.js").Transaction) => Promise<unknown>} work
   * @param {(known: import("./draft.js").NamedPhoto[]) => import("./draft.js").NamedPhoto[]} [change]
   */
  write(stores, work, change = (known) => known) {
    return this.saver.alone(async () => {
      if (this.reading || this.finished) throw new Error("this page does not write the draft");
      const photos = change(this.photos);
      const draft = { ...this.collect(), photos };
      await this.store.transaction([...stores, "drafts"], async (tx) => {
        const drafts = tx.objectStore("drafts");
        if ((await drafts.get(this.key))?.sent) throw new Error("the record was sent meanwhile");
        await work(tx);
        await drafts.put(draft, this.key);
      });
      this.photos = photos;
      this.isSaved(draft);
    });
  }

  /** @param {Draft} draft */
  isSaved(draft) {
    this.savedAt = draft.saved_at;
    if (!this.saver.dirty) this.tellState("saved");
    tell(this.store.user, { type: "draft", visit: this.visit, saved: this.tab });
    clearTimeout(this.copyTimer);
    this.copyTimer = setTimeout(() => void this.copy(), COPY_AFTER_MS);
  }

  async wasSentElsewhere() {
    this.saver.stop();
    const draft = await this.store.get("drafts", this.key);
    if (draft?.sent) await this.isSent(draft);
  }

  /** A copy at the office, where there is signal and nothing waits: a bonus that is never spoken of when it fails. */
  async copy() {
    if (this.screen !== "form" || this.reading || this.finished || Date.now() < this.noCopyBefore || !navigator.onLine) return;
    const status = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-visit-id]"))?.dataset.status ?? "";
    if (!AT_WORK.has(status) || this.copied?.changed === this.changed || (await this.mine()).some(({ state }) => state !== "received")) return;
    const changed = this.changed;
    this.noCopyBefore = Date.now() + NO_COPY_MS;
    const revision = this.copied?.revision ?? this.base.revision;
    const device = await this.store.get("meta", "device");
    const headers = { Accept: "application/json", "X-User": this.store.user, "X-Device": device, ...(revision ? { "X-Base-Revision": String(revision) } : {}) };
    const body = new URLSearchParams([...this.recordFields(), ["submission_id", uuid7()]]);
    try {
      const response = await fetch(this.form.dataset.copyUrl ?? "", { method: "POST", headers, body, redirect: "manual" });
      const answer = response.ok ? await response.json() : null;
      if (!Number.isInteger(answer?.revision)) return;
      this.copied = { revision: answer.revision, changed };
      this.noCopyBefore = 0;
      this.tellState("saved");
      if (this.changed === changed) await this.saver.alone(() => this.save());
    } catch {
      // no signal: the text is on this phone
    }
  }

  /**
   * @param {"saving" | "saved" | "failed"} state
   * @param {unknown} [error]
   */
  tellState(state, error) {
    if (this.reading || this.finished) return;
    const words = this.lines[0]?.dataset ?? {};
    if (state === "saving") return this.say(words.saving ?? "", state);
    if (state === "failed") return this.say((error instanceof QuotaFull ? words.full : words.failed) ?? "", state);
    const isCopied = this.copied?.changed === this.changed;
    this.say([`${words.saved} ${when(this.savedAt)}`, ...(isCopied ? [words.copied ?? ""] : [])].join(" · "), state);
  }

  /**
   * @param {string} words
   * @param {string} state
   */
  say(words, state) {
    for (const line of this.lines) {
      line.dataset.state = state;
      line.textContent = words;
      line.toggleAttribute("role", false);
      if (state === "failed") line.setAttribute("role", "alert");
    }
  }

  /** @param {Draft} draft */
  tellRecovered(draft) {
    const box = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-recovered]"));
    const words = box?.querySelector("[data-words]");
    if (!box || !words) return;
    words.textContent = this.sentence("recovered", { visit: draft.label, time: when(draft.saved_at) });
    box.hidden = false;
  }

  // ---- several windows

  /** Another window writes: everything can be read here, and followed, but not changed. */
  read(reading = true) {
    this.reading = reading;
    if (reading) this.saver.stop();
    else this.saver.resume();
    for (const form of [this.form, this.customer, this.engineer]) {
      for (const each of form.elements) {
        if (each instanceof HTMLInputElement && each.type !== "hidden") each.disabled = reading;
        else if (each instanceof HTMLTextAreaElement) each.readOnly = reading;
        else if (each instanceof HTMLSelectElement || each instanceof HTMLButtonElement) each.disabled = reading;
      }
    }
    for (const part of this.root.querySelectorAll(".signature, .photos")) /** @type {HTMLElement} */ (part).inert = reading;
    const box = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-other-window]"));
    if (box) box.hidden = !reading;
    if (reading) this.say(this.lines[0]?.dataset.reading ?? "", "reading");
  }

  async takeOver() {
    if (!this.reading) return;
    tell(this.store.user, { type: "draft", visit: this.visit, asks: this.tab });
    if (!(await this.pen.takeOver())) return;
    const draft = await this.store.get("drafts", this.key);
    if (draft?.sent) return this.isSent(draft);
    this.read(false);
    if (draft) await this.takeIn(draft);
    await this.firstScreen(draft);
  }

  /** @param {import("./channel.js").News} news */
  async onNews(news) {
    if (news.visit !== this.visit) return;
    if (news.type !== "draft") return void (await this.learn());
    if (typeof news.asks === "string" && news.asks !== this.tab && this.pen.held) {
      this.touch();
      await this.saver.flush();
      this.read();
      this.pen.letGo();
    }
    if (typeof news.saved === "string" && news.saved !== this.tab && this.reading) await this.follow();
  }

  async follow() {
    const draft = /** @type {Draft | undefined} */ (await this.store.get("drafts", this.key));
    if (!draft) return;
    if (draft.sent) return this.isSent(draft);
    this.read(false);
    await this.takeIn(draft);
    this.read();
  }

  // ---- what the outbox knows

  async mine() {
    return (await items(this.store)).filter(({ visit }) => visit === this.visit);
  }

  /** The backup reminder, the start and the end of this record as they wait here, though the page was made before them. */
  async learn() {
    const mine = await this.mine();
    const rendered = document.body.dataset.renderedAt ?? "";
    const news = mine.filter(({ state, receipt }) => state !== "received" || !receipt || later(receipt.received_at, rendered));
    const acknowledged = news.findLast(({ path }) => path.endsWith("/backup-acknowledgement"));
    if (acknowledged) this.showBackup(new URLSearchParams(new TextDecoder().decode((await itemOf(this.store, acknowledged.sequence)).body)));
    const begun = mine.find(({ path }) => path.endsWith("/start"));
    if (begun && !this.startedAt) this.startedAt = await this.wall(new Date(begun.device_at));
    if (this.finished) this.tellSent(mine.find(({ id }) => id === this.finished));
  }

  /** @param {URLSearchParams} answer */
  showBackup(answer) {
    const method = answer.get("backup_ack_method") || "signed";
    const state = method === "refused" || method === "not_applicable" ? method : "signed";
    const reason = answer.get("backup_ack_reason") ?? "";
    const name = answer.get("backup_ack_typed") || answer.get("backup_ack_name") || "";
    this.backup = { state, reason };
    const words = { signed: this.sentence("signed_by", { name }), refused: this.sentence("refused", { text: reason }), not_applicable: this.sentence("not_applicable_label") };
    const place = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-backup-phone]"));
    const says = place?.querySelector("[data-backup-state]");
    if (!place || !says) return;
    place.hidden = false;
    says.textContent = words[state];
    forgive(place);
    for (const old of this.root.querySelectorAll("[data-backup-ask], [data-backup-office], [data-backup-open]")) /** @type {HTMLElement} */ (old).hidden = true;
    for (const link of this.root.querySelectorAll("[data-backup-change]")) /** @type {HTMLElement} */ (link).hidden = false;
  }

  /** @param {HTMLFormElement} form */
  async noData(form) {
    const fields = /** @type {Fields} */ ([...new FormData(form)].filter(([, value]) => typeof value === "string"));
    const path = new URL(form.action).pathname;
    await enqueue(this.store, { path, fields, visit: this.visit, label: this.sentence("not_applicable_label"), about: this.said.about });
    await this.learn();
  }

  fillStart() {
    const field = this.form.elements.namedItem("started_at");
    if (!this.startedAt || !(field instanceof HTMLInputElement) || field.value) return;
    field.value = this.startedAt;
    const line = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-times]"));
    if (!line) return;
    line.hidden = false;
    line.textContent = this.sentence("times_until_now", { start: this.startedAt.slice(11) });
  }

  /** @param {Draft} draft */
  async isSent(draft) {
    this.finished = draft.sent ?? "";
    this.saver.stop();
    this.early.over.abort();
    if (this.screen !== "done") hear(this.store.user, (news) => void this.onNews(news));
    this.screen = "done";
    this.savedAt = draft.saved_at;
    const mine = await this.mine();
    this.show(0);
    this.tellSent(mine.find(({ id }) => id === this.finished));
    this.root.dataset.ready = "";
  }

  /** @param {import("./outbox.js").Listed | undefined} item */
  tellSent(item) {
    const { receipt } = item ?? {};
    const state = item?.state ?? "received"; // receipts are thrown away after 30 days, waiting items never
    const texts = {
      saved_at: when(item?.device_at ?? this.savedAt),
      received_at: receipt ? when(receipt.received_at) : "",
      receipt: this.finished.slice(-4),
      office_says: item?.sentence ?? "",
    };
    fill(this.root, { texts, flags: { sent: state, noted: texts.office_says && state === "received" ? "yes" : "" }, lists: {} });
  }

  leaveSoon() {
    setTimeout(() => document.visibilityState === "visible" && location.assign(this.home), LEAVE_AFTER_MS);
  }

  // ---- below

  /** @returns {Fields} */
  recordFields() {
    return [...fieldsOf(this.form), ...this.strays];
  }

  folds() {
    return /** @type {HTMLDetailsElement[]} */ ([...this.form.querySelectorAll("details")]);
  }

  /** @param {HTMLFormElement | null} form */
  isOurs(form) {
    return form === this.form || form === this.customer || form === this.engineer;
  }

  /** @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
  grow(field) {
    const [list, number] = field.name.split("-");
    const count = LISTS.includes(list) ? rowCount(this.form, list) : 0;
    if (count > 0 && Number(number) === count - 1 && count < MOST_ROWS) rowsAtLeast(this.form, list, count + 1);
  }

  limits() {
    return JSON.parse(this.said.limits ?? "{}");
  }

  /**
   * @param {HTMLElement} screen
   * @param {[field: string, code: string][]} wrong
   * @param {Fields} [fields]
   * @param {Record<string, [number, number | null]>} [limits]
   */
  complainAbout(screen, wrong, fields = [], limits = {}) {
    const errors = wrong.map(([name, code]) => {
      const [characters, lines] = limits[name.replace(/-\d+-/, "-*-")] ?? [0, 0];
      const value = first(fields, name);
      const [most, found] = code === "too_many_lines" ? [lines ?? 0, value.split("\n").length] : [characters, [...value].length];
      return /** @type {[string, string]} */ ([name, this.sentence(code, { most, found })]);
    });
    complain(screen, errors, errors.length === 1 ? this.sentence("places_one") : this.sentence("places", { num: errors.length }));
  }

  /**
   * The word that stands at an answer: of a radio or tick box with this value.
   *
   * @param {string} name
   * @param {string} value
   */
  wordOf(name, value) {
    const box = value ? this.root.querySelector(`input[name="${name}"][value="${CSS.escape(value)}"]`) : null;
    return box?.id ? (this.root.querySelector(`label[for="${CSS.escape(box.id)}"]`)?.textContent?.trim() ?? "") : "";
  }

  /** The time now on the wall of the installation, by the office's clock as far as this phone knows it. */
  now() {
    return this.wall(new Date());
  }

  /** @param {Date} moment by this phone's clock */
  async wall(moment) {
    const offset = (await this.store.get("meta", "offset_ms")) ?? 0;
    const options = /** @type {const} */ ({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    const parts = new Intl.DateTimeFormat("en", { ...options, timeZone: this.said.zone }).formatToParts(moment.getTime() + offset);
    const of = (/** @type {string} */ type) => parts.find((part) => part.type === type)?.value ?? "";
    return `${of("year")}-${of("month")}-${of("day")}T${of("hour")}:${of("minute")}`;
  }

  /** @returns {import("./photos.js").Page} */
  forPhotos() {
    return {
      store: this.store,
      photos: () => this.photos,
      before: () => this.saver.flush(),
      changed: () => this.touch(),
      write: (stores, work, change) => this.write(stores, work, change),
    };
  }
}

/**
 * @param {ParentNode} root
 * @param {string} id
 */
function formOf(root, id) {
  const found = root.querySelector(`#${id}`);
  if (found instanceof HTMLFormElement) return found;
  throw new Error(`the record page has no form ${id}`);
}

/**
 * Whether a person has been at this field already. The forms are not filled in by the browser, but for the fields that say so.
 *
 * @param {Element} field
 */
function isTyped(field) {
  if (field instanceof HTMLTextAreaElement) return field.value !== field.defaultValue;
  if (!(field instanceof HTMLInputElement) || (field.autocomplete && field.autocomplete !== "off")) return false;
  if (/radio|checkbox/.test(field.type)) return field.checked !== field.defaultChecked;
  return /^(text|tel|number)$/.test(field.type) && field.value !== field.defaultValue; // a date is written anew by the browser itself
}

/**
 * The fields as the office made the page, whatever was typed since.
 *
 * @param {HTMLFormElement} form
 * @returns {Fields}
 */
function asMade(form) {
  return fieldsOf(form).map(([name, value]) => {
    const field = form.elements.namedItem(name);
    const isText = field instanceof HTMLTextAreaElement || (field instanceof HTMLInputElement && /^(text|tel|number)$/.test(field.type));
    return [name, isText ? field.defaultValue : value];
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {string} name
 */
function inputOf(form, name) {
  return /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
}

/**
 * @param {Fields} fields
 * @param {Record<string, string>} values
 * @returns {Fields}
 */
function withValues(fields, values) {
  return fields.map(([name, value]) => [name, values[name] ?? value]);
}

/**
 * @param {Fields} fields
 * @param {string} list
 */
function rowsIn(fields, list) {
  const numbers = fields.filter(([name]) => name.startsWith(`${list}-`)).map(([name]) => Number(name.split("-")[1]));
  return numbers.length ? Math.max(...numbers) + 1 : 0;
}

/**
 * @param {string} one
 * @param {string} other
 */
function later(one, other) {
  return !other || Date.parse(one) > Date.parse(other);
}
