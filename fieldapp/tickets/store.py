"""The central ticket store: what we ask of any of them. The store owns tickets; we own visits and records.

``push`` = find → guard → files → note → status → read back; the Receipt comes from the read-back only.
One worker per uid at a time (the outbox's lease): find and write is atomic in hardly any store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from fieldapp.texts import printable


def as_text(text: str) -> str:
    """Text as every store can hold it: plain line ends, and a mark in place of control characters and halves of characters,
    as the printed report has it. A database refuses them or ends the text there, and a signed record cannot be typed anew.
    """
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a store can do. ``grain_s``, ``lag_s``: resolution and delay of its change feed in seconds;
    ``max_file``: largest attachment in bytes, None when there is no known limit."""

    delta: Literal["cursor", "since", "scan"]
    find: Literal["unique", "search", "scan"]
    guard: Literal["match", "stamp", "none"]
    atomic: bool
    grain_s: int = 0
    lag_s: int = 0
    max_file: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoreTicket:
    """A ticket as the store tells it. ``ref`` is its name there, ``version`` changes with every change.
    ``customer`` is the customer's number, ``asset`` the serial; ``fields`` is whatever else the mapping knows
    (channel, type, priority, contact, contact_phone, named_engineer, number, site). ``changed_by`` is who changed it last,
    as far as the store tells; ``merged_into`` the ticket that it became a part of."""

    ref: str
    version: str
    opened: datetime
    updated: datetime
    subject: str
    status: str
    text: str = ""
    customer: str | None = None
    asset: str | None = None
    changed_by: str = ""
    merged_into: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoreFile:
    """An attachment: its name, media type, size in bytes, SHA-256 in hex (None where the store does not tell it; ask for
    the content then) and ``ref``, the file's name in the store."""

    name: str
    media_type: str
    size: int
    sha256: str | None
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class StoreNote:
    """One entry of a ticket's thread. ``uid`` is our marker when the note is ours."""

    ref: str
    at: datetime
    author: str
    text: str
    uid: str | None = None
    files: tuple[StoreFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A file to attach."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing to write, once. ``uid`` is made once and is the key; ``base`` is the version we saw (None: do not guard);
    ``status`` None leaves the status alone."""

    uid: str
    ticket: str
    note: str
    author: str = ""
    files: tuple[NewFile, ...] = ()
    status: str | None = None
    base: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "note", as_text(self.note))
        object.__setattr__(self, "author", as_text(self.author))

    def missing_among(self, there: Iterable[StoreFile]) -> list[str]:
        """Names of its files that are not there in their full size; each of those that are there counts once."""
        left = [(file.name, file.size) for file in there]
        missing = []
        for file in self.files:
            wanted = (file.name, len(file.content))
            if wanted in left:
                left.remove(wanted)
            else:
                missing.append(file.name)
        return missing


@dataclass(frozen=True, kw_only=True)
class NewTicket:
    """A ticket to file, once."""

    uid: str
    subject: str
    text: str
    customer: str | None = None
    asset: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", as_text(self.subject))
        object.__setattr__(self, "text", as_text(self.text))


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Read back from the store: ``ref`` names our note there; ``complete`` when note, files and status are all there."""

    uid: str
    ticket: str
    ref: str
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What an inbound webhook says: that a ticket changed. ``id`` is the message's own name, so that it counts once."""

    id: str
    ticket: str


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """Something in the store that does not fit our mapping, and what to do about it, each in a sentence."""

    says: str
    mend: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some changed tickets, the cursor after them (opaque, already safe to start from), and whether more wait."""

    tickets: tuple[StoreTicket, ...]
    cursor: str
    more: bool


class TicketStore(Protocol):
    """Few methods, one of them writing (plus ``create`` for the desk and for follow-ups; same rules)."""

    name: str
    caps: Caps

    def changes(self, cursor: str, limit: int) -> Page:
        """Tickets changed after ``cursor`` ("" = from the beginning), at least once; the caller drops what it knows."""

    def ticket(self, ref: str) -> StoreTicket:
        """One ticket as it is now (raises Rejected when there is none)."""

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        """The customer's tickets, newest first."""

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        """The notes of a ticket, oldest first (raises Rejected when there is no such ticket)."""

    def content(self, file: StoreFile) -> bytes:
        """The bytes of an attachment that ``thread`` named."""

    def find(self, uid: str, ticket: str) -> Receipt | None:
        """What the store holds under our marker; None when nothing."""

    def push(self, change: Change) -> Receipt:
        """Write a change so that it stands there exactly once, however often this is called (raises StoreError)."""

    def create(self, new: NewTicket) -> StoreTicket:
        """File a ticket so that it stands there exactly once."""

    def check(self) -> tuple[Flaw, ...]:
        """What does not fit between the store and our mapping (raises StoreError when it cannot be worked with at all)."""

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """The tickets that an inbound webhook says have changed; the caller asks for them again.

        Raises Denied when the message does not prove that it comes from the store, Rejected when it says nothing to us.
        """


class StoreError(Exception):
    """Something went wrong at the store; the text is one sentence for the dispatcher."""


class Retry(StoreError):
    """Refused for now, or the outcome is unknown. ``after``: seconds that the store asks us to wait."""

    def __init__(self, sentence: str, *, after: int = 0) -> None:
        super().__init__(sentence)
        self.after = after


class Unreachable(Retry):
    """No answer that can be believed: no connection, no end in time, a 5xx, or a page that is not the store's."""


class Throttled(Retry):
    """The store asks us to send less (429): that concerns everything we send, not only this."""


class Conflict(StoreError):
    """The ticket changed since ``base``; our note is in, the status is left to a person."""

    def __init__(self, sentence: str, *, receipt: Receipt | None = None) -> None:
        super().__init__(sentence)
        self.receipt = receipt


class Denied(StoreError):
    """The store does not accept our credentials: nothing more is tried until a person mends them."""


class Rejected(StoreError):
    """The store will never take this as it is: a person must look."""


class TooBig(Rejected):
    """The store takes no file of this size: a link stands in for it."""
