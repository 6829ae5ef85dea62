"""``flask serve`` and ``flask doctor``: two processes started and stopped together, and what is wrong in words."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Condition, Thread

import pytest
import time_machine
from flask import Flask
from sqlalchemy import text

from fieldapp import audit, clock, create_app, doctor, serve
from fieldapp.config import ROOT
from fieldapp.doctor import Finding
from fieldapp.extensions import db, operation
from fieldapp.sync import operations as sync
from fieldapp.sync import worker
from tests.conftest import SECRET, person, settings_for
from tests.ports import free_port

WITHIN_S = 120  # the machine does other things meanwhile

# ---- serve ------------------------------------------------------------------------------------------


@dataclass
class Served:
    """``flask serve`` at work. Two processes write at once, so the order of what is ``said`` is nobody's promise."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    more: Condition = field(default_factory=Condition)
    ended: bool = False

    def listen(self) -> None:
        """Hear every line until nobody is left who could say one."""
        assert self.process.stdout
        for line in self.process.stdout:
            with self.more:
                self.said.append(line)
                self.more.notify_all()
        with self.more:
            self.ended = True
            self.more.notify_all()

    def says(self, pattern: str, nth: int = 1) -> re.Match[str]:
        """The nth line from the start that fits, waited for where it was not said yet."""

        def found() -> list[re.Match[str]]:
            return [match for line in self.said if (match := re.search(pattern, line))]

        with self.more:
            self.more.wait_for(lambda: self.ended or len(found()) >= nth, timeout=WITHIN_S)
            assert len(found()) >= nth, f"{pattern!r} was not said {nth} times:\n{''.join(self.said)}"
            return found()[nth - 1]

    def rest(self) -> str:
        """Everything it said, once it has ended."""
        with self.more:
            assert self.more.wait_for(lambda: self.ended, timeout=WITHIN_S), f"it does not end:\n{''.join(self.said)}"
        self.process.wait(WITHIN_S)
        return "".join(self.said)


