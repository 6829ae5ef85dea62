/** One question to the office. It always answers, if only with status 0: no signal, no server, or not within its patience. */

export const PATIENCE_MS = 30_000;

/**
 * @param {string} url
 * @param {RequestInit} init
 * @param {{fetch?: typeof globalThis.fetch, patience?: number}} [edges]
 * @returns {Promise<import("../answer.js").Answer>}
 */
export async function ask(url, init, { fetch = globalThis.fetch, patience = PATIENCE_MS } = {}) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), patience);
  try {
    // A redirect leads to a log-in page or a captive portal, never to a receipt.
    const response = await fetch(url, { redirect: "manual", cache: "no-store", credentials: "same-origin", ...init, signal: late.signal });
    const { status, headers } = response;
    return { status: status || 302, type: headers.get("Content-Type") ?? "", text: await response.text(), headers };
  } catch {
    return { status: 0, type: "", text: "", headers: { get: () => null } };
  } finally {
    clearTimeout(timer);
  }
}
