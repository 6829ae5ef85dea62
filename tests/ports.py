"""A free port for a server that takes a number and no socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import count

FIRST, EACH = 20_000, 1_000  # below what a system gives to whoever asks for any port
_next = count(os.getpid())


def free_port() -> int:
    """A port that nobody else is given until the server listens there: each test process has a thousand of its own."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _turn in range(EACH):
        port = FIRST + process % 12 * EACH + next(_next) % EACH
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"none of {EACH} ports is free")
