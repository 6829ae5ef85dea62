"""What is done with the store while nothing hurries: the slow pass over everything, and customers' histories for the pack."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import and_, or_, select

from fieldapp import clock
from fieldapp.customers.models import Customer
from fieldapp.extensions import db
from fieldapp.sync.pull import scan
from fieldapp.tickets import history
from fieldapp.tickets.models import CustomerHistory
from fieldapp.tickets.store import TicketStore
from fieldapp.visits.models import Visit

AHEAD = timedelta(days=3)
FRESH_FOR, AGAIN_AFTER = timedelta(hours=6), timedelta(minutes=30)
AT_ONCE = 3
PATIENCE_S = 10.0


def go_on(store: TicketStore) -> None:
    """One small step of both (raises StoreError)."""
    refresh_histories(store)
    scan(store)


def refresh_histories(store: TicketStore) -> int:
    """Ask for the tickets of customers who are visited soon, a few at a time; how many were asked for."""
    due = _due(store.name)
    for customer in due:
        if not history.ask(store, customer, seconds=PATIENCE_S):
            break  # the store has trouble: the others can wait, too
    return len(due)


def _due(store: str) -> Sequence[Customer]:
    """Customers of open visits of the next days whose history is missing or old, the nearest visit first."""
    now = clock.now()
    soon = Visit.closed_at.is_(None) & (Visit.status != "draft") & (Visit.window_start < now + AHEAD)
    theirs = and_(CustomerHistory.customer_id == Customer.id, CustomerHistory.store == store)
    old = or_(CustomerHistory.asked_at.is_(None), CustomerHistory.asked_at < now - FRESH_FOR)
    not_just_tried = or_(CustomerHistory.id.is_(None), CustomerHistory.tried_at < now - AGAIN_AFTER)
    query = select(Customer).join(Visit, Visit.customer_id == Customer.id).outerjoin(CustomerHistory, theirs)
    query = query.where(soon, old, not_just_tried).order_by(Visit.window_start, Visit.id)
    nearest = {customer.id: customer for customer in db.session.scalars(query.limit(20 * AT_ONCE))}
    return list(nearest.values())[:AT_ONCE]
