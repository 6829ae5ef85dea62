"""What a worker asks of a store is written down; sizes and limits are met; a retry looks first."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Response
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db
from fieldapp.outbox import LEASE, MOST_EXCHANGES, SETTLES, Attempt, Promise
from fieldapp.records.queries import record_of
from fieldapp.sync import worker
from fieldapp.tickets import wire
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Unreachable
from fieldapp.tickets.wire import Exchange
from fieldapp.visits.models import Visit
from tests.records.samples import signed
from tests.sync.conftest import due_at
from tests.sync.double import NAME, TOKEN, Double, app, double, nothing, said, ticket_in  # noqa: F401 - fixtures
from tests.sync.test_handlers import PDF, issued, issued_already


def once(answer: Response) -> Callable[[str, str], Response | None]:
    """This answer to the first write, and the truth to everything after."""
    answers = [answer]
    return lambda method, _path: answers.pop() if method == "POST" and answers else None


def tries() -> list[Attempt]:
    db.session.rollback()
    return list(db.session.scalars(select(Attempt).order_by(Attempt.n)))


# ---- what was asked and answered ---------------------------------------------------------------------------


def test_each_try_keeps_what_was_asked_and_answered_and_no_secret(double: Double, unfinished) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    row = unfinished(ticket_in(double, "T-1"))
    double.token = "another"

    worker.run_once("w")
    double.token = TOKEN
    worker.breaker.ask_now(NAME)
    worker.run_once("w")

    refused, delivered = tries()
    assert [(each["method"], each["path"], each["status"]) for each in refused.exchanges] == [
        ("GET", "/tickets/T-1/notes", 401)
    ]
    assert [each["status"] for each in delivered.exchanges] == [
        200,
        201,
        200,
        200,
        200,
    ]  # look, write, read back, read the ticket, and whether people wrote meanwhile
    assert TOKEN not in str(refused.exchanges)
    assert "bad token" in refused.exchanges[0]["excerpt"]
    assert delivered.exchanges[1]["request_sha256"] != hashlib.sha256(b"").hexdigest()
    assert row.uid in delivered.exchanges[2]["excerpt"]


def test_the_page_shows_what_was_asked_and_answered(
    double: Double,  # noqa: F811
    unfinished,  # type: ignore[no-untyped-def]
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
) -> None:
    unfinished(ticket_in(double, "T-1"))
    double.after = once(said({"error": "<b>gone</b>"}, 500))
    worker.run_once("w")

    text = logged_in(dispatcher).get("/deliveries").get_data(as_text=True)

    assert "POST /tickets/T-1/notes" in text
    assert "500" in text
    assert "&lt;b&gt;gone" in text


def test_of_very_many_exchanges_the_first_and_the_last_are_kept(
    double: Double,  # noqa: F811
    unfinished,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unfinished(ticket_in(double, "T-1"))

    def chatty(_claim: object) -> None:
        wire._exchanges.get().extend(Exchange("GET", f"/{n}", 200, "", "") for n in range(100))  # type: ignore[union-attr]

    monkeypatch.setitem(worker.HANDLERS, "visit_unfinished", chatty)
    worker.run_once("w")

    kept = [each["path"] for each in tries()[0].exchanges]
    assert len(kept) == MOST_EXCHANGES
    assert (kept[0], kept[-1]) == ("/0", "/99")


def test_a_call_ends_before_its_lease(double: Double, unfinished, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    unfinished(ticket_in(double, "T-1"))
    left = []

    def look(_claim: object) -> None:
        left.append((wire._until.get() or 0) - time.monotonic())

    monkeypatch.setitem(worker.HANDLERS, "visit_unfinished", look)
    worker.run_once("w")

    assert 90 < left[0] < LEASE.total_seconds() - 10


# ---- sizes -------------------------------------------------------------------------------------------------


@pytest.fixture
def report(double: Double, on_site: Callable[..., Visit], engineer: User) -> Promise:  # noqa: F811
    """The promise to deliver a signed record's report."""
    visit = on_site(ticket_in(double, "T-1"))
    signed(visit, engineer)
    issued_already()
    made = issued(visit)
    assert record_of(visit) is not None
    return db.session.scalars(select(Promise).where(Promise.uid == f"report_issued:{made.id}")).one()


def test_a_report_goes_in_with_its_file(double: Double, report: Promise) -> None:  # noqa: F811
    worker.run_once("w")

    (note,) = double.notes("T-1")
    assert (note["uid"], note["status"], len(note["files"])) == (report.uid, "resolved", 1)


def test_a_file_that_the_store_finds_too_large_becomes_a_link(double: Double, report: Promise) -> None:  # noqa: F811
    double.largest = len(PDF) // 2

    worker.run_once("w")

    (note,) = double.notes("T-1")
    assert note["files"] == []
    assert f"/reports/{report.payload['report']}.pdf" in note["text"]
    db.session.refresh(report)
    assert report.state == "delivered"


def test_a_link_whose_answer_was_lost_is_found_and_not_written_again(double: Double, report: Promise) -> None:  # noqa: F811
    double.largest = len(PDF) // 2
    lost = [said({}, 201), said({}, 500)]
    double.after = lambda method, _path: lost.pop() if method == "POST" and double.notes("T-1") and lost else None

    worker.run_once("w")
    due_at(clock.now())
    double.after = lambda _method, _path: None
    worker.run_once("w")

    db.session.refresh(report)
    assert (report.state, len(double.notes("T-1")), double.notes("T-1")[0]["files"]) == ("delivered", 1, [])


# ---- a store that is slow --------------------------------------------------------------------------------


