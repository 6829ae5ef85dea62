"""Asking a store from several threads at once, each with a connection of its own, as ``stores.named`` keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask

from fieldapp.tickets.store import TicketStore


class EachThread:
    """An adapter that is made anew for every thread that asks it."""

    def __init__(self, make: Callable[[], TicketStore]) -> None:
        self._kept, self._make = threading.local(), make

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._kept, "store"):
            self._kept.store = self._make()
        return getattr(self._kept.store, name)


def at_once(app: Flask) -> Callable[[list[Callable[[], object]]], list[object]]:
    """All calls together, in the app's context; their results in the order of the calls."""

    def run_all(calls: list[Callable[[], object]]) -> list[object]:
        ready = threading.Barrier(len(calls))

        def run(call: Callable[[], object]) -> object:
            with app.app_context():
                ready.wait()
                return call()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(run, calls))

    return run_all
