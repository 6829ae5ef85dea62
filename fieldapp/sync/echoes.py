"""What comes back of our own writing is no news; what people wrote in the same minutes is, and only the thread tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fieldapp.extensions import db
from fieldapp.tickets import operations
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.news import Wrote
from fieldapp.tickets.store import Rejected, StoreNote, StoreTicket, TicketStore

WRITTEN = ("report_issued", "visit_unfinished", "done_despite_cancellation")  # promises that leave a note of ours


def take_in(store: TicketStore, told: StoreTicket) -> Ticket:
    """Insert or update our copy of a ticket that the store was asked for (raises StoreError)."""
    return operations.take_in(told, store=store.name, wrote=of_people(store, (told,)))


def of_people(store: TicketStore, told: Sequence[StoreTicket]) -> Mapping[str, Wrote]:
    """What people wrote since we looked last, in those tickets whose change may be our own (raises StoreError)."""
    doubtful = operations.looked_at(told, store=store.name)
    db.session.rollback()
    found = {}
    for ref, since in doubtful.items():
        theirs = [note for note in _thread(store, ref) if note.at >= since and not _ours(note)]
        if theirs:
            found[ref] = Wrote(at=theirs[-1].at, by=theirs[-1].author)
    return found


def _thread(store: TicketStore, ref: str) -> tuple[StoreNote, ...]:
    try:
        return store.thread(ref)
    except Rejected:
        return ()


def _ours(note: StoreNote) -> bool:
    return (note.uid or "").partition(":")[0] in WRITTEN
