"""Promises: made in the transaction of the fact they follow from, kept later by a worker, once.

A promise stands in a lane (all that concerns one ticket is one lane). Only the head of a lane may be worked on.
A claim is a committed lease with a fence: a worker that wakes up late cannot write its result over a newer one's.
An expired lease becomes ``unknown``, not ``pending``: whoever takes it next must look before it sends.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import rfc8785
from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, exists, func, or_, select, update
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from fieldapp import clock
from fieldapp.extensions import Base, Keyed, db, in_operation, operation, serialize, uuid7

LEASE = timedelta(seconds=120)
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
MOST_TRIES = 30
OLDEST = timedelta(days=7)
OPEN_STATES = ("pending", "leased", "retry_wait", "unknown", "held", "dead")
READY_STATES = ("pending", "retry_wait", "unknown")
FINAL_STATES = ("delivered", "superseded", "skipped")


class Promise(Keyed, Base):
    """One thing that must follow. ``uid`` is the key by which the other side recognises it, whatever happens."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("lane", "lane_seq"),
        Index("ix_outbox_state_next_at", "state", "next_at"),
    )

    lane: Mapped[str] = mapped_column(String(120))
    lane_seq: Mapped[int]
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    forgiven: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    leased_by: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    remote_ref: Mapped[str | None] = mapped_column(String(200))
    last_error: Mapped[str | None] = mapped_column(Text)
    settled_at: Mapped[datetime | None]

    tries: Mapped[list[Attempt]] = relationship(order_by="Attempt.n", back_populates="promise")

    @property
    def open(self) -> bool:
        """Still to be kept, or waiting for a person."""
        return self.state in OPEN_STATES

    @property
    def needs_person(self) -> bool:
        return self.state in ("held", "dead")


class Attempt(Keyed, Base):
    """One try at a promise: when, how it ended, what was said (redacted)."""

    __tablename__ = "outbox_attempt"

    promise_id: Mapped[UUID] = mapped_column(ForeignKey("outbox.id"), index=True)
    n: Mapped[int]
    worker: Mapped[str] = mapped_column(String(80))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    excerpt: Mapped[str | None] = mapped_column(Text)

    promise: Mapped[Promise] = relationship(back_populates="tries")


@dataclass(frozen=True)
class Claim:
    """A committed lease: the only permission to work on a promise. ``must_look``: an earlier try may have got through."""

    id: UUID
    fence: int
    uid: str
    kind: str
    payload: Mapping[str, Any]
    attempt: int
    must_look: bool


def promise(kind: str, payload: dict[str, Any], *, lane: str, uid: str | None = None) -> Promise:
    """Promise something in the transaction of the operation that runs; the same ``uid`` twice is one promise."""
    if not in_operation():
        raise RuntimeError("outbox.promise belongs inside an operation")
    if uid and (already := db.session.scalar(select(Promise).where(Promise.uid == uid))):
        return already
    serialize(lane)
    last = db.session.scalar(select(func.max(Promise.lane_seq)).where(Promise.lane == lane))
    made = Promise(
        id=uuid7(),
        lane=lane,
        lane_seq=(last or 0) + 1,
        kind=kind,
        payload=payload,
        payload_sha256=hashlib.sha256(rfc8785.dumps(payload)).hexdigest(),
        uid=uid or str(uuid7()),
        state="pending",
        attempts=0,
        forgiven=0,
        fence=0,
        created_at=clock.now(),
        next_at=clock.now(),
    )
    db.session.add(made)
    db.session.flush()
    return made


# ---- claiming: the lease is committed before any call goes out --------------------------------------


