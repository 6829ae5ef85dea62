/**
 * The dispatcher's board tells the states of its visits anew every half minute while somebody looks at it.
 * States come as JSON and are shown with the page's own badges; a changed plan is offered as a link, not forced.
 */

const EVERY_MS = 30_000;

/** @typedef {{id: string, status: string, late: string | null}} VisitState */
/** @typedef {{at: string, shape: string, visits: VisitState[]}} Answer */

const board = document.querySelector("[data-refresh]");
if (board instanceof HTMLElement) start(board);

/** @param {HTMLElement} board */
export function start(board) {
  const look = () => {
    if (document.visibilityState === "visible") void refresh(board);
  };
  setInterval(look, EVERY_MS);
  document.addEventListener("visibilitychange", look);
}

/** @param {HTMLElement} board */
async function refresh(board) {
  try {
    const response = await fetch(board.dataset.states ?? "", { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    show(board, /** @type {Answer} */ (await response.json()));
  } catch {
    warn(board, true);
  }
}

/**
 * @param {HTMLElement} board
 * @param {Answer} answer
 */
function show(board, answer) {
  for (const visit of answer.visits) {
    const slot = board.querySelector(`.slot[data-visit-id="${CSS.escape(visit.id)}"]`);
    if (slot instanceof HTMLElement) tell(board, slot, visit);
  }
  const changed = board.querySelector("[data-changed]");
  if (changed instanceof HTMLElement) changed.hidden = answer.shape === board.dataset.shape;
  warn(board, false);
  const at = board.querySelector("[data-at]");
  if (at) at.textContent = answer.at;
}

/**
 * @param {HTMLElement} board
 * @param {HTMLElement} slot
 * @param {VisitState} visit
 */
function tell(board, slot, visit) {
  if (slot.dataset.status !== visit.status) {
    slot.dataset.status = visit.status;
    const badge = badgeFor(board, visit.status);
    if (badge) slot.querySelector("[data-badge]")?.replaceChildren(badge);
  }
  const late = slot.querySelector("[data-late]");
  const words = late?.querySelector("span");
  if (!(late instanceof HTMLElement) || !words) return;
  late.hidden = !visit.late;
  words.textContent = visit.late ?? "";
}

/**
 * @param {HTMLElement} board
 * @param {string} status
 */
function badgeFor(board, status) {
  const all = board.querySelector("template[data-badges]");
  if (!(all instanceof HTMLTemplateElement)) return null;
  const found = all.content.querySelector(`[data-for="${CSS.escape(status)}"] > *`);
  return found ? document.importNode(found, true) : null;
}

/**
 * @param {HTMLElement} board
 * @param {boolean} old
 */
function warn(board, old) {
  const words = board.querySelector("[data-old]");
  if (words instanceof HTMLElement) words.hidden = !old;
}
