"""``flask serve``: migrate, load the demo day, start web and worker, and stop both together."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import FrameType

import click

from fieldapp.config import ROOT

READY_WITHIN_S = 60
STOP_WITHIN_S = 20
WEB = ("-w", "1", "--threads", "8", "--worker-class", "gthread", "--max-requests", "20000", "--no-control-socket")


@dataclass
class Child:
    """A process that we started and that we stop by its own pid."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT)

    @property
    def gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        if self.process is None or self.gone:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(host: str, port: int, greeting: str) -> int:
    """Serve until a signal comes; the exit status. A worker that dies is started again, a dead web server ends it."""
    web = Child("web", [sys.executable, "-m", "gunicorn", "app:app", "-b", f"{host}:{port}", *WEB])
    worker = Child("worker", [sys.executable, "-m", "flask", "--app", "app", "work"])
    stopping = _on_signals()
    try:
        web.start()
        worker.start()
        if not _answers(f"http://{host}:{port}/healthz", web):
            click.echo(f"The web server did not start on {host}:{port}; is the port taken? Try PORT=8001.", err=True)
            return 1
        click.echo(greeting)
        return _watch(web, worker, stopping)
    finally:
        worker.stop()
        web.stop()


def _watch(web: Child, worker: Child, stopping: list[int]) -> int:
    while not stopping:
        if web.gone:
            click.echo("The web server ended by itself.", err=True)
            return 1
        if worker.gone:
            click.echo("The worker ended by itself; it is started again.", err=True)
            worker.start()
        time.sleep(0.5)
    return 0


def _answers(address: str, web: Child) -> bool:
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up and not web.gone:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - our own loopback address
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return True  # it answers, if only to say that it does not know this host name
        except OSError:
            time.sleep(0.1)
    return False


def _on_signals() -> list[int]:
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, note)
    return seen
