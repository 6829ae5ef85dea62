"""X24: the worker is killed between any two of its steps. Nothing is doubled, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from fieldapp import crashpoints
from fieldapp.extensions import db, uuid7
from fieldapp.outbox import Attempt, Promise
from fieldapp.sync import worker
from fieldapp.tickets.desk.models import DeskNote
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Change, Receipt
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.stores.embedded import EmbeddedStore
from tests.faults import child
from tests.sync.conftest import file, filed, lease_over, on_site, store, unfinished  # noqa: F401 - fixtures

POINTS = ("after_http", "before_settle", "after_claim", "before_call", "after_settle")
ROUNDS = 30


def work_until_killed(folder: Path, *points: str) -> list[int | None]:
    """Real workers beside each other on the database in ``folder`` that die at these points; their exit statuses."""
    workers = [child.started(child.work_once, folder, point) for point in points]
    return [child.ended(each) for each in workers]


@pytest.mark.crash
def test_x24_thirty_killed_workers_double_and_lose_nothing(
    app: Flask,
    tmp_path: Path,
    file: Callable[[], Ticket],  # noqa: F811
    unfinished: Callable[[Ticket], Promise],  # noqa: F811
) -> None:
    uids = [unfinished(file()).uid for _ in range(ROUNDS)]
    db.session.rollback()

    points = cycle(POINTS)
    ended = [each for _ in range(ROUNDS // 2) for each in work_until_killed(tmp_path, next(points), next(points))]
    lease_over()
    worker.run_until_idle("the next one")

    assert ended == [child.KILLED] * ROUNDS
    assert db.session.scalars(select(Promise.state)).all() == ["delivered"] * ROUNDS
    notes = db.session.scalars(select(DeskNote.uid)).all()
    assert sorted(str(uid) for uid in notes) == sorted(uids)
    tries = db.session.scalar(select(func.count()).select_from(Attempt)) or 0
    assert tries == 2 * ROUNDS - ROUNDS // len(POINTS)  # whoever died after writing the result left nothing to do


class Killed(BaseException):
    """Stands for SIGKILL where the process must live on to be asked what it left."""


@pytest.mark.parametrize("marked", [True, False])
def test_x24_without_the_marker_the_same_death_doubles(
    filed: Ticket,  # noqa: F811
    unfinished: Callable[[Ticket], Promise],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    marked: bool,
) -> None:
    class Forgetful(EmbeddedStore):
        """A store that is told another uid each time, so that it cannot find what is there."""

        def push(self, change: Change) -> Receipt:
            return super().push(change if marked else replace(change, uid=str(uuid7())))

    def die(point: str) -> None:
        if point == "after_http":
            raise Killed

    monkeypatch.setitem(STORES, "embedded", Forgetful)
    unfinished(filed)
    with monkeypatch.context() as dying:
        dying.setattr(crashpoints, "reach", die)
        with pytest.raises(Killed):
            worker.run_once("dying")
    lease_over()

    worker.run_until_idle("the next one")

    assert db.session.scalar(select(func.count()).select_from(DeskNote)) == (1 if marked else 2)
