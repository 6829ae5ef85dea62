"""A ticket that lies in the embedded store and in our copy, and visits to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset
from fieldapp.extensions import db, operation, uuid7
from fieldapp.outbox import SETTLES, Promise
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk.operations import Intake, file_ticket
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.stores.embedded import EmbeddedStore
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan


@pytest.fixture
def store(asset: Asset) -> EmbeddedStore:
    return EmbeddedStore()


@pytest.fixture
def file(store: EmbeddedStore) -> Callable[[], Ticket]:
    """``file()`` files a ticket in the store, pulls, and returns our copy."""

    def file_and_pull() -> Ticket:
        intake = Intake(subject="服务器无法启动", customer_number="C-1001", asset_serial="ZW3000-0001")
        number = file_ticket(intake, uid=str(uuid7())).number
        pull(store)
        return db.session.scalars(select(Ticket).where(Ticket.ref == number)).one()

    return file_and_pull


@pytest.fixture
def filed(file: Callable[[], Ticket]) -> Ticket:
    return file()


@pytest.fixture
def on_site(engineer: User, dispatcher: User) -> Callable[[Ticket], Visit]:
    """``on_site(ticket)`` is a visit with the engineer at work."""
    starts = iter(clock.now() + timedelta(hours=hours) for hours in range(1, 1000))

    def work(ticket: Ticket) -> Visit:
        visit = visits.draft(ticket, by=dispatcher)
        visits.plan(visit, Plan(lead_id=engineer.id, window_start=next(starts)), by=dispatcher)
        for step in (visits.accept, visits.depart, visits.arrive, visits.start):
            step(visit, by=engineer)
        return visit

    return work


@pytest.fixture
def unfinished(on_site: Callable[[Ticket], Visit], engineer: User) -> Callable[[Ticket], Promise]:
    """``unfinished(ticket)`` ends a visit to it without success; the promise that follows."""

    def give_up(ticket: Ticket) -> Promise:
        visit = on_site(ticket)
        visits.cannot_complete(visit, "缺少电源模块", by=engineer)
        return db.session.scalars(select(Promise).where(Promise.uid == f"visit_unfinished:{visit.id}")).one()

    return give_up


@operation
def due_at(moment: datetime) -> None:
    """Move every waiting promise to this moment, as if the time had passed."""
    db.session.execute(update(Promise).values(next_at=moment, settles_at=None))


@operation
def lease_over() -> None:
    """Let every lease have ended so long ago that no store is still at what was sent."""
    past = clock.now() - SETTLES
    db.session.execute(update(Promise).where(Promise.state == "leased").values(lease_until=past))
