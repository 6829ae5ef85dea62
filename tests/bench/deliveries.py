"""Deliveries per second with one, two and four workers, into the embedded store and a live Redmine; reading 10,000 tickets."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from fieldapp import create_app
from fieldapp.extensions import db
from fieldapp.outbox import Promise
from fieldapp.sync import worker
from fieldapp.sync.pull import pull
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.stores import named
from tests.bench.report import Line
from tests.conftest import settings_for
from tests.faults import child, lanes
from tests.faults.storm import migrated_in, served
from tests.stores import redmine_server
from tests.stores.serving import serving
from tests.stores.webhook import SECRET, Bridge
from tests.stores.webhook import served as bridged

WORKERS = (1, 2, 4)
LANES = 12
DELIVERIES = {"embedded": 240, "redmine": 48}
FEW, MANY = 1_000, 10_000
MUST_GROW = 1.5  # the time of one ticket, of many against few


def measure(folder: Path) -> list[Line]:
    """How many each number of workers delivers, and how reading grows."""
    lines = []
    for name in ("embedded", *([] if redmine_server.missing() else ["redmine"])):
        with _store(name, folder / name) as (store, reach):
            rates = {count: _rate(folder / f"{name}-{count}", store, reach, count) for count in WORKERS}
        for count, rate in rates.items():
            note = "" if count == 1 else f"{rate / rates[1]:.2f} × one worker's"
            lines.append(Line(f"{name}: deliveries by {count} workers", rate, "1/s", note=note))
    return [*lines, *_reading(folder)]


@contextmanager
def _store(name: str, folder: Path) -> Iterator[tuple[TicketStore | None, dict[str, str]]]:
    if name == "embedded":
        yield None, {"ticket_store": name}
    else:
        with served(name, folder) as (store, reach):
            yield store, reach


def _rate(folder: Path, store: TicketStore | None, reach: Mapping[str, str], count: int) -> float:
    """Deliveries per second of ``count`` worker processes together, from the first to the last result."""
    name = reach["ticket_store"]
    with lanes.office(migrated_in(folder), reach):
        ours = lanes.opened(store or named(name), name, LANES)
        while worker.run_once("before"):
            pass
        already = set(db.session.scalars(select(Promise.id)))
        for _round in range(DELIVERIES[name] // LANES):
            lanes.promised(ours)
        db.session.rollback()
        workers = [child.started(_drain, folder, dict(reach)) for _ in range(count)]
        for each in workers:
            assert child.ended(each, 600) == 0
        settled = [row.settled_at for row in db.session.scalars(select(Promise)) if row.id not in already]
        return (len(settled) - 1) / (max(settled) - min(settled)).total_seconds()


def _drain(folder: Path, reach: dict[str, str]) -> None:
    app = create_app(settings_for(folder, log_level="ERROR", **reach))
    with app.app_context():
        while db.session.scalar(select(Promise.id).where(Promise.state != "delivered").limit(1)):
            if not worker.run_once(worker.worker_name()):
                time.sleep(0.01)  # what is left waits behind what another has in hand


def _reading(folder: Path) -> list[Line]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    seconds: dict[int, float] = {}
    for size in (FEW, MANY):
        bridge = Bridge()
        for number in range(size):
            _lay_in(bridge, number)
        with serving(bridged(bridge)) as port:
            reach = {
                "ticket_store": "webhook",
                "store_url": f"http://127.0.0.1:{port}",
                "store_secret": SECRET,
                "store_networks": "127.0.0.0/8",
            }
            with lanes.office(migrated_in(folder / f"pull-{size}"), reach):
                began = time.perf_counter()
                assert pull(named("webhook")) == size
                seconds[size] = time.perf_counter() - began
    growth = (seconds[MANY] / MANY) / (seconds[FEW] / FEW)
    note = f"{seconds[MANY]:.1f} s for {MANY}"
    return [Line("reading: a ticket of 10 k against one of 1 k", growth, "×", must=MUST_GROW, note=note)]


def _lay_in(bridge: Bridge, number: int) -> None:
    ticket: dict[str, Any] = {
        "ref": f"B-{number}",
        "subject": f"第 {number} 号",
        "text": "开机后蓝屏",
        "customer": f"C-{number % 500}",
        "asset": None,
        "status": "new",
        "fields": {},
        "opened": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)).isoformat(),
        "version": "0",
    }
    bridge.tickets[ticket["ref"]] = ticket
    bridge.notes[ticket["ref"]] = []
    bridge.changed(ticket)
