"""What is new in tickets, for the people who plan: what it was and what it is, by whom, until somebody has seen it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import joinedload

from fieldapp import audit, clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer
from fieldapp.errors import NotFound
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.offline.operations import Receipt
from fieldapp.tickets.models import Ticket, TicketNews

KEPT_FOR = timedelta(days=30)
MOST_KEPT = 2000
PAGE, COUNT_AT_MOST, BRIEF = 30, 99, 3


@dataclass(frozen=True)
class State:
    """What of a ticket is news when it changes, and how it had ended."""

    status: str
    priority: str
    subject: str
    text: str
    customer_id: UUID | None
    ended: str | None


def state_of(ticket: Ticket) -> State:
    """A ticket as it is now; of a new one everything is empty."""
    return State(**{each.name: getattr(ticket, each.name) for each in fields(State)})


# ---- noting ---------------------------------------------------------------------------------------------


def note(ticket: Ticket, before: State | None, *, by: str, ours: bool) -> None:
    """Note what the store told (``before``: None when the ticket is new to us). ``ours``: it may be what we wrote."""
    if before is None:
        if ticket.open:
            add(ticket, "new", at=ticket.opened_at, by=by)
        return
    changes = list(_changes(before, ticket))
    if ours:
        changes = [each for each in changes if each["field"] != "status" or each["after"] != ticket.pushed_status]
    if ticket.ended == "merged" and before.ended != "merged":
        add(ticket, "merged", at=ticket.changed_at, by=by, changes=changes)
    elif before.ended == "gone":
        add(ticket, "back", at=ticket.changed_at, by=by, changes=changes)
    elif changes or (ticket.open and not ours):
        add(ticket, "changed", at=ticket.changed_at, by=by, changes=changes)


def add(ticket: Ticket, kind: str, *, at: datetime, by: str = "", changes: Iterable[dict[str, str]] = ()) -> None:
    """One line of news; the same about the same version is one line, shown again."""
    same = (TicketNews.ticket_id == ticket.id) & (TicketNews.version == ticket.version) & (TicketNews.kind == kind)
    line = db.session.scalar(select(TicketNews).where(same))
    if line is None:
        line = TicketNews(ticket_id=ticket.id, version=ticket.version, kind=kind)
        db.session.add(line)
    line.at, line.by, line.changes = at, by[:80], list(changes)
    line.made_at, line.seen_at, line.seen_by_id = clock.now(), None, None
    db.session.flush()


def _changes(before: State, ticket: Ticket) -> Iterable[dict[str, str]]:
    """``{field, before, after}``; of the description only that it changed."""
    for field in ("status", "priority", "subject"):
        was, now = getattr(before, field), getattr(ticket, field)
        if was != now:
            yield {"field": field, "before": was, "after": now}
    if before.customer_id != ticket.customer_id:
        was, now = _customer(before.customer_id), _customer(ticket.customer_id)
        yield {"field": "customer", "before": was, "after": now}
    if before.text != ticket.text:
        yield {"field": "text", "before": "", "after": ""}


def _customer(key: UUID | None) -> str:
    known = db.session.get(Customer, key) if key else None
    return known.name if known else ""


@operation
def prune() -> None:
    """What is older than 30 days goes, and of what is left the oldest beyond 2000: a flood in the store drowns nobody."""
    db.session.execute(delete(TicketNews).where(TicketNews.made_at < clock.now() - KEPT_FOR))
    beyond = select(TicketNews.made_at).order_by(TicketNews.made_at.desc()).offset(MOST_KEPT).limit(1)
    if last := db.session.scalar(beyond):
        db.session.execute(delete(TicketNews).where(TicketNews.made_at <= last))


# ---- seen -----------------------------------------------------------------------------------------------


@operation
def see(key: UUID, *, by: User) -> Receipt:
    """已阅: one line, for everybody (raises NotFound). Twice is once; who was first stays."""
    line = db.session.get(TicketNews, key, with_for_update=True)
    if line is None:
        raise NotFound(_("This is not kept any more."))
    if line.seen_at is None:
        line.seen_at, line.seen_by_id = clock.now(), by.id
        audit.record("ticket_news.seen", "ticket", line.ticket_id, by=by.id, version=line.version)
    return {"news": str(line.id)}


@operation
def see_all(newest: UUID, *, by: User) -> Receipt:
    """Everything up to the line that stood first on the page: what came after it was not seen."""
    unseen = _new_to(by) & (TicketNews.id <= newest)
    result = db.session.execute(update(TicketNews).where(unseen).values(seen_at=clock.now(), seen_by_id=by.id))
    count = int(result.rowcount)  # type: ignore[attr-defined]
    audit.record("ticket_news.all_seen", "ticket_news", newest, by=by.id, count=count)
    return {"seen": count}


# ---- reading --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """One page, newest first. ``next``: where the following one begins; None on the last."""

    lines: list[TicketNews]
    next: UUID | None


@dataclass(frozen=True)
class Brief:
    """What the board says: the newest few, and how many there are (counted up to COUNT_AT_MOST + 1)."""

    lines: list[TicketNews]
    count: int


def listing(user: User, *, seen: bool, before: UUID | None = None) -> Listing:
    """What is new to this person, or what somebody has seen."""
    query = select(TicketNews).where(TicketNews.seen_at.is_not(None) if seen else _new_to(user))
    if before:
        query = query.where(TicketNews.id < before)
    query = query.options(joinedload(TicketNews.ticket).joinedload(Ticket.customer), joinedload(TicketNews.seen_by))
    found = list(db.session.scalars(query.order_by(TicketNews.id.desc()).limit(PAGE + 1)))
    return Listing(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)


def brief(user: User) -> Brief:
    """The newest few that are new to this person, and their number."""
    query = select(TicketNews).where(_new_to(user)).order_by(TicketNews.id.desc()).limit(BRIEF)
    lines = list(db.session.scalars(query.options(joinedload(TicketNews.ticket).joinedload(Ticket.customer))))
    if len(lines) < BRIEF:
        return Brief(lines, len(lines))
    some = select(TicketNews.id).where(_new_to(user)).limit(COUNT_AT_MOST + 1).subquery()
    return Brief(lines, db.session.scalar(select(func.count()).select_from(some)) or 0)


def _new_to(user: User) -> ColumnElement[bool]:
    """Nobody has seen it, and it is not what this very person did."""
    return TicketNews.seen_at.is_(None) & (TicketNews.by != user.name)
