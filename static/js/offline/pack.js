/**
 * The pack: the pages that an engineer needs without signal, laid into a cache of their own name. The office lists them with a digest
 * each; what changed is fetched, stored, read back and compared; what is no longer listed leaves, but for the page of a record that was
 * begun here. Only then is a visit "ready offline".
 */
import { hear } from "./channel.js";

const AT_ONCE = 4;
const EVERY_MS = 900_000;
const AT_MOST_EVERY_MS = 30_000;
const RETRY_MS = 10_000;
const PATIENCE_MS = 30_000;
const KEPT_HEADERS = ["Content-Type", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Permissions-Policy", "X-Fieldapp-Build", "X-Fieldapp-Page"];

/**
 * @typedef {{url: string, digest: string, first: boolean, visit: string | null, day: string | null}} Wanted
 * @typedef {{user: string, build: string, made_at: string, pages: Wanted[]}} List
 * @typedef {{at: string, build: string, whole: boolean, ready: string[]}} Laid  in meta under `pack`
 */

/** @param {import("./store.js").Store} store */
export function startPack(store) {
  if (!("caches" in globalThis)) return;
  let [last, wait] = [0, RETRY_MS];
  const refresh = async (/** @type {boolean} */ soon) => {
    if (document.hidden || (!soon && Date.now() - last < AT_MOST_EVERY_MS)) return;
    last = Date.now();
    const laid = await refreshPack(store).catch((error) => console.warn("the pack stays as it was", error));
    await showReady(store, document);
    if (laid?.whole) return void (wait = RETRY_MS);
    setTimeout(() => void refresh(true), wait); // something did not answer, or was busy
    wait = Math.min(wait * 2, EVERY_MS);
  };
  void showReady(store, document).then(() => refresh(false));
  whenScriptsCome(() => void showReady(store, document));
  hear(store.user, ({ type }) => type === "resumed" && void refresh(true));
  hear(store.user, async ({ type }) => type === "received" && (await isDrained(store)) && refresh(true));
  document.addEventListener("visibilitychange", () => void refresh(false));
  setInterval(() => void refresh(false), EVERY_MS);
}

/**
 * The service worker lays in the scripts of a build at its own pace, maybe after the pack.
 *
 * @param {() => void} show
 */
function whenScriptsCome(show) {
  void navigator.serviceWorker?.ready.then((registration) => {
    const follow = () => registration.installing?.addEventListener("statechange", show);
    registration.addEventListener("updatefound", follow);
    follow();
    show();
  });
}

/**
 * One page of the browser at a time does this; the others go without.
 *
 * @param {import("./store.js").Store} store
 * @param {{fetch?: typeof globalThis.fetch, thrifty?: boolean}} [edges]
 * @returns {Promise<Laid | null>} null when nothing was done
 */
export async function refreshPack(store, edges = {}) {
  const work = () => lay(store, edges);
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(`fieldapp-pack-${store.user}`, { ifAvailable: true }, (lock) => (lock ? work() : null)) : work();
}

/**
 * @param {import("./store.js").Store} store
 * @param {{fetch?: typeof globalThis.fetch, thrifty?: boolean}} edges
 * @returns {Promise<Laid | null>}
 */
async function lay(store, { fetch = globalThis.fetch, thrifty = isThrifty() }) {
  const list = await listed(store.user, fetch);
  if (!list) return null;
  const cache = await caches.open(`pack-${store.user}`);
  await leave(cache, list.pages, await begun(store));
  const queue = list.pages.filter(({ first }) => first || !thrifty);
  /** @type {Set<string>} */
  const kept = new Set();
  const silent = new AbortController();
  const worker = async () => {
    for (let page = queue.shift(); page && !silent.signal.aborted; page = queue.shift()) {
      const outcome = await keep(cache, page, list, fetch);
      if (outcome === "kept") kept.add(page.url);
      if (outcome === "silent") silent.abort();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const laid = { at: new Date().toISOString(), build: list.build, whole: queue.length === 0 && kept.size === list.pages.filter(({ first }) => first || !thrifty).length, ready: readyOf(list.pages, kept) };
  await store.put("meta", laid, "pack");
  return laid;
}

/**
 * @param {string} user
 * @param {typeof globalThis.fetch} fetch
 * @returns {Promise<List | null>} null unless it is ours and this person's
 */
async function listed(user, fetch) {
  const response = await asked(fetch, "/offline/pack", "application/json");
  if (!response?.ok || !(response.headers.get("Content-Type") ?? "").startsWith("application/json")) return null;
  const list = await response.json();
  return list?.user === user && Array.isArray(list.pages) ? list : null;
}

/**
 * @param {Cache} cache
 * @param {Wanted} page
 * @param {List} list  of another build a page would need scripts that are not here: while the office changes builds, its processes differ
 * @param {typeof globalThis.fetch} fetch
 * @returns {Promise<"kept" | "not now" | "silent">} kept: the page lies in the cache as it should, and was read there
 */
async function keep(cache, { url, digest, day }, { user, build }, fetch) {
  const before = await cache.match(url, { ignoreVary: true });
  if (before?.headers.get("X-Fieldapp-Digest") === digest) return "kept";
  const response = await asked(fetch, url, "text/html");
  if (!response) return "silent";
  const { status, headers: said } = response;
  if (status !== 200 || said.get("X-Fieldapp-Page") !== user || said.get("X-Fieldapp-Build") !== build) return "not now";
  const text = await response.text().catch(() => null);
  if (text === null) return "silent";
  const headers = new Headers({ "X-Fieldapp-Digest": digest, ...(day ? { "X-Fieldapp-Day": day } : {}) });
  for (const name of KEPT_HEADERS) if (response.headers.has(name)) headers.set(name, response.headers.get(name) ?? "");
  await cache.put(url, new Response(text, { headers }));
  const back = await cache.match(url, { ignoreVary: true });
  return back && (await back.text()) === text ? "kept" : "not now";
}

/**
 * Records begun here are finished on their page, whatever the office made of the visit meanwhile.
 *
 * @param {import("./store.js").Store} store
 * @returns {Promise<string[]>}
 */
async function begun(store) {
  const drafts = /** @type {import("./draft.js").Draft[]} */ (await store.all("drafts"));
  return drafts.filter(({ sent }) => !sent).map(({ visit }) => `/visits/${visit}/record`);
}

/**
 * @param {Cache} cache
 * @param {Wanted[]} pages
 * @param {string[]} others that stay as they are
 */
async function leave(cache, pages, others) {
  const wanted = new Set([...pages.map(({ url }) => url), ...others]);
  for (const request of await cache.keys()) {
    const { pathname, search } = new URL(request.url);
    if (!wanted.has(pathname + search)) await cache.delete(request, { ignoreVary: true });
  }
}

/**
 * @param {Wanted[]} pages
 * @param {Set<string>} kept
 * @returns {string[]} visits all of whose pages are here
 */
export function readyOf(pages, kept) {
  const missing = new Set(pages.filter(({ url }) => !kept.has(url)).map(({ visit }) => visit));
  return [...new Set(pages.flatMap(({ visit }) => (visit && !missing.has(visit) ? [visit] : [])))];
}

/**
 * The badge only where the pages still lie there, with the scripts of the build they were made for.
 *
 * @param {import("./store.js").Store} store
 * @param {Document} page
 */
export async function showReady(store, page) {
  const badges = /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-ready-offline]"));
  if (badges.length === 0) return;
  const laid = /** @type {Laid | undefined} */ (await store.get("meta", "pack"));
  const scripts = laid && (await caches.match(`/assets/${laid.build}/js/main.js`, { ignoreVary: true }));
  const cache = scripts && (await caches.open(`pack-${store.user}`));
  for (const badge of badges) {
    const visit = badge.dataset.readyOffline ?? "";
    badge.hidden = !cache || !laid.ready.includes(visit) || !(await cache.match(`/visits/${visit}`, { ignoreVary: true }));
  }
}

/**
 * @param {typeof globalThis.fetch} fetch
 * @param {string} url
 * @param {string} accept
 * @returns {Promise<Response | null>}
 */
async function asked(fetch, url, accept) {
  const init = { headers: { Accept: accept }, redirect: "manual", cache: "no-store", priority: "low", signal: AbortSignal.timeout(PATIENCE_MS) };
  return fetch(url, /** @type {RequestInit} */ (init)).catch(() => null);
}

/** @param {import("./store.js").Store} store */
async function isDrained(store) {
  return (await store.keys("sending")).length === 0;
}

/** Whether this person asked the phone to spare data. */
function isThrifty() {
  return Boolean(/** @type {any} */ (globalThis.navigator)?.connection?.saveData);
}
