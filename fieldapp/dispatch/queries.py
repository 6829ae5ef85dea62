"""Reading the dispatcher's day: its visits by engineer, what waits to be planned, what needs a person.

Every statement walks an index and has a limit: the day costs what the day holds, not what the tables hold.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import contains_eager, joinedload

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers import queries as customers
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.dispatch import axis
from fieldapp.dispatch.exceptions import queries as exceptions
from fieldapp.errors import NotFound
from fieldapp.extensions import db, settings
from fieldapp.i18n import _
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.tickets.models import PRIORITIES, STATUSES, Ticket
from fieldapp.visits.models import Visit, VisitEvent

T = TypeVar("T")
AWAITED = ("scheduled", "accepted", "traveling")
TO_REVIEW = ("completed", "partial", "cannot_complete")
CLOSED_TICKETS = ("resolved", "closed", "suspended")
OPEN_TICKETS = tuple(status for status in STATUSES if status not in CLOSED_TICKETS)
DAY_AT_MOST, LIST_AT_MOST, TABLE_AT_MOST, PAGE, COUNT_AT_MOST = 600, 50, 5000, 50, 99


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the dispatcher wants to see. ``state``: empty for all, ``late``, ``open``, or a state of a visit."""

    engineer: UUID | None = None
    region: str = ""
    state: str = ""

    @property
    def active(self) -> bool:
        return bool(self.engineer or self.region or self.state)


@dataclass(frozen=True)
class Day:
    """One local day: its date and its bounds in UTC."""

    date: date
    start: datetime
    end: datetime

    @property
    def is_today(self) -> bool:
        return self.start <= clock.now() < self.end


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A visit on the board: where on the axis it stands."""

    visit: Visit
    classes: str


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One engineer's day."""

    engineer: User
    slots: tuple[Slot, ...]

    @property
    def open(self) -> int:
        return sum(1 for slot in self.slots if not slot.visit.closed)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A visit that waits for its plan. ``why``: declined, taken_back, follow_up or new; ``reason`` in a person's words."""

    visit: Visit
    why: str
    reason: str
    who: str | None = None


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """An open item whose day is over. ``promised`` is the first moment of the promised day."""

    text: str
    promised: datetime
    ticket_id: UUID
    customer: str


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What only a person can settle. Counts stop at COUNT_AT_MOST + 1. ``exceptions``: open cases and silent phones."""

    exceptions: int
    gave_up: int
    reviews: int
    late: Sequence[Visit]
    items: Sequence[Overdue]

    @property
    def any(self) -> bool:
        return bool(self.exceptions or self.gave_up or self.reviews or self.late or self.items)


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that the dispatcher's page says."""

    day: Day
    now: str | None
    filters: Filters
    lanes: Sequence[Lane]
    drafts: Sequence[Draft]
    tickets: Sequence[Ticket]
    attention: Attention
    full: bool

    @property
    def visits(self) -> list[Visit]:
        return [slot.visit for lane in self.lanes for slot in lane.slots]

    @property
    def shape(self) -> str:
        """Changes when anything but a state changes: who goes where and when, and what waits."""
        plans = [f"{visit.id} {visit.lead_id} {visit.window_start} {visit.window_end}" for visit in self.visits]
        waiting = [str(draft.visit.id) for draft in self.drafts] + [str(ticket.id) for ticket in self.tickets]
        late = [str(visit.id) for visit in self.attention.late]
        counts = [
            str(self.attention.exceptions),
            str(self.attention.gave_up),
            str(self.attention.reviews),
            str(len(self.attention.items)),
        ]
        return hashlib.sha256("\n".join([*plans, *waiting, *late, *counts]).encode()).hexdigest()[:16]


# ---- the day ----------------------------------------------------------------------------------------


def day_of(wanted: date | None = None) -> Day:
    """A local day; today when none is named."""
    there = wanted or clock.now().astimezone(settings.zone).date()
    return Day(there, *clock.day_bounds(datetime.combine(there, time(12), settings.zone), settings.zone))


