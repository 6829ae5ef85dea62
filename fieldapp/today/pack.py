"""What an engineer's phone takes along (docs/offline.md): the pages of the pack, each with a digest of what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, current_app, jsonify
from flask_login import current_user
from sqlalchemy import Row

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import settings
from fieldapp.offline.operations import identity
from fieldapp.security import requires
from fieldapp.today.digests import Digests, visits_of

blueprint = Blueprint("pack", __name__)
DAYS_AHEAD = 14
TICKETS_AHEAD = 3  # as far as the worker keeps them fresh (sync.slowly)
TO_FILL_IN = frozenset({"scheduled", "accepted", "traveling", "arrived", "working", "paused", "canceled"})
UNDER_WAY = frozenset({"accepted", "traveling", "arrived", "working", "paused", "awaiting_sign"})


@dataclass(frozen=True, slots=True)
class Page:
    """One address of the pack. ``first``: worth its bytes on a metered line, too. ``visit``: the visit that is ready
    when all its pages are on the phone. ``day``: the date for which "/" was the day."""

    url: str
    digest: str
    first: bool = False
    visit: UUID | None = None
    day: date | None = None


@blueprint.get("/offline/pack")
@requires("engineer")
def show() -> Response:
    """JSON ``{server, epoch, user, build, made_at, pages: [{url, digest, first, visit, day}]}``, the most needed first."""
    server, epoch = identity()
    return jsonify(
        server=str(server),
        epoch=epoch,
        user=str(current_user.id),
        build=current_app.extensions["assets"].build,
        made_at=clock.now().isoformat(),
        pages=[_told(page) for page in pages_of(current_user)],
    )


def _told(page: Page) -> dict[str, object]:
    visit, day = page.visit and str(page.visit), page.day and page.day.isoformat()
    return {"url": page.url, "digest": page.digest, "first": page.first, "visit": visit, "day": day}


def pages_of(user: User) -> list[Page]:
    """The pages of an engineer's pack, each once: today, what is near, the fortnight, customers and devices."""
    today = _local(clock.now())
    visits = visits_of(user, today, today + timedelta(days=DAYS_AHEAD))
    digests = Digests(user, today, visits)
    near = [visit for visit in visits if _is_near(visit, today)]
    later = [visit for visit in visits if not _is_near(visit, today)]
    return [
        Page("/", digests.day(), first=True, day=today),
        Page("/offline", digests.common(), first=True),
        Page("/outbox", digests.common(), first=True),
        *_pages_of_visits(near, digests, first=True),
        Page("/account", digests.account(), first=True),
        *(Page(f"/?day={day}", digests.day()) for day in _days(visits, today)),
        *_pages_of_visits(later, digests, first=False),
        *_histories(visits, digests),
        *_tickets(visits, today, digests),
    ]


def _is_near(visit: Row[Any], today: date) -> bool:
    """Under way, left over, today's or tomorrow's."""
    return visit.status in UNDER_WAY or _local(visit.window_start) <= today + timedelta(days=1)


def _days(visits: list[Row[Any]], today: date) -> list[date]:
    days = {_local(visit.window_start) for visit in visits}
    return sorted(day for day in days if today < day < today + timedelta(days=DAYS_AHEAD))


def _pages_of_visits(visits: list[Row[Any]], digests: Digests, *, first: bool) -> Iterator[Page]:
    for visit in visits:
        nouns = ("", "/record", "/backup-acknowledgement") if visit.status in TO_FILL_IN else ("",)
        for noun in nouns:
            yield Page(f"/visits/{visit.id}{noun}", digests.visit(visit), first=first, visit=visit.id)


def _histories(visits: list[Row[Any]], digests: Digests) -> Iterator[Page]:
    urls = {f"/customers/{visit.customer_id}": visit.customer_id for visit in visits}
    urls |= {f"/assets/{visit.asset_id}": visit.customer_id for visit in visits if visit.asset_id}
    return (Page(url, digests.customer(customer)) for url, customer in urls.items())


def _tickets(visits: list[Row[Any]], today: date, digests: Digests) -> Iterator[Page]:
    """What the ticket store said of the customers of the next days."""
    last = today + timedelta(days=TICKETS_AHEAD)
    customers = {visit.customer_id: None for visit in visits if _local(visit.window_start) <= last}
    said = digests.tickets(customers)
    return (Page(f"/customers/{customer}/tickets", said[customer]) for customer in customers)


def _local(moment: Any) -> date:
    return clock.local(moment, settings.zone).date()
