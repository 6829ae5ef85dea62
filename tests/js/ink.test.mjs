import assert from "node:assert/strict";
import { test } from "node:test";
import { enough, groupsOf, inkOf, readInk, SCALE } from "../../static/js/ink.js";

/** @param {[number, number][]} points in pixels */
const group = (...points) => ({ points: points.map(([x, y], i) => ({ x, y, time: 5_000 + i * 16, pressure: 0.5 })) });

test("a stroke becomes whole numbers that do not depend on the pad's width", () => {
  const small = inkOf([group([30, 30], [150, 75.3])], 300);
  const large = inkOf([group([60, 60], [300, 150.6])], 600);

  assert.deepEqual(small.strokes, [[[1000, 1000, 0], [5000, 2510, 16]]]);
  assert.deepEqual(large.strokes, small.strokes);
  assert.deepEqual([small.v, small.w, small.h], [1, 300, 150]);
  assert.ok(small.strokes.flat(2).every(Number.isInteger));
});

test("a pen that leaves the paper stays at its edge", () => {
  const { strokes } = inkOf([group([-20, 10], [320, 500])], 300);

  assert.deepEqual(strokes, [[[0, 333, 0], [SCALE, SCALE / 2, 16]]]);
});

test("ink drawn upright is found again on a turned phone", () => {
  const ink = inkOf([group([30, 30], [150, 75])], 300);

  const [turned] = groupsOf(ink, 600);

  assert.deepEqual(turned.points.map(({ x, y }) => [x, y]), [[60, 60], [300, 150]]);
  assert.deepEqual(inkOf([turned], 600).strokes, ink.strokes);
});

test("a name is enough; a dot, a short line, a flat line and nothing are not", () => {
  const named = inkOf([group([30, 40], [60, 90], [90, 40], [130, 80])], 300);

  assert.equal(enough(named), true);
  assert.equal(enough(inkOf([group([50, 50])], 300)), false);
  assert.equal(enough(inkOf([group([50, 50], [70, 60])], 300)), false);
  assert.equal(enough(inkOf([group([50, 50], [250, 52])], 300)), false);
  assert.equal(enough(inkOf([], 300)), false);
});

test("the limits are those of the server: 15 % length, 8 % by 4 % box", () => {
  const ink = (...points) => ({ v: 1, w: 300, h: 150, strokes: [points.map(([x, y], i) => [x, y, i])] });

  assert.equal(enough(ink([0, 0], [800, 400], [0, 0])), true);
  assert.equal(enough(ink([0, 0], [799, 400], [0, 0])), false);
  assert.equal(enough(ink([0, 0], [800, 399], [0, 0])), false);
  assert.equal(enough(ink([0, 0], [1300, 700])), false);
});

test("a stored value that is not ours leaves an empty pad", () => {
  for (const text of ["", "{", "null", '{"v":2,"strokes":[]}', '{"v":1}']) assert.deepEqual(readInk(text).strokes, []);
  assert.deepEqual(readInk('{"v":1,"w":3,"h":2,"strokes":[[[1,2,3]]]}').strokes, [[[1, 2, 3]]]);
});
