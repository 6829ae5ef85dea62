/**
 * What this phone knows of its visits before the office does: on every page that shows a visit, its own newest step counts.
 * No second state machine: the forms say where they lead (`data-leads-to`) and when they fit (`data-when`).
 *
 * @typedef {import("./outbox.js").Listed} Listed
 * @typedef {import("./store.js").Store} Store
 */
import { items } from "./outbox.js";
import { say, short, when } from "./words.js";

const CANCELED = "canceled";

/**
 * The state of a visit for its engineer: where the newest own step leads that waits, or that the office received after this page was
 * made (then its own word); else the page's. A cancellation by the office stays visible; what was done all the same is sent. What the
 * office could only file has led nowhere yet.
 *
 * @param {string} status  as the page says
 * @param {Listed[]} steps  of this visit, in their order
 * @param {string} renderedAt  when the page was made, by the office's clock
 * @returns {string}
 */
export function statusOf(status, steps, renderedAt) {
  if (status === CANCELED) return status;
  const newest = steps.filter((step) => step.leads_to && step.receipt?.outcome !== "quarantined" && isNews(step, renderedAt)).at(-1);
  if (!newest) return status;
  return newest.state === "received" && newest.receipt?.visit === newest.visit ? String(newest.receipt.status || newest.leads_to) : newest.leads_to;
}

/**
 * Whether the page cannot know of this step yet.
 *
 * @param {Listed} step
 * @param {string} renderedAt
 */
export function isNews(step, renderedAt) {
  return step.state === "waiting" || (step.state === "received" && Date.parse(step.receipt?.received_at ?? "") > Date.parse(renderedAt));
}

/**
 * @param {Store} store
 * @param {Document} page
 */
export async function showStates(store, page) {
  const shown = /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-visit-id]"));
  if (shown.length === 0) return;
  const [all, drafts] = await Promise.all([items(store), store.keys("drafts")]);
  const renderedAt = page.body.dataset.renderedAt ?? "";
  for (const element of shown) {
    const id = element.dataset.visitId ?? "";
    const steps = all.filter(({ visit }) => visit === id);
    const status = statusOf((element.dataset.rendered ??= element.dataset.status ?? ""), steps, renderedAt);
    if (element.dataset.status !== status) change(page, element, status);
    fit(page, id, status);
    tellNews(page, id, steps, renderedAt);
    for (const photo of removedPhotos(steps, renderedAt)) takeOut(page, photo);
    await offerDraft(store, page, id, drafts.includes(`visit:${id}`));
  }
  forgetDistances(page, renderedAt);
}

/**
 * @param {Document} page
 * @param {HTMLElement} element
 * @param {string} status
 */
function change(page, element, status) {
  element.dataset.status = status;
  const badge = badgeOf(page, status);
  if (badge) element.querySelector("[data-badge]")?.replaceChildren(badge);
  element.querySelector("[data-soon]")?.remove();
}

/**
 * @param {Document} page
 * @param {string} status
 */
function badgeOf(page, status) {
  const all = page.querySelector("template[data-badges]");
  const found = all instanceof HTMLTemplateElement ? all.content.querySelector(`[data-for="${CSS.escape(status)}"] > *`) : null;
  return found && page.importNode(found, true);
}

/**
 * @param {Document} page
 * @param {string} id
 * @param {string} status
 */
function fit(page, id, status) {
  for (const element of page.querySelectorAll(`[data-when][data-visit="${CSS.escape(id)}"]`)) {
    if (element instanceof HTMLElement) element.hidden = !(element.dataset.when ?? "").split(" ").includes(status);
  }
}

/**
 * Photos that the office has and that were taken out here, where the page cannot know of it yet.
 *
 * @param {Listed[]} steps
 * @param {string} renderedAt
 * @returns {string[]} their ids
 */
export function removedPhotos(steps, renderedAt) {
  return steps.filter((step) => isNews(step, renderedAt)).flatMap(({ path }) => /\/photos\/([^/]+)\/removal$/.exec(path)?.[1] ?? []);
}

/**
 * Its picture, so that the customer is not shown it either, and the form that removes it.
 *
 * @param {Document} page
 * @param {string} photo
 */
function takeOut(page, photo) {
  for (const element of page.querySelectorAll(`[data-photo="${CSS.escape(photo)}"]`)) {
    const fold = element.closest("details");
    element.remove();
    if (fold && !fold.querySelector("form")) fold.remove();
  }
}

/**
 * The newest own step with what became of it, and all of them at the end of the timeline.
 *
 * @param {Document} page
 * @param {string} id
 * @param {Listed[]} steps
 * @param {string} renderedAt
 */
function tellNews(page, id, steps, renderedAt) {
  const line = page.querySelector(`[data-news="${CSS.escape(id)}"]`);
  if (!(line instanceof HTMLElement)) return;
  const news = steps.filter((step) => step.state === "attention" || isNews(step, renderedAt));
  const newest = news.at(-1);
  line.hidden = !newest;
  line.dataset.state = newest?.state ?? "";
  line.textContent = newest ? sentenceOf(newest, line.dataset) : "";
  const timeline = page.querySelector(`[data-timeline="${CSS.escape(id)}"]`);
  for (const old of timeline?.querySelectorAll("[data-own]") ?? []) old.remove();
  timeline?.append(...news.map((step) => entry(page, step, line.dataset)));
}

/**
 * @param {Listed} step
 * @param {DOMStringMap} words
 * @returns {string} "Arrived 14:02 · saved on this phone"
 */
export function sentenceOf(step, words) {
  return `${step.label} ${when(step.device_at)} · ${fateOf(step, words)}`;
}

/**
 * @param {Listed} step
 * @param {DOMStringMap} words
 */
function fateOf({ state, receipt, id }, words) {
  if (state === "attention") return words.attention ?? "";
  if (state !== "received") return words.kept ?? "";
  const said = say(words.received, { time: when(receipt?.received_at ?? ""), receipt: short(id) });
  return receipt?.sentence ? `${said} · ${receipt.sentence}` : said;
}

/**
 * @param {Document} page
 * @param {Listed} step
 * @param {DOMStringMap} words
 */
function entry(page, step, words) {
  const line = page.createElement("li");
  const [time, what, fate] = ["time", "div", "p"].map((name) => page.createElement(name));
  const strong = what.appendChild(page.createElement("strong"));
  line.dataset.own = step.id;
  line.dataset.tone = step.state === "received" ? "active" : "warn";
  time.textContent = when(step.device_at);
  strong.textContent = step.label;
  fate.className = "quiet";
  fate.textContent = fateOf(step, words);
  what.append(fate);
  line.append(time, what);
  return line;
}

/**
 * A record that was begun here and not sent can be gone on with, whatever the office made of the visit meanwhile.
 *
 * @param {Store} store
 * @param {Document} page
 * @param {string} id
 * @param {boolean} begun
 */
async function offerDraft(store, page, id, begun) {
  const card = page.querySelector(`[data-record="${CSS.escape(id)}"]`);
  if (!(card instanceof HTMLElement)) return;
  const open = begun && !(await store.get("drafts", `visit:${id}`))?.sent;
  const words = card.querySelector("[data-draft]");
  if (words instanceof HTMLElement) words.hidden = !open;
  if (open) card.hidden = false;
}

/**
 * "In 24 min" was true when the page was made.
 *
 * @param {Document} page
 * @param {string} renderedAt
 */
function forgetDistances(page, renderedAt) {
  if (Date.now() - Date.parse(renderedAt) < 300_000) return;
  for (const said of page.querySelectorAll("[data-soon]")) said.remove();
}
