"""Photos as they come in: checked by their content, turned upright, made small, stripped of everything else.

Whatever arrives is decoded and encoded anew, so nothing hidden in a file survives. Three copies are made once, at
upload: full (≤ 1600 px), for print (≤ 900 px, so that four of them keep a report small) and a thumbnail.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from fieldapp.errors import Invalid, TooLarge
from fieldapp.i18n import _

FORMATS = ("JPEG", "PNG", "WEBP")
MOST_BYTES = 15 * 1024 * 1024
MOST_PIXELS = 40_000_000
FULL, PRINT, THUMB = 1600, 900, 320
PRINT_BYTES = 64 * 1024
TURNS = {  # what is to be done with the picture for each EXIF orientation but 1
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """The three JPEG copies and the size of the full one in pixels."""

    full: bytes
    print: bytes
    thumb: bytes
    width: int
    height: int


def normalised(content: bytes) -> Picture:
    """The copies to keep (raises Invalid when it is no photo we take, TooLarge over 15 MB or 40 megapixels)."""
    if not content:
        raise Invalid(_("The photo is empty. Please take it again."))
    if len(content) > MOST_BYTES:
        raise TooLarge(_("The photo is larger than 15 MB. Please choose a smaller one."))
    image = _decoded(content)
    full = _within(image, FULL)
    return Picture(
        full=_jpeg(full, 82),
        print=_for_print(_within(full, PRINT)),
        thumb=_jpeg(_within(full, THUMB), 70),
        width=full.width,
        height=full.height,
    )


def _decoded(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise TooLarge(_("The photo has more than 40 megapixels. Please choose a smaller one."))
                opened.draft("RGB", (FULL, FULL))
                return _on_white(_upright(opened))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(_("The photo has more than 40 megapixels. Please choose a smaller one.")) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise Invalid(_("This file is no photo we can read. Please take a JPEG, PNG or WebP photo.")) from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera said. Only that one word of the EXIF is read: cameras write nonsense into the others, and
    Pillow's own way (exif_transpose) would write all of them anew."""
    turn = TURNS.get(_orientation(image))
    return image.transpose(turn) if turn is not None else image


def _orientation(image: Image.Image) -> int:
    try:
        said = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, ValueError, TypeError, SyntaxError, LookupError, struct.error):
        return 1
    return said if isinstance(said, int) else 1


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _within(image: Image.Image, longest: int) -> Image.Image:
    if max(image.size) <= longest:
        return image
    copy = image.copy()
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return copy


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _for_print(image: Image.Image) -> bytes:
    """The best quality that stays within the share of one photo in a report."""
    for quality in (78, 68, 58, 48):
        content = _jpeg(image, quality)
        if len(content) <= PRINT_BYTES:
            return content
    return _jpeg(_within(image, 640), 55)
