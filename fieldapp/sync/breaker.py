"""The breaker of a ticket store: when nothing comes back, all workers leave it alone for a while, then ask one thing.

Five calls in a row without an answer open it for a minute, doubled up to a quarter of an hour while the probes fail.
Refused credentials open it too, and half-hourly something is tried, or at once when a person says so. A store that asks us
to send less gets the pause that it asks for. Nothing of this costs a promise one of its tries or any of its time.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.extensions import db, operation, serialize
from fieldapp.outbox import AT_ONCE
from fieldapp.sync.models import StoreBreaker
from fieldapp.tickets.store import Denied, StoreError, Throttled, Unreachable

FAILURES = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 15 * 60
CREDENTIALS_WAIT_S = 30 * 60
OURS = "embedded"  # it lies in our own database: there is nobody to spare
SHORTEST_PAUSE_S = 10  # for a store that says "less" and not for how long


def room(store: str) -> int:
    """How many promises of this store may be at work at once: none while it is left alone, one as a probe."""
    if store == OURS:
        return sys.maxsize
    row = db.session.get(StoreBreaker, store, populate_existing=True)
    return AT_ONCE if row is None else row.room


def may_read(store: str) -> bool:
    """Whether the store may be asked for its changes: promises that wait go first when only a probe is allowed."""
    row = db.session.get(StoreBreaker, store, populate_existing=True)
    allowed = row is None or (row.room > 0 and not (row.open and outbox.waits_for(store)))
    db.session.rollback()
    return allowed


@operation
def told(store: str, error: Exception) -> datetime | None:
    """What an error says of the whole store; until when nothing is asked of it now (None: this error concerns one thing)."""
    if isinstance(error, Denied):
        return _open(_row(store), "credentials", error, CREDENTIALS_WAIT_S)
    if isinstance(error, Throttled):
        return _pause(_row(store), error, max(error.after, SHORTEST_PAUSE_S))
    if isinstance(error, Unreachable):
        return _failed(_row(store), error)
    return None


@operation
def well(store: str) -> None:
    """The store answered as it should: everything may go to it again."""
    row = db.session.get(StoreBreaker, store, populate_existing=True)
    if row is not None and not row.quiet:
        _close(_row(store))


@operation
def read_well(store: str) -> None:
    """Its changes could be read. That closes the breaker only where no promise waits to try the harder thing, writing."""
    if not outbox.waits_for(store):
        well(store)


@operation
def ask_now(store: str) -> None:
    """A person, or a worker that starts, wants to know: the next thing that is due is the probe."""
    row = db.session.get(StoreBreaker, store, with_for_update=True, populate_existing=True)
    if row is not None:
        row.probe_at = clock.now() if row.open else None
        row.paused_until = None
        outbox.hasten(store, clock.now())


@operation
def clock_was_set() -> None:
    """No store is left alone for longer than it would have been, though its moments lie far ahead since."""
    now = clock.now()
    for row in db.session.scalars(select(StoreBreaker).order_by(StoreBreaker.store).with_for_update()):
        row.opened_at = min(row.opened_at, now) if row.opened_at else None
        row.probe_at = min(row.probe_at, now + timedelta(seconds=row.wait_s)) if row.probe_at else None
        row.paused_until = min(row.paused_until, now + timedelta(seconds=LONGEST_WAIT_S)) if row.paused_until else None


# ---- open, wait, close ----------------------------------------------------------------------------------


def _failed(row: StoreBreaker, error: Unreachable) -> datetime | None:
    row.failures += 1
    row.sentence = str(error)
    if error.after:
        _pause(row, error, error.after)
    if not row.open and row.failures < FAILURES:
        return None
    if row.open and row.asks_again_at:  # it was sent before the others found the store silent
        return row.asks_again_at
    return _open(row, "unreachable", error, min(row.wait_s * 2, LONGEST_WAIT_S) if row.open else FIRST_WAIT_S)


def _open(row: StoreBreaker, why: str, error: StoreError, wait_s: int) -> datetime:
    row.opened_at = row.opened_at or clock.now()
    row.why, row.sentence, row.wait_s = why, str(error), wait_s
    row.probe_at = clock.now() + timedelta(seconds=wait_s)
    outbox.hasten(row.store, row.probe_at)
    return row.asks_again_at or row.probe_at


def _pause(row: StoreBreaker, error: StoreError, seconds: int) -> datetime:
    """The longest of what was asked for; the time that it adds is nobody's fault."""
    now = clock.now()
    until, before = now + timedelta(seconds=seconds), max(row.paused_until or now, now)
    row.paused_until, row.sentence = max(until, before), str(error)
    if not row.open:  # while it is open, the whole time is excused when it closes
        outbox.excuse(row.store, int((row.paused_until - before).total_seconds()))
    return row.paused_until


def _close(row: StoreBreaker) -> None:
    if row.opened_at is not None:
        outbox.excuse(row.store, int((clock.now() - row.opened_at).total_seconds()))
        outbox.hasten(row.store, clock.now())
    row.failures, row.wait_s = 0, 0
    row.opened_at = row.why = row.sentence = row.probe_at = None


def _row(store: str) -> StoreBreaker:
    """Held until the operation ends, and taken before any promise of the store: in one order nobody waits in a circle."""
    serialize(f"breaker of {store}")
    row = db.session.get(StoreBreaker, store, with_for_update=True, populate_existing=True)
    if row is None:
        row = StoreBreaker(store=store, failures=0, wait_s=0)
        db.session.add(row)
        db.session.flush()
    return row
