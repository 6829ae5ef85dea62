"""The bytes of a phone's photo: cut anywhere, sent twice, sent side by side, forged, forgotten."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation, uuid7
from fieldapp.records import uploads
from fieldapp.records.models import PhotoUpload
from fieldapp.storage import blobs, staging

LogIn = Callable[[User], FlaskClient]
RANGE = 64 * 1024


def photo_of(seed: int = 1, size: tuple[int, int] = (800, 600)) -> bytes:
    """A JPEG of some 200 KB, so that it travels in several ranges."""
    grain = random.Random(seed).randbytes(size[0] * size[1] * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, grain).save(out, "JPEG", quality=60)
    return out.getvalue()


PHOTO = photo_of()
NAME = hashlib.sha256(PHOTO).hexdigest()


def put(browser: FlaskClient, content: bytes, at: int, end: int, *, name: str = "", length: int = 0) -> TestResponse:
    """Send bytes ``at`` to ``end`` of a photo."""
    return browser.put(
        f"/photos/{name or hashlib.sha256(content).hexdigest()}",
        data=content[at:end],
        headers={
            "Upload-Length": str(length or len(content)),
            "Upload-Offset": str(at),
            "Accept": "application/json",
            "Content-Type": "application/octet-stream",
        },
    )


def state(browser: FlaskClient, name: str = NAME) -> tuple[str, str]:
    answer = browser.head(f"/photos/{name}")
    assert answer.status_code == 200
    return answer.headers["Upload-Offset"], answer.headers["Upload-Complete"]


def send(browser: FlaskClient, content: bytes, *, at: int = 0, chunk: int = RANGE) -> TestResponse:
    """Send from ``at`` to the end in ranges; the last answer."""
    answer = None
    while at < len(content):
        answer = put(browser, content, at, at + chunk)
        assert answer.status_code == 200, answer.data
        at = answer.json["offset"]
    assert answer is not None
    return answer


def stored_blobs() -> int:
    return sum(1 for path in blobs.folder.rglob("*") if path.is_file())


def test_a_photo_comes_in_ranges_and_is_stored_once(engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    assert state(browser) == ("0", "?0")

    first = put(browser, PHOTO, 0, RANGE)
    assert (first.json["offset"], first.json["complete"]) == (RANGE, False)
    assert state(browser) == (str(RANGE), "?0")
    last = send(browser, PHOTO, at=RANGE)

    assert last.json["complete"] is True
    assert last.json["sha256"] == NAME
    assert last.json["server"]
    assert state(browser) == (str(len(PHOTO)), "?1")
    assert list(staging.folder.iterdir()) == [], "what is finished is not staged any more"
    upload = db.session.scalars(select(PhotoUpload)).one()
    assert Image.open(io.BytesIO(blobs.get(upload.blob_sha256))).format == "JPEG"


def test_sent_again_from_the_start_it_is_complete_at_once(engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    send(browser, PHOTO)
    before = stored_blobs()

    again = put(browser, PHOTO, 0, RANGE)

    assert (again.status_code, again.json["complete"], again.json["offset"]) == (200, True, len(PHOTO))
    assert stored_blobs() == before


@pytest.mark.parametrize("cut", [n * RANGE for n in range(1, len(PHOTO) // RANGE + 1)])
def test_x15_cut_at_a_border_it_goes_on_there(engineer: User, logged_in: LogIn, cut: int) -> None:
    browser = logged_in(engineer)
    at = 0
    while at < cut:
        at = put(browser, PHOTO, at, at + RANGE).json["offset"]

    browser = logged_in(engineer)  # the phone starts anew and asks
    offset, _complete = state(browser)
    assert int(offset) == cut
    assert send(browser, PHOTO, at=cut).json["complete"]
    assert db.session.scalar(select(func.count()).select_from(PhotoUpload)) == 1


@pytest.mark.parametrize("cut", [1, 777, RANGE - 1, RANGE + 1, 2 * RANGE + 4711, len(PHOTO) - 1])
def test_x15_cut_within_a_range_nothing_of_it_counts_but_what_was_flushed(
    engineer: User, logged_in: LogIn, cut: int
) -> None:
    browser = logged_in(engineer)
    whole, rest = cut // RANGE * RANGE, cut % RANGE
    if whole:
        put(browser, PHOTO, 0, whole)
    torn = browser.put(
        f"/photos/{NAME}",
        data=PHOTO[whole : whole + rest],
        environ_overrides={"CONTENT_LENGTH": str(min(RANGE, len(PHOTO) - whole))},
        headers={"Upload-Length": str(len(PHOTO)), "Upload-Offset": str(whole), "Accept": "application/json"},
    )

    assert torn.status_code == 400
    assert state(browser) == (str(whole), "?0")
    assert send(browser, PHOTO, at=whole).json["complete"]


def test_x15_a_part_that_was_written_but_not_counted_is_written_again(engineer: User, logged_in: LogIn) -> None:
    """The power went between the disk and the database."""
    browser = logged_in(engineer)
    put(browser, PHOTO, 0, RANGE)
    name = str(db.session.scalars(select(PhotoUpload.id)).one())
    staging.write(name, b"half of what came next", at=RANGE)

    assert state(browser) == (str(RANGE), "?0")
    assert send(browser, PHOTO, at=RANGE).json["complete"]


def test_x15_a_part_that_the_disk_lost_is_asked_for_again(engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    put(browser, PHOTO, 0, 2 * RANGE)
    name = str(db.session.scalars(select(PhotoUpload.id)).one())
    staging.write(name, b"", at=100)

    assert state(browser) == ("100", "?0")
    wrong = put(browser, PHOTO, 2 * RANGE, 3 * RANGE)
    assert (wrong.status_code, wrong.json["error"], wrong.json["offset"]) == (409, "offset", 100)
    assert send(browser, PHOTO, at=100).json["complete"]


def test_x15_all_bytes_there_but_never_finished_the_last_one_is_asked_for_again(
    engineer: User, logged_in: LogIn
) -> None:
    """The server died between the last range and the picture."""
    browser = logged_in(engineer)
    for at in range(0, len(PHOTO) - RANGE, RANGE):
        put(browser, PHOTO, at, at + RANGE)
    upload = db.session.scalars(select(PhotoUpload)).one()
    uploads._append(NAME, len(PHOTO), upload.received, PHOTO[upload.received :], by=engineer)

    offset, complete = state(browser)
    assert (int(offset), complete) == (len(PHOTO) - 1, "?0")
    assert send(browser, PHOTO, at=int(offset)).json["complete"]


def test_what_the_storage_has_lost_is_asked_for_again(engineer: User, logged_in: LogIn) -> None:
    """After a restore of the database alone, for example."""
    browser = logged_in(engineer)
    send(browser, PHOTO)
    upload = db.session.scalars(select(PhotoUpload)).one()
    blobs._path(upload.print_sha256).unlink()

    assert state(browser) == ("0", "?0")
    assert send(browser, PHOTO).json["complete"]
    db.session.rollback()
    assert blobs.exists(upload.print_sha256)


@pytest.mark.parametrize("at", [1, RANGE - 1, RANGE + 1, 2 * RANGE])
def test_a_range_that_begins_elsewhere_is_told_where(engineer: User, logged_in: LogIn, at: int) -> None:
    browser = logged_in(engineer)
    put(browser, PHOTO, 0, RANGE)

    answer = put(browser, PHOTO, at, at + 10)

    assert answer.status_code == 409
    assert answer.json["error"] == "offset"
    assert answer.json["offset"] == RANGE


def test_two_tabs_that_send_side_by_side_do_not_mix_their_bytes(app: Flask, engineer: User, logged_in: LogIn) -> None:
    browsers = [logged_in(engineer) for _tab in range(4)]
    start, failures = threading.Barrier(4), []

    def tab(browser: FlaskClient) -> None:
        start.wait()
        at = 0
        with app.app_context():
            while at < len(PHOTO):
                answer = put(browser, PHOTO, at, at + 16 * 1024)
                if answer.status_code not in (200, 409):
                    failures.append(answer.data)
                    return
                at = answer.json["offset"]

    threads = [threading.Thread(target=tab, args=(browser,)) for browser in browsers]
    db.session.rollback()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert state(browsers[0]) == (str(len(PHOTO)), "?1")
    assert db.session.scalar(select(func.count()).select_from(PhotoUpload)) == 1
    assert stored_blobs() == 3
    assert list(staging.folder.iterdir()) == []


# ---- forged, too large, too many --------------------------------------------------------------------


def test_x16_bytes_that_are_not_what_their_name_says_are_refused_and_start_again(
    engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    spoilt = PHOTO[:-1] + bytes([PHOTO[-1] ^ 1])

    answer = put(browser, spoilt, 0, len(spoilt), name=NAME)

    assert (answer.status_code, answer.json["error"]) == (422, "digest_mismatch")
    assert state(browser) == ("0", "?0")
    assert list(staging.folder.iterdir()) == []
    assert stored_blobs() == 0
    assert send(browser, PHOTO).json["complete"], "the right bytes come through afterwards"


def png(side: int) -> bytes:
    """A PNG of some hundred bytes that says it has side × side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header, data = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), zlib.compress(b"\0" * 99)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', 422),
        (b"<!doctype html><script>alert(1)</script>", 422),
        (b"GIF89a<script>", 422),
        (b"\xff\xd8\xff\xe0" + b"\0" * 500, 422),
        (png(30_000), 413),
    ],
    ids=["svg", "html", "gif", "a jpeg's first bytes", "900 megapixels"],
)
def test_x28_what_is_no_photo_is_refused_with_its_last_range(
    engineer: User, logged_in: LogIn, content: bytes, status: int
) -> None:
    browser = logged_in(engineer)

    answer = put(browser, content, 0, len(content))

    assert (answer.status_code, answer.json["error"]) == (status, "invalid" if status == 422 else "too_large")
    assert stored_blobs() == 0
    assert list(staging.folder.iterdir()) == []
    assert db.session.scalar(select(func.count()).select_from(PhotoUpload)) == 0


