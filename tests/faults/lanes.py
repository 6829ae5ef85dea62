"""Cheap promises in the lanes of many tickets, and what became of them in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import select

from fieldapp import clock, create_app, outbox
from fieldapp.extensions import db, operation, uuid7
from fieldapp.sync.pull import pull
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import NewTicket, TicketStore
from fieldapp.tickets.stores import named
from fieldapp.visits import operations as visits
from fieldapp.visits.operations import Plan
from tests.conftest import person, settings_for
from tests.security import world

CUSTOMER = "1001"


@dataclass(frozen=True)
class Lane:
    """A ticket, and the visit of which its promises tell."""

    store: str
    ref: str
    visit: str

    @property
    def name(self) -> str:
        return f"{self.store}:{self.ref}"


@contextmanager
def office(folder: Path, reach: Mapping[str, str]) -> Iterator[Flask]:
    """The app on the data in ``folder``; ``reach``: the settings of the ticket store."""
    app = create_app(settings_for(folder, log_level="ERROR", **reach))
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


def filed(store: TicketStore, name: str, count: int) -> list[Ticket]:
    """Tickets that lie in the store, and our copies of them."""
    world.serve_customer(CUSTOMER)
    asked = [
        NewTicket(uid=str(uuid7()), subject=f"服务器无法启动 {n}", text="", customer=f"C-{CUSTOMER}")
        for n in range(count)
    ]
    refs = {store.create(each).ref for each in asked}
    pull(named(name))
    found = list(db.session.scalars(select(Ticket).where(Ticket.ref.in_(refs)).order_by(Ticket.ref)))
    assert len(found) == count
    return found


def opened(store: TicketStore, name: str, count: int) -> list[Lane]:
    """Lanes with nothing in them yet: each ticket has had a visit that could not be completed."""
    engineer, dispatcher = person("wanglei", "engineer", "王磊"), person("zhaomin", "dispatcher", "赵敏")
    lanes = []
    for number, ticket in enumerate(filed(store, name, count)):
        visit = visits.draft(ticket, by=dispatcher)
        start = clock.now() + timedelta(hours=2 * number)
        visits.plan(visit, Plan(lead_id=engineer.id, window_start=start, override_reason="lanes"), by=dispatcher)
        for step in (visits.accept, visits.depart, visits.arrive, visits.start):
            step(visit, by=engineer)
        lanes.append(Lane(name, ticket.ref, str(visit.id)))
        visits.cannot_complete(visit, "缺少电源模块", by=engineer)
    return lanes


@operation
def promised(lanes: Sequence[Lane]) -> None:
    """One more promise in each of these lanes."""
    for lane in lanes:
        payload = {"visit": lane.visit}
        outbox.promise("visit_unfinished", payload, lane=lane.name, uid=f"lane:{uuid7()}", store=lane.store)


def promises_of(lane: Lane) -> list[str]:
    """The keys of a lane's promises, in their order."""
    query = select(outbox.Promise.uid).where(outbox.Promise.lane == lane.name).order_by(outbox.Promise.lane_seq)
    return list(db.session.scalars(query))


@dataclass(frozen=True)
class Verdict:
    """What stands in the store: how many promises, how many twice, how many not, lanes whose notes are in another order."""

    promised: int
    doubled: int
    missing: int
    out_of_order: int

    def __str__(self) -> str:
        return f"{self.promised} promised: {self.doubled} doubled, {self.missing} missing, {self.out_of_order} lanes out of order"


def verdict(store: TicketStore, lanes: Sequence[Lane]) -> Verdict:
    """Ask the store about every promise of these lanes."""
    promised = doubled = missing = out_of_order = 0
    for lane in lanes:
        expected = promises_of(lane)
        db.session.rollback()
        seen = [str(note.uid) for note in store.thread(lane.ref) if note.uid in set(expected)]
        counts = Counter(seen)
        promised += len(expected)
        doubled += sum(count - 1 for count in counts.values())
        missing += sum(counts[uid] == 0 for uid in expected)
        out_of_order += list(dict.fromkeys(seen)) != [uid for uid in expected if uid in counts]
    return Verdict(promised, doubled, missing, out_of_order)