@contextmanager
def served(folder: Path, port: int, **settings: str) -> Iterator[Served]:
    """``flask serve`` as a person starts it; whatever happens it is ended by its own pid."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FIELDAPP_")},
        "FIELDAPP_DATA_DIR": str(folder),
        "FIELDAPP_SECRET_KEY": SECRET,
        "FIELDAPP_LOG_LEVEL": "INFO",
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "serve"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    service = Served(process)
    listening = Thread(target=service.listen)
    listening.start()
    try:
        yield service
    finally:
        process.terminate()
        process.wait(WITHIN_S)
        listening.join(WITHIN_S)
        assert process.stdout
        process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


WORKER_STARTS = r'"worker starts", "worker": "[^"]*:(\d+)"'


def processes_of(folder: Path) -> list[str]:
    """The processes that were started to work in that data folder."""
    return [process.name for process in Path("/proc").glob("[0-9]*") if _works_in(folder, process)]


def _works_in(folder: Path, process: Path) -> bool:
    try:
        return f"FIELDAPP_DATA_DIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it is gone, or not ours
        return False


@pytest.mark.crash
def test_both_children_start_and_end_with_sigterm(tmp_path: Path) -> None:
    port = free_port()
    # A host name that the check of our own answer does not carry must not keep it from starting.
    with served(tmp_path, port, FIELDAPP_TRUSTED_HOSTS="service.example") as service:
        worker_pid = int(service.says(WORKER_STARTS)[1])
        service.says(r"Field service is at http://127.0.0.1:\d+")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/readyz", headers={"Host": "service.example"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        assert alive(worker_pid)

        service.process.send_signal(signal.SIGTERM)
        said = service.rest()

    assert service.process.returncode == 0
    assert "worker ends" in said
    assert not alive(worker_pid)
    with socket.socket() as nobody:
        assert nobody.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.crash
def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    with served(tmp_path, free_port()) as service:
        first = int(service.says(WORKER_STARTS)[1])
        service.says("Field service is at")
        os.kill(first, signal.SIGKILL)
        service.says("The worker ended by itself; it is started again")
        second = int(service.says(WORKER_STARTS, nth=2)[1])

    assert second != first
    assert not alive(second)


@pytest.mark.crash
def test_a_taken_port_is_said_and_nothing_stays_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served(tmp_path, port) as service:
            said = service.rest()

    assert service.process.returncode == 1
    assert f"The web server did not start on 127.0.0.1:{port}; is the port taken?" in said
    assert not processes_of(tmp_path)


def test_a_child_that_does_not_listen_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "STOP_WITHIN_S", 0.5)
    deaf = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    )
    child = serve.Child("deaf", [])
    assert child.gone
    child.stop()
    child.process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    with child.process.stdout as says:
        says.readline()
        child.stop()

    assert child.process.returncode == -signal.SIGKILL
    assert child.gone


# ---- doctor -----------------------------------------------------------------------------------------


def findings() -> dict[str, Finding]:
    return {finding.what: finding for finding in doctor.findings()}


def test_a_well_installation_says_so(app: Flask) -> None:
    sync.beat("a worker")
    told = app.test_cli_runner().invoke(args=["doctor"])

    assert "WRONG" not in told.output.replace("languages", ""), told.output
    for what in ("database", "migrations", "audit chain", "storage", "ticket store", "worker", "clock"):
        assert f"well   {what}:" in told.output


def test_what_is_wrong_ends_with_status_one_and_what_to_do(app: Flask) -> None:
    _break("DELETE FROM alembic_version")
    told = app.test_cli_runner().invoke(args=["doctor"])

    assert told.exit_code == 1
    assert "WRONG  migrations: database at nothing" in told.output
    assert "→ Run: flask --app app db upgrade" in told.output


def test_a_database_that_is_not_there_is_a_finding_for_each_check(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path))
    with app.app_context():
        found = findings()
        db.session.remove()
        db.engine.dispose()

    assert found["database"].well
    for what in ("migrations", "audit chain", "ticket store", "worker"):
        assert not found[what].well, what
        assert found[what].mend


def test_a_changed_audit_log(app: Flask) -> None:
    _note()
    _break("DROP TRIGGER IF EXISTS audit_entry_no_update", *_dropped_triggers())
    _break("UPDATE audit_entry SET action = 'other'")

    found = findings()["audit chain"]
    assert (found.says, found.well) == ("row 1 does not fit", False)


@operation
def _note() -> None:
    audit.record("tested", "thing", "1", by=None)


def _dropped_triggers() -> list[str]:
    names = db.session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
    return [f"DROP TRIGGER IF EXISTS {name}" for name in names]


def _break(*statements: str) -> None:
    db.session.rollback()
    with db.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_another_program_changed_the_databases_settings(app: Flask) -> None:
    theirs = db.session.connection().connection.driver_connection
    for statement in ("COMMIT", "PRAGMA synchronous = OFF", "BEGIN"):
        theirs.execute(statement)
    found = doctor._database()  # in this very connection

    assert not found.well
    assert "synchronous 0" in found.says


def test_storage_that_cannot_be_written(app: Flask, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "blobs")

    found = findings()
    assert not found["storage"].well
    assert "writable" in found["storage"].mend
    assert not found["ticket store"].well


def test_missing_fonts(tmp_path: Path, migrated: Path) -> None:
    shutil.copyfile(migrated, tmp_path / "fieldapp.db")
    app = create_app(settings_for(tmp_path, fonts_dir=str(tmp_path / "none")))
    with app.app_context():
        found = findings()["fonts"]
        db.session.remove()
        db.engine.dispose()

    assert (found.well, found.mend) == (False, "Run: make setup")


def test_no_worker_is_a_warning(app: Flask) -> None:
    assert (findings()["worker"].warning, findings()["worker"].well) == (True, True)


@pytest.mark.parametrize("moment", ["2020-01-01", "2031-01-01"])
def test_a_wrong_clock(app: Flask, moment: str) -> None:
    """Before this app was written; or far from what the database says."""
    with time_machine.travel(datetime.fromisoformat(f"{moment}T12:00:00+00:00"), tick=False):
        found = doctor._clock()

    assert not found.well
    assert "NTP" in found.mend


def test_secrets_in_each_kind_of_installation(tmp_path: Path, migrated: Path) -> None:
    def says(name: str, **settings: str) -> Finding:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(migrated, folder / "fieldapp.db")
        app = create_app(settings_for(folder, **settings))
        with app.app_context():
            try:
                return doctor._secrets()
            finally:
                db.engine.dispose()

    assert says("demo", demo="1").warning
    assert "without https" in says("plain").says
    assert "not marked as production" in says("https", public_url="https://service.example").says
    production = says("production", public_url="https://service.example", env="production")
    assert production == Finding("secrets", f"key of {len(SECRET)} characters, https, production")


def test_ready_and_not_ready(app: Flask, client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/readyz").json["checks"]["database"] == "well"
    shutil.rmtree(tmp_path / "blobs")
    _break("DROP TABLE alembic_version")

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert (answer.json["checks"]["database"], answer.json["checks"]["storage"]) == ("not well", "not well")
    assert "alembic" not in answer.get_data(as_text=True)


def test_a_worker_seen_long_ago_is_none(app: Flask) -> None:
    with time_machine.travel(clock.now() - timedelta(minutes=5), tick=False):
        sync.beat(worker.worker_name())
    person("anybody", "engineer")

    assert doctor._worker().warning
