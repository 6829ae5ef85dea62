"""A small ticket system on loopback, of nobody's make: it writes twice what it is told twice, and fails as it is told to.

Its adapter is the shortest that keeps the protocol: everything about the engine is tried through it, nothing about a vendor.
"""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from sqlalchemy import select

from fieldapp import clock, create_app
from fieldapp.customers.models import Customer
from fieldapp.extensions import db
from fieldapp.sync import worker
from fieldapp.tickets import mapping
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.models import STATUSES, Ticket
from fieldapp.tickets.store import (
    Caps,
    Change,
    Flaw,
    Hint,
    NewTicket,
    Page,
    Receipt,
    Rejected,
    Retry,
    StoreFile,
    StoreNote,
    StoreTicket,
)
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.wire import Wire
from tests.conftest import add, settings_for
from tests.stores.serving import serving

NAME = "webhook"  # a name that the settings know
TOKEN = "the-token-of-the-double"
ASKED = threading.Lock()
DEFAULTS = mapping.of(
    {"place": "Field", "statuses": {"read": dict(zip(STATUSES, STATUSES)), "write": dict(zip(STATUSES, STATUSES))}},
    where="double",
)
Trouble = Callable[[str, str], Response | None]


def nothing(_method: str, _path: str) -> Response | None:
    return None


@dataclass
class Double:
    """The ticket system itself. ``before`` may answer instead of it, ``after`` instead of what it would have said."""

    port: int = 0
    token: str = TOKEN
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: Trouble = nothing
    after: Trouble = nothing
    tells_hash: bool = True
    words: list[str] = field(default_factory=lambda: list(STATUSES))
    largest: int = 1_000_000

    def file(self, ref: str) -> None:
        self.tickets[ref] = {"ref": ref, "version": 1, "status": "new", "updated": now(), "notes": []}

    def notes(self, ref: str) -> list[dict[str, Any]]:
        return self.tickets[ref]["notes"]  # type: ignore[no-any-return]

    def writes(self) -> int:
        return sum(method == "POST" for method, _path in self.asked)


def now() -> str:
    return datetime.now(UTC).isoformat()


def app_of(double: Double) -> Flask:
    """The double as a web app."""
    app = Flask("double")

    @app.before_request
    def guard() -> Response | None:
        with ASKED:
            double.asked.append((request.method, request.path))
        if request.headers.get("Authorization") != f"Bearer {double.token}":
            return said({"error": f"bad token {request.headers.get('Authorization')}"}, 401)
        return double.before(request.method, request.path)

    @app.after_request
    def lose(answer: Response) -> Response:
        return double.after(request.method, request.path) or answer

    def too_large(files: list[dict[str, str]]) -> bool:
        return any(len(each["content"]) > double.largest for each in files)

    @app.get("/tickets")
    def changes() -> Response:
        return jsonify([bare(each) for each in double.tickets.values()])

    @app.get("/tickets/<ref>")
    def ticket(ref: str) -> Response:
        return jsonify(bare(double.tickets[ref])) if ref in double.tickets else said({"error": "no ticket"}, 404)

    @app.get("/tickets/<ref>/notes")
    def notes(ref: str) -> Response:
        if ref not in double.tickets:
            return said({"error": "no ticket"}, 404)
        return jsonify([told(double, each) for each in double.notes(ref)])

    @app.post("/tickets/<ref>/notes")
    def write(ref: str) -> Response:
        sent = request.get_json()
        if too_large(sent["files"]):
            return said({"error": "too large"}, 413)
        if sent["status"] and sent["status"] not in double.words:
            return said({"error": "unknown status"}, 422)
        mine = double.tickets[ref]
        sent |= {"id": f"{ref}-{len(mine['notes']) + 1}", "at": now()}
        mine["notes"].append(sent)
        mine.update(status=sent["status"] or mine["status"], version=mine["version"] + 1, updated=now())
        return said({"id": sent["id"]}, 201)

    @app.post("/tickets/<ref>/notes/<note>/files")
    def attach(ref: str, note: str) -> Response:
        mine = next(each for each in double.notes(ref) if each["id"] == note)
        if too_large(request.get_json()["files"]):
            return said({"error": "too large"}, 413)
        mine["files"] += request.get_json()["files"]
        return said({}, 201)

    @app.get("/tickets/<ref>/notes/<note>/files/<int:number>")
    def content(ref: str, note: str, number: int) -> Response:
        mine = next(each for each in double.notes(ref) if each["id"] == note)
        return Response(base64.b64decode(mine["files"][number]["content"]))

    @app.get("/statuses")
    def statuses() -> Response:
        return jsonify(double.words)

    return app


def said(body: object, status: int, **headers: str) -> Response:
    answer = jsonify(body)
    answer.status_code = status
    answer.headers.update(headers)
    return answer


def bare(ticket: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ticket.items() if name != "notes"}


def told(double: Double, note: Mapping[str, Any]) -> dict[str, Any]:
    """A note with its files' names and sizes, and their hashes where it tells them."""
    files = []
    for each in note["files"]:
        content = base64.b64decode(each["content"])
        digest = hashlib.sha256(content).hexdigest() if double.tells_hash else None
        files.append({"name": each["name"], "size": len(content), "sha256": digest})
    return {**note, "files": files}


# ---- its adapter -----------------------------------------------------------------------------------------


