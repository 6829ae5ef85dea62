"""Two workers in two processes at the same lanes, for minutes: nothing twice, nothing out of order, nobody starves.

``make race`` (10 minutes on a live Request Tracker), or ``python -m tests.faults.race redmine --minutes 2``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from fieldapp import create_app
from fieldapp.extensions import db
from fieldapp.outbox import Attempt, Promise
from fieldapp.sync import worker
from fieldapp.tickets.store import TicketStore
from tests.conftest import settings_for
from tests.faults import child, lanes
from tests.faults.lanes import Lane, Verdict
from tests.faults.storm import migrated_in, served

EVERY_S = 2.0  # each lane gets one more, as long as it is not far behind
MOST_BEHIND = 3
DRAIN_S = 300


@dataclass(frozen=True)
class Result:
    """``waits``: seconds from promise to delivery, sorted; ``shares``: how many tries each worker made."""

    verdict: Verdict
    waits: list[float]
    shares: Counter[str]

    def __str__(self) -> str:
        middle, late, last = (
            self.waits[min(int(len(self.waits) * part), len(self.waits) - 1)] for part in (0.5, 0.95, 1)
        )
        shares = " and ".join(str(count) for count in self.shares.values())
        return f"{self.verdict}; waited p50 {middle:.1f} s, p95 {late:.1f} s, at most {last:.1f} s; tries by worker: {shares}"


def race(folder: Path, store: TicketStore, reach: Mapping[str, str], *, count: int, seconds: float) -> Result:
    """Let two workers deliver from ``count`` lanes while new promises come in (``folder``: a migrated database)."""
    with lanes.office(folder, reach):
        ours = lanes.opened(store, reach["ticket_store"], count)
        workers = [child.started(_work, folder, dict(reach), seconds + DRAIN_S) for _ in range(2)]
        try:
            _keep_coming(ours, time.monotonic() + seconds)
            _drained(time.monotonic() + DRAIN_S)
        finally:
            for each in workers:
                each.terminate()
                each.join()
        return _result(store, ours)


def _work(folder: Path, reach: dict[str, str], seconds: float) -> None:
    """A worker that looks for work until it is stopped."""
    until = time.monotonic() + seconds
    app = create_app(settings_for(folder, log_level="ERROR", **reach))
    with app.app_context():
        while time.monotonic() < until:
            if not worker.run_once(worker.worker_name()):
                time.sleep(0.05)


def _keep_coming(ours: list[Lane], until: float) -> None:
    while time.monotonic() < until:
        behind = Counter(db.session.scalars(select(Promise.lane).where(Promise.state != "delivered")))
        db.session.rollback()
        lanes.promised([lane for lane in ours if behind[lane.name] < MOST_BEHIND])
        time.sleep(EVERY_S)


def _drained(until: float) -> None:
    while db.session.scalar(select(Promise.id).where(Promise.state != "delivered").limit(1)):
        db.session.rollback()
        assert time.monotonic() < until, "the lanes do not drain"
        time.sleep(0.5)


def _result(store: TicketStore, ours: list[Lane]) -> Result:
    rows = db.session.execute(select(Promise.created_at, Promise.settled_at)).all()
    waits = sorted((row.settled_at - row.created_at).total_seconds() for row in rows)
    shares = Counter(db.session.scalars(select(Attempt.worker)))
    return Result(lanes.verdict(store, ours), waits, shares)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("store", nargs="?", default="rt", choices=["rt", "redmine"])
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--lanes", type=int, default=12)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="race-") as folder:
        office = migrated_in(Path(folder) / "office")
        with served(given.store, Path(folder) / given.store) as (store, reach):
            result = race(office, store, reach, count=given.lanes, seconds=given.minutes * 60)
    print(f"{given.store}, {given.minutes:g} minutes: {result}")
    assert (result.verdict.doubled, result.verdict.missing, result.verdict.out_of_order) == (0, 0, 0)
    assert min(result.shares.values()) * 4 > max(result.shares.values()), "one of the workers starved"


if __name__ == "__main__":
    main()
