"""What people decide about deliveries, and the workers' signs of life."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select

from fieldapp import audit, clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.offline.operations import Receipt
from fieldapp.outbox import Promise
from fieldapp.sync import breaker
from fieldapp.sync.models import StoreBreaker, WorkerBeat

FORGOTTEN_AFTER = timedelta(days=1)
LONGEST_REASON = 500


@operation
def try_again(promise_id: UUID, *, by: User) -> Receipt:
    """Keep this promise now; tries count anew (raises NotFound, NotAllowedNow)."""
    promise = _undecided(promise_id)
    if promise.store:
        breaker.ask_now(promise.store)
    outbox.retry_now(promise.id)
    audit.record("delivery.retried", "outbox", promise.id, by=by.id, kind=promise.kind)
    return {"delivery": str(promise.id), "state": promise.state}


@operation
def ask_now(store: str, *, by: User) -> Receipt:
    """Ask a store that is left alone at once, for example when its credentials are mended (raises NotFound)."""
    if db.session.get(StoreBreaker, store) is None:
        raise NotFound(_("This store is not left alone."))
    breaker.ask_now(store)
    audit.record("store.probed", "store", store, by=by.id)
    return {"store": store}


@operation
def try_all_again(*, by: User) -> Receipt:
    """Keep everything that was held or given up, for example once the store's credentials are mended."""
    query = select(Promise.id).where(Promise.state.in_(("held", "dead"))).order_by(Promise.id)
    keys = list(db.session.scalars(query))
    for key in keys:
        try_again(key, by=by)
    return {"deliveries": len(keys)}


@operation
def skip(promise_id: UUID, reason: str, *, by: User) -> Receipt:
    """Leave this promise, with a reason that stays on the page; what waits behind it goes on.

    Raises Invalid without a reason, NotFound, NotAllowedNow.
    """
    reason = reason.strip()
    if not reason:
        raise Invalid(_("Say why this is left."), fields={"reason": _("Say why this is left.")})
    promise = _undecided(promise_id)
    outbox.skip(promise.id, reason[:LONGEST_REASON])
    audit.record("delivery.skipped", "outbox", promise.id, by=by.id, kind=promise.kind)
    return {"delivery": str(promise.id), "state": promise.state}


def _undecided(promise_id: UUID) -> Promise:
    promise = db.session.get(Promise, promise_id, with_for_update=True, populate_existing=True)
    if promise is None:
        raise NotFound(_("There is no such delivery."))
    if promise.state == "leased":
        raise NotAllowedNow(_("This is being sent at this moment. Look again in a minute."))
    if not promise.open:
        raise NotAllowedNow(_("This is settled already."))
    return promise


# ---- signs of life --------------------------------------------------------------------------------------


@operation
def beat(name: str) -> None:
    """Say that the worker lives; rows of workers that died long ago go."""
    now = clock.now()
    db.session.execute(delete(WorkerBeat).where(WorkerBeat.seen_at < now - FORGOTTEN_AFTER))
    row = db.session.get(WorkerBeat, name, populate_existing=True)
    if row is None:
        db.session.add(WorkerBeat(name=name, started_at=now, seen_at=now))
    else:
        row.seen_at = now


@operation
def leave(name: str) -> None:
    """Say that the worker ended in good order."""
    db.session.execute(delete(WorkerBeat).where(WorkerBeat.name == name))
