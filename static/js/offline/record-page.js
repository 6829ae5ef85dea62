/**
 * The record on one page: the form, the customer's screen, the engineer's signature. All of it is one draft on this phone, until "finish"
 * freezes it into one submission. Without a database or without crypto.subtle the page stays what the server made of it.
 *
 * Here its parts are put together and told what people do: record-forms (what stands in the fields), open-draft (saving), screens,
 * hand-over (the customer), finish, waiting (what the outbox knows), windows (who may write), office-copy.
 */
import { hear } from "./channel.js";
import { isField, newest, overtaken } from "./draft.js";
import { Early } from "./early.js";
import { Finish } from "./finish.js";
import { HandOver } from "./hand-over.js";
import { OfficeCopy } from "./office-copy.js";
import { OpenDraft } from "./open-draft.js";
import { canQueue } from "./outbox.js";
import { PhotoPlace } from "./photos.js";
import { forgive, sentencesOf } from "./places.js";
import { RecordForms } from "./record-forms.js";
import { SavingLine } from "./saving-line.js";
import { Screens } from "./screens.js";
import { openStore, QuotaFull } from "./store.js";
import { Waiting } from "./waiting.js";
import { Windows } from "./windows.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./store.js").Store} Store
 */

const LEAVE_AFTER_MS = 2_500;

/** @param {HTMLElement} root */
export async function start(root) {
  const early = new Early(root);
  const user = document.body.dataset.user ?? "";
  const store = user && canQueue() ? await openStore(user).catch(() => null) : null;
  if (!store) return asTheServerMadeIt(early);
  await new RecordPage(root, store, early).open();
}

/** @param {Early} early */
function asTheServerMadeIt(early) {
  early.over.abort();
  document.documentElement.dataset.plain = "";
  new SavingLine(document).plain();
}

class RecordPage {
  busy = false;
  hears = false;

  /**
   * @param {HTMLElement} root
   * @param {Store} store
   * @param {Early} early
   */
  constructor(root, store, early) {
    this.root = root;
    this.store = store;
    this.early = early;
    this.visit = root.dataset.visit ?? "";
    this.sentence = sentencesOf(root);
    this.line = new SavingLine(document);
    this.forms = new RecordForms(root);
    this.waiting = new Waiting(root, store, this.sentence);
    this.draft = this.openDraft();
    this.copy = this.officeCopy();
    this.screens = new Screens(this);
    this.handOver = new HandOver(this);
    this.end = new Finish(this);
    this.windows = this.ownWindow();
    this.places = Array.from(root.querySelectorAll("[data-photos]"), (each) => new PhotoPlace(/** @type {HTMLElement} */ (each), this.forPhotos()));
  }

  // ---- start

  async open() {
    const { draft, early, root } = this;
    const [mine] = await Promise.all([this.windows.pen.take(), this.waiting.learn()]);
    const kept = await draft.kept();
    const last = mine ? draft.farewell.heard() : { changed: -1, draft: null };
    const found = newest(kept, last.draft);
    if (found?.sent) return this.isSent(found);
    if (found) await this.takeIn(found);
    this.waiting.fillStart(this.forms.record);
    early.over.abort();
    this.listen();
    for (const place of this.places) place.start();
    if (!mine) this.windows.read();
    await this.handOver.firstScreen(found);
    if (found && mine && last.changed !== found.changed) this.screens.tellRecovered(found);
    if (found !== kept || (mine && early.touched.size > 0)) draft.touch();
    else if (!found && mine) this.line.rest();
    root.dataset.ready = "";
  }

  /** @param {Draft} kept */
  async takeIn(kept) {
    const newer = overtaken(kept, this.draft.base.revision);
    this.forms.takeIn(kept, this.early.touched, newer);
    this.draft.takeIn(kept, newer);
    await Promise.all(this.places.map((place) => place.show()));
    this.draft.tellState("saved");
  }

  listen() {
    const { root, draft } = this;
    root.addEventListener("input", (event) => this.onInput(event));
    root.addEventListener("change", (event) => this.onStroke(event));
    root.addEventListener("toggle", () => draft.touch(), true);
    root.addEventListener("focusout", () => void draft.saver.flush());
    root.addEventListener("submit", (event) => this.onSubmit(event));
    root.addEventListener("click", (event) => this.onClick(event));
    document.addEventListener("visibilitychange", () => document.hidden && void draft.saver.flush());
    addEventListener("pagehide", () => draft.leave());
    addEventListener("pageshow", ({ persisted }) => persisted && draft.farewell.heard());
    addEventListener("resize", () => (draft.scroll = scrollY));
    this.listenElsewhere();
  }

  listenElsewhere() {
    if (!this.hears) hear(this.store.user, (news) => void this.onNews(news));
    this.hears = true;
  }

