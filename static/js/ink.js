/**
 * A drawn signature as numbers that do not depend on the screen: whole numbers only, because they are hashed as canonical JSON.
 * Lengths are in ten-thousandths of the pad's width, times in milliseconds since the first touch.
 *
 * @typedef {[x: number, y: number, t: number]} Point
 * @typedef {{v: 1, w: number, h: number, strokes: Point[][]}} Ink  w and h: the pad's size in CSS pixels
 * @typedef {{points: {x: number, y: number, time: number, pressure: number}[]}} Group  a stroke as signature_pad keeps it
 */

export const SCALE = 10_000;
/** The pad is always twice as wide as high (60-signature.css), so a turned phone shows the whole drawing. */
export const RATIO = 2;

/* The server refuses below the same numbers: a dot or a short line is no signature. */
const LEAST_LENGTH = 0.15 * SCALE;
const LEAST_WIDTH = 0.08 * SCALE;
const LEAST_HEIGHT = 0.04 * SCALE;

/**
 * @param {readonly Group[]} groups
 * @param {number} width  of the pad they were drawn on, in CSS pixels
 * @returns {Ink}
 */
export function inkOf(groups, width) {
  const begin = groups[0]?.points[0]?.time ?? 0;
  const strokes = groups.map(({ points }) =>
    points.map(({ x, y, time }) => /** @type {Point} */ ([
      within(x / width, 1),
      within(y / width, 1 / RATIO),
      Math.max(0, Math.round(time - begin)),
    ])),
  );
  return { v: 1, w: Math.round(width), h: Math.round(width / RATIO), strokes: strokes.filter((stroke) => stroke.length > 0) };
}

/**
 * @param {Ink} ink
 * @param {number} width  of the pad to draw on, in CSS pixels
 * @returns {Group[]}
 */
export function groupsOf(ink, width) {
  return ink.strokes.map((stroke) => ({
    points: stroke.map(([x, y, time]) => ({ x: (x / SCALE) * width, y: (y / SCALE) * width, time, pressure: 0.5 })),
  }));
}

/**
 * Ink from a stored value; an empty pad when the value is not one of ours.
 *
 * @param {string} text
 * @returns {Ink}
 */
export function readInk(text) {
  try {
    const ink = JSON.parse(text);
    if (ink?.v === 1 && Array.isArray(ink.strokes)) return ink;
  } catch {
    // no ink yet, or damaged: an empty pad asks for a new signature
  }
  return { v: 1, w: 0, h: 0, strokes: [] };
}

/**
 * @param {Ink} ink
 * @returns {boolean} whether the drawing is long and large enough to be somebody's name
 */
export function enough({ strokes }) {
  const points = strokes.flat();
  return (
    strokes.reduce((sum, stroke) => sum + lengthOf(stroke), 0) >= LEAST_LENGTH &&
    extent(points.map(([x]) => x)) >= LEAST_WIDTH &&
    extent(points.map(([, y]) => y)) >= LEAST_HEIGHT
  );
}

/** @param {Point[]} stroke */
function lengthOf(stroke) {
  let sum = 0;
  for (let i = 1; i < stroke.length; i += 1) {
    const [[x, y], [fromX, fromY]] = [stroke[i], stroke[i - 1]];
    sum += Math.hypot(x - fromX, y - fromY);
  }
  return sum;
}

/** @param {number[]} values */
function extent(values) {
  const [low, high] = values.reduce(([l, h], value) => [Math.min(l, value), Math.max(h, value)], [Infinity, -Infinity]);
  return high - low;
}

/**
 * A pen that slips over the edge stays on the paper.
 *
 * @param {number} share
 * @param {number} most
 */
function within(share, most) {
  return Math.round(Math.min(Math.max(share, 0), most) * SCALE);
}
