"""What the engineer's two pages show, as plain values: each page is three or four statements and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from babel.dates import format_date, get_day_names
from sqlalchemy import Row, bindparam, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import NotFound
from fieldapp.extensions import settings
from fieldapp.i18n import _, clock_time, day, duration, locale_name, ngettext
from fieldapp.offline.times import happened_at
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.reports.models import Report
from fieldapp.tickets.models import Ticket
from fieldapp.today.maps import links, place
from fieldapp.today.steps import PAUSE_WORDS, happened, remark
from fieldapp.visits import queries as visits
from fieldapp.visits.models import ENGINEER_SEES_OWN_WORK, PAUSE_REASONS, Visit, own_work
from fieldapp.visits.transitions import DONE, TRANSITIONS

AWAITED = frozenset({"scheduled", "accepted", "traveling"})
UNDER_WAY = frozenset({"traveling", "arrived", "working", "paused", "awaiting_sign"})
PAST_AT_MOST = 5
OPEN_ITEMS_AT_MOST = 10


# ---- today -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Card:
    """One visit in a list. ``ahead`` says how far away it is, ``late`` how late the engineer is; both may be empty."""

    id: UUID
    href: str
    status: str
    closed: bool
    time: str
    day: str
    ahead: str
    late: str
    customer: str
    address: str
    subject: str
    device: str
    bring: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class StripDay:
    """One day of the week strip: a link, its weekday, its number, how many visits, and all of that for the ear."""

    href: str
    weekday: str
    number: int
    count: int
    label: str
    chosen: bool
    today: bool


@dataclass(frozen=True, slots=True)
class Day:
    """An engineer's day. ``first`` is the visit under way, or else the next; it stands in no other list.

    ``after`` is the address of the visit that follows it, or empty.
    """

    name: str
    is_today: bool
    week: list[StripDay]
    week_before: str
    week_after: str
    first: Card | None
    after: str
    left_over: list[Card]
    rest: list[Card]
    upcoming: Card | None
    all_done: bool


def day_of(user: User, chosen: date | None) -> Day:
    """The day of an engineer (None: today), with what earlier days left over and the week around it."""
    today = clock.now().astimezone(settings.zone).date()
    chosen = chosen or today
    monday = chosen - timedelta(days=chosen.weekday())
    rows = visits.cards_between(user, _midnight(monday), _midnight(monday + timedelta(days=7)))
    cards = [_card(row, today) for row in rows if _local_day(row.window_start) == chosen]
    left_over = [_card(row, today) for row in visits.cards_left_over(user, _midnight(today))] if chosen == today else []
    first = _first(left_over, cards) if chosen == today else None
    rest = sorted((card for card in cards if card is not first), key=lambda card: card.closed)
    left_over = [card for card in left_over if card is not first]
    upcoming = None
    if chosen == today and first is None:
        row = visits.next_card(user, _midnight(today + timedelta(days=1)))
        upcoming = _card(row, today) if row else None
    return Day(
        name=day(_midnight(chosen)),
        is_today=chosen == today,
        week=_strip(monday, chosen, today, [row.window_start for row in rows if row.status != "canceled"]),
        week_before=f"/?day={chosen - timedelta(days=7)}",
        week_after=f"/?day={chosen + timedelta(days=7)}",
        first=first,
        after=next((card.href for card in (*rest, *left_over) if not card.closed), ""),
        left_over=left_over,
        rest=rest,
        upcoming=upcoming,
        all_done=bool(cards) and first is None,
    )


def _first(left_over: list[Card], cards: list[Card]) -> Card | None:
    """The visit under way, else the next of today, else the oldest that was left over."""
    unfinished = [card for card in cards if not card.closed]
    under_way = [card for card in (*unfinished, *left_over) if card.status in UNDER_WAY]
    return next(iter((*under_way, *unfinished, *left_over)), None)


def _card(row: Row[Any], today: date) -> Card:
    on = _local_day(row.window_start)
    ahead, late = _distance(row, on == today)
    return Card(
        id=row.id,
        href=f"/visits/{row.id}",
        status=row.status,
        closed=row.closed_at is not None,
        time=_window(row),
        day="" if on == today else day(row.window_start),
        ahead=ahead,
        late=late,
        customer=row.customer,
        address=row.address or "",
        subject=row.subject,
        device=row.model or "",
        bring=row.bring,
        urgent=row.priority == "urgent",
    )


def _window(row: Row[Any]) -> str:
    """``14:00–14:30``; empty for a visit that is not planned."""
    return f"{clock_time(row.window_start)}–{clock_time(row.window_end)}" if row.window_start else ""


def _distance(row: Row[Any], is_today: bool) -> tuple[str, str]:
    """(how far ahead, how late) of a visit of today that somebody still waits for."""
    if row.status not in AWAITED or not is_today:
        return "", ""
    now = clock.now()
    if now < row.window_start:
        return _("in %(span)s", span=duration(row.window_start - now + timedelta(seconds=59))), ""
    if now < row.window_end + timedelta(minutes=1):
        return _("now"), ""
    return "", _("%(span)s late", span=duration(now - row.window_end))


def _strip(monday: date, chosen: date, today: date, starts: Sequence[datetime]) -> list[StripDay]:
    days = [_local_day(start) for start in starts]
    week = [monday + timedelta(days=offset) for offset in range(7)]
    return [_strip_day(each, days.count(each), chosen=each == chosen, today=each == today) for each in week]


def _strip_day(on: date, count: int, *, chosen: bool, today: bool) -> StripDay:
    weekday, full = _named(on, locale_name())
    counted = ngettext("%(num)d visit", "%(num)d visits", count)
    return StripDay(f"/?day={on}", weekday, on.day, count, f"{full}: {counted}", chosen, today)


@lru_cache(maxsize=512)
def _named(on: date, locale: str) -> tuple[str, str]:
    """(short weekday, full date) in a language."""
    weekday = get_day_names("narrow" if locale != "en" else "abbreviated", locale=locale)[on.weekday()]
    return weekday, format_date(on, "full", locale=locale)


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time(), settings.zone).astimezone(UTC)


def _local_day(moment: datetime) -> date:
    return moment.astimezone(settings.zone).date()


# ---- one visit ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """A form of the page that was refused: its noun, the sentence, and what was typed, which must not be lost."""

    noun: str
    sentence: str
    fields: Mapping[str, str]
    typed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline."""

    time: str
    what: str
    tone: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Past:
    """A finished visit to the same device or customer; ``report`` is the address of its PDF or empty."""

    href: str
    on: str
    subject: str
    status: str
    lead: str
    report: str