  // ---- what people do

  /** @param {Event} event */
  onInput({ target }) {
    if (!(target instanceof Element) || !isField(target) || !this.forms.has(target.form)) return;
    this.forms.grow(target);
    forgive(target);
    this.draft.touch();
    if (this.draft.screen === "customer") void this.handOver.seal();
  }

  /**
   * The end of a stroke is saved at once; its ink is in the field already.
   *
   * @param {Event} event
   */
  onStroke({ target }) {
    if (!(target instanceof HTMLInputElement) || target.dataset.strokes === undefined || !this.forms.has(target.form)) return;
    this.draft.touch();
    void this.draft.saver.flush();
  }

  /** @param {SubmitEvent} event */
  onSubmit(event) {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const works = {
      record: () => this.toTheCustomer(),
      "no-data": () => this.waiting.noData(form),
      "choose-code": () => this.handOver.chooseCode(form),
      customer: () => this.handOver.customerSigns(/** @type {HTMLButtonElement | null} */ (event.submitter)),
      back: () => this.handOver.takeBack(form),
      "back-early": () => this.handOver.takeBack(form),
      engineer: () => this.finish(),
    };
    const work = works[/** @type {keyof typeof works} */ (form.id)];
    if (!work) return;
    event.preventDefault();
    void this.during(event.submitter, work);
  }

  /** @param {Event} event */
  onClick({ target }) {
    if (!(target instanceof Element)) return;
    const button = target.closest("button");
    if (target.closest("[data-take-over]")) void this.windows.takeOver();
    else if (target.closest("[data-to-form]")) void this.during(button, () => this.handOver.turnTo("form"));
    else if (target.closest("[data-reopen]")) void this.during(button, () => this.handOver.reopen());
    else if (target.closest("a[href]")) void this.draft.saver.flush();
  }

  /**
   * A second tap does nothing while the first is at work; the button says so. What cannot be kept is said on the screen.
   *
   * @param {HTMLElement | null} button
   * @param {() => Promise<unknown>} work
   */
  async during(button, work) {
    if (this.busy || this.draft.reading) return;
    this.busy = true;
    button?.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      console.error(error);
      this.screens.complainAbout([["", error instanceof QuotaFull ? "full" : "not_finished"]]);
    } finally {
      this.busy = false;
      button?.removeAttribute("aria-busy");
    }
  }

  /** Photos that are still being made small belong to what the customer reads. */
  async toTheCustomer() {
    await Promise.all(this.places.map(({ queue }) => queue));
    await this.handOver.begin();
  }

  async finish() {
    const sent = await this.end.send();
    if (!sent) return;
    this.draft.finish(sent.sent ?? "");
    this.windows.pen.letGo();
    await this.isSent(sent);
    setTimeout(() => document.visibilityState === "visible" && location.assign(`/visits/${this.visit}`), LEAVE_AFTER_MS);
  }

  // ---- what happens elsewhere

  /** @param {import("./channel.js").News} news */
  async onNews(news) {
    if (news.visit !== this.visit) return;
    if (news.type === "draft") return this.windows.onNews(news);
    const mine = await this.waiting.learn();
    if (this.draft.finished) this.end.tell(mine);
  }

  /** @param {Draft} sent */
  async isSent(sent) {
    this.early.over.abort();
    this.listenElsewhere();
    await this.end.show(sent);
    this.root.dataset.ready = "";
  }

  // ---- its parts

  openDraft() {
    const { store, visit, forms, line } = this;
    const about = this.root.dataset.about ?? "";
    return new OpenDraft({ store, visit, about, forms, line, saved: () => this.copy.soon(), sent: (draft) => this.isSent(draft) });
  }

  officeCopy() {
    const { draft, forms, waiting } = this;
    const shown = /** @type {HTMLElement | null} */ (this.root.querySelector("[data-visit-id]"));
    const url = forms.record.dataset.copyUrl ?? "";
    return new OfficeCopy({ draft, url, fields: () => forms.fields(), status: () => shown?.dataset.status ?? "", items: () => waiting.items() });
  }

  ownWindow() {
    return new Windows({
      draft: this.draft,
      show: (reading) => {
        this.forms.lock(reading);
        this.screens.tellReading(reading);
        if (reading) this.line.reading();
      },
      takeIn: (kept) => this.takeIn(kept),
      begin: (kept) => this.handOver.firstScreen(kept),
      sent: (kept) => this.isSent(kept),
    });
  }

  /** @returns {import("./photos.js").Page} */
  forPhotos() {
    const { store, draft } = this;
    return {
      store,
      photos: () => draft.photos,
      before: () => draft.saver.flush(),
      changed: () => draft.touch(),
      write: (stores, work, change) => draft.write(stores, work, change),
    };
  }
}