class DoubleStore:
    """``push``: look, write, read back."""

    name = NAME
    caps = Caps(delta="scan", find="scan", guard="none", atomic=True)
    looks = True

    def __init__(self, connection: Connection) -> None:
        self.words: StoreMapping = DEFAULTS.changed(connection.words)
        self.wire = Wire(connection, headers={"Authorization": f"Bearer {connection.secret}"})

    def changes(self, cursor: str, limit: int) -> Page:
        told = self.wire.ask("GET", "/tickets").json()
        return Page(tickets=tuple(self._ticket(each) for each in told), cursor="all", more=False)

    def ticket(self, ref: str) -> StoreTicket:
        return self._ticket(self.wire.ask("GET", f"/tickets/{ref}").json())

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        return ()

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        return tuple(note_of(ticket, each) for each in self.wire.ask("GET", f"/tickets/{ticket}/notes").json())

    def content(self, file: StoreFile) -> bytes:
        return self.wire.ask("GET", file.ref).body

    def find(self, uid: str, ticket: str) -> Receipt | None:
        found = self._found(uid, ticket)
        return Receipt(uid=uid, ticket=ticket, ref=found.ref, complete=True) if found else None

    def push(self, change: Change) -> Receipt:
        status = self.words.statuses.theirs(change.status) if change.status else None
        if change.status and status is None:
            raise Rejected(f"There is no word for {change.status}.")
        files = [{"name": each.name, "content": base64.b64encode(each.content).decode()} for each in change.files]
        already = self._found(change.uid, change.ticket) if self.looks else None
        if already is None:
            body = {"uid": change.uid, "text": change.note, "author": change.author, "status": status, "files": files}
            self.wire.ask("POST", f"/tickets/{change.ticket}/notes", json=body)
        elif len(already.files) < len(files):
            self.wire.ask("POST", f"/tickets/{change.ticket}/notes/{already.ref}/files", json={"files": files})
        receipt = self.find(change.uid, change.ticket)
        if receipt is None:
            raise Retry("The note cannot be read back.")
        return receipt

    def create(self, new: NewTicket) -> StoreTicket:
        raise Rejected("This one files no tickets.")

    def check(self) -> tuple[Flaw, ...]:
        known = self.wire.ask("GET", "/statuses").json()
        return tuple(
            Flaw(says=f"There is no status “{theirs}”.", mend=f"Name another word for {ours}.")
            for ours, theirs in self.words.statuses.write.items()
            if theirs not in known
        )

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        return ()

    def _found(self, uid: str, ticket: str) -> StoreNote | None:
        return next((each for each in self.thread(ticket) if each.uid == uid), None)

    def _ticket(self, told: Mapping[str, Any]) -> StoreTicket:
        moment = datetime.fromisoformat(told["updated"])
        return StoreTicket(
            ref=told["ref"],
            version=str(told["version"]),
            opened=moment,
            updated=moment,
            subject="服务器无法启动",
            status=self.words.statuses.ours(told["status"], "in_progress"),
        )


class BlindStore(DoubleStore):
    """The same without looking: it shows that looking is what keeps it from writing twice."""

    looks = False


def note_of(ticket: str, told: Mapping[str, Any]) -> StoreNote:
    files = tuple(
        StoreFile(
            name=each["name"],
            media_type="application/pdf",
            size=each["size"],
            sha256=each["sha256"],
            ref=f"/tickets/{ticket}/notes/{told['id']}/files/{number}",
        )
        for number, each in enumerate(told["files"])
    )
    at = datetime.fromisoformat(told["at"])
    return StoreNote(ref=told["id"], at=at, author=told["author"], text=told["text"], uid=told["uid"], files=files)


# ---- an installation that uses it ------------------------------------------------------------------------


@pytest.fixture
def double() -> Iterator[Double]:
    """The double, served on a port of this machine."""
    double = Double()
    with serving(app_of(double)) as port:
        double.port = port
        yield double


@pytest.fixture
def app(double: Double, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The app of an installation whose tickets lie in the double."""
    monkeypatch.setitem(STORES, NAME, DoubleStore)
    shutil.copyfile(migrated, tmp_path / "fieldapp.db")
    app = create_app(settings_for(tmp_path, **reached_at(double.port)), TESTING=True)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def reached_at(port: int) -> dict[str, str]:
    """The settings of such an installation."""
    return {
        "ticket_store": NAME,
        "store_url": f"http://127.0.0.1:{port}",
        "store_secret": TOKEN,
        "store_networks": "127.0.0.0/8",
    }


def ticket_in(double: Double, ref: str) -> Ticket:
    """A ticket of a customer there, and our copy of it."""
    double.file(ref)
    customer = db.session.scalar(select(Customer).limit(1)) or Customer(number="C-1", name="华东精密机械有限公司")
    add(customer)
    mine = Ticket(store=NAME, ref=ref, version="1", number=ref, subject="服务器无法启动", customer_id=customer.id)
    mine.opened_at = mine.changed_at = clock.now().replace(year=2020)
    add(mine)
    return mine


# ---- workers that are processes of their own -----------------------------------------------------------------

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.sync.double"])
KILLED = -signal.SIGKILL


def work(folder: Path, port: int, crash_at: str, looks: bool = True, database_url: str = "") -> None:
    """A worker until nothing is due, in a process of its own."""
    STORES[NAME] = DoubleStore if looks else BlindStore
    reach = {"database_url": database_url, **reached_at(port)}
    app = create_app(settings_for(folder, crash_at=crash_at, log_level="ERROR", **reach))
    with app.app_context():
        while worker.run_once(worker.worker_name()):
            pass


def worked(folder: Path, port: int, crash_at: str = "", *, looks: bool = True, database_url: str = "") -> int | None:
    """Let one work; its exit status."""
    process = FORKED.Process(target=work, args=(folder, port, crash_at, looks, database_url))
    process.start()
    process.join(120)
    return process.exitcode
