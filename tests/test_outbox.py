"""Promises: made with the fact they follow from, kept in order, by one at a time, decided by people when nothing helps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.extensions import db, operation
from fieldapp.outbox import FIRST_WAIT, LEASE, LONGEST_WAIT, MOST_TRIES, OLDEST, Attempt, Claim, Promise


@pytest.fixture
def time(app: Flask) -> Iterator[time_machine.Traveller]:
    """Time stands still until the test moves it."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


@operation
def promised(lane: str = "a ticket", uid: str | None = None, kind: str = "tell") -> UUID:
    return outbox.promise(kind, {"n": 1}, lane=lane, uid=uid).id


def taken(worker: str = "worker") -> Claim:
    claim = outbox.claim(worker)
    assert claim is not None
    return claim


def state(key: UUID) -> str:
    db.session.rollback()
    return db.session.get_one(Promise, key).state


# ---- making -----------------------------------------------------------------------------------------


def test_a_promise_is_made_only_with_its_fact(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="inside an operation"):
        outbox.promise("tell", {}, lane="x")


def test_a_fact_that_is_rolled_back_promises_nothing(app: Flask) -> None:
    @operation
    def fails() -> None:
        promised()
        raise ValueError

    with pytest.raises(ValueError):
        fails()

    assert outbox.waiting() == 0


def test_the_same_uid_is_one_promise(app: Flask) -> None:
    assert promised(uid="one") == promised(uid="one")
    assert promised() != promised()
    assert outbox.waiting() == 3


def test_lanes_count_for_themselves(app: Flask) -> None:
    keys = [promised("a"), promised("b"), promised("a")]

    assert [db.session.get_one(Promise, key).lane_seq for key in keys] == [1, 1, 2]


# ---- claiming ---------------------------------------------------------------------------------------


def test_nothing_to_claim(app: Flask) -> None:
    assert outbox.claim("worker") is None
    assert not outbox.due_now()


def test_a_claim_is_a_lease_with_a_fence(app: Flask, time: time_machine.Traveller) -> None:
    key = promised(uid="one")
    assert outbox.due_now()

    claim = taken()

    row = db.session.get_one(Promise, key)
    assert (claim.uid, claim.kind, dict(claim.payload), claim.attempt, claim.must_look) == (
        "one",
        "tell",
        {"n": 1},
        1,
        False,
    )
    assert (row.state, row.leased_by, row.lease_until, row.fence) == ("leased", "worker", clock.now() + LEASE, 1)
    assert [each.n for each in row.tries] == [1]
    assert row.open
    assert not row.needs_person
    assert outbox.claim("another") is None
    assert not outbox.due_now()


def test_only_the_head_of_a_lane_is_taken(app: Flask) -> None:
    first, second = promised("a"), promised("a")
    other = promised("b")

    assert {taken().id, taken().id} == {first, other}
    assert outbox.claim("worker") is None
    assert state(second) == "pending"


@pytest.mark.parametrize(
    "settle", [lambda claim: outbox.hold(claim, "no"), lambda claim: outbox.try_again(claim, "later")]
)
def test_what_waits_behind_stays_behind(app: Flask, time: time_machine.Traveller, settle) -> None:  # type: ignore[no-untyped-def]
    promised("a")
    promised("a")
    settle(taken())

    assert outbox.claim("worker") is None


def test_when_the_head_is_kept_the_next_is_due(app: Flask) -> None:
    first, second = promised("a"), promised("a")
    assert outbox.delivered(taken(), "note 1")

    row = db.session.get_one(Promise, first)
    assert (row.state, row.remote_ref, row.settled_at is not None, row.open) == ("delivered", "note 1", True, False)
    assert taken().id == second


# ---- a worker that dies -----------------------------------------------------------------------------


