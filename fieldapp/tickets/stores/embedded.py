"""The embedded ticket store as the app sees it: the same five methods as any other, on the desk's own tables."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fieldapp.errors import FieldAppError, NotFound
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.storage import blobs
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.desk import operations as desk
from fieldapp.tickets.desk.models import DeskNote, DeskTicket
from fieldapp.tickets.desk.operations import Entry, Intake, KeptFile
from fieldapp.tickets.desk.queries import ASKED, told
from fieldapp.tickets.store import (
    Caps,
    Change,
    Conflict,
    Flaw,
    Hint,
    NewFile,
    NewTicket,
    Page,
    Receipt,
    Rejected,
    Retry,
    StoreFile,
    StoreNote,
    StoreTicket,
)


class EmbeddedStore:
    """Tickets in the app's own database. A push is one transaction; the uid is unique, so find and write cannot race."""

    name = "embedded"
    caps = Caps(delta="cursor", find="unique", guard="match", atomic=True)

    def __init__(self, _connection: Connection | None = None) -> None:
        """It lies in our own database: there is nothing to connect to."""

    def changes(self, cursor: str, limit: int) -> Page:
        after = _number(cursor)
        query = select(DeskTicket).where(DeskTicket.change > after).order_by(DeskTicket.change).limit(limit + 1)
        with _reading() as session:
            rows = list(session.scalars(query))
            taken = rows[:limit]
            last = taken[-1].change if taken else after
            return Page(tickets=tuple(told(row) for row in taken), cursor=str(last), more=len(rows) > limit)

    def ticket(self, ref: str) -> StoreTicket:
        with _reading() as session:
            row = session.scalar(select(DeskTicket).where(DeskTicket.number == ref))
            if row is None:
                raise Rejected(_("There is no ticket %(number)s.", number=ref))
            return told(row)

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        query = select(DeskTicket).where(DeskTicket.customer_number == customer)
        query = query.order_by(DeskTicket.opened_at.desc(), DeskTicket.id.desc()).limit(limit)
        with _reading() as session:
            return tuple(told(row) for row in session.scalars(query))

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        with _reading() as session:
            row = session.scalar(select(DeskTicket).where(DeskTicket.number == ticket))
            if row is None:
                raise Rejected(_("There is no ticket %(number)s.", number=ticket))
            return tuple(_store_note(note) for note in row.notes)

    def content(self, file: StoreFile) -> bytes:
        try:
            return blobs.get(file.ref)
        except NotFound as error:
            raise Rejected(error.sentence) from error

    def find(self, uid: str, ticket: str) -> Receipt | None:
        query = select(DeskNote).join(DeskTicket).where(DeskNote.uid == uid, DeskTicket.number == ticket)
        with _reading() as session:
            note = session.scalar(query)
            return _receipt(note) if note else None

    def push(self, change: Change) -> Receipt:
        # Before the transaction: a blob may be put any number of times, and nobody waits for the disk under the lock.
        kept = tuple(_keep(file) for file in change.files)
        receipt, left = _written(change, kept)
        if left:
            sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
            raise Conflict(sentence, receipt=receipt)
        if not receipt.complete:
            raise Retry(_("The note is in, but its files cannot be read back yet."))
        return receipt

    def create(self, new: NewTicket) -> StoreTicket:
        return _filed(new)

    def check(self) -> tuple[Flaw, ...]:
        try:
            with _reading() as session:
                session.scalar(select(func.max(DeskTicket.change)))
            blobs.check()
        except Exception as error:
            raise Retry(_("The ticket desk cannot be read or its storage not written: %(why)s", why=error)) from error
        return ()

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        raise Rejected(_("The embedded ticket desk sends no webhooks: its changes are read directly."))


# ---- writing --------------------------------------------------------------------------------------------


@operation
def _written(change: Change, kept: tuple[KeptFile, ...]) -> tuple[Receipt, bool]:
    """The receipt read back, and whether the status was left to a person."""
    entry = Entry(
        uid=change.uid,
        author=change.author,
        text=change.note,
        files=kept,
        status=change.status,
        base=None if change.base is None else _number(change.base),
    )
    try:
        note = desk.add_entry(change.ticket, entry)
    except FieldAppError as error:
        raise Rejected(error.sentence) from error
    if note.ticket.number != change.ticket:
        raise Rejected(_("This entry already stands in ticket %(number)s.", number=note.ticket.number))
    db.session.refresh(note)
    return _receipt(note), note.left_status is not None


@operation
def _filed(new: NewTicket) -> StoreTicket:
    words = {name: new.fields[name] for name in ASKED if new.fields.get(name)}
    intake = Intake(
        subject=new.subject,
        text=new.text,
        customer_number=new.customer,
        asset_serial=new.asset,
        contact_name=new.fields.get("contact", ""),
        **words,
    )
    try:
        return told(desk.file_ticket(intake, uid=new.uid, opened_by=new.fields.get("opened_by", "")))
    except FieldAppError as error:
        raise Rejected(error.sentence) from error


def _keep(file: NewFile) -> KeptFile:
    sha256 = blobs.put(file.content)
    return KeptFile(name=file.name, media_type=file.media_type, size=len(file.content), sha256=sha256)


# ---- reading --------------------------------------------------------------------------------------------


def _reading() -> Session:
    """A session of its own, as if the store were another machine: what the caller has open stays out of it."""
    return Session(db.engine)


def _store_note(note: DeskNote) -> StoreNote:
    files = tuple(
        StoreFile(name=file.name, media_type=file.media_type, size=file.size, sha256=file.sha256, ref=file.sha256)
        for file in note.files
    )
    return StoreNote(ref=_ref(note), at=note.at, author=note.author, text=note.text, uid=note.uid, files=files)


def _receipt(note: DeskNote) -> Receipt:
    """Complete when the status was not left to a person and every file's content can be read back."""
    there = all(_readable(file.sha256) for file in note.files)
    return Receipt(
        uid=note.uid or "", ticket=note.ticket.number, ref=_ref(note), complete=note.left_status is None and there
    )


def _readable(sha256: str) -> bool:
    try:
        blobs.get(sha256)
    except FieldAppError:
        return False
    return True


def _ref(note: DeskNote) -> str:
    return f"{note.ticket.number}#{note.version}"


def _number(text: str) -> int:
    """A version or cursor of ours; anything else matches nothing and starts from the beginning."""
    return int(text) if text.isdigit() else 0
