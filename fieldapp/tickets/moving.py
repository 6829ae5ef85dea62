"""Moving a company's tickets into the desk, out of a file or out of another store: a few at a time, each once.

Whatever stops it, the same command goes on where it was: what is there already is not filed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from fieldapp.errors import FieldAppError
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.storage import blobs
from fieldapp.tickets.desk import incoming
from fieldapp.tickets.desk.incoming import LONGEST, WORDS, Incoming, IncomingNote
from fieldapp.tickets.desk.operations import KeptFile
from fieldapp.tickets.models import CHANNELS, PRIORITIES, STATUSES, TYPES, PullCursor
from fieldapp.tickets.store import Page, Rejected, Retry, StoreError, StoreFile, StoreNote, StoreTicket, TicketStore

T = TypeVar("T")
BATCH, PAGE = 50, 100
MOST_PAGES = 100_000
LONGEST_NAME = 200  # of a file
TRIES, LONGEST_PAUSE_S = 6, 300
KNOWN = {"channel": CHANNELS, "type": TYPES, "priority": PRIORITIES}
Say = Callable[[str], None]


@dataclass
class Summary:
    """What became of the tickets. ``problems``: one sentence for each thing that a person should look at."""

    read: int = 0
    new: int = 0
    here: int = 0
    left: int = 0
    notes: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)

    def problem(self, where: str, sentence: str) -> None:
        self.problems.append(f"{where}: {sentence}")


# ---- from a file ------------------------------------------------------------------------------------------


def from_rows(
    tickets: Sequence[Incoming], *, source: str, dry_run: bool, say: Say, loaded: Callable[[Incoming], Incoming]
) -> Summary:
    """File what a file told. ``loaded`` brings a ticket's files into the storage, just before it is filed."""
    summary = Summary(read=len(tickets))
    for batch in _batches(tickets):
        known = incoming.here(source, [each.ref for each in batch])
        fresh = [each for each in batch if each.ref not in known]
        summary.here += len(batch) - len(fresh)
        if not dry_run:
            incoming.take_over([loaded(each) for each in fresh], source=source)
        _count(summary, fresh)
        db.session.expunge_all()  # or the session grows with the file
        say(f"{summary.new + summary.here} / {summary.read}")
    return summary


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + BATCH] for start in range(0, len(things), BATCH))


def _count(summary: Summary, fresh: Sequence[Incoming]) -> None:
    summary.new += len(fresh)
    summary.notes += sum(len(each.notes) for each in fresh)
    summary.files += sum(len(note.files) for each in fresh for note in each.notes)


# ---- from a store -----------------------------------------------------------------------------------------


def from_store(store: TicketStore, *, dry_run: bool, say: Say, pause: Callable[[float], None] = time.sleep) -> Summary:
    """Take over everything that the store tells, with threads and files (raises StoreError when it does not answer for
    long; the next call goes on after the last page)."""
    summary, ask, met = Summary(), Patience(pause, say), set[str]()
    place = "" if dry_run else _place(store.name)
    for page in _pages(store, place, ask):
        told = {each.ref: each for each in page.tickets if each.ref not in met}  # a store may tell one on two pages
        met |= told.keys()
        here = incoming.here(store.name, told)
        summary.read += len(told)
        summary.here += len(here)
        for batch in _batches(_fitting(summary, [each for ref, each in told.items() if ref not in here])):
            asked = [_whole(store, each, ask, summary, dry_run=dry_run) for each in batch]
            whole = [each for each in asked if each]
            if not dry_run:
                incoming.take_over(whole, source=store.name)
            _count(summary, whole)
            say(_("%(num)s tickets read", num=summary.new + summary.here))
        if not dry_run:
            _keep_place(store.name, page.cursor if page.more else "")
        db.session.expunge_all()
    return summary


def _pages(store: TicketStore, place: str, ask: Patience) -> Iterator[Page]:
    """Every page once; a store that leads in a circle is left with a sentence (raises StoreError)."""
    asked = set[str]()
    for _turn in range(MOST_PAGES):
        db.session.rollback()
        asked.add(place)
        page = ask.for_(lambda: store.changes(place, PAGE))  # noqa: B023 - asked at once
        yield page
        if not page.more:
            return
        if page.cursor in asked:
            raise StoreError(_("The ticket store tells the same changes again and again: reading stopped there."))
        place = page.cursor


def _fitting(summary: Summary, told: Sequence[StoreTicket]) -> list[StoreTicket]:
    """Those that can be filed: the number must be free, and one that the desk can keep."""
    taken = incoming.used(_number(each) for each in told)
    fitting = []
    for each in told:
        number = _number(each)
        if number in taken:
            summary.problem(each.ref, _("The number %(number)s is used by another ticket already.", number=number))
        elif not 0 < len(number) <= LONGEST["number"]:
            summary.problem(each.ref, _("The number is longer than %(max)s characters.", max=LONGEST["number"]))
        else:
            taken.add(number)
            fitting.append(each)
    summary.left += len(told) - len(fitting)
    return fitting


