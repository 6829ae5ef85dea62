"""X22–X25 together, on real ticket servers: a wire that loses, workers that die, and each report once, in order (``make storm``)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.storm import served, storm
from tests.stores import redmine_server, rt_server

MISSING = {"rt": rt_server.missing, "redmine": redmine_server.missing}


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Path:
    """An office with an empty database."""
    office = tmp_path / "office"
    office.mkdir()
    shutil.copyfile(migrated, office / "fieldapp.db")
    return office


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["rt", "redmine"])
def test_through_a_storm_each_report_stands_in_its_ticket_once_and_in_order(
    name: str, folder: Path, tmp_path: Path
) -> None:
    if reason := MISSING[name]():
        pytest.skip(reason)

    with served(name, tmp_path / name) as (store, reach):
        outcome = storm(folder, store, reach, deliveries=9, count=3, kills=4)

    assert outcome.answers_lost > 0
    assert outcome.kills >= 4
    assert (outcome.doubled, outcome.missing, outcome.out_of_order) == (0, 0, [])
    assert len(outcome.promised) == 9


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_the_same_storm_doubles_where_nobody_looks_before_sending(folder: Path, tmp_path: Path) -> None:
    if reason := rt_server.missing():
        pytest.skip(reason)

    with served("rt", tmp_path / "rt") as (store, reach):
        outcome = storm(folder, store, reach, deliveries=3, count=3, kills=0, blind=True)

    assert outcome.doubled > 0
