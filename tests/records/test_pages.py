"""The record's pages, walked as the engineer, the customer and the manager walk them, without JavaScript."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from lxml import html
from PIL import Image

from fieldapp import clock
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import operation, uuid7
from fieldapp.records import operations as records
from fieldapp.records.queries import record_of
from fieldapp.records.values import Given, OpenLine, PartLine
from fieldapp.reports.models import Report
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.records.samples import DRAWN, NOT_NEEDED, filled, signed

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
        "acknowledgement_method": "remote",
        "acknowledgement_name": "陈晓",
        "acknowledgement_reason": "电话确认",
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


PRINTED = (  # the printed form's labels in its order, F1 to F14
    "Service record",
    "Service type",
    "Customer name",
    "Service content",
    "Outcome of this service",
    "The customer was reminded to back up the ledger set!",
    "Customer rating: technical skill and service attitude",
    "Time of service",
    "Remarks",
    "Contact phone",
    "after the customer",
    "later, in the office",
)


def test_the_form_follows_the_printed_one(working: Visit, engineer: User, logged_in: LogIn) -> None:
    page = html.fromstring(logged_in(engineer).get(f"/visits/{working.id}/record").text)
    said = " ".join(f"{page.xpath('//h1')[0].text_content()} {page.get_element_by_id('main').text_content()}".split())

    found = [said.find(label) for label in PRINTED]
    assert -1 not in found
    assert found == sorted(found)


@pytest.mark.parametrize("begun", [False, True], ids=["nothing done yet", "backup settled before the form"])
def test_the_form_knows_what_the_system_knows(working: Visit, engineer: User, logged_in: LogIn, begun: bool) -> None:
    if begun:
        records.acknowledge_backup(working, NOT_NEEDED, by=engineer)

    page = html.fromstring(logged_in(engineer).get(f"/visits/{working.id}/record").text)
    value = {
        each.get("name"): each.get("value")
        for each in page.xpath("//form[@id='record']//input[@name][not(@type='radio')]")
    }

    assert page.xpath("//input[@name='service_type'][@checked]/@value") == ["maintenance"]
    assert value["customer_name"] == working.customer.name
    assert value["contact_phone"] == "13900000001"
    assert value["started_at"] == clock.local(working.started_at, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"content_text": "字" * 4001}, "content_text", "Write at most 4000 characters; these are 4001."),
        ({"remark": "\r\n".join("行" * 201)}, "remark", "Write at most 200 lines; these are 201."),
        ({"parts-0-name": "主板", "parts-0-quantity": "0"}, "parts-0-quantity", "Write a number from 1 to 9999."),
        ({"parts-0-name": "主板", "parts-0-quantity": "两个"}, "parts-0-quantity", "Write a whole number."),
        ({"open_items-0-promised_by": "下周"}, "open_items-0-promised_by", "Write a day such as 2026-11-21."),
        ({"started_at": "上午"}, "started_at", "Write a day and time such as 2026-11-21 14:09."),
        ({f"parts-{n}-name": "螺丝" for n in range(31)}, "parts", "At most 30 rows; put the rest into the remarks."),
    ],
)
def test_what_does_not_fit_is_said_at_its_field_and_nothing_typed_is_lost(
    working: Visit, engineer: User, logged_in: LogIn, typed: dict[str, str], field: str, sentence: str
) -> None:
    browser, url = logged_in(engineer), f"/visits/{working.id}/record"

    page = browser.post(url, data={"tools": "万用表", **typed})
    told = browser.post(f"{url}/draft", data=typed, headers={"Accept": "application/json"})

    assert page.status_code == 422
    form = html.fromstring(page.text)
    assert form.xpath(f"//a[@href='#{field}']")[0].text_content() == sentence
    assert form.get_element_by_id(field) is not None
    assert sentence in form.get_element_by_id("record").text_content()
    shown = form.xpath("//*[@name]/@value") + [each.text_content().lstrip("\n") for each in form.xpath("//textarea")]
    for text in ("万用表", *typed.values()):
        assert text.replace("\r\n", "\n") in [each.replace("\r\n", "\n") for each in shown]
    assert told.json["fields"] == {field: sentence}


def test_as_much_as_fits_is_kept(working: Visit, engineer: User, logged_in: LogIn) -> None:
    text = "\n".join(["字" * 19] * 200)

    kept = logged_in(engineer).post(f"/visits/{working.id}/record", data={"content_text": text})

    assert kept.status_code == 303
    assert len(record_of(working).content_text) == 3999


def test_the_photo_form_without_javascript_has_an_empty_file_beside_the_photo(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser, url = logged_in(engineer), f"/visits/{working.id}/photos"
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "gray").save(picture, "PNG")

    sent = browser.post(
        url, data={"kind": "after", "photos": [(io.BytesIO(b""), ""), (io.BytesIO(picture.getvalue()), "a.png")]}
    )
    none = browser.post(url, data={"kind": "after", "photos": [(io.BytesIO(b""), ""), (io.BytesIO(b""), "")]})

    assert (sent.status_code, none.status_code) == (303, 422)
    assert [photo.kind for photo in record_of(working).photos] == ["after"]
    assert "Choose a photo first." in none.text


def test_the_customer_reads_everything_that_is_signed(working: Visit, engineer: User, logged_in: LogIn) -> None:
    left = OpenLine(text="更换电源模块", cause="备件缺货", part="PSU-800", promised_by=date(2027, 1, 15))
    part = PartLine(name="主板", serial="MB-9", quantity=2, old_serial="MB-1")
    more = {"prevention": "每季度除尘", "tools": "万用表", "remark": "钥匙在前台", "times_reason": "忘记点开始"}
    form = filled(outcome="remaining", open_items=(left,), parts=(part,), contact_phone="13900000001", **more)
    records.save(working, form, by=engineer)
    records.acknowledge_backup(working, Given(method="refused", reason="客户自行备份"), by=engineer)
    records.finish(working, by=engineer)

    page = html.fromstring(logged_in(engineer).get(f"/visits/{working.id}/hand-over").text)
    said = " ".join(page.text_content().split()) + " ".join(page.xpath("//input/@value"))

    content = record_of(working).frozen_content
    for text in _texts(content):
        assert text in said
    assert record_of(working).short_code in said


def _texts(value: object) -> list[str]:
    """Every text of the content that a person wrote or reads; keys, moments and hashes are said in other words."""
    if isinstance(value, dict):
        hidden = ("id", "kind", "form_version", "timezone", "state", "service_type", "outcome", "photos")
        return [text for name, each in value.items() if name not in hidden for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) and value and "T" not in value[8:12] else []


def test_a_phone_in_the_customers_hand_is_not_stuck_when_the_record_is_opened_elsewhere(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    give_pin(engineer)
    handed, other = logged_in(engineer), logged_in(engineer)
    typed = {"service_type": "maintenance", "content_text": "更换主板", "outcome": "all_done"}
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    assert handed.post(f"/visits/{working.id}/hand-over", data=typed).status_code == 303

    assert other.post(f"/visits/{working.id}/reopening").status_code == 303
    page = handed.get(f"/visits/{working.id}/hand-over")

    assert page.status_code == 200
    assert "The engineer is changing the record" in page.text
    assert "更换主板" not in page.text
    assert handed.post("/taking-back", data={"pin": "0000"}).status_code == 422
    assert handed.post("/taking-back", data={"pin": PIN}).location == f"/visits/{working.id}"


def test_a_refused_correction_keeps_what_was_typed(working: Visit, engineer: User, logged_in: LogIn) -> None:
    signed(working, engineer)
    browser, url = logged_in(engineer), f"/visits/{working.id}/correction"
    form = {
        "service_type": "maintenance",
        "customer_name": "华东精密机械有限公司",
        "content_text": "更换主板并重装系统",
        "outcome": "all_done",
        "correction_reason": "漏写",
        "acknowledgement_method": "typed",
        "acknowledgement_name": "",
    }

    unnamed = browser.post(url, data=form)
    unchanged = browser.post(
        url,
        data={
            **form,
            "content_text": "更换主板,测试正常",
            "cause": "主板电容老化",
            "solution": "更换主板",
            "contact_phone": "13900000001",
        },
    )

    assert (unnamed.status_code, unchanged.status_code) == (422, 422)
    assert "Please write the full name of who signs." in unnamed.text
    assert "更换主板并重装系统" in unnamed.text
    assert "Nothing was changed" in unchanged.text
    assert browser.post(url, data={**form, "acknowledgement_name": "陈晓"}).status_code == 303
    assert record_of(working).signature("customer").name == "陈晓"


def test_a_signed_record_leads_to_its_report(working: Visit, engineer: User, colleague: User, logged_in: LogIn) -> None:
    signed(working, engineer)
    browser, url = logged_in(engineer), f"/visits/{working.id}/report"

    assert url in browser.get(f"/visits/{working.id}/record").text
    early = browser.get(url)
    assert early.status_code == 409
    assert "The report is being made" in early.text
    add(Report(record_id=record_of(working).id, locale="en", sha256="0" * 64, size=1, pages=1, content_hash="1" * 64))

    assert browser.get(url).location.endswith(".pdf")
    assert logged_in(colleague).get(url).status_code == 404


def test_a_record_that_waits_for_signatures_leads_there(working: Visit, engineer: User, logged_in: LogIn) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)

    answer = logged_in(engineer).get(f"/visits/{working.id}/record")

    assert answer.location == f"/visits/{working.id}/completion"


def test_a_page_older_than_the_draft_does_not_replace_it_when_finishing(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser, base = logged_in(engineer), f"/visits/{working.id}"
    json = {"Accept": "application/json"}
    first = browser.post(f"{base}/record/draft", data={"content_text": "旧"}, headers=json).json["revision"]
    browser.post(f"{base}/record/draft", data={"content_text": "新的内容", "revision": first}, headers=json)

    page = browser.post(f"{base}/hand-over", data={"content_text": "旧的内容", "revision": first})

    assert page.status_code == 409
    assert "旧的内容" in page.text
    assert record_of(working).content_text == "新的内容"


def test_the_same_photos_sent_twice_by_a_plain_form_are_once(working: Visit, engineer: User, logged_in: LogIn) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "gray").save(picture, "PNG")
    browser, url = logged_in(engineer), f"/visits/{working.id}/photos"

    def sent() -> int:
        body = {"kind": "before", "submission_id": str(working.id), "photos": (io.BytesIO(picture.getvalue()), "a.png")}
        return browser.post(url, data=body, content_type=f"multipart/form-data; boundary={uuid7().hex}").status_code

    assert (sent(), sent()) == (303, 303)
    assert len(record_of(working).photos) == 1
