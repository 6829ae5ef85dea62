"""Many deliveries through a bad wire, by workers that are killed: what stands in the store afterwards?

``python -m tests.faults.storm rt --deliveries 200 --kills 30`` (or redmine); ``--blind`` takes the looking away, and doubles.
The tests beside it run the same with fewer.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import flask_migrate
from sqlalchemy import func, select, update

from fieldapp import clock, create_app
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.extensions import db, operation, uuid7
from fieldapp.outbox import OPEN_STATES, SETTLES, Promise
from fieldapp.records import operations as records
from fieldapp.records.values import Evaluation, Given
from fieldapp.reports.models import Report
from fieldapp.sync import worker
from fieldapp.sync.models import StoreBreaker
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Change, Receipt, StoreNote, TicketStore
from fieldapp.tickets.stores import STORES
from fieldapp.visits import operations as visits
from fieldapp.visits.operations import Plan
from tests.conftest import person, settings_for
from tests.faults import child, lanes
from tests.records.samples import DRAWN
from tests.security import world
from tests.stores import lossy, redmine_server, rt_server
from tests.stores.redmine import store as redmine_store
from tests.stores.rt import store_of as rt_store

LIVES_S = (0.3, 2.5)  # how long a worker lives that is to be killed
LONGEST_S = 1800


@dataclass
class Outcome:
    """What was found in the store. ``notes`` and ``files``: how often each promise's stands there; ``order``: lanes in order."""

    notes: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    promised: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    kills: int = 0
    requests_lost: int = 0
    answers_lost: int = 0
    seconds: float = 0

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in (*self.notes.values(), *self.files.values()) if count > 1)

    @property
    def missing(self) -> int:
        return sum(self.notes[uid] == 0 for uid in self.promised) + sum(self.files[uid] == 0 for uid in self.promised)

    def __str__(self) -> str:
        return (
            f"{len(self.promised)} deliveries in {self.seconds:.0f} s, {self.kills} workers killed, {self.requests_lost} requests"
            f" and {self.answers_lost} answers lost: {self.doubled} doubled, {self.missing} missing,"
            f" {len(self.out_of_order)} lanes out of order"
        )


