"""Digests of the engineer's pages, made of data and not of the pages: what a page shows cannot change without its digest.

Revisions only grow, and rows are added, so counts and sums tell every change; where a row can change without a revision
its values themselves are taken. Now and then a digest changes for nothing: that page is fetched once more. About twenty
statements in all, however many visits there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, String, and_, bindparam, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from fieldapp.accounts.models import LoginSession, User
from fieldapp.config import ROOT
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db, settings
from fieldapp.i18n import locale_name
from fieldapp.records.models import OpenItem, Photo, ServiceRecord, Signature
from fieldapp.reports.models import Report
from fieldapp.tickets.models import CustomerHistory, Ticket
from fieldapp.visits.models import Visit, VisitEvent

VISITS_AT_MOST = 200
SESSIONS_AT_MOST = 100
WEEK = timedelta(days=7)

# ---- what is read -----------------------------------------------------------------------------------

_VISIT = (
    select(
        Visit.id,
        Visit.customer_id,
        Visit.asset_id,
        Visit.status,
        Visit.window_start,
        Visit.closed_at,
        Visit.revision,
        Visit.contact_id,
        Visit.site_id,
        Ticket.version,
        Ticket.number,
        Ticket.subject,
        Ticket.text,
        Ticket.priority,
        Ticket.ended,
        Ticket.merged_into,
        Contact.revision.label("contact_revision"),
    )
    .join(Ticket, Ticket.id == Visit.ticket_id)
    .outerjoin(Contact, Contact.id == Visit.contact_id)
    .where(Visit.lead_id == bindparam("me"), Visit.status != "draft")
    .order_by(Visit.window_start)
    .limit(VISITS_AT_MOST)
)
_UNFINISHED = _VISIT.where(Visit.closed_at.is_(None))
_COMING = _VISIT.where(Visit.window_start >= bindparam("start"), Visit.window_start < bindparam("end"))
_AROUND = select(func.count(), func.sum(Visit.revision)).where(
    Visit.lead_id == bindparam("me"), Visit.window_start >= bindparam("start"), Visit.window_start < bindparam("end")
)
_EVERYBODY = select(User.id, User.name).order_by(User.id)
_OPEN_SESSIONS = (
    select(LoginSession.id)
    .where(LoginSession.user_id == bindparam("me"), LoginSession.ended_at.is_(None))
    .order_by(LoginSession.id)
    .limit(SESSIONS_AT_MOST)
)


def _newest(column: InstrumentedAttribute[Any]) -> Any:
    """The greatest key as text: PostgreSQL knows no greatest UUID."""
    return func.max(cast(column, String))


def _of(column: Any, query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """``query`` for the keys of ``column`` that are asked about; the key itself is its first column."""
    return query.where(column.in_(bindparam("keys", expanding=True)))


_record_rows = select(
    ServiceRecord.visit_id,
    ServiceRecord.id,
    ServiceRecord.revision,
    ServiceRecord.draft_revision,
    ServiceRecord.frozen_at,
    ServiceRecord.signed_at,
)
_photo_rows = select(
    ServiceRecord.visit_id,
    Photo.id,
    Photo.kind,
    Photo.caption,
    Photo.thumb_sha256,
    Photo.arrived_at,
    Photo.removed_at,
).join(Photo, Photo.record_id == ServiceRecord.id)
_signature_rows = select(ServiceRecord.visit_id, Signature.id, Signature.voided_at).join(
    Signature, Signature.record_id == ServiceRecord.id
)
_events = select(VisitEvent.visit_id, func.max(VisitEvent.seq)).group_by(VisitEvent.visit_id)
OF_VISITS = (
    _of(VisitEvent.visit_id, _events),
    _of(ServiceRecord.visit_id, _record_rows),
    _of(ServiceRecord.visit_id, _photo_rows),
    _of(ServiceRecord.visit_id, _signature_rows),
)


def _counted(model: type[Customer | Contact | Site | Asset | Visit], key: Any) -> Select[*tuple[Any, ...]]:
    """How many rows a customer has, their revisions together and the newest: no change leaves all three as they were."""
    return _of(key, select(key, func.count(), func.sum(model.revision), _newest(model.id)).group_by(key))


_tickets = select(
    Ticket.customer_id, func.count(), func.max(Ticket.pulled_at), func.max(Ticket.changed_at), _newest(Ticket.id)
).group_by(Ticket.customer_id)
_records = (
    select(
        Visit.customer_id,
        func.count(),
        func.sum(ServiceRecord.draft_revision),
        func.count(ServiceRecord.signed_at),
        _newest(ServiceRecord.id),
    )
    .join(ServiceRecord, ServiceRecord.visit_id == Visit.id)
    .group_by(Visit.customer_id)
)
_reports = (
    select(Visit.customer_id, func.count(), _newest(Report.id))
    .join(ServiceRecord, ServiceRecord.visit_id == Visit.id)
    .join(Report, Report.record_id == ServiceRecord.id)
    .group_by(Visit.customer_id)
)
_open_items = select(
    OpenItem.customer_id,
    func.count(),
    func.count(OpenItem.closed_at),
    func.max(OpenItem.closed_at),
    _newest(OpenItem.id),
).group_by(OpenItem.customer_id)
OF_CUSTOMERS = (
    _counted(Customer, Customer.id),
    _counted(Contact, Contact.customer_id),
    _counted(Site, Site.customer_id),
    _counted(Asset, Asset.customer_id),
    _counted(Visit, Visit.customer_id),
    _of(Ticket.customer_id, _tickets),
    _of(Visit.customer_id, _records),
    _of(Visit.customer_id, _reports),
    _of(OpenItem.customer_id, _open_items),
)
_histories = select(Customer.id, Customer.name, CustomerHistory.asked_at, CustomerHistory.error).outerjoin(
    CustomerHistory,
    and_(CustomerHistory.customer_id == Customer.id, CustomerHistory.store == bindparam("store")),
)
OF_HISTORIES = _of(Customer.id, _histories)


# ---- digests ----------------------------------------------------------------------------------------


def visits_of(user: User, start: date, end: date) -> list[Row[Any]]:
    """An engineer's visits of the days [start, end) and every unfinished one, by time; 200 of each at most."""
    rows = [*_rows(_UNFINISHED, me=user.id), *_rows(_COMING, me=user.id, start=_midnight(start), end=_midnight(end))]
    return sorted({row.id: row for row in rows}.values(), key=lambda row: (row.window_start, row.id))


