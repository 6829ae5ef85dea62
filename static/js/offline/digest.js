/**
 * @param {ArrayBuffer | Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<string>} SHA-256 as 64 hexadecimal digits
 */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {ArrayBuffer} bytes
 * @returns {string}
 */
export function base64(bytes) {
  const all = new Uint8Array(bytes);
  let text = "";
  for (let at = 0; at < all.length; at += 32_766) text += String.fromCharCode(...all.subarray(at, at + 32_766));
  return btoa(text);
}

/**
 * @param {string} hex
 * @returns {string} the same bytes in base64, as `Content-Digest` writes them
 */
export function base64OfHex(hex) {
  return btoa(String.fromCharCode(...(hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16))));
}

/**
 * @param {Date} [date]
 * @returns {string} the time on this phone's clock with its offset: 2026-11-21T14:09:30.123+08:00
 */
export function localTime(date = new Date()) {
  const offset = -date.getTimezoneOffset();
  const there = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, -1);
  const two = (/** @type {number} */ number) => String(Math.floor(number)).padStart(2, "0");
  return `${there}${offset < 0 ? "-" : "+"}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
}
