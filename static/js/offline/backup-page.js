/**
 * The backup reminder is checked here before it is queued: without signal nobody else would say what is missing. Queueing it is the work of
 * every page (shell.js).
 */
import { methodOf, wrongInSignature } from "./check.js";
import { fieldsOf } from "./draft.js";
import { complain, sentencesOf } from "./places.js";

/** @param {HTMLFormElement} form */
export function start(form) {
  const sentence = sentencesOf(document);
  form.addEventListener("submit", (event) => {
    const chosen = event.submitter instanceof HTMLButtonElement && event.submitter.name === "backup_ack_method" ? event.submitter.value : "";
    for (const pad of form.querySelectorAll(".signature")) pad.dispatchEvent(new Event("collect"));
    const fields = fieldsOf(form);
    const wrong = wrongInSignature(fields, "backup_ack", methodOf(fields, "backup_ack", chosen));
    const errors = [...wrong].map(([name, code]) => /** @type {[string, string]} */ ([name, sentence(code)]));
    complain(form, errors, errors.length === 1 ? sentence("places_one") : sentence("places", { num: errors.length }));
    if (errors.length > 0) event.preventDefault();
  });
}
