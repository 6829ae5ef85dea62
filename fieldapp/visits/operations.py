"""What people do with a visit. Each function is one use case and one transaction; all return what the receipt says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, func, select

from fieldapp import audit, clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotFound
from fieldapp.extensions import db, locked, operation, serialize
from fieldapp.i18n import _, clock_time, day
from fieldapp.offline.operations import NoLongerYours, Receipt, Told, open_case
from fieldapp.offline.times import SKEW_LIMIT as SKEW_LIMIT
from fieldapp.tickets.models import Ticket
from fieldapp.visits import transitions
from fieldapp.visits.models import KINDS, PAUSE_REASONS, WINDOW, Visit, VisitEvent

LONGEST_WINDOW = timedelta(hours=12)
SAME_JOURNEY = timedelta(hours=24)
SEATED = "seated"  # the first event of a visit that was made for work beside the plan
TOLD_FACTS = ("accepted_at", "departed_at", "arrived_at", "started_at")
ANSWERS = ("accepted", "declined")  # words about a plan, no work
ANEW = ("replanned", "taken_back")  # the plan that its engineer had seen is gone
ON_SITE = ("arrived", "started", "paused", "resumed", "cannot_complete", "no_show")


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
    return _step(visit, "accepted", by=by, told=told)


@operation
def decline(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """拒绝: back to the dispatcher at once, with a reason."""
    visit = locked(visit)
    row = _row(visit, "declined", by=by, told=told)
    payload = {"reason": _needed(reason, "reason"), "lead": str(by.id)}
    if row is None:
        return _note_late(visit, "declined", by=by, told=told, payload=payload)
    visit.lead_id = visit.accepted_at = None
    return _take(visit, row, by=by, told=told, payload=payload)


@operation
def depart(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """出发."""
    return _step(visit, "departed", by=by, told=told)


@operation
def arrive(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """到达: lateness against the window is a fact of this moment."""
    visit = locked(visit)
    at = _moment(told)
    late = at - visit.window_end if visit.window_end and at > visit.window_end else timedelta()
    return _step(visit, "arrived", by=by, told=told, late_s=int(late.total_seconds()))


@operation
def start(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """开始: the need is confirmed with the customer, the work clock runs."""
    return _step(visit, "started", by=by, told=told)


@operation
def pause(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """暂停: a break, waiting for the customer, or for a part."""
    visit = locked(visit)
    row = _row(visit, "paused", by=by, told=told)
    if reason not in PAUSE_REASONS:
        raise Invalid(_("Please say why you pause."), fields={"reason": _("Choose one of the reasons.")})
    if row is None:
        return _note_late(visit, "paused", by=by, told=told, payload={"reason": reason})
    return _take(visit, row, by=by, told=told, payload={"reason": reason})


@operation
def resume(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """继续."""
    return _step(visit, "resumed", by=by, told=told)


@operation
def cannot_complete(visit: Visit, cause: str, *, by: User, told: Told | None = None) -> Receipt:
    """无法完成: with the cause (未修复原因); a follow-up visit is drafted for the dispatcher."""
    visit = locked(visit)
    row = _row(visit, "cannot_complete", by=by, told=told)
    cause = _needed(cause, "cause")
    if row is None:
        return _note_late(visit, "cannot_complete", by=by, told=told, payload={"cause": cause})
    receipt = _take(visit, row, by=by, told=told, payload={"cause": cause})
    draft(visit.ticket, by=by, parent=visit, note=cause)
    _tell_store(visit, "visit_unfinished")
    return receipt


@operation
def no_show(visit: Visit, note: str, *, by: User, told: Told | None = None) -> Receipt:
    """客户不在: the engineer came, the customer was not there."""
    visit = locked(visit)
    row = _row(visit, "no_show", by=by, told=told)
    if row is None:
        return _note_late(visit, "no_show", by=by, told=told, payload={"note": note.strip()})
    receipt = _take(visit, row, by=by, told=told, payload={"note": note.strip()})
    draft(visit.ticket, by=by, parent=visit, note=_("The customer was not there."))
    _tell_store(visit, "visit_unfinished")
    return receipt


# ---- facts that come late (ADR 14) ------------------------------------------------------------------


@operation
def seat(visit: Visit, *, by: User, told: Told) -> Visit:
    """The visit on which the finished work of this engineer is recorded: what was done beats what is planned now.

    Their own visit is brought to ``working`` (or left at ``awaiting_sign``); one that was cancelled meanwhile is
    revived, with a case and a note for the ticket. When it was given to somebody else, taken back or closed, the work
    gets a visit of its own beside it, with a case, and nothing is overwritten. The same again: the same visit.
    """
    visit = locked(visit)
    if not _theirs(visit, by) or (visit.closed and visit.status != "canceled"):
        return _beside(visit, by=by, told=told)
    if visit.status == "canceled":
        return _revived(visit, by=by, told=told)
    if visit.status not in ("working", "awaiting_sign"):
        _bring_to_work(visit, "brought_forward", by=by, told=told)
    return visit


def _bring_to_work(visit: Visit, event: str, *, by: User, told: Told) -> None:
    """On to ``working``, with the times that this engineer told; the moment of a step nobody told of stays unknown."""
    before, visit.status = visit.status, "working"
    visit.closed_at = visit.ended_at = None
    _remember(visit, _facts_told(visit, by, until=told.at))
    note_event(visit, event, by=by, told=told, leapt_from=before)
    audit.record(f"visit.{event}", "visit", visit.id, by=by.id, before=before, after="working")
    db.session.flush()


def _revived(visit: Visit, *, by: User, told: Told) -> Visit:
    _bring_to_work(visit, "revived", by=by, told=told)
    _case_despite_cancellation(visit, by=by, told=told)
    _tell_store(visit, "done_despite_cancellation")
    return visit


def _beside(visit: Visit, *, by: User, told: Told) -> Visit:
    """A visit of its own for work that has no place on ``visit`` any more."""
    if (open_one := db.session.scalar(_seats_beside(visit, by).where(Visit.closed_at.is_(None)))) is not None:
        return open_one
    facts = _facts_told(visit, by)
    start_of_window = facts.get("arrived_at") or facts.get("started_at") or told.at
    second = Visit(
        ticket_id=visit.ticket_id,
        customer_id=visit.customer_id,
        site_id=visit.site_id,
        contact_id=visit.contact_id,
        asset_id=visit.asset_id,
        parent_id=visit.id,
        lead_id=by.id,
        kind=visit.kind,
        status="working",
        window_start=start_of_window,
        window_end=start_of_window + WINDOW,
        bring=visit.bring,
        note=visit.note,
        created_at=clock.now(),
        created_by_id=by.id,
    )
    db.session.add(second)
    _remember(second, facts)
    db.session.flush()
    note_event(second, SEATED, by=by, told=told, beside=str(visit.id), lead=str(by.id))
    note_event(visit, "second_record", by=by, told=told, second=str(second.id))
    audit.record("visit.seated", "visit", second.id, by=by.id, beside=str(visit.id))
    _case_second_record(visit, second, by=by, told=told)
    return second


def _seats_beside(visit: Visit, by: User) -> Select[Visit]:
    seated = exists().where((VisitEvent.visit_id == Visit.id) & (VisitEvent.type == SEATED))
    return select(Visit).where((Visit.parent_id == visit.id) & (Visit.lead_id == by.id) & seated)


def _facts_told(visit: Visit, by: User, until: datetime | None = None) -> dict[str, datetime]:
    """When this engineer did what, as they told us: column → moment. With ``until``: for that plan only, so that
    from before the visit was planned anew no more counts than a departure of the same day."""
    facts: dict[str, datetime] = {}
    events = db.session.scalars(select(VisitEvent).where(VisitEvent.visit_id == visit.id).order_by(VisitEvent.seq))
    for event in events:
        if until is not None and event.type in ANEW:
            facts = {name: at for name, at in facts.items() if name == "departed_at" and until - at < SAME_JOURNEY}
        row = transitions.TRANSITIONS.get(event.type)
        if event.actor_id != by.id or row is None or row.fact not in TOLD_FACTS:
            continue
        if row.fact not in facts or row.fact != "started_at":  # a pause does not move the start of the work
            facts[row.fact] = event.at
    return facts


def _remember(visit: Visit, facts: dict[str, datetime]) -> None:
    for name, at in facts.items():
        if getattr(visit, name) is None:
            setattr(visit, name, at)


def _note_late(visit: Visit, event: str, *, by: User, told: Told | None, payload: dict[str, Any]) -> Receipt:
    """A step that moves nothing any more is a fact all the same; and somebody is told when it should not have been."""
    note_event(visit, event, by=by, told=told, **payload, late=True)
    audit.record("visit.noted", "visit", visit.id, by=by.id, event=event, status=visit.status)
    if _theirs(visit, by) and event not in ANSWERS:
        fact = transitions.TRANSITIONS[event].fact
        if not visit.closed and fact in TOLD_FACTS:
            _remember(visit, {fact: _moment(told)})
        if visit.status == "canceled":
            _case_despite_cancellation(visit, by=by, told=told)
    if event in ON_SITE and not _theirs(visit, by):
        _case_second_record(visit, None, by=by, told=told)
    db.session.flush()
    return {**_receipt(visit), "outcome": "noted", "sentence": _why_noted(visit, event, by)}


def _why_noted(visit: Visit, event: str, by: User) -> str:
    if not _theirs(visit, by):
        return _(
            "The office gave this visit to somebody else or took it back. What you did is kept, and the office sees it."
        )
    if visit.status == "canceled":
        return _("The office had cancelled this visit. What you did is kept, and the office sees it.")
    if event == "accepted" and visit.status == "scheduled":
        return _("The office planned this visit anew after you had accepted it. Please look at the new time.")
    return _("This visit was further already. What you did is kept with its time.")


def _case_despite_cancellation(visit: Visit, *, by: User, told: Told | None) -> None:
    canceled = db.session.scalar(
        select(VisitEvent)
        .where((VisitEvent.visit_id == visit.id) & (VisitEvent.type == "canceled"))
        .order_by(VisitEvent.seq.desc())
        .limit(1)
    )
    open_case(
        "despite_cancellation",
        unique_for=f"despite_cancellation:{visit.id}",
        visit_id=visit.id,
        submission_id=told.submission_id if told else None,
        user_id=by.id,
        canceled_at=_iso(canceled.server_at) if canceled else None,
        canceled_by=_text(canceled.actor_id) if canceled else None,
        reason=canceled.payload.get("reason", "") if canceled else "",
    )


def _case_second_record(visit: Visit, second: Visit | None, *, by: User, told: Told | None) -> None:
    """One case for one engineer's work beside the plan: opened by the first fact from the site, or by the record. A
    record that comes after the office has settled it is looked at anew."""
    why = "closed" if visit.closed else "reassigned" if visit.lead_id else "taken_back"
    about: dict[str, Any] = {
        "visit_id": visit.id,
        "submission_id": told.submission_id if told else None,
        "user_id": by.id,
        "lead": _text(visit.lead_id),
        "why": why,
        "second": str(second.id) if second else None,
    }
    case = open_case("second_record", unique_for=f"second_record:{visit.id}:{by.id}", **about)
    if second is None or case.facts.get("second") == str(second.id):
        return
    if case.settled_at is None and case.facts.get("second") is None:
        case.facts = {**case.facts, "second": str(second.id)}
    else:
        open_case("second_record", unique_for=f"second_record:{second.id}", **about)


# ---- for the record's operations --------------------------------------------------------------------


def step(
    visit: Visit, event: str, *, by: User, told: Told | None, at: datetime | None = None, **payload: Any
) -> Receipt:
    """One transition inside an operation of the service record: finished, reopened, completed, reviewed …"""
    row = _allowed(visit, event, by, told)
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


def _step(visit: Visit, event: str, *, by: User, told: Told | None, **payload: Any) -> Receipt:
    """Take a step of the engineer, or note it when it came too late to move anything."""
    visit = locked(visit)
    row = _row(visit, event, by=by, told=told)
    if row is None:
        return _note_late(visit, event, by=by, told=told, payload=payload)
    return _take(visit, row, by=by, told=told, payload=payload)


def _row(visit: Visit, event: str, *, by: User, told: Told | None) -> transitions.Transition | None:
    """The row for an engineer's step; None when a phone's queue tells of it and it can only be noted. Any other caller
    is refused what the state does not allow (raises NotAllowedNow, NotFound)."""
    if told is None or not told.queued:
        return _allowed(visit, event, by)
    if not _theirs(visit, by) or not transitions.leads_on(visit.status, event):
        return None
    if event == "accepted" and _planned_anew_since(visit, told):
        return None
    return transitions.TRANSITIONS[event]


def _planned_anew_since(visit: Visit, told: Told) -> bool:
    """Whether the office moved the visit after its engineer had accepted: the new plan they have not seen."""
    if told.device_at is None:
        return False
    at = told.device_at - timedelta(seconds=told.skew_s or 0)
    moved = (VisitEvent.visit_id == visit.id) & VisitEvent.type.in_(ANEW) & (VisitEvent.server_at > at)
    return db.session.scalar(select(VisitEvent.id).where(moved).limit(1)) is not None


def _theirs(visit: Visit, by: User) -> bool:
    return visit.lead_id == by.id and visit.status != "draft"


def _allowed(visit: Visit, event: str, by: User, told: Told | None = None) -> transitions.Transition:
    """The row for ``event``; an engineer's step is that of the engineer who makes the visit.

    Asked once the visit is held: since the page read it, the office may have given it to somebody else
    (raises NoLongerYours, which is a NotFound). A phone's queue is the word of an engineer, also of one who has
    another role by now.
    """
    row = transitions.check(visit, event, "engineer" if told and told.queued else by.role)
    if row.roles == transitions.ENGINEER and visit.lead_id != by.id:
        raise NoLongerYours(_("This visit does not exist, or it is not yours to see."))
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
    said = payload or {}
    if before not in row.sources and told:  # a leap, over steps of which nothing may have been heard
        _remember(visit, _facts_told(visit, by, until=moment))
        said = {**said, "leapt_from": before}
    visit.status = row.target
    if row.fact and not (row.fact == "started_at" and visit.started_at):
        setattr(visit, row.fact, moment)
    if row.closes:
        visit.closed_at = moment
        visit.ended_at = visit.ended_at or moment
    note_event(visit, row.event, by=by, told=told, **said)
    audit.record(f"visit.{row.event}", "visit", visit.id, by=by.id, before=before, after=row.target)
    db.session.flush()
    return _receipt(visit)


def _receipt(visit: Visit) -> Receipt:
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
    payload, ticket = {"visit": str(visit.id)}, visit.ticket
    outbox.promise(kind, payload, lane=ticket.lane, uid=f"{kind}:{visit.id}", store=ticket.store)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
