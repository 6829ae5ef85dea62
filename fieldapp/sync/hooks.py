"""What a ticket store tells by itself: that a ticket changed. A message is a hint and no more: its signature is checked, it
counts once, and the worker asks the store for the ticket. Nothing that is heard here ever makes us write there.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta

from flask import Blueprint, Response, jsonify, make_response, request
from sqlalchemy import String, delete, exists, select
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp import clock, outbox
from fieldapp.errors import FieldAppError, NotFound
from fieldapp.extensions import Base, db, operation, serialize, settings
from fieldapp.i18n import _
from fieldapp.outbox import READY_STATES, Claim, Promise
from fieldapp.security import signed_by_sender
from fieldapp.sync import echoes, ended
from fieldapp.tickets.store import Denied, Hint, Rejected
from fieldapp.tickets.stores import named

LARGEST = 1024 * 1024
FORGOTTEN_AFTER = timedelta(days=30)  # no store sends a message again after so long
LONGEST_REF = 60
blueprint = Blueprint("hooks", __name__)
log = logging.getLogger(__name__)


class Unproven(FieldAppError):
    """The message does not prove who sent it."""

    status, code = 401, "unproven"


class HeardHint(Base):
    """A hint that was taken, by the hash of its message's name and its ticket."""

    __tablename__ = "heard_hint"

    store: Mapped[str] = mapped_column(String(20), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    heard_at: Mapped[datetime] = mapped_column(index=True)


@blueprint.post("/hooks/<store>")
@signed_by_sender
def hear(store: str) -> Response:
    """202 for what the configured store signed, whether it says anything to us or not; 401 for everything else."""
    if store != settings.ticket_store:
        raise NotFound(_("There is no such page."))
    request.max_content_length = LARGEST
    body = request.get_data()
    taken = take(store, _believed(store, body))
    return make_response(jsonify(taken=taken), 202)


def _believed(store: str, body: bytes) -> tuple[Hint, ...]:
    if not settings.store_hook_secret:
        raise Unproven(_("No webhooks are taken here."))
    try:
        return named(store).heard(dict(request.headers), body)
    except Denied as error:
        log.warning("webhook refused", extra={"store": store, "why": str(error)})
        raise Unproven(_("The message does not prove that it comes from the ticket store.")) from error
    except Rejected as error:
        # It is theirs. A refusal would only make them send it again, and switch us off in the end.
        log.info("webhook says nothing to us", extra={"store": store, "why": str(error)})
        return ()


@operation
def take(store: str, hints: tuple[Hint, ...]) -> int:
    """Promise to look at each ticket, once for each message; how many hints were new."""
    if not hints:
        return 0
    serialize(f"hints of {store}")
    db.session.execute(delete(HeardHint).where(HeardHint.heard_at < clock.now() - FORGOTTEN_AFTER))
    return sum(_take(store, hint) for hint in hints)


def _take(store: str, hint: Hint) -> bool:
    digest = hashlib.sha256(f"{hint.id}\n{hint.ticket}".encode()).hexdigest()
    if db.session.get(HeardHint, (store, digest)) is not None:
        return False
    db.session.add(HeardHint(store=store, sha256=digest, heard_at=clock.now()))
    if not 0 < len(hint.ticket) <= LONGEST_REF:
        log.warning("webhook names no ticket", extra={"store": store, "length": len(hint.ticket)})
        return False
    _promise(store, hint.ticket)
    return True


def _promise(store: str, ref: str) -> None:
    """A lane of its own: looking need not wait until everything is written. One look is enough for all that waits for it."""
    lane = f"hint:{store}:{ref}"
    waits = exists().where(Promise.lane == lane, Promise.state.in_(READY_STATES))
    if not db.session.scalar(select(waits)):
        outbox.promise("ticket_hinted", {"store": store, "ticket": ref}, lane=lane, store=store)


def prune_looks() -> None:
    """What was looked up long ago says nothing any more."""
    outbox.forget("ticket_hinted", clock.now() - FORGOTTEN_AFTER)


def look(claim: Claim) -> str | None:
    """Ask the store for the ticket that it hinted at, and take in what it says (``ticket_hinted``)."""
    name, ref = claim.payload["store"], claim.payload["ticket"]
    if name != settings.ticket_store:
        return None  # the installation has changed its store since
    store = named(name)
    db.session.rollback()
    try:
        told = store.ticket(ref)
    except Rejected as error:
        log.info("hint at a ticket that is not there", extra={"store": name, "ticket": ref, "why": str(error)})
        return None
    echoes.take_in(store, told)
    ended.explain(name)
    return told.version
