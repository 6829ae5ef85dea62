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
 * @param {string | number} moment
 * @param {Date} [now]
 * @returns {string} 14:09, and the day before it where it is not today
 */
export function when(moment, now = new Date()) {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === now.toDateString()) return time;
  const language = globalThis.document?.documentElement.lang || "zh-CN";
  return `${at.toLocaleDateString(language, { month: "short", day: "numeric" })} ${time}`;
}

/**
 * @param {string} id
 * @returns {string} what two people compare on the telephone
 */
export function short(id) {
  return id.slice(-4);
}
