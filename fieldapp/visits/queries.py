"""Reading visits: the engineer's day, one visit with all that its page says, the past of an asset."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import NotFound
from fieldapp.extensions import db, settings
from fieldapp.i18n import _
from fieldapp.visits.models import Visit, VisitEvent, visible_to
from fieldapp.visits.transitions import DONE


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


def events_of(visit: Visit) -> list[VisitEvent]:
    """All events of a visit with their actors, oldest first."""
    query = select(VisitEvent).where(VisitEvent.visit_id == visit.id).order_by(VisitEvent.seq)
    return list(db.session.scalars(query.options(joinedload(VisitEvent.actor))))


def open_before(user: User, moment: datetime, limit: int = 20) -> list[Visit]:
    """Visits of an engineer that began before ``moment`` and were never finished, oldest first."""
    query = _with_place(select(Visit).where(Visit.lead_id == user.id, Visit.closed_at.is_(None)))
    return list(
        db.session.scalars(query.where(Visit.window_start < moment).order_by(Visit.window_start).limit(limit))
    )


def between(user: User, start: datetime, end: datetime) -> list[Visit]:
    """Visits of an engineer whose window starts in [start, end), in order."""
    query = _with_place(select(Visit).where(Visit.lead_id == user.id, Visit.status != "draft"))
    query = query.where(Visit.window_start >= start, Visit.window_start < end)
    return list(db.session.scalars(query.order_by(Visit.window_start)))


def day_of(user: User, moment: datetime | None = None) -> tuple[list[Visit], list[Visit]]:
    """(left over from earlier days, the visits of the day that holds ``moment``)."""
    start, end = clock.day_bounds(moment or clock.now(), settings.zone)
    return open_before(user, start), between(user, start, end)


def past_of(visit: Visit, limit: int = 5) -> list[Visit]:
    """Finished visits to the same asset (or, without one, the same customer), newest first."""
    same = Visit.asset_id == visit.asset_id if visit.asset_id else Visit.customer_id == visit.customer_id
    query = select(Visit).where(same, Visit.id != visit.id, Visit.status.in_(DONE))
    query = query.where(Visit.window_start < (visit.window_start or clock.now()) + timedelta(days=1))
    return list(
        db.session.scalars(query.options(joinedload(Visit.lead)).order_by(Visit.window_start.desc()).limit(limit))
    )


def _with_place(query):  # type: ignore[no-untyped-def]
    return query.options(joinedload(Visit.customer), joinedload(Visit.site), joinedload(Visit.ticket))
