"""A bad wire before a ticket store: requests that never arrive, and answers that nobody hears although the work was done.

Each request meets its own luck, by a fixed seed. Only what writes loses its answer: that is where an effect can be doubled.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
READS = ("GET", "HEAD", "OPTIONS")


def as_it_is(_number: int, status: int, answer: bytes) -> tuple[int, bytes]:
    return status, answer


@dataclass
class Wire:
    """``lost_requests`` of all requests do not arrive, ``lost_answers`` of the answers to writes are not heard. What is heard
    has gone through ``twist``, which is given the number of the answer, its status and its body."""

    server_port: int
    lost_requests: float = 0.2
    lost_answers: float = 0.5
    twist: Callable[[int, int, bytes], tuple[int, bytes]] = as_it_is
    rng: random.Random = field(default_factory=lambda: random.Random(20261122))
    port: int = 0
    passed: int = 0
    requests_lost: int = 0
    answers_lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def luck(self, method: str) -> tuple[bool, bool]:
        """Whether this request is lost, and whether its answer is."""
        with self.lock:
            request_lost = self.rng.random() < self.lost_requests
            answer_lost = not request_lost and method not in READS and self.rng.random() < self.lost_answers
            self.requests_lost += request_lost
            self.answers_lost += answer_lost
            self.passed += not (request_lost or answer_lost)
        return request_lost, answer_lost


@contextmanager
def before(server_port: int, **luck: Any) -> Iterator[Wire]:
    """A bad wire before the server on this port of this machine; ``wire.port`` is where it listens."""
    wire = Wire(server_port, **luck)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(wire))
    server.daemon_threads = True
    server.handle_error = lambda *_about: None  # type: ignore[method-assign] # a worker that was killed hangs up in the middle
    wire.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request_lost, answer_lost = wire.luck(self.command)
            if request_lost:
                self.hang_up()
                return
            status, headers, answer = self.ask(body)
            if answer_lost:
                self.hang_up()
                return
            status, answer = wire.twist(wire.passed, status, answer)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP:
                    self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", wire.server_port, timeout=60)
            try:
                kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                connection.request(self.command, self.path, body or None, {**kept, "Host": self.headers["Host"]})
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def hang_up(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_args: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.relay)
    return Handler
