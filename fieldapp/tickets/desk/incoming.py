"""Tickets that come from elsewhere with their past: number, dates, status, thread and files as they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import func, select

from fieldapp import audit, crashpoints
from fieldapp.extensions import db, operation, serialize
from fieldapp.tickets.desk.models import DeskFile, DeskNote, DeskTicket
from fieldapp.tickets.desk.operations import Intake, KeptFile
from fieldapp.tickets.desk.queries import told
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import move_promises, take_in

STEP = 500
LONGEST = {column.name: column.type.length for column in DeskTicket.__table__.columns if hasattr(column.type, "length")}
WORDS = tuple(name for name in vars(Intake(subject="")) if name not in ("subject", "text"))


@dataclass(frozen=True, kw_only=True)
class IncomingNote:
    """An entry of a thread. ``ref``: its name at the source; ``uid``: our own mark, when it was ours already."""

    ref: str
    at: datetime
    author: str
    text: str
    uid: str | None = None
    files: tuple[KeptFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A ticket of another system. ``ref``: its name there; ``words``: more fields of an Intake, by their names."""

    ref: str
    number: str
    subject: str
    text: str
    status: str
    opened_at: datetime
    changed_at: datetime
    opened_by: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[IncomingNote, ...] = ()


def mark(source: str, *names: str) -> str:
    """The key of a ticket or note of another system, at most 80 characters."""
    text = ":".join(("import", source, *names))
    return text if len(text) <= 80 else f"import:{hashlib.sha256(text.encode()).hexdigest()}"


def here(source: str, refs: Iterable[str]) -> set[str]:
    """Which tickets of another system were taken over before."""
    by_uid = {mark(source, ref): ref for ref in refs}
    return {by_uid[uid] for uid in among(DeskTicket.uid, by_uid)}


def used(numbers: Iterable[str]) -> set[str]:
    """Which of these numbers a ticket of the desk has already."""
    return set(among(DeskTicket.number, set(numbers)))


def among(column: object, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted texts that a column holds."""
    keys, found = list(wanted), list[str]()
    for start in range(0, len(keys), STEP):
        part = keys[start : start + STEP]
        found += db.session.scalars(select(column).where(column.in_(part)))  # type: ignore[call-overload,attr-defined]
    return found


@operation
def take_over(batch: Sequence[Incoming], *, source: str) -> int:
    """File these tickets with all that belongs to them, or none of them; how many were new. Twice is once.

    Our copy of each is made at once, so that it is news to nobody. A copy that we had from that very store goes over with
    its visits, and so does what still waits to be delivered to it.
    """
    serialize("desk")
    known = here(source, [each.ref for each in batch])
    change = db.session.scalar(select(func.max(DeskTicket.change))) or 0
    new = _marked_once([each for each in batch if each.ref not in known])
    for place, each in enumerate(new, start=1):
        ticket = _ticket(each, source, change + place)
        db.session.add(ticket)
        db.session.flush()
        _adopt(source, each)
        take_in(told(ticket), store="embedded", quiet=True)
    if new:
        audit.record("desk.imported", "import", source, by=None, tickets=len(new))
    crashpoints.reach("in_import")
    return len(new)


def _marked_once(batch: Sequence[Incoming]) -> list[Incoming]:
    """A mark of ours that stands in two notes (of one ticket, or of two that were merged there) stays with the first."""
    taken = set(among(DeskNote.uid, {note.uid for each in batch for note in each.notes if note.uid}))

    def once(note: IncomingNote) -> IncomingNote:
        if note.uid in taken:
            return replace(note, uid=None)
        if note.uid:
            taken.add(note.uid)
        return note

    return [replace(each, notes=tuple(once(note) for note in each.notes)) for each in batch]


def _ticket(incoming: Incoming, source: str, change: int) -> DeskTicket:
    words = {name: incoming.words.get(name) or _plain(name) for name in WORDS}
    last = incoming.notes[-1] if incoming.notes else None
    return DeskTicket(
        **words,
        number=incoming.number,
        uid=mark(source, incoming.ref),
        version=1 + len(incoming.notes),
        change=change,
        status=incoming.status,
        subject=incoming.subject,
        text=incoming.text,
        opened_by=incoming.opened_by[:80],
        opened_at=incoming.opened_at,
        changed_at=incoming.changed_at,
        changed_by=(last.author if last else incoming.opened_by)[:80],
        notes=[_note(note, incoming, source, version) for version, note in enumerate(incoming.notes, start=2)],
    )


def _plain(name: str) -> str | None:
    """What an intake says of itself when nobody was asked."""
    value: str | None = getattr(Intake(subject=""), name)
    return value


def _note(note: IncomingNote, incoming: Incoming, source: str, version: int) -> DeskNote:
    return DeskNote(
        version=version,
        uid=note.uid or mark(source, incoming.ref, note.ref),
        at=note.at,
        author=note.author[:80],
        text=note.text,
        files=[DeskFile(position=place, **vars(file)) for place, file in enumerate(note.files)],
    )


def _adopt(source: str, incoming: Incoming) -> None:
    """Our copy of the ticket at the source becomes the copy of this one."""
    copy = db.session.scalar(select(Ticket).where(Ticket.store == source, Ticket.ref == incoming.ref).with_for_update())
    if copy is None:
        return
    lane = f"{copy.store}:{copy.ref}"
    copy.store, copy.ref, copy.version, copy.merged_into = "embedded", incoming.number, "", None
    copy.changed_at = min(copy.changed_at, incoming.changed_at)
    db.session.flush()
    move_promises(lane, copy.lane)
