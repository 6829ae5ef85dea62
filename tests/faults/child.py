"""What runs in processes of their own, so that they can be killed. They are forked from a server that has everything
imported, so that a round costs no start."""

from __future__ import annotations

import multiprocessing
import signal
import socket
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from werkzeug.serving import make_server

from fieldapp import create_app
from fieldapp.sync import worker
from tests.conftest import settings_for

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.faults.child"])
KILLED = -signal.SIGKILL


def serve(folder: Path, listener: socket.socket, crash_at: str) -> None:
    """The web app on a socket that listens already: whoever connects early waits."""
    app = create_app(settings_for(folder, crash_at=crash_at, log_level="ERROR"))
    make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno()).serve_forever()


def work(folder: Path, crash_at: str, database_url: str = "") -> None:
    """A worker until nothing is due."""
    app = create_app(settings_for(folder, crash_at=crash_at, database_url=database_url, log_level="ERROR"))
    with app.app_context():
        worker.run_until_idle("forked")


def work_once(folder: Path, crash_at: str) -> None:
    """A worker that keeps one promise."""
    app = create_app(settings_for(folder, crash_at=crash_at, log_level="ERROR"))
    with app.app_context():
        worker.run_once(worker.worker_name())


def started(target, *arguments: object) -> ForkServerProcess:  # type: ignore[no-untyped-def]
    process = FORKED.Process(target=target, args=arguments)
    process.start()
    return process


def ended(process: ForkServerProcess, within_s: float = 120) -> int | None:
    """The exit status (negative: the signal); None when it still runs."""
    process.join(within_s)
    return process.exitcode


def listening() -> socket.socket:
    """A socket on a free port of this machine that takes connections from now on."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.set_inheritable(True)
    return listener
