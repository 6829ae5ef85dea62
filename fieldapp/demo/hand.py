"""Signatures and photos of the demo, drawn by numbers: the same name always signs the same way."""

from __future__ import annotations

import io
import json
import math
import random
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fieldapp.extensions import settings
from fieldapp.records import ink
from fieldapp.storage import blobs


@dataclass(frozen=True)
class Drawn:
    """A signature with its picture already in the storage."""

    strokes: str
    png_sha256: str
    ink: ink.Ink


def strokes(name: str) -> str:
    """The pad's JSON of a signature: a few running strokes for each character."""
    rng = random.Random(f"hand of {name}")  # noqa: S311 - a fixed hand, not a secret
    drawn, at, ms = [], 1200, 0
    for _letter in name[:4]:
        for _stroke in range(3):
            stroke, ms = _stroke_from(rng, at, ms)
            drawn.append(stroke)
        at += 1700
    return json.dumps({"v": 1, "w": 328, "h": 164, "strokes": drawn})


def signature(name: str) -> Drawn:
    """The signature of a name, with its picture in the storage."""
    read, picture = _picture(name)
    return Drawn(read.as_text(), blobs.put(picture), read)


@cache
def _picture(name: str) -> tuple[ink.Ink, bytes]:
    read = ink.read(strokes(name))
    return read, ink.png(read)


def photo(title: str, lines: tuple[str, ...], seed: int) -> bytes:
    """A picture that could be a photo of a device's label: JPEG, 960 × 720, with some light and noise."""
    rng = random.Random(seed)  # noqa: S311 - a fixed picture
    image = Image.effect_noise((960, 720), 18).convert("RGB")
    shade = Image.new("RGB", image.size, (70 + rng.randrange(60), 80 + rng.randrange(50), 90 + rng.randrange(40)))
    image = Image.blend(image, shade, 0.8)
    draw = ImageDraw.Draw(image)
    left, top = 90 + rng.randrange(60), 120 + rng.randrange(60)
    draw.rounded_rectangle((left, top, left + 700, top + 430), 24, fill=(226, 228, 224), outline=(60, 62, 66), width=6)
    draw.text((left + 40, top + 30), title, fill=(20, 30, 40), font=_font(50))
    for n, line in enumerate(lines):
        draw.text((left + 40, top + 125 + n * 66), line, fill=(40, 50, 60), font=_font(40))
    image = image.rotate(rng.uniform(-3, 3), resample=Image.Resampling.BICUBIC, fillcolor=(70, 74, 80))
    out = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.8)).save(out, "JPEG", quality=88)
    return out.getvalue()


def _stroke_from(rng: random.Random, at: int, ms: int) -> tuple[list[list[int]], int]:
    x, y = float(at + rng.randrange(900)), float(1500 + rng.randrange(1600))
    angle, turn = rng.uniform(-0.6, 1.8), rng.uniform(-0.12, 0.12)
    points = []
    for _point in range(rng.randrange(14, 30)):
        points.append([max(0, min(9999, int(x))), max(0, min(4999, int(y))), ms])
        x, y, ms, angle = x + 62 * math.cos(angle), y + 62 * math.sin(angle), ms + 11, angle + turn
    return points, ms + 120


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    files = sorted(settings.fonts_path.glob("*Regular*.ttf"))
    return ImageFont.truetype(str(files[0]), size) if files else ImageFont.load_default(size)
