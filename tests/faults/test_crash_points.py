"""The web process and the worker are killed (SIGKILL) at every named point. Nothing is lost and nothing is doubled.

Each round: the phone sends the last signatures and the web process dies at one point; it is started again and the
phone sends the same bytes; a worker dies at another point; another one finishes. The processes are real.
"""

from __future__ import annotations

import http.client
import re
from itertools import product
from pathlib import Path

import pytest

from fieldapp.config import ROOT
from fieldapp.extensions import uuid7
from tests.faults import child
from tests.faults.stage import ONCE, Answer, Phone, found_in, leases_over, prepared

WEB = ("before_commit", "after_commit", "before_answer")
# A worker keeps two promises: the report is made, then delivered. ``:2`` dies at the second.
WORKER = (
    "after_claim",
    "after_render",
    "before_settle",
    "after_settle",
    "after_claim:2",
    "before_call",
    "after_http",
    "before_settle:2",
    "after_settle:2",
)
TWICE = (("after_commit", "after_render", "after_http"), ("before_commit", "after_claim", "before_settle:2"))
ROUNDS = [
    *((web, at) for web, at in product(WEB, WORKER)),
    *TWICE,
    ("before_answer", "after_http", "after_http"),
]


# Points of reading and of taking over, which have tests of their own: tests/sync/test_reading.py, tests/tickets/test_import.py.
READING = {"in_page", "after_page", "in_import"}


def test_the_rounds_pass_every_named_point() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "fieldapp").rglob("*.py"))
    named = set(re.findall(r'crashpoints\.reach\("(\w+)"\)', source))

    assert named - READING == {point.partition(":")[0] for points in ROUNDS for point in points}
    assert len(ROUNDS) == 30


@pytest.mark.crash
@pytest.mark.parametrize("points", ROUNDS, ids=" then ".join)
def test_killed_at_any_point_nothing_is_lost_and_nothing_doubled(
    migrated: Path, tmp_path: Path, points: tuple[str, ...]
) -> None:
    stage = prepared(migrated)
    folder = stage.copied(tmp_path)
    phone = stage.completion(str(uuid7()))
    web, *workers = points

    receipt = send_to_one_that_dies_and_again(folder, phone, web)
    for point in workers:
        assert child.ended(child.started(child.work, folder, point)) == child.KILLED
        leases_over(folder)
    assert child.ended(child.started(child.work, folder, "")) == 0

    assert receipt.status == 200
    assert receipt.body["replayed"] is (web != "before_commit")
    assert receipt.body["submission_id"] == phone.submission_id
    assert found_in(folder) == ONCE


def send_to_one_that_dies_and_again(folder: Path, phone: Phone, point: str) -> Answer:
    with child.listening() as listener:
        port = listener.getsockname()[1]
        dying = child.started(child.serve, folder, listener, point)
        with pytest.raises((OSError, http.client.HTTPException)):
            phone.send(port)
        assert child.ended(dying) == child.KILLED
        next_one = child.started(child.serve, folder, listener, "")
        try:
            return phone.send(port)
        finally:
            next_one.kill()
            next_one.join()