@dataclass(frozen=True, slots=True)
class VisitPage:
    """All that the page of one visit says. ``row`` has the columns of ``visits.queries.SHEET``; ``own``: the engineer who
    looks makes this visit, and it is not over."""

    row: Row[Any]
    href: str
    for_office: bool
    day: str
    time: str
    ahead: str
    late: str
    own: bool
    possible: frozenset[str]
    maps: list[tuple[str, str, str]]
    phones: list[tuple[str, str]]
    warranty: str
    in_warranty: bool | None
    open_items: list[tuple[str, str]]
    past: list[Past]
    steps: list[Step]
    report: str
    ended: str = ""
    problem: Problem | None = field(default=None)

    @property
    def can_cancel(self) -> bool:
        """Whether the office can cancel it."""
        return "canceled" in self.possible

    @property
    def pause_reasons(self) -> list[tuple[str, str]]:
        return [(reason, str(PAUSE_WORDS[reason])) for reason in PAUSE_REASONS]

    @property
    def homeless_words(self) -> list[str]:
        """What was typed in a form that this page no longer shows: it is shown as text, so that nothing is lost."""
        if self.problem is None or EVENTS.get(self.problem.noun) in self.possible:
            return []
        return [text for text in self.problem.typed.values() if text.strip()]


# The event that each form of the page brings about.
EVENTS = {
    "acceptance": "accepted",
    "refusal": "declined",
    "departure": "departed",
    "arrival": "arrived",
    "start": "started",
    "pause": "paused",
    "resumption": "resumed",
    "inability": "cannot_complete",
    "absence": "no_show",
    "cancellation": "canceled",
}

