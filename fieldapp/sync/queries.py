"""Reading deliveries: what waits, what a person must decide, what was delivered today; whether a worker lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import joinedload, selectinload

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db, settings
from fieldapp.outbox import FINAL_STATES, OPEN_STATES, READY_STATES, Promise
from fieldapp.sync import reconcile
from fieldapp.sync.models import SILENT_AFTER, Finding, ReconcileRun, StoreBreaker, WorkerBeat
from fieldapp.tickets.models import REPORTS, PullCursor, Ticket

MOST_SHOWN = 100


@dataclass(frozen=True)
class Delivery:
    """A promise with what a dispatcher knows it by. ``behind``: an earlier one of the same ticket must go first."""

    promise: Promise
    ticket: Ticket | None
    behind: bool = False
    skipped_by: str | None = None


@dataclass(frozen=True)
class Group:
    """Deliveries of one kind, the first ``MOST_SHOWN`` of ``total``."""

    deliveries: Sequence[Delivery]
    total: int


@dataclass(frozen=True)
class Deliveries:
    """All that the page shows."""

    undecided: Group
    waiting: Group
    settled: Group
    worker_seen_at: datetime | None
    worker_alive: bool
    pulled_at: datetime | None
    pull_error: str | None
    breakers: Sequence[StoreBreaker]
    findings: Sequence[Finding]
    compared: ReconcileRun | None


def deliveries() -> Deliveries:
    """Held and given up first, then waiting in the order of their turn, then what was settled since midnight."""
    midnight, _ = clock.day_bounds(clock.now(), settings.zone)
    undecided, waiting = Promise.state.in_(("held", "dead")), Promise.state.in_((*READY_STATES, "leased"))
    settled = Promise.state.in_(FINAL_STATES) & (Promise.settled_at >= midnight)
    cursor = db.session.get(PullCursor, settings.ticket_store)
    return Deliveries(
        undecided=_group(undecided, Promise.created_at),
        waiting=_group(waiting, Promise.next_at),
        settled=_group(settled, Promise.settled_at.desc()),
        worker_seen_at=db.session.scalar(select(func.max(WorkerBeat.seen_at))),
        worker_alive=worker_alive(),
        pulled_at=cursor.pulled_at if cursor else None,
        pull_error=cursor.last_error if cursor else None,
        breakers=[row for row in db.session.scalars(select(StoreBreaker)) if row.open or row.paused],
        findings=_findings(),
        compared=_last_run(),
    )


def counts() -> dict[str, int]:
    """Numbers for whoever watches: deliveries by what they wait for, stores that are left alone, findings."""
    query = select(Promise.state, func.count()).where(Promise.state.in_(OPEN_STATES)).group_by(Promise.state)
    states = {row[0]: row[1] for row in db.session.execute(query)}
    alone = sum(row.room == 0 for row in db.session.scalars(select(StoreBreaker)))
    return {**{state: states.get(state, 0) for state in OPEN_STATES}, "stores_left_alone": alone, **reconcile.counts()}


def _findings() -> Sequence[Finding]:
    query = select(Finding).where(Finding.cleared_at.is_(None)).order_by(Finding.first_seen_at.desc(), Finding.id)
    return db.session.scalars(query.limit(MOST_SHOWN)).all()


def _last_run() -> ReconcileRun | None:
    query = select(ReconcileRun).where(ReconcileRun.ended_at.is_not(None))
    return db.session.scalar(query.order_by(ReconcileRun.started_at.desc()).limit(1))


def worker_alive() -> bool:
    """Whether any worker was heard of within the last minute."""
    seen = db.session.scalar(select(func.max(WorkerBeat.seen_at)))
    return seen is not None and clock.now() - seen < SILENT_AFTER


def _group(condition: ColumnElement[bool], order: Any) -> Group:
    query = select(Promise).where(condition).order_by(order, Promise.id).limit(MOST_SHOWN)
    promises = list(db.session.scalars(query.options(selectinload(Promise.tries))))
    total = db.session.scalar(select(func.count()).select_from(Promise).where(condition)) or 0
    tickets, heads, skipped = _tickets(promises), _heads(promises), _skipped_by(promises)
    shown = [
        Delivery(
            promise=each,
            ticket=tickets.get(_ticket_of(each)),
            behind=each.open and heads.get(each.lane, each.lane_seq) < each.lane_seq,
            skipped_by=skipped.get(str(each.id)),
        )
        for each in promises
    ]
    return Group(shown, total)


def _tickets(promises: Sequence[Promise]) -> Mapping[str, Ticket]:
    """Our copies of the tickets, by store and name."""
    keys = {tuple(name.split(":", 1)) for each in promises if ":" in (name := _ticket_of(each))}
    query = select(Ticket).where(tuple_(Ticket.store, Ticket.ref).in_(keys)).options(joinedload(Ticket.customer))
    return {f"{ticket.store}:{ticket.ref}": ticket for ticket in db.session.scalars(query)}


def _ticket_of(promise: Promise) -> str:
    """Store and name of the ticket that a promise is about."""
    return promise.lane.removeprefix(REPORTS)


def _heads(promises: Sequence[Promise]) -> Mapping[str, int]:
    """The place in each lane that must go first."""
    lanes = {each.lane for each in promises if each.open}
    open_there = Promise.lane.in_(lanes) & Promise.state.not_in(FINAL_STATES)
    query = select(Promise.lane, func.min(Promise.lane_seq).label("first")).where(open_there).group_by(Promise.lane)
    return {row.lane: row.first for row in db.session.execute(query)}


def _skipped_by(promises: Sequence[Promise]) -> Mapping[str, str]:
    """Who left a promise, by the audit's word."""
    keys = [str(each.id) for each in promises if each.state == "skipped"]
    query = select(AuditEntry.subject_id, User.name).join(User, User.id == AuditEntry.by)
    query = query.where(AuditEntry.action == "delivery.skipped", AuditEntry.subject_id.in_(keys))
    return {row.subject_id: row.name for row in db.session.execute(query)}
