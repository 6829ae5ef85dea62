"""Keep promises: claim one, do what its kind asks, write down how it went. Any number of workers may run.

The claim is committed before anything goes out and the result needs the claim's fence, so a worker may die at any point
or wake up late: whoever comes next finds what was done before doing it again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event

from fieldapp import clock, crashpoints, outbox
from fieldapp.errors import FieldAppError, Invalid, NotFound, TooLarge
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.outbox import Claim
from fieldapp.records.photos import alert_missing_photos
from fieldapp.records.uploads import prune_uploads
from fieldapp.sync import operations
from fieldapp.sync.handlers import HANDLERS
from fieldapp.sync.pull import pull
from fieldapp.tickets.store import Conflict, Denied, Rejected, Retry, StoreError
from fieldapp.tickets.stores import store

POLL = timedelta(seconds=1)
PULL_EVERY = timedelta(seconds=15)
BEAT_EVERY = timedelta(seconds=10)
PHOTOS_EVERY = timedelta(minutes=10)
PERMANENT = (Rejected, Conflict, NotFound, Invalid, TooLarge)
log = logging.getLogger(__name__)


@dataclass
class Rhythm:
    """When what was last done, so that it is done again in time."""

    done: dict[str, datetime] = field(default_factory=dict)

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
    try:
        while not stop.is_set():
            if not _step(name, rhythm):
                stop.wait(POLL.total_seconds())
    finally:
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
    claim = outbox.claim(name)
    if claim is None:
        return False
    crashpoints.reach("after_claim")
    settle = _outcome(claim)
    crashpoints.reach("before_settle")
    db.session.rollback()
    if not settle():
        log.warning("lease was lost", extra={"kind": claim.kind, "uid": claim.uid})
    crashpoints.reach("after_settle")
    return True


def worker_name() -> str:
    """Host and process: unique among the workers of an installation."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


# ---- one promise ----------------------------------------------------------------------------------------


def _outcome(claim: Claim) -> Callable[[], bool]:
    """Do what the promise asks; the way to write down how it went."""
    try:
        if claim.kind not in HANDLERS:
            raise Rejected(_("Nobody here knows how to keep a promise of the kind “%(kind)s”.", kind=claim.kind))
        reference = HANDLERS[claim.kind](claim)
    except Denied as denied:
        # A person's "try again" forgives the tries so far, so waiting for credentials burns none.
        sentence = _("The ticket store does not accept our credentials: %(why)s", why=denied)
        return lambda: outbox.hold(claim, sentence)
    except PERMANENT as error:
        sentence = _sentence(error)
        return lambda: outbox.hold(claim, sentence)
    except Exception as error:
        log.exception("a promise was not kept", extra={"kind": claim.kind, "uid": claim.uid, "attempt": claim.attempt})
        sentence, after = _sentence(error), error.after if isinstance(error, Retry) else 0
        return lambda: outbox.try_again(claim, sentence, after=timedelta(seconds=after))
    return lambda: outbox.delivered(claim, reference)


def _sentence(error: Exception) -> str:
    """What people read about it. An unexpected error may carry personal data: its text goes to the log only."""
    if isinstance(error, FieldAppError):
        return error.sentence
    if isinstance(error, StoreError):
        return str(error)
    return _("Something unexpected happened (%(kind)s); the log says more.", kind=type(error).__name__)


# ---- the loop -------------------------------------------------------------------------------------------


def pull_now() -> None:
    """Read the store's changes; what goes wrong is logged and stands on the page, and the worker goes on."""
    try:
        pull(store())
    except StoreError as error:
        log.warning("the ticket store could not be read", extra={"error": str(error)})


def look_after_photos() -> None:
    """Photos that phones named and did not bring: the office is told after a day, what was begun is dropped after 30."""
    alert_missing_photos()
    prune_uploads()


def _step(name: str, rhythm: Rhythm) -> bool:
    """One turn; whatever happens in it does not end the worker."""
    try:
        if rhythm.due("beat", BEAT_EVERY):
            operations.beat(name)
        if rhythm.due("pull", PULL_EVERY):
            pull_now()
        if rhythm.due("photos", PHOTOS_EVERY):
            look_after_photos()
        return run_once(name)
    except Exception:
        log.exception("the worker stumbled", extra={"worker": name})
        return False
    finally:
        db.session.remove()