_NEWEST_REPORT = (
    select(Report.id)
    .join(ServiceRecord, ServiceRecord.id == Report.record_id)
    .where(ServiceRecord.visit_id == Visit.id)
    .order_by(
        ServiceRecord.revision.desc(),
        Report.revision.desc(),
        (Report.locale == bindparam("locale")).desc(),
        Report.issued_at,
    )
    .limit(1)
    .correlate(Visit)
    .scalar_subquery()
    .label("report_id")
)
_OWN_RECORD = (
    select(ServiceRecord.id)
    .where(ServiceRecord.visit_id == Visit.id)
    .limit(1)
    .correlate(Visit)
    .scalar_subquery()
    .label("record_id")
)
_PAGE_FOR_OFFICE = visits.SHEET.add_columns(_NEWEST_REPORT, _OWN_RECORD)
_PAGE_FOR_ENGINEER = _PAGE_FOR_OFFICE.where(own_work(bindparam("me"), bindparam("since")))
_PAST = (
    select(Visit.id, Visit.window_start, Visit.status, Ticket.subject, User.name.label("lead"), _NEWEST_REPORT)
    .select_from(Visit)
    .join(Ticket, Ticket.id == Visit.ticket_id)
    .outerjoin(User, User.id == Visit.lead_id)
    .where(Visit.id != bindparam("visit"), Visit.status.in_(DONE), Visit.window_start < bindparam("before"))
    .order_by(Visit.window_start.desc())
    .limit(PAST_AT_MOST)
)
_PAST_OF_ASSET = _PAST.where(Visit.asset_id == bindparam("same"))
_PAST_OF_CUSTOMER = _PAST.where(Visit.customer_id == bindparam("same"))
_OPEN_ITEMS = (
    select(OpenItem.text, OpenItem.cause, OpenItem.part, OpenItem.promised_by)
    .join(ServiceRecord, ServiceRecord.id == OpenItem.record_id)
    .where(
        OpenItem.customer_id == bindparam("customer"),
        OpenItem.closed_at.is_(None),
        ServiceRecord.signed_at.is_not(None),
        ServiceRecord.visit_id != bindparam("visit"),
    )
    .order_by(OpenItem.created_at, OpenItem.position)
    .limit(OPEN_ITEMS_AT_MOST)
)


def visit_page(visit_id: UUID, user: User, problem: Problem | None = None) -> VisitPage:
    """The page of a visit that this person may see (raises NotFound)."""
    locale = locale_name()
    row = _sheet(visit_id, user, locale)
    ahead, late = _distance(row, _is_today(row)) if row.window_start else ("", "")
    in_warranty = None if row.warranty_until is None else row.warranty_until >= _local_day(clock.now())
    return VisitPage(
        row=row,
        href=f"/visits/{row.id}",
        for_office=user.in_office,
        day=day(row.window_start),
        time=_window(row),
        ahead=ahead,
        late=late,
        own=row.lead_id == user.id and row.closed_at is None,
        possible=possible(row.status, user.role),
        maps=_maps(row, user.map_app),
        phones=_phones(row),
        warranty=_warranty(row.warranty_until, in_warranty),
        in_warranty=in_warranty,
        open_items=_open_items(row),
        past=_past(row, locale),
        steps=_steps(visit_id),
        report=_report_address(row.report_id),
        ended=_ended(row),
        problem=problem,
    )


def _sheet(visit_id: UUID, user: User, locale: str) -> Row[Any]:
    """The visit's own row, seen as ``visible_to`` allows (raises NotFound)."""
    if user.in_office:
        found = visits.rows(_PAGE_FOR_OFFICE, visit=visit_id, locale=locale)
    else:
        since = clock.now() - ENGINEER_SEES_OWN_WORK
        found = visits.rows(_PAGE_FOR_ENGINEER, visit=visit_id, locale=locale, me=user.id, since=since)
    if not found:
        raise NotFound(_("This visit does not exist, or it is not yours to see."))
    return found[0]