def _number(told: StoreTicket) -> str:
    return told.fields.get("number") or told.ref


def _whole(store: TicketStore, told: StoreTicket, ask: Patience, summary: Summary, *, dry_run: bool) -> Incoming | None:
    """A ticket with its thread and the bytes of its files; None when the store does not give its thread, as of a ticket that
    was deleted since it was listed."""
    db.session.rollback()
    try:
        notes = ask.for_(lambda: store.thread(told.ref))
        if told.merged_into:
            notes = _apart(store, told, notes, ask)
    except Rejected as error:
        summary.problem(told.ref, _("Its entries could not be read, so it was left out: %(why)s", why=error))
        summary.left += 1
        return None
    kept = tuple(_note(store, told, note, ask, summary, dry_run=dry_run) for note in notes)
    subject, most = told.subject.replace("\x00", "").strip() or told.ref, LONGEST["subject"]
    text = told.text if len(subject) <= most else f"{subject}\n\n{told.text}"
    return Incoming(
        ref=told.ref,
        number=_number(told),
        subject=subject[:most],
        text=text.replace("\x00", ""),
        status=told.status if told.status in STATUSES else "in_progress",
        opened_at=told.opened,
        changed_at=max([told.updated, *(note.at for note in kept)]),
        opened_by=told.fields.get("opened_by", ""),
        words=_words(told),
        notes=kept,
    )


def _apart(store: TicketStore, told: StoreTicket, notes: Sequence[StoreNote], ask: Patience) -> tuple[StoreNote, ...]:
    """What stands in a merged ticket only (some stores tell the thread of the one that remains for both), and into which one it
    was merged."""
    remains = told.merged_into or ""
    number, there = remains, set[str]()
    with suppress(Rejected):
        number = _number(ask.for_(lambda: store.ticket(remains)))
        there = {note.ref for note in ask.for_(lambda: store.thread(remains))}
    merged = StoreNote(
        ref="merged", at=told.updated, author=told.changed_by, text=_("Merged into ticket %(number)s.", number=number)
    )
    return (*(note for note in notes if note.ref not in there), merged)


def _words(told: StoreTicket) -> dict[str, str]:
    fields = {name: value for name, value in told.fields.items() if name in WORDS and value}
    fields |= {"contact_name": told.fields.get("contact", "")}
    fields |= {"customer_number": told.customer or "", "asset_serial": told.asset or ""}
    fitting = {name: value for name, value in fields.items() if value and value in KNOWN.get(name, (value,))}
    return {name: value.replace("\x00", "")[: LONGEST[name]] for name, value in fitting.items()}


def _note(
    store: TicketStore, told: StoreTicket, note: StoreNote, ask: Patience, summary: Summary, *, dry_run: bool
) -> IncomingNote:
    files = [_file(store, told, file, ask, summary, dry_run=dry_run) for file in note.files]
    return IncomingNote(
        ref=note.ref,
        at=note.at,
        author=note.author.replace("\x00", ""),
        text=note.text.replace("\x00", ""),
        uid=note.uid,
        files=tuple(file for file in files if file),
    )


def _file(
    store: TicketStore, told: StoreTicket, file: StoreFile, ask: Patience, summary: Summary, *, dry_run: bool
) -> KeptFile | None:
    """A file with its bytes in our storage; one that the store will not give is said in the summary."""
    name, media_type = file.name[:LONGEST_NAME] or "file", file.media_type[:100]
    if dry_run:
        return KeptFile(name=name, media_type=media_type, size=file.size, sha256=file.sha256 or "")
    try:
        content = ask.for_(lambda: store.content(file))
    except Retry:
        raise
    except (StoreError, FieldAppError) as error:
        summary.problem(told.ref, _("The file “%(name)s” could not be read: %(why)s", name=name, why=error))
        return None
    return KeptFile(name=name, media_type=media_type, size=len(content), sha256=blobs.put(content))


@dataclass(frozen=True)
class Patience:
    """Ask again what was not answered: a move of years of tickets outlives a pause of the store."""

    pause: Callable[[float], None]
    say: Say

    def for_(self, question: Callable[[], T]) -> T:
        """The answer (raises what the store raised last)."""
        for turn in range(TRIES - 1):
            try:
                return question()
            except Retry as error:
                wait = min(max(error.after, 2**turn), LONGEST_PAUSE_S)
                self.say(_("%(why)s Once more in %(num)s s.", why=error, num=wait))
                self.pause(wait)
        return question()


# ---- where an interrupted move stands ---------------------------------------------------------------------


def _place(name: str) -> str:
    row = db.session.get(PullCursor, _key(name))
    return row.cursor if row else ""


@operation
def _keep_place(name: str, cursor: str) -> None:
    row = db.session.get(PullCursor, _key(name))
    if row is None:
        row = PullCursor(store=_key(name), scan_cursor="")
        db.session.add(row)
    row.cursor = cursor


def _key(name: str) -> str:
    return f"move:{name}"
