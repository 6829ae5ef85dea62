/**
 * The line at the top that says how the phone and the office stand: all sent 14:09, 3 waiting, log in to send, needs attention.
 * Its words are attributes of `[data-sync-line]`; it links to the outbox.
 */
import { hear } from "./channel.js";
import { items } from "./outbox.js";
import { fateOf } from "./upload.js";
import { say, when } from "./words.js";

const NEW_FOR_MS = 300_000;
/** @type {Record<string, [tone: string, icon: string]>} */
const LOOKS = { sent: ["good", "sent"], waiting: ["warn", "wait"], offline: ["warn", "cloud-off"], login: ["warn", "login"], attention: ["bad", "alert"] };

/**
 * @param {import("./store.js").Store} store
 * @param {HTMLElement} line
 */
export function start(store, line) {
  const link = { paused: false, reached: true };
  let shown = 0;
  const show = async () => {
    const turn = (shown += 1);
    const [said, offset = 0] = await Promise.all([situation(store, link), store.get("meta", "offset_ms")]);
    if (turn === shown) tell(line, said, madeAt(document.body.dataset.renderedAt ?? "", Date.now() + offset));
  };
  hear(store.user, ({ type, reached }) => {
    if (["upload", "sending", "alive", "draft"].includes(type)) return;
    if (type === "paused") link.paused = true;
    if (type === "resumed" || type === "received") link.paused = false;
    if (type === "contact") link.reached = Boolean(reached);
    void show();
  });
  void show();
}

/**
 * @param {import("./store.js").Store} store
 * @param {{paused: boolean, reached: boolean}} link
 * @returns {Promise<{state: string, count: number, time: string}>}
 */
export async function situation(store, { paused, reached }) {
  const [listed, contact = 0] = await Promise.all([items(store), store.get("meta", "contact_at")]);
  const count = (/** @type {string} */ state) => listed.filter((item) => item.state === state).length;
  const [waiting, attention] = [count("waiting"), count("attention")];
  const photos = listed.filter(({ state }) => state === "received").flatMap((item) => item.photos);
  const { arrived, error } = await fateOf(store, photos);
  const open = waiting + photos.length - arrived;
  const last = Math.max(contact, ...listed.map(({ receipt }) => Date.parse(receipt?.at ?? "") || 0));
  const time = last ? when(last) : "";
  if (attention || error) return { state: "attention", count: attention || 1, time };
  if (open && paused) return { state: "login", count: open, time };
  if (open) return { state: reached ? "waiting" : "offline", count: open, time };
  return { state: "sent", count: 0, time };
}

/**
 * A page of the pack, or one that was left open, tells what was true when it was made.
 *
 * @param {string} renderedAt  by the office's clock
 * @param {number} now  by the same
 * @returns {string} when that was; empty for a page that is new
 */
export function madeAt(renderedAt, now) {
  return now - Date.parse(renderedAt) > NEW_FOR_MS ? when(renderedAt, new Date(now)) : "";
}

/**
 * @param {HTMLElement} line
 * @param {{state: string, count: number, time: string}} said
 * @param {string} made
 */
function tell(line, { state, count, time }, made) {
  if (state === "sent" && !time) return; // a phone that never spoke with the office claims nothing
  line.dataset.state = state;
  const [tone, icon] = LOOKS[state];
  line.dataset.tone = tone;
  const use = line.querySelector("use");
  use?.setAttribute("href", `${use.getAttribute("href")?.split("#")[0]}#${icon}`);
  const words = line.querySelector("[data-words]");
  const sentence = say(line.dataset[state], { count, time }) + (made ? ` · ${say(line.dataset.made, { time: made })}` : "");
  if (words && words.textContent !== sentence) words.textContent = sentence;
}
