"""A double on loopback: a small WSGI app that answers as the vendor's documents say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server


@contextmanager
def serving(double: Flask, handler: type[WSGIRequestHandler] = WSGIRequestHandler) -> Iterator[int]:
    """Serve a double on a free port of this machine and give the port; stopped at the end. ``handler`` for one with a
    clock of its own."""
    server = make_server("127.0.0.1", 0, double, threaded=True, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
