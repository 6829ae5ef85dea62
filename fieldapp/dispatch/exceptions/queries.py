"""Reading what a person of the office must look at (例外事项): cases that were opened, and what can be computed.

Every list is one statement over an index with a limit: a page costs the same with ten cases and with ten thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import aliased

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer
from fieldapp.dispatch.devices.queries import Phone, is_silent, silent_phones
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.offline.models import Case, Device, Submission
from fieldapp.outbox import Promise
from fieldapp.visits.models import Visit

PAGE, MOST_SILENT, COUNT_AT_MOST = 30, 20, 99


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case with all that a line about it says. ``engineer``: whose phone sent what led to it."""

    case: Case
    visit_id: UUID | None
    visit_status: str | None
    window: tuple[datetime | None, datetime | None]
    customer: str | None
    engineer: User | None
    settler: str | None
    submission: Submission | None

    @property
    def settled(self) -> bool:
        return self.case.settled_at is not None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One page. ``next``: where the following page begins; None on the last."""

    entries: Sequence[Entry]
    next: str | None
    silent: Sequence[Phone] = ()
    held: int = 0

    @property
    def any(self) -> bool:
        return bool(self.entries or self.silent or self.held)


def open_cases(before: str = "") -> Listing:
    """Open cases, newest first; on the first page also silent phones and deliveries that were held."""
    query = _entries().where(Case.settled_at.is_(None), *_before(Case.created_at, before))
    entries = _read(query.order_by(Case.created_at.desc(), Case.id.desc()).limit(PAGE + 1))
    computed: dict[str, Any] = {} if before else {"silent": silent_phones(MOST_SILENT), "held": _held()}
    return Listing(entries=entries[:PAGE], next=_next(entries, "created_at"), **computed)


def settled_cases(before: str = "") -> Listing:
    """Settled cases, the one settled last first."""
    query = _entries().where(Case.settled_at.is_not(None), *_before(Case.settled_at, before))
    entries = _read(query.order_by(Case.settled_at.desc(), Case.id.desc()).limit(PAGE + 1))
    return Listing(entries=entries[:PAGE], next=_next(entries, "settled_at"))


def entry_or_404(case_id: UUID) -> Entry:
    """One case (raises NotFound)."""
    found = _read(_entries().where(Case.id == case_id))
    if not found:
        raise NotFound(_("There is no such exception."))
    return found[0]


@dataclass(frozen=True)
class Counts:
    """How much waits on the page, each counted up to COUNT_AT_MOST + 1."""

    cases: int
    silent: int
    held: int

    @property
    def total(self) -> int:
        """As many as the page has lines."""
        return min(self.cases + self.silent + min(self.held, 1), COUNT_AT_MOST + 1)


def counts() -> Counts:
    """What waits, in one statement, because every page of the office shows the number."""
    columns = [
        _at_most(Case.id, Case.settled_at.is_(None)),
        _at_most(Device.id, is_silent()),
        _at_most(Promise.id, _is_held()),
    ]
    return Counts(*db.session.execute(select(*columns)).one())


def count() -> int:
    """The number in the navigation."""
    return counts().total


def _entries() -> Select[*tuple[Any, ...]]:
    engineer, settler = aliased(User, name="engineer"), aliased(User, name="settler")
    visit = Visit.id, Visit.status, Visit.window_start, Visit.window_end
    query: Select[*tuple[Any, ...]] = select(Case, *visit, Customer.name, engineer, settler.name, Submission)
    query = query.outerjoin(Visit, Visit.id == Case.visit_id).outerjoin(Customer, Customer.id == Visit.customer_id)
    query = query.outerjoin(Submission, Submission.id == Case.submission_id)
    sender = func.coalesce(Case.user_id, Submission.user_id, Visit.lead_id)
    return query.outerjoin(engineer, engineer.id == sender).outerjoin(settler, settler.id == Case.settled_by_id)


def _read(query: Select[*tuple[Any, ...]]) -> list[Entry]:
    return [
        Entry(
            case=case,
            visit_id=visit_id,
            visit_status=status,
            window=(start, end),
            customer=customer,
            engineer=engineer,
            settler=settler,
            submission=submission,
        )
        for case, visit_id, status, start, end, customer, engineer, settler, submission in db.session.execute(query)
    ]


# ---- pages ------------------------------------------------------------------------------------------


def _next(entries: Sequence[Entry], column: str) -> str | None:
    """``2026-11-22T10:00:00+00:00~<id>``: after the last one shown, when there are more."""
    if len(entries) <= PAGE:
        return None
    last = entries[PAGE - 1].case
    return f"{getattr(last, column).isoformat()}~{last.id}"


def _before(column: Any, cursor: str) -> list[ColumnElement[bool]]:
    """What comes after the cursor; a cursor that is none begins at the beginning."""
    moment, _tilde, key = cursor.partition("~")
    try:
        at, last = clock.parse_device_time(moment), UUID(key)
    except ValueError:
        return []
    return [column <= at, or_(column < at, and_(column == at, Case.id < last))] if at else []


# ---- counting ---------------------------------------------------------------------------------------


def _at_most(column: Any, condition: ColumnElement[bool]) -> Any:
    some = select(column).where(condition).limit(COUNT_AT_MOST + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def _held() -> int:
    return db.session.scalar(select(_at_most(Promise.id, _is_held()))) or 0


def _is_held() -> ColumnElement[bool]:
    return Promise.state.in_(("held", "dead"))
