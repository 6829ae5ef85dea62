"""What is written and compared, and the last visit's word, once more on PostgreSQL: the same tests, another database; and
workers that are processes race on the same lanes and are killed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from fieldapp import clock, create_app
from fieldapp.extensions import db
from fieldapp.outbox import Attempt
from fieldapp.tickets.stores import STORES
from tests.conftest import settings_for
from tests.faults.test_x22_x25_the_store_fails import POINTS, Finished, in_order, states, uids
from tests.sync.conftest import due_at, lease_over
from tests.sync.double import KILLED, NAME, Double, DoubleStore, reached_at, ticket_in, worked
from tests.sync.test_engine import *  # noqa: F403
from tests.sync.test_reconcile import *  # noqa: F403
from tests.test_postgresql import at_head, cluster, url  # noqa: F401 - fixtures

pytestmark = pytest.mark.postgresql


@pytest.fixture
def app(double: Double, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:  # noqa: F811
    """The app of an installation on PostgreSQL whose tickets lie in the double."""
    monkeypatch.setitem(STORES, NAME, DoubleStore)
    app = create_app(settings_for(tmp_path, database_url=url, **reached_at(double.port)), TESTING=True)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.mark.crash
def test_two_workers_race_on_the_same_lanes_while_others_are_killed_there(
    double: Double,
    unfinished: Finished,
    tmp_path: Path,
    url: str,  # noqa: F811
) -> None:
    tickets = [ticket_in(double, f"T-{n}") for n in range(4)]
    for n in range(24):
        unfinished(tickets[n % 4])
    db.session.rollback()

    for point in islice(cycle(POINTS), 5):
        assert worked(tmp_path, double.port, point, database_url=url) == KILLED
        lease_over()
        due_at(clock.now())
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _n: worked(tmp_path, double.port, database_url=url), range(2)))

    assert ended == [0, 0]
    assert states() == {"delivered": 24}
    assert [uids(double, ticket.ref) for ticket in tickets] == [in_order(ticket.ref) for ticket in tickets]
    assert Counter(db.session.scalars(select(Attempt.outcome))) == {"delivered": 24, None: 4}
