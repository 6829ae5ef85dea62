/** Small words for what the queue shows; sentences come from the page, in the person's language. */

/**
 * @param {string | undefined} sentence
 * @param {Record<string, string | number>} values
 * @returns {string} with each `{name}` filled in
 */
export function say(sentence, values = {}) {
  return (sentence ?? "").replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/**
 * By the clock of the office, as the server's pages say it: a phone may be set to another zone.
 *
 * @param {string | number} moment
 * @param {Date} [now]
 * @param {string} [timeZone]
 * @returns {string} 14:09, and the day before it where it is not today
 */
export function when(moment, now = new Date(), timeZone = globalThis.document?.body?.dataset.zone) {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone });
  const day = (/** @type {Date} */ each) => each.toLocaleDateString("en-GB", { timeZone });
  if (day(at) === day(now)) return time;
  const language = globalThis.document?.documentElement.lang || "zh-CN";
  return `${at.toLocaleDateString(language, { month: "short", day: "numeric", timeZone })} ${time}`;
}

/**
 * @param {string} id
 * @returns {string} what two people compare on the telephone
 */
export function short(id) {
  return id.slice(-4);
}

/**
 * @param {number} moment
 * @param {string | undefined} timeZone
 * @returns {string} as a field for date and time writes it: 2026-11-22T14:09
 */
export function wallTime(moment, timeZone) {
  const options = /** @type {const} */ ({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const parts = new Intl.DateTimeFormat("en", { ...options, timeZone }).formatToParts(moment);
  const of = (/** @type {string} */ type) => parts.find((part) => part.type === type)?.value ?? "";
  return `${of("year")}-${of("month")}-${of("day")}T${of("hour")}:${of("minute")}`;
}
