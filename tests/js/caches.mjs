/** The browser's Cache API as far as the app uses it, for tests outside a browser. */
export class FakeCaches {
  #caches = new Map();

  constructor(origin) {
    this.origin = origin;
    this.fetch = globalThis.fetch;
  }

  async open(name) {
    if (!this.#caches.has(name)) this.#caches.set(name, new FakeCache(this));
    return this.#caches.get(name);
  }

  async keys() {
    return [...this.#caches.keys()];
  }

  async delete(name) {
    return this.#caches.delete(name);
  }

  async match(request, options) {
    for (const cache of this.#caches.values()) {
      const found = await cache.match(request, options);
      if (found) return found;
    }
    return undefined;
  }
}

class FakeCache {
  #kept = new Map();

  constructor(all) {
    this.all = all;
  }

  async put(request, response) {
    this.#kept.set(this.#url(request), response);
  }

  async match(request, { ignoreSearch = false } = {}) {
    const bare = (url) => (ignoreSearch ? url.split("?")[0] : url);
    const wanted = bare(this.#url(request));
    for (const [url, response] of this.#kept) if (bare(url) === wanted) return response.clone();
    return undefined;
  }

  async keys() {
    return [...this.#kept.keys()].map((url) => ({ url }));
  }

  async delete(request) {
    return this.#kept.delete(this.#url(request));
  }

  async addAll(urls) {
    for (const url of urls) await this.put(url, await this.all.fetch(url));
  }

  #url(request) {
    return new URL(request.url ?? request, this.all.origin).href;
  }
}
