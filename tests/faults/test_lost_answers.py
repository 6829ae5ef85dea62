"""X4, X7, X8: the answer is lost, the phone sends twenty times at once, the same number comes with other content.

The server is gunicorn with four processes, as in production; between it and the phone stands a proxy that spoils
connections.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from fieldapp import create_app
from fieldapp.audit import AuditEntry
from fieldapp.config import ROOT
from fieldapp.extensions import db, uuid7
from fieldapp.records.models import ServiceRecord
from tests.conftest import SECRET, settings_for
from tests.faults import child
from tests.faults.proxy import Fault, proxy_to
from tests.faults.stage import ONCE, Stage, found_in, prepared

NO_ANSWER = (OSError, http.client.HTTPException)


@pytest.fixture
def stage(migrated: Path) -> Stage:
    return prepared(migrated)


@pytest.fixture
def folder(stage: Stage, tmp_path: Path) -> Path:
    return stage.copied(tmp_path)


@contextmanager
def gunicorn(folder: Path, workers: int = 1) -> Iterator[int]:
    """The web server on a free port; it takes over a socket that listens already, so nobody has to wait for it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FIELDAPP_")},
        "FIELDAPP_DATA_DIR": str(folder),
        "FIELDAPP_SECRET_KEY": SECRET,
        "FIELDAPP_LOG_LEVEL": "ERROR",
    }
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        options = ["-b", f"fd://{listener.fileno()}", "-w", str(workers), "--threads", "4", "--no-control-socket"]
        command = [sys.executable, "-m", "gunicorn", "app:app", "--log-level", "error", *options]
        server = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[listener.fileno()])
        try:
            yield listener.getsockname()[1]
        finally:
            server.terminate()
            assert server.wait(90) == 0  # it waits 30 s itself for a worker that is still at work


@pytest.mark.crash
def test_x4_the_answer_is_lost_after_the_server_committed(stage: Stage, folder: Path) -> None:
    phone = stage.completion(str(uuid7()))

    with gunicorn(folder) as server, proxy_to(server) as proxy:
        proxy.fault = Fault(drop_answer=True)
        with pytest.raises(NO_ANSWER):
            phone.send(proxy.port)
        proxy.fault = Fault()
        receipt = phone.send(proxy.port)
        again = phone.send(proxy.port)

    (lost,) = proxy.dropped
    assert b'"replayed":false' in lost.replace(b" ", b"")
    assert receipt.status == 200
    assert receipt.body["replayed"] is True
    assert str(receipt.body["content_hash"]).encode() in lost
    assert again.body == receipt.body
    assert child.ended(child.started(child.work, folder, "")) == 0
    assert found_in(folder) == ONCE


@pytest.mark.crash
def test_x4_whatever_the_network_does_first_one_record_is_made(stage: Stage, folder: Path) -> None:
    """Cut on the way up at several places, cut on the way down, a captive portal: then the network is well."""
    phone = stage.completion(str(uuid7()))
    spoiled = [Fault(reset_up_after=n) for n in (0, 100, 1500, len(phone.body))]
    spoiled += [Fault(reset_down_after=n) for n in (0, 60)]

    with gunicorn(folder) as server, proxy_to(server) as proxy:
        for fault in spoiled:
            proxy.fault = fault
            with pytest.raises(NO_ANSWER):
                phone.send(proxy.port)
        proxy.fault = Fault(captive_portal=True)
        with pytest.raises(ValueError):  # a page, not our receipt
            phone.send(proxy.port)
        proxy.fault = Fault(latency_s=0.01, half_close=True)
        receipt = phone.send(proxy.port)

    assert receipt.status == 200
    assert child.ended(child.started(child.work, folder, "")) == 0
    assert found_in(folder) == ONCE


@pytest.mark.crash
def test_x7_the_same_submission_twenty_times_at_once(stage: Stage, folder: Path) -> None:
    phone = stage.completion(str(uuid7()))

    with gunicorn(folder, workers=4) as server, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _n: phone.send(server), range(20)))
        last = phone.send(server)

    kinds = Counter((answer.status, answer.body.get("replayed", answer.body.get("error"))) for answer in answers)
    assert kinds[200, False] == 1, kinds
    assert set(kinds) <= {(200, False), (200, True), (409, "in_progress"), (503, "busy")}, kinds
    receipts = [{**answer.body, "replayed": None} for answer in answers if answer.status == 200]
    assert all(receipt == {**last.body, "replayed": None} for receipt in receipts)
    assert child.ended(child.started(child.work, folder, "")) == 0
    assert found_in(folder) == ONCE


@pytest.mark.crash
def test_x8_the_same_number_with_one_other_byte_is_refused(stage: Stage, folder: Path) -> None:
    number = str(uuid7())

    with gunicorn(folder) as server:
        first = stage.completion(number).send(server)
        frozen = content_in(folder)
        other = stage.completion(number, customer_name="陈小").send(server)
        again = stage.completion(number).send(server)

    assert (first.status, first.body["replayed"]) == (200, False)
    assert (other.status, other.body["error"]) == (422, "key_reused")
    assert (again.status, again.body["replayed"]) == (200, True)
    assert content_in(folder) == frozen
    app = create_app(settings_for(folder))
    with app.app_context():
        noted = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "submission.key_reused")).all()
        assert [entry.subject_id for entry in noted] == [number]
        db.session.remove()
        db.engine.dispose()


def content_in(folder: Path) -> tuple[str | None, str | None]:
    """The frozen content of the one record, and its hash."""
    app = create_app(settings_for(folder))
    with app.app_context():
        record = db.session.scalars(select(ServiceRecord)).one()
        try:
            return record.content, record.content_hash
        finally:
            db.session.remove()
            db.engine.dispose()
