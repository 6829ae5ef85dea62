"""X11, X12, X13, X14: the office changed its mind while the engineer worked without signal. Nobody's work is lost."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy import select

from fieldapp.extensions import db
from fieldapp.tickets.desk.models import DeskNote
from fieldapp.visits.models import Visit
from tests.faults.conftest import FieldDay

pytestmark = pytest.mark.crash


def test_x11_the_office_moves_the_window_while_the_engineer_writes(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    day.begin(phone, visit)
    assert day.office.plan(visit, phone.user)
    planned = window_of(day, visit)

    day.finish(phone, visit)
    day.all_is_well()

    assert window_of(day, visit) == planned
    assert [record["content"] for record in day.records(visit)] == ["更换主板，测试正常"]
    assert day.office.status(visit) == "completed"
    assert day.cases() == []
    assert set(day.outcomes(phone)) <= {"applied", "noted"}
    assert day.outcomes(phone)[-1] == "applied"


def test_x11_different_fields_changed_on_both_sides_are_merged(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    for noun in ("acceptance", "departure", "arrival", "start"):
        phone.tap(visit, noun)
    phone.settle()
    assert day.office.edit(visit, content_text="更换主板", remark="")
    day.begin_record(phone, visit, content_text="更换主板，测试正常")
    assert day.office.edit(visit, remark="请带走旧主板")

    day.finish(phone, visit)
    day.all_is_well()

    (record,) = day.records(visit)
    assert (record["content"], record["remark"]) == ("更换主板，测试正常", "请带走旧主板")
    assert day.outcomes(phone)[-1] == "merged"
    assert day.cases() == []


def test_x12_the_same_words_changed_on_both_sides_are_both_kept(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    for noun in ("acceptance", "departure", "arrival", "start"):
        phone.tap(visit, noun)
    phone.settle()
    assert day.office.edit(visit, content_text="更换主板")
    day.begin_record(phone, visit, content_text="更换主板和电源")
    assert day.office.edit(visit, content_text="只更换了电源")

    completion = day.finish(phone, visit)
    day.all_is_well()

    receipt = phone.disk.receipts[completion.id]
    assert receipt["outcome"] == "conflict"
    assert receipt["sentence"]
    assert [record["content"] for record in day.records(visit)] == ["更换主板和电源"]
    (facts,) = day.cases("conflict")
    told = json.dumps(facts, ensure_ascii=False)
    assert "更换主板和电源" in told
    assert "只更换了电源" in told


def test_x13_the_visit_was_cancelled_while_the_work_was_done(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    day.begin(phone, visit)
    assert day.office.cancel(visit)

    day.finish(phone, visit)
    day.all_is_well()

    assert len(day.records(visit)) == 1
    assert day.office.status(visit) == "completed"
    assert len(day.cases("despite_cancellation")) == 1
    assert any(receipt["sentence"] for receipt in phone.disk.receipts.values())
    notes = day.office.ask(lambda: list(db.session.scalars(select(DeskNote.text))))
    assert any("despite" in note.lower() for note in notes), notes


def test_x14_the_visit_was_given_to_somebody_else_and_both_did_it(day: FieldDay) -> None:
    first, second = day.phone("wanglei"), day.phone("liting")
    visit = day.plan(first)
    day.begin(first, visit)
    first.write(visit, content_text="王磊的记录")
    assert day.office.plan(visit, second.user)
    day.begin(second, visit)
    second.write(visit, content_text="李婷的记录")

    day.finish(second, visit)
    second.settle()
    day.finish(first, visit)
    day.all_is_well()

    assert {record["content"] for record in day.records(visit)} == {"王磊的记录", "李婷的记录"}
    assert len(day.cases("second_record")) == 1
    beside = day.office.ask(lambda: list(db.session.scalars(select(Visit).where(Visit.parent_id == UUID(visit)))))
    assert [(str(each.lead_id), each.status) for each in beside] == [(first.user, "completed")]
    assert day.office.status(visit) == "completed"


def test_x14_who_had_the_visit_before_may_be_the_first_to_send(day: FieldDay) -> None:
    first, second = day.phone("wanglei"), day.phone("liting")
    visit = day.plan(first)
    day.begin(first, visit)
    assert day.office.plan(visit, second.user)
    day.work(second, visit)

    day.finish(first, visit)
    first.settle()
    day.all_is_well()

    assert len(day.records(visit)) == 2
    assert len(day.cases("second_record")) == 1
    assert day.outcomes(second)[-1] == "applied"


# ---- below ------------------------------------------------------------------------------------------


def window_of(day: FieldDay, visit: str) -> object:
    def read() -> object:
        found = db.session.get_one(Visit, UUID(visit))
        return found.window_start, found.window_end, found.lead_id

    return day.office.ask(read)
