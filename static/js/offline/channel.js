/**
 * News between the pages of one person: what was queued, received, needs attention. Everyone hears it, the page that tells it as well,
 * and the document gets it as the event `fieldapp:news`.
 *
 * @typedef {{type: "queued" | "sending" | "received" | "attention" | "again" | "paused" | "resumed" | "upload" | "alive" | "draft" | "wake" | "contact" | "logout",
 *   id?: string, visit?: string, [more: string]: unknown}} News
 */

/** @type {Map<string, Channel>} */
const channels = new Map();

class Channel {
  /** @param {string} user */
  constructor(user) {
    /** @type {Set<(news: News) => void>} */
    this.listeners = new Set();
    this.wire = typeof BroadcastChannel === "function" ? new BroadcastChannel(`fieldapp-${user}`) : null;
    this.wire?.addEventListener("message", ({ data }) => this.deliver(data));
    /** @type {any} */ (this.wire)?.unref?.(); // tests outside a browser end although it is open
  }

  /** @param {News} news */
  deliver(news) {
    for (const listener of this.listeners) listener(news);
    globalThis.document?.dispatchEvent(new CustomEvent("fieldapp:news", { detail: news }));
  }
}

/**
 * @param {string} user
 * @param {News} news
 */
export function tell(user, news) {
  const channel = channelOf(user);
  channel.wire?.postMessage(news);
  channel.deliver(news);
}

/**
 * @param {string} user
 * @param {(news: News) => void} listener
 * @returns {() => void} to stop hearing
 */
export function hear(user, listener) {
  const { listeners } = channelOf(user);
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {string} user */
function channelOf(user) {
  const channel = channels.get(user) ?? new Channel(user);
  channels.set(user, channel);
  return channel;
}
