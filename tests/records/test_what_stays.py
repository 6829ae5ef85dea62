"""What a saving, a signature or a correction must leave as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from lxml import html
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset
from fieldapp.extensions import db, operation
from fieldapp.records import operations as records
from fieldapp.records.queries import open_items_for, record_of
from fieldapp.records.values import Evaluation, Given, OpenLine
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.records.samples import DRAWN, NOT_NEEDED, filled, signed

LogIn = Callable[[User], FlaskClient]
BY_PHONE = {
    "acknowledgement_method": "remote",
    "acknowledgement_name": "陈晓",
    "acknowledgement_reason": "电话确认",
}
FORM = {"service_type": "maintenance", "customer_name": "华东精密机械有限公司", "content_text": "更换主板,测试正常"}
AS_SIGNED = {**FORM, "outcome": "all_done", "cause": "主板电容老化", "solution": "更换主板"}


def test_a_stale_saving_does_not_replace_parts_that_were_saved_meanwhile(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser, address = logged_in(engineer), f"/visits/{working.id}/record"
    browser.post(address, data=FORM)
    seen = {"revision": str(record_of(working).draft_revision)}

    first = browser.post(address, data={**FORM, **seen, "parts-0-name": "主板"})
    late = browser.post(address, data={**FORM, **seen, "parts-0-name": "风扇"})

    assert (first.status_code, late.status_code) == (303, 409)
    assert "风扇" in late.text
    assert [part.name for part in record_of(working).parts] == ["主板"]


def test_the_customer_signs_what_was_shown_though_the_file_changed_meanwhile(
    working: Visit, engineer: User, asset: Asset
) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    shown = record_of(working).frozen_content

    _rename(asset, "ZW-9000")
    records.customer_sign(
        working,
        Evaluation(skill_rating="good", attitude_rating="fair", contact_phone="13911112222"),
        Given(method="drawn", name="陈晓", strokes=DRAWN),
        by=engineer,
    )

    record = record_of(working)
    added = {"skill_rating": "good", "attitude_rating": "fair", "contact_phone": "13911112222"}
    assert record.frozen_content == {**shown, **added}
    assert record.signature("customer").content_hash == record.content_hash


def test_a_correction_keeps_what_the_visit_solved(
    working: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    following = _next_visit_that_solves_all(working, engineer, dispatcher)

    data = {**AS_SIGNED, **BY_PHONE, "content_text": "更换风扇", "correction_reason": "笔误"}
    assert logged_in(engineer).post(f"/visits/{following.id}/correction", data=data).status_code == 303

    assert record_of(following).revision == 2
    assert record_of(following).frozen_content["solved_items"] == ["换风扇"]


def test_a_correction_does_not_open_again_what_a_later_visit_solved(
    working: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    following = _next_visit_that_solves_all(working, engineer, dispatcher)

    data = {**AS_SIGNED, **BY_PHONE, "outcome": "remaining", "correction_reason": "笔误"}
    data |= {"content_text": "检查", "open_items-0-text": "换风扇", "open_items-1-text": "装补丁"}
    assert logged_in(engineer).post(f"/visits/{working.id}/correction", data=data).status_code == 303

    kept, added = record_of(working).open_items
    assert (kept.text, kept.closed_by_visit_id) == ("换风扇", following.id)
    assert kept.closed_at is not None
    assert added.closed_at is None
    assert [item.text for item in open_items_for(following)] == ["装补丁"]


def test_a_correction_of_what_somebody_corrected_meanwhile_is_shown_again(
    working: Visit, engineer: User, manager: User, logged_in: LogIn
) -> None:
    signed(working, engineer)
    address = f"/visits/{working.id}/correction"
    page = html.fromstring(logged_in(engineer).get(address).text)
    seen = {"revision": page.xpath("//form[@id='correction']//input[@name='revision']/@value")[0]}
    data = {**AS_SIGNED, **BY_PHONE, **seen}

    first = {**data, "content_text": "更换主板及电源", "correction_reason": "漏写"}
    late = {**data, "remark": "建议加装稳压器", "correction_reason": "补充"}
    assert logged_in(manager).post(address, data=first).status_code == 303
    refused = logged_in(engineer).post(address, data=late)

    assert refused.status_code == 422
    assert "建议加装稳压器" in refused.text
    assert record_of(working).content_text == "更换主板及电源"
    assert record_of(working).revision == 2


def test_what_was_typed_can_be_read_by_the_office_and_after_a_visit_that_could_not_be_completed(
    working: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    records.save(working, filled(outcome=None, content_text="主板电容鼓包"), by=engineer)

    office = logged_in(dispatcher).get(f"/visits/{working.id}/record")
    visits.cannot_complete(working, "缺主板", by=engineer)
    later = logged_in(engineer).get(f"/visits/{working.id}/record")

    for page in (office, later):
        assert page.status_code == 200
        assert "主板电容鼓包" in page.text
        assert "This is a draft" in page.text
        assert "<form" not in html.tostring(html.fromstring(page.text).xpath("//main")[0], encoding="unicode")


@pytest.mark.parametrize(
    ("name", "typed"),
    [("started_at", "0001-01-01T00:00"), ("ended_at", "9999-12-31T23:59"), ("open_items-0-promised_by", "0026-11-25")],
)
def test_a_year_that_was_half_typed_is_said_at_its_field(
    working: Visit, engineer: User, logged_in: LogIn, name: str, typed: str
) -> None:
    data = {**FORM, "open_items-0-text": "换风扇", name: typed}

    page = logged_in(engineer).post(f"/visits/{working.id}/record", data=data)

    assert page.status_code == 422
    assert typed[:10] in page.text
    assert f'id="{name}-error"' in page.text


def test_a_number_that_is_none_guards_nothing(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser, address = logged_in(engineer), f"/visits/{working.id}/record"

    assert browser.post(address, data={**FORM, "revision": "²"}).status_code == 303
    assert browser.post(address, data=FORM, headers={"X-Sequence": "²"}).status_code == 303


@operation
def _rename(asset: Asset, model: str) -> None:
    db.session.get_one(Asset, asset.id).model = model


def _next_visit_that_solves_all(visit: Visit, engineer: User, dispatcher: User) -> Visit:
    """The visit leaves something open; the one that follows from it solves that."""
    signed(visit, engineer, filled(outcome="remaining", open_items=(OpenLine(text="换风扇"),)))
    following = db.session.scalars(select(Visit).where(Visit.parent_id == visit.id)).one()
    start = clock.now() + timedelta(hours=2)
    visits.plan(following, visits.Plan(lead_id=engineer.id, window_start=start), by=dispatcher)
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(following, by=engineer)
    left = tuple(item.id for item in open_items_for(following))
    signed(following, engineer, filled(solved_item_ids=left))
    return following
