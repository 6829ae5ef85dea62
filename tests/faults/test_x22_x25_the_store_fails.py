"""X22, X23, X25, and X24 over the wire: the ticket store fails in every way, and each promise has exactly one effect in it.

The store is a double on loopback that writes twice what it is told twice; where a process dies, it is a real one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path

import pytest
import time_machine
from flask import Flask, Response
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db
from fieldapp.outbox import Attempt, Promise
from fieldapp.sync import worker
from fieldapp.sync.models import StoreBreaker
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.stores import STORES
from tests.sync.conftest import due_at, lease_over, on_site, unfinished  # noqa: F401 - fixtures
from tests.sync.double import (  # noqa: F401 - fixtures
    KILLED,
    NAME,
    BlindStore,
    Double,
    DoubleStore,
    app,
    double,
    said,
    ticket_in,
    worked,
)

POINTS = ("after_http", "before_settle", "after_claim", "before_call", "after_settle")
Finished = Callable[[Ticket], Promise]


@pytest.fixture
def time(app: Flask) -> Iterator[time_machine.Traveller]:  # noqa: F811
    """Time stands still until the test moves it."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


def work() -> None:
    while worker.run_once("w"):
        pass


def states() -> Counter[str]:
    db.session.rollback()
    return Counter(db.session.scalars(select(Promise.state).where(Promise.store == NAME)))


def uids(double: Double, ref: str) -> list[str]:  # noqa: F811
    return [note["uid"] for note in double.notes(ref)]


def in_order(ref: str) -> list[str]:
    """The uids of a ticket's lane."""
    query = select(Promise.uid).where(Promise.lane == f"{NAME}:{ref}").order_by(Promise.lane_seq)
    return list(db.session.scalars(query))


def lose_answers(
    share: float, refuse: float = 0.0
) -> tuple[Callable[..., Response | None], Callable[..., Response | None]]:
    """Before: this share of requests never comes in. After: of writes that came in, this share of answers is lost."""
    rng = random.Random(20261122)
    answer = said({"error": "gateway"}, 502)
    return (
        lambda _method, _path: answer if rng.random() < refuse else None,
        lambda method, _path: answer if method == "POST" and rng.random() < share else None,
    )


# ---- X22 -------------------------------------------------------------------------------------------------


def test_x22_a_store_that_fails_for_six_hours_costs_engineers_nothing_and_drains_in_order(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    time: time_machine.Traveller,
) -> None:
    tickets = [ticket_in(double, f"T-{n}") for n in range(4)]
    double.before = lambda _method, _path: said({"error": "no disk"}, 500)
    began = clock.now()

    for n in range(12):  # engineers go on finishing visits all the time
        unfinished(tickets[n % 4])
        until = began + timedelta(minutes=30 * (n + 1))
        while clock.now() < until:
            worker.pull_now()
            work()
            time.shift(timedelta(minutes=1))
    asked = len(double.asked)
    assert states() == {"pending": 12}
    assert db.session.get_one(StoreBreaker, NAME).open

    double.before = lambda _method, _path: None
    time.shift(timedelta(minutes=15))
    work()

    assert states() == {"delivered": 12}
    for ticket in tickets:
        assert uids(double, ticket.ref) == in_order(ticket.ref)
    assert asked < 60  # in six hours; the store was left alone
    assert not db.session.get_one(StoreBreaker, NAME).open
    assert max(row.attempts - row.forgiven for row in db.session.scalars(select(Promise))) <= 6


# ---- X23 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [True, False])
def test_x23_a_note_whose_answer_never_came_is_found_and_not_written_again(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    looks: bool,
) -> None:
    monkeypatch.setitem(STORES, NAME, DoubleStore if looks else BlindStore)
    row = unfinished(ticket_in(double, "T-1"))
    lost = [said({"error": "gateway timeout"}, 504)]
    double.after = lambda method, _path: lost.pop() if method == "POST" and lost else None

    work()
    db.session.refresh(row)
    assert (row.state, len(double.notes("T-1"))) == ("retry_wait", 1)
    due_at(clock.now())
    work()

    db.session.refresh(row)
    assert row.state == "delivered"
    assert len(double.notes("T-1")) == (1 if looks else 2)
    assert [each.outcome for each in row.tries] == ["retry", "delivered"]