def test_x28_what_hides_in_a_photo_is_gone(engineer: User, logged_in: LogIn) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 13.0, 48.0), 3: "E", 4: (121.0, 28.0, 12.0)})
    out = io.BytesIO()
    Image.new("RGB", (60, 40), "gray").save(out, "JPEG", exif=exif, comment=b"<script>")
    both = out.getvalue() + b"PK\x03\x04<script>"

    assert put(logged_in(engineer), both, 0, len(both)).json["complete"]

    for path in (path for path in blobs.folder.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        assert dict(Image.open(io.BytesIO(kept)).getexif()) == {}
        assert b"script" not in kept
        assert b"PK\x03\x04" not in kept


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": str(15 * 1024 * 1024 + 1), "Upload-Offset": "0"}, 413),
        ({"Upload-Length": "0", "Upload-Offset": "0"}, 422),
        ({"Upload-Length": "3", "Upload-Offset": "0"}, 422),
        ({"Upload-Length": "10", "Upload-Offset": "9"}, 422),
        ({"Upload-Length": "-4", "Upload-Offset": "0"}, 422),
        ({"Upload-Length": "٤", "Upload-Offset": "0"}, 422),
        ({"Upload-Length": "1" * 40, "Upload-Offset": "0"}, 422),
        ({"Upload-Offset": "0"}, 422),
        ({"Upload-Length": "4"}, 422),
    ],
)
def test_headers_that_cannot_be_are_refused(
    engineer: User, logged_in: LogIn, headers: dict[str, str], status: int
) -> None:
    answer = logged_in(engineer).put(f"/photos/{NAME}", data=b"four", headers=headers)

    assert answer.status_code == status
    assert list(staging.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["..", "A" * 64, "a" * 63, "g" * 64, "a" * 64 + ".jpg"])