def week_of(day: Day) -> list[tuple[Day, int]]:
    """The seven days from Monday on, each with the number of its planned visits."""
    monday = day.date - timedelta(days=day.date.weekday())
    days = [day_of(monday + timedelta(days=n)) for n in range(7)]
    counts = [func.count().filter(_starts_in(each)) for each in days]
    whole_week = (Visit.window_start >= days[0].start) & (Visit.window_start < days[-1].end)
    row = db.session.execute(select(*counts).where(whole_week, Visit.status.not_in(("draft", "canceled")))).one()
    return list(zip(days, row))


def board(day: Day, filters: Filters) -> Board:
    """The board of a day."""
    visits = visits_between(day.start, day.end, filters, at_most=DAY_AT_MOST + 1)
    return Board(
        day=day,
        now=axis.column(clock.now(), day.start),
        filters=filters,
        lanes=_lanes(day, filters, visits[:DAY_AT_MOST]),
        drafts=drafts(filters),
        tickets=waiting_tickets(filters),
        attention=attention(filters),
        full=len(visits) > DAY_AT_MOST,
    )


def visits_between(start: datetime, end: datetime, filters: Filters, *, at_most: int) -> list[Visit]:
    """Planned visits whose window starts in [start, end), in order, as far as the filters let them through."""
    query = _with_place(select(Visit)).where(Visit.window_start >= start, Visit.window_start < end)
    query = query.where(Visit.status != "draft", *_wanted(filters)).order_by(Visit.window_start, Visit.id)
    return list(db.session.scalars(query.limit(at_most)))


def engineers() -> list[User]:
    """All who can be sent, by name."""
    active = (User.role == "engineer") & User.disabled_at.is_(None)
    return list(db.session.scalars(select(User).where(active).order_by(User.name)))


def regions(day: Day) -> list[str]:
    """The regions of the day's visits and of what waits, for the filter."""
    region = _region().label("region")
    base = select(region).select_from(Visit).join(Visit.customer).outerjoin(Visit.site).distinct().limit(200)
    found = set(db.session.scalars(base.where(_starts_in(day))))
    found |= set(db.session.scalars(base.where(Visit.status == "draft", Visit.closed_at.is_(None))))
    return sorted(filter(None, found))


def _lanes(day: Day, filters: Filters, visits: Sequence[Visit]) -> list[Lane]:
    by_lead: dict[UUID, list[Visit]] = defaultdict(list)
    for visit in visits:
        if visit.lead_id:
            by_lead[visit.lead_id].append(visit)
    people = {person.id: person for person in engineers()}
    people |= {visit.lead.id: visit.lead for visit in visits if visit.lead and visit.lead.id not in people}
    shown = [p for p in people.values() if not filters.engineer or p.id == filters.engineer]
    return [Lane(engineer=person, slots=tuple(_slots(day, by_lead[person.id]))) for person in shown]


def _slots(day: Day, visits: Sequence[Visit]) -> list[Slot]:
    return [Slot(visit=visit, classes=_classes(day, visit)) for visit in visits]


def _classes(day: Day, visit: Visit) -> str:
    if visit.window_start is None or visit.window_end is None:
        return f"c0 e{axis.READABLE}"
    return axis.place(visit.window_start, visit.window_end, day.start, at_least=axis.READABLE)


# ---- what waits to be planned -----------------------------------------------------------------------


def drafts(filters: Filters) -> list[Draft]:
    """Visits without a plan, oldest first, each with the reason why it waits."""
    query = _with_place(select(Visit)).where(Visit.status == "draft", Visit.closed_at.is_(None))
    query = query.where(*_in_region(filters)).order_by(Visit.created_at, Visit.id).limit(LIST_AT_MOST)
    visits = list(db.session.scalars(query.options(joinedload(Visit.parent))))
    returned = _returned([visit.id for visit in visits])
    return [_draft(visit, returned.get(visit.id)) for visit in visits]


def why_waiting(visit: Visit) -> Draft:
    """One draft with its reason."""
    return _draft(visit, _returned([visit.id]).get(visit.id))


