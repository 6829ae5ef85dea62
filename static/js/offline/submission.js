/** What a finished draft becomes: the fields of one submission, in the words that the office knows (fieldapp/records/forms.py, whole). */
import { methodOf } from "./check.js";
import { first } from "./shown.js";

/**
 * @typedef {import("./draft.js").Draft} Draft
 * @typedef {import("./draft.js").Fields} Fields
 */

/**
 * @param {Draft} draft
 * @param {{path: string, label: string, about: string, at: string}} around  `at`: when the engineer signed
 * @returns {import("./outbox.js").Request}
 */
export function submissionOf(draft, { path, label, about, at }) {
  return {
    path,
    fields: [
      ...asSent(draft.fields, { endedAt: draft.ended_at, phone: first(draft.customer, "contact_phone") }),
      ...customersPart(draft),
      ...engineersPart(draft, at),
      ["photos", JSON.stringify(draft.photos)],
      ["base", JSON.stringify(draft.base)],
      ["shown", draft.shown?.text ?? ""],
      ["shown_sha256", draft.shown?.sha256 ?? ""],
      ["form_version", draft.form_version],
      ["whole", "1"],
    ],
    visit: draft.visit,
    label,
    about,
    leadsTo: first(draft.fields, "outcome") === "all_done" ? "completed" : "partial",
    formVersion: draft.form_version,
    baseRevision: draft.base.revision,
    photos: draft.photos.map(({ sha256 }) => sha256),
    deviceAt: at,
  };
}

/**
 * The record's own fields as they will be sent, which is as the customer sees them.
 *
 * @param {Fields} fields
 * @param {{endedAt: string, phone: string}} known  the end of the service, when nobody typed one; the customer's contact phone
 * @returns {Fields}
 */
export function asSent(fields, { endedAt, phone }) {
  /** @type {Record<string, string>} */
  const known = { ended_at: first(fields, "ended_at") || endedAt, contact_phone: phone };
  return fields.map(([name, value]) => [name, known[name] ?? value]);
}

/**
 * @param {Draft} draft
 * @returns {Fields}
 */
function customersPart({ customer, given }) {
  const method = given?.method ?? "";
  return [
    ["customer_method", method],
    ["customer_strokes", method === "drawn" ? first(customer, "customer_strokes") : ""],
    ["customer_typed", method === "typed" ? first(customer, "customer_typed") : ""],
    ["customer_reason", method === "refused" || method === "absent" ? first(customer, "customer_reason") : ""],
    ["signer_name", first(customer, "signer_name")],
    ["skill_rating", first(customer, "skill_rating")],
    ["attitude_rating", first(customer, "attitude_rating")],
    ["customer_at", given?.at ?? ""],
  ];
}

/**
 * @param {Draft} draft
 * @param {string} at
 * @returns {Fields}
 */
function engineersPart({ engineer }, at) {
  const method = methodOf(engineer, "engineer");
  return [
    ["engineer_strokes", method === "drawn" ? first(engineer, "engineer_strokes") : ""],
    ["engineer_typed", method === "typed" ? first(engineer, "engineer_typed") : ""],
    ["engineer_at", at],
  ];
}
