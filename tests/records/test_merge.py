"""The same record changed on two sides: what each rule gives, and what holds for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldapp.records.merge import GROUPS, ROWS, UNION, Conflict, filled, groups, merge, phone_only, rows, without_gaps
from fieldapp.records.values import Filled, OpenLine, PartLine

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
WORDS = st.sampled_from(["", "主板", "电源", "更换主板,测试正常", "a\nb"])
HOURS = st.one_of(st.none(), st.integers(0, 5).map(lambda hours: NOON + timedelta(hours=hours)))
PARTS = st.builds(PartLine, name=st.sampled_from(["PSU", "RAM"]), quantity=st.integers(1, 2))
LEFT = st.builds(OpenLine, text=st.sampled_from(["更换风扇", "升级"]), part=st.sampled_from(["", "FAN"]))
SOLVED = st.lists(st.integers(1, 3).map(lambda n: UUID(int=n)), unique=True, max_size=3).map(tuple)
FORMS = st.builds(
    Filled,
    service_type=st.sampled_from([None, "maintenance", "remote"]),
    customer_name=WORDS,
    content_text=WORDS,
    outcome=st.sampled_from([None, "all_done", "remaining"]),
    started_at=HOURS,
    ended_at=HOURS,
    times_reason=WORDS,
    remark=WORDS,
    contact_phone=WORDS,
    cause=WORDS,
    solution=WORDS,
    prevention=WORDS,
    tools=WORDS,
    parts=st.lists(PARTS, max_size=3).map(tuple),
    open_items=st.lists(LEFT, max_size=3).map(tuple),
    solved_item_ids=SOLVED,
).map(groups)


def form(**changes: Any) -> dict[str, Any]:
    return groups(Filled(**changes))


def test_a_field_that_one_side_changed_is_that_sides() -> None:
    merged = merge(form(cause="?"), form(cause="?", content_text="更换主板"), form(cause="电容老化"))

    assert (merged.values["content_text"], merged.values["cause"]) == ("更换主板", "电容老化")
    assert merged.taken == ("cause",)
    assert merged.conflicts == {}


def test_x12_a_field_that_both_changed_keeps_the_phones_text_and_hands_back_the_offices() -> None:
    merged = merge(form(remark="旧"), form(remark="手机"), form(remark="办公室"))

    assert merged.values["remark"] == "手机"
    assert merged.conflicts == {"remark": Conflict("旧", "手机", "办公室")}


def test_start_and_end_are_one_group() -> None:
    base = form(started_at=NOON, ended_at=NOON + timedelta(hours=1))
    phone = form(started_at=NOON - timedelta(hours=2), ended_at=NOON + timedelta(hours=1))
    office = form(started_at=NOON, ended_at=NOON + timedelta(hours=3))

    merged = merge(base, phone, office)

    assert merged.values["times"] == phone["times"], "a window of the one's start and the other's end, nobody chose"
    assert set(merged.conflicts) == {"times"}


def test_rows_of_both_sides_are_added_and_the_same_row_is_one() -> None:
    old, new, theirs = PartLine(name="PSU"), PartLine(name="RAM"), PartLine(name="SSD")

    assert rows([old], [old, new], [old, theirs]) == (old, new, theirs)
    assert rows([old], [old, new], [old, new]) == (old, new)
    assert rows([old], [old, old], [old]) == (old, old)


def test_a_row_that_the_office_took_out_is_out_unless_the_phone_wrote_it_anew() -> None:
    old, changed, new = OpenLine(text="风扇"), OpenLine(text="风扇", part="FAN"), OpenLine(text="升级")

    assert rows([old], [old, new], []) == (new,)
    assert rows([old], [changed], []) == (changed,)
    assert rows([old], [], [old, new]) == (new,)


def test_line_ends_outer_blanks_and_seconds_are_no_change() -> None:
    written = form(remark="一\r\n二 ", started_at=NOON + timedelta(seconds=7))

    assert merge(form(remark="一\n二", started_at=NOON), form(remark="三", started_at=NOON), written).conflicts == {}


def test_a_time_that_the_office_does_not_hold_is_no_change() -> None:
    base, office = Filled(started_at=NOON), Filled(cause="电容")

    assert without_gaps(office, base) == Filled(started_at=NOON, cause="电容")


def test_where_a_merge_makes_no_sense_the_phones_record_stands_whole() -> None:
    base, phone = form(), form(outcome="all_done", content_text="好")
    office = form(open_items=(OpenLine(text="风扇"),), content_text="好")

    alone = phone_only(base, phone, office)

    assert dict(alone.values) == phone
    assert set(alone.conflicts) == {"open_items"}


# ---- what holds for all of them ---------------------------------------------------------------------


@given(base=FORMS, other=FORMS)
def test_a_side_that_changed_nothing_gives_way(base: dict[str, Any], other: dict[str, Any]) -> None:
    assert dict(merge(base, other, base).values) == other
    assert dict(merge(base, base, other).values) == other
    assert merge(base, other, base).conflicts == merge(base, base, other).conflicts == {}


@given(base=FORMS, both=FORMS)
def test_the_same_change_on_both_sides_is_no_conflict(base: dict[str, Any], both: dict[str, Any]) -> None:
    merged = merge(base, both, both)

    assert (dict(merged.values), merged.taken, merged.conflicts) == (both, (), {})


@given(base=FORMS, phone=FORMS, office=FORMS, whole=st.booleans())
def test_nothing_that_was_typed_is_lost(
    base: dict[str, Any], phone: dict[str, Any], office: dict[str, Any], *, whole: bool
) -> None:
    merged = phone_only(base, phone, office) if whole else merge(base, phone, office)

    for side in (phone, office):
        for name in GROUPS:
            if name in merged.conflicts:
                assert side[name] in (merged.conflicts[name].phone, merged.conflicts[name].office)
            elif name in (*ROWS, UNION):
                assert set(side[name]) - set(base[name]) <= set(merged.values[name])
            elif side[name] != base[name]:
                assert side[name] == merged.values[name]


@given(values=FORMS)
def test_the_form_comes_back_from_its_groups(values: dict[str, Any]) -> None:
    assert groups(filled(values)) == values


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_is_compared(name: str) -> None:
    assert name in form()