def decliners_of(visit: Visit) -> frozenset[str]:
    """The ids of the engineers who declined a visit."""
    declined = (VisitEvent.visit_id == visit.id) & (VisitEvent.type == "declined")
    return frozenset(
        str(payload.get("lead")) for payload in db.session.scalars(select(VisitEvent.payload).where(declined))
    )


def waiting_tickets(filters: Filters) -> list[Ticket]:
    """Open tickets for which nobody goes: no open visit, and none that settled it (a reopened one waits again)."""
    of_ticket = Visit.ticket_id == Ticket.id
    nobody_goes = ~exists().where(of_ticket, Visit.closed_at.is_(None))
    unsettled = or_(
        Ticket.status == "reopened", ~exists().where(of_ticket, Visit.status.in_(("completed", "reviewed")))
    )
    query = select(Ticket).outerjoin(Ticket.customer).outerjoin(Ticket.site)
    query = query.where(
        Ticket.status.in_(OPEN_TICKETS), Ticket.ended.is_(None), nobody_goes, unsettled, *_in_region(filters)
    )
    urgency = case({name: rank for rank, name in enumerate(PRIORITIES)}, value=Ticket.priority, else_=len(PRIORITIES))
    query = query.order_by(urgency, Ticket.opened_at, Ticket.id).limit(LIST_AT_MOST)
    loaded = contains_eager(Ticket.customer), contains_eager(Ticket.site), joinedload(Ticket.named_engineer)
    return list(db.session.scalars(query.options(*loaded)))


def _returned(visit_ids: Sequence[UUID]) -> dict[UUID, VisitEvent]:
    """The newest event by which each visit came back from its engineer."""
    came_back = VisitEvent.visit_id.in_(visit_ids) & VisitEvent.type.in_(("declined", "taken_back"))
    query = select(VisitEvent).where(came_back).options(joinedload(VisitEvent.actor)).order_by(VisitEvent.seq)
    return {event.visit_id: event for event in db.session.scalars(query)} if visit_ids else {}


def _draft(visit: Visit, returned: VisitEvent | None) -> Draft:
    if returned:
        who = returned.actor.name if returned.actor else None
        return Draft(visit=visit, why=returned.type, reason=str(returned.payload.get("reason", "")), who=who)
    if visit.parent_id:
        return Draft(visit=visit, why="follow_up", reason=visit.note)
    return Draft(visit=visit, why="new", reason=visit.note)


# ---- what needs a person ----------------------------------------------------------------------------


def attention(filters: Filters) -> Attention:
    """What only a person can settle."""
    waiting = exceptions.counts()
    return Attention(
        exceptions=min(waiting.cases + waiting.silent, COUNT_AT_MOST + 1),
        gave_up=waiting.held,
        reviews=_reviews_waiting(),
        late=late_visits(filters),
        items=overdue_items(filters),
    )


def late_visits(filters: Filters) -> list[Visit]:
    """Open visits whose window is over and nobody came, and those of earlier days that never ended, oldest first."""
    awaited = Visit.status.in_(AWAITED) & (Visit.window_end < clock.now())
    left_open = Visit.window_start < day_of().start
    query = _with_place(select(Visit)).where(Visit.closed_at.is_(None), Visit.window_start < clock.now())
    query = query.where(or_(awaited, left_open), Visit.status != "draft", *_in_region(filters))
    return list(db.session.scalars(query.order_by(Visit.window_start).limit(LIST_AT_MOST)))


def overdue_items(filters: Filters) -> list[Overdue]:
    """Signed open items (待解决事项) past the day they were promised for, the longest first."""
    columns = OpenItem.text, OpenItem.promised_by, OpenItem.ticket_id, Customer.name
    query = select(*columns).join(ServiceRecord, ServiceRecord.id == OpenItem.record_id).join(Visit)
    query = query.join(Visit.customer).outerjoin(Visit.site).where(ServiceRecord.signed_at.is_not(None))
    query = query.where(OpenItem.closed_at.is_(None), OpenItem.promised_by < day_of().date, *_in_region(filters))
    rows = db.session.execute(query.order_by(OpenItem.promised_by, OpenItem.id).limit(LIST_AT_MOST))
    return [
        Overdue(text=text, promised=day_of(promised).start, ticket_id=ticket_id, customer=customer)
        for text, promised, ticket_id, customer in rows
    ]


