"""Promises: made in the transaction of the fact they follow from, kept later by a worker, once.

A promise stands in a lane (all that concerns one ticket is one lane). Only the head of a lane may be worked on, and at
most so many promises of one store at once as it has room for.
A claim is a committed lease with a fence: a worker that wakes up late cannot write its result over a newer one's.
An expired lease becomes ``unknown``, not ``pending``: whoever takes it next must look before it sends.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import rfc8785
from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from fieldapp import clock
from fieldapp.extensions import Base, Keyed, db, in_operation, operation, serialize, uuid7
from fieldapp.i18n import _

LEASE = timedelta(seconds=120)
CALL = timedelta(seconds=100)  # all that one promise may ask of the store together; its lease is longer
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
MOST_TRIES = 30
OLDEST = timedelta(days=7)
SETTLES = timedelta(seconds=60)  # a store may still be at what we stopped waiting for: looking sooner would not find it
AT_ONCE = 4  # promises of one store
MOST_EXCHANGES = 40  # kept of one attempt
OPEN_STATES = ("pending", "leased", "retry_wait", "unknown", "held", "dead")
READY_STATES = ("pending", "retry_wait", "unknown")
FINAL_STATES = ("delivered", "superseded", "skipped")


class Promise(Keyed, Base):
    """One thing that must follow. ``uid`` is the key by which the other side recognises it, whatever happens.

    ``store``: the ticket store that it writes to (None: it asks nobody outside). ``excused_s``: seconds of its age in which
    that store was not to be asked. ``reopened_at``: when it was found missing after it had been delivered. ``settles_at``:
    until then the store may still be at what was last sent to it and not answered; nobody looks or sends before.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("lane", "lane_seq"),
        Index("ix_outbox_state_next_at", "state", "next_at"),
        Index("ix_outbox_store_state", "store", "state"),
        Index("ix_outbox_settled_at", "settled_at"),
    )

    lane: Mapped[str] = mapped_column(String(120))
    lane_seq: Mapped[int]
    store: Mapped[str | None] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    uid: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    forgiven: Mapped[int] = mapped_column(default=0)
    excused_s: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    leased_by: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    remote_ref: Mapped[str | None] = mapped_column(String(200))
    last_error: Mapped[str | None] = mapped_column(Text)
    settled_at: Mapped[datetime | None]
    reopened_at: Mapped[datetime | None]
    settles_at: Mapped[datetime | None]

    tries: Mapped[list[Attempt]] = relationship(order_by="Attempt.n", back_populates="promise")

    @property
    def open(self) -> bool:
        """Still to be kept, or waiting for a person."""
        return self.state in OPEN_STATES

    @property
    def needs_person(self) -> bool:
        return self.state in ("held", "dead")

    @property
    def looked_for_at(self) -> datetime | None:
        """From which full minute on looking cannot miss what the store is still writing; None: it has ended."""
        if self.settles_at is None or self.settles_at <= clock.now():
            return None
        return self.settles_at.replace(second=0, microsecond=0) + timedelta(minutes=1)


class Attempt(Keyed, Base):
    """One try at a promise: when, how it ended, and each thing that was asked and answered (redacted by the wire)."""

    __tablename__ = "outbox_attempt"

    promise_id: Mapped[UUID] = mapped_column(ForeignKey("outbox.id"), index=True)
    n: Mapped[int]
    worker: Mapped[str] = mapped_column(String(80))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    excerpt: Mapped[str | None] = mapped_column(Text)
    exchanges: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)

    promise: Mapped[Promise] = relationship(back_populates="tries")


@dataclass(frozen=True)
class Claim:
    """A committed lease: the only permission to work on a promise. ``must_look``: an earlier try may have got through.
    ``reopened``: it was delivered once and then found missing."""

    id: UUID
    fence: int
    uid: str
    kind: str
    payload: Mapping[str, Any]
    attempt: int
    must_look: bool
    store: str | None = None
    reopened: bool = False


def promise(
    kind: str, payload: dict[str, Any], *, lane: str, uid: str | None = None, store: str | None = None
) -> Promise:
    """Promise something in the transaction of the operation that runs; the same ``uid`` twice is one promise.

    ``store``: the ticket store that this writes to, so that it waits while that store is not to be asked.
    """
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
        store=store,
        kind=kind,
        payload=payload,
        payload_sha256=hashlib.sha256(rfc8785.dumps(payload)).hexdigest(),
        uid=uid or str(uuid7()),
        state="pending",
        attempts=0,
        forgiven=0,
        excused_s=0,
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
    """Leases whose time is over become ``unknown``: their worker died and nobody knows how far it came.

    What took a worker with it at every try is given up, so that a person looks at it.
    """
    over = select(Promise).where(Promise.state == "leased", Promise.lease_until < clock.now())
    released = db.session.scalars(over.order_by(Promise.id).with_for_update(skip_locked=True)).all()
    for row in released:
        _release(row)
    return len(released)


