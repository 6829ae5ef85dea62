"""A store that only tells: tickets in the order in which they changed, in pages, with nothing behind a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fieldapp import clock
from fieldapp.tickets.store import (
    Caps,
    Change,
    Flaw,
    Hint,
    NewTicket,
    Page,
    Receipt,
    Rejected,
    StoreFile,
    StoreNote,
    StoreTicket,
)


def a_ticket(ref: str, **changes: Any) -> StoreTicket:
    """A ticket of customer C-1001 as a store tells it, an hour old."""
    opened = clock.now() - timedelta(hours=1)
    plain = StoreTicket(
        ref=ref, version="1", opened=opened, updated=opened, subject=f"问题 {ref}", status="new", customer="C-1001"
    )
    return replace(plain, **changes)


class Telling:
    """``tickets`` by ref; ``log`` is the feed: what changed, oldest first. ``told`` counts questions for pages."""

    name = "redmine"
    caps = Caps(delta="since", find="scan", guard="none", atomic=False)

    def __init__(self, *tickets: StoreTicket) -> None:
        self.log: list[StoreTicket] = list(tickets)
        self.tickets = {each.ref: each for each in tickets}
        self.notes: dict[str, list[StoreNote]] = {}
        self.files: dict[str, bytes] = {}
        self.told = 0
        self.before_thread: Callable[[str], None] = lambda _ticket: None
        self.before_page: Callable[[str], None] = lambda _cursor: None

    def change(self, ref: str, *, at: datetime | None = None, by: str = "客服小李", **changes: Any) -> StoreTicket:
        """Somebody changes a ticket there."""
        was = self.tickets[ref]
        now = replace(was, version=str(int(was.version) + 1), updated=at or clock.now(), changed_by=by, **changes)
        self.tickets[ref] = now
        self.log.append(now)
        return now

    def delete(self, ref: str) -> None:
        """No store says so in its feed: the ticket is not in it any more."""
        del self.tickets[ref]
        self.log = [each for each in self.log if each.ref != ref]

    def changes(self, cursor: str, limit: int) -> Page:
        self.told += 1
        self.before_page(cursor)
        start = int(cursor or 0)
        part = self.log[start : start + limit]
        tickets = tuple(self.tickets[each.ref] for each in part)
        return Page(tickets=tickets, cursor=str(start + len(part)), more=start + len(part) < len(self.log))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        self.told += 1
        self.before_page("")
        theirs = [each for each in self.tickets.values() if each.customer == customer]
        return tuple(sorted(theirs, key=lambda each: each.opened, reverse=True)[:limit])

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        self.before_thread(ticket)
        return tuple(self.notes.get(ticket, ()))

    def content(self, file: StoreFile) -> bytes:
        return self.files[file.ref]

    def find(self, uid: str, ticket: str) -> Receipt | None:
        found = [note for note in self.notes.get(ticket, ()) if note.uid == uid]
        return Receipt(uid=uid, ticket=ticket, ref=found[0].ref, complete=True) if found else None

    def push(self, change: Change) -> Receipt:
        self.ticket(change.ticket)
        notes = self.notes.setdefault(change.ticket, [])
        if (found := self.find(change.uid, change.ticket)) is not None:
            return found
        ref = f"{change.ticket}#{len(notes) + 1}"
        notes.append(StoreNote(ref=ref, at=clock.now(), author=change.author, text=change.note, uid=change.uid))
        self.change(change.ticket, by="fieldapp", status=change.status or self.tickets[change.ticket].status)
        return Receipt(uid=change.uid, ticket=change.ticket, ref=ref, complete=True)

    def create(self, new: NewTicket) -> StoreTicket:
        raise Rejected("This store takes no new tickets.")

    def check(self) -> tuple[Flaw, ...]:
        return ()

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        return ()

    def ticket(self, ref: str) -> StoreTicket:
        if ref not in self.tickets:
            raise Rejected(f"There is no ticket {ref}.")
        return self.tickets[ref]
