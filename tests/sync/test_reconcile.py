"""What was delivered is compared with what the store holds: missing comes back, everything else is shown."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.outbox import Promise
from fieldapp.sync import breaker, operations, reconcile, worker
from fieldapp.sync.models import Finding, ReconcileRun
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Unreachable
from fieldapp.tickets.stores import STORES, store
from fieldapp.visits.models import Visit
from tests.records.samples import signed
from tests.sync.conftest import due_at
from tests.sync.double import NAME, Double, DoubleStore, app, double, said, ticket_in  # noqa: F401 - fixtures
from tests.sync.test_handlers import issued, issued_already

REF = "T-1"


@pytest.fixture
def delivered(double: Double, on_site: Callable[..., Visit], engineer: User) -> Promise:  # noqa: F811
    """A report that lies in the store as it should."""
    visit = on_site(ticket_in(double, REF))
    signed(visit, engineer)
    issued_already()
    issued(visit)
    worker.run_once("w")
    worker.pull_now()
    db.session.rollback()
    row = db.session.scalars(select(Promise).where(Promise.kind == "report_issued")).one()
    assert row.state == "delivered"
    return row


def compare() -> None:
    """One whole run."""
    list(reconcile.steps(store(), reconcile.begun(NAME, 30)))


def found() -> list[tuple[str, str, bool]]:
    """Kind, what exactly, and whether it is still so."""
    db.session.rollback()
    query = select(Finding).order_by(Finding.kind, Finding.what)
    return [(row.kind, row.what, row.cleared_at is None) for row in db.session.scalars(query)]


def once_more() -> None:
    """Keep what was promised again."""
    due_at(clock.now())
    worker.run_once("w")


# ---- what is as it should be, and what is not ----------------------------------------------------------------


def test_where_everything_is_there_nothing_is_found(delivered: Promise) -> None:
    compare()

    assert found() == []
    (run,) = db.session.scalars(select(ReconcileRun))
    assert (run.tickets, run.error, run.ended_at is not None) == (1, None, True)


def test_a_note_that_is_gone_comes_back_once_and_leaves_the_status_to_people(
    double: Double,  # noqa: F811
    delivered: Promise,
) -> None:
    double.notes(REF).clear()
    double.tickets[REF]["status"] = "reopened"

    compare()
    assert found() == [("missing", "note_gone", True)]
    once_more()
    compare()

    assert found() == [("missing", "note_gone", False)]
    (note,) = double.notes(REF)
    assert (note["uid"], len(note["files"])) == (delivered.uid, 1)
    assert double.tickets[REF]["status"] == "reopened"


def test_a_file_that_is_gone_is_added_to_the_note_that_is_there(double: Double, delivered: Promise) -> None:  # noqa: F811
    double.notes(REF)[0]["files"].clear()

    compare()
    once_more()
    compare()

    assert found() == [("missing", "file_gone", False)]
    assert [len(note["files"]) for note in double.notes(REF)] == [1]


def test_what_stays_missing_is_promised_twice_and_then_only_shown(double: Double, delivered: Promise) -> None:  # noqa: F811
    for _n in range(4):
        double.notes(REF).clear()
        compare()
        once_more()
    double.notes(REF).clear()
    compare()

    (row,) = db.session.scalars(select(Finding))
    assert row.repairs == 2
    assert double.notes(REF) == []


def test_what_a_person_leaves_instead_of_having_it_repaired_is_found_no_longer(
    double: Double,  # noqa: F811
    delivered: Promise,
    dispatcher: User,
) -> None:
    double.notes(REF).clear()
    compare()
    compare()
    assert found() == [("missing", "note_gone", True)]
    operations.skip(delivered.id, "已电话告知", by=dispatcher)

    compare()

    assert found() == [("missing", "note_gone", False)]


def test_a_second_note_or_file_is_shown_and_never_deleted(double: Double, delivered: Promise) -> None:  # noqa: F811
    note = double.notes(REF)[0]
    note["files"].append(dict(note["files"][0]))
    double.notes(REF).append({**note, "id": "T-1-2"})

    compare()

    assert found() == [("duplicate", "file_twice", True), ("duplicate", "note_twice", True)]
    assert len(double.notes(REF)) == 2


@pytest.mark.parametrize("tells_hash", [True, False])
def test_another_content_under_our_name_is_shown(double: Double, delivered: Promise, tells_hash: bool) -> None:  # noqa: F811
    double.tells_hash = tells_hash
    file = double.notes(REF)[0]["files"][0]
    content = base64.b64decode(file["content"])
    file["content"] = base64.b64encode(content[:-1] + b"!").decode()

    compare()

    assert found() == [("mismatch", "file_differs", True)]


def test_the_content_is_fetched_at_night_only(double: Double, delivered: Promise) -> None:  # noqa: F811
    double.tells_hash = False
    double.asked.clear()

    run = reconcile.begun(NAME, 1)

    @operation
    def by_day() -> None:
        db.session.get_one(ReconcileRun, run).deep = False

    by_day()
    list(reconcile.steps(store(), run))

    assert not [path for _method, path in double.asked if path.endswith("/files/0")]
    compare()
    assert [path for _method, path in double.asked if path.endswith("/files/0")]
    assert found() == []


def test_a_link_stands_for_a_file_that_was_too_large(
    double: Double,  # noqa: F811
    on_site: Callable[..., Visit],
    engineer: User,
) -> None:
    double.largest = 3
    visit = on_site(ticket_in(double, REF))
    signed(visit, engineer)
    issued_already()
    issued(visit)
    worker.run_once("w")

    compare()

    assert found() == []


def test_a_status_that_did_not_take_is_shown_and_one_that_a_person_set_is_not(
    double: Double,  # noqa: F811
    delivered: Promise,
) -> None:
    double.tickets[REF]["status"] = "new"
    compare()
    assert found() == [("mismatch", "status_differs", True)]

    later = datetime.now(UTC) + timedelta(minutes=5)
    double.tickets[REF]["updated"] = later.isoformat()
    compare()

    assert found() == [("mismatch", "status_differs", False)]


def test_a_change_that_was_never_told_is_taken_in(double: Double, delivered: Promise) -> None:  # noqa: F811
    ago = datetime.now(UTC) - timedelta(hours=1)
    ticket = db.session.scalars(select(Ticket).where(Ticket.ref == REF)).one()

    @operation
    def older() -> None:
        ticket.version, ticket.changed_at = "0", ago - timedelta(hours=1)

    older()
    double.tickets[REF]["updated"] = ago.isoformat()
    compare()

    db.session.refresh(ticket)
    assert ticket.version == str(double.tickets[REF]["version"])
    compare()
    assert found() == [("remote_changed", "ticket_changed", False)]


def test_a_mark_of_ours_that_we_never_made_is_an_orphan_and_others_are_not_ours(
    double: Double,  # noqa: F811
    delivered: Promise,
) -> None:
    note = double.notes(REF)[0]
    stranger = f"report_issued:{UUID(int=7)}"
    for uid in (stranger, f"{delivered.uid}:status", "somebody-else", None):
        double.notes(REF).append({**note, "uid": uid, "id": f"x{uid}"})

    compare()

    assert found() == [("orphan", "unknown_note", True)]
    assert db.session.scalars(select(Finding.facts)).one() == {"uid": stranger}


def test_a_ticket_that_is_gone_is_shown_and_nothing_is_written_anew(double: Double, delivered: Promise) -> None:  # noqa: F811
    del double.tickets[REF]

    compare()

    assert found() == [("missing", "ticket_gone", True)]
    db.session.refresh(delivered)
    assert delivered.state == "delivered"


def test_a_ticket_that_became_part_of_another_is_looked_at_there(double: Double, delivered: Promise) -> None:  # noqa: F811
    double.file("T-9")
    double.tickets["T-9"]["notes"] = double.tickets.pop(REF)["notes"]
    worker.pull_now()

    @operation
    def merge() -> None:
        db.session.scalars(select(Ticket).where(Ticket.ref == REF)).one().merged_into = "T-9"

    merge()
    compare()

    assert found() == []
    double.notes("T-9").clear()
    compare()
    assert found() == [("missing", "note_gone", True)]


def test_what_stands_in_a_ticket_that_became_part_of_this_one_is_not_missing(
    double: Double,  # noqa: F811
    delivered: Promise,
) -> None:
    double.file("T-9")
    worker.pull_now()

    @operation
    def merge() -> None:
        db.session.scalars(select(Ticket).where(Ticket.ref == REF)).one().merged_into = "T-9"
        db.session.get_one(Promise, delivered.id).lane = f"{NAME}:T-9"  # as if it had waited then

    merge()
    compare()

    assert "missing" not in [kind for kind, _what, _open in found()]


def test_an_unfinished_visit_is_compared_too(double: Double, unfinished: Callable[[Ticket], Promise]) -> None:  # noqa: F811
    unfinished(ticket_in(double, REF))
    worker.run_once("w")
    compare()
    assert found() == []

    double.notes(REF).clear()
    compare()

    assert found() == [("missing", "note_gone", True)]


# ---- when, and by whom ---------------------------------------------------------------------------------------


def test_each_quarter_of_an_hour_by_one_worker_and_each_night_a_month(app: Flask) -> None:  # noqa: F811
    with time_machine.travel(datetime(2026, 11, 20, 15, 0, tzinfo=UTC), tick=False) as moved:  # 23:00 in Shanghai
        night = reconcile.begin(NAME)
        assert night is not None  # none was made today, so the month is due at once
        assert reconcile.begin(NAME) is None
        reconcile._end(night, None)
        moved.shift(timedelta(minutes=15))
        quarter = reconcile.begin(NAME)
        assert quarter is not None
        reconcile._end(quarter, None)
        moved.shift(timedelta(hours=2))  # past midnight, before half past two
        early = reconcile.begin(NAME)
        assert early is not None
        moved.shift(timedelta(hours=3))  # the worker that was at it died
        late = reconcile.begin(NAME)
        assert late is not None

        rows = [db.session.get_one(ReconcileRun, each) for each in (night, quarter, early, late)]
        assert [row.deep for row in rows] == [True, False, False, True]
        assert [row.started_at - row.since for row in rows[:2]] == [timedelta(days=30), timedelta(minutes=30)]


def test_a_person_who_compares_one_day_takes_the_night_nothing(app: Flask) -> None:  # noqa: F811
    with time_machine.travel(datetime(2026, 11, 22, 3, 0, tzinfo=UTC), tick=False) as time:
        for days, deep in ((1, True), (30, False)):
            list(reconcile.steps(store(), reconcile.begun(NAME, days)))
            time.shift(reconcile.EVERY)
            run = reconcile.begin(NAME)
            assert run is not None
            db.session.rollback()
            assert db.session.get_one(ReconcileRun, run).deep is deep
            reconcile._end(run, "left")
            time.shift(reconcile.EVERY)


def test_a_store_that_does_not_answer_ends_the_run_and_says_why(
    double: Double,  # noqa: F811
    delivered: Promise,
) -> None:
    double.before = lambda _method, _path: said({}, 500)

    with pytest.raises(Unreachable):
        compare()

    (run,) = db.session.scalars(select(ReconcileRun))
    assert "500" in (run.error or "")
    assert run.ended_at is not None


def test_the_worker_compares_between_promises_and_tells_the_breaker(double: Double, delivered: Promise) -> None:  # noqa: F811
    rhythm = worker.Rhythm()
    double.notes(REF).clear()

    while worker.compare_on(rhythm):
        pass
    assert found() == [("missing", "note_gone", True)]
    assert not worker.compare_on(rhythm)  # not due

    @operation
    def earlier() -> None:
        for run in db.session.scalars(select(ReconcileRun)):
            run.started_at = clock.now() - timedelta(days=2)

    earlier()
    double.before = lambda _method, _path: said({}, 401)
    while worker.compare_on(worker.Rhythm()):
        pass
    assert breaker.room(NAME) == 0
    earlier()
    assert not worker.compare_on(worker.Rhythm())  # the store is left alone


def test_the_command_compares_and_prints_what_it_found(app: Flask, double: Double, delivered: Promise) -> None:  # noqa: F811
    clean = app.test_cli_runner().invoke(args=["reconcile", "--days", "7"])
    assert clean.exit_code == 0
    assert "1 tickets compared" in clean.output

    double.notes(REF).append({**double.notes(REF)[0], "id": "again"})
    told = app.test_cli_runner().invoke(args=["reconcile"])
    assert told.exit_code == 1
    assert REF in told.output
    assert "2 times" in told.output

    double.before = lambda _method, _path: said({}, 500)
    assert app.test_cli_runner().invoke(args=["reconcile"]).exit_code == 1


# ---- people ------------------------------------------------------------------------------------------------


def test_the_page_the_doctor_and_the_health_answer_say_what_was_found(
    app: Flask,  # noqa: F811
    double: Double,  # noqa: F811
    delivered: Promise,
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
    client: FlaskClient,
) -> None:
    double.notes(REF).append({**double.notes(REF)[0], "id": "again"})
    compare()

    page = logged_in(dispatcher).get("/deliveries").get_data(as_text=True)
    assert "Our note stands 2 times in the ticket" in page
    assert client.get("/readyz").json["counts"]["deliveries"]["duplicate"] == 1
    doctor = app.test_cli_runner().invoke(args=["doctor"]).output
    assert "1 duplicate" in doctor


def test_a_store_of_another_make_is_compared_by_its_own_words(
    delivered: Promise, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fewer(DoubleStore):
        """A store in which several of our words are one."""

    monkeypatch.setitem(STORES, NAME, Fewer)
    words = {"resolved": "done", "closed": "done"}
    theirs = store()
    theirs.words.statuses.write.update(words)  # type: ignore[attr-defined]
    theirs.words.statuses.read.update({"done": "closed"})  # type: ignore[attr-defined]

    assert reconcile._as_told(theirs, "resolved") == "closed"
    assert reconcile._as_told(theirs, "suspended") == "suspended"


def test_runs_of_a_season_ago_are_forgotten(double: Double, delivered: Promise) -> None:  # noqa: F811
    compare()
    with time_machine.travel(clock.now() + timedelta(days=91)):
        compare()

        worker.sweep()

        assert len(db.session.scalars(select(ReconcileRun)).all()) == 1
