"""What people do with a visit. Each function is one use case and one transaction; all return what the receipt says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from fieldapp import audit, clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotFound
from fieldapp.extensions import db, locked, operation, serialize
from fieldapp.i18n import _, clock_time, day
from fieldapp.offline.operations import Receipt, Told
from fieldapp.tickets.models import Ticket
from fieldapp.visits import transitions
from fieldapp.visits.models import KINDS, PAUSE_REASONS, WINDOW, Visit, VisitEvent

LONGEST_WINDOW = timedelta(hours=12)
SKEW_LIMIT = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a dispatcher decides. ``override_reason`` allows an overlap, and is kept."""

    lead_id: UUID
    window_start: datetime
    window_end: datetime | None = None
    kind: str = "maintenance"
    bring: str = ""
    note: str = ""
    override_reason: str = ""

    @property
    def end(self) -> datetime:
        return self.window_end or self.window_start + WINDOW


# ---- the office -------------------------------------------------------------------------------------


@operation
def draft(ticket: Ticket, *, by: User, parent: Visit | None = None, note: str = "") -> Visit:
    """A visit for a ticket, still without engineer and time (raises Invalid when the ticket names no customer)."""
    if ticket.customer_id is None:
        raise Invalid(_("This ticket names no customer we know. Link the customer first."))
    visit = Visit(
        ticket_id=ticket.id,
        customer_id=ticket.customer_id,
        site_id=parent.site_id if parent else ticket.site_id,
        contact_id=parent.contact_id if parent else ticket.contact_id,
        asset_id=parent.asset_id if parent else ticket.asset_id,
        parent_id=parent.id if parent else None,
        kind=parent.kind if parent else "maintenance",
        note=note,
        created_by_id=by.id,
        created_at=clock.now(),
    )
    db.session.add(visit)
    db.session.flush()
    note_event(visit, "drafted", by=by)
    return visit


@operation
def plan(visit: Visit, wanted: Plan, *, by: User, told: Told | None = None) -> Receipt:
    """Give a visit its engineer and window, or others (raises Invalid, NotAllowedNow; Invalid names the overlap)."""
    visit = locked(visit)
    event = "planned" if visit.status in ("draft", "declined") else "replanned"
    row = _allowed(visit, event, by)
    engineer = _engineer(wanted.lead_id)
    _check_window(wanted)
    overlaps = _overlaps(visit, wanted)
    if overlaps and not wanted.override_reason.strip():
        raise Invalid(_overlap_sentence(engineer, overlaps[0]), fields={"override_reason": _overlap_hint()})
    before = {"lead": _text(visit.lead_id), "start": _iso(visit.window_start), "end": _iso(visit.window_end)}
    visit.lead_id, visit.window_start, visit.window_end = engineer.id, wanted.window_start, wanted.end
    visit.kind, visit.bring, visit.note = wanted.kind, wanted.bring.strip(), wanted.note.strip()
    visit.accepted_at = visit.departed_at = None
    payload: dict[str, Any] = {"before": before, "lead": str(engineer.id), "start": _iso(wanted.window_start)}
    if overlaps:
        payload |= {"overlaps": [str(each.id) for each in overlaps], "override_reason": wanted.override_reason.strip()}
        audit.record("visit.overlap_allowed", "visit", visit.id, by=by.id, overlaps=str(overlaps[0].id))
    return _take(visit, row, by=by, told=told, payload=payload)


