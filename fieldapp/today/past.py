"""Reading the past of a customer or an asset: visits, their records and reports, and what is still open.

Every list is one page of an index: it takes as long with a million visits as with a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, or_, select, tuple_

from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer, Site
from fieldapp.customers.queries import EVERYTHING, Scope
from fieldapp.extensions import db
from fieldapp.i18n import locale_name
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.reports.models import Report
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import Visit, visible_to

PAGE = 20
MOST_OPEN = 50


@dataclass(frozen=True)
class Paper:
    """A service record as people name it, and its report when one was issued."""

    number: str
    report_id: UUID | None


@dataclass(frozen=True)
class PastVisit:
    """One line of a history. ``readable``: the visit and its reports may be opened, not only known of."""

    id: UUID
    status: str
    start: datetime | None
    end: datetime | None
    subject: str
    ticket_number: str
    engineer: str | None
    site: str | None
    asset_id: UUID | None
    asset: str | None
    readable: bool
    papers: Sequence[Paper]


@dataclass(frozen=True)
class StillOpen:
    """Something that a visit left to be solved (还需解决)."""

    text: str
    cause: str
    part: str
    promised_by: date | None
    since: datetime
    asset_id: UUID | None
    asset: str | None


@dataclass(frozen=True)
class Past:
    """What is open, then one page of visits, newest first; ``older`` is where the next page starts."""

    open_items: list[StillOpen]
    visits: list[PastVisit]
    older: UUID | None


def scope_of(user: User) -> Scope:
    """What of the customer file a person may see: the office all, an engineer that of the visits of visible_to."""
    if user.in_office:
        return EVERYTHING
    sites, assets = _of_own_visits(Visit.site_id, user), _of_own_visits(Visit.asset_id, user)
    return Scope(
        customers=Customer.id.in_(_of_own_visits(Visit.customer_id, user)),
        sites=Site.id.in_(sites),
        assets=or_(Asset.id.in_(assets), Asset.site_id.in_(sites)),
    )


def past_of_customer(customer: Customer, user: User, before: UUID | None = None) -> Past:
    """The past of a customer as this person may know it."""
    open_items = _still_open(OpenItem.customer_id == customer.id, user) if before is None else []
    return _past(Visit.customer_id == customer.id, open_items, user, before)


def past_of_asset(asset: Asset, user: User, before: UUID | None = None) -> Past:
    """The past of one asset as this person may know it."""
    of_asset = and_(OpenItem.customer_id == asset.customer_id, OpenItem.asset_id == asset.id)
    open_items = _still_open(of_asset, user) if before is None else []
    return _past(Visit.asset_id == asset.id, open_items, user, before)


# ---- visits ---------------------------------------------------------------------------------------------


def _past(which: ColumnElement[bool], open_items: list[StillOpen], user: User, before: UUID | None) -> Past:
    unplanned = _unplanned(which, user) if before is None else []
    dated = db.session.execute(_dated(which, user, before).limit(PAGE + 1)).all()
    rows = [*unplanned, *dated[:PAGE]]
    papers = _papers([row.id for row in rows])
    visits = [_past_visit(row, papers.get(row.id, [])) for row in rows]
    return Past(open_items, visits, rows[-1].id if len(dated) > PAGE else None)


def _unplanned(which: ColumnElement[bool], user: User) -> Sequence[Row[Any]]:
    """Visits without a time: still to be planned, so they stand before all others."""
    query = _lines(user).where(which, _known_to(user), Visit.window_start.is_(None))
    return db.session.execute(query.order_by(Visit.id.desc()).limit(PAGE)).all()


def _dated(which: ColumnElement[bool], user: User, before: UUID | None) -> Select[Any]:
    query = _lines(user).where(which, _known_to(user), Visit.window_start.is_not(None))
    start = db.session.scalar(select(Visit.window_start).where(Visit.id == before)) if before else None
    if start is not None:
        earlier = tuple_(Visit.window_start, Visit.id) < tuple_(start, before)
        query = query.where(Visit.window_start <= start, earlier)
    return query.order_by(Visit.window_start.desc(), Visit.id.desc())


def _lines(user: User) -> Select[Any]:
    """One row for each visit with all that its line says."""
    query: Any = (
        select(
            Visit.id,
            Visit.status,
            Visit.window_start,
            Visit.window_end,
            Ticket.subject,
            Ticket.number.label("ticket_number"),
            User.name.label("engineer"),
            Site.name.label("site"),
            Asset.id.label("asset_id"),
            Asset.model.label("asset"),
            visible_to(user).label("readable"),
        )
        .join(Ticket, Ticket.id == Visit.ticket_id)
        .outerjoin(User, User.id == Visit.lead_id)
        .outerjoin(Site, Site.id == Visit.site_id)
        .outerjoin(Asset, Asset.id == Visit.asset_id)
    )
    lines: Select[Any] = query
    return lines


def _known_to(user: User) -> ColumnElement[bool]:
    """Visits this person may know of: an engineer also others' visits to the sites of the own ones."""
    mine = visible_to(user)
    if user.in_office:
        return mine
    there = Visit.site_id.in_(_of_own_visits(Visit.site_id, user))
    return or_(mine, and_(there, Visit.status != "draft"))


