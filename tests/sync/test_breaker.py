"""The breaker of a store: left alone when nothing comes back, asked one thing, and nobody's promise dies of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.outbox import AT_ONCE, OLDEST, Promise
from fieldapp.sync import breaker, handlers, operations, worker
from fieldapp.sync.models import StoreBreaker
from fieldapp.tickets.store import Denied, Page, Rejected, Retry, Throttled, Unreachable
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.stores.embedded import EmbeddedStore

STORE = "embedded"
MINUTE = timedelta(minutes=1)


class Line:
    """The way to the store: what it answers, and what was asked over it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[int] = []

    def __call__(self, claim: outbox.Claim) -> str:
        self.asked.append(claim.payload["n"])
        if self.error:
            raise self.error
        return f"note {claim.payload['n']}"


@pytest.fixture
def time(app: Flask) -> Iterator[time_machine.Traveller]:
    """Time stands still until the test moves it."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def line(time: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A line to a store that is not our own database."""
    monkeypatch.setattr(breaker, "OURS", "none")
    line = Line()
    monkeypatch.setitem(handlers.HANDLERS, "test", line)
    return line


@operation
def promised(n: int, lane: str = "", store: str | None = STORE) -> Promise:
    return outbox.promise("test", {"n": n}, lane=lane or f"{STORE}:T-{n}", store=store)


def work() -> None:
    """Everything that is due and allowed now."""
    while worker.run_once("w"):
        pass


def states(*rows: Promise) -> list[str]:
    db.session.rollback()
    return [row.state for row in rows]


def row() -> StoreBreaker:
    db.session.rollback()
    return db.session.get_one(StoreBreaker, STORE)


def opened(line: Line, error: Exception | None = None) -> list[Promise]:
    """Six promises that found nobody there."""
    rows = [promised(n) for n in range(6)]
    line.error = error or Unreachable("nobody answers")
    work()
    return rows


# ---- nobody answers --------------------------------------------------------------------------------------


def test_five_calls_without_an_answer_open_it_and_the_sixth_is_not_made(line: Line) -> None:
    rows = opened(line)

    assert line.asked == [0, 1, 2, 3, 4]
    assert states(rows[5]) == ["pending"]
    assert (row().open, row().why, row().sentence) == (True, "unreachable", "nobody answers")
    assert row().asks_again_at == clock.now() + MINUTE


def test_while_it_is_open_what_asks_nobody_outside_goes_on(line: Line) -> None:
    opened(line)
    line.error = None
    other, elsewhere = promised(7, store=None), promised(8, store="another")

    work()

    assert states(other, elsewhere) == ["delivered", "delivered"]
    assert line.asked[5:] == [7, 8]


def test_an_answer_between_makes_the_count_begin_again(line: Line) -> None:
    for n in range(8):
        promised(n)
        line.error = None if n == 4 else Unreachable("nobody answers")
        worker.run_once("w")

    assert row().failures == 3
    assert not row().open


def test_after_a_minute_one_thing_is_asked_and_then_twice_as_late(line: Line, time: time_machine.Traveller) -> None:
    opened(line)
    waits = []
    for _n in range(6):
        asks_again_at = row().asks_again_at
        assert asks_again_at is not None
        time.move_to(asks_again_at)
        before = len(line.asked)
        work()
        assert len(line.asked) == before + 1
        waits.append(row().wait_s)

    assert waits == [120, 240, 480, 900, 900, 900]


def test_the_probe_is_one_at_a_time_though_many_workers_ask(line: Line, time: time_machine.Traveller) -> None:
    opened(line)
    time.shift(MINUTE)

    probe = outbox.claim("first", breaker.room)

    assert probe is not None
    assert outbox.claim("second", breaker.room) is None


