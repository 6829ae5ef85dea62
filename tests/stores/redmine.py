"""A live Redmine 5 on this machine, one for each test process; each test has a project of its own in it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.stores.redmine import RedmineStore
from tests.stores import redmine_server
from tests.stores.bench import Bench
from tests.stores.redmine_server import Redmine

SERVER = pytest.StashKey[Redmine]()
# A fresh Redmine has six statuses for our eight.
TOLD = {"triaged": "in_progress", "reopened": "in_progress"}


def bench(request: pytest.FixtureRequest) -> Bench:
    redmine = server(request)
    place = project(redmine)

    def at(address: str) -> RedmineStore:
        return store(redmine, place, address=address)

    return Bench(
        store=at(redmine.address),
        unknown="999999999",
        told=lambda status: TOLD.get(status, status),
        port=redmine.port,
        at=at,
    )


def server(request: pytest.FixtureRequest) -> Redmine:
    """The server of this test process: started by the first test that needs it, stopped at the end of the session."""
    if reason := redmine_server.missing():
        pytest.skip(reason)
    stash = request.config.stash
    if SERVER not in stash:
        living = ExitStack()
        request.config.add_cleanup(living.close)
        folder = living.enter_context(TemporaryDirectory(prefix="redmine-", ignore_cleanup_errors=True))
        stash[SERVER] = living.enter_context(redmine_server.running(Path(folder) / "redmine"))
    return stash[SERVER]


def store(redmine: Redmine, place: str, *, user: str = "fieldapp", address: str = "", **more: Any) -> RedmineStore:
    """The adapter as one of Redmine's users, at a project; ``more`` is what the mapping says besides."""
    connection = Connection(
        address=address or redmine.address,
        secret=redmine.keys[user],
        hook_secret="a secret that Redmine knows",
        words=StoreMapping(place=place, **more),
        networks=("127.0.0.0/8",),
    )
    return RedmineStore(connection)


def project(redmine: Redmine, *, fields: bool = True) -> str:
    """A new, empty project with our custom fields (or none); its identifier. Roles come from the project above."""
    name = f"p-{secrets.token_hex(4)}"
    asked = {
        "name": name,
        "identifier": name,
        "is_public": False,
        "parent_id": redmine.project,
        "inherit_members": True,
        "issue_custom_field_ids": list(redmine.fields.values()) if fields else [],
        "tracker_ids": [1, 2, 3],
        "enabled_module_names": ["issue_tracking"],
    }
    ask(redmine, "POST", "/projects.json", {"project": asked})
    return name


def ask(redmine: Redmine, method: str, path: str, body: Mapping[str, Any] | None = None, *, user: str = "admin") -> Any:
    """Ask Redmine as one of its users, past the adapter; what it answers."""
    headers = {"X-Redmine-API-Key": redmine.keys[user]}
    answer = requests.request(method, f"{redmine.address}{path}", json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None
