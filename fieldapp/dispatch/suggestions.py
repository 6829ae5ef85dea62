"""Whom to send: every engineer with the reasons for and against, best first, and the free times of that day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import asin, cos, radians, sin, sqrt
from uuid import UUID

from sqlalchemy import select

from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer, Site
from fieldapp.dispatch import axis, queries
from fieldapp.dispatch.queries import Day, Filters
from fieldapp.extensions import db
from fieldapp.i18n import _, clock_time, ngettext
from fieldapp.i18n import day as day_words
from fieldapp.visits.models import Visit
from fieldapp.visits.transitions import DONE

WORKING_HOURS = (timedelta(hours=8), timedelta(hours=18))
SHORTEST_FREE = timedelta(minutes=30)
# What a reason weighs. A clash outweighs everything but the customer's own wish; who said no is asked last.
NAMED, SERVED_ASSET, SERVED_CUSTOMER, SAME_REGION, VERY_NEAR, NEAR = 100, 40, 25, 15, 15, 8
EACH_VISIT, CLASH, DECLINED = -6, -60, -120
VERY_NEAR_KM, NEAR_KM = 5, 20


@dataclass(frozen=True, kw_only=True)
class Need:
    """What is to be planned: for whom, where, which device, whom the customer named."""

    customer: Customer
    site: Site | None
    asset_id: UUID | None
    named_engineer_id: UUID | None
    visit_id: UUID | None = None
    declined_by: frozenset[str] = frozenset()

    @property
    def region(self) -> str:
        return (self.site.region if self.site else "") or self.customer.region


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One engineer for this need. ``free`` are times of the working day; ``clash`` is the visit in the way."""

    engineer: User
    score: int
    reasons: tuple[str, ...]
    busy: tuple[Visit, ...]
    bars: tuple[str, ...]
    free: str
    clash: Visit | None


@dataclass(frozen=True)
class _Past:
    times: int
    last: datetime | None
    asset_last: datetime | None


def suggest(need: Need, day: Day, window: tuple[datetime, datetime] | None) -> list[Suggestion]:
    """Every engineer, best first; ``window`` is the wanted time, when it is known."""
    planned = _planned(day, need)
    past = _past(need)
    found = [_judge(each, need, day, window, planned[each.id], past.get(each.id)) for each in queries.engineers()]
    return sorted(found, key=lambda each: (-each.score, each.engineer.name))


def _planned(day: Day, need: Need) -> dict[UUID, list[Visit]]:
    by_lead: dict[UUID, list[Visit]] = defaultdict(list)
    for visit in queries.visits_between(day.start, day.end, Filters(), at_most=queries.DAY_AT_MOST):
        if visit.lead_id and visit.status not in ("canceled", "no_show") and visit.id != need.visit_id:
            by_lead[visit.lead_id].append(visit)
    return by_lead


def _past(need: Need) -> dict[UUID, _Past]:
    """How often and when each engineer served this customer, from the newest fifty visits."""
    query = select(Visit.lead_id, Visit.window_start, Visit.asset_id)
    query = query.where(Visit.customer_id == need.customer.id, Visit.status.in_(DONE))
    seen: dict[UUID, _Past] = {}
    for lead_id, start, asset_id in db.session.execute(query.order_by(Visit.window_start.desc()).limit(50)):
        if lead_id is None:
            continue
        so_far = seen.get(lead_id, _Past(0, None, None))
        same_asset = start if need.asset_id and asset_id == need.asset_id else None
        seen[lead_id] = _Past(so_far.times + 1, so_far.last or start, so_far.asset_last or same_asset)
    return seen


def _judge(
    engineer: User,
    need: Need,
    day: Day,
    window: tuple[datetime, datetime] | None,
    planned: Sequence[Visit],
    past: _Past | None,
) -> Suggestion:
    clash = _clash(planned, window)
    weighed = [*_wish(engineer, need), *_experience(past), *_nearness(need, planned), _load(planned)]
    return Suggestion(
        engineer=engineer,
        score=sum(weight for weight, _reason in weighed) + (CLASH if clash else 0),
        reasons=tuple(reason for _weight, reason in weighed),
        busy=tuple(planned),
        bars=tuple(axis.place(*_window(visit), day.start) for visit in planned),
        free=_free(day, planned),
        clash=clash,
    )