@cache
def possible(status: str, role: str) -> frozenset[str]:
    """The events that a person of this role could bring about in this state."""
    return frozenset(row.event for row in TRANSITIONS.values() if status in row.sources and role in row.roles)


def _is_today(row: Row[Any]) -> bool:
    return _local_day(row.window_start) == _local_day(clock.now())


def _maps(row: Row[Any], first: str | None) -> list[tuple[str, str, str]]:
    if not row.address:
        return []
    return links(place(row.site, row.address, row.latitude_e6, row.longitude_e6), first)


def _phones(row: Row[Any]) -> list[tuple[str, str]]:
    """``(whose, number)``: the contact's mobile first, each number once."""
    found = ((row.contact or "", row.contact_mobile), (row.contact or "", row.contact_phone))
    company = (_("Company"), row.customer_phone)
    numbers: dict[str, str] = {}
    for whose, number in (*found, company):
        if number:
            numbers.setdefault(number, whose)
    return [(whose, number) for number, whose in numbers.items()]


def _warranty(until: date | None, in_warranty: bool | None) -> str:
    if until is None:
        return _("Warranty not known")
    if in_warranty:
        # L10n: 保内至 %(day)s
        return _("In warranty until %(day)s", day=until.isoformat())
    # L10n: 保外(%(day)s 到期)
    return _("Out of warranty since %(day)s", day=until.isoformat())


def _open_items(row: Row[Any]) -> list[tuple[str, str]]:
    """``(what, why and until when)`` of everything that earlier visits to this customer left open."""
    found = visits.rows(_OPEN_ITEMS, customer=row.customer_id, visit=row.id)
    return [(item.text, _why(item)) for item in found]


def _why(item: Row[Any]) -> str:
    parts = [item.cause] if item.cause else []
    if item.part:
        # L10n: 备件:%(part)s
        parts.append(_("part: %(part)s", part=item.part))
    if item.promised_by:
        # L10n: 承诺 %(day)s 前
        parts.append(_("promised by %(day)s", day=item.promised_by.isoformat()))
    return " · ".join(parts)


def _past(row: Row[Any], locale: str) -> list[Past]:
    query = _PAST_OF_ASSET if row.asset_id else _PAST_OF_CUSTOMER
    before = (row.window_start or clock.now()) + timedelta(days=1)
    same = row.asset_id or row.customer_id
    found = visits.rows(query, visit=row.id, same=same, before=before, locale=locale)
    return [
        Past(
            href=f"/visits/{each.id}",
            on=_local_day(each.window_start).isoformat(),
            subject=each.subject,
            status=each.status,
            lead=each.lead or "",
            report=_report_address(each.report_id),
        )
        for each in found
    ]


def _ended(row: Row[Any]) -> str:
    """What became of the ticket in the ticket store while this visit is still to be made; empty when it is open there."""
    if row.closed_at is not None or row.ticket_ended is None:
        return ""
    if row.ticket_ended == "merged":
        return _(
            "The office made ticket %(number)s a part of %(into)s. Go on as planned: what you write goes there.",
            number=row.ticket_number,
            into=row.ticket_merged_into,
        )
    if row.ticket_ended == "gone":
        # L10n: 工单已不在工单系统中
        return _("The ticket is not in the ticket store any more. The office knows; go on unless they call you.")
    # L10n: 办公室已在工单系统中结束此工单
    return _("The office ended this ticket in the ticket store. The dispatcher knows; go on unless they call you.")


def _report_address(report_id: UUID | None) -> str:
    return f"/reports/{report_id}.pdf" if report_id else ""


def _steps(visit_id: UUID) -> list[Step]:
    """The timeline, oldest first; the day is said where it changes."""
    steps, last = [], _local_day(clock.now())
    for event in visits.steps_of(visit_id):
        at = happened_at(event.device_at, event.skew_s, event.server_at)
        on = _local_day(at)
        what, tone = happened(event.type)
        note = remark(event.payload or {}, event.skew_s)
        said_day = "" if on == last else day(at)
        last = on
        steps.append(Step(clock_time(at), what, tone, event.actor or "", " · ".join(filter(None, (said_day, note)))))
    return steps