def _of_own_visits(column: Any, user: User) -> Select[Any]:
    """A column of the visits this person may see; never tied to the visits of the query around it."""
    return select(column).where(visible_to(user), column.is_not(None)).correlate(None)


def _past_visit(row: Row[Any], papers: list[Paper]) -> PastVisit:
    return PastVisit(
        id=row.id,
        status=row.status,
        start=row.window_start,
        end=row.window_end,
        subject=row.subject,
        ticket_number=row.ticket_number,
        engineer=row.engineer,
        site=row.site,
        asset_id=row.asset_id,
        asset=row.asset,
        readable=bool(row.readable),
        papers=papers,
    )


# ---- records and reports ----------------------------------------------------------------------------------


def _papers(visit_ids: list[UUID]) -> dict[UUID, list[Paper]]:
    """Signed records of these visits, corrections last, each with its newest report."""
    query = select(ServiceRecord).where(ServiceRecord.visit_id.in_(visit_ids), ServiceRecord.signed_at.is_not(None))
    records = db.session.scalars(query.order_by(ServiceRecord.revision)).all()
    reports = _newest_reports([record.id for record in records])
    papers: dict[UUID, list[Paper]] = {}
    for record in records:
        papers.setdefault(record.visit_id, []).append(Paper(record.printed_number, reports.get(record.id)))
    return papers


def _newest_reports(record_ids: list[UUID]) -> dict[UUID, UUID]:
    """The report of each record: in the reader's language when there is one, the newest revision."""
    query = select(Report.record_id, Report.id, Report.locale).where(Report.record_id.in_(record_ids))
    rows = db.session.execute(query.order_by(Report.revision)).all()
    wanted = locale_name()
    return {row.record_id: row.id for row in sorted(rows, key=lambda row: row.locale == wanted)}


# ---- what is open -----------------------------------------------------------------------------------------


def _still_open(which: ColumnElement[bool], user: User) -> list[StillOpen]:
    query = (
        select(OpenItem, Asset.model)
        .join(ServiceRecord, ServiceRecord.id == OpenItem.record_id)
        .join(Visit, Visit.id == ServiceRecord.visit_id)
        .outerjoin(Asset, Asset.id == OpenItem.asset_id)
        .where(which, OpenItem.closed_at.is_(None), _known_to(user))
    )
    rows = db.session.execute(query.order_by(OpenItem.created_at, OpenItem.id).limit(MOST_OPEN))
    return [
        StillOpen(item.text, item.cause, item.part, item.promised_by, item.created_at, item.asset_id, model)
        for item, model in rows
    ]