@operation
def cancel(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """取消: by the office, with a reason."""
    visit = locked(visit)
    row = _allowed(visit, "canceled", by)
    return _take(visit, row, by=by, told=told, payload={"reason": _needed(reason, "reason")})


@operation
def take_back(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """撤回派单: the office takes the visit from its engineer; it waits to be planned again, with the reason."""
    visit = locked(visit)
    row = _allowed(visit, "taken_back", by)
    payload = {"reason": _needed(reason, "reason"), "lead": str(visit.lead_id)}
    visit.lead_id = visit.accepted_at = visit.departed_at = None
    return _take(visit, row, by=by, told=told, payload=payload)


# ---- the engineer -----------------------------------------------------------------------------------


@operation
def accept(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """接受."""
    visit = locked(visit)
    return _take(visit, _allowed(visit, "accepted", by), by=by, told=told)


@operation
def decline(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """拒绝: back to the dispatcher at once, with a reason."""
    visit = locked(visit)
    row = _allowed(visit, "declined", by)
    payload = {"reason": _needed(reason, "reason"), "lead": str(visit.lead_id)}
    visit.lead_id = visit.accepted_at = None
    return _take(visit, row, by=by, told=told, payload=payload)


@operation
def depart(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """出发."""
    visit = locked(visit)
    return _take(visit, _allowed(visit, "departed", by), by=by, told=told)


@operation
def arrive(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """到达: lateness against the window is a fact of this moment."""
    visit = locked(visit)
    row = _allowed(visit, "arrived", by)
    at = _moment(told)
    late = at - visit.window_end if visit.window_end and at > visit.window_end else timedelta()
    return _take(visit, row, by=by, told=told, payload={"late_s": int(late.total_seconds())})


@operation
def start(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """开始: the need is confirmed with the customer, the work clock runs."""
    visit = locked(visit)
    return _take(visit, _allowed(visit, "started", by), by=by, told=told)


@operation
def pause(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """暂停: a break, waiting for the customer, or for a part."""
    visit = locked(visit)
    row = _allowed(visit, "paused", by)
    if reason not in PAUSE_REASONS:
        raise Invalid(_("Please say why you pause."), fields={"reason": _("Choose one of the reasons.")})
    return _take(visit, row, by=by, told=told, payload={"reason": reason})


@operation
def resume(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """继续."""
    visit = locked(visit)
    return _take(visit, _allowed(visit, "resumed", by), by=by, told=told)


@operation
def cannot_complete(visit: Visit, cause: str, *, by: User, told: Told | None = None) -> Receipt:
    """无法完成: with the cause (未修复原因); a follow-up visit is drafted for the dispatcher."""
    visit = locked(visit)
    row = _allowed(visit, "cannot_complete", by)
    cause = _needed(cause, "cause")
    receipt = _take(visit, row, by=by, told=told, payload={"cause": cause})
    draft(visit.ticket, by=by, parent=visit, note=cause)
    _tell_store(visit, "visit_unfinished")
    return receipt


@operation
def no_show(visit: Visit, note: str, *, by: User, told: Told | None = None) -> Receipt:
    """客户不在: the engineer came, the customer was not there."""
    visit = locked(visit)
    row = _allowed(visit, "no_show", by)
    receipt = _take(visit, row, by=by, told=told, payload={"note": note.strip()})
    draft(visit.ticket, by=by, parent=visit, note=_("The customer was not there."))
    _tell_store(visit, "visit_unfinished")
    return receipt


# ---- for the record's operations --------------------------------------------------------------------


def step(
    visit: Visit, event: str, *, by: User, told: Told | None, at: datetime | None = None, **payload: Any
) -> Receipt:
    """One transition inside an operation of the service record: finished, reopened, completed, reviewed …"""
    row = _allowed(visit, event, by)
    return _take(visit, row, by=by, told=told, payload=payload, at=at)


def note_event(visit: Visit, kind: str, *, by: User | None, told: Told | None = None, **payload: Any) -> VisitEvent:
    """Append an event that moves no state."""
    last = db.session.scalar(select(func.max(VisitEvent.seq)).where(VisitEvent.visit_id == visit.id))
    event = VisitEvent(
        visit_id=visit.id,
        seq=(last or 0) + 1,
        type=kind,
        actor_id=by.id if by else None,
        device_at=told.device_at if told else None,
        server_at=clock.now(),
        skew_s=told.skew_s if told else None,
        submission_id=told.submission_id if told else None,
        payload=payload,
    )
    db.session.add(event)
    return event


# ---- below: how a step is taken ---------------------------------------------------------------------


def _allowed(visit: Visit, event: str, by: User) -> transitions.Transition:
    """The row for ``event``; an engineer's step is that of the engineer who makes the visit.

    Asked once the visit is held: since the page read it, the office may have given it to somebody else (raises NotFound).
    """
    row = transitions.check(visit, event, by.role)
    if row.roles == transitions.ENGINEER and visit.lead_id != by.id:
        raise NotFound(_("This visit does not exist, or it is not yours to see."))
    return row


def _take(
    visit: Visit,
    row: transitions.Transition,
    *,
    by: User,
    told: Told | None,
    payload: dict[str, Any] | None = None,
    at: datetime | None = None,
) -> Receipt:
    moment = at or _moment(told)
    before = visit.status
    visit.status = row.target
    if row.fact and not (row.fact == "started_at" and visit.started_at):
        setattr(visit, row.fact, moment)
    if row.closes:
        visit.closed_at = moment
        visit.ended_at = visit.ended_at or moment
    note_event(visit, row.event, by=by, told=told, **(payload or {}))
    audit.record(f"visit.{row.event}", "visit", visit.id, by=by.id, before=before, after=row.target)
    db.session.flush()
    return {"visit": str(visit.id), "status": visit.status, "revision": visit.revision}


def _moment(told: Told | None) -> datetime:
    return told.at if told else clock.now()


def _engineer(user_id: UUID) -> User:
    engineer = db.session.get(User, user_id)
    if engineer is None or not engineer.is_engineer or not engineer.is_active:
        raise NotFound(_("There is no such engineer."))
    return engineer


def _check_window(wanted: Plan) -> None:
    if wanted.kind not in KINDS:
        raise Invalid(_("Choose the kind of visit."), fields={"kind": _("Choose the kind of visit.")})
    if wanted.end <= wanted.window_start:
        sentence = _("The window must end after it starts.")
        raise Invalid(sentence, fields={"window_end": sentence})
    if wanted.end - wanted.window_start > LONGEST_WINDOW:
        sentence = _("A window of more than 12 hours tells the customer nothing. Make it shorter.")
        raise Invalid(sentence, fields={"window_end": sentence})


def _overlaps(visit: Visit, wanted: Plan) -> list[Visit]:
    """Other open visits of this engineer whose window meets the wanted one, read under the write lock."""
    serialize(f"plan:{wanted.lead_id}")
    meets = (Visit.window_start < wanted.end) & (Visit.window_end > wanted.window_start)
    others = (Visit.lead_id == wanted.lead_id) & Visit.closed_at.is_(None) & (Visit.id != visit.id)
    return list(db.session.scalars(select(Visit).where(others & meets & (Visit.status != "draft"))))


def _overlap_sentence(engineer: User, other: Visit) -> str:
    return _(
        "%(name)s already has a visit to %(customer)s on %(day)s, %(start)s–%(end)s.",
        name=engineer.name,
        customer=other.customer.name,
        day=day(other.window_start),
        start=clock_time(other.window_start),
        end=clock_time(other.window_end),
    )


def _overlap_hint() -> str:
    return _("Choose another time, or write here why both visits are right.")


def _needed(text: str, field: str) -> str:
    text = text.strip()
    if not text:
        raise Invalid(_("Please write the reason."), fields={field: _("Please write the reason.")})
    return text


def _tell_store(visit: Visit, kind: str) -> None:
    payload = {"visit": str(visit.id)}
    outbox.promise(kind, payload, lane=visit.ticket.lane, uid=f"{kind}:{visit.id}")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
