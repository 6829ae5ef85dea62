"""Photos: what is taken, what is refused, and the three copies that are kept."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import ExifTags, Image, ImageChops, ImageOps

from fieldapp.errors import Invalid, TooLarge
from fieldapp.records import pictures


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    """The picture as a file."""
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_large_photo_becomes_three_small_ones() -> None:
    made = pictures.normalised(encoded(Image.new("RGB", (4000, 3000), "teal"), "JPEG"))

    sizes = [opened(each).size for each in (made.full, made.print, made.thumb)]
    assert sizes == [(1600, 1200), (900, 675), (320, 240)]
    assert (made.width, made.height) == (1600, 1200)


def test_a_photo_taken_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    made = pictures.normalised(encoded(Image.new("RGB", (400, 300), "teal"), "JPEG", exif=exif))

    assert opened(made.full).size == (300, 400)
    assert dict(opened(made.full).getexif()) == {}


@pytest.mark.parametrize("orientation", range(10))
def test_every_way_to_hold_a_camera_is_turned_as_viewers_turn_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    halves = Image.new("L", (80, 60))
    halves.paste(255, (0, 0, 40, 20))
    sideways = encoded(halves, "PNG", exif=exif)

    made = opened(pictures.normalised(sideways).full)

    right = ImageOps.exif_transpose(opened(sideways))
    assert made.size == right.size
    assert ImageChops.difference(made.convert("L"), right.convert("L")).getextrema()[1] < 64


@pytest.mark.parametrize("tag", [b"\x01\x00", b"\x01\x1f", b"\x01\x54"], ids=["width", "position", "format"])
def test_a_camera_that_writes_nonsense_into_the_exif_takes_photos_all_the_same(tag: bytes) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "abc", 6
    photo = encoded(Image.new("RGB", (400, 300), "teal"), "JPEG", exif=exif)
    text_as_number = photo.replace(b"\x01\x0f\x00\x02", tag + b"\x00\x02")
    assert text_as_number != photo

    made = pictures.normalised(text_as_number)

    assert opened(made.full).size == (300, 400)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_stands_on_white(mode: str) -> None:
    made = pictures.normalised(encoded(Image.new(mode, (40, 30)), "PNG"))

    assert opened(made.full).getpixel((5, 5)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_stands_on_white() -> None:
    made = pictures.normalised(encoded(Image.new("P", (40, 30)), "PNG", transparency=0))

    assert opened(made.full).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_kinds_of_photos_become_jpeg(kind: str) -> None:
    made = pictures.normalised(encoded(Image.new("RGB", (40, 30), "teal"), kind))

    assert [opened(each).format for each in (made.full, made.print, made.thumb)] == ["JPEG"] * 3


@pytest.mark.parametrize("noise", [20, 200], ids=["busy", "nothing but noise"])
def test_the_copy_for_print_keeps_to_its_share(noise: int) -> None:
    busy = Image.merge("RGB", [Image.effect_noise((1600, 1200), noise) for _ in range(3)])

    made = pictures.normalised(encoded(busy, "JPEG", quality=90))

    assert len(made.print) <= (pictures.PRINT_BYTES if noise == 20 else 3 * pictures.PRINT_BYTES)


def _wide() -> bytes:
    return encoded(Image.new("1", (8000, 5001)), "PNG")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: b"", Invalid, "The photo is empty"),
        (lambda: b"x" * (pictures.MOST_BYTES + 1), TooLarge, "larger than 15 MB"),
        (_wide, TooLarge, "more than 40 megapixels"),
        (lambda: encoded(Image.new("RGB", (900, 900)), "JPEG")[:300], Invalid, "no photo we can read"),
        (lambda: encoded(Image.new("RGB", (90, 90)), "GIF"), Invalid, "no photo we can read"),
    ],
    ids=["empty", "too many bytes", "too many pixels", "cut off", "another kind"],
)
def test_what_cannot_be_kept_is_refused_with_a_sentence(
    make: Callable[[], bytes], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        pictures.normalised(make())