def _release(row: Promise) -> None:
    """It may have died right after it had sent something, at the very end of its time."""
    ended = (row.lease_until or clock.now()) - LEASE + CALL
    row.state, row.leased_by, row.lease_until = "unknown", None, None
    row.settles_at = ended + SETTLES if row.store else None
    row.next_at = max(clock.now(), row.settles_at or clock.now())
    if row.attempts - row.forgiven >= MOST_TRIES:
        row.state, row.last_error = "dead", _("Every worker that tried this was stopped in the middle of it.")


@operation
def clock_was_set(by: timedelta) -> None:
    """The wall clock went on by so much more than time itself (negative: it was set back); zero: nobody knows whether.

    A lease that ran must run on: set forward, its worker is still at it; set back, a dead one's would not end. Nor does
    anything wait longer than it ever may.
    """
    now, ahead = clock.now(), clock.now() - by if by > timedelta() else None
    _update((Promise.state == "leased") & (Promise.lease_until > (ahead or now + LEASE)), lease_until=now + LEASE)
    _update(Promise.settles_at > (ahead or now + SETTLES), settles_at=now + SETTLES)
    ready = Promise.state.in_(READY_STATES)
    _update(ready & (Promise.created_at > now), created_at=now, next_at=now)
    _update(ready & (Promise.next_at > now + LONGEST_WAIT), next_at=now + LONGEST_WAIT)


@operation
def forget(kind: str, before: datetime) -> int:
    """Take away promises of a kind that were kept before that moment, with their tries; how many.

    Only of kinds that prove nothing afterwards.
    """
    old = (Promise.kind == kind) & Promise.state.in_(FINAL_STATES) & (Promise.settled_at < before)
    keys = select(Promise.id).where(old)
    db.session.execute(delete(Attempt).where(Attempt.promise_id.in_(keys)))
    return int(db.session.execute(delete(Promise).where(old)).rowcount)  # type: ignore[attr-defined]


def room_for_all(_store: str) -> int:
    """How many promises of a store may be worked on at once when nothing speaks against it."""
    return AT_ONCE


@operation
def claim(worker: str, room: Callable[[str], int] = room_for_all) -> Claim | None:
    """Lease the oldest promise that is due, heads its lane and whose store has room; None when there is none.

    ``room``: how many promises of a store may be leased together, asked inside the transaction.
    """
    full: set[str] = set()
    while taken := db.session.scalar(_due(full).limit(1).with_for_update(skip_locked=True)):
        if taken.store is None or _has_room(taken.store, room):
            return _lease(taken, worker)
        full.add(taken.store)
    return None


def _due(full: set[str]) -> Any:
    elsewhere = or_(Promise.store.is_(None), Promise.store.not_in(full))
    return select(Promise).where(_may_go(), elsewhere).order_by(Promise.next_at, Promise.id)


def _may_go() -> Any:
    """Due, and at the head of its lane."""
    earlier = aliased(Promise)
    waits_behind = exists().where(
        earlier.lane == Promise.lane, earlier.lane_seq < Promise.lane_seq, earlier.state.in_(OPEN_STATES)
    )
    return _is_due() & ~waits_behind


def _is_due() -> Any:
    """Its time has come, and the store is done with what was sent before: whoever looked sooner would not find it."""
    settled = or_(Promise.settles_at.is_(None), Promise.settles_at <= clock.now())
    return Promise.state.in_(READY_STATES) & (Promise.next_at <= clock.now()) & settled


def _has_room(store: str, room: Callable[[str], int]) -> bool:
    """One claim at a time counts for a store, or two would both take its last place."""
    serialize(f"claims of {store}")
    leased = select(func.count()).select_from(Promise).where(Promise.store == store, Promise.state == "leased")
    return (db.session.scalar(leased) or 0) < room(store)


def _lease(taken: Promise, worker: str) -> Claim:
    must_look = taken.attempts > 0
    taken.state, taken.leased_by, taken.lease_until = "leased", worker, clock.now() + LEASE
    taken.fence += 1
    taken.attempts += 1
    db.session.add(Attempt(promise_id=taken.id, n=taken.attempts, worker=worker, started_at=clock.now(), exchanges=[]))
    return Claim(
        id=taken.id,
        fence=taken.fence,
        uid=taken.uid,
        kind=taken.kind,
        payload=dict(taken.payload),
        attempt=taken.attempts,
        must_look=must_look,
        store=taken.store,
        reopened=taken.reopened_at is not None,
    )


# ---- settling: only the holder of the fence may write ------------------------------------------------


@operation
def delivered(claim: Claim, remote_ref: str | None) -> bool:
    """The promise is kept. False when the lease was lost meanwhile (the result is then somebody else's to write)."""
    return _settle(claim, "delivered", "delivered", remote_ref=remote_ref, settled_at=clock.now(), last_error=None)


@operation
def try_again(claim: Claim, error: str, *, after: timedelta | None = None) -> bool:
    """The try failed, or its outcome is unknown: wait (full jitter, doubling) and look first next time."""
    row = db.session.get_one(Promise, claim.id)
    tries, age = claim.attempt - row.forgiven, clock.now() - row.created_at - timedelta(seconds=row.excused_s)
    if tries >= MOST_TRIES or age > OLDEST:
        return _settle(claim, "dead", "gave_up", last_error=error)
    wait = max(_jitter(tries), after or timedelta())
    return _settle(claim, "retry_wait", "retry", last_error=error, next_at=clock.now() + wait)


