"""What the contract suite asks a store through."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fieldapp.extensions import uuid7
from fieldapp.tickets.store import Change, NewTicket, StoreFile, StoreNote, StoreTicket, TicketStore

ALL_FIELDS = frozenset({"channel", "type", "priority", "contact"})


def unchanged(status: str) -> str:
    return status


def nothing() -> None:
    """What must pass before a store that holds nothing back tells of a change."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A store to ask. ``at_once`` asks it from several threads (results in the order of the calls), None where a store cannot
    make find and write one step and leaves that to the lease. ``told``: what our status reads as when it comes back.
    ``keeps``: the fields that this installation of the store has. ``unknown``: the name of a ticket that is not there.
    ``port``: where it listens on this machine, and ``at`` makes the adapter for another address (a proxy before it).
    ``later`` lets a store's lag pass (a feed that holds the last minute back, a search that is indexed late)."""

    store: TicketStore
    unknown: str
    at_once: Callable[[list[Callable[[], object]]], list[object]] | None = None
    told: Callable[[str], str] = unchanged
    keeps: frozenset[str] = ALL_FIELDS
    port: int | None = None
    at: Callable[[str], TicketStore] | None = None
    later: Callable[[], None] = nothing
    customer: str = field(default_factory=lambda: f"C-{secrets.token_hex(4)}")

    def filed(self, *, customer: str = "", subject: str = "服务器无法启动") -> StoreTicket:
        """A ticket that lies in the store."""
        new = NewTicket(uid=str(uuid7()), subject=subject, text="开机后蓝屏", customer=customer or self.customer)
        return self.store.create(new)

    def push(self, ticket: StoreTicket, note: str = "已更换电源", **more: object) -> Change:
        """Push a change and return it."""
        change = Change(uid=str(uuid7()), ticket=ticket.ref, note=note, **more)  # type: ignore[arg-type]
        self.store.push(change)
        return change

    def together(self, calls: list[Callable[[], object]]) -> list[object]:
        """All calls at once, each in its own thread."""
        if self.at_once is None:
            pytest.skip("find and write are two steps in this store: the lease lets one worker at a time at a ticket")
        return self.at_once(calls)

    def now(self, ref: str) -> StoreTicket:
        """The ticket as the feed last tells it."""
        return {ticket.ref: ticket for ticket in self.all_changes("")[0]}[ref]

    def ours(self, change: Change) -> list[StoreNote]:
        """The notes that carry the marker of this change."""
        return [note for note in self.store.thread(change.ticket) if note.uid == change.uid]

    def hashes(self, note: StoreNote) -> list[str]:
        """The SHA-256 of each file, of its content as the store gives it back."""
        return [self._hash(file) for file in note.files]

    def history(self, limit: int = 10) -> tuple[StoreTicket, ...]:
        """The tickets of the bench's customer, once the store has had time to find them."""
        self.later()
        return self.store.history(self.customer, limit)

    def all_changes(self, cursor: str, limit: int = 2) -> tuple[list[StoreTicket], str]:
        """Everything after ``cursor``, read in small pages, and the cursor at the end."""
        self.later()
        seen: list[StoreTicket] = []
        while True:
            page = self.store.changes(cursor, limit)
            seen.extend(page.tickets)
            cursor = page.cursor
            if not page.more:
                return seen, cursor

    def _hash(self, file: StoreFile) -> str:
        content = hashlib.sha256(self.store.content(file)).hexdigest()
        assert file.sha256 in (None, content)
        return content
