"""X21: the phone's clock is a day behind, two hours ahead, or starts anew in 1970. Order and sessions do not depend on it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fieldapp import clock
from tests.faults.conftest import FieldDay

pytestmark = pytest.mark.crash
STEPS = ["accepted", "departed", "arrived", "started", "backup_acknowledged", "finished", "completed"]


@pytest.mark.parametrize(
    "wrong_by",
    [timedelta(days=-1), timedelta(hours=2), timedelta(days=-56 * 365)],
    ids=["a day behind", "two hours ahead", "1970"],
)
def test_x21_a_wrong_clock_changes_neither_order_nor_times(day: FieldDay, wrong_by: timedelta) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    phone.wrong_by = wrong_by
    before = clock.now()
    day.work(phone, visit)

    phone.settle()
    after = clock.now()

    assert day.outcomes(phone) == ["applied"] * 6
    events = [each for each in day.events(visit) if each.submission_id]
    assert [each.type for each in events] == STEPS
    assert all(each.skew_s is not None and abs(each.skew_s - wrong_by.total_seconds()) < 60 for each in events)
    (record,) = day.records(visit)
    started, ended = clock.parse_device_time(record["started_at"]), clock.parse_device_time(record["ended_at"])
    assert started is not None
    assert ended is not None
    slack = timedelta(minutes=2)
    assert before - slack <= started <= ended <= after + slack
    day.all_is_well()


def test_x21_a_clock_that_jumps_while_the_queue_waits_keeps_the_order(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    jumps = (timedelta(hours=2), timedelta(days=-56 * 365), timedelta(), timedelta(days=-1))
    for noun, wrong_by in zip(("acceptance", "departure", "arrival", "start"), jumps, strict=True):
        phone.wrong_by = wrong_by
        phone.tap(visit, noun)
    phone.wrong_by = timedelta()

    phone.settle()

    assert [each.type for each in day.events(visit) if each.submission_id] == STEPS[:4]
    assert day.office.status(visit) == "working"
    day.all_is_well()
