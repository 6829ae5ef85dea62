"""Reading visits: one to act upon, the engineer's day, one with all that its page says.

The two pages that a phone opens all day read columns, not objects: their statements are built once, below.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.orm import joinedload

from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.offline.operations import NoLongerYours
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import Visit, VisitEvent, given_to, visible_to


def visit_or_404(visit_id: UUID, user: User) -> Visit:
    """The visit, when it exists and this person may see it (raises NotFound)."""
    query = select(Visit).where(Visit.id == visit_id, visible_to(user))
    visit = db.session.scalar(
        query.options(
            joinedload(Visit.customer),
            joinedload(Visit.site),
            joinedload(Visit.contact),
            joinedload(Visit.asset),
            joinedload(Visit.ticket),
            joinedload(Visit.lead),
        )
    )
    if visit is None:
        raise NotFound(_("This visit does not exist, or it is not yours to see."))
    return visit


def own_visit_or_404(visit_id: UUID, user: User) -> Visit:
    """The visit, when this engineer is the one who makes it (raises NotFound)."""
    visit = db.session.scalar(select(Visit).where(Visit.id == visit_id, Visit.lead_id == user.id, visible_to(user)))
    if visit is None:
        raise NotFound(_("This visit does not exist, or it is not yours to see."))
    return visit


def own_or_former_visit_or_404(visit_id: UUID, user: User) -> Visit:
    """The visit, when it is or ever was this engineer's, however long ago (raises NotFound): for a phone's queue.

    A visit that nobody knows is told apart (NoLongerYours): the backup that was restored may be older than its plan.
    """
    visit = db.session.scalar(select(Visit).where(Visit.id == visit_id, given_to(user)))
    if visit is None and db.session.get(Visit, visit_id) is None:
        raise NoLongerYours(_("The office does not know this visit. What you did is kept, and the office sees it."))
    if visit is None:
        raise NotFound(_("This visit does not exist, or it is not yours to see."))
    return visit


def events_of(visit: Visit) -> list[VisitEvent]:
    """All events of a visit with their actors, oldest first."""
    query = select(VisitEvent).where(VisitEvent.visit_id == visit.id).order_by(VisitEvent.seq)
    return list(db.session.scalars(query.options(joinedload(VisitEvent.actor))))


# ---- the engineer's two pages, by columns -------------------------------------------------------------

Rows = Sequence[Row[Any]]
LEFT_OVER_AT_MOST = 20

_CARD = (
    select(
        Visit.id,
        Visit.status,
        Visit.window_start,
        Visit.window_end,
        Visit.arrived_at,
        Visit.closed_at,
        Visit.bring,
        Customer.name.label("customer"),
        Site.address,
        Ticket.subject,
        Ticket.priority,
        Asset.model,
    )
    .select_from(Visit)
    .join(Customer, Customer.id == Visit.customer_id)
    .join(Ticket, Ticket.id == Visit.ticket_id)
    .outerjoin(Site, Site.id == Visit.site_id)
    .outerjoin(Asset, Asset.id == Visit.asset_id)
    .where(Visit.lead_id == bindparam("lead"), Visit.status != "draft")
    .order_by(Visit.window_start)
)
_CARDS_BETWEEN = _CARD.where(Visit.window_start >= bindparam("start"), Visit.window_start < bindparam("end"))
_CARDS_LEFT_OVER = _CARD.where(Visit.closed_at.is_(None), Visit.window_start < bindparam("start")).limit(
    LEFT_OVER_AT_MOST
)
_NEXT_CARD = _CARD.where(Visit.closed_at.is_(None), Visit.window_start >= bindparam("start")).limit(1)

# Everything the page of one visit says of the visit itself; later steps add their columns and who may see it.
SHEET = (
    select(
        Visit.id,
        Visit.status,
        Visit.lead_id,
        Visit.customer_id,
        Visit.asset_id,
        Visit.ticket_id,
        Visit.parent_id,
        Visit.window_start,
        Visit.window_end,
        Visit.arrived_at,
        Visit.closed_at,
        Visit.bring,
        Visit.note,
        Visit.revision,
        User.name.label("lead"),
        Customer.name.label("customer"),
        Customer.tier,
        Customer.phone.label("customer_phone"),
        Customer.special_needs,
        Customer.blackout,
        Contact.name.label("contact"),
        Contact.role.label("contact_role"),
        Contact.mobile.label("contact_mobile"),
        Contact.phone.label("contact_phone"),
        Site.name.label("site"),
        Site.address,
        Site.latitude_e6,
        Site.longitude_e6,
        Site.access_notes,
        Asset.model,
        Asset.serial,
        Asset.software_version,
        Asset.warranty_until,
        Asset.config,
        Ticket.number.label("ticket_number"),
        Ticket.subject,
        Ticket.text,
        Ticket.priority,
        Ticket.ended.label("ticket_ended"),
        Ticket.merged_into.label("ticket_merged_into"),
    )
    .select_from(Visit)
    .join(Customer, Customer.id == Visit.customer_id)
    .join(Ticket, Ticket.id == Visit.ticket_id)
    .outerjoin(Contact, Contact.id == Visit.contact_id)
    .outerjoin(Site, Site.id == Visit.site_id)
    .outerjoin(Asset, Asset.id == Visit.asset_id)
    .outerjoin(User, User.id == Visit.lead_id)
    .where(Visit.id == bindparam("visit"))
)

_STEPS = (
    select(
        VisitEvent.type,
        VisitEvent.device_at,
        VisitEvent.server_at,
        VisitEvent.skew_s,
        VisitEvent.payload,
        VisitEvent.actor_id,
        User.name.label("actor"),
    )
    .select_from(VisitEvent)
    .outerjoin(User, User.id == VisitEvent.actor_id)
    .where(VisitEvent.visit_id == bindparam("visit"))
    .order_by(VisitEvent.seq)
)


def rows(statement: Select[*tuple[Any, ...]], **bound: object) -> Rows:
    """Columns of a statement that was built once, read past the object layer: a third of its time."""
    return db.session.connection().execute(statement, bound).all()


def cards_between(user: User, start: datetime, end: datetime) -> Rows:
    """What the day's list says of each visit of an engineer whose window starts in [start, end), in order."""
    return rows(_CARDS_BETWEEN, lead=user.id, start=start, end=end)


def cards_left_over(user: User, before: datetime) -> Rows:
    """Visits of an engineer that began before ``before`` and were never finished, oldest first, 20 at most."""
    return rows(_CARDS_LEFT_OVER, lead=user.id, start=before)


def next_card(user: User, since: datetime) -> Row[Any] | None:
    """The first unfinished visit of an engineer from ``since`` on."""
    return next(iter(rows(_NEXT_CARD, lead=user.id, start=since)), None)


def steps_of(visit_id: UUID) -> Rows:
    """Every event of a visit with its actor's name, in order."""
    return rows(_STEPS, visit=visit_id)