def test_an_expired_lease_is_unknown_and_the_next_must_look(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    late = taken("dies")
    assert outbox.release_expired() == 0

    time.shift(LEASE + timedelta(seconds=1))
    assert outbox.due_now()
    assert outbox.release_expired() == 1
    assert state(key) == "unknown"
    claim = taken("next")

    assert claim.must_look
    assert (claim.attempt, claim.fence) == (2, 2)
    assert not outbox.delivered(late, "from the grave")
    assert not outbox.hold(late, "from the grave")
    assert not outbox.try_again(late, "from the grave")
    assert state(key) == "leased"
    assert outbox.delivered(claim, "note")
    assert not outbox.delivered(claim, "twice")


# ---- trying again -----------------------------------------------------------------------------------


def test_a_failed_try_waits_longer_each_time_and_not_too_long(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    for attempt in range(1, 15):
        before = clock.now()
        assert outbox.try_again(taken(), f"error {attempt}")
        row = db.session.get_one(Promise, key)
        most = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
        assert timedelta() <= row.next_at - before <= most
        assert (row.state, row.last_error) == ("retry_wait", f"error {attempt}")
        time.move_to(row.next_at)

    tries = db.session.scalars(select(Attempt).order_by(Attempt.n)).all()
    assert [(each.n, each.outcome, each.excerpt) for each in tries[:2]] == [
        (1, "retry", "error 1"),
        (2, "retry", "error 2"),
    ]


def test_the_other_side_may_ask_for_a_longer_wait(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    outbox.try_again(taken(), "busy", after=timedelta(hours=2))

    assert db.session.get_one(Promise, key).next_at >= clock.now() + timedelta(hours=2)


def test_after_thirty_tries_a_person_is_asked(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    for _n in range(MOST_TRIES):
        assert state(key) in ("pending", "retry_wait")
        outbox.try_again(taken(), "no")
        time.shift(LONGEST_WAIT)

    row = db.session.get_one(Promise, key)
    assert (row.state, row.needs_person, row.open) == ("dead", True, True)
    assert outbox.claim("worker") is None


def test_what_stops_every_worker_that_tries_it_is_given_up(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    for _n in range(MOST_TRIES):
        taken()  # and nothing more is heard of the worker
        time.shift(LEASE + timedelta(seconds=1))
        outbox.release_expired()

    row = db.session.get_one(Promise, key)
    assert (row.state, row.last_error) == ("dead", "Every worker that tried this was stopped in the middle of it.")
    assert outbox.retry_now(key).state == "unknown"


def test_what_proves_nothing_is_forgotten_with_its_tries(app: Flask, time: time_machine.Traveller) -> None:
    key, waits = promised(), promised(lane="another")
    outbox.delivered(taken(), None)
    kind = db.session.get_one(Promise, key).kind

    time.shift(timedelta(days=31))
    assert outbox.forget(kind, clock.now() - timedelta(days=30)) == 1

    assert [row.id for row in db.session.scalars(select(Promise))] == [waits]
    assert db.session.scalars(select(Attempt)).all() == []


def test_after_a_week_a_person_is_asked(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    time.shift(OLDEST + timedelta(seconds=1))
    outbox.try_again(taken(), "no")

    assert state(key) == "dead"


# ---- people decide ----------------------------------------------------------------------------------


def test_a_person_says_try_again_and_tries_count_anew(app: Flask, time: time_machine.Traveller) -> None:
    key = promised()
    for _n in range(MOST_TRIES):
        outbox.try_again(taken(), "no")
        time.shift(LONGEST_WAIT)
    time.shift(OLDEST)

    outbox.retry_now(key)
    assert state(key) == "unknown"
    claim = taken()
    assert claim.must_look
    outbox.try_again(claim, "still no")

    assert state(key) == "retry_wait"


def test_trying_again_does_not_make_a_promise_look_younger(app: Flask, time: time_machine.Traveller) -> None:
    """The page says when it was promised: whoever asks why a report came late must read it there."""
    key, promised_at = promised(), clock.now()
    outbox.hold(taken(), "no")
    time.shift(OLDEST)

    outbox.retry_now(key)
    outbox.try_again(taken(), "still no")
    time.shift(OLDEST - timedelta(minutes=1))
    outbox.try_again(taken(), "still no")
    assert state(key) == "retry_wait"
    assert db.session.get_one(Promise, key).created_at == promised_at

    time.shift(timedelta(hours=1))
    outbox.try_again(taken(), "still no")
    assert state(key) == "dead"


def test_try_again_on_what_was_never_tried(app: Flask) -> None:
    key = promised()
    outbox.retry_now(key)

    assert state(key) == "pending"
    assert not taken().must_look


def test_a_person_leaves_a_promise_and_the_lane_goes_on(app: Flask) -> None:
    first, second = promised("a"), promised("a")
    outbox.hold(taken(), "the ticket is gone")
    assert state(first) == "held"

    outbox.skip(first, "told by phone")

    row = db.session.get_one(Promise, first)
    assert (row.state, row.last_error, row.open) == ("skipped", "told by phone", False)
    assert taken().id == second


def test_what_is_at_work_or_settled_is_left_alone(app: Flask) -> None:
    key = promised()
    claim = taken()
    outbox.skip(key, "x")
    outbox.retry_now(key)
    assert state(key) == "leased"

    outbox.delivered(claim, None)
    outbox.skip(key, "x")
    outbox.retry_now(key)
    assert state(key) == "delivered"
    assert outbox.waiting() == 0