def reviews(before: datetime | None = None, *, at_most: int = PAGE) -> list[Visit]:
    """Visits with a signed record that waits for the manager's signature (部门经理签字), newest first."""
    found: list[Visit] = []
    for status in TO_REVIEW:  # one walk of the index per state, so that a long backlog costs no more than a short one
        query = _with_place(select(Visit)).where(Visit.status == status, _signed())
        if before:
            query = query.where(Visit.closed_at < before)
        found += db.session.scalars(query.order_by(Visit.closed_at.desc()).limit(at_most))
    return sorted(found, key=lambda visit: visit.closed_at or clock.now(), reverse=True)[:at_most]


def _reviews_waiting() -> int:
    found = 0
    for status in TO_REVIEW:
        some = select(Visit.id).where(Visit.status == status, _signed()).limit(COUNT_AT_MOST + 1).subquery()
        found += db.session.scalar(select(func.count()).select_from(some)) or 0
    return found


# ---- one thing --------------------------------------------------------------------------------------


def ticket_or_404(ticket_id: UUID) -> Ticket:
    """A ticket with its customer (raises NotFound)."""
    query = select(Ticket).where(Ticket.id == ticket_id).options(joinedload(Ticket.customer), joinedload(Ticket.site))
    ticket = db.session.scalar(query)
    if ticket is None:
        raise NotFound(_("There is no such ticket."))
    return ticket


def open_visit_of(ticket: Ticket) -> Visit | None:
    """The visit by which this ticket is already served."""
    query = select(Visit).where(Visit.ticket_id == ticket.id, Visit.closed_at.is_(None)).order_by(Visit.id)
    return db.session.scalar(query.limit(1))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a visit to a customer can go, whom to ask for, which devices there are: the first hundred of each."""

    sites: Sequence[Site]
    contacts: Sequence[Contact]
    assets: Sequence[Asset]

    def site(self, key: str) -> Site | None:
        return next((site for site in self.sites if str(site.id) == key), None)


def places_of(customer: Customer, known: Visit | Ticket) -> Places:
    """The customer's places; what the visit or ticket names is always among them."""
    return Places(
        sites=_with(known.site, customers.sites_of(customer, limit=LIST_AT_MOST * 2)),
        contacts=_with(known.contact, customers.contacts_of(customer, limit=LIST_AT_MOST * 2)),
        assets=_with(known.asset, customers.assets_of(customer, limit=LIST_AT_MOST * 2)[0]),
    )


def _with(named: T | None, found: list[T]) -> list[T]:
    return found if named is None or named in found else [named, *found]


# ---- parts of statements ----------------------------------------------------------------------------


def _with_place(query: Select[Visit]) -> Select[Visit]:
    joined = query.join(Visit.customer).outerjoin(Visit.site).outerjoin(Visit.lead)
    named = contains_eager(Visit.customer), contains_eager(Visit.site), contains_eager(Visit.lead)
    return joined.options(*named, joinedload(Visit.ticket))


def _wanted(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = _in_region(filters)
    if filters.engineer:
        conditions.append(Visit.lead_id == filters.engineer)
    if filters.state == "late":
        conditions.append(Visit.status.in_(AWAITED) & (Visit.window_end < clock.now()))
    elif filters.state == "open":
        conditions.append(Visit.closed_at.is_(None))
    elif filters.state:
        conditions.append(Visit.status == filters.state)
    return conditions


def _in_region(filters: Filters) -> list[ColumnElement[bool]]:
    return [_region() == filters.region] if filters.region else []


def _region() -> ColumnElement[str]:
    return func.coalesce(func.nullif(Site.region, ""), Customer.region)


def _starts_in(day: Day) -> ColumnElement[bool]:
    return and_(Visit.window_start >= day.start, Visit.window_start < day.end)


def _signed() -> ColumnElement[bool]:
    return exists().where(ServiceRecord.visit_id == Visit.id, ServiceRecord.signed_at.is_not(None))
