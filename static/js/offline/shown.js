/**
 * What the customer's screen shows, as bytes that can be bound to a signature: canonical JSON (RFC 8785) of strings and whole numbers.
 * The server takes the same hash from the same text (fieldapp/records), so what was seen can be proved later.
 */
import { sha256 } from "./digest.js";

export const FORM_VERSION = "2";
const CODE_LENGTH = 8;

/**
 * @param {unknown} value made of objects, lists, strings, whole numbers, true, false and null
 * @returns {string}
 */
export function canonical(value) {
  if (typeof value === "string") return JSON.stringify(wellFormed(value));
  if (value === null || typeof value === "boolean" || Number.isSafeInteger(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object") {
    const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)); // by UTF-16 units, as RFC 8785 asks
    return `{${members.map(([name, each]) => `${canonical(name)}:${canonical(each)}`).join(",")}}`;
  }
  throw new TypeError(`${typeof value} cannot be shown and signed`);
}

/**
 * Half a character cannot be sent, nor can NUL, so neither is shown.
 *
 * @param {string} text
 */
export function wellFormed(text) {
  return text.replaceAll("\0", "").replace(/\p{Surrogate}/gu, "\uFFFD");
}

/**
 * @param {Record<string, unknown>} shown
 * @returns {Promise<{text: string, sha256: string, code: string}>} `code`: for people to compare
 */
export async function sealed(shown) {
  const text = canonical(shown);
  const hash = await sha256(new TextEncoder().encode(text));
  return { text, sha256: hash, code: hash.slice(0, CODE_LENGTH) };
}

const PLAIN = [
  "cause", "content_text", "customer_name", "outcome", "prevention", "remark", "service_type", "solution", "started_at", "ended_at",
  "times_reason", "tools", "contact_phone", "skill_rating", "attitude_rating", "signer_name",
];
const ROWS = /** @type {const} */ ({ parts: ["name", "quantity", "serial", "old_serial"], open_items: ["text", "cause", "part", "promised_by"] });

/**
 * @param {import("./draft.js").Fields} fields everything that will be sent, each value as it will be sent
 * @param {{visit: string, company: string, engineer: string, language: string, backup: string, photos: string[]}} around
 */
export function shownOf(fields, around) {
  return {
    form_version: FORM_VERSION,
    consent: "customer/1",
    ...around,
    ...Object.fromEntries(PLAIN.map((name) => [name, first(fields, name)])),
    parts: rowsOf(fields, "parts"),
    open_items: rowsOf(fields, "open_items"),
    solved: fields.filter(([name]) => name === "solved").map(([, value]) => value),
  };
}

/**
 * The rows that say something in their first column, as they were typed.
 *
 * @param {import("./draft.js").Fields} fields
 * @param {keyof typeof ROWS} list
 * @returns {Record<string, string>[]}
 */
export function rowsOf(fields, list) {
  const [leading] = ROWS[list];
  const named = fields.filter(([name, value]) => name.startsWith(`${list}-`) && name.endsWith(`-${leading}`) && value.trim());
  return named.map(([name]) => {
    const row = name.slice(0, -leading.length);
    return Object.fromEntries(ROWS[list].map((column) => [column, first(fields, row + column)]));
  });
}

/**
 * @param {import("./draft.js").Fields} fields
 * @param {string} name
 */
export function first(fields, name) {
  return fields.find(([each]) => each === name)?.[1] ?? "";
}
