"""What a store knows of a customer: asked when somebody wants it, kept with its time, shown from what is kept.

``CustomerHistory.tickets`` is a list of ``{ref, number, subject, status, opened, updated, text, notes}``, newest first; the
times are ISO 8601, ``notes`` the newest few of ``{at, author, text, files}``, oldest first, or None when they were not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from fieldapp import clock
from fieldapp.customers.models import Customer
from fieldapp.extensions import db, operation, serialize, settings
from fieldapp.tickets import wire
from fieldapp.tickets.models import CustomerHistory
from fieldapp.tickets.store import StoreError, StoreNote, StoreTicket, TicketStore

PATIENCE_S = 5.0  # a person waits for it
AGAIN_AFTER = timedelta(seconds=10)  # a second click asks nobody
MOST_TICKETS, MOST_THREADS, MOST_NOTES = 10, 5, 5
LONGEST_TEXT = 400


@dataclass(frozen=True)
class KeptNote:
    """An entry of a thread, shortened; ``files`` are their names."""

    at: datetime
    author: str
    text: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class KeptTicket:
    """A ticket as the store told it. ``notes`` None: they were not read."""

    number: str
    subject: str
    status: str
    opened: datetime
    updated: datetime
    text: str
    notes: tuple[KeptNote, ...] | None


@dataclass(frozen=True)
class Kept:
    """A customer's tickets as of ``asked_at`` (None: never answered); ``error``: why the last question was not."""

    tickets: tuple[KeptTicket, ...] = ()
    asked_at: datetime | None = None
    error: str = ""


def kept(customer_id: UUID) -> Kept:
    """What is kept of a customer's tickets; the store is not asked."""
    row = _row(settings.ticket_store, customer_id)
    if row is None:
        return Kept()
    return Kept(tuple(_ticket(each) for each in row.tickets), row.asked_at, row.error)


def ask(store: TicketStore, customer: Customer, *, seconds: float = PATIENCE_S) -> bool:
    """Ask the store and keep what it says; False when it was not answered, and what was kept before stays.

    Takes no longer than ``seconds``, and no transaction is open meanwhile.
    """
    key, number = customer.id, customer.number
    row = _row(store.name, key)
    if row is not None and clock.now() - row.tried_at < AGAIN_AFTER:
        return not row.error
    db.session.rollback()
    try:
        with wire.within(seconds):
            tickets = _asked(store, number)
    except StoreError as error:
        _keep(store.name, key, None, str(error))
        return False
    _keep(store.name, key, tickets, "")
    return True


def _asked(store: TicketStore, number: str) -> list[dict[str, Any]]:
    found = store.history(number, MOST_TICKETS)[:MOST_TICKETS]
    return [
        _told(ticket, _thread(store, ticket.ref) if place < MOST_THREADS else None)
        for place, ticket in enumerate(found)
    ]


def _thread(store: TicketStore, ref: str) -> tuple[StoreNote, ...] | None:
    """The newest notes; None when the store gives none in the time that is left: the list itself is worth keeping."""
    try:
        return store.thread(ref)[-MOST_NOTES:]
    except StoreError:
        return None


def _told(ticket: StoreTicket, notes: tuple[StoreNote, ...] | None) -> dict[str, Any]:
    return {
        "ref": ticket.ref,
        "number": ticket.fields.get("number", ticket.ref),
        "subject": _short(ticket.subject),
        "status": ticket.status,
        "opened": ticket.opened.isoformat(),
        "updated": ticket.updated.isoformat(),
        "text": _short(ticket.text),
        "notes": None if notes is None else [_note(note) for note in notes],
    }


def _note(note: StoreNote) -> dict[str, Any]:
    files = [file.name for file in note.files]
    return {"at": note.at.isoformat(), "author": note.author, "text": _short(note.text), "files": files}


def _short(text: str) -> str:
    text = text.replace("\x00", "").strip()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _ticket(told: dict[str, Any]) -> KeptTicket:
    notes = None if told["notes"] is None else tuple(_kept_note(note) for note in told["notes"])
    opened, updated = datetime.fromisoformat(told["opened"]), datetime.fromisoformat(told["updated"])
    return KeptTicket(told["number"], told["subject"], told["status"], opened, updated, told["text"], notes)


def _kept_note(told: dict[str, Any]) -> KeptNote:
    return KeptNote(datetime.fromisoformat(told["at"]), told["author"], told["text"], tuple(told["files"]))


# ---- keeping --------------------------------------------------------------------------------------------


@operation
def _keep(store: str, customer_id: UUID, tickets: list[dict[str, Any]] | None, error: str) -> None:
    serialize(f"history:{store}:{customer_id}")
    now = clock.now()
    row = _row(store, customer_id)
    if row is None:
        row = CustomerHistory(store=store, customer_id=customer_id, tickets=[])
        db.session.add(row)
    row.tried_at, row.error = now, error
    if tickets is not None:
        row.tickets, row.asked_at = tickets, now


def _row(store: str, customer_id: UUID) -> CustomerHistory | None:
    mine = (CustomerHistory.store == store) & (CustomerHistory.customer_id == customer_id)
    return db.session.scalar(select(CustomerHistory).where(mine))
