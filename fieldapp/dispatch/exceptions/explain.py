"""What the page of one exception says beside its sentence: which visits, which photos, what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import aliased, joinedload

from fieldapp.accounts.models import User
from fieldapp.customers.models import Contact
from fieldapp.dispatch.devices.queries import phones_of
from fieldapp.dispatch.exceptions import kept
from fieldapp.dispatch.exceptions.queries import Entry
from fieldapp.dispatch.exceptions.words import reason_of
from fieldapp.extensions import db
from fieldapp.i18n import lazy, said_again
from fieldapp.offline.models import Case
from fieldapp.records.models import Photo, PhotoUpload, ServiceRecord
from fieldapp.tickets.models import TicketNews
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.transitions import LABELS, TRANSITIONS

MOST_EVENTS, MOST_PHOTOS = 30, 50
KINDS = {
    "before": lazy("Before the work"),  # L10n: 服务前
    "after": lazy("After the work"),  # L10n: 服务后
    "label": lazy("Label"),  # L10n: 铭牌
}


@dataclass(frozen=True, kw_only=True)
class Deed:
    """Something that a person did to a visit."""

    word: str
    at: datetime
    who: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two visits that must be looked at together."""

    id: UUID
    status: str
    lead: str
    window: tuple[datetime | None, datetime | None]
    number: str | None
    signed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A photo that the record names and that has not come. ``percent``: how much of it is here."""

    word: str
    caption: str
    taken_at: datetime
    percent: int


def explained(entry: Entry) -> dict[str, Any]:
    """What the template of this kind shows, by name."""
    read = READERS.get(entry.case.kind)
    return read(entry) if read else {}


# ---- a submission that could not be applied ---------------------------------------------------------


def _quarantine(entry: Entry) -> dict[str, Any]:
    """What was sent, and what was wrong with it, field by field, beyond the one sentence."""
    said, words, reason = entry.case.facts.get("fields") or {}, kept.Words(), reason_of(entry)
    again = {name: said_again(text) for name, text in said.items()}
    wrong = [kept.Field(label=words.label(name), value=text) for name, text in again.items() if text != reason]
    return {"kept": kept.read(entry.submission) if entry.submission else None, "wrong": wrong}


# ---- work on a cancelled visit ----------------------------------------------------------------------


def _despite_cancellation(entry: Entry) -> dict[str, Any]:
    """Who cancelled, why; and what the engineer did, by the phone's time."""
    events = _events(VisitEvent.visit_id == entry.visit_id)
    canceled = [each for each in events if each.type == "canceled"]
    done = [each for each in events if each.actor and each.actor.is_engineer]
    return {
        "cancellation": _deed(canceled[-1]) if canceled else None,
        "deeds": [_deed(each) for each in sorted(done, key=lambda event: event.at)],
    }


def _events(condition: ColumnElement[bool]) -> Sequence[VisitEvent]:
    known = VisitEvent.type.in_(tuple(TRANSITIONS))
    query = select(VisitEvent).where(condition, known).options(joinedload(VisitEvent.actor))
    return db.session.scalars(query.order_by(VisitEvent.seq.desc()).limit(MOST_EVENTS)).all()[::-1]


def _deed(event: VisitEvent) -> Deed:
    who = event.actor.name if event.actor else ""
    word = str(LABELS[TRANSITIONS[event.type].target])
    return Deed(
        word=word, at=event.at, who=who, reason=str(event.payload.get("reason") or event.payload.get("cause") or "")
    )


# ---- two records ------------------------------------------------------------------------------------


def _second_record(entry: Entry) -> dict[str, Any]:
    """The visit that was planned first, and the one that holds the second record."""
    return {"sides": _sides(entry.case)}


def _sides(case: Case) -> list[Side]:
    """The visit that was planned, and the one that was made for the work beside the plan."""
    newer = aliased(ServiceRecord)
    both = Visit.id.in_([key for key in (case.visit_id, _key(case.facts.get("second"))) if key])
    newest = select(func.max(newer.revision)).where(newer.visit_id == Visit.id).scalar_subquery()
    record = and_(ServiceRecord.visit_id == Visit.id, ServiceRecord.revision == newest)
    query = select(Visit, User.name, ServiceRecord.number, ServiceRecord.signed_at)
    query = query.outerjoin(User, User.id == Visit.lead_id).outerjoin(ServiceRecord, record).where(both)
    return [
        Side(
            id=visit.id,
            status=visit.status,
            lead=lead or "–",
            window=(visit.window_start, visit.window_end),
            number=number,
            signed_at=signed_at,
        )
        for visit, lead, number, signed_at in db.session.execute(query.order_by(Visit.created_at, Visit.id))
    ]


def _key(text: object) -> UUID | None:
    return UUID(str(text)) if text else None


# ---- photos that have not come ----------------------------------------------------------------------


def _photos_missing(entry: Entry) -> dict[str, Any]:
    """Which photos, and on whose phone they wait."""
    query = select(Photo, PhotoUpload.received, PhotoUpload.length)
    query = query.join(ServiceRecord, ServiceRecord.id == Photo.record_id)
    upload = and_(PhotoUpload.user_id == Photo.uploaded_by_id, PhotoUpload.sha256 == Photo.source_sha256)
    waits = and_(ServiceRecord.visit_id == entry.visit_id, Photo.arrived_at.is_(None), Photo.removed_at.is_(None))
    rows = db.session.execute(query.outerjoin(PhotoUpload, upload).where(waits).order_by(Photo.id).limit(MOST_PHOTOS))
    missing = [
        Missing(
            word=str(KINDS[photo.kind]),
            caption=photo.caption,
            taken_at=photo.taken_at,
            percent=_percent(received, length),
        )
        for photo, received, length in rows
    ]
    gone = Photo.arrived_at.is_(None) & Photo.removed_at.is_not(None) & (ServiceRecord.visit_id == entry.visit_id)
    lost = db.session.scalar(select(func.count(Photo.id)).join(ServiceRecord).where(gone))
    return {"missing": missing, "lost": lost, "phones": phones_of(entry.engineer) if entry.engineer else []}


def _percent(received: int | None, length: int | None) -> int:
    return received * 100 // length if received and length else 0


# ---- another telephone number -----------------------------------------------------------------------


def _contact_suggestion(entry: Entry) -> dict[str, Any]:
    """The person as the customer file has them now; what the engineer noted stands in the case."""
    key = _key(entry.case.facts.get("contact"))
    return {"contact": db.session.get(Contact, key) if key else None}


# ---- a ticket that ended in the store ---------------------------------------------------------------


def _ticket_ended(entry: Entry) -> dict[str, Any]:
    """The visit as it stands, with what can still be done about it; what the store said last about the ticket."""
    visit = db.session.get(Visit, entry.visit_id) if entry.visit_id else None
    at = str(entry.case.facts.get("at", ""))
    news = select(TicketNews).where(TicketNews.ticket_id == visit.ticket_id) if visit else None
    last = db.session.scalar(news.order_by(TicketNews.id.desc()).limit(1)) if news is not None else None
    return {
        "visit": visit,
        "movable": bool(visit and visit.status in TRANSITIONS["canceled"].sources),
        "ended_at": datetime.fromisoformat(at) if at else None,
        "ended_by": last.by if last else "",
    }


READERS: dict[str, Callable[[Entry], dict[str, Any]]] = {
    "quarantine": _quarantine,
    "despite_cancellation": _despite_cancellation,
    "second_record": _second_record,
    "photos_missing": _photos_missing,
    "contact_suggestion": _contact_suggestion,
    "ticket_ended": _ticket_ended,
}
