/**
 * Pages without signal. Assets of this build are taken along at once; pages come from the network first and, when nothing answers
 * within three seconds, from the pack that offline/pack.js has laid in for this person. Only looking: whatever writes passes by.
 *
 * The server fills in BUILD and FILES (fieldapp/shell.py). One classic script without imports, so that older phones run it, too.
 */
"use strict";

const BUILD = "%BUILD%";
const FILES = "%FILES%".split(" ");
const WAIT_MS = 3_000;
const PATIENCE_MS = 30_000; // for a page that is not here; a dead line would otherwise show nothing for minutes
const BUILDS_KEPT = 3; // pages of an older build that are still open load their modules late
const PACK = "pack-";
const ASSETS = "assets-";
const OFFLINE = "/offline";
const SAME = { ignoreVary: true };
const STEP = /^\/visits\/[^/]+(?=\/(?:acceptance|departure|arrival|start|resumption)$)/; // nothing is typed for these
let newcomer = false; // somebody logged in: until the office says who, nobody's pack is shown

const worker = /** @type {any} */ (self);

worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
worker.addEventListener("message", (/** @type {any} */ { data }) => data?.type === "skip-waiting" && worker.skipWaiting());
worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== worker.location.origin) return;
  if (request.method === "POST" && request.mode === "navigate" && url.pathname === "/logout") event.waitUntil(forgetPages(""));
  if (request.method === "POST" && request.mode === "navigate" && url.pathname === "/login") event.respondWith(loggingIn(request));
  if (request.method === "POST" && request.mode === "navigate" && STEP.test(url.pathname)) event.respondWith(posted(request, url));
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(page(event, request, url));
  else if (url.pathname.startsWith("/assets/")) event.respondWith(asset(request));
});

// ---- life of the worker

/** All files of this build or none. The page for no connection without cookies: it must be nobody's. */
async function install() {
  const cache = await caches.open(ASSETS + BUILD);
  const offline = await fetch(OFFLINE, { credentials: "omit", cache: "no-store" });
  if (!offline.ok || offline.headers.get("X-Fieldapp-Build") !== BUILD) throw new Error("the server has another build by now");
  await cache.addAll(FILES.map((name) => `/assets/${BUILD}/${name}`));
  await cache.put(OFFLINE, offline);
}

async function activate() {
  const builds = (await caches.keys()).filter((name) => name.startsWith(ASSETS) && name !== ASSETS + BUILD);
  await Promise.all(builds.slice(0, Math.max(0, builds.length - BUILDS_KEPT + 1)).map((name) => caches.delete(name)));
  await worker.clients.claim();
}

// ---- answers

/** @param {Request} request */
async function asset(request) {
  return (await caches.match(request, SAME)) ?? fetch(request);
}

/**
 * @param {any} event
 * @param {Request} request
 * @param {URL} url
 */
async function page(event, request, url) {
  const user = await owner();
  const elsewhere = user ? detour(url.pathname, await lockOf(user)) : null;
  if (elsewhere) return Response.redirect(new URL(elsewhere, url).href, 302);
  const kept = user ? await fromPack(user, url) : undefined;
  const fresh = fetch(request).then((answer) => (kept ? whole(answer) : answer)).catch(() => undefined);
  const first = await Promise.race([fresh, pause(kept && !newcomer ? WAIT_MS : PATIENCE_MS)]);
  if (!first && user) event.waitUntil(fresh.then((late) => late && showItsOwner(user, late)));
  if (first && (!kept || (isOurs(first) && !(await holdsDraft(user, url, first))))) return await forItsOwner(first);
  if (newcomer) return await noConnection(null);
  return kept ?? (await noConnection(user));
}

/**
 * Who the office lets in is told by the next page only, for the answer itself is a redirect that nobody here can read. A log-in that reaches
 * nobody, or is refused, changes nothing.
 *
 * @param {Request} request
 */
async function loggingIn(request) {
  try {
    const answer = await fetch(request);
    newcomer ||= answer.type === "opaqueredirect";
    return answer;
  } catch {
    return noConnection(await owner());
  }
}

/**
 * A page whose line breaks half way is no answer while a whole one lies here: its end has the buttons.
 *
 * @param {Response} response
 * @returns {Promise<Response>} when all of it has come
 */
async function whole(response) {
  if (response.body) await response.clone().arrayBuffer();
  return response;
}

/**
 * A step that the browser itself sends, because it was tapped before the page was ready: where nobody answers, the visit's page comes
 * back as it was, to be tapped again. A form with something typed in it is left to the browser, which gives it back.
 *
 * @param {Request} request
 * @param {URL} url
 */
