"""The embedded store, on the test's own database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fieldapp.extensions import db
from fieldapp.tickets.stores.embedded import EmbeddedStore
from tests.stores.bench import Bench


def bench(request: pytest.FixtureRequest) -> Bench:
    app = request.getfixturevalue("app")

    def at_once(calls: list[Callable[[], object]]) -> list[object]:
        ready = threading.Barrier(len(calls))

        def run(call: Callable[[], object]) -> object:
            with app.app_context():
                ready.wait()
                try:
                    return call()
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(run, calls))

    return Bench(store=EmbeddedStore(), unknown="T-19700101-0001", at_once=at_once)