class Digests:
    """Everything that the pages of these visits are made of, read once; a digest is 32 hexadecimal digits."""

    def __init__(self, user: User, today: date, visits: list[Row[Any]]) -> None:
        self._user = user
        self._visits = [tuple(visit) for visit in visits]
        self._common = (_code(), locale_name(), today, *_of_settings(), *_of_person(user), _rows(_EVERYBODY))
        self._of_visits = _by_key(OF_VISITS, [visit.id for visit in visits])
        self._of_customers = _by_key(OF_CUSTOMERS, list({visit.customer_id for visit in visits}))
        monday = today - timedelta(days=today.weekday())
        self._around = _rows(_AROUND, me=user.id, start=_midnight(monday), end=_midnight(monday + 4 * WEEK))

    def common(self) -> str:
        """A page of nothing but words and the person."""
        return _digest(self._common)

    def account(self) -> str:
        return _digest(self._common, _rows(_OPEN_SESSIONS, me=self._user.id))

    def day(self) -> str:
        """A day's list with its week strip: any visit of these weeks counts."""
        return _digest(self._common, self._around, self._visits, self._of_customers)

    def visit(self, visit: Row[Any]) -> str:
        """The visit's page, its record form and its backup reminder."""
        return _digest(self._common, tuple(visit), self._of_visits[visit.id], self._of_customers[visit.customer_id])

    def customer(self, customer_id: UUID) -> str:
        """The pages of a customer and of its devices."""
        return _digest(self._common, self._of_customers[customer_id])

    def tickets(self, customer_ids: Iterable[UUID]) -> dict[UUID, str]:
        """What the ticket store said of these customers."""
        rows = _rows(OF_HISTORIES, keys=list(customer_ids), store=settings.ticket_store)
        return {row.id: _digest(self._common, tuple(row)) for row in rows}


def _of_person(user: User) -> Sequence[object]:
    return user.id, user.username, user.role, user.phone, user.department, user.locale, user.map_app, user.pin_hash


def _of_settings() -> Sequence[object]:
    return settings.company, settings.timezone


@cache
def _code() -> str:
    """What turns data into pages, as this process read it: templates, styles and scripts, texts, Python."""
    places = (("templates", "*.html"), ("static", "*.*s"), ("fieldapp", "*.py"), ("fieldapp", "*.mo"))
    digest = hashlib.sha256()
    for folder, pattern in places:
        for path in sorted((ROOT / folder).rglob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _by_key(queries: Sequence[Select[*tuple[Any, ...]]], keys: list[UUID]) -> dict[UUID, list[Any]]:
    """What all queries say of each key; each fact carries the number of its query."""
    facts: dict[UUID, list[Any]] = {key: [] for key in keys}
    for number, query in enumerate(queries):
        for row in _rows(query, keys=keys):
            facts[row[0]].append((number, *row[1:]))
    return {key: sorted(found, key=repr) for key, found in facts.items()}


def _rows(statement: Select[*tuple[Any, ...]], **bound: object) -> list[Row[Any]]:
    return list(db.session.connection().execute(statement, bound))


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time(), settings.zone).astimezone(UTC)


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
