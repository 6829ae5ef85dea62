"""A store that only tells: tickets in the order in which they changed, in pages, with nothing behind a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fieldapp import clock
from fieldapp.tickets.store import Caps, Page, Rejected, StoreTicket


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
        self.told = 0
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

    def ticket(self, ref: str) -> StoreTicket:
        if ref not in self.tickets:
            raise Rejected(f"There is no ticket {ref}.")
        return self.tickets[ref]
