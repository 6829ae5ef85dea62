"""A drawn signature: whole numbers in ten-thousandths of the pad's width, checked, and made into a picture.

The phone refuses below the same numbers: a dot or a short line is no signature.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw

from fieldapp.errors import Invalid
from fieldapp.i18n import _

SCALE = 10_000
LEAST_LENGTH = 0.15 * SCALE
LEAST_WIDTH = 0.08 * SCALE
LEAST_HEIGHT = 0.04 * SCALE
MOST_POINTS = 20_000
MOST_STROKES = 400
PICTURE_WIDTH = 720  # pixels; a signature place is 60 mm wide on paper, so about 300 dots an inch
PEN = 6  # pixels, before halving

Stroke = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Ink:
    """Strokes of (x, y, ms) points, in the order they were drawn."""

    strokes: list[Stroke]

    @property
    def points(self) -> int:
        return sum(len(stroke) for stroke in self.strokes)

    @property
    def length(self) -> float:
        """The way of the pen, in ten-thousandths of the pad's width."""
        return sum(math.dist(a[:2], b[:2]) for stroke in self.strokes for a, b in pairwise(stroke))

    @property
    def duration_ms(self) -> int:
        times = [point[2] for stroke in self.strokes for point in stroke]
        return max(times) - min(times) if times else 0

    @property
    def box(self) -> tuple[int, int, int, int]:
        xs = [point[0] for stroke in self.strokes for point in stroke]
        ys = [point[1] for stroke in self.strokes for point in stroke]
        return min(xs), min(ys), max(xs), max(ys)

    def as_text(self) -> str:
        """The strokes as JSON text, to keep."""
        return json.dumps({"v": 1, "strokes": self.strokes}, separators=(",", ":"))


def read(text: str) -> Ink:
    """The ink of a submitted pad (raises Invalid when it is none, or too little to be a signature)."""
    ink = Ink(_strokes(text))
    if not ink.points:
        raise Invalid(_("Please sign in the box."))
    left, top, right, bottom = ink.box
    if ink.length < LEAST_LENGTH or right - left < LEAST_WIDTH or bottom - top < LEAST_HEIGHT:
        raise Invalid(_("This is too little to be a signature. Please sign with your whole name."))
    return ink


def png(ink: Ink) -> bytes:
    """The signature as a black drawing on white, trimmed to its box with a small margin, PNG."""
    left, top, right, bottom = ink.box
    margin = SCALE // 50
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    scale = 2 * PICTURE_WIDTH / SCALE
    image = Image.new("L", (max(1, round(width * scale)), max(1, round(height * scale))), 255)
    draw = ImageDraw.Draw(image)
    for stroke in ink.strokes:
        path = [((x - left + margin) * scale, (y - top + margin) * scale) for x, y, _ms in stroke]
        _draw(draw, path)
    small = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.quantize(16).save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw(draw: ImageDraw.ImageDraw, path: list[tuple[float, float]]) -> None:
    if len(path) > 1:
        draw.line(path, fill=0, width=PEN, joint="curve")
    for x, y in (path[0], path[-1]):
        draw.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill=0)


def _strokes(text: str) -> list[Stroke]:
    try:
        given = json.loads(text or "{}")
        strokes = [[_point(point) for point in stroke] for stroke in given.get("strokes", [])[: MOST_STROKES + 1]]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid(_("The signature did not arrive as a drawing. Please sign again.")) from error
    if len(strokes) > MOST_STROKES or sum(map(len, strokes)) > MOST_POINTS:
        raise Invalid(_("The drawing is too large. Please clear it and sign again."))
    return [stroke for stroke in strokes if stroke]


def _point(given: object) -> tuple[int, int, int]:
    if not isinstance(given, list) or len(given) != 3 or not all(type(each) is int for each in given):
        raise ValueError("a point is three whole numbers")
    x, y, ms = given
    if not (0 <= x <= SCALE and 0 <= y <= SCALE and 0 <= ms <= 3_600_000):
        raise ValueError("a point lies outside the pad")
    return x, y, ms
