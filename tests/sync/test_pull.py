"""Reading the ticket store's changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from fieldapp.extensions import db, uuid7
from fieldapp.outbox import Promise
from fieldapp.sync.pull import pull, read_on
from fieldapp.tickets.desk.operations import Intake, file_ticket
from fieldapp.tickets.models import PullCursor, Ticket
from fieldapp.tickets.store import Change, Page, Retry
from fieldapp.tickets.stores.embedded import EmbeddedStore


def tickets() -> int:
    return db.session.scalar(select(func.count()).select_from(Ticket)) or 0


def test_every_ticket_is_taken_in_once_in_small_pages(store: EmbeddedStore) -> None:
    for number in range(7):
        file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))

    assert pull(store, limit=2) == 7
    assert pull(store, limit=2) == 0
    assert tickets() == 7


def test_who_has_other_work_as_well_reads_for_a_while_and_goes_on(store: EmbeddedStore) -> None:
    for number in range(5):
        file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))

    assert read_on(store, limit=2, seconds=0) == (2, True)
    assert read_on(store, limit=2, seconds=0) == (2, True)
    assert read_on(store, limit=2, seconds=0) == (1, False)
    assert tickets() == 5


def test_a_change_in_the_store_reaches_our_copy(store: EmbeddedStore, filed: Ticket) -> None:
    store.push(Change(uid="office", ticket=filed.ref, note="客户要求暂停", status="suspended"))

    assert pull(store) == 1
    assert filed.status == "suspended"
    assert not filed.open


def test_what_we_wrote_ourselves_goes_no_further(store: EmbeddedStore, filed: Ticket) -> None:
    store.push(Change(uid=str(uuid7()), ticket=filed.ref, note="已更换电源", status="resolved"))

    pull(store)
    pull(store)

    assert filed.status == "resolved"
    assert db.session.scalar(select(func.count()).select_from(Promise)) == 0
    assert len(store.thread(filed.ref)) == 1


def test_cursor_and_tickets_are_committed_together(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Halting(EmbeddedStore):
        """A store whose second page never arrives."""

        def changes(self, cursor: str, limit: int) -> Page:
            if cursor:
                raise Retry("the line is down")
            return super().changes(cursor, limit)

    for number in range(4):
        file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))

    with pytest.raises(Retry):
        pull(Halting(), limit=3)

    row = db.session.get_one(PullCursor, "embedded", populate_existing=True)
    assert (tickets(), row.cursor, row.last_error) == (3, "3", "the line is down")
    assert pull(store) == 1
    assert db.session.get_one(PullCursor, "embedded", populate_existing=True).last_error is None


def test_a_slower_reader_does_not_take_the_cursor_back(store: EmbeddedStore) -> None:
    for number in range(4):
        file_ticket(Intake(subject=f"第 {number} 个"), uid=str(uuid7()))

    class Overtaken(EmbeddedStore):
        """While this reader holds its first page, another one reads everything."""

        def changes(self, cursor: str, limit: int) -> Page:
            page = super().changes(cursor, limit)
            if not cursor:
                pull(store)
            return page

    pull(Overtaken(), limit=2)

    assert db.session.get_one(PullCursor, "embedded", populate_existing=True).cursor == "4"
    assert tickets() == 4


def test_a_broken_ticket_moves_neither_cursor_nor_rows(
    store: EmbeddedStore, file: Callable[[], Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_ticket(Intake(subject="一"), uid=str(uuid7()))

    class Broken(EmbeddedStore):
        """A store that tells a version we cannot keep."""

        def changes(self, cursor: str, limit: int) -> Page:
            page = super().changes(cursor, limit)
            bad = page.tickets[0].__class__(**{**vars(page.tickets[0]), "ref": "T-x", "version": None})  # type: ignore[arg-type]
            return Page(tickets=(*page.tickets, bad), cursor=page.cursor, more=page.more)

    with pytest.raises(Exception, match="NOT NULL"):
        pull(Broken())

    assert tickets() == 0
    assert pull(store) == 1
