"""Reading everything of a live store, as the worker does once a day, to notice what no change reports."""

from __future__ import annotations

from sqlalchemy import select

from fieldapp.extensions import db
from fieldapp.sync.pull import pull, scan
from fieldapp.tickets.models import Ticket
from tests.stores.bench import Bench


def after_the_slow_pass(desk: Bench) -> dict[str, Ticket]:
    """Our copies by their name in the store, when its changes were read and then all of it."""
    pull(desk.store)
    assert not scan(desk.store, now=True)
    assert scan(desk.store)
    return {ticket.ref: ticket for ticket in db.session.scalars(select(Ticket))}
