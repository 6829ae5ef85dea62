"""Keep promises: claim one, do what its kind asks, write down how it went. Any number of workers may run.

The claim is committed before anything goes out and the result needs the claim's fence, so a worker may die at any point
or wake up late: whoever comes next finds what was done before doing it again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from threading import Event

from flask_babel import force_locale

from fieldapp import clock, crashpoints, outbox
from fieldapp.errors import FieldAppError, Invalid, NotFound, TooLarge
from fieldapp.extensions import db, operation, settings
from fieldapp.i18n import _
from fieldapp.outbox import AT_ONCE, Claim
from fieldapp.records.photos import alert_missing_photos
from fieldapp.records.uploads import prune_uploads
from fieldapp.sync import breaker, operations, reconcile, slowly
from fieldapp.sync.handlers import HANDLERS
from fieldapp.sync.hooks import prune_looks
from fieldapp.sync.pull import read_on
from fieldapp.tickets import wire
from fieldapp.tickets.store import Conflict, Denied, Rejected, Retry, StoreError
from fieldapp.tickets.stores import store
from fieldapp.tickets.wire import Exchange

POLL = timedelta(seconds=1)
MOMENT = timedelta(seconds=10)  # by which a clock may be mended without anybody's notice
PULL_EVERY = timedelta(seconds=15)
READ_FOR_S = 20.0  # well below the time after which a worker counts as silent
SLOWLY_EVERY = timedelta(minutes=1)
CHECK_EVERY = timedelta(seconds=20)  # whether somebody wants it is asked
COMPARE_EVERY = timedelta(minutes=1)  # whether it is due is asked; how often it is done, ``reconcile`` knows
BEAT_EVERY = timedelta(seconds=10)
PHOTOS_EVERY = timedelta(minutes=10)
SWEEP_EVERY = timedelta(hours=6)
READS = ("GET", "HEAD")
UNHEARD = (None, 502, 504, 520, 522, 524)  # nothing, or a gateway that did not hear the store (52x: Cloudflare's)
PERMANENT = (Rejected, Conflict, NotFound, Invalid, TooLarge)
log = logging.getLogger(__name__)


@dataclass
class Rhythm:
    """When what was last done, so that it is done again in time."""

    done: dict[str, datetime] = field(default_factory=dict)
    comparing: Generator[str] | None = None
    turned: tuple[datetime, float] | None = None

    def clock_set_by(self) -> timedelta:
        """How much the wall clock was set since the last turn, by the clock that nobody sets; nothing but a moment: zero.

        A machine that slept shows as a clock that was set forward: what was under way when it fell asleep still is.
        """
        now = clock.now(), time.monotonic()
        before, self.turned = self.turned or now, now
        by = now[0] - before[0] - timedelta(seconds=now[1] - before[1])
        return by if abs(by) > MOMENT else timedelta()

    def due(self, what: str, every: timedelta) -> bool:
        """Whether ``what`` is due now; asking counts as doing."""
        last, now = self.done.get(what), clock.now()
        if last is not None and now - last < every:
            return False
        self.done[what] = now
        return True


def run(stop: Event, name: str | None = None) -> None:
    """Work until ``stop`` is set; the promise in hand is finished first."""
    name, rhythm = name or worker_name(), Rhythm()
    log.info("worker starts", extra={"worker": name})
    settle_clock(timedelta())
    breaker.ask_now(settings.ticket_store)  # whoever starts it may have mended the credentials
    try:
        while not stop.is_set():
            if not _step(name, rhythm):
                stop.wait(POLL.total_seconds())
    finally:
        if rhythm.comparing is not None:
            rhythm.comparing.close()
        operations.leave(name)
        log.info("worker ends", extra={"worker": name})


def run_until_idle(name: str | None = None) -> int:
    """Pull once, then keep everything that is due now; how many promises were worked on."""
    name, worked = name or worker_name(), 0
    pull_now()
    while run_once(name):
        worked += 1
    return worked


def run_once(name: str) -> bool:
    """Claim the next promise, keep it and write the result; False when nothing was due."""
    if not outbox.due_now():
        db.session.rollback()
        return False
    outbox.release_expired()
    claim = outbox.claim(name, breaker.room)
    if claim is None:
        return False
    crashpoints.reach("after_claim")
    with wire.kept() as asked, wire.within(outbox.CALL.total_seconds()):
        settle = _outcome(claim, asked)
    crashpoints.reach("before_settle")
    db.session.rollback()
    try:
        _write_down(claim, settle, asked)
    except _LeaseLost:
        log.warning("lease was lost", extra={"kind": claim.kind, "uid": claim.uid})
    crashpoints.reach("after_settle")
    return True


def worker_name() -> str:
    """Host and process: unique among the workers of an installation."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


