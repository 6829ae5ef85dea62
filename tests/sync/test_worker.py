"""The worker: claim, keep, settle; lanes, fences, waiting, giving up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import Base, db, operation, uuid7
from fieldapp.outbox import LEASE, SETTLES, Claim, Promise
from fieldapp.sync import breaker, handlers, operations, worker
from fieldapp.sync.models import StoreBreaker, WorkerBeat
from fieldapp.tickets import wire
from fieldapp.tickets.desk.operations import Intake, file_ticket
from fieldapp.tickets.models import PullCursor, Ticket
from fieldapp.tickets.store import Conflict, Denied, Page, Rejected, Retry, Throttled, Unreachable
from fieldapp.tickets.stores.embedded import EmbeddedStore
from fieldapp.tickets.wire import Exchange
from tests.sync.conftest import due_at, lease_over

R = TypeVar("R", bound=Base)


@operation
def promise(lane: str = "embedded:T-1", store: str | None = None, **payload: Any) -> Promise:
    return outbox.promise("test", payload, lane=lane, store=store)


def again(row: R) -> R:
    """The row as the database has it now."""
    db.session.refresh(row)
    return row


class Diary:
    """A handler that writes down what it was asked, and then does what it was told to."""

    def __init__(self) -> None:
        self.asked: list[Claim] = []
        self.error: Exception | None = None

    def __call__(self, claim: Claim) -> str:
        self.asked.append(claim)
        if self.error:
            raise self.error
        return "note 1"


@pytest.fixture
def diary(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Diary:
    handler = Diary()
    monkeypatch.setitem(handlers.HANDLERS, "test", handler)
    return handler


# ---- keeping a promise -----------------------------------------------------------------------------------


def test_a_promise_is_kept_and_the_answer_written_down(diary: Diary) -> None:
    row = promise(visit="1")

    assert worker.run_once("w")
    assert not worker.run_once("w")

    assert [(claim.kind, claim.payload, claim.must_look) for claim in diary.asked] == [("test", {"visit": "1"}, False)]
    assert (again(row).state, row.remote_ref, row.last_error, row.leased_by) == ("delivered", "note 1", None, None)
    assert [(each.n, each.outcome, each.worker) for each in row.tries] == [(1, "delivered", "w")]


def test_no_transaction_is_open_while_a_promise_is_kept(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setitem(handlers.HANDLERS, "test", lambda _claim: seen.append(db.session().in_transaction()))
    promise()

    worker.run_once("w")

    assert seen == [False]


def test_a_lane_is_kept_in_order_and_other_lanes_go_on(diary: Diary) -> None:
    first, second, other = promise("a", n=1), promise("a", n=2), promise("b", n=3)
    diary.error = Retry("the line is down")
    worker.run_once("w")
    diary.error = None

    while worker.run_once("w"):
        pass

    assert (again(first).state, again(second).state, again(other).state) == ("retry_wait", "pending", "delivered")
    due_at(clock.now())
    while worker.run_once("w"):
        pass
    assert [claim.payload["n"] for claim in diary.asked] == [1, 3, 1, 2]


# ---- when it does not work -------------------------------------------------------------------------------


def test_a_refusal_for_now_waits_at_least_as_long_as_the_store_asks(diary: Diary) -> None:
    row, diary.error = promise(), Retry("too many requests", after=900)

    worker.run_once("w")

    assert (again(row).state, row.last_error) == ("retry_wait", "too many requests")
    assert row.next_at >= clock.now() + timedelta(seconds=890)
    assert not worker.run_once("w")


def test_waiting_grows_and_stays_within_an_hour(diary: Diary) -> None:
    row, diary.error = promise(), Retry("down")
    for attempt in range(1, 16):
        due_at(clock.now())
        worker.run_once("w")
        wait = again(row).next_at - clock.now()
        assert wait <= min(timedelta(seconds=10 * 2**attempt), timedelta(hours=1))
    assert row.attempts == 15


def test_the_next_try_is_told_to_look_first(diary: Diary) -> None:
    promise()
    diary.error = Retry("unknown outcome")
    worker.run_once("w")
    due_at(clock.now())

    worker.run_once("w")

    assert [claim.must_look for claim in diary.asked] == [False, True]
    assert diary.asked[0].uid == diary.asked[1].uid


@pytest.mark.parametrize("error", [Rejected("no such ticket"), Conflict("it changed"), NotFound("gone"), Invalid("no")])
def test_what_can_never_work_is_held_for_a_person(diary: Diary, error: Exception) -> None:
    row, diary.error = promise(), error

    worker.run_once("w")

    assert (again(row).state, row.last_error) == ("held", str(error))
    assert row.needs_person


def test_refused_credentials_hold_and_burn_no_tries(diary: Diary, dispatcher: User) -> None:
    row, diary.error = promise(), Denied("401")
    worker.run_once("w")
    assert again(row).state == "held"
    assert "401" in (row.last_error or "")

    operations.try_again(row.id, by=dispatcher)

    assert (again(row).attempts - row.forgiven, row.state) == (0, "unknown")


def test_an_unexpected_error_is_tried_again_and_its_text_stays_in_the_log(diary: Diary) -> None:
    row, diary.error = promise(), RuntimeError("陈晓 13900000001")

    worker.run_once("w")

    assert again(row).state == "retry_wait"
    assert "RuntimeError" in (row.last_error or "")
    assert "陈晓" not in (row.last_error or "")


def test_a_kind_that_nobody_knows_is_held(app: Flask) -> None:
    @operation
    def strange() -> Promise:
        return outbox.promise("strange", {}, lane="x")

    row = strange()

    worker.run_once("w")

    assert again(row).state == "held"
    assert "strange" in (row.last_error or "")


def test_after_thirty_tries_a_person_is_asked_and_may_say_try_again(diary: Diary, dispatcher: User) -> None:
    row, diary.error = promise(), Retry("down")
    for _ in range(30):
        due_at(clock.now())
        worker.run_once("w")
    assert (again(row).state, row.attempts) == ("dead", 30)
    due_at(clock.now())
    assert not worker.run_once("w")

    operations.try_again(row.id, by=dispatcher)
    diary.error = None
    worker.run_once("w")

    assert (again(row).state, diary.asked[-1].must_look) == ("delivered", True)


def test_a_promise_older_than_a_week_is_given_up(diary: Diary) -> None:
    row, diary.error = promise(), Retry("down")

    @operation
    def long_ago() -> None:
        db.session.get_one(Promise, row.id).created_at = clock.now() - timedelta(days=8)

    long_ago()
    worker.run_once("w")

    assert again(row).state == "dead"


# ---- leases and fences -----------------------------------------------------------------------------------


def test_a_worker_that_wakes_up_late_cannot_write_its_result(diary: Diary) -> None:
    row = promise()
    late = outbox.claim("slow")
    assert late is not None
    lease_over()
    outbox.release_expired()
    assert again(row).state == "unknown"
    fresh = outbox.claim("fast")
    assert fresh is not None

    assert not outbox.try_again(late, "too late")
    assert not outbox.hold(late, "too late")
    assert not outbox.delivered(late, "wrong")
    assert outbox.delivered(fresh, "right")
    assert not outbox.delivered(late, "wrong")

    assert (again(row).state, row.remote_ref, fresh.must_look) == ("delivered", "right", True)


def test_a_lost_lease_leaves_the_promise_to_whoever_comes_next(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    row = promise()

    def slow(claim: Claim) -> None:
        lease_over()
        outbox.release_expired()

    monkeypatch.setitem(handlers.HANDLERS, "test", slow)

    assert worker.run_once("w")

    assert again(row).state == "unknown"


@pytest.mark.parametrize("end", ["note 1", Denied("401"), Unreachable("silence"), Throttled("less"), Rejected("no")])
def test_a_worker_that_lost_its_lease_writes_nothing_at_all(
    diary: Diary, monkeypatch: pytest.MonkeyPatch, end: str | Exception
) -> None:
    """Nor of its try, nor of the store: what it knows is old, and another is at it."""
    row = promise(store="far")
    breaker.told("far", Unreachable("before"))

    def slow(_claim: Claim) -> str:
        wire._exchanges.get().append(Exchange("POST", "/notes", 201, "", "old"))  # type: ignore[union-attr]
        lease_over()
        outbox.release_expired()
        assert outbox.claim("fast") is not None
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setitem(handlers.HANDLERS, "test", slow)
    worker.run_once("slow")

    store = db.session.get_one(StoreBreaker, "far", populate_existing=True)
    assert (store.failures, store.open, store.paused) == (1, False, False)
    assert (again(row).state, row.leased_by, row.last_error, row.remote_ref) == ("leased", "fast", None, None)
    assert [(each.worker, each.ended_at, each.outcome, each.exchanges) for each in row.tries] == [
        ("slow", None, None, []),
        ("fast", None, None, []),
    ]


def test_eight_workers_at_once_claim_each_promise_once(app: Flask, diary: Diary) -> None:
    keys = [promise(f"lane {number % 20}").id for number in range(40)]
    db.session.rollback()
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        with app.app_context():
            ready.wait()
            while worker.run_once(f"w{number}"):
                pass
            db.session.remove()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    while worker.run_once("last"):
        pass

    assert sorted(claim.id for claim in diary.asked) == sorted(keys)
    assert {row.state for row in db.session.scalars(select(Promise))} == {"delivered"}


# ---- clocks ----------------------------------------------------------------------------------------------


@pytest.fixture
def wall(app: Flask) -> Iterator[time_machine.Traveller]:
    """The wall clock, which a person or the network may set; time itself goes on as ever."""
    with time_machine.travel(clock.now(), tick=True) as traveller:
        yield traveller


def turn(rhythm: worker.Rhythm) -> None:
    worker._step("another", rhythm)


def kept(key: UUID) -> Promise:
    return db.session.get_one(Promise, key, populate_existing=True)


def test_a_clock_set_forward_by_a_day_takes_no_lease_from_a_worker_that_is_at_it(
    diary: Diary, wall: time_machine.Traveller
) -> None:
    rhythm = worker.Rhythm()
    turn(rhythm)
    key = promise().id
    at_it = outbox.claim("slow")
    assert at_it

    wall.shift(timedelta(days=1))
    turn(rhythm)

    assert diary.asked == []
    assert outbox.delivered(at_it, "note 1")
    assert kept(key).attempts == 1


def test_a_store_that_may_still_write_has_its_minute_though_the_clock_is_set_forward(
    diary: Diary, wall: time_machine.Traveller
) -> None:
    key, rhythm = promise(store="embedded").id, worker.Rhythm()
    claim = outbox.claim("w")
    assert claim
    outbox.try_again(claim, "silence")
    outbox.let_settle(claim)
    turn(rhythm)

    wall.shift(timedelta(days=1))
    turn(rhythm)
    assert diary.asked == []

    wall.shift(SETTLES)
    lease_over()
    worker.run_once("w")
    assert kept(key).state == "delivered"


def test_a_clock_set_back_by_a_day_holds_nothing_up_for_a_day(
    diary: Diary, wall: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    rhythm = worker.Rhythm()
    turn(rhythm)
    dead = promise("a").id
    assert outbox.claim("dies")
    fresh = promise("b").id
    breaker.told("far", Throttled("less", after=600))
    for _n in range(breaker.FAILURES):
        breaker.told("far", Unreachable("silence"))
    pulled = again_pulled()

    wall.shift(-timedelta(days=1))
    turn(rhythm)

    assert kept(fresh).state == "delivered"
    assert again_pulled() != pulled  # it reads, and says that it lives
    assert db.session.get_one(WorkerBeat, "another").seen_at <= clock.now()
    far = db.session.get_one(StoreBreaker, "far")
    assert far.asks_again_at is not None
    assert far.asks_again_at <= clock.now() + timedelta(minutes=15)
    assert kept(dead).state == "leased"
    wall.shift(LEASE + SETTLES)
    worker.run_once("w")
    assert kept(dead).state == "delivered"


def test_a_worker_that_starts_after_the_clock_was_set_back_waits_no_longer_than_any(
    diary: Diary, wall: time_machine.Traveller
) -> None:
    key = promise().id
    assert outbox.claim("dies")
    wall.shift(-timedelta(days=1))

    worker.settle_clock(timedelta())

    until = kept(key).lease_until
    assert until is not None
    assert until <= clock.now() + LEASE


def again_pulled() -> object:
    db.session.rollback()
    row = db.session.get(PullCursor, "embedded")
    return row.pulled_at if row else None


# ---- people ----------------------------------------------------------------------------------------------


def test_leaving_a_promise_needs_a_reason_and_lets_the_lane_go_on(diary: Diary, dispatcher: User) -> None:
    row, behind = promise("a"), promise("a")
    diary.error = Rejected("no such ticket")
    worker.run_once("w")
    diary.error = None
    with pytest.raises(Invalid):
        operations.skip(row.id, "  ", by=dispatcher)

    operations.skip(row.id, "已电话告知", by=dispatcher)
    worker.run_once("w")

    assert (again(row).state, row.last_error) == ("skipped", "已电话告知")
    assert again(behind).state == "delivered"


def test_what_is_being_sent_or_settled_is_not_touched(diary: Diary, dispatcher: User) -> None:
    row = promise()
    outbox.claim("w")
    with pytest.raises(NotAllowedNow):
        operations.try_again(row.id, by=dispatcher)
    with pytest.raises(NotAllowedNow):
        operations.skip(row.id, "?", by=dispatcher)
    lease_over()
    worker.run_once("w")
    with pytest.raises(NotAllowedNow):
        operations.skip(row.id, "?", by=dispatcher)
    with pytest.raises(NotFound):
        operations.try_again(uuid7(), by=dispatcher)


def test_everything_that_is_held_can_be_tried_again_at_once(diary: Diary, dispatcher: User) -> None:
    rows = [promise(f"lane {number}") for number in range(3)]
    diary.error = Denied("401")
    while worker.run_once("w"):
        pass
    diary.error = None

    assert operations.try_all_again(by=dispatcher) == {"deliveries": 3}
    while worker.run_once("w"):
        pass

    assert {again(row).state for row in rows} == {"delivered"}


# ---- the loop --------------------------------------------------------------------------------------------


def test_the_loop_pulls_delivers_shows_that_it_lives_and_ends_at_once(
    app: Flask, diary: Diary, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, beats = threading.Event(), []

    def last(_claim: Claim) -> None:
        beats.extend(row.alive for row in db.session.scalars(select(WorkerBeat)))
        stop.set()

    monkeypatch.setitem(handlers.HANDLERS, "test", last)
    promise()

    worker.run(stop, "w")

    assert [row.state for row in db.session.scalars(select(Promise))] == ["delivered"]
    assert beats == [True]
    assert db.session.get(PullCursor, "embedded") is not None
    assert db.session.scalars(select(WorkerBeat)).all() == []


def test_a_store_with_much_to_tell_keeps_no_delivery_waiting(
    app: Flask, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery has its turn after some pages, and the next pages come at once, not a quarter of a minute later."""
    stop, read = threading.Event(), []

    class Talkative(EmbeddedStore):
        """A ticket at a time."""

        def changes(self, cursor: str, limit: int) -> Page:
            page = super().changes(cursor, 1)
            if not page.more:
                stop.set()
            return page

    def count(_claim: Claim) -> None:
        read.append(db.session.scalar(select(func.count()).select_from(Ticket)))

    for number in range(3):
        file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))
    monkeypatch.setitem(worker.store.__globals__["STORES"], "embedded", Talkative)
    monkeypatch.setitem(handlers.HANDLERS, "test", count)
    monkeypatch.setattr(worker, "READ_FOR_S", 0.0)
    promise()

    worker.run(stop, "w")

    assert read == [1]
    assert db.session.scalar(select(func.count()).select_from(Ticket)) == 3


