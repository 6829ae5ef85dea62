"""Photos that come after their record: the report waits for the last one, and somebody is told when none comes."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pypdf
import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import NotAllowedNow
from fieldapp.extensions import db
from fieldapp.offline.models import Case
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records import photos, uploads
from fieldapp.records.models import PhotoUpload, ServiceRecord
from fieldapp.records.queries import record_of
from fieldapp.records.values import Given
from fieldapp.reports import operations as reports
from fieldapp.reports.labels import LABELS
from fieldapp.storage import blobs
from fieldapp.sync import worker
from fieldapp.visits.models import Visit
from tests.offline.queue import receipt_of, step
from tests.records.samples import filled
from tests.records.test_uploads import photo_of, send
from tests.records.wholes import PHOTOS, backup, complete, digest, named

LogIn = Callable[[User], FlaskClient]


@pytest.fixture
def phone(working: Visit, engineer: User, logged_in: LogIn) -> FlaskClient:
    """A phone that sent the record, and has three photos of it left."""
    browser = logged_in(engineer)
    backup(browser, working)
    assert complete(browser, working, photos=named(*PHOTOS)).json["outcome"] == "applied"
    return browser


def promised() -> list[str]:
    found = db.session.scalars(select(Promise).where(Promise.kind == "record_signed").order_by(Promise.lane_seq))
    return [f"{each.payload['edition']}:{each.payload['record']}" for each in found]


def record_at(visit: Visit) -> ServiceRecord:
    record = record_of(visit)
    assert record is not None
    return record


def words(pdf: bytes) -> str:
    return "".join("".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def the_case() -> Case | None:
    return db.session.scalar(select(Case).where(Case.kind == "photos_missing"))


def test_x17_the_report_is_promised_with_the_last_photo(working: Visit, phone: FlaskClient) -> None:
    assert (working.status, promised()) == ("completed", [])
    frozen = record_at(working).content

    for photo in PHOTOS[:2]:
        send(phone, photo)
    assert promised() == []
    assert len(photos.pending(record_at(working))) == 1
    send(phone, PHOTOS[2])

    record = record_at(working)
    assert promised() == [f"signed:{record.id}"]
    assert photos.pending(record) == []
    assert record.content == frozen, "what was signed names the phone's bytes, whether they came or not"
    assert all(photo.arrived_at and photo.width == 200 for photo in record.photos)


def test_a_photo_that_came_before_its_record_is_there_at_once(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    send(browser, PHOTOS[0])

    complete(browser, working, photos=named(PHOTOS[0]))

    record = record_at(working)
    assert promised() == [f"signed:{record.id}"]
    assert browser.get(f"/photos/{record.photos[0].id}/print.jpg").mimetype == "image/jpeg"


def test_another_engineers_upload_gives_this_record_nothing(
    working: Visit, engineer: User, colleague: User, logged_in: LogIn
) -> None:
    send(logged_in(colleague), PHOTOS[0])
    browser = logged_in(engineer)
    backup(browser, working)

    complete(browser, working, photos=named(*PHOTOS[:2]))
    assert len(photos.pending(record_at(working))) == 2
    send(logged_in(colleague), PHOTOS[1])

    assert len(photos.pending(record_at(working))) == 2
    assert promised() == []


def test_x16_spoilt_bytes_leave_the_record_waiting(working: Visit, phone: FlaskClient) -> None:
    spoilt = PHOTOS[0][:-1] + b"\0"
    answer = phone.put(
        f"/photos/{digest(PHOTOS[0])}",
        data=spoilt,
        headers={"Upload-Length": str(len(spoilt)), "Upload-Offset": "0", "Accept": "application/json"},
    )

    assert answer.json["error"] == "digest_mismatch"
    assert len(photos.pending(record_at(working))) == 3
    assert promised() == []


def test_two_files_of_the_same_picture_are_kept_once(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    twin = PHOTOS[0] + b"trailing bytes that no picture needs"
    complete(browser, working, photos=named(PHOTOS[0], twin))

    send(browser, PHOTOS[0])
    send(browser, twin)

    record = record_at(working)
    assert promised() == [f"signed:{record.id}"]
    for photo in record.photos:
        for size in ("full", "print", "thumb"):
            assert browser.get(f"/photos/{photo.id}/{size}.jpg").mimetype == "image/jpeg"


def test_a_photo_that_is_still_on_the_phone_is_not_found_and_the_page_says_so(
    working: Visit, phone: FlaskClient, manager: User, logged_in: LogIn
) -> None:
    send(phone, PHOTOS[0])
    missing = photos.pending(record_at(working))[0]

    assert phone.get(f"/photos/{missing.id}/full.jpg").status_code == 404
    for reader in (phone, logged_in(manager)):
        page = reader.get(f"/visits/{working.id}/record?lang=en").text
        assert "2 photos are still on the phone" in page
        assert page.count("<img") >= 1
        assert f"/photos/{missing.id}/" not in page


# ---- the report -------------------------------------------------------------------------------------


def test_x17_until_then_there_is_a_draft_that_says_so(working: Visit, phone: FlaskClient) -> None:
    send(phone, PHOTOS[0])

    answer = phone.get(f"/visits/{working.id}/report?lang=en")

    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert "photos-pending" in answer.headers["Content-Disposition"]
    said = words(answer.data)
    assert said.count("Photospending") >= 1
    assert "Somephotoshavenotarrived" in said
    assert record_at(working).number in said


def test_x17_nothing_is_issued_while_photos_are_missing(working: Visit, phone: FlaskClient) -> None:
    record = record_at(working)

    for issue in (reports.issue, reports.issue_other_languages):
        with pytest.raises(NotAllowedNow):
            issue(record.id, edition="signed")


def test_the_report_prints_what_came_and_the_same_bytes_again(working: Visit, phone: FlaskClient) -> None:
    for photo in PHOTOS:
        send(phone, photo)
    record = record_at(working)

    report = reports.issue(record.id, edition="signed")

    content = blobs.get(report.sha256)
    assert "照片待补" not in words(content)
    assert len(pypdf.PdfReader(io.BytesIO(content)).attachments["record.json"]) == 1
    again = reports._rendered(record_at(working), report.locale)
    assert again.sha256 == report.sha256
    assert phone.get(f"/visits/{working.id}/report").status_code == 303


def corrected(working: Visit, engineer: User) -> None:
    """Signed anew, with other words, acknowledged by the customer on the telephone."""
    records.correct(
        working,
        filled(content_text="更换主板,重装系统", contact_phone="13900000001"),
        reason="漏写",
        acknowledged=Given(method="remote", name="陈晓", reason="电话确认"),
        by=engineer,
    )


def test_the_managers_signature_and_a_correction_wait_with_it(
    working: Visit, phone: FlaskClient, engineer: User, manager: User
) -> None:
    records.review(working, Given(method="typed", name=manager.name), by=manager)
    first = record_at(working)
    corrected(working, engineer)
    second = record_at(working)
    assert promised() == []

    for photo in PHOTOS:
        send(phone, photo)

    assert promised() == [f"signed:{first.id}", f"manager:{first.id}", f"signed:{second.id}"]
    assert "photos" not in [
        name for name, _before, _after in records.content.changes(first.frozen_content, second.frozen_content)
    ]


def test_a_photo_that_arrived_is_no_change_of_the_record(working: Visit, phone: FlaskClient, engineer: User) -> None:
    first = record_at(working)
    for photo in PHOTOS:
        send(phone, photo)
    seen = Given(method="remote", name="陈晓", reason="电话确认")
    wanted = filled(content_text="更换主板,重装系统", contact_phone="13900000001")

    records.correct(working, wanted, reason="漏写", acknowledged=seen, by=engineer)

    assert record_at(working).frozen_content["photos"] == first.frozen_content["photos"]


# ---- missing ----------------------------------------------------------------------------------------


def test_x17_after_a_day_the_office_is_told_once(working: Visit, phone: FlaskClient, engineer: User) -> None:
    send(phone, PHOTOS[0])
    assert photos.alert_missing_photos() == 0

    with time_machine.travel(clock.now() + timedelta(hours=25)):
        worker.look_after_photos()
        worker.look_after_photos()

    case = the_case()
    assert case is not None
    assert db.session.scalar(select(func.count()).select_from(Case)) == 1
    assert (case.visit_id, case.user_id, case.facts["missing"]) == (working.id, engineer.id, 2)
    assert case.facts["photos"] == [{"kind": "after", "caption": "完成"}] * 2


def test_the_case_settles_itself_when_the_photos_come(working: Visit, phone: FlaskClient) -> None:
    with time_machine.travel(clock.now() + timedelta(hours=25)):
        photos.alert_missing_photos()

    for photo in PHOTOS[:2]:
        send(phone, photo)
    assert the_case().settled_at is None
    send(phone, PHOTOS[2])

    db.session.rollback()
    assert the_case().settled_at is not None
    assert the_case().settled_by_id is None
    assert the_case().decision


# ---- given up ---------------------------------------------------------------------------------------


def test_when_the_phone_is_lost_the_report_is_issued_without_its_photos_and_says_so(
    working: Visit, phone: FlaskClient, dispatcher: User
) -> None:
    send(phone, PHOTOS[0])
    record = record_at(working)
    before = record.frozen_content

    assert photos.give_up(record, by=dispatcher) == 2

    assert promised() == [f"signed:{record.id}"]
    report = reports.issue(record.id, edition="signed")
    said = words(blobs.get(report.sha256))
    assert LABELS[report.locale]["photos_lost_note"].format(count=2).replace(" ", "") in said
    assert LABELS[report.locale]["photos_pending"] not in said
    assert record_at(working).frozen_content == before, "what was signed stays"
    html = phone.get(f"/visits/{working.id}/record").text
    assert "2 photos did not come from the phone; the report was issued without them." in html
    with time_machine.travel(clock.now() + timedelta(hours=25)):
        assert photos.alert_missing_photos() == 0
    with pytest.raises(NotAllowedNow):
        photos.give_up(record, by=dispatcher)


def test_a_photo_that_comes_after_it_was_given_up_is_kept_and_nothing_is_issued_twice(
    working: Visit, phone: FlaskClient, dispatcher: User
) -> None:
    photos.give_up(record_at(working), by=dispatcher)

    for photo in PHOTOS:
        assert send(phone, photo).json["complete"]  # type: ignore[index]

    db.session.rollback()
    record = record_at(working)
    assert [photo.arrived_at is not None and not photo.given_up for photo in record.photos] == [True] * 3
    assert promised() == [f"signed:{record.id}"]
    assert phone.get(f"/photos/{record.photos[0].id}/thumb.jpg").status_code == 200


def test_a_correction_still_names_what_the_customer_signed_for(
    working: Visit, phone: FlaskClient, engineer: User, dispatcher: User
) -> None:
    first = record_at(working)
    photos.give_up(first, by=dispatcher)

    corrected(working, engineer)

    assert record_at(working).frozen_content["photos"] == first.frozen_content["photos"]
    assert len(promised()) == 2


def test_the_worker_drops_what_nobody_continues(engineer: User) -> None:
    content = photo_of(9)
    uploads.receive(digest(content), length=len(content), offset=0, content=content[:100], by=engineer)

    with time_machine.travel(clock.now() + timedelta(days=31)):
        worker.look_after_photos()

    assert db.session.scalar(select(func.count()).select_from(PhotoUpload)) == 0


# ---- taken out again --------------------------------------------------------------------------------


def test_a_photo_is_taken_out_from_a_queue_before_its_record_is_signed(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    """Without signal: the removal waits, then the record, and both arrive in their order."""
    browser = logged_in(engineer)
    backup(browser, working)
    wrong = UUID(records.add_photo(working, PHOTOS[0], kind="before", by=engineer)["photo"])
    page = browser.get(f"/visits/{working.id}/record").text
    assert f'data-photo="{wrong}" data-queue data-visit="{working.id}"' in page
    removal = step(working.id, f"photos/{wrong}/removal")

    receipts = [receipt_of(removal.sent(browser)) for _twice in range(2)]
    again = receipt_of(step(working.id, f"photos/{wrong}/removal", sequence=2).sent(browser))
    assert complete(browser, working, photos=named(PHOTOS[1])).json["outcome"] == "applied"

    assert [receipt["outcome"] for receipt in (*receipts, again)] == ["applied"] * 3
    db.session.expire_all()
    counting = [photo for photo in record_at(working).photos if photo.removed_at is None]
    assert [photo.source_sha256 for photo in counting] == [digest(PHOTOS[1])]


def test_a_removal_that_comes_after_the_signatures_is_filed_and_the_record_stays(
    phone: FlaskClient, working: Visit
) -> None:
    photo = record_at(working).photos[0]

    receipt = receipt_of(step(working.id, f"photos/{photo.id}/removal", sequence=9).sent(phone))

    assert receipt["outcome"] == "quarantined"
    db.session.expire_all()
    assert all(each.removed_at is None for each in record_at(working).photos)
