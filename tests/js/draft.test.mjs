import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Farewell, newest, overtaken, Pen, Saver } from "../../static/js/offline/draft.js";

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
});

/** A disk that finishes a writing when told to, and a line that remembers what it showed. */
function disk() {
  const writes = [];
  const shown = [];
  const save = () => new Promise((done, fail) => writes.push({ done, fail }));
  return { writes, shown, saver: new Saver({ save, show: (state) => shown.push(state) }) };
}

const settled = () => new Promise((done) => setImmediate(done));

test("a change is written 300 ms after the last key", async () => {
  const { saver, writes } = disk();

  saver.change();
  mock.timers.tick(200);
  saver.change();
  mock.timers.tick(299);
  await settled();
  assert.equal(writes.length, 0);
  mock.timers.tick(1);
  await settled();

  assert.equal(writes.length, 1);
});

test("a person who never pauses is written after a second", async () => {
  const { saver, writes } = disk();

  for (let at = 0; at < 1_000; at += 100) {
    saver.change();
    mock.timers.tick(100);
  }
  await settled();

  assert.equal(writes.length, 1);
});

test("saved is said when the writing is over, not before, and not while something newer waits", async () => {
  const { saver, writes, shown } = disk();
  saver.change();
  saver.flush();
  await settled();
  assert.deepEqual(shown, ["saving"]);

  saver.change();
  writes[0].done();
  await settled();
  assert.deepEqual(shown, ["saving", "saving"]);
  saver.flush();
  await settled();
  writes[1].done();
  await settled();

  assert.deepEqual(shown, ["saving", "saving", "saved"]);
});

test("one writing at a time: what was typed meanwhile follows", async () => {
  const { saver, writes } = disk();
  saver.change();
  saver.flush();
  saver.change();
  saver.flush();
  await settled();
  assert.equal(writes.length, 1);

  writes[0].done();
  await settled();

  assert.equal(writes.length, 2);
});

test("a flush with nothing new waits for the writing under way", async () => {
  const { saver, writes } = disk();
  saver.change();
  saver.flush();
  let over = false;
  saver.flush().then(() => (over = true));
  await settled();
  assert.equal(over, false);

  writes[0].done();
  await settled();

  assert.equal(over, true);
});

test("a writing that fails is said and tried again", async () => {
  const { saver, writes, shown } = disk();
  saver.change();
  saver.flush();
  await settled();

  writes[0].fail(new Error("full"));
  await settled();
  assert.deepEqual(shown, ["saving", "failed"]);
  assert.equal(saver.dirty, true);
  mock.timers.tick(5_000);
  await settled();
  writes[1].done();
  await settled();

  assert.deepEqual(shown, ["saving", "failed", "saved"]);
});

test("work that writes the draft itself has its turn, and its failure is its own", async () => {
  const { saver, writes } = disk();
  saver.change();
  saver.flush();
  const order = [];
  const first = saver.alone(async () => order.push("photo"));
  const second = saver.alone(() => Promise.reject(new Error("no room")));
  await settled();
  assert.deepEqual(order, []);

  writes[0].done();
  await first;
  await assert.rejects(second, /no room/);

  assert.deepEqual(order, ["photo"]);
  assert.equal(await saver.alone(async () => "next"), "next");
});

test("nothing is written after the record was sent", async () => {
  const { saver, writes, shown } = disk();
  saver.change();
  saver.stop();
  mock.timers.tick(2_000);
  saver.change();
  saver.flush();
  await settled();

  assert.equal(writes.length, 0);
  assert.deepEqual(shown, ["saving"]);
});

// ---- one page writes --------------------------------------------------------------------------------

/** Web Locks as a browser has them, for one name. */
class Locks {
  holder = null;
  waiting = [];

  request(_name, options, work) {
    return new Promise((done, fail) => {
      const asked = { work, done, fail };
      if (options.steal) {
        this.holder?.fail(new DOMException("stolen", "AbortError"));
        return this.grant(asked);
      }
      if (options.ifAvailable && this.holder) return Promise.resolve(work(null)).then(done);
      options.signal?.addEventListener("abort", () => {
        if (this.holder === asked) return;
        this.waiting = this.waiting.filter((each) => each !== asked);
        fail(new DOMException("waited", "AbortError"));
      });
      if (this.holder) this.waiting.push(asked);
      else this.grant(asked);
    });
  }