# ---- one promise ----------------------------------------------------------------------------------------


def _outcome(claim: Claim, asked: Sequence[Exchange]) -> Callable[[], bool]:
    """Do what the promise asks; the way to write down how it went."""
    try:
        if claim.kind not in HANDLERS:
            raise Rejected(_("Nobody here knows how to keep a promise of the kind “%(kind)s”.", kind=claim.kind))
        reference = HANDLERS[claim.kind](claim)
    except PERMANENT as error:
        sentence, answered = _sentence(error), any(each.status is not None for each in asked)
        return lambda: _answered(claim, answered) and outbox.hold(claim, sentence)
    except Exception as error:
        facts = {"kind": claim.kind, "uid": claim.uid, "attempt": claim.attempt, "error": _sentence(error)}
        log.warning("a promise was not kept", extra=facts, exc_info=not isinstance(error, StoreError))
        failed = error  # the name of an except clause ends with it
        return lambda: _not_kept(claim, failed, asked)
    return lambda: _answered(claim, True) and outbox.delivered(claim, reference)


class _LeaseLost(Exception):
    """Somebody else holds the fence now: nothing that this worker knows may be written."""


@operation
def _write_down(claim: Claim, settle: Callable[[], bool], asked: Sequence[Exchange]) -> None:
    """Settle, say what it means for the store, and keep what was asked and answered: all of it, or nothing.

    The fence comes last, so that rows are taken in the order in which everybody takes them: the store's, then promises'.
    Raises _LeaseLost.
    """
    if asked:
        outbox.note(claim, [asdict(each) for each in asked])
    if not settle():
        raise _LeaseLost
    if _unheard(asked):
        outbox.let_settle(claim)


def _answered(claim: Claim, answered: bool) -> bool:
    """The store answered in its own words, be it a refusal: it is well. Always true, so that it reads in a row."""
    if claim.store and answered:
        breaker.well(claim.store)
    return True


def _not_kept(claim: Claim, error: Exception, asked: Sequence[Exchange] = ()) -> bool:
    """What concerns the store as a whole is none of this promise's tries; the rest is tried again."""
    until = breaker.told(claim.store, error) if claim.store else None
    sentence, settles = _sentence(error), outbox.SETTLES if _unheard(asked) else timedelta()
    if isinstance(error, Denied):
        sentence = _("The ticket store does not accept our credentials: %(why)s", why=error)
        if until is None:
            return outbox.hold(claim, sentence)
    if until is not None:
        return outbox.put_back(claim, sentence, until=max(until, clock.now() + settles))
    after = timedelta(seconds=error.after if isinstance(error, Retry) else 0)
    return outbox.try_again(claim, sentence, after=max(after, settles))


def _unheard(asked: Sequence[Exchange]) -> bool:
    """Something was written and no answer of the store was heard: it may still be at it, or have it behind a gateway."""
    return any(each.method not in READS and each.status in UNHEARD for each in asked)


def _sentence(error: Exception) -> str:
    """What people read about it. An unexpected error may carry personal data: its text goes to the log only."""
    if isinstance(error, FieldAppError):
        return error.sentence
    if isinstance(error, StoreError):
        return str(error)
    return _("Something unexpected happened (%(kind)s); the log says more.", kind=type(error).__name__)


