"""Read what changed in the ticket store. The cursor is committed together with the tickets it stands for."""

from __future__ import annotations

from fieldapp import clock
from fieldapp.extensions import db, operation
from fieldapp.tickets.models import PullCursor
from fieldapp.tickets.operations import take_in
from fieldapp.tickets.store import Page, StoreError, TicketStore

PAGE = 100


def pull(store: TicketStore, limit: int = PAGE) -> int:
    """Take in every change since the last pull and return how many tickets came (raises StoreError, kept for the page).

    No transaction is open while the store is asked. Told twice is taken in once; nothing is promised, so what we
    wrote ourselves comes back as news and goes no further.
    """
    taken = 0
    while True:
        before = _cursor(store.name)
        try:
            page = store.changes(before, limit)
        except StoreError as error:
            _keep_error(store.name, str(error))
            raise
        _take(store.name, before, page)
        taken += len(page.tickets)
        if not page.more:
            return taken


def _cursor(name: str) -> str:
    row = db.session.get(PullCursor, name, populate_existing=True)
    cursor = row.cursor if row else ""
    db.session.rollback()
    return cursor


@operation
def _take(name: str, before: str, page: Page) -> None:
    for told in page.tickets:
        take_in(told, store=name)
    row = _row(name)
    if row.cursor == before:  # else another worker has read further: its place is not taken back
        row.cursor = page.cursor
    row.pulled_at, row.last_error = clock.now(), None


@operation
def _keep_error(name: str, sentence: str) -> None:
    _row(name).last_error = sentence


def _row(name: str) -> PullCursor:
    row = db.session.get(PullCursor, name, with_for_update=True, populate_existing=True)
    if row is None:
        row = PullCursor(store=name, cursor="")
        db.session.add(row)
    return row
