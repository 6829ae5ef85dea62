"""X15, X16, X17: photos that come in pieces, that come wrong, and that do not come at all."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pypdf
import pytest
import time_machine
from sqlalchemy import select

from fieldapp import clock
from fieldapp.extensions import db
from fieldapp.outbox import Promise
from fieldapp.records.models import Photo
from fieldapp.reports.labels import LABELS
from fieldapp.reports.models import Report
from tests.faults.conftest import FieldDay
from tests.faults.proxy import Fault
from tests.offline.office import picture, quick_paper
from tests.offline.phone import RANGE, Answer, Phone, over_tcp

pytestmark = pytest.mark.crash


def test_x15_a_photo_is_cut_at_every_border_of_a_range_and_within(day: FieldDay) -> None:
    done = completed_with_photo(day)
    phone, photo, content = done.phone, done.photo, done.content
    places = {n for border in range(0, len(content), RANGE) for n in (border, border + 1, border + RANGE // 2)}
    cuts = sorted({*(n for n in places if n < len(content)), len(content) - 1})

    for cut in cuts:
        reach(phone, photo, cut)
        blob = phone.disk.blobs[photo]
        assert blob.offset is not None
        day.proxy.fault = Fault(reset_up_after=head_of(phone, photo) + cut - blob.offset)
        assert due(phone) == "no answer"
        day.proxy.fault = Fault()
    day.all_is_well()

    assert [each.source_sha256 for each in photos_of(day)] == [photo]
    assert blobs_in(day.office.folder, content) <= 1


def test_x15_the_answer_to_each_range_is_lost(day: FieldDay) -> None:
    done = completed_with_photo(day)
    phone, photo, content = done.phone, done.photo, done.content
    ranges = -(-len(content) // RANGE)

    for _n in range(ranges):
        day.proxy.fault = Fault()
        assert due(phone) == "range"  # ask how far it came
        day.proxy.fault = Fault(drop_answer=True)
        assert due(phone) == "no answer"
    day.proxy.fault = Fault()
    assert due(phone) == "arrived"

    assert len(day.proxy.dropped) == ranges
    day.all_is_well()
    assert [each.source_sha256 for each in photos_of(day)] == [photo]


def test_x15_the_server_is_killed_between_two_ranges(day: FieldDay) -> None:
    done = completed_with_photo(day)
    phone, photo = done.phone, done.photo

    while not phone.disk.blobs[photo].arrived:
        assert due(phone) in ("range", "arrived")
        day.web.kill()
        day.web.start()
    day.all_is_well()

    assert [each.source_sha256 for each in photos_of(day)] == [photo]


def test_x16_a_photo_that_is_not_what_its_name_says_is_sent_again(day: FieldDay) -> None:
    done = completed_with_photo(day)
    phone, photo = done.phone, done.photo
    well = phone.transport
    spoilt: list[int] = []

    def spoiling(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "PUT" and len(spoilt) < 2 and headers["Upload-Offset"] == str(RANGE):
            spoilt.append(1)
            body = bytes([body[0] ^ 1]) + body[1:]
        return well(method, path, headers, body)

    phone.transport = spoiling
    heard = []
    while len(spoilt) < 2 or phone.disk.blobs[photo].offset == 0:
        heard.append(due(phone))
        assert heard[-1] in ("range", "again")
        assert records_promised(day) == []
    assert "again" in heard
    assert [each.arrived_at for each in photos_of(day)] == [None]
    with quick_paper():
        day.office.work()
    assert reports_of(day) == []

    day.all_is_well()
    assert heard.count("again") <= 2
    assert [each.source_sha256 for each in photos_of(day)] == [photo]
    assert len(records_promised(day)) == 1


def test_x16_bytes_that_are_no_picture_are_told_to_the_engineer(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    day.begin(phone, visit)
    nonsense = phone.take_photo(visit, b"%PDF-1.4 this is no picture")
    day.finish(phone, visit)
    phone.settle()

    assert "422 invalid" in phone.disk.blobs[nonsense].error
    assert len(phone.told.received) == 6
    assert records_promised(day) == []
    assert [each.arrived_at for each in photos_of(day)] == [None]


def test_x17_photos_never_arrive(day: FieldDay) -> None:
    done = completed_with_photo(day)
    visit = done.visit
    with quick_paper():
        day.office.work()
    assert day.office.status(visit) == "completed"
    assert len(day.records(visit)) == 1
    assert (records_promised(day), reports_of(day), day.cases("photos_missing")) == ([], [], [])

    with time_machine.travel(clock.now() + timedelta(hours=25), tick=True), quick_paper():
        day.office.tick()
        day.office.tick()

    assert len(day.cases("photos_missing")) == 1
    assert (records_promised(day), reports_of(day)) == ([], [])
    draft = over_tcp(day.web.port)("GET", f"/visits/{visit}/report", head(done.phone), b"")
    assert draft.headers["content-type"] == "application/pdf"
    said = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(draft.body)).pages)
    assert any(LABELS[locale]["photos_pending"] in said for locale in LABELS), said

    day.all_is_well()
    assert len(records_promised(day)) == 1


# ---- below ------------------------------------------------------------------------------------------


class Measured(Exception):
    """Seen, and not sent."""


@dataclass(frozen=True)
class Completed:
    phone: Phone
    visit: str
    photo: str
    content: bytes


def completed_with_photo(day: FieldDay) -> Completed:
    """A record that was received; its one photo, of several ranges, is still on the phone."""
    phone = day.phone()
    visit = day.plan(phone)
    day.begin(phone, visit)
    content = picture(day.rng, large=True)
    assert len(content) > 2 * RANGE
    photo = phone.take_photo(visit, content, caption="完成")
    day.finish(phone, visit)
    for _n in range(6):
        assert phone.step() == "received"
    return Completed(phone, visit, photo, content)


def due(phone: Phone) -> str | None:
    """One try; when nothing is due, time passes first."""
    phone.wait(300)
    return phone.step()


def reach(phone: Phone, photo: str, place: int) -> None:
    """Upload until the next range is the one that holds this place."""
    blob = phone.disk.blobs[photo]
    while blob.offset is None or place >= min(blob.offset + RANGE, len(blob.content)):
        assert due(phone) in ("range", "no answer")


def head_of(phone: Phone, photo: str) -> int:
    """How many bytes the head of the next PUT has: what the proxy lets through before the body begins."""
    sent: list[int] = []
    real = phone.transport

    def measure(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        lines += ["Host: 127.0.0.1:00000", "Accept-Encoding: identity", f"Content-Length: {len(body)}", "", ""]
        sent.append(len("\r\n".join(lines)))
        raise Measured

    blob = phone.disk.blobs[photo]
    phone.transport = measure
    with pytest.raises(Measured):
        phone._send_range(photo, blob, blob.offset or 0)
    phone.transport = real
    phone.counts.ranges -= 1
    return sent[0]


def photos_of(day: FieldDay) -> list[Photo]:
    return day.office.ask(lambda: list(db.session.scalars(select(Photo))))


def records_promised(day: FieldDay) -> list[str]:
    query = select(Promise.uid).where(Promise.kind == "record_signed")
    return day.office.ask(lambda: list(db.session.scalars(query)))


def reports_of(day: FieldDay) -> list[UUID]:
    return day.office.ask(lambda: list(db.session.scalars(select(Report.id))))


def blobs_in(folder: Path, content: bytes) -> int:
    """How often these very bytes lie in the storage."""
    wanted = hashlib.sha256(content).hexdigest()
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == len(content)]
    return sum(hashlib.sha256(path.read_bytes()).hexdigest() == wanted for path in files)


def test_the_measured_head_is_what_is_sent(day: FieldDay) -> None:
    """The cuts above are at the very byte that they name: one byte less than all is no answer, all of it is one."""
    done = completed_with_photo(day)
    phone, photo = done.phone, done.photo
    reach(phone, photo, 0)
    whole = head_of(phone, photo) + RANGE

    day.proxy.fault = Fault(reset_up_after=whole - 1)
    assert due(phone) == "no answer"
    assert over_tcp(day.web.port)("HEAD", f"/photos/{photo}", head(phone), b"").headers["upload-offset"] == "0"
    reach(phone, photo, 0)
    day.proxy.fault = Fault(reset_up_after=whole)
    assert due(phone) == "range"


def head(phone: Phone) -> dict[str, str]:
    return {"Accept": "application/json", "Cookie": phone.cookie, "Sec-Fetch-Site": "same-origin"}
