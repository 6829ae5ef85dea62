/** An office for the tests of the queue: it keeps what it got, and answers as the next test wants. */
import "fake-indexeddb/auto";
import { createHash } from "node:crypto";
import { Store } from "../../static/js/offline/store.js";

export const sha = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");
export const json = (status, body, headers = {}) => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
export const settled = () => new Promise((done) => setImmediate(done));

/** Wait for something that other pages do meanwhile. */
export async function until(condition) {
  for (let i = 0; i < 5_000; i += 1) {
    if (await condition()) return;
    await settled();
  }
  throw new Error(`never came true: ${condition}`);
}

let users = 0;
/** @returns {Promise<Store>} of a new person */
export const newStore = () => Store.open(`user-${process.pid}-${(users += 1)}`);

export class Office {
  constructor(user) {
    this.user = user;
    this.server = "server-1";
    this.epoch = 1;
    this.received = []; // {id, path, body, headers} in the order of arrival, each id once
    this.requests = []; // everything that was asked, as "POST /path"
    this.contacts = [];
    this.photos = new Map(); // sha256 → Buffer of what has come
    this.answers = []; // for the next items: a function of the request, instead of a receipt
    this.toContact = null;
    this.toPhoto = null;
    this.fetch = (url, init) => this.answer(url, init);
  }

  async answer(url, init) {
    this.requests.push(`${init.method} ${url}`);
    if (url === "/offline/contact") return this.contact(init);
    if (url.startsWith("/photos/")) return this.photo(url.slice(8), init);
    const special = this.answers.shift();
    const said = special ? await special({ url, ...init }) : undefined;
    return said ?? this.receive(url, init);
  }

  receive(path, { headers, body }) {
    const id = headers["Idempotency-Key"];
    const replayed = this.received.some((known) => known.id === id);
    if (!replayed) this.received.push({ id, path, headers, body: new TextDecoder().decode(body) });
    return json(200, this.receipt(id, body, { replayed }));
  }

  receipt(id, body, more = {}) {
    const now = new Date().toISOString();
    return { submission_id: id, body_sha256: sha(body), received_at: now, outcome: "applied", sentence: "", server: this.server, epoch: this.epoch, ...more };
  }

  contact({ body }) {
    this.contacts.push(Object.fromEntries(body));
    return this.toContact?.() ?? json(200, { server: this.server, epoch: this.epoch, now: new Date().toISOString(), user: this.user, lock: null });
  }

  photo(name, init) {
    const special = this.toPhoto?.(name, init);
    if (special) return special;
    const have = this.photos.get(name) ?? Buffer.alloc(0);
    if (init.method === "HEAD") {
      const complete = this.photos.has(name) && sha(have) === name;
      return new Response(null, { status: 200, headers: { "Upload-Offset": String(have.length), "Upload-Complete": complete ? "?1" : "?0" } });
    }
    if (Number(init.headers["Upload-Offset"]) !== have.length) return json(409, { error: "offset", offset: have.length });
    return this.keep(name, Buffer.concat([have, Buffer.from(init.body)]), Number(init.headers["Upload-Length"]));
  }

  keep(name, now, length) {
    this.photos.set(name, now);
    if (now.length === length && sha(now) !== name) {
      this.photos.delete(name);
      return json(422, { error: "digest_mismatch", message: "Not what was sent." });
    }
    return json(200, { sha256: name, offset: now.length, length, complete: now.length === length, server: this.server });
  }
}

/** Web Locks of one browser: `tab()` is the LockManager of a page that can die. */
export class Locks {
  #queue = [];
  #holder = null;

  tab() {
    const page = { alive: true };
    return {
      request: (name, ...rest) => this.#request(page, rest.length > 1 ? rest[0] : {}, rest.at(-1)),
      die: () => {
        page.alive = false;
        this.#queue = this.#queue.filter((waiting) => waiting.page !== page);
        if (this.#holder?.page === page) this.#release(this.#holder);
      },
    };
  }

  #request(page, { signal, steal = false }, work) {
    return new Promise((done, failed) => {
      const request = { page, work, done, failed };
      signal?.addEventListener("abort", () => {
        this.#queue = this.#queue.filter((waiting) => waiting !== request);
        failed(new DOMException("", "AbortError"));
      });
      if (steal && this.#holder) {
        this.#holder.failed(new DOMException("", "AbortError"));
        this.#holder = null;
        this.#queue.unshift(request);
      } else this.#queue.push(request);
      this.#next();
    });
  }

  #next() {
    if (this.#holder) return;
    const request = this.#queue.shift();
    if (!request) return;
    this.#holder = request;
    Promise.resolve()
      .then(() => request.work({}))
      .then(request.done, request.failed)
      .finally(() => this.#release(request));
  }

  #release(request) {
    if (this.#holder !== request) return;
    this.#holder = null;
    this.#next();
  }
}
