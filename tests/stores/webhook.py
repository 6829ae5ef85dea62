"""A bridge as an integrator would write it: the whole of our own protocol, on tables in memory.

Protocol: docs/ticket-stores.md, "Everything else". Signatures: the Standard Webhooks specification,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (headers ``webhook-id``,
``webhook-timestamp``, ``webhook-signature``; HMAC-SHA256 over ``id.timestamp.content``; five minutes of tolerance; the id
is the key by which a receiver takes a message once).

It refuses a wrong or old signature (401), what it does not know (404), an unknown field, status or hash (422), a body that is
too large (413), and more than it was told to take (429 with Retry-After).
"""

from __future__ import annotations

import base64
import hashlib
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge, TooManyRequests, Unauthorized
from werkzeug.exceptions import UnprocessableEntity as Wrong

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.models import STATUSES
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.stores.webhook import WebhookStore
from tests.stores.bench import Bench
from tests.stores.serving import serving
from tests.stores.threads import EachThread, at_once

SECRET = "whsec_" + base64.b64encode(b"what we sign our requests with..").decode()
HOOK = "whsec_" + base64.b64encode(b"what the bridge signs hints with").decode()
CHANGE = {"ticket", "note", "author", "files", "status", "base"}
TICKET = {"subject", "text", "customer", "asset", "status", "fields"}
FILE = {"name", "media_type", "size", "sha256", "content"}


class Bridge:
    """Tickets, notes and receipts in memory, one message at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tickets: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []  # ticket names in the order of their changes: the cursor counts them
        self.protocol, self.statuses = 1, list(STATUSES)
        self.largest, self.requests_left = 64_000_000, 1_000_000

    # ---- what is asked --------------------------------------------------------------------------------

    def changes(self, after: str, limit: int) -> dict[str, Any]:
        start = int(after or 0)
        end = min(start + limit, len(self.log))
        told = [self.tickets[ref] for ref in dict.fromkeys(self.log[start:end])]
        return {"tickets": told, "cursor": str(end), "more": end < len(self.log)}

    def history(self, customer: str, limit: int) -> dict[str, Any]:
        theirs = [ticket for ticket in self.tickets.values() if ticket["customer"] == customer]
        return {"tickets": theirs[::-1][:limit]}

    def ticket(self, ref: str) -> dict[str, Any]:
        if ref not in self.tickets:
            raise NotFound(f"no ticket {ref}")
        return self.tickets[ref]

    # ---- what is sent: each uid once ------------------------------------------------------------------

    def change(self, uid: str, data: dict[str, Any]) -> None:
        if uid in self.receipts:
            return
        ticket = self.ticket(data["ticket"])
        if set(data) != CHANGE or data["status"] not in (None, *self.statuses):
            raise Wrong("fields or status")
        files = [self.kept(file) for file in data["files"]]
        stale = data["status"] is not None and data["base"] not in (None, ticket["version"])
        ref = f"{data['ticket']}/{len(self.notes[data['ticket']]) + 1}"
        note = {"ref": ref, "at": now(), "author": data["author"], "text": data["note"], "uid": uid, "files": files}
        self.notes[data["ticket"]].append(note)
        if data["status"] and not stale:
            ticket["status"] = data["status"]
        self.changed(ticket)
        receipt = {"uid": uid, "ticket": data["ticket"], "ref": ref, "files": files}
        self.receipts[uid] = {**receipt, "complete": not stale, "left_status": stale}

    def kept(self, file: dict[str, Any]) -> dict[str, Any]:
        content = base64.b64decode(file["content"], validate=True)
        if set(file) != FILE or (hashlib.sha256(content).hexdigest(), len(content)) != (file["sha256"], file["size"]):
            raise Wrong("a file is not what was said of it")
        ref = str(len(self.files) + 1)
        self.files[ref] = content
        return {**{name: file[name] for name in FILE - {"content"}}, "ref": ref}

    def file(self, uid: str, data: dict[str, Any]) -> None:
        if uid in self.receipts:
            return
        if set(data) != TICKET or data["status"] not in self.statuses:
            raise Wrong("fields or status")
        ref = f"B-{len(self.tickets) + 1}"
        self.tickets[ref] = {**data, "ref": ref, "opened": now(), "version": "0"}
        self.notes[ref] = []
        self.changed(self.tickets[ref])
        self.receipts[uid] = {"uid": uid, "ticket": ref, "ref": ref, "complete": True, "files": []}

    def changed(self, ticket: dict[str, Any]) -> None:
        ticket["version"], ticket["updated"] = str(int(ticket["version"]) + 1), now()
        self.log.append(ticket["ref"])


def now() -> str:
    return datetime.now(UTC).isoformat()  # another machine's clock


def served(bridge: Bridge) -> Flask:
    """The bridge's web server."""
    app, signature = Flask("bridge"), Webhook(SECRET)

    @app.before_request
    def guard() -> None:
        content = request.get_data() or f"{request.method} {request.environ['REQUEST_URI']}"
        try:
            signature.verify(content, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            raise Unauthorized(str(error)) from error
        bridge.requests_left -= 1
        if bridge.requests_left < 0:
            raise TooManyRequests(retry_after=7)
        if (request.content_length or 0) > bridge.largest:
            raise RequestEntityTooLarge

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        answer = error.get_response()
        return Response(
            f'{{"error": "{error.description}"}}', error.code, {"Retry-After": answer.headers.get("Retry-After", "")}
        )

    @app.get("/about")
    def about() -> Response:
        return jsonify(protocol=bridge.protocol, statuses=bridge.statuses)

    @app.get("/tickets")
    def tickets() -> Response:
        limit = int(request.args["limit"])
        with bridge.lock:
            if "customer" in request.args:
                return jsonify(bridge.history(request.args["customer"], limit))
            return jsonify(bridge.changes(request.args["after"], limit))

    @app.get("/tickets/<path:ref>")
    def ticket(ref: str) -> Response:
        with bridge.lock:
            return jsonify(bridge.ticket(ref))

    @app.get("/tickets/<path:ref>/notes")
    def notes(ref: str) -> Response:
        with bridge.lock:
            return jsonify(notes=bridge.notes[bridge.ticket(ref)["ref"]])

    @app.get("/files/<ref>")
    def content(ref: str) -> Response:
        return Response(bridge.files[ref], mimetype="application/octet-stream")

    @app.get("/receipts/<uid>")
    def receipt(uid: str) -> Response:
        if uid not in bridge.receipts:
            raise NotFound("no such message was taken")
        return jsonify(bridge.receipts[uid])

    @app.post("/changes")
    @app.post("/tickets", endpoint="file")
    def take() -> tuple[str, int]:
        wanted = {"/changes": ("change", bridge.change), "/tickets": ("ticket", bridge.file)}[request.path]
        message = request.get_json()
        if message["type"] != wanted[0]:
            raise Wrong("this message belongs elsewhere")
        with bridge.lock:
            wanted[1](request.headers["webhook-id"], message["data"])
        return "", 204

    return app


def connection(address: str) -> Connection:
    return Connection(address, secret=SECRET, hook_secret=HOOK, networks=("127.0.0.0/8",))


def bench(request: pytest.FixtureRequest) -> Bench:
    app = request.getfixturevalue("app")
    serve = serving(served(Bridge()))
    port = serve.__enter__()
    request.addfinalizer(lambda: serve.__exit__(None, None, None))

    def at(address: str) -> TicketStore:
        return EachThread(lambda: WebhookStore(connection(address)))  # type: ignore[return-value]

    return Bench(store=at(f"http://127.0.0.1:{port}"), unknown="B-0", at_once=at_once(app), port=port, at=at)