  grant(asked) {
    this.holder = asked;
    Promise.resolve(asked.work({})).then(() => {
      if (this.holder !== asked) return;
      this.holder = null;
      asked.done();
      const next = this.waiting.shift();
      if (next) this.grant(next);
    });
  }
}

/** @param {Locks} locks */
function pages(locks) {
  const lost = [];
  return { lost, one: new Pen("draft", () => lost.push("one"), locks), other: new Pen("draft", () => lost.push("other"), locks) };
}

test("the second page cannot write, and can when the first has closed", async () => {
  const { one, other, lost } = pages(new Locks());
  assert.equal(await one.take(), true);
  const asked = other.take();
  await settled();
  mock.timers.tick(600);
  assert.equal(await asked, false);
  assert.deepEqual([one.held, other.held], [true, false]);

  one.letGo();
  await settled();

  assert.equal(await other.take(), true);
  assert.deepEqual(lost, []);
});

test("a page that is loaded again waits a moment for itself", async () => {
  const { one, other } = pages(new Locks());
  await one.take();
  const asked = other.take();
  await settled();

  one.letGo();

  assert.equal(await asked, true);
});

test("taking over is asked for first, and the first page is told nothing was stolen", async () => {
  const { one, other, lost } = pages(new Locks());
  await one.take();
  const taken = other.takeOver();
  await settled();

  one.letGo();

  assert.equal(await taken, true);
  assert.deepEqual(lost, []);
});

test("from a page that does not answer it is taken by force, and that page knows", async () => {
  const { one, other, lost } = pages(new Locks());
  await one.take();
  const taken = other.takeOver();
  await settled();
  mock.timers.tick(1_500);

  assert.equal(await taken, true);
  assert.deepEqual([one.held, other.held], [false, true]);
  assert.deepEqual(lost, ["one"]);
});

test("a browser without locks writes", async () => {
  const pen = new Pen("draft", () => undefined, null);

  assert.equal(await pen.take(), true);
  assert.equal(pen.held, true);
});

// ---- whose text is newer ------------------------------------------------------------------------------

test("a draft that the office has in full gives way to what the office changed since", () => {
  const copied = { revision: 4, changed: 12 };

  assert.equal(overtaken({ copied, changed: 12 }, 5), true);
  assert.equal(overtaken({ copied, changed: 12 }, 4), false);
  assert.equal(overtaken({ copied, changed: 13 }, 5), false, "something was written here that nobody else has");
  assert.equal(overtaken({ copied: null, changed: 13 }, 5), false);
  assert.equal(overtaken({ copied, changed: 12 }, null), false, "a page from before the record was begun");
});

// ---- last words -----------------------------------------------------------------------------------------

/** localStorage as browsers have it. */
function storage() {
  const kept = new Map();
  globalThis.localStorage = { getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text), removeItem: (name) => kept.delete(name) };
  return kept;
}

test("a page that goes says what the disk may not get any more, and it is heard once", () => {
  storage();
  const farewell = new Farewell("visit");
  farewell.say(7, { changed: 7, fields: [["cause", "电容老化"]] });

  assert.deepEqual(farewell.heard(), { changed: 7, draft: { changed: 7, fields: [["cause", "电容老化"]] } });
  assert.deepEqual(farewell.heard(), { changed: -1, draft: null });
});

test("a storage that is damaged or forbidden says nothing", () => {
  storage().set("visit", "{");
  assert.deepEqual(new Farewell("visit").heard(), { changed: -1, draft: null });
  globalThis.localStorage = { setItem: () => { throw new Error("full"); }, getItem: () => { throw new Error("forbidden"); } };

  new Farewell("visit").say(1, null);

  assert.deepEqual(new Farewell("visit").heard(), { changed: -1, draft: null });
});

test("of the disk and the last words the newer counts, and what was sent stays sent", () => {
  const kept = { changed: 4 };
  const last = { changed: 5 };

  assert.equal(newest(kept, last), last);
  assert.equal(newest(undefined, last), last);
  assert.equal(newest(kept, { changed: 4 }), kept);
  assert.equal(newest(kept, null), kept);
  const sent = { changed: 4, sent: "id" };
  assert.equal(newest(sent, last), sent);
});

test("busy means: not on the disk yet", async () => {
  const { saver, writes } = disk();
  assert.equal(saver.busy, false);
  saver.change();
  assert.equal(saver.busy, true);
  saver.flush();
  await settled();
  assert.deepEqual([saver.busy, saver.dirty], [true, false]);

  writes[0].done();
  await settled();

  assert.equal(saver.busy, false);
});
