"""Photos at the size at which they are printed, so that a report stays small enough to mail."""

from __future__ import annotations

import io

from PIL import Image, ImageOps, UnidentifiedImageError

from fieldapp.reports.document import BadDocument

LONG_SIDE = 1000  # pixels; 87 mm of paper at about 290 dots per inch
MOST_BYTES = 64 * 1024
MOST_PIXELS = 40_000_000
SMALLER = ((LONG_SIDE, 75), (LONG_SIDE, 60), (840, 55), (700, 50), (560, 45), (420, 40))


def print_size(picture: bytes) -> bytes:
    """The picture as a JPEG of at most MOST_BYTES, upright, without any metadata; raises BadDocument when it is none."""
    opened, made = _opened(picture), b""
    for side, quality in SMALLER:
        made = _saved(opened, side, quality)
        if len(made) <= MOST_BYTES:
            return made
    return made


def _opened(picture: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(picture), formats=("JPEG", "PNG", "WEBP"))
        if image.width * image.height > MOST_PIXELS:
            raise BadDocument("A photo of a report has more than 40 million pixels.")
        image.draft("RGB", (2 * LONG_SIDE, 2 * LONG_SIDE))
        return ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadDocument):
            raise
        raise BadDocument("A photo of a report cannot be read.") from error


def _saved(image: Image.Image, side: int, quality: int) -> bytes:
    small = image.copy()
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