def test_nothing_that_goes_wrong_in_a_turn_ends_the_loop(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, turns = threading.Event(), []

    def stumble(_name: str) -> bool:
        turns.append(1)
        if len(turns) == 3:
            stop.set()
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(worker, "run_once", stumble)
    monkeypatch.setattr(worker, "POLL", timedelta())

    worker.run(stop, "w")

    assert len(turns) == 3


def test_a_store_that_cannot_be_read_does_not_stop_deliveries(
    app: Flask, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dark(EmbeddedStore):
        def changes(self, cursor: str, limit: int) -> Any:
            raise Retry("the line is down")

    monkeypatch.setitem(worker.store.__globals__["STORES"], "embedded", Dark)
    promise()

    assert worker.run_until_idle("w") == 1

    assert db.session.get_one(PullCursor, "embedded").last_error == "the line is down"


def test_a_worker_that_died_is_silent_after_a_minute_and_forgotten_after_a_day(app: Flask) -> None:
    operations.beat("dead")

    @operation
    def ago(span: timedelta) -> None:
        db.session.get_one(WorkerBeat, "dead").seen_at = clock.now() - span

    ago(timedelta(seconds=61))
    assert not db.session.get_one(WorkerBeat, "dead").alive
    operations.beat("dead")
    assert db.session.get_one(WorkerBeat, "dead").alive
    ago(timedelta(days=2))
    operations.beat("living")
    assert [row.name for row in db.session.scalars(select(WorkerBeat))] == ["living"]


def test_an_unfinished_visit_reaches_the_ticket_once(
    filed: Ticket, unfinished: Callable[[Ticket], Promise], store: EmbeddedStore
) -> None:
    row = unfinished(filed)

    assert worker.run_until_idle("w") == 1

    (note,) = store.thread(filed.ref)
    assert (again(row).state, row.remote_ref) == ("delivered", note.ref)
    assert (note.uid, note.author) == (row.uid, "王磊")
    assert "缺少电源模块" in note.text
    worker.pull_now()
    assert again(filed).status == "in_progress"
