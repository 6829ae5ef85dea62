/**
 * What the customer reads, written from the form by `textContent`: nothing that was typed can become anything but text.
 *
 * The page names its places: `data-say="cause"` gets the text, `data-line="cause"` hides with it, `data-if="outcome=all_done"` shows when
 * that is so, `data-list="parts"` gets one line for each row.
 *
 * @typedef {object} Said
 * @property {Record<string, string>} texts
 * @property {Record<string, string>} flags
 * @property {Record<string, {text: string, more: string[]}[]>} lists
 */
import { first, rowsOf } from "./shown.js";

/**
 * @param {ParentNode} page
 * @param {Said} said
 */
export function fill(page, { texts, flags, lists }) {
  for (const place of all(page, "[data-say]")) {
    const text = texts[place.dataset.say ?? ""];
    if (text !== undefined) place.textContent = text;
  }
  for (const line of all(page, "[data-line]")) {
    const name = line.dataset.line ?? "";
    const rows = lists[name];
    if (rows || texts[name] !== undefined) line.hidden = rows ? rows.length === 0 : !texts[name];
  }
  for (const part of all(page, "[data-if]")) {
    const [name, value] = (part.dataset.if ?? "").split("=");
    if (flags[name] !== undefined) part.hidden = flags[name] !== value;
  }
  for (const list of all(page, "[data-list]")) {
    const rows = lists[list.dataset.list ?? ""];
    if (rows) list.replaceChildren(...rows.map(lineOf));
  }
}

/**
 * @param {import("./draft.js").Fields} fields
 * @param {{wordOf: (name: string, value: string) => string, sentence: (code: string, values?: Record<string, string>) => string,
 *   language: string, backup: string, backupReason: string, device: string}} page
 * @returns {Said}
 */
export function saidBy(fields, { wordOf, sentence, language, backup, backupReason, device }) {
  const plain = ["content_text", "cause", "solution", "prevention", "tools", "times_reason", "remark", "customer_name", "contact_phone"];
  const with_ = (/** @type {string} */ code, /** @type {string} */ text) => (text ? [sentence(code, { text })] : []);
  return {
    texts: {
      ...Object.fromEntries(plain.map((name) => [name, first(fields, name)])),
      ...Object.fromEntries(["service_type", "skill_rating", "attitude_rating"].map((name) => [name, wordOf(name, first(fields, name))])),
      solved: fields.filter(([name]) => name === "solved").map(([, id]) => wordOf("solved", id)).join("; "),
      times: span(first(fields, "started_at"), first(fields, "ended_at"), language),
      backup: sentence(`backup_${backup}`, { text: backupReason }),
      device,
    },
    flags: { outcome: first(fields, "outcome") },
    lists: {
      parts: rowsOf(fields, "parts").map(({ name, quantity, serial, old_serial: old }) => ({
        text: [`${name} × ${quantity.trim() || "1"}`, ...with_("part_new", serial), ...with_("part_old", old)].join(" · "),
        more: [],
      })),
      open_items: rowsOf(fields, "open_items").map(({ text, cause, part, promised_by: by }) => ({
        text,
        more: [...with_("item_why", cause), ...with_("item_part", part), ...with_("item_by", by)],
      })),
    },
  };
}

/**
 * @param {string} from as in a datetime-local field
 * @param {string} until
 * @param {string} language
 * @returns {string} 11月22日 13:05–14:09
 */
export function span(from, until, language) {
  const [start, end] = [from, until].map((wall) => (wall ? new Date(`${wall.slice(0, 16)}Z`) : null));
  if (!start || Number.isNaN(start.getTime())) return "";
  const day = new Intl.DateTimeFormat(language, { month: "long", day: "numeric", timeZone: "UTC" });
  const begin = `${day.format(start)} ${from.slice(11, 16)}`;
  if (!end || Number.isNaN(end.getTime())) return begin;
  return from.slice(0, 10) === until.slice(0, 10) ? `${begin}–${until.slice(11, 16)}` : `${begin} – ${day.format(end)} ${until.slice(11, 16)}`;
}

/** @param {{text: string, more: string[]}} row */
function lineOf({ text, more }) {
  const line = document.createElement("li");
  const main = line.appendChild(document.createElement(more.length ? "strong" : "span"));
  main.className = "said";
  main.textContent = text;
  for (const each of more) {
    const words = document.createElement("span");
    words.className = "quiet";
    words.textContent = each;
    line.append(document.createElement("br"), words);
  }
  return line;
}

/**
 * @param {ParentNode} page
 * @param {string} selector
 * @returns {NodeListOf<HTMLElement>}
 */
function all(page, selector) {
  return page.querySelectorAll(selector);
}
