"""What people decide about deliveries and about the store's words, and the workers' signs of life."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select

from fieldapp import audit, clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, operation, serialize
from fieldapp.i18n import _
from fieldapp.offline.operations import Receipt
from fieldapp.outbox import Promise
from fieldapp.sync import breaker
from fieldapp.sync.models import StoreBreaker, StoreCheck, WorkerBeat
from fieldapp.sync.vocabulary import SECTIONS
from fieldapp.tickets.mapping import BadMapping
from fieldapp.tickets.store import Flaw
from fieldapp.tickets.wording import StoreWord, mapping_of

FORGOTTEN_AFTER = timedelta(days=1)
LONGEST_REASON = 500
LONGEST_WORD, LONGEST_MEANING = 120, 200
CHECKED_EVERY = timedelta(hours=1)


@operation
def try_again(promise_id: UUID, *, by: User) -> Receipt:
    """Keep this promise now; tries count anew (raises NotFound, NotAllowedNow)."""
    if store := db.session.scalar(select(Promise.store).where(Promise.id == promise_id)):
        breaker.ask_now(store)  # first, as workers do: the store's row, then its promises'
    promise = _undecided(promise_id)
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


# ---- words of the store ----------------------------------------------------------------------------------


@operation
def replace_word(store: str, section: str, word: str, means: str, *, by: User) -> Receipt:
    """Lay one entry over the mapping's file; it holds for the next thing that is sent (raises Invalid, by field)."""
    word, means = word.strip(), means.strip()
    _check_entry(section, word, means)
    row = _word(store, section, word) or StoreWord(store=store, section=section, word=word)
    row.means, row.by, row.at = means, by.id, clock.now()
    db.session.add(row)
    want_check(store)
    audit.record("mapping.replaced", "store", store, by=by.id, section=section, word=word, means=means)
    return {"section": section, "word": word}


@operation
def take_back_word(store: str, section: str, word: str, *, by: User) -> Receipt:
    """Let the file's entry, or the adapter's own, hold again (raises NotFound)."""
    row = _word(store, section, word)
    if row is None:
        raise NotFound(_("This entry was not replaced."))
    db.session.delete(row)
    want_check(store)
    audit.record("mapping.taken_back", "store", store, by=by.id, section=section, word=word)
    return {"section": section, "word": word}


@operation
def want_check(store: str) -> Receipt:
    """Have a worker look whether the live store fits our words."""
    _check_row(store).wanted_at = clock.now()
    return {"store": store}


@operation
def take_check(store: str) -> bool:
    """Whether somebody wants a look at the store, or the last one is old; whoever gets True looks."""
    row = _check_row(store)
    due = row.wanted_at is not None or row.checked_at is None or clock.now() - row.checked_at > CHECKED_EVERY
    if due:
        row.wanted_at, row.checked_at = None, clock.now()
    return due


@operation
def keep_check(store: str, flaws: Sequence[Flaw], error: str | None = None) -> None:
    """What the look found."""
    row = _check_row(store)
    row.flaws, row.error = [{"says": flaw.says, "mend": flaw.mend} for flaw in flaws], error
    row.checked_at = clock.now()


def _check_entry(section: str, word: str, means: str) -> None:
    if section not in SECTIONS:
        raise Invalid(_("There is no such part of the mapping."), fields={"section": _("There is no such part.")})
    if len(word) > LONGEST_WORD or (not word and section != "place"):
        raise Invalid(_("Write which word."), fields={"word": _("Write which word.")})
    if len(means) > LONGEST_MEANING or (not means and section != "fields"):
        raise Invalid(_("Write what stands for it."), fields={"means": _("Write what stands for it.")})
    try:
        mapping_of([(section, word, means)])
    except BadMapping as error:
        raise Invalid(_("This is none of our words."), fields={"word": str(error)}) from error


def _word(store: str, section: str, word: str) -> StoreWord | None:
    mine = select(StoreWord).where(StoreWord.store == store, StoreWord.section == section, StoreWord.word == word)
    return db.session.scalar(mine.with_for_update())


def _check_row(store: str) -> StoreCheck:
    serialize(f"check of {store}")
    row = db.session.get(StoreCheck, store, populate_existing=True)
    if row is None:
        row = StoreCheck(store=store, flaws=[])
        db.session.add(row)
    return row


# ---- decisions -------------------------------------------------------------------------------------------


@operation
def try_all_again(*, by: User) -> Receipt:
    """Keep everything that was held or given up, for example once the store's credentials are mended."""
    undecided = Promise.state.in_(("held", "dead"))
    named = select(Promise.store).where(undecided, Promise.store.is_not(None)).distinct().order_by(Promise.store)
    for store in db.session.scalars(named).all():
        breaker.ask_now(store or "")
    keys = db.session.scalars(select(Promise.id).where(undecided).order_by(Promise.id).with_for_update()).all()
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
