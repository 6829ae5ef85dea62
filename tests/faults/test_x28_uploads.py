"""X28: what somebody uploads who means harm. It is refused, or nothing of it is left but the picture."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from fieldapp.accounts.models import User
from fieldapp.config import Settings
from fieldapp.records.models import Photo
from fieldapp.records.queries import record_of
from fieldapp.visits.models import Visit

LogIn = Callable[[User], FlaskClient]
SCRIPT = b"<script>alert(document.domain)</script>"


def photo_of(size: tuple[int, int] = (60, 40), **more: object) -> bytes:
    """A harmless JPEG."""
    out = io.BytesIO()
    Image.new("RGB", size, "gray").save(out, "JPEG", **more)
    return out.getvalue()


def upload(browser: FlaskClient, visit: Visit, content: bytes, name: str = "a.jpg") -> TestResponse:
    """Send one file as the phone does."""
    data = {"kind": "before", "photos": (io.BytesIO(content), name, "image/jpeg")}
    return browser.post(f"/visits/{visit.id}/photos", data=data, headers={"Accept": "application/json"})


def kept(visit: Visit) -> list[Photo]:
    record = record_of(visit)
    return record.photos if record else []


def huge_png(side: int) -> bytes:
    """A PNG of some hundred bytes that says it has side × side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"<!doctype html>" + SCRIPT,
        b"GIF89a" + SCRIPT,
        b"%PDF-1.7\n",
        b"MZ" + b"\0" * 500,
        b"\xff\xd8\xff\xe0" + b"\0" * 500,
        b"",
    ],
    ids=["svg", "html", "gif with a script", "pdf", "program", "a jpeg's first bytes", "0 bytes"],
)
def test_what_is_no_photo_is_refused_whatever_it_is_called(
    working: Visit, engineer: User, logged_in: LogIn, content: bytes
) -> None:
    answer = upload(logged_in(engineer), working, content)

    assert answer.status_code == 422
    assert kept(working) == []


@pytest.mark.parametrize("side", [6_400, 10_000, 30_000])
def test_a_picture_that_would_fill_the_memory_is_refused_unread(
    working: Visit, engineer: User, logged_in: LogIn, side: int
) -> None:
    answer = upload(logged_in(engineer), working, huge_png(side), "a.png")

    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert "40 megapixels" in answer.json["message"]
    assert kept(working) == []


def test_a_file_that_is_two_things_is_only_a_picture_afterwards(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    both = photo_of(comment=SCRIPT) + b"PK\x03\x04" + SCRIPT

    assert upload(logged_in(engineer), working, both).status_code == 200

    for size in ("full", "print", "thumb"):
        shown = logged_in(engineer).get(f"/photos/{kept(working)[0].id}/{size}.jpg").data
        assert b"script" not in shown
        assert b"PK\x03\x04" not in shown
        assert shown.endswith(b"\xff\xd9")


def test_where_a_photo_was_taken_is_gone(working: Visit, engineer: User, logged_in: LogIn) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 13.0, 48.0), 3: "E", 4: (121.0, 28.0, 12.0)})
    exif[0x0110] = "A Phone 13"

    upload(logged_in(engineer), working, photo_of(exif=exif))

    for size in ("full", "print", "thumb"):
        shown = logged_in(engineer).get(f"/photos/{kept(working)[0].id}/{size}.jpg").data
        assert dict(Image.open(io.BytesIO(shown)).getexif()) == {}
        assert b"Exif" not in shown


@pytest.mark.parametrize("name", ["../../../etc/cron.d/x.jpg", "C:\\x.jpg", "a\0.jpg", "x.php", "é" * 300 + ".jpg"])
def test_the_files_name_names_nothing(app: object, working: Visit, engineer: User, logged_in: LogIn, name: str) -> None:
    answer = upload(logged_in(engineer), working, photo_of(), name)

    assert answer.status_code == 200
    settings: Settings = app.extensions["settings"]  # type: ignore[attr-defined]
    blobs = settings.data_path / "blobs"
    names = {"".join(path.relative_to(blobs).parts) for path in blobs.rglob("*") if path.is_file()}
    assert names == {answer.json["sha256"], *_hashes(kept(working)[0])}


def _hashes(photo: Photo) -> list[str]:
    return [photo.sha256, photo.print_sha256, photo.thumb_sha256]


def test_a_photo_is_served_as_a_picture_and_nothing_else(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    upload(browser, working, photo_of(), "evil.html")
    photo = kept(working)[0].id

    answer = browser.get(f"/photos/{photo}/full.jpg")

    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Content-Disposition"] == "inline"
    assert browser.get(f"/photos/{photo}/original.jpg").status_code == 404
    assert browser.get(f"/photos/{photo}/full.html").status_code == 404


def test_a_body_without_end_is_refused(working: Visit, engineer: User, logged_in: LogIn) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
    body = head + b"\xff" * (17 * 1024 * 1024) + b"\r\n--x--\r\n"

    answer = logged_in(engineer).post(
        f"/visits/{working.id}/photos", data=body, content_type="multipart/form-data; boundary=x"
    )

    assert answer.status_code == 413
    assert kept(working) == []
