"""What is new in tickets, for the people who plan: what it was and what it is, by whom, until somebody has seen it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


Lines = dict[tuple[UUID, str, str], TicketNews]  # by ticket, version and kind


@dataclass(frozen=True)
class State:
    """What of a ticket is news when it changes, and how it had ended."""

    status: str
    priority: str
    subject: str
    text: str
    customer_id: UUID | None
    ended: str | None


@dataclass(frozen=True)
class Wrote:
    """That a person, not we, wrote something into a ticket."""

    at: datetime
    by: str


def state_of(ticket: Ticket) -> State:
    """A ticket as it is now; of a new one everything is empty."""
    return State(**{each.name: getattr(ticket, each.name) for each in fields(State)})


# ---- noting ---------------------------------------------------------------------------------------------


def note(
    ticket: Ticket, before: State | None, *, by: str, ours: bool, lines: Lines, wrote: Wrote | None = None
) -> None:
    """Note what the store told (``before``: None when the ticket is new to us). ``ours``: it may be what we wrote, but for
    what a person ``wrote`` in the same minutes; ``lines``: what was noted before about these versions."""
    if before is None:
        if ticket.open:
            _put(lines, ticket, "new", at=ticket.opened_at, by=by)
        return
    changes = list(_changes(before, ticket))
    if ours:
        changes = [each for each in changes if each["field"] != "status" or each["after"] != ticket.pushed_status]
    if ticket.ended == "merged" and before.ended != "merged":
        _put(lines, ticket, "merged", at=ticket.changed_at, by=by, changes=changes)
    elif before.ended == "gone":
        _put(lines, ticket, "back", at=ticket.changed_at, by=by, changes=changes)
    elif ours and wrote:
        _put(lines, ticket, "changed", at=wrote.at, by=wrote.by, changes=changes)
    elif changes or (ticket.open and not ours):
        _put(lines, ticket, "changed", at=ticket.changed_at, by=by, changes=changes)


def add(ticket: Ticket, kind: str, *, at: datetime) -> None:
    """One line of news that the store did not tell."""
    _put(lines_of([ticket.id], {ticket.version}), ticket, kind, at=at)


def lines_of(ticket_ids: Sequence[UUID], versions: Iterable[str]) -> Lines:
    """What was noted about these versions of these tickets."""
    about = TicketNews.ticket_id.in_(ticket_ids) & TicketNews.version.in_(set(versions))
    found = db.session.scalars(select(TicketNews).where(about)) if ticket_ids else ()
    return {(line.ticket_id, line.version, line.kind): line for line in found}


def _put(
    lines: Lines, ticket: Ticket, kind: str, *, at: datetime, by: str = "", changes: Iterable[dict[str, str]] = ()
) -> None:
    """One line of news; the same about the same version is one line, shown again."""
    key = (ticket.id, ticket.version, kind)
    if key not in lines:
        lines[key] = TicketNews(ticket_id=ticket.id, version=ticket.version, kind=kind)
        db.session.add(lines[key])
    line = lines[key]
    line.at, line.by, line.changes = at, by[:80], list(changes)
    line.made_at, line.seen_at, line.seen_by_id = clock.now(), None, None


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