@operation
def put_back(claim: Claim, error: str, *, until: datetime) -> bool:
    """The store was not to be asked, which is not this promise's fault: it goes back to its place, and the try is none."""
    return _settle(claim, "pending", "put_back", last_error=error, next_at=until, forgiven=Promise.forgiven + 1)


@operation
def hold(claim: Claim, error: str) -> bool:
    """The other side says it can never work like this: a person must decide."""
    return _settle(claim, "held", "held", last_error=error)


@operation
def excuse(store: str, seconds: int) -> None:
    """So long the store was not to be asked: that time does not age what waits for it."""
    _update((Promise.store == store) & Promise.state.in_(OPEN_STATES), excused_s=Promise.excused_s + seconds)


@operation
def hasten(store: str, until: datetime) -> None:
    """The store is asked again at this moment: whatever would wait longer may go then, what has just failed a little later."""
    failed = (Attempt.promise_id == Promise.id) & (Attempt.outcome == "retry") & (Attempt.ended_at > until - SETTLES)
    waits = (Promise.store == store) & Promise.state.in_(READY_STATES)
    settled = or_(Promise.settles_at.is_(None), Promise.settles_at <= until)
    _update(waits & (Promise.next_at > until) & settled & ~exists().where(failed), next_at=until)
    _update(waits & (Promise.next_at > until + SETTLES), next_at=until + SETTLES)


@operation
def note(claim: Claim, asked: Sequence[dict[str, Any]]) -> None:
    """Keep what was asked and answered in this try; of very many, the first and the last."""
    kept = asked if len(asked) <= MOST_EXCHANGES else [*asked[: MOST_EXCHANGES // 2], *asked[-MOST_EXCHANGES // 2 :]]
    db.session.execute(
        update(Attempt)
        .where(Attempt.promise_id == claim.id, Attempt.n == claim.attempt)
        .values(exchanges=list(kept))
        .execution_options(synchronize_session=False)
    )


@operation
def let_settle(claim: Claim) -> None:
    """The store may still be at what this try sent and got no answer to: until it has ended nobody asks, whoever says so."""
    _update((Promise.id == claim.id) & (Promise.fence == claim.fence), settles_at=clock.now() + SETTLES)


@operation
def reopen(promise_id: UUID) -> bool:
    """What was delivered is no longer there: promise it again under the same uid. False when it is open already."""
    row = db.session.get_one(Promise, promise_id, with_for_update=True)
    if row.state != "delivered":
        return False
    row.state, row.settled_at, row.reopened_at = "unknown", None, clock.now()
    row.next_at = clock.now()
    _count_anew(row)
    return True


@operation
def retry_now(promise_id: UUID) -> Promise:
    """A person says: try again. Tries count anew; the next one still looks first, and not before the store can be done
    with what was sent and not answered."""
    row = db.session.get_one(Promise, promise_id, with_for_update=True)
    if row.state in (*READY_STATES, "held", "dead"):
        row.state = "unknown" if row.attempts else "pending"
        _count_anew(row)
        row.next_at = max(clock.now(), row.settles_at or clock.now())
    return row


def _count_anew(row: Promise) -> None:
    """Neither its tries nor its age count from here; when it was promised stays what it was."""
    row.forgiven, row.excused_s = row.attempts, int((clock.now() - row.created_at).total_seconds())


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
    if not done.rowcount:  # type: ignore[attr-defined]
        return False
    db.session.execute(
        update(Attempt)
        .where(Attempt.promise_id == claim.id, Attempt.n == claim.attempt)
        .values(ended_at=clock.now(), outcome=outcome, excerpt=values.get("last_error"))
        .execution_options(synchronize_session=False)
    )
    return True


def _update(condition: Any, **values: Any) -> None:
    db.session.execute(update(Promise).where(condition).values(**values).execution_options(synchronize_session=False))


def _jitter(attempt: int) -> timedelta:
    """Full jitter: anywhere between nothing and 10 s × 2ⁿ, at most an hour."""
    most = min(FIRST_WAIT.total_seconds() * 2 ** min(attempt, 12), LONGEST_WAIT.total_seconds())
    return timedelta(seconds=random.uniform(0, most))  # noqa: S311 - spreading load, not a secret


def waiting() -> int:
    """How many promises are not kept yet."""
    return db.session.scalar(select(func.count()).select_from(Promise).where(Promise.state.in_(OPEN_STATES))) or 0


def waits_for(store: str) -> bool:
    """Whether anything waits for this store that may go now: what stands behind a held one is no probe."""
    return db.session.scalar(select(Promise.id).where(Promise.store == store, _may_go()).limit(1)) is not None


def due_now() -> bool:
    """Whether any promise could be claimed at this moment (an expired lease counts)."""
    expired = (Promise.state == "leased") & (Promise.lease_until < clock.now())
    return bool(db.session.scalar(select(exists().where(or_(expired, _is_due())))))
