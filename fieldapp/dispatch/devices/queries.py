"""Reading the engineers' phones: when each last spoke, and what it said is still waiting there.

A phone in a cellar cannot say that it is in trouble. What the office knows is what it said last, and how long ago.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.offline.models import Device
from fieldapp.visits.models import Visit

SILENT_AFTER, LOST_AFTER = timedelta(hours=4), timedelta(hours=24)
SKEW_LIMIT_S = 5 * 60
NEARLY_FULL = 0.9
SHOWN_FOR = timedelta(days=30)
MOST_WAITING, MOST_QUIET = 100, 100
VISIT = re.compile(r"/visits/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/")


@dataclass(frozen=True, kw_only=True)
class Phone:
    """A phone with its engineer, judged at ``at``."""

    device: Device
    owner: User
    at: datetime

    @property
    def silent_for(self) -> timedelta:
        return self.at - self.device.seen_at

    @property
    def alarm(self) -> str:
        """``lost`` after 24 hours, ``silent`` after 4, both only while something waits there; else empty."""
        if not self.device.waiting or self.silent_for < SILENT_AFTER:
            return ""
        return "lost" if self.silent_for >= LOST_AFTER else "silent"

    @property
    def skewed(self) -> bool:
        return abs(self.device.skew_s or 0) > SKEW_LIMIT_S

    @property
    def nearly_full(self) -> bool:
        used, quota = self.device.storage_used, self.device.storage_quota
        return bool(used and quota and used >= quota * NEARLY_FULL)


@dataclass(frozen=True, kw_only=True)
class Phones:
    """What the page shows: phones where something waits, the longest silent first; then the others that spoke lately."""

    waiting: Sequence[Phone]
    quiet: Sequence[Phone]
    full: bool

    @property
    def any(self) -> bool:
        return bool(self.waiting or self.quiet)


@dataclass(frozen=True, kw_only=True)
class VisitLine:
    """A visit as a list names it."""

    id: UUID
    start: datetime | None
    customer: str


def phones() -> Phones:
    """All phones that matter now: at most a hundred where something waits, and a hundred others of the last 30 days."""
    lately = (Device.waiting == 0) & (Device.seen_at >= clock.now() - SHOWN_FOR)
    waiting = _read(_with_owner(Device.waiting > 0).order_by(Device.seen_at).limit(MOST_WAITING + 1))
    quiet = _read(_with_owner(lately).order_by(Device.seen_at.desc()).limit(MOST_QUIET + 1))
    full = len(waiting) > MOST_WAITING or len(quiet) > MOST_QUIET
    troubled_first = sorted(quiet[:MOST_QUIET], key=lambda phone: not phone.device.attention)
    return Phones(waiting=waiting[:MOST_WAITING], quiet=troubled_first, full=full)


def silent_phones(at_most: int) -> list[Phone]:
    """Phones that have not spoken for 4 hours or more while something waits there, the longest silent first."""
    return _read(_with_owner(is_silent()).order_by(Device.seen_at).limit(at_most))


def device_or_404(device_id: UUID) -> Device:
    """One phone (raises NotFound)."""
    device = db.session.get(Device, device_id)
    if device is None:
        raise NotFound(_("There is no such phone."))
    return device


def phones_of(user: User) -> list[Phone]:
    """One engineer's phones, the one that spoke last first."""
    return _read(_with_owner(Device.user_id == user.id).order_by(Device.seen_at.desc()).limit(10))


def is_silent() -> ColumnElement[bool]:
    """The condition of ``silent_phones``, for counting."""
    return (Device.waiting > 0) & (Device.seen_at <= clock.now() - SILENT_AFTER)


def visit_named(path: str) -> UUID | None:
    """The visit in the address of something that a phone kept."""
    found = VISIT.match(path)
    return UUID(found[1]) if found else None


def visits_named(paths: Iterable[str]) -> dict[UUID | None, VisitLine]:
    """What is known of the visits in these addresses, by their ids."""
    keys = {key for path in paths if (key := visit_named(path))}
    query = select(Visit.id, Visit.window_start, Customer.name).join(Customer, Customer.id == Visit.customer_id)
    rows = db.session.execute(query.where(Visit.id.in_(keys)))
    return {key: VisitLine(id=key, start=start, customer=customer) for key, start, customer in rows}


def _with_owner(condition: ColumnElement[bool]) -> Select[Device, User]:
    return select(Device, User).join(User, User.id == Device.user_id).where(condition)


def _read(query: Select[Device, User]) -> list[Phone]:
    at = clock.now()
    return [Phone(device=device, owner=owner, at=at) for device, owner in db.session.execute(query)]
