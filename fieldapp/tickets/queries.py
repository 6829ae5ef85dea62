"""Reading our copy of the store's tickets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, func, or_, select

from fieldapp.extensions import db
from fieldapp.tickets.models import PullCursor, Ticket
from fieldapp.tickets.store import StoreTicket


def unknown(told: Iterable[StoreTicket], store: str) -> list[StoreTicket]:
    """Those of a page that our copy does not have at this very version, or without its customer; each ``(ref, version)`` once."""
    once = {(each.ref, each.version): each for each in told}
    query = select(Ticket.ref, Ticket.version).where(Ticket.store == store, Ticket.ref.in_({ref for ref, _v in once}))
    query = query.where(Ticket.ended.is_distinct_from("gone"), Ticket.customer_id.is_not(None))
    here = {(ref, version) for ref, version in db.session.execute(query)}
    return [each for key, each in once.items() if key not in here]


def ticket_of(store: str, ref: str) -> Ticket | None:
    """Our copy of a ticket."""
    return db.session.scalar(select(Ticket).where(Ticket.store == store, Ticket.ref == ref))


def number_into(ticket: Ticket) -> str:
    """The number of the ticket that this one is a part of now, as people know it; empty when it is none's."""
    if ticket.merged_into is None:
        return ""
    query = select(Ticket.number).where(Ticket.store == ticket.store, Ticket.ref == ticket.merged_into)
    return db.session.scalar(query) or ticket.merged_into


def unmet(row: PullCursor, limit: int) -> Sequence[Ticket]:
    """Tickets that the slow pass has not met since it started."""
    return db.session.scalars(select(Ticket).where(*_unmet(row)).order_by(Ticket.id).limit(limit)).all()


def count_unmet(row: PullCursor) -> tuple[int, int]:
    """How many the slow pass has not met, of how many."""
    of_store = select(func.count()).select_from(Ticket).where(Ticket.store == row.store)
    return db.session.scalar(of_store.where(*_unmet(row))) or 0, db.session.scalar(of_store) or 0


def _unmet(row: PullCursor) -> list[ColumnElement[bool]]:
    started = row.scan_started_at
    return [
        Ticket.store == row.store,
        Ticket.ended.is_distinct_from("gone"),
        or_(Ticket.seen_at.is_(None), Ticket.seen_at < started),
        Ticket.pulled_at < started,
    ]