@operation
def release_expired() -> int:
    """Leases whose time is over become ``unknown``: their worker died and nobody knows how far it came."""
    result = db.session.execute(
        update(Promise)
        .where(Promise.state == "leased", Promise.lease_until < clock.now())
        .values(state="unknown", leased_by=None, lease_until=None, next_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]


@operation
def claim(worker: str) -> Claim | None:
    """Lease the oldest promise that is due and heads its lane; None when nothing is due."""
    taken = db.session.scalar(_due().limit(1).with_for_update(skip_locked=True))
    if taken is None:
        return None
    must_look = taken.attempts > 0
    taken.state, taken.leased_by, taken.lease_until = "leased", worker, clock.now() + LEASE
    taken.fence += 1
    taken.attempts += 1
    db.session.add(Attempt(promise_id=taken.id, n=taken.attempts, worker=worker, started_at=clock.now()))
    return Claim(taken.id, taken.fence, taken.uid, taken.kind, dict(taken.payload), taken.attempts, must_look)


def _due() -> Any:
    earlier = aliased(Promise)
    waits_behind = exists().where(
        earlier.lane == Promise.lane, earlier.lane_seq < Promise.lane_seq, earlier.state.in_(OPEN_STATES)
    )
    ready = Promise.state.in_(READY_STATES) & (Promise.next_at <= clock.now())
    return select(Promise).where(ready, ~waits_behind).order_by(Promise.next_at, Promise.id)


# ---- settling: only the holder of the fence may write ------------------------------------------------


@operation
def delivered(claim: Claim, remote_ref: str | None) -> bool:
    """The promise is kept. False when the lease was lost meanwhile (the result is then somebody else's to write)."""
    return _settle(claim, "delivered", "delivered", remote_ref=remote_ref, settled_at=clock.now(), last_error=None)


@operation
def try_again(claim: Claim, error: str, *, after: timedelta | None = None) -> bool:
    """The try failed, or its outcome is unknown: wait (full jitter, doubling) and look first next time."""
    row = db.session.get_one(Promise, claim.id)
    if claim.attempt - row.forgiven >= MOST_TRIES or clock.now() - row.created_at > OLDEST:
        return _settle(claim, "dead", "gave_up", last_error=error)
    wait = max(_jitter(claim.attempt), after or timedelta())
    return _settle(claim, "retry_wait", "retry", last_error=error, next_at=clock.now() + wait)


@operation
def hold(claim: Claim, error: str) -> bool:
    """The other side says it can never work like this: a person must decide."""
    return _settle(claim, "held", "held", last_error=error)


@operation
def retry_now(promise_id: UUID) -> Promise:
    """A person says: try again. Tries count anew; the next one still looks first."""
    row = db.session.get_one(Promise, promise_id, with_for_update=True)
    if row.state in (*READY_STATES, "held", "dead"):
        row.state = "unknown" if row.attempts else "pending"
        row.next_at, row.created_at, row.forgiven = clock.now(), clock.now(), row.attempts
    return row


@operation
def skip(promise_id: UUID, reason: str) -> Promise:
    """A person says: leave it; the lane goes on."""
    row = db.session.get_one(Promise, promise_id, with_for_update=True)
    if row.state in (*READY_STATES, "held", "dead"):
        row.state, row.settled_at, row.last_error = "skipped", clock.now(), reason
    return row


def _settle(claim: Claim, state: str, outcome: str, **values: Any) -> bool:
    done = db.session.execute(
        update(Promise)
        .where(Promise.id == claim.id, Promise.fence == claim.fence, Promise.state == "leased")
        .values(state=state, leased_by=None, lease_until=None, **values)
        .execution_options(synchronize_session=False)
    )
    db.session.execute(
        update(Attempt)
        .where(Attempt.promise_id == claim.id, Attempt.n == claim.attempt)
        .values(ended_at=clock.now(), outcome=outcome, excerpt=values.get("last_error"))
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _jitter(attempt: int) -> timedelta:
    """Full jitter: anywhere between nothing and 10 s × 2ⁿ, at most an hour."""
    most = min(FIRST_WAIT.total_seconds() * 2 ** min(attempt, 12), LONGEST_WAIT.total_seconds())
    return timedelta(seconds=random.uniform(0, most))  # noqa: S311 - spreading load, not a secret


def waiting() -> int:
    """How many promises are not kept yet."""
    return db.session.scalar(select(func.count()).select_from(Promise).where(Promise.state.in_(OPEN_STATES))) or 0


def due_now() -> bool:
    """Whether any promise could be claimed at this moment (an expired lease counts)."""
    expired = (Promise.state == "leased") & (Promise.lease_until < clock.now())
    ready = Promise.state.in_(READY_STATES) & (Promise.next_at <= clock.now())
    return bool(db.session.scalar(select(exists().where(or_(expired, ready)))))
