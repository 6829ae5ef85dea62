/**
 * What an answer of the office means. Only our own JSON counts: a captive portal answers 200 with a page, a log-in with a redirect.
 *
 * @typedef {{state: "received", body: Record<string, unknown>}} Received
 * @typedef {{state: "logged-out" | "again" | "refused", sentence: string}} NotReceived
 */

const AGAIN = new Set([408, 425, 429]);

/**
 * @param {number} status  0 when nothing answered
 * @param {string} type  the Content-Type
 * @param {string} text  the body
 * @returns {Received | NotReceived}
 */
export function meaning(status, type, text) {
  const body = type.startsWith("application/json") ? parsed(text) : null;
  const sentence = typeof body?.message === "string" ? body.message : "";
  if (body && status >= 200 && status < 300) return { state: "received", body };
  if (status === 401) return { state: "logged-out", sentence };
  const ours = body !== null && status >= 400 && status < 500;
  if (!ours || AGAIN.has(status) || body.error === "in_progress") return { state: "again", sentence };
  return { state: "refused", sentence };
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
