"""Reading a store that is not ours: each change once, whatever breaks; no reading without end; what vanished is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from fieldapp import clock
from fieldapp.config import ROOT
from fieldapp.customers.models import Asset, Customer
from fieldapp.extensions import db, operation, uuid7
from fieldapp.sync import pull as reading
from fieldapp.sync.pull import pull, scan
from fieldapp.tickets.desk.operations import Intake, file_ticket
from fieldapp.tickets.models import PullCursor, Ticket, TicketNews
from fieldapp.tickets.store import Page, Unreachable
from tests.conftest import SECRET, add
from tests.sync.telling import Telling, a_ticket


def row(name: str = "redmine") -> PullCursor:
    return db.session.get_one(PullCursor, name, populate_existing=True)


def refs() -> list[str]:
    return sorted(db.session.scalars(select(Ticket.ref)))


def lines(kind: str | None = None) -> list[TicketNews]:
    query = select(TicketNews).order_by(TicketNews.id)
    return list(db.session.scalars(query.where(TicketNews.kind == kind) if kind else query))


@pytest.fixture
def store(app: Flask, asset: Asset) -> Telling:
    return Telling(*(a_ticket(f"R-{number}") for number in range(5)))


# ---- each change once ------------------------------------------------------------------------------------


def test_a_window_that_overlaps_takes_nothing_in_twice(store: Telling) -> None:
    pull(store, limit=2)
    before = db.session.scalars(select(Ticket.pulled_at)).all()

    reread = row()
    reread.cursor = "0"
    db.session.commit()
    assert pull(store, limit=2) == 5

    assert len(refs()) == 5
    assert db.session.scalars(select(Ticket.pulled_at)).all() == before
    assert lines() == []


def test_a_page_that_names_a_ticket_twice_makes_one_line_of_news(store: Telling) -> None:
    pull(store)
    store.change("R-1", status="in_progress")
    store.log.append(store.tickets["R-1"])

    pull(store)

    assert [(each.kind, each.ticket.ref) for each in lines()] == [("changed", "R-1")]


def test_a_commit_that_fails_takes_back_the_tickets_the_news_and_the_cursor(store: Telling) -> None:
    pull(store)
    before = row().cursor
    store.change("R-1", status="closed")
    failures = iter([True])

    def fail(_session: Session) -> None:
        if next(failures, False):
            raise OSError("the disk is full")

    event.listen(db.session(), "before_commit", fail)
    with pytest.raises(OSError, match="full"):
        pull(store)
    event.remove(db.session(), "before_commit", fail)

    assert (row().cursor, lines()) == (before, [])
    assert db.session.scalars(select(Ticket.status).where(Ticket.ref == "R-1")).one() == "new"
    pull(store)
    assert [each.changes for each in lines()] == [[{"field": "status", "before": "new", "after": "closed"}]]


@pytest.mark.crash
@pytest.mark.parametrize(("point", "taken"), [("in_page:2", 100), ("after_page:2", 200)])
def test_a_reader_that_is_killed_between_pages_loses_and_doubles_nothing(
    app: Flask, tmp_path: Path, asset: Asset, point: str, taken: int
) -> None:
    @operation
    def file_many() -> None:
        for number in range(250):
            file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))

    file_many()
    db.session.rollback()
    command = [sys.executable, "-m", "flask", "--app", "app", "pull"]
    environment = {
        **os.environ,
        "FIELDAPP_DATA_DIR": str(tmp_path),
        "FIELDAPP_SECRET_KEY": SECRET,
        "FIELDAPP_CRASH_AT": point,
    }

    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (len(refs()), row("embedded").cursor) == (taken, str(taken))
    db.session.rollback()
    again = subprocess.run(
        command, cwd=ROOT, env={**environment, "FIELDAPP_CRASH_AT": ""}, capture_output=True, timeout=120, check=False
    )
    assert again.stdout.decode().strip() == f"{250 - taken} tickets read"
    db.session.rollback()
    assert (len(refs()), len(set(refs())), row("embedded").cursor) == (250, 250, "250")


# ---- no reading without end -------------------------------------------------------------------------------


def test_a_store_that_stays_at_its_cursor_is_left_with_a_sentence(store: Telling) -> None:
    class Stuck(Telling):
        def changes(self, cursor: str, limit: int) -> Page:
            return replace(super().changes("", 2), cursor="2", more=True)

    stuck = Stuck(*store.log)

    assert pull(stuck) == 4

    assert stuck.told == 2
    assert "again and again" in (row().last_error or "")
    assert refs() == ["R-0", "R-1"]


def test_a_store_that_leads_in_a_circle_is_left(store: Telling) -> None:
    class Circle(Telling):
        """Three pages, and after the last one the first once more."""

        def changes(self, cursor: str, limit: int) -> Page:
            place = int(cursor or 0)
            page = super().changes(str(place), 2)
            return replace(page, cursor=str((place + 2) % 6), more=True)

    circle = Circle(*store.log)

    pull(circle)

    assert circle.told <= 4
    assert len(refs()) == 5


def test_a_store_that_tells_the_same_page_under_ever_new_cursors_is_left(store: Telling) -> None:
    class Endless(Telling):
        def changes(self, cursor: str, limit: int) -> Page:
            return replace(super().changes("", 3), cursor=f"page {self.told}", more=True)

    endless = Endless(*store.log)

    pull(endless)

    assert endless.told == 2
    assert len(refs()) == 3


def test_one_pull_reads_a_bounded_number_of_pages_and_the_next_goes_on(
    store: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_PAGES", 3)

    assert [pull(store, limit=1), pull(store, limit=1)] == [3, 2]

    assert len(refs()) == 5


# ---- what vanished --------------------------------------------------------------------------------------


def whole_pass(store: Telling, most: int = 20) -> int:
    """Turn after turn until the pass has ended; how many turns it took."""
    for turn in range(1, most):
        if scan(store, limit=2, now=turn == 1):
            return turn
    raise AssertionError("the pass does not end")


def test_a_ticket_that_vanished_is_noticed_once_and_stays_in_our_copy(store: Telling) -> None:
    pull(store)
    store.delete("R-3")

    whole_pass(store)
    whole_pass(store)

    gone = db.session.scalars(select(Ticket).where(Ticket.ended == "gone")).one()
    assert (gone.ref, gone.open) == ("R-3", False)
    assert [(each.kind, each.ticket.ref) for each in lines()] == [("gone", "R-3")]


def test_a_ticket_that_the_pass_skipped_but_that_is_there_is_not_gone(store: Telling) -> None:
    pull(store)
    store.log = [each for each in store.log if each.ref != "R-3"]

    whole_pass(store)

    assert db.session.scalar(select(func.count()).where(Ticket.ended.is_not(None))) == 0
    assert lines() == []


def test_a_ticket_that_comes_back_is_told_as_back(store: Telling) -> None:
    pull(store)
    kept = store.tickets["R-3"]
    store.delete("R-3")
    whole_pass(store)

    store.tickets["R-3"] = kept
    store.log += [kept, kept]
    pull(store)

    assert [each.kind for each in lines()] == ["gone", "back"]
    assert db.session.scalars(select(Ticket.ended).where(Ticket.ref == "R-3")).one() is None


def test_a_store_that_answers_with_another_ticket_has_merged_it(store: Telling) -> None:
    pull(store)
    store.delete("R-3")
    store.tickets["R-3"] = store.tickets["R-1"]

    whole_pass(store)

    ticket = db.session.scalars(select(Ticket).where(Ticket.ref == "R-3")).one()
    assert (ticket.ended, ticket.merged_into, ticket.lane) == ("merged", "R-1", "redmine:R-1")


def test_many_missing_at_once_mean_a_missing_right_and_nothing_is_marked(app: Flask, asset: Asset) -> None:
    store = Telling(*(a_ticket(f"R-{number}") for number in range(60)))
    pull(store)
    for number in range(30):
        store.delete(f"R-{number}")

    assert scan(store, now=True)

    assert db.session.scalar(select(func.count()).where(Ticket.ended.is_not(None))) == 0
    assert "30 of 60" in (row().scan_error or "")
    pull(store)
    assert row().scan_error


def test_the_pass_is_daily_and_goes_on_where_it_was_interrupted(store: Telling) -> None:
    pull(store)
    broken = iter([Unreachable("the line is down")])

    def break_at_the_second(cursor: str) -> None:
        if cursor == "2" and (error := next(broken, None)):
            raise error

    store.before_page, store.told = break_at_the_second, 0
    with pytest.raises(Unreachable):
        scan(store, limit=2)
    assert row().scan_cursor == "2"
    assert scan(store, limit=2)
    assert store.told == 4
    assert not scan(store, limit=2)

    with time_machine.travel(clock.now() + timedelta(hours=25)):
        assert scan(store, limit=2)


def test_a_pass_that_comes_to_no_end_is_given_up_with_a_sentence(store: Telling) -> None:
    class Growing(Telling):
        """Always one page more."""

        def changes(self, cursor: str, limit: int) -> Page:
            page = super().changes("", limit)
            return replace(page, cursor=f"{self.told}", more=True)

    pull(store)
    growing = Growing(*store.log)
    for _turn in range(4):
        assert not scan(growing, limit=2)
    assert growing.told == 4 * reading.SCAN_PAGES

    with time_machine.travel(clock.now() + reading.SCAN_AT_MOST + timedelta(minutes=1)):
        assert not scan(growing, limit=2)

    assert "no end" in (row().scan_error or "")
    assert lines("gone") == []


def test_a_pass_over_a_store_that_stays_at_its_cursor_ends_and_marks_nothing(store: Telling) -> None:
    class Stuck(Telling):
        def changes(self, cursor: str, limit: int) -> Page:
            return replace(super().changes("", 1), cursor="1", more=True)

    pull(store)

    assert scan(Stuck(*store.log))

    assert "again and again" in (row().scan_error or "")
    assert db.session.scalar(select(func.count()).where(Ticket.ended.is_not(None))) == 0


def test_nothing_is_missed_before_everything_was_read_once(store: Telling) -> None:
    assert not scan(store, now=True)
    assert store.told == 0


def test_a_customer_who_comes_into_the_file_later_is_linked_by_the_pass_without_news(store: Telling) -> None:
    store.tickets["R-9"] = a_ticket("R-9", customer="C-2002")
    store.log.append(store.tickets["R-9"])
    pull(store)
    before = db.session.scalar(select(func.count()).select_from(TicketNews))
    add(Customer(number="C-2002", name="另一家公司"))

    scan(store, now=True)

    ticket = db.session.scalars(select(Ticket).where(Ticket.ref == "R-9")).one()
    assert ticket.customer is not None
    assert ticket.customer.number == "C-2002"
    assert db.session.scalar(select(func.count()).select_from(TicketNews)) == before


def test_a_change_that_the_feed_lost_is_found_by_the_pass(store: Telling) -> None:
    pull(store)
    store.tickets["R-2"] = replace(store.tickets["R-2"], version="9", updated=clock.now())

    pull(store)
    assert db.session.scalars(select(Ticket.version).where(Ticket.ref == "R-2")).one() == "1"
    whole_pass(store)

    assert db.session.scalars(select(Ticket.version).where(Ticket.ref == "R-2")).one() == "9"
