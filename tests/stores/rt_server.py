"""A Request Tracker 5 of our own on this machine: fresh database, our queue and custom fields, users with tokens.

The programs come from Debian (``.setup/setup.sh test``); everything that they write lies in one folder, nothing listens
outside loopback, no mail is sent. By hand, until Ctrl-C::

    .venv/bin/python -m tests.stores.rt_server 8091 http://127.0.0.1:8000/hooks/rt

(the second address, of our app, is told of every change, signed with ``HOOK_SECRET``).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.ports import free_port

SERVER = Path("/usr/share/request-tracker5/libexec/rt-server")
SETUP = shutil.which("rt-setup-database-5", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SEED = Path(__file__).with_name("rt-seed.pl")
SCRIP = Path(__file__).with_name("rt-scrip.pl")
HOOK_SECRET = "the secret of the scrip"
MAX_FILE = 3_000_000
ROOT_PASSWORD = "the password of root"
START_S, PAUSE_S = 180, 0.1

CONFIG = """\
Set($rtname, 'it.example');
Set($Organization, 'it.example');
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{folder}/rt.sqlite');
Set($DatabaseAdmin, '');
Set($WebDomain, '127.0.0.1');
Set($WebPort, {port});
Set($Timezone, 'UTC');
Set($BcryptCost, 4);
Set($MailCommand, 'testfile');
Set($LogToSyslog, undef);
Set($LogToSTDERR, 'warning');
Set($MaxAttachmentSize, {max_file});
Set($DropLongAttachments, 1);
Set($WebSessionClass, 'Apache::Session::File');
$RT::MasonDataDir = '{folder}/mason';
$RT::MasonSessionDir = '{folder}/session';
{hook}
1;
"""
HOOK = "Set(%FieldServiceApp, Address => '{address}', Secret => '{secret}');"


@dataclass(frozen=True)
class RequestTracker:
    """Where it listens and the tokens of its users: ``fieldapp``, ``agent``, ``readonly``,
    ``shanghai``, ``unmarked`` (who may not set custom fields), ``commenter``, ``blind`` (who sees no comments) and ``root``."""

    port: int
    tokens: Mapping[str, str] = field(repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, told: object = None, *, user: str = "agent") -> Any:
        """Ask its REST 2.0 as somebody else, and give the answer's JSON."""
        headers = {"Authorization": f"token {self.tokens[user]}", "Content-Type": "application/json"}
        body = None if told is None else json.dumps(told).encode()
        with urlopen(Request(f"{self.address}/REST/2.0{path}", body, headers, method=method), timeout=60) as answer:
            return json.load(answer)


def missing() -> str | None:
    """Why it cannot be started here, in a sentence."""
    if SETUP and SERVER.exists():
        return None
    return "Request Tracker 5 is not installed: Debian's request-tracker5, rt5-db-sqlite and rt5-standalone (make setup-test)"


@contextmanager
def running(folder: Path, *, port: int = 0, hook: str = "", ready: Path | None = None) -> Iterator[RequestTracker]:
    """A server with a fresh database in ``folder``, which tells ``hook`` of every change. In ``ready`` lies a copy of the
    database for the next time, which is then started four times as fast. It ends with this block, or with this process, however that ends."""
    port = port or free_port()
    environment = _configured(folder, port, hook)
    tokens = _database(folder, environment, ready)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(_command(port), env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        tracker = RequestTracker(port, tokens)
        _wait(tracker, server, folder)
        yield tracker
    finally:
        _stop(server)


def _configured(folder: Path, port: int, hook: str) -> dict[str, str]:
    for name in ("site.d", "mason", "session"):
        (folder / name).mkdir(parents=True)
    told = HOOK.replace("{address}", hook).replace("{secret}", HOOK_SECRET) if hook else ""
    config = CONFIG.replace("{folder}", str(folder)).replace("{port}", str(port))
    config = config.replace("{max_file}", str(MAX_FILE)).replace("{hook}", told)
    (folder / "site.pm").write_text(config)
    ours = {
        "RT_SITE_CONFIG": str(folder / "site.pm"),
        "RT_SITE_CONFIG_DIR": str(folder / "site.d"),
        "TMPDIR": str(folder),
    }
    return {**os.environ, **ours}


def _database(folder: Path, environment: dict[str, str], ready: Path | None) -> Mapping[str, str]:
    """A fresh one with our users' tokens: copied from ``ready`` where it was made before, else made and laid there."""
    kept = ready / _recipe() if ready else None
    if kept is None or not kept.exists():
        tokens = _seeded(folder, environment)
        if kept is not None:
            _lay_ready(folder, tokens, kept)
        return tokens
    shutil.copyfile(kept / "rt.sqlite", folder / "rt.sqlite")
    return json.loads((kept / "tokens.json").read_text())  # type: ignore[no-any-return]


def _recipe() -> str:
    """A name that changes with all that the database is made from."""
    digest = hashlib.sha256()
    for path in (SEED, SCRIP, SERVER.parents[1] / "lib/RT/Generated.pm"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _lay_ready(folder: Path, tokens: Mapping[str, str], kept: Path) -> None:
    """In one step, so that another test process finds it whole or not at all."""
    half = Path(tempfile.mkdtemp(dir=kept.parent))
    shutil.copyfile(folder / "rt.sqlite", half / "rt.sqlite")
    (half / "tokens.json").write_text(json.dumps(dict(tokens)))
    try:
        half.rename(kept)
    except OSError:  # somebody was quicker
        shutil.rmtree(half)


def _seeded(folder: Path, environment: dict[str, str]) -> Mapping[str, str]:
    password = folder / "root-password"
    password.touch(mode=0o600)
    password.write_text(ROOT_PASSWORD)
    options = ["--action", "init", "--skip-create", "--root-password-file", str(password)]
    _run([str(SETUP), *options], environment)
    return json.loads(_run(["perl", str(SEED), str(SCRIP)], environment))


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def _command(port: int) -> list[str]:
    """The kernel ends it when we die; its workers end with it."""
    with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    options = ["--server", "Starlet", "--host", "127.0.0.1", "--port", str(port), "--max-workers", "2"]
    return [*with_us, str(SERVER), *options]


def _wait(tracker: RequestTracker, server: subprocess.Popen[bytes], folder: Path) -> None:
    ask = Request(f"{tracker.address}/REST/2.0/rt", headers={"Authorization": f"token {tracker.tokens['fieldapp']}"})
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        assert server.poll() is None, (folder / "server.log").read_text(errors="replace")[-2000:]
        try:
            urlopen(ask, timeout=60).close()
        except OSError:
            time.sleep(PAUSE_S)
        else:
            return
    raise AssertionError((folder / "server.log").read_text(errors="replace")[-2000:])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """It and its workers, which form a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _by_hand(port: int, hook: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rt-") as folder,
        running(Path(folder) / "rt", port=port, hook=hook) as tracker,
    ):
        print(f"{tracker.address}  root / {ROOT_PASSWORD}, fieldapp / the password of fieldapp")
        print(json.dumps(dict(tracker.tokens), indent=1), flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    _by_hand(int(given.get(1, "8091")), given.get(2, ""))
