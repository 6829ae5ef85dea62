"""Ink as a pad sends it: what counts as a signature, what is refused, and the picture that is made of it."""

from __future__ import annotations

import io
import json
import math

import pytest
from PIL import Image

from fieldapp.errors import Invalid
from fieldapp.records import ink
from tests.records.samples import DRAWN

WAVE = [[1000 + 50 * n, 2500 + int(900 * math.sin(n / 5)), n * 12] for n in range(100)]


def pad(*strokes: object) -> str:
    """What the pad sends for these strokes."""
    return json.dumps({"v": 1, "w": 328, "h": 164, "strokes": strokes})


def test_a_signature_is_read_measured_and_kept() -> None:
    read = ink.read(DRAWN)

    assert read.points == 180
    assert read.duration_ms == 2090
    assert json.loads(read.as_text())["strokes"][0][0] == [1500, 2500, 0]


def test_the_picture_is_small_black_on_white_and_has_its_dots() -> None:
    dot = [[5900, 1600, 2000]]

    picture = Image.open(io.BytesIO(ink.png(ink.read(pad(WAVE, dot)))))

    shades = picture.convert("L")
    assert picture.format == "PNG"
    assert picture.width < ink.PICTURE_WIDTH
    assert shades.getextrema() == (0, 255)
    corner = shades.crop((shades.width - 20, 0, shades.width, 40))
    assert corner.getextrema()[0] < 128  # the dot at the upper right


@pytest.mark.parametrize("nothing", ["", "{}", pad(), pad([])])
def test_an_empty_pad_is_asked_to_be_signed(nothing: str) -> None:
    with pytest.raises(Invalid, match="Please sign in the box"):
        ink.read(nothing)


@pytest.mark.parametrize(
    "stroke",
    [
        [[5000, 2500, 0], [5010, 2510, 20]],
        [[1000 + 90 * n, 2500, n * 10] for n in range(80)],
        [[5000, 500 + 40 * n, n * 10] for n in range(80)],
    ],
    ids=["a dot", "a level line", "a plumb line"],
)
def test_too_little_is_no_signature(stroke: list[list[int]]) -> None:
    with pytest.raises(Invalid, match="too little"):
        ink.read(pad(stroke))


@pytest.mark.parametrize(
    "broken",
    [
        "not json",
        "[1, 2]",
        "null",
        '{"strokes": 7}',
        pad([[1, 2]]),
        pad([["1", 2, 3]]),
        pad([[1.5, 2, 3]]),
        pad([[True, 2, 3]]),
        pad([7]),
        pad([[10_001, 2, 3]]),
        pad([[1, -1, 3]]),
        pad([[1, 2, 3_600_001]]),
        "[" * 100_000,
    ],
)
def test_what_is_no_drawing_is_refused_with_a_sentence(broken: str) -> None:
    with pytest.raises(Invalid, match="did not arrive as a drawing"):
        ink.read(broken)


@pytest.mark.parametrize("strokes", [[WAVE[:2]] * 401, [[WAVE[0]] * 20_001]], ids=["strokes", "points"])
def test_a_drawing_without_end_is_refused(strokes: list[object]) -> None:
    with pytest.raises(Invalid, match="too large"):
        ink.read(pad(*strokes))


def test_no_ink_takes_no_time() -> None:
    assert ink.Ink([]).duration_ms == 0