def test_x23_half_of_all_answers_lost_and_a_fifth_of_all_requests_doubles_and_loses_nothing(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    time: time_machine.Traveller,
) -> None:
    tickets = [ticket_in(double, f"T-{n}") for n in range(5)]
    for n in range(20):
        unfinished(tickets[n % 5])
    double.before, double.after = lose_answers(0.5, 0.2)

    for _turn in range(200):
        work()
        if states() == {"delivered": 20}:
            break
        time.shift(timedelta(minutes=5))

    assert states() == {"delivered": 20}
    for ticket in tickets:
        assert uids(double, ticket.ref) == in_order(ticket.ref)


# ---- X24 over the wire --------------------------------------------------------------------------------------


@pytest.mark.crash
@pytest.mark.parametrize("looks", [True, False])
def test_x24_workers_killed_at_every_point_of_a_delivery_over_the_wire(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    tmp_path: Path,
    looks: bool,
) -> None:
    tickets = [ticket_in(double, f"T-{n}") for n in range(5)]
    for n in range(10):
        unfinished(tickets[n % 5])
    db.session.rollback()

    for point in islice(cycle(POINTS), 10):
        assert worked(tmp_path, double.port, point, looks=looks) == KILLED
        lease_over()
        due_at(clock.now())
    assert worked(tmp_path, double.port, looks=looks) == 0

    assert states() == {"delivered": 10}
    written = [uid for ticket in tickets for uid in uids(double, ticket.ref)]
    if looks:
        assert [uids(double, ticket.ref) for ticket in tickets] == [in_order(ticket.ref) for ticket in tickets]
    else:
        assert len(written) > 10  # the same without looking: this test can fail


@pytest.mark.crash
def test_x24_two_workers_race_on_the_same_lanes_and_neither_doubles_nor_starves(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    tmp_path: Path,
) -> None:
    tickets = [ticket_in(double, f"T-{n}") for n in range(4)]
    for n in range(24):
        unfinished(tickets[n % 4])
    db.session.rollback()

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _n: worked(tmp_path, double.port), range(2)))

    assert ended == [0, 0]
    assert states() == {"delivered": 24}
    assert [uids(double, ticket.ref) for ticket in tickets] == [in_order(ticket.ref) for ticket in tickets]
    assert set(db.session.scalars(select(Attempt.outcome))) == {"delivered"}


def test_x24_a_dead_workers_lease_takes_one_of_four_places_and_no_more(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
) -> None:
    for n in range(3):
        unfinished(ticket_in(double, f"T-{n}"))
    assert outbox.claim("died", worker.breaker.room) is not None

    work()

    assert states() == {"leased": 1, "delivered": 2}


# ---- X25 -------------------------------------------------------------------------------------------------


def test_x25_a_ticket_that_is_refused_for_ever_holds_its_own_lane_only(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
) -> None:
    bad, good = ticket_in(double, "T-bad"), ticket_in(double, "T-good")
    refused, behind = unfinished(bad), unfinished(bad)
    for _n in range(7):
        unfinished(good)
    double.before = lambda method, path: said({"error": "no"}, 422) if method == "POST" and "bad" in path else None

    work()
    assert (len(double.notes("T-good")), len(double.notes("T-bad"))) == (7, 0)
    assert states() == {"held": 1, "pending": 1, "delivered": 7}
    assert worker.breaker.room(NAME) > 1  # a refusal is an answer

    office = logged_in(dispatcher)
    office.post(f"/deliveries/{refused.id}/retry")
    work()
    assert states()["held"] == 1
    double.before = lambda _method, _path: None
    office.post(f"/deliveries/{refused.id}/skip", data={"reason": "已电话告知"})
    work()

    assert uids(double, "T-bad") == [behind.uid]
    assert states() == {"skipped": 1, "delivered": 8}
    audited = db.session.scalars(select(AuditEntry.action).where(AuditEntry.subject_type == "outbox")).all()
    assert audited == ["delivery.retried", "delivery.skipped"]


def test_x25_many_refusals_side_by_side_leave_the_rest_alone(
    double: Double,  # noqa: F811
    unfinished: Finished,  # noqa: F811
) -> None:
    rows = [unfinished(ticket_in(double, f"T-{n}")) for n in range(12)]
    double.before = lambda method, path: said({"error": "no"}, 422) if method == "POST" and "1" in path else None

    work()

    assert states() == {"held": 3, "delivered": 9}
    assert [row.attempts for row in rows] == [1] * 12