def _wish(engineer: User, need: Need) -> Iterable[tuple[int, str]]:
    if engineer.id == need.named_engineer_id:
        yield NAMED, _("Named for this ticket")
    if str(engineer.id) in need.declined_by:
        yield DECLINED, _("Declined this visit")


def _experience(past: _Past | None) -> Iterable[tuple[int, str]]:
    if past and past.asset_last:
        yield SERVED_ASSET, _("Served this device: %(day)s", day=day_words(past.asset_last))
    elif past:
        sentence = ngettext(
            "Served this customer %(num)s time, last: %(day)s",
            "Served this customer %(num)s times, last: %(day)s",
            past.times,
            day=day_words(past.last),
        )
        yield SERVED_CUSTOMER, sentence


def _nearness(need: Need, planned: Sequence[Visit]) -> Iterable[tuple[int, str]]:
    near = _nearest(need.site, planned)
    if near is not None and near[0] <= NEAR_KM:
        distance, visit = near
        words = _("%(km)s km from the visit at %(time)s", km=f"{distance:.1f}", time=clock_time(visit.window_start))
        yield VERY_NEAR if distance <= VERY_NEAR_KM else NEAR, words
    elif need.region and any(_region(visit) == need.region for visit in planned):
        yield SAME_REGION, _("In %(region)s that day already", region=need.region)


def _load(planned: Sequence[Visit]) -> tuple[int, str]:
    if not planned:
        return 0, _("No visit that day yet")
    words = ngettext("%(num)s visit that day", "%(num)s visits that day", len(planned))
    return EACH_VISIT * len(planned), words


# ---- times --------------------------------------------------------------------------------------------


def _window(visit: Visit) -> tuple[datetime, datetime]:
    start = visit.window_start
    if start is None:
        raise ValueError("a planned visit has a window")
    return start, visit.window_end or start


def _clash(planned: Sequence[Visit], window: tuple[datetime, datetime] | None) -> Visit | None:
    if window is None:
        return None
    start, end = window
    return next((v for v in planned if not v.closed and _window(v)[0] < end and _window(v)[1] > start), None)


def _free(day: Day, planned: Sequence[Visit]) -> str:
    """``08:00–09:30, 10:00–18:00``: what of the working day is not yet a window."""
    at, close = (day.start + each for each in WORKING_HOURS)
    spans = []
    for start, end in [*sorted(_window(visit) for visit in planned), (close, close)]:
        if min(start, close) - at >= SHORTEST_FREE:
            spans.append(f"{clock_time(at)}–{clock_time(min(start, close))}")
        at = max(at, end)
    return ", ".join(spans)


# ---- places -------------------------------------------------------------------------------------------


def _region(visit: Visit) -> str:
    return (visit.site.region if visit.site else "") or visit.customer.region


def _nearest(site: Site | None, planned: Sequence[Visit]) -> tuple[float, Visit] | None:
    found = [(distance, visit) for visit in planned if (distance := distance_km(site, visit.site)) is not None]
    return min(found, key=lambda each: each[0]) if found else None


def distance_km(one: Site | None, other: Site | None) -> float | None:
    """Kilometres as the crow flies; None when either place has no coordinates."""
    if one is None or other is None:
        return None
    if None in (one.latitude_e6, one.longitude_e6, other.latitude_e6, other.longitude_e6):
        return None
    a, b, c, d = (
        radians((value or 0) / 1e6)
        for value in (one.latitude_e6, one.longitude_e6, other.latitude_e6, other.longitude_e6)
    )
    half = sin((c - a) / 2) ** 2 + cos(a) * cos(c) * sin((d - b) / 2) ** 2
    return 2 * 6371 * asin(sqrt(half))
