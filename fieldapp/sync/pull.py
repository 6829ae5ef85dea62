"""Read what changed in the ticket store. The cursor is committed together with the tickets it stands for.

``pull`` follows the store's changes; ``scan`` reads everything, slowly, once a day: no store reports what was deleted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import select, update

from fieldapp import clock, crashpoints
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.sync import echoes, ended
from fieldapp.tickets import news
from fieldapp.tickets.models import PullCursor, Ticket
from fieldapp.tickets.news import Wrote
from fieldapp.tickets.operations import become_part, lose, take_in, take_in_all
from fieldapp.tickets.queries import count_unmet, unknown, unmet
from fieldapp.tickets.store import Page, Rejected, StoreError, StoreTicket, TicketStore

PAGE = 100
MOST_PAGES = 200  # of one pull; the next one goes on
SCAN_EVERY, SCAN_AT_MOST = timedelta(days=1), timedelta(hours=20)
SCAN_PAGES, SCAN_QUESTIONS = 5, 20  # of one turn
LOST_AT_ONCE, LOST_SHARE = 20, 0.1  # more than both: not deleted, but hidden from us


class Progress(NamedTuple):
    """How many tickets came, and whether the time was over before the last of them."""

    taken: int
    more: bool


def pull(store: TicketStore, limit: int = PAGE) -> int:
    """Take in every change since the last pull and return how many tickets came (raises StoreError, kept for the page)."""
    return read_on(store, limit).taken


def read_on(store: TicketStore, limit: int = PAGE, *, seconds: float = float("inf")) -> Progress:
    """The same for about so long: who has deliveries to make as well goes on with the next page afterwards.

    No transaction is open while the store is asked. Told twice is taken in once; nothing is promised, so what we
    wrote ourselves comes back and goes no further. A store that leads in a circle is left until the next time.
    """
    taken, asked, last = 0, set[str](), Page(tickets=(), cursor="", more=False)
    until, more = time.monotonic() + seconds, False
    for _turn in range(MOST_PAGES):
        before = _cursor(store.name)
        try:
            page = store.changes(before, limit)
            wrote = echoes.of_people(store, page.tickets)
        except StoreError as error:
            _keep_error(store.name, str(error))
            raise
        _take(store.name, before, page, wrote)
        crashpoints.reach("after_page")
        taken += len(page.tickets)
        asked.add(before)
        if not page.more:
            break
        if page.cursor in asked or _same(page, last):
            _keep_error(store.name, _in_a_circle())
            break
        if more := time.monotonic() >= until:
            break
        last = page
    ended.explain(store.name)
    return Progress(taken, more)


def _in_a_circle() -> str:
    return _("The ticket store tells the same changes again and again: reading stopped there.")


def _same(page: Page, last: Page) -> bool:
    """Whether the store told the very page before once more, under whatever cursor."""
    return bool(page.tickets) and _names(page) == _names(last)


def _names(page: Page) -> list[tuple[str, str]]:
    return [(each.ref, each.version) for each in page.tickets]


def _cursor(name: str) -> str:
    row = db.session.get(PullCursor, name, populate_existing=True)
    cursor = row.cursor if row else ""
    db.session.rollback()
    return cursor


@operation
def _take(name: str, before: str, page: Page, wrote: Mapping[str, Wrote]) -> None:
    row = _row(name)
    take_in_all(unknown(page.tickets, name), store=name, quiet=row.caught_up_at is None, wrote=wrote)
    if row.cursor == before:  # else another worker has read further: its place is not taken back
        row.cursor = page.cursor
        row.caught_up_at = row.caught_up_at or (None if page.more else clock.now())
    row.pulled_at, row.last_error = clock.now(), None
    crashpoints.reach("in_page")


@operation
def _keep_error(name: str, sentence: str) -> None:
    _row(name).last_error = sentence


def _row(name: str) -> PullCursor:
    row = db.session.get(PullCursor, name, with_for_update=True, populate_existing=True)
    if row is None:
        row = PullCursor(store=name, cursor="", scan_cursor="")
        db.session.add(row)
    return row


# ---- the slow pass over everything ------------------------------------------------------------------------


def scan(store: TicketStore, *, limit: int = PAGE, now: bool = False) -> bool:
    """Go on a little with the slow pass, when one is due (``now``: in any case); True when it ended just now.

    A ticket that the pass does not meet is asked for by its name, and only when the store says that there is none it
    counts as gone (raises StoreError; the next turn goes on).
    """
    row = _begin_scan(store.name, now=now)
    if row is None:
        return False
    if row.scan_read_at is None:
        return _read_on(store, limit)
    return _ask_for_unmet(store)


@operation
def _begin_scan(name: str, *, now: bool) -> PullCursor | None:
    row = _row(name)
    if row.caught_up_at is None:
        return None  # what is not known yet cannot be missed
    if row.scan_started_at is not None and clock.now() - row.scan_started_at > SCAN_AT_MOST:
        _end_scan(row, _("Reading all tickets of the store came to no end. It is begun anew tomorrow."))
    if row.scan_started_at is None:
        if not now and row.scan_ended_at is not None and clock.now() - row.scan_ended_at < SCAN_EVERY:
            return None
        row.scan_started_at, row.scan_cursor, row.scan_read_at = clock.now(), "", None
        news.prune()
    db.session.flush()
    return row


def _read_on(store: TicketStore, limit: int) -> bool:
    for _turn in range(SCAN_PAGES):
        row = db.session.get_one(PullCursor, store.name, populate_existing=True)
        before = row.scan_cursor
        db.session.rollback()
        page = store.changes(before, limit)
        _meet(store.name, before, page, echoes.of_people(store, page.tickets))
        if page.more and page.cursor == before:
            return _close_scan(store.name, _in_a_circle())
        if not page.more:
            return _judge(store.name)
    return False


@operation
def _meet(name: str, before: str, page: Page, wrote: Mapping[str, Wrote]) -> None:
    row = _row(name)
    take_in_all(unknown(page.tickets, name), store=name, wrote=wrote)
    refs = {each.ref for each in page.tickets}
    met = update(Ticket).where(Ticket.store == name, Ticket.ref.in_(refs)).values(seen_at=clock.now())
    db.session.execute(met.execution_options(synchronize_session=False))
    if row.scan_cursor == before:
        row.scan_cursor = page.cursor
        row.scan_read_at = None if page.more else clock.now()


@operation
def _judge(name: str) -> bool:
    """Everything was read. True when nothing is missing; too much missing means that it is hidden from us."""
    row = _row(name)
    missing, total = count_unmet(row)
    if missing > max(LOST_AT_ONCE, total * LOST_SHARE):
        sentence = _(
            "%(missing)s of %(total)s tickets are not shown to us any more by the ticket store. Look whether our user may"
            " still see everything there; nothing was marked as gone.",
            missing=missing,
            total=total,
        )
        _end_scan(row, sentence)
        return True
    if missing == 0:
        _end_scan(row)
    return missing == 0


def _ask_for_unmet(store: TicketStore) -> bool:
    """Ask for what was not met, by name."""
    row = db.session.get_one(PullCursor, store.name, populate_existing=True)
    refs = [ticket.ref for ticket in unmet(row, SCAN_QUESTIONS)]
    db.session.rollback()
    for ref in refs:
        try:
            told = store.ticket(ref)
        except Rejected:
            _lose(store.name, ref)
        else:
            _find(store.name, ref, told, echoes.of_people(store, (told,)))
    if len(refs) == SCAN_QUESTIONS:
        return False
    _close_scan(store.name)
    ended.explain(store.name)
    return True


@operation
def _lose(name: str, ref: str) -> None:
    lose(_ticket(name, ref))


@operation
def _find(name: str, ref: str, told: StoreTicket, wrote: Mapping[str, Wrote]) -> None:
    """It is there, though the pass did not show it. A store may answer with the ticket that it became a part of."""
    take_in(told, store=name, wrote=wrote)
    ticket = _ticket(name, ref)
    if told.ref != ref:
        become_part(ticket, told.ref)
    ticket.seen_at = clock.now()


def _ticket(name: str, ref: str) -> Ticket:
    query = select(Ticket).where(Ticket.store == name, Ticket.ref == ref).with_for_update()
    return db.session.scalars(query.execution_options(populate_existing=True)).one()


@operation
def _close_scan(name: str, error: str | None = None) -> bool:
    _end_scan(_row(name), error)
    return True


def _end_scan(row: PullCursor, error: str | None = None) -> None:
    row.scan_ended_at, row.scan_started_at, row.scan_read_at, row.scan_cursor = clock.now(), None, None, ""
    row.scan_error = error