# ---- the loop -------------------------------------------------------------------------------------------


def pull_now() -> bool:
    """Read the store's changes for a while; whether there are more of them.

    What goes wrong is logged and stands on the page, and the worker goes on.
    """
    theirs = store()
    if not breaker.may_read(theirs.name):
        return False
    try:
        progress = read_on(theirs, seconds=READ_FOR_S)
    except StoreError as error:
        breaker.told(theirs.name, error)
        log.warning("the ticket store could not be read", extra={"error": str(error)})
        return False
    breaker.read_well(theirs.name)
    return progress.more


def read_slowly() -> None:
    """One small step of what does not hurry: customers' histories, the pass that looks for deleted tickets."""
    theirs = store()
    if not breaker.may_read(theirs.name):
        return
    try:
        slowly.go_on(theirs)
    except StoreError as error:
        breaker.told(theirs.name, error)
        log.warning("the ticket store could not be read through", extra={"error": str(error)})


def check_store() -> None:
    """Look whether the live store fits our words, when somebody wants to know or an hour has passed."""
    theirs = store()
    if not breaker.may_read(theirs.name) or not operations.take_check(theirs.name):
        return
    with force_locale(settings.locale):
        try:
            operations.keep_check(theirs.name, theirs.check())
        except StoreError as error:
            breaker.told(theirs.name, error)
            operations.keep_check(theirs.name, (), str(error))


def compare_on(rhythm: Rhythm) -> bool:
    """One step of comparing what was delivered with what the store holds; whether there is another one."""
    if rhythm.comparing is None and not rhythm.due("compare", COMPARE_EVERY):
        return False
    theirs = store()
    if breaker.room(theirs.name) < AT_ONCE:
        return False
    try:
        if rhythm.comparing is None:
            run = reconcile.begin(theirs.name)
            rhythm.comparing = reconcile.steps(theirs, run) if run else None
        return rhythm.comparing is not None and _went_on(rhythm, rhythm.comparing)
    except StoreError as error:
        rhythm.comparing = None
        breaker.told(theirs.name, error)
        log.warning("the ticket store could not be compared", extra={"error": str(error)})
        return False


def _went_on(rhythm: Rhythm, comparing: Generator[str]) -> bool:
    if next(comparing, None) is None:
        rhythm.comparing = None
        return False
    return True


def settle_clock(by: timedelta) -> None:
    """Before anything is taken: what runs, runs on, whatever the clock says now."""
    outbox.clock_was_set(by)
    breaker.clock_was_set()


def sweep() -> None:
    """Take away what grows with every message and every quarter of an hour, and proves nothing."""
    prune_looks()
    reconcile.prune_runs()


def look_after_photos() -> None:
    """Photos that phones named and did not bring: the office is told after a day, what was begun is dropped after 30."""
    alert_missing_photos()
    prune_uploads()


def _step(name: str, rhythm: Rhythm) -> bool:
    """One turn; whatever happens in it does not end the worker."""
    try:
        if by := rhythm.clock_set_by():
            log.warning("the clock was set", extra={"seconds": int(by.total_seconds())})
            rhythm.done.clear()
            settle_clock(by)
        if rhythm.due("beat", BEAT_EVERY):
            operations.beat(name)
        if rhythm.due("pull", PULL_EVERY) and pull_now():
            del rhythm.done["pull"]  # a delivery and a beat, then the next of them
        if rhythm.due("slowly", SLOWLY_EVERY):
            read_slowly()
        if rhythm.due("check", CHECK_EVERY):
            check_store()
        if rhythm.due("sweep", SWEEP_EVERY):
            sweep()
        if rhythm.due("photos", PHOTOS_EVERY):
            look_after_photos()
        compared = compare_on(rhythm)
        return run_once(name) or compared
    except Exception:
        log.exception("the worker stumbled", extra={"worker": name})
        return False
    finally:
        db.session.remove()
