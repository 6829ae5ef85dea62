"""What the tests of hosted stores file and push."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fieldapp.extensions import uuid7
from fieldapp.tickets.store import Change, NewFile, NewTicket, Receipt, Retry, StoreTicket, TicketStore

PDF = NewFile(name="SR-1.pdf", media_type="application/pdf", content=b"%PDF-1.7 report")
MOST_TRIES = 200


def new(**changes: Any) -> NewTicket:
    """A ticket to file."""
    given = NewTicket(uid=str(uuid7()), subject="服务器无法启动", text="开机后蓝屏", customer="C-1001")
    return replace(given, **changes)


def done(ticket: StoreTicket, **changes: Any) -> Change:
    """What a visit brought that solved the ticket."""
    given = Change(
        uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", author="王磊", files=(PDF,), status="resolved"
    )
    return replace(given, **changes)


def a_file(ticket: StoreTicket, number: int) -> NewFile:
    """A file that stands in this ticket only."""
    return replace(PDF, content=f"%PDF-1.7 {ticket.ref} {number}".encode())


def until_it_stands(store: TicketStore, change: Change) -> Receipt:
    """As the outbox does it: again and again, and always the same."""
    for _try in range(MOST_TRIES):
        try:
            receipt = store.push(change)
        except Retry:
            continue
        assert receipt.complete
        return receipt
    raise AssertionError("the wire is worse than it was meant to be")
