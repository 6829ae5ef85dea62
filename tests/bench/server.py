"""Servers of the benchmark: the app and a bare Flask route, started the same way, stopped by their own pid."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fieldapp.config import ROOT
from tests.ports import free_port

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A gunicorn on loopback with one worker process."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Processor seconds of gunicorn and its children so far."""
        return sum(_cpu(pid) for pid in (self.pid, *_children(self.pid)))


@contextmanager
def serving(target: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """Serve ``module:app`` until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", target, "-b", f"127.0.0.1:{port}", "-w", "1", "--threads", "4"]
    quiet = [*command, "--worker-class", "gthread", "--no-control-socket", "--log-level", "warning"]
    process = subprocess.Popen(quiet, cwd=ROOT, env={**os.environ, **environment})
    try:
        _wait(port, process)
        yield Server(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def data_folder(folder: Path) -> dict[str, str]:
    """The environment of a demo installation in ``folder``."""
    return {"FIELDAPP_DEMO": "1", "FIELDAPP_DATA_DIR": str(folder), "FIELDAPP_LOG_LEVEL": "WARNING", "FIELDAPP_ENV": ""}


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < give_up:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server of the benchmark did not start")


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(text) for text in path.read_text().split()] if path.exists() else []
    return [each for child in direct for each in (child, *_children(child))]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