def test_a_probe_that_is_answered_closes_it_and_everything_goes_in_its_order(
    line: Line, time: time_machine.Traveller
) -> None:
    rows = opened(line)
    behind = promised(10, lane=rows[0].lane)
    line.error, line.asked = None, []
    time.shift(MINUTE)

    work()

    assert states(*rows, behind) == ["delivered"] * 7
    assert sorted(line.asked) == [0, 1, 2, 3, 4, 5, 10]
    assert line.asked.index(0) < line.asked.index(10)
    assert (row().open, row().failures) == (False, 0)


def test_a_refusal_is_an_answer_too(line: Line, time: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(line)
    breaker.well(STORE)
    assert not row().open

    line.error = Rejected("a sentence that we made ourselves")
    promised(20)
    breaker.told(STORE, Unreachable("once"))
    work()

    assert row().failures == 1  # nothing came over the wire, so nothing is known of the store


def test_what_was_sent_before_it_opened_and_fails_later_does_not_prolong_it(line: Line) -> None:
    for n in range(7):
        promised(n)
    claims = [outbox.claim(f"w{n}", lambda _store: 99) for n in range(7)]
    for claim in claims:
        assert claim is not None
        worker._not_kept(claim, Unreachable("nobody answers"))

    assert row().wait_s == 60
    assert row().failures == 7


def test_an_outage_of_nine_days_kills_no_promise(line: Line, time: time_machine.Traveller) -> None:
    rows = opened(line)
    for _n in range(35):
        time.move_to(row().asks_again_at or clock.now())
        work()
    assert len(line.asked) == 40
    time.shift(timedelta(days=9))
    work()

    breaker.well(STORE)  # the store is back, and has a reason of its own
    line.error = Retry("not yet")
    work()
    line.error = None
    time.shift(timedelta(hours=1))
    work()

    assert states(*rows) == ["delivered"] * 6


def test_time_that_a_store_was_well_still_makes_a_promise_old(line: Line, time: time_machine.Traveller) -> None:
    first = opened(line)[0]
    time.shift(timedelta(hours=6))
    breaker.well(STORE)
    assert first.excused_s == 6 * 3600

    line.error = Retry("the files cannot be read back")
    time.shift(OLDEST - timedelta(hours=1))
    work()
    assert states(first) == ["retry_wait"]
    time.shift(timedelta(hours=2))
    work()

    assert states(first) == ["dead"]


# ---- less, please ----------------------------------------------------------------------------------------


def test_a_store_that_asks_for_less_gets_the_pause_and_no_try_is_burnt(
    line: Line, time: time_machine.Traveller
) -> None:
    rows = [promised(n) for n in range(3)]
    line.error = Throttled("wait", after=600)
    work()
    assert line.asked == [0]
    assert states(*rows) == ["pending"] * 3
    assert rows[0].attempts - rows[0].forgiven == 0

    time.shift(timedelta(seconds=599))
    work()
    assert line.asked == [0]
    line.error = None
    time.shift(timedelta(seconds=1))
    work()

    assert states(*rows) == ["delivered"] * 3
    assert rows[0].excused_s == 600


def test_a_pause_without_a_time_is_short_and_a_longer_one_stays(line: Line) -> None:
    assert breaker.told(STORE, Throttled("wait", after=60)) == clock.now() + MINUTE
    assert breaker.told(STORE, Throttled("wait")) == clock.now() + MINUTE
    assert row().paused
    assert breaker.room(STORE) == 0


def test_a_store_in_trouble_that_names_a_time_is_left_alone_until_then(line: Line) -> None:
    assert breaker.told(STORE, Unreachable("maintenance", after=1800)) is None

    assert row().asks_again_at == clock.now() + timedelta(seconds=1800)


# ---- credentials -----------------------------------------------------------------------------------------


def test_refused_credentials_stop_everything_and_burn_no_try(line: Line, time: time_machine.Traveller) -> None:
    rows = opened(line, Denied("401"))

    assert line.asked == [0]
    assert states(*rows) == ["pending"] * 6
    assert "401" in (rows[0].last_error or "")
    assert rows[0].attempts - rows[0].forgiven == 0
    assert (row().why, row().asks_again_at) == ("credentials", clock.now() + timedelta(minutes=30))


def test_half_an_hour_later_something_is_tried_and_looks_first(line: Line, time: time_machine.Traveller) -> None:
    rows = opened(line, Denied("401"))
    for _n in range(3):
        time.shift(timedelta(minutes=30))
        work()
    assert line.asked == [0, 1, 2, 3]

    line.error = None
    time.shift(timedelta(minutes=30))
    work()

    assert states(*rows) == ["delivered"] * 6
    assert [each.outcome for each in rows[0].tries] == ["put_back", "delivered"]


def test_a_person_who_says_try_again_has_it_tried_at_once(line: Line, dispatcher: User) -> None:
    rows = opened(line, Denied("401"))
    line.error = None

    operations.try_again(rows[3].id, by=dispatcher)
    work()

    assert states(*rows) == ["delivered"] * 6


def test_a_worker_that_starts_asks_at_once(line: Line) -> None:
    opened(line, Denied("401"))

    breaker.ask_now(STORE)

    assert breaker.room(STORE) == 1
    assert breaker.room("one that was never asked") == AT_ONCE


# ---- reading ---------------------------------------------------------------------------------------------


class Feed(EmbeddedStore):
    """A store whose changes can be read, or not."""

    error: Exception | None = None
    reads = 0

    def changes(self, cursor: str, limit: int) -> Page:
        Feed.reads += 1
        if Feed.error:
            raise Feed.error
        return super().changes(cursor, limit)


@pytest.fixture
def feed(line: Line, monkeypatch: pytest.MonkeyPatch) -> type[Feed]:
    monkeypatch.setitem(STORES, STORE, Feed)
    monkeypatch.setattr(Feed, "error", None)
    monkeypatch.setattr(Feed, "reads", 0)
    return Feed


def test_changes_that_cannot_be_read_open_it_and_being_read_closes_it(
    feed: type[Feed], time: time_machine.Traveller
) -> None:
    feed.error = Unreachable("nobody answers")
    for _n in range(8):
        worker.pull_now()
    assert feed.reads == 5
    assert row().open

    feed.error = None
    time.shift(MINUTE)
    worker.pull_now()

    assert not row().open


def test_what_waits_behind_a_held_one_is_no_probe_and_reading_is_one_instead(
    feed: type[Feed], line: Line, time: time_machine.Traveller
) -> None:
    line.error = Rejected("a person must look")
    promised(1, lane="a lane")
    promised(2, lane="a lane")
    work()
    feed.error = Unreachable("nobody answers")
    for _n in range(5):
        worker.pull_now()
    assert row().open

    feed.error = None
    time.shift(MINUTE)
    work()
    worker.pull_now()

    assert not row().open


def test_reading_does_not_close_what_writing_opened(feed: type[Feed], line: Line, time: time_machine.Traveller) -> None:
    opened(line)
    worker.pull_now()
    assert feed.reads == 0
    time.shift(MINUTE)
    worker.pull_now()  # a promise waits to be the probe

    assert feed.reads == 0
    assert row().open


# ---- how many at once ------------------------------------------------------------------------------------


def test_four_promises_of_a_store_are_at_work_at_once_and_no_fifth(line: Line) -> None:
    for n in range(6):
        promised(n)
    theirs = promised(9, store="another")

    taken = [outbox.claim(f"w{n}", breaker.room) for n in range(6)]

    keys = [claim.store for claim in taken if claim]
    assert sorted(map(str, keys)) == ["another", STORE, STORE, STORE, STORE]
    assert states(theirs) == ["leased"]
    first = taken[0]
    assert first is not None
    outbox.delivered(first, None)
    assert outbox.claim("w", breaker.room) is not None


def test_our_own_database_needs_no_sparing(app: Flask) -> None:
    assert breaker.room(breaker.OURS) > 100