def storm(
    folder: Path,
    store: TicketStore,
    reach: dict[str, str],
    *,
    deliveries: int,
    count: int,
    kills: int,
    blind: bool = False,
) -> Outcome:
    """Deliver through a bad wire before ``reach["store_url"]``, then read what ``store``, asked directly, holds.

    ``folder`` holds a migrated database; ``reach``: the settings of the ticket store.
    """
    outcome, rng, began = Outcome(), random.Random(20261122), time.monotonic()
    with lanes.office(folder, reach):
        expected = _promises(store, reach["ticket_store"], deliveries, count)
    address, _colon, port = reach["store_url"].rpartition(":")
    with lossy.before(int(port.partition("/")[0])) as wire:
        through = {**reach, "store_url": f"{address}:{wire.port}"}
        while _waits(folder, reach):
            workers = [child.started(_work, folder, through, blind) for _ in range(2)]
            if outcome.kills < kills:
                time.sleep(rng.uniform(*LIVES_S))
                for each in workers:
                    each.kill()
                outcome.kills += len(workers)
            for each in workers:
                each.join(120)
            assert time.monotonic() - began < LONGEST_S, "the queue does not drain"
        outcome.requests_lost, outcome.answers_lost = wire.requests_lost, wire.answers_lost
    _count(store, expected, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


# ---- the office: tickets in the store, visits here, promises that wait -------------------------------------


def _promises(store: TicketStore, name: str, deliveries: int, count: int) -> dict[str, dict[str, str]]:
    """Signed records with their reports, each promised to its ticket: uid → SHA-256 of the PDF, by ticket, in order."""
    engineer, dispatcher = person("wanglei", "engineer", "王磊"), person("zhaomin", "dispatcher", "赵敏")
    tickets = lanes.filed(store, name, count)
    for number in range(deliveries):
        _completed_visit(tickets[number % count], number, engineer, dispatcher)
    _only("record_signed")
    while worker.run_once("printer"):
        _only("record_signed")
    _leave_out("report_languages")
    query = select(Promise).where(Promise.kind == "report_issued").order_by(Promise.lane, Promise.lane_seq)
    expected: dict[str, dict[str, str]] = {ticket.ref: {} for ticket in tickets}
    for promise in db.session.scalars(query):
        report = db.session.get_one(Report, UUID(promise.payload["report"]))
        expected[promise.lane.partition(":")[2]][promise.uid] = report.sha256
    return expected


def _completed_visit(ticket: Ticket, number: int, engineer: User, dispatcher: User) -> None:
    visit = visits.draft(ticket, by=dispatcher)
    start = clock.now() + timedelta(hours=2 * number)
    visits.plan(visit, Plan(lead_id=engineer.id, window_start=start, override_reason="storm"), by=dispatcher)
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(visit, by=engineer)
    world.finish(visit, engineer)
    customer = Given(method="drawn", name="陈晓", phone="13900000001", strokes=DRAWN)
    records.customer_sign(visit, Evaluation(skill_rating="good", attitude_rating="good"), customer, by=engineer)
    records.complete(visit, Given(method="drawn", strokes=DRAWN), by=engineer)


@operation
def _only(kind: str) -> None:
    """Let nothing but this kind be due."""
    later = clock.now() + timedelta(days=1)
    db.session.execute(update(Promise).where(Promise.kind != kind, Promise.state == "pending").values(next_at=later))


@operation
def _leave_out(kind: str) -> None:
    done = {"state": "skipped", "settled_at": clock.now()}
    db.session.execute(update(Promise).where(Promise.kind == kind).values(**done))
    db.session.execute(update(Promise).values(next_at=clock.now()))


# ---- the storm ---------------------------------------------------------------------------------------------


def _work(folder: Path, reach: dict[str, str], blind: bool) -> None:
    """A worker until nothing is due; ``blind``: it does not look before it sends."""
    app = create_app(settings_for(folder, log_level="ERROR", **reach))
    with app.app_context():
        if blind:
            _put_out_the_eyes(reach["ticket_store"])
        while worker.run_once(worker.worker_name()):
            _hurry()


def _put_out_the_eyes(name: str) -> None:
    adapter = STORES[name]
    assert isinstance(adapter, type)

    class Blind(adapter):  # type: ignore[misc, valid-type]
        def push(self, change: Change) -> Receipt:
            """Under another key each time, so that what is there already is not found."""
            return super().push(replace(change, uid=f"{change.uid}.{uuid7().hex[-6:]}"))

    STORES[name] = Blind


def _waits(folder: Path, reach: dict[str, str]) -> bool:
    """Whether anything is still to be delivered; what waits for its time gets it, and dead workers' leases end."""
    with lanes.office(folder, reach):
        _leases_over()
        _hurry()
        held = db.session.scalar(select(Promise.last_error).where(Promise.state.in_(("held", "dead"))).limit(1))
        assert held is None, held
        return bool(db.session.scalar(select(func.count()).select_from(Promise).where(Promise.state.in_(OPEN_STATES))))


@operation
def _leases_over() -> None:
    past = clock.now() - SETTLES
    db.session.execute(update(Promise).where(Promise.state == "leased").values(lease_until=past))


@operation
def _hurry() -> None:
    """As if the waiting time of every retry, and the breaker's, were over, and a person had said each time: try again."""
    waiting = Promise.state.in_(("retry_wait", "pending", "unknown"))
    now = clock.now()
    again = {"next_at": now, "created_at": now, "forgiven": Promise.attempts, "settles_at": None}
    db.session.execute(update(Promise).where(waiting).values(**again))
    closed = {"failures": 0, "wait_s": 0, "opened_at": None, "why": None, "probe_at": None, "paused_until": None}
    db.session.execute(update(StoreBreaker).values(**closed))


# ---- afterwards --------------------------------------------------------------------------------------------


def _count(store: TicketStore, expected: dict[str, dict[str, str]], outcome: Outcome) -> None:
    for ref, promised in expected.items():
        notes = [(key, note) for note in store.thread(ref) if (key := _key(note)) in promised]
        outcome.promised.extend(promised)
        outcome.notes.update(key for key, _note in notes)
        for key, note in notes:
            hashes = [hashlib.sha256(store.content(file)).hexdigest() for file in note.files]
            outcome.files.update([key] * hashes.count(promised[key]))
        seen = list(dict.fromkeys(key for key, _note in notes))
        if seen != [uid for uid in promised if uid in seen]:
            outcome.out_of_order.append(ref)


def _key(note: StoreNote) -> str:
    """The promise's key, also of a blind worker's note."""
    return (note.uid or "").partition(".")[0]


# ---- by hand -----------------------------------------------------------------------------------------------


@contextmanager
def served(name: str, folder: Path) -> Iterator[tuple[TicketStore, dict[str, str]]]:
    """A real ticket server in ``folder``: its adapter, asked directly, and the settings by which an office reaches it."""
    networks = {"ticket_store": name, "store_networks": "127.0.0.0/8"}
    if name == "rt":
        with rt_server.running(folder) as tracker:
            reach = {**networks, "store_url": tracker.address, "store_secret": tracker.tokens["fieldapp"]}
            yield rt_store(tracker, "Field Service"), reach
    else:
        with redmine_server.running(folder) as redmine:
            reach = {**networks, "store_url": redmine.address, "store_secret": redmine.keys["fieldapp"]}
            yield redmine_store(redmine, "field-service"), reach


def migrated_in(folder: Path) -> Path:
    """The folder with an empty database at the newest revision."""
    folder.mkdir(parents=True, exist_ok=True)
    with create_app(settings_for(folder)).app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        db.session.remove()
        db.engine.dispose()
    return folder


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("store", choices=["rt", "redmine"])
    asked.add_argument("--deliveries", type=int, default=200)
    asked.add_argument("--lanes", type=int, default=20)
    asked.add_argument("--kills", type=int, default=30)
    asked.add_argument("--blind", action="store_true", help="do not look before sending")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        office = migrated_in(Path(folder) / "office")
        with served(given.store, Path(folder) / given.store) as (store, reach):
            outcome = storm(
                office,
                store,
                reach,
                deliveries=given.deliveries,
                count=given.lanes,
                kills=given.kills,
                blind=given.blind,
            )
    print(f"{given.store}: {outcome}")
    if not given.blind:
        assert (outcome.doubled, outcome.missing, outcome.out_of_order) == (0, 0, [])


if __name__ == "__main__":
    main()
