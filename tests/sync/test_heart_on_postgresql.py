"""Claims, leases, fences, lanes, the breaker and what people decide, once more on PostgreSQL: the same tests, another database.

There rows are locked one by one, so that what SQLite's one write lock keeps apart may meet.
"""

from __future__ import annotations

import threading
import time as time_of_day
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.outbox import Promise
from fieldapp.sync import breaker, operations
from fieldapp.sync.models import StoreBreaker
from fieldapp.tickets.store import Unreachable
from tests.sync.test_breaker import *  # noqa: F403
from tests.sync.test_handlers import (  # noqa: F401 - fixtures and tests
    ended_in_vain,
    finished,
    test_a_report_that_comes_late_does_not_say_resolved_over_what_a_later_visit_found,
    test_of_a_day_that_waited_every_note_goes_in_and_the_last_status_only,
)
from tests.sync.test_worker import *  # noqa: F403
from tests.test_outbox import *  # noqa: F403
from tests.test_postgresql import app, at_head, at_once, cluster, url  # noqa: F401 - fixtures

pytestmark = pytest.mark.postgresql
FAR = "far"


@operation
def waits(count: int) -> list[Promise]:
    """So many promises of a far store, each in a lane of its own."""
    return [outbox.promise("nothing", {"n": n}, lane=f"{FAR}:{n}", store=FAR) for n in range(count)]


def claimed() -> Callable[[], object]:
    return lambda: outbox.claim("somebody", breaker.room)


def test_of_eight_workers_that_ask_at_once_one_is_the_probe(app: Flask) -> None:  # noqa: F811
    waits(8)
    with time_machine.travel(clock.now(), tick=False) as traveller:
        for _n in range(breaker.FAILURES):
            breaker.told(FAR, Unreachable("silence"))
        assert at_once(app, *[claimed()] * 8) == [None] * 8

        traveller.shift(timedelta(minutes=1))
        claims = at_once(app, *[claimed()] * 8)

    assert Counter(type(claim) for claim in claims) == {outbox.Claim: 1, type(None): 7}


def test_what_many_workers_hear_at_once_opens_the_breaker_once(app: Flask) -> None:  # noqa: F811
    waits(8)
    with time_machine.travel(clock.now(), tick=False):
        at_once(app, *[lambda: breaker.told(FAR, Unreachable("silence"))] * 8)
        row = db.session.get_one(StoreBreaker, FAR)

        assert (row.failures, row.wait_s, row.asks_again_at) == (8, 60, clock.now() + timedelta(minutes=1))


def test_of_two_that_hold_the_same_promise_one_after_the_other_the_last_one_writes(app: Flask) -> None:  # noqa: F811
    """Both are at it at the same moment; the fence, not the order of their commits, says who is right."""
    (row,) = waits(1)
    for _n in range(5):
        late = outbox.claim("late", breaker.room)
        lease_over()  # noqa: F405
        outbox.release_expired()
        fresh = outbox.claim("fresh", breaker.room)
        assert late
        assert fresh

        wrote = at_once(
            app,
            lambda late=late: outbox.delivered(late, "late"),  # type: ignore[misc]
            lambda fresh=fresh: outbox.try_again(fresh, "fresh"),  # type: ignore[misc]
        )
        due_at(clock.now())  # noqa: F405

        assert wrote == [False, True]
    db.session.refresh(row)
    assert (row.state, row.last_error, row.remote_ref) == ("retry_wait", "fresh", None)


def test_expired_leases_are_released_once_by_however_many(app: Flask) -> None:  # noqa: F811
    waits(4)
    assert all(outbox.claim(f"dies {n}", breaker.room) for n in range(4))
    lease_over()  # noqa: F405

    released = at_once(app, *[outbox.release_expired] * 4)

    assert sum(released) == 4  # type: ignore[arg-type]
    assert set(db.session.scalars(select(Promise.state))) == {"unknown"}


@pytest.mark.parametrize("decision", ["one", "all", "well"])
def test_who_waits_for_the_row_of_a_store_holds_no_promise_meanwhile(
    app: Flask,  # noqa: F811
    url: str,  # noqa: F811
    dispatcher: User,
    decision: str,
) -> None:
    """A worker takes the store's row, then its promises'. In any other order two would wait for each other, and the database
    would throw one of them out: a person would read an error, a delivery lie until its lease is over."""
    (row,) = waits(1)
    outbox.hold(taken(), "no")  # noqa: F405
    for _n in range(breaker.FAILURES):
        breaker.told(FAR, Unreachable("silence"))
    key, boss = row.id, dispatcher.id
    decisions: dict[str, Callable[[], object]] = {
        "one": lambda: operations.try_again(key, by=db.session.get_one(User, boss)),
        "all": lambda: operations.try_all_again(by=db.session.get_one(User, boss)),
        "well": lambda: breaker.well(FAR),
    }

    def worker_holds_the_row() -> object:
        with psycopg.connect(url) as worker:
            worker.execute("SELECT store FROM store_breaker FOR UPDATE")
            both_at_it.wait()
            _until_somebody_waits(url)
            return worker.execute("SELECT count(*) FROM (SELECT id FROM outbox FOR UPDATE NOWAIT) held").fetchone()

    def other() -> object:
        both_at_it.wait()
        return decisions[decision]()

    both_at_it = threading.Barrier(2)
    held, decided = at_once(app, worker_holds_the_row, other)

    assert held == (1,)
    assert not isinstance(decided, Exception)


def _until_somebody_waits(url: str) -> None:  # noqa: F811
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time_of_day.monotonic() + 10
    with psycopg.connect(url, autocommit=True) as watch:
        while watch.execute(waiting).fetchone() == (0,):
            assert time_of_day.monotonic() < deadline, "nobody waits"
