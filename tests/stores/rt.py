"""Request Tracker 5, live: one server a test process, and a queue of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack

import pytest
from flask import Flask, request

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.stores.rt import DEFAULTS, RequestTrackerStore
from tests.stores import rt_server
from tests.stores.bench import Bench
from tests.stores.rt_server import HOOK_SECRET, RequestTracker
from tests.stores.serving import serving

LOOPBACK = ("127.0.0.0/8",)
RUNNING = pytest.StashKey[RequestTracker]()
HEARD = pytest.StashKey[list[tuple[Mapping[str, str], bytes]]]()


def bench(asking: pytest.FixtureRequest) -> Bench:
    tracker = server(asking)
    queue = new_queue(tracker)

    def at(address: str) -> RequestTrackerStore:
        return store_of(tracker, queue, address=address)

    return Bench(store=at(tracker.address), unknown="999999", told=told, port=tracker.port, at=at)


def server(asking: pytest.FixtureRequest) -> RequestTracker:
    """Started when first asked for, stopped with the test process."""
    if reason := rt_server.missing():
        pytest.skip(reason)
    config = asking.config
    if RUNNING not in config.stash:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        config.stash[HEARD] = []
        hooks = stack.enter_context(serving(listener(config.stash[HEARD])))
        folder = asking.getfixturevalue("tmp_path_factory").mktemp("rt") / "rt"
        running = rt_server.running(folder, hook=f"http://127.0.0.1:{hooks}/hooks/rt", ready=config.cache.mkdir("rt"))
        config.stash[RUNNING] = stack.enter_context(running)
    return config.stash[RUNNING]


def listener(heard: list[tuple[Mapping[str, str], bytes]]) -> Flask:
    """What the scrip tells is kept in ``heard``."""
    app = Flask("listener")

    @app.post("/hooks/rt")
    def hear() -> tuple[str, int]:
        heard.append((dict(request.headers), request.get_data()))
        return "", 202

    return app


def new_queue(tracker: RequestTracker) -> str:
    """A queue that no other test knows."""
    name = f"Field Service {secrets.token_hex(4)}"
    tracker.ask("POST", "/queue", {"Name": name}, user="root")
    return name


def store_of(
    tracker: RequestTracker, queue: str, *, user: str = "fieldapp", address: str = "", words: StoreMapping | None = None
) -> RequestTrackerStore:
    """The adapter as one of its users, filing into ``queue``."""
    mapping = StoreMapping(place=queue).changed(words or StoreMapping())
    return RequestTrackerStore(
        Connection(
            address=address or tracker.address,
            secret=tracker.tokens[user],
            hook_secret=HOOK_SECRET,
            words=mapping,
            networks=LOOPBACK,
        )
    )


def told(status: str) -> str:
    """RT has fewer statuses than we have words: what ours reads as when it comes back."""
    return DEFAULTS.statuses.ours(DEFAULTS.statuses.theirs(status), "in_progress")
