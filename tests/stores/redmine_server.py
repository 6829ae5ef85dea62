"""A Redmine 5 of our own on this machine: fresh database, our project and custom fields, users with keys.

The program comes from Debian (``.setup/setup.sh test``); everything that it writes lies in one folder, nothing listens
outside loopback, no mail is sent. A migrated, seeded database is made once for each version of Redmine and of the seed
(some ten seconds), kept in the system's folder for temporary files, and copied for each server. By hand, until Ctrl-C::

    .venv/bin/python -m tests.stores.redmine_server 8092
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = Path("/usr/share/redmine")
SEED = Path(__file__).with_name("redmine-seed.rb")
PROJECT = "field-service"
START_S, PAUSE_S = 180, 0.05

# Debian's Gemfile reads the installations of the whole machine; ours reads its own database only.
EVERYBODYS = "'/usr/share/redmine/{config,instances/*/config}/database.yml'"
OURS = "File.expand_path('config/database.yml', __dir__)"
DATABASE = "production: {adapter: sqlite3, database: '<%= ENV[\"REDMINE_TEST_DATABASE\"] %>', timeout: 15000}\n"
CONFIGURATION = """\
production:
  email_delivery:
    delivery_method: :test
  attachments_storage_path: <%= ENV["REDMINE_TEST_FILES"] %>
"""


@dataclass(frozen=True)
class Redmine:
    """Where it listens; its users' keys (``admin``, ``fieldapp``, ``agent``, ``readonly``, ``stuck``, ``mute``); the
    numbers of the project in which they have their roles, and of the custom fields; its database, so that a test can
    change a setting."""

    port: int
    version: str
    folder: Path
    project: int
    keys: Mapping[str, str] = field(repr=False)
    fields: Mapping[str, int]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """What the database answers; a write is committed."""
        with closing(sqlite3.connect(self.folder / "redmine.sqlite3", timeout=30)) as database, database:
            return database.execute(statement, values).fetchall()

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Another value of a setting, inside the block. Redmine reads its settings again when one of them is newer."""
        before = self.rows("SELECT value FROM settings WHERE name = ?", name)[0][0]
        self._set(name, value)
        try:
            yield
        finally:
            self._set(name, before)

    def _set(self, name: str, value: object) -> None:
        newest = str(self.rows("SELECT MAX(updated_on) FROM settings")[0][0])
        later = f"{int(newest[:4]) + 1}{newest[4:]}"
        self.rows("UPDATE settings SET value = ?, updated_on = ? WHERE name = ?", value, later, name)


def missing() -> str | None:
    """Why it cannot be started here, in a sentence."""
    if (PROGRAM / "config.ru").exists() and shutil.which("bundle") and shutil.which("puma"):
        return None
    return "Redmine 5 is not installed: Debian's redmine, redmine-sqlite and puma (make setup-test)"


@contextmanager
def running(folder: Path, *, port: int = 0) -> Iterator[Redmine]:
    """A server with a fresh database in ``folder``. It ends with this block or with this process, however that ends."""
    shutil.copytree(_seeded(), folder, symlinks=True)
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            _command(port),
            cwd=folder / "app",
            env=_environment(folder),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Redmine(port=_listening(server, log), folder=folder, **json.loads((folder / "seed.json").read_text()))
    finally:
        _stop(server)


# ---- a folder with the program's copy and a seeded database, made once ----------------------------------------


def _seeded() -> Path:
    """The folder to copy. Whoever comes second waits for the first; a half-made one is never seen under its name."""
    name = f"fieldapp-redmine-{os.getuid()}-{_fingerprint()}"
    made = Path(tempfile.gettempdir()) / name
    with (Path(tempfile.gettempdir()) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(making := Path(tempfile.mkdtemp(prefix=f"{name}.")))
            making.rename(made)
    assert made.stat().st_uid == os.getuid(), f"{made} belongs to somebody else"
    return made


def _fingerprint() -> str:
    """Of all that the folder is made from."""
    parts = (PROGRAM / "lib/redmine/version.rb", PROGRAM / "Gemfile", SEED, Path(__file__))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]


def _make(folder: Path) -> None:
    app = folder / "app"
    shutil.copytree(
        PROGRAM, app, symlinks=True, ignore=shutil.ignore_patterns("instances", "Gemfile.lock", "database.yml")
    )
    (app / "Gemfile").write_text((PROGRAM / "Gemfile").read_text().replace(EVERYBODYS, OURS))
    (app / "Gemfile.local").write_text('gem "puma"\n')
    (app / "config/database.yml").write_text(DATABASE)
    own = app / "instances/default"  # where Debian's Redmine keeps what differs between installations
    for each in (folder / "files", own / "config", own / "log", own / "tmp/cache", own / "public/plugin_assets"):
        each.mkdir(parents=True)
    (own / "config/database.yml").write_text(DATABASE)
    (own / "config/configuration.yml").write_text(CONFIGURATION)
    (own / "config/secret_key.txt").write_text(secrets.token_hex(32))
    # `bundle install` would refuse Debian's gems, which have no folder of their own; a lock file is all that is needed.
    _run(["bundle", "lock", "--local"], folder)
    (folder / "seed.json").write_text(_run(["bundle", "exec", "rails", "runner", str(SEED)], folder))


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder / "app", env=_environment(folder), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    """The server's clock shows another time than UTC, as most do."""
    return {
        **os.environ,
        "HOME": str(folder),
        "TZ": "Asia/Shanghai",
        "LANG": "C.UTF-8",
        "RAILS_ENV": "production",
        "RAILS_LOG_TO_STDOUT": "",
        "SCHEMA": "/dev/null",
        "BUNDLE_GEMFILE": str(folder / "app/Gemfile"),
        "BUNDLE_SILENCE_ROOT_WARNING": "1",
        "REDMINE_TEST_DATABASE": str(folder / "redmine.sqlite3"),
        "REDMINE_TEST_FILES": str(folder / "files"),
    }


# ---- the server ----------------------------------------------------------------------------------------------


def _command(port: int) -> list[str]:
    """One process with some threads; the kernel ends it when we die."""
    with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    puma = ["bundle", "exec", "puma", "-e", "production", "-t", "2:5", "-b", f"tcp://127.0.0.1:{port}"]
    return [*with_us, *puma]


def _listening(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port that it says it listens on: port 0 is a free one, which nobody can take meanwhile."""
    for _ in range(int(START_S / PAUSE_S)):
        said = log.read_text(errors="replace")
        if found := re.search(r"Listening on http://127\.0\.0\.1:(\d+)\s", said):
            return int(found[1])
        assert server.poll() is None, said[-2000:]
        time.sleep(PAUSE_S)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """It and whatever it started, which form a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _by_hand(port: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="redmine-") as folder,
        running(Path(folder) / "redmine", port=port) as redmine,
    ):
        print(f"{redmine.address}/projects/{PROJECT}  admin / the password of admin, agent / the password of agent")
        print(json.dumps(dict(redmine.keys), indent=1), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    _by_hand(int(sys.argv[1]) if len(sys.argv) > 1 else 8092)
