"""Reading records: the one of a visit, what is still open, photos a person may see."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from fieldapp.accounts.models import User
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.records.models import OpenItem, Photo, ServiceRecord
from fieldapp.visits.models import Visit, visible_to


def record_of(visit: Visit) -> ServiceRecord | None:
    """The newest revision of a visit's record; None while nothing was filled in."""
    query = select(ServiceRecord).where(ServiceRecord.visit_id == visit.id).order_by(ServiceRecord.revision.desc())
    parts = selectinload(ServiceRecord.parts), selectinload(ServiceRecord.open_items)
    more = selectinload(ServiceRecord.photos), selectinload(ServiceRecord.signatures)
    return db.session.scalar(query.options(*parts, *more).limit(1))


def revisions_of(visit: Visit) -> list[ServiceRecord]:
    """All revisions, oldest first: what was signed on site, then the corrections."""
    query = select(ServiceRecord).where(ServiceRecord.visit_id == visit.id).order_by(ServiceRecord.revision)
    return list(db.session.scalars(query.options(selectinload(ServiceRecord.signatures))))


def open_items_for(visit: Visit, limit: int = 20) -> list[OpenItem]:
    """What earlier visits left open at this customer, for the same asset or for none, oldest first."""
    signed = ServiceRecord.signed_at.is_not(None) & (ServiceRecord.visit_id != visit.id)
    query = select(OpenItem).join(ServiceRecord, OpenItem.record_id == ServiceRecord.id).where(signed)
    query = query.where(OpenItem.customer_id == visit.customer_id, OpenItem.closed_at.is_(None))
    if visit.asset_id:
        query = query.where((OpenItem.asset_id == visit.asset_id) | OpenItem.asset_id.is_(None))
    return list(db.session.scalars(query.order_by(OpenItem.id).limit(limit)))


def photo_or_404(photo_id: UUID, user: User) -> Photo:
    """A photo of a visit that this person may see (raises NotFound)."""
    query = select(Photo).join(ServiceRecord).join(Visit, ServiceRecord.visit_id == Visit.id)
    photo = db.session.scalar(query.where(Photo.id == photo_id, Photo.removed_at.is_(None), visible_to(user)))
    if photo is None:
        raise NotFound(_("This photo does not exist, or it is not yours to see."))
    return photo
