"""The record's pages, walked as the engineer, the customer and the manager walk them, without JavaScript."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256

from flask.testing import FlaskClient
from PIL import Image

from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import operation, uuid7
from fieldapp.records.queries import record_of
from fieldapp.visits.models import Visit
from tests.records.samples import DRAWN, signed

LogIn = Callable[[User], FlaskClient]
PIN = "2468"


@operation
def give_pin(user: User) -> None:
    user.pin_hash = passwords.hashed(PIN)


def test_the_whole_path_by_plain_forms(working: Visit, engineer: User, logged_in: LogIn) -> None:
    give_pin(engineer)
    browser, base = logged_in(engineer), f"/visits/{working.id}"
    typed = {
        "service_type": "maintenance",
        "content_text": "更换主板",
        "outcome": "all_done",
        "parts-0-name": "主板",
        "parts-0-quantity": "1",
        "contact_phone": "13900000001",
    }

    assert browser.get(f"{base}/record").status_code == 200
    assert browser.post(f"{base}/record", data=typed).status_code == 303
    answer = {"backup_ack_name": "陈晓", "backup_ack_strokes": DRAWN}
    assert browser.post(f"{base}/backup-acknowledgement", data=answer).status_code == 303
    handed = browser.post(f"{base}/hand-over", data=typed)
    assert handed.location.endswith(f"{base}/hand-over")
    assert "更换主板" in browser.get(f"{base}/hand-over").text
    customer = {"skill_rating": "good", "attitude_rating": "good", "customer_name": "陈晓", "customer_strokes": DRAWN}
    assert browser.post(f"{base}/customer-signature", data=customer).status_code == 303
    assert browser.get("/").location.endswith(f"{base}/hand-over")  # the customer still holds the phone
    back = browser.post("/taking-back", data={"pin": PIN, "next": f"{base}/completion"})
    assert back.status_code == 303
    assert browser.get(f"{base}/completion").status_code == 200
    assert browser.post(f"{base}/completion", data={"engineer_strokes": DRAWN}).status_code == 303

    assert working.status == "completed"
    assert [part.name for part in record_of(working).parts] == ["主板"]


def test_what_was_typed_stays_when_something_is_missing(working: Visit, engineer: User, logged_in: LogIn) -> None:
    page = logged_in(engineer).post(
        f"/visits/{working.id}/hand-over",
        data={"service_type": "remote", "content_text": "", "remark": "请下周来电", "parts-0-name": "电源"},
    )

    assert page.status_code == 422
    for text in ("Write what was done.", "请下周来电", "电源", "The backup reminder is not settled"):
        assert text in page.text
    assert record_of(working) is None or not record_of(working).frozen


def test_a_photo_is_stripped_and_shown(working: Visit, engineer: User, colleague: User, logged_in: LogIn) -> None:
    picture = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    Image.new("RGB", (3000, 2000), "gray").save(picture, "JPEG", exif=exif)

    sent = logged_in(engineer).post(
        f"/visits/{working.id}/photos",
        data={"kind": "before", "photos": (io.BytesIO(picture.getvalue()), "../../etc/passwd.jpg")},
    )

    assert sent.status_code == 303
    photo = record_of(working).photos[0]
    assert (photo.width, photo.height) == (1600, 1067)
    shown = logged_in(engineer).get(f"/photos/{photo.id}/full.jpg")
    assert shown.mimetype == "image/jpeg"
    assert b"a secret place" not in shown.data
    assert logged_in(colleague).get(f"/photos/{photo.id}/full.jpg").status_code == 404


def test_a_picture_that_is_none_is_refused_with_a_sentence(working: Visit, engineer: User, logged_in: LogIn) -> None:
    sent = logged_in(engineer).post(
        f"/visits/{working.id}/photos",
        data={"kind": "before", "photos": (io.BytesIO(b"<svg onload=alert(1)>"), "x.jpg")},
        headers={"Accept": "application/json"},
    )

    assert sent.status_code == 422
    assert "no photo we can read" in sent.json["message"]


def test_autosave_keeps_the_draft_and_tells_its_revision(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser, url = logged_in(engineer), f"/visits/{working.id}/record/draft"
    json = {"Accept": "application/json"}

    first = browser.post(url, data={"content_text": "更"}, headers=json)
    second = browser.post(url, data={"content_text": "更换", "revision": first.json["revision"]}, headers=json)
    stale = browser.post(url, data={"content_text": "旧", "revision": first.json["revision"]}, headers=json)

    assert (first.status_code, second.status_code, stale.status_code) == (200, 200, 409)
    assert record_of(working).content_text == "更换"


def test_the_manager_reviews_and_the_engineer_corrects(
    working: Visit, engineer: User, manager: User, logged_in: LogIn
) -> None:
    signed(working, engineer)
    boss, hand = logged_in(manager), logged_in(engineer)

    assert boss.get(f"/visits/{working.id}/review").status_code == 200
    assert boss.post(f"/visits/{working.id}/review", data={"manager_typed": "钱军"}).status_code == 303
    form = {
        "service_type": "maintenance",
        "content_text": "更换主板并重装系统",
        "outcome": "all_done",
        "correction_reason": "漏写",
        "customer_method": "remote",
        "customer_name": "陈晓",
        "customer_reason": "电话确认",
        "contact_phone": "13900000001",
    }
    assert hand.get(f"/visits/{working.id}/correction").status_code == 200
    assert hand.post(f"/visits/{working.id}/correction", data=form).status_code == 303

    assert record_of(working).revision == 2
    assert "更换主板并重装系统" in hand.get(f"/visits/{working.id}/record").text


def test_the_same_number_with_other_content_is_refused_and_the_first_stays(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser, url = logged_in(engineer), f"/visits/{working.id}/record"
    first = {"submission_id": str(uuid7()), "content_text": "更换主板"}

    assert browser.post(url, data=first).status_code == 303
    assert browser.post(url, data=first).status_code == 303
    other = browser.post(url, data={**first, "content_text": "没有更换"}, headers={"Accept": "application/json"})

    assert (other.status_code, other.json["error"]) == (422, "key_reused")
    assert record_of(working).content_text == "更换主板"


def test_a_body_that_changed_on_the_way_is_refused(working: Visit, engineer: User, logged_in: LogIn) -> None:
    body = b"content_text=%E6%9B%B4"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    browser, url = logged_in(engineer), f"/visits/{working.id}/record"

    right = browser.post(url, data=body, headers={**headers, "X-Body-SHA256": sha256(body).hexdigest()})
    wrong = browser.post(url, data=body, headers={**headers, "X-Body-SHA256": sha256(b"").hexdigest()})

    assert (right.status_code, wrong.status_code) == (200, 422)
    assert right.json["body_sha256"] == sha256(body).hexdigest()
