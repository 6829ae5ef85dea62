/**
 * What an answer of the office means. Only our own JSON counts: a captive portal answers 200 with a page, a log-in with a redirect.
 *
 * @typedef {{status: number, type: string, text: string, headers: {get: (name: string) => string | null}}} Answer  status 0: nothing answered
 * @typedef {{state: "received", receipt: any} | {state: "logged-out"} | {state: "again", wait: number | null}
 *   | {state: "refused", code: string, sentence: string}} Verdict  wait in ms, where the office asked for it
 */

const AGAIN = new Set([408, 425, 429]);
const LONGEST_WAIT_MS = 3_600_000;

/**
 * What an answer means for something that waits in the queue. Received is only what comes back with its own id and hash, from a server
 * that says which it is: everything else that looks like success is somebody else's success.
 *
 * @param {Answer} answer
 * @param {(body: Record<string, unknown>) => boolean} isReceipt
 * @returns {Verdict}
 */
export function verdict({ status, type, text, headers }, isReceipt) {
  const body = type.startsWith("application/json") ? parsed(text) : null;
  if ((status === 200 || status === 201) && body && isReceipt(body)) return { state: "received", receipt: body };
  if (status === 401) return { state: "logged-out" };
  const code = typeof body?.error === "string" ? body.error : "";
  const forGood = status >= 400 && status < 500 && !AGAIN.has(status) && code !== "in_progress";
  if (forGood && (code || status === 413)) return { state: "refused", code, sentence: typeof body?.message === "string" ? body.message : "" };
  return { state: "again", wait: status >= 400 ? asked(headers) : null };
}

/**
 * @param {Record<string, unknown>} body
 * @param {{id: string, sha256: string}} item
 */
export function isReceiptOf(body, { id, sha256 }) {
  const signed = typeof body.server === "string" && body.server && typeof body.received_at === "string" && body.received_at;
  return Boolean(signed) && body.submission_id === id && body.body_sha256 === sha256;
}

/**
 * @param {Answer["headers"]} headers
 * @returns {number | null} ms that `Retry-After` asks for: seconds, or a date by the office's own clock. "At once" asks for nothing: a
 *   phone that obeyed it would ask without a pause until its battery is empty
 */
function asked(headers) {
  const text = headers.get("Retry-After") ?? "";
  const date = Date.parse(text) - Date.parse(headers.get("Date") ?? "");
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : date;
  return wait > 0 ? Math.min(wait, LONGEST_WAIT_MS) : null;
}

/**
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
function parsed(text) {
  try {
    const body = JSON.parse(text);
    return typeof body === "object" && body !== null && !Array.isArray(body) ? body : null;
  } catch {
    return null;
  }
}