def test_a_store_that_is_still_writing_is_not_asked_before_it_can_have_finished(
    double: Double,  # noqa: F811
    unfinished: Callable[[Ticket], Promise],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = unfinished(ticket_in(double, "T-1"))
    monkeypatch.setattr(outbox, "_jitter", lambda _tries: timedelta())
    patience, done, written = wire.SILENT_S, threading.Event(), threading.Event()

    def before(method: str, _path: str) -> None:
        if method == "POST":
            done.wait(60)
        else:
            monkeypatch.setattr(wire, "SILENT_S", 0.3)  # for the write; the look before it may take its time

    def after(method: str, _path: str) -> None:
        if method == "POST":
            written.set()

    double.before, double.after = before, after
    began = clock.now()
    worker.run_once("w")
    outbox.hasten(NAME, clock.now())
    assert not worker.run_once("w")
    db.session.refresh(row)
    assert (row.state, row.next_at >= began + SETTLES) == ("retry_wait", True)

    double.before = nothing
    monkeypatch.setattr(wire, "SILENT_S", patience)
    done.set()
    assert written.wait(60)
    due_at(clock.now())
    worker.run_once("w")

    db.session.refresh(row)
    assert (row.state, len(double.notes("T-1"))) == ("delivered", 1)


@pytest.fixture
def unheard(double: Double, unfinished: Callable[[Ticket], Promise]) -> Iterator[Callable[[int], Promise]]:  # noqa: F811
    """``unheard(status)``: a note that the store still writes while a gateway has given up on it; nothing of it is to be
    seen before the minute is over. Time stands still until the test moves it."""
    with time_machine.travel(clock.now(), tick=False) as traveller:

        def send(status: int) -> Promise:
            row = unfinished(ticket_in(double, "T-1"))
            late: list[Any] = []

            def give_up(method: str, _path: str) -> Response | None:
                if method != "POST" or late:
                    return None
                late.extend(double.notes("T-1"))
                double.notes("T-1").clear()
                return said({"error": "gateway"}, status)

            def writes(_method: str, _path: str) -> Response | None:
                if late and clock.now() >= sent + timedelta(seconds=50):
                    double.notes("T-1").extend(late[:])
                    late[:] = [None]
                    double.before = lambda _method, _path: None
                return None

            sent = clock.now()
            double.after, double.before = give_up, writes
            worker.run_once("w")
            db.session.refresh(row)
            return row

        send.time = traveller  # type: ignore[attr-defined]
        yield send


@pytest.mark.parametrize("status", [502, 504, 522, 524])
def test_a_person_in_a_hurry_does_not_make_it_stand_there_twice(
    double: Double,  # noqa: F811
    unheard: Callable[[int], Promise],
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
    status: int,
) -> None:
    row, office, time_ = unheard(status), logged_in(dispatcher), unheard.time  # type: ignore[attr-defined]
    for _n in range(5):
        office.post(f"/deliveries/{row.id}/retry")
        office.post("/deliveries/probe", data={"store": NAME})
        worker.run_once("w")
        time_.shift(timedelta(seconds=9))
    page = office.get("/deliveries").get_data(as_text=True)
    time_.shift(timedelta(seconds=15))
    worker.run_once("w")

    assert "the store may still be writing it. It is looked for from" in page
    db.session.refresh(row)
    assert (row.state, row.attempts, len(double.notes("T-1"))) == ("delivered", 2, 1)
    actions = db.session.scalars(select(AuditEntry.action).where(AuditEntry.subject_type == "outbox")).all()
    assert actions == ["delivery.retried"] * 5
    assert "may still be writing" not in office.get("/deliveries").get_data(as_text=True)


def test_asking_a_silent_store_now_does_not_ask_about_what_it_may_still_write(
    double: Double,  # noqa: F811
    unheard: Callable[[int], Promise],
) -> None:
    """The fifth silence opens the breaker and puts the delivery back: that makes it no sooner than its own minute."""
    for _n in range(4):
        worker.breaker.told(NAME, Unreachable("silence"))
    row = unheard(504)
    assert row.state == "pending"

    worker.breaker.ask_now(NAME)

    assert not worker.run_once("w")
    unheard.time.shift(SETTLES)  # type: ignore[attr-defined]
    worker.run_once("w")
    db.session.refresh(row)
    assert (row.state, len(double.notes("T-1"))) == ("delivered", 1)


def test_what_was_given_up_unheard_is_not_sent_at_once_either(
    double: Double,  # noqa: F811
    unheard: Callable[[int], Promise],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "MOST_TRIES", 1)
    row = unheard(504)
    assert row.state == "dead"

    outbox.retry_now(row.id)

    assert not worker.run_once("w")
    db.session.refresh(row)
    assert row.next_at == clock.now() + SETTLES


def test_a_worker_that_died_at_the_end_of_its_time_leaves_the_store_its_own(
    double: Double,  # noqa: F811
    unfinished: Callable[[Ticket], Promise],
) -> None:
    row = unfinished(ticket_in(double, "T-1"))
    with time_machine.travel(clock.now(), tick=False) as traveller:
        outbox.claim("dies", worker.breaker.room)
        traveller.shift(LEASE + timedelta(seconds=1))

        outbox.retry_now(row.id)
        assert not worker.run_once("next")
        db.session.refresh(row)
        assert (row.state, row.next_at) == ("unknown", clock.now() + timedelta(seconds=39))

        traveller.shift(timedelta(seconds=39))
        worker.run_once("next")
    db.session.refresh(row)
    assert row.state == "delivered"