def test_a_name_that_is_no_hash_names_nothing(engineer: User, logged_in: LogIn, name: str) -> None:
    browser = logged_in(engineer)

    assert browser.head(f"/photos/{name}").status_code == 404
    assert put(browser, PHOTO, 0, 10, name=name).status_code == 404


def test_a_body_beyond_the_limit_of_the_app_is_refused(engineer: User, logged_in: LogIn) -> None:
    huge = bytes(17 * 1024 * 1024)

    answer = put(logged_in(engineer), huge, 0, len(huge), name=NAME, length=15 * 1024 * 1024)

    assert answer.status_code == 413


def test_another_length_for_the_same_bytes_starts_from_the_beginning(engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    put(browser, PHOTO, 0, RANGE, length=len(PHOTO) + 5)

    answer = put(browser, PHOTO, RANGE, 2 * RANGE)

    assert (answer.status_code, answer.json["offset"]) == (409, 0)
    assert send(browser, PHOTO).json["complete"]


def test_too_many_unfinished_photos_wait(engineer: User, logged_in: LogIn) -> None:
    begin_many(engineer, uploads.MOST_UNFINISHED)

    answer = put(logged_in(engineer), PHOTO, 0, RANGE)

    assert answer.status_code == 429
    assert answer.headers["Retry-After"]


@operation
def begin_many(user: User, many: int) -> None:
    for n in range(many):
        db.session.add(PhotoUpload(id=uuid7(), user_id=user.id, sha256=f"{n:064x}", length=10))


# ---- whose ------------------------------------------------------------------------------------------


def test_what_one_engineer_uploads_tells_another_nothing(engineer: User, colleague: User, logged_in: LogIn) -> None:
    send(logged_in(engineer), PHOTO)

    stranger = logged_in(colleague)
    assert state(stranger) == ("0", "?0")
    assert put(stranger, PHOTO, RANGE, 2 * RANGE).status_code == 409, "nobody gets a photo by knowing its name"


def test_only_engineers_upload_and_only_logged_in(
    engineer: User, dispatcher: User, logged_in: LogIn, client: FlaskClient
) -> None:
    assert logged_in(dispatcher).head(f"/photos/{NAME}").status_code == 403
    assert put(logged_in(dispatcher), PHOTO, 0, 10).status_code == 403
    assert put(client, PHOTO, 0, 10).status_code == 401


def test_a_range_from_another_site_is_refused(engineer: User, logged_in: LogIn) -> None:
    headers = {"Upload-Length": "4", "Upload-Offset": "0", "Accept": "application/json", "Sec-Fetch-Site": "cross-site"}

    answer = logged_in(engineer).put(f"/photos/{NAME}", data=b"four", headers=headers)

    assert (answer.status_code, answer.json["error"]) == (403, "cross_site")


# ---- left behind ------------------------------------------------------------------------------------


def test_what_nobody_continued_for_a_month_is_dropped(engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    send(browser, photo_of(2))
    put(browser, PHOTO, 0, RANGE)

    with time_machine.travel(clock.now() + timedelta(days=29)):
        assert uploads.prune_uploads() == 0
    with time_machine.travel(clock.now() + timedelta(days=31)):
        assert uploads.prune_uploads() == 1

    assert list(staging.folder.iterdir()) == []
    assert state(browser) == ("0", "?0")
    assert state(browser, hashlib.sha256(photo_of(2)).hexdigest())[1] == "?1"