function posted(request, url) {
  return fetch(request).catch(() => Response.redirect(new URL(STEP.exec(url.pathname)?.[0] ?? "/", url).href, 303));
}

/**
 * An answer of the office that is worth more than the page on the phone. A captive portal's 200 is none, nor is a proxy's 502;
 * a redirect does not say whose it is, and is followed.
 *
 * @param {Response} response
 */
function isOurs(response) {
  return response.type === "opaqueredirect" || (response.status < 500 && response.headers.has("X-Fieldapp-Build"));
}

/**
 * The office refuses the form of a visit that it gave to somebody else, but what was begun here is still finished and sent from it.
 *
 * @param {string | null} user
 * @param {URL} url
 * @param {Response} response
 */
async function holdsDraft(user, { pathname }, { status }) {
  const visit = /^\/visits\/([^/]+)\/record$/.exec(pathname)?.[1];
  if (!user || !visit || (status !== 404 && status !== 409)) return false;
  const draft = await keptIn(user, "drafts", `visit:${visit}`);
  return Boolean(draft) && !draft.sent;
}

/**
 * When this browser is somebody else's by now, the pages of the person before go at once.
 *
 * @param {Response} response
 */
async function forItsOwner(response) {
  const user = response.headers.get("X-Fieldapp-Page");
  if (user) {
    newcomer = false;
    await forgetPages(user);
  }
  return response;
}

/**
 * An answer that came after the pack's page was shown, and says that this browser is somebody else's: that page goes.
 *
 * @param {string} user  whose page is shown
 * @param {Response} late
 */
async function showItsOwner(user, late) {
  const other = late.headers.get("X-Fieldapp-Page");
  if (!other || other === user) return;
  await forItsOwner(late);
  const windows = await worker.clients.matchAll({ type: "window" });
  await Promise.all(windows.map((/** @type {any} */ each) => each.navigate(each.url).catch(() => undefined)));
}

/** @param {string} user  whose pages stay */
async function forgetPages(user) {
  const others = (await caches.keys()).filter((name) => name.startsWith(PACK) && name !== PACK + user);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/**
 * Where a navigation goes instead while a customer holds the phone; null when it may go on.
 *
 * @param {string} path
 * @param {string} locked  the only page that this browser may show now, or empty
 */
function detour(path, locked) {
  return !locked || path === locked || path === "/login" || path === "/taking-back" ? null : locked;
}

/**
 * The page of the pack. "/" was laid in on some day: on another day that day's page is the right one.
 *
 * @param {string} user
 * @param {URL} url
 */
async function fromPack(user, { pathname, search }) {
  const cache = await caches.open(PACK + user);
  const kept = await cache.match(pathname + search, SAME);
  const day = kept?.headers.get("X-Fieldapp-Day");
  if (pathname === "/" && !search && day && day !== today()) return (await cache.match(`/?day=${today()}`, SAME)) ?? kept;
  return kept ?? (pathname.startsWith("/visits/") ? cache.match(pathname, { ...SAME, ignoreSearch: true }) : undefined);
}

/** @param {string | null} user */
async function noConnection(user) {
  const own = user ? await (await caches.open(PACK + user)).match(OFFLINE, SAME) : undefined;
  return own ?? (await caches.match(OFFLINE, SAME)) ?? Response.error();
}

// ---- who and when

/** The person whose pages are on this phone. */
async function owner() {
  const names = await caches.keys();
  return names.find((name) => name.startsWith(PACK))?.slice(PACK.length) ?? null;
}

function today() {
  const now = new Date();
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => {
    setTimeout(done, ms);
  });
}

/**
 * The page to which offline/lock.js has locked this browser, or empty.
 *
 * @param {string} user
 * @returns {Promise<string>}
 */
async function lockOf(user) {
  return (await keptIn(user, "meta", "lock"))?.path ?? "";
}

/**
 * What the database of this person has there (offline/store.js); undefined without one: it is not made here.
 *
 * @param {string} user
 * @param {string} store
 * @param {string} key
 * @returns {Promise<any>}
 */
function keptIn(user, store, key) {
  return new Promise((done) => {
    const opening = indexedDB.open(`fieldapp-${user}`);
    opening.onupgradeneeded = () => opening.transaction?.abort();
    opening.onerror = (event) => (event.preventDefault(), done(undefined));
    opening.onsuccess = () => {
      const db = opening.result;
      db.onversionchange = () => db.close();
      try {
        const asked = db.transaction(store).objectStore(store).get(key);
        asked.onsuccess = () => done(asked.result);
        asked.onerror = () => done(undefined);
        asked.transaction?.addEventListener("complete", () => db.close());
      } catch {
        db.close();
        done(undefined);
      }
    };
  });
}
