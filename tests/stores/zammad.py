"""A double of Zammad's REST API, as far as the adapter asks it.

Written from the public documents of the Zammad Foundation:

- "REST API: Introduction, Ticket, Articles, Linking Tickets, States, User", https://docs.zammad.org/en/latest/api/intro.html
  and the pages beside it: token header, ``expand``, ``page`` and ``per_page``, ``sort_by`` and ``order_by``, base64
  attachments, an article within an update, 401/403/404/422;
- "Webhooks", https://admin-docs.zammad.org/en/latest/manage/webhook/payload.html: ``X-Zammad-Delivery``, ``X-Hub-Signature``;
- its public source, https://github.com/zammad/zammad, for what the documents leave out: ``app/models/concerns/can_search.rb``
  (a ``condition`` is answered from the database, a ``query`` from the index and without its asterisks),
  ``app/controllers/tickets_controller.rb`` (an update and its article are one transaction; unknown attributes are dropped
  in silence), ``lib/sql_helper.rb`` (an unknown column to sort by is a 500), ``lib/user_agent.rb`` (what is signed).

It has no version to guard with and no limit of requests of its own; 429 and 413 come from the web server before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.stores.zammad import DEFAULTS, ZammadStore
from tests.stores.bench import Bench
from tests.stores.serving import serving

TOKEN = "zammad-token-1"
HOOK = "zammad-hook-secret"
STATES = ("new", "open", "pending reminder", "closed", "merged", "removed", "pending close")
PRIORITIES = ("1 low", "2 normal", "3 high")
COLUMNS = (
    "id",
    "number",
    "title",
    "group",
    "state",
    "priority",
    "customer",
    "created_at",
    "updated_at",
    "pending_time",
)
ARTICLE_KEYS = ("subject", "body", "content_type", "type", "internal")
OPERATORS = ("is", "is not", "after (absolute)", "before (absolute)")


@dataclass
class Zammad:
    """What it holds, and how it is set up. ``ahead``: how far its clock is before ours."""

    attributes: list[str] = field(default_factory=lambda: list(DEFAULTS.fields.values()))
    groups: dict[str, list[str]] = field(default_factory=lambda: {"Users": ["full"]})
    rights: set[str] = field(default_factory=lambda: {"ticket.agent"})
    mandatory: dict[str, str] = field(default_factory=dict)  # state → attribute that a workflow asks for with it
    honours_conditions: bool = True
    wait_s: int = 0  # the web server asks everybody to wait
    cut_short: bool = False  # its disk is full: half a file is kept
    lost: int = 0  # so many writes are done, and the web server answers that nobody answered
    most_bytes: int = 50 * 1024 * 1024
    ahead: timedelta = timedelta()
    tickets: dict[int, dict[str, Any]] = field(default_factory=dict)
    articles: dict[int, dict[str, Any]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    links: list[tuple[int, int]] = field(default_factory=list)  # parent, child
    asked: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def stamp(self) -> str:
        return self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def later(self) -> None:
        """Time passes: whatever ran is long committed."""
        self.ahead += timedelta(seconds=61)

    def merge(self, source: int, target: int) -> None:
        """As a person does it: articles and links move, a word stays in the source, and a link to it."""
        for article in self.articles.values():
            if article["ticket_id"] == source:
                article["ticket_id"] = target
        self.links = [(target if parent == source else parent, child) for parent, child in self.links]
        self.links.append((target, source))
        _article(self, self.tickets[source], {"body": "merged"})
        self.tickets[source] |= {"state": "merged", "updated_at": self.stamp()}

    def answered(self, ticket: int, body: str, **more: Any) -> None:
        """Somebody else writes in the ticket."""
        article = {
            "body": body,
            "content_type": "text/plain",
            "type": "email",
            "from": "陈晓 <chen@example.com>",
            **more,
        }
        _article(self, self.tickets[ticket], article)

    def hook(self, ticket: int) -> tuple[dict[str, str], bytes]:
        """The headers and body of a webhook about a ticket."""
        body = json.dumps({"ticket": {"id": ticket, "title": "服务器无法启动"}, "article": {}}).encode()
        signed = hmac.new(HOOK.encode(), body, hashlib.sha1).hexdigest()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Zammad User Agent",
            "X-Zammad-Trigger": "fieldapp",
            "X-Zammad-Delivery": "2b24ef10-19d4-4740-93cf-8f98ec4776c0",
            "X-Hub-Signature": f"sha1={signed}",
        }
        return headers, body


class Refused(Exception):
    """What is answered instead."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


def bench(request: pytest.FixtureRequest, zammad: Zammad | None = None) -> Bench:
    zammad = zammad or Zammad()
    served = serving(double(zammad), by_its_clock(zammad))
    port = served.__enter__()
    request.addfinalizer(lambda: served.__exit__(None, None, None))
    return Bench(
        store=at(f"http://127.0.0.1:{port}"),
        unknown="999999",
        told=lambda status: DEFAULTS.statuses.ours(DEFAULTS.statuses.theirs(status) or status, "in_progress"),
        later=zammad.later,
        port=port,
        at=at,
    )


def at(address: str, *, secret: str = TOKEN, hook_secret: str = HOOK, words: StoreMapping | None = None) -> ZammadStore:
    connection = Connection(
        address=address,
        secret=secret,
        hook_secret=hook_secret,
        words=words or StoreMapping(),
        networks=("127.0.0.0/8",),
    )
    return ZammadStore(connection)


# ---- the server ---------------------------------------------------------------------------------------------


def by_its_clock(zammad: Zammad) -> type[WSGIRequestHandler]:
    """Answers carry the double's time, which can be moved on."""

    class Handler(WSGIRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(zammad.now(), usegmt=True)

    return Handler


def double(zammad: Zammad) -> Flask:
    app = Flask("zammad")
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.before_request
    def at_the_door() -> Any:
        zammad.asked.append(f"{request.method} {request.path}")
        if zammad.wait_s:
            return Response("slow down", 429, {"Retry-After": str(zammad.wait_s)}, mimetype="text/html")
        if (request.content_length or 0) > zammad.most_bytes:
            return Response("<html><h1>413 Request Entity Too Large</h1></html>", 413, mimetype="text/html")
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            raise Refused(401, "Authentication required")
        if "ticket.agent" not in zammad.rights:
            raise Refused(403, "Not authorized")
        return None

    @app.after_request
    def on_the_way_back(response: Response) -> Response:
        if request.method == "GET" or not zammad.lost:
            return response
        zammad.lost -= 1
        return Response("<html><h1>504 Gateway Time-out</h1></html>", 504, mimetype="text/html")

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return jsonify(error=error.error, error_human=error.error), error.status

    @app.errorhandler(HTTPException)
    def unknown_path(error: HTTPException) -> Any:
        return jsonify(error=f"No route matches [{request.method}] {request.path}"), error.code or 500

    @app.get("/api/v1/users/me")
    def me() -> Any:
        return jsonify(id=3, login="fieldapp@example.com", roles=["Agent"], groups=zammad.groups)

    @app.get("/api/v1/ticket_states")
    def states() -> Any:
        return jsonify([{"id": n, "name": name, "active": name != "removed"} for n, name in enumerate(STATES, 1)])

    @app.get("/api/v1/ticket_priorities")
    def priorities() -> Any:
        return jsonify([{"id": n, "name": name, "active": True} for n, name in enumerate(PRIORITIES, 1)])

    @app.get("/api/v1/tickets")
    def listed() -> Any:
        with zammad.lock:
            return jsonify([_shown(zammad, row) for row in _page(sorted(zammad.tickets.values(), key=_id), most=100)])

    @app.get("/api/v1/tickets/search")
    def searched() -> Any:
        conditions = _conditions(zammad)
        with zammad.lock:
            rows = [row for row in zammad.tickets.values() if _fits(zammad, row, conditions)]
            return jsonify([_shown(zammad, row) for row in _page(_sorted(zammad, rows), most=200)])

    @app.get("/api/v1/tickets/<int:ref>")
    def ticket(ref: int) -> Any:
        return jsonify(_shown(zammad, _ticket(zammad, ref)))

    @app.post("/api/v1/tickets")
    def created() -> Any:
        with zammad.lock:
            return jsonify(_shown(zammad, _create(zammad, request.get_json()))), 201

    @app.put("/api/v1/tickets/<int:ref>")
    def updated(ref: int) -> Any:
        with zammad.lock:
            return jsonify(_shown(zammad, _update(zammad, _ticket(zammad, ref), request.get_json())))

    @app.get("/api/v1/ticket_articles/by_ticket/<int:ref>")
    def articles(ref: int) -> Any:
        _ticket(zammad, ref)
        return jsonify([row for row in zammad.articles.values() if row["ticket_id"] == ref])

    @app.get("/api/v1/ticket_articles/<int:ref>")
    def article(ref: int) -> Any:
        if ref not in zammad.articles:
            raise Refused(404, f"Couldn't find Ticket::Article with 'id'={ref}")
        return jsonify(zammad.articles[ref])

    @app.get("/api/v1/ticket_attachment/<int:ticket>/<int:article>/<int:ref>")
    def attachment(ticket: int, article: int, ref: int) -> Any:
        _ticket(zammad, ticket)
        known = zammad.articles.get(article) or {"ticket_id": None, "attachments": []}
        if known["ticket_id"] != ticket:
            raise Refused(403, "The article does not belong to the specified ticket.")
        if ref not in [each["id"] for each in known["attachments"]]:
            raise Refused(403, "The file does not belong to the specified article.")
        return Response(zammad.contents[ref], mimetype="application/octet-stream")

    @app.get("/api/v1/links")
    def links() -> Any:
        ref = int(request.args["link_object_value"])
        told = [("child", child) for parent, child in zammad.links if parent == ref]
        told += [("parent", parent) for parent, child in zammad.links if child == ref]
        return jsonify(
            links=[{"link_type": kind, "link_object": "Ticket", "link_object_value": other} for kind, other in told],
            assets={},
        )

    return app


def _ticket(zammad: Zammad, ref: int) -> dict[str, Any]:
    if ref not in zammad.tickets:
        raise Refused(404, f"Couldn't find Ticket with 'id'={ref}")
    row = zammad.tickets[ref]
    if not zammad.groups.get(row["group"]):
        raise Refused(403, "Not authorized")
    return row


def _create(zammad: Zammad, told: dict[str, Any]) -> dict[str, Any]:
    if not told.get("title"):
        raise Refused(422, "Missing required value for field 'title'!")
    if not told.get("customer"):
        raise Refused(422, "Attribute 'customer_id' required!")
    ref, stamp = next(zammad.ids), zammad.stamp()
    row = {"id": ref, "number": f"67{ref:03}", "state": "new", "priority": "2 normal", "pending_time": None}
    row |= {"created_at": stamp, "updated_at": stamp} | dict.fromkeys(zammad.attributes)
    row |= _accepted(zammad, told)
    if "group" not in row:
        raise Refused(422, "Group can't be blank")
    if told.get("article"):
        _check_article(told["article"])
    zammad.tickets[ref] = row
    if told.get("article"):
        _article(zammad, row, told["article"])
    return row


def _update(zammad: Zammad, row: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """All of it or nothing: ticket and article are one transaction."""
    changed = {**row, **_accepted(zammad, told)}
    if changed["state"].startswith("pending") and not changed["pending_time"]:
        raise Refused(422, "Missing required value for field 'pending_time'!")
    wanted = zammad.mandatory.get(changed["state"])
    if wanted and changed["state"] != row["state"] and not changed.get(wanted):
        raise Refused(422, f"Missing required value for field '{wanted}'!")
    if told.get("article"):
        _check_article(told["article"])
    row.update(changed)
    row["updated_at"] = zammad.stamp()
    if told.get("article"):
        _article(zammad, row, told["article"])
    return row


def _accepted(zammad: Zammad, told: dict[str, Any]) -> dict[str, Any]:
    """Names are looked up; what is no attribute is dropped without a word."""
    known = {"group": tuple(zammad.groups), "state": STATES, "priority": PRIORITIES}
    known["customer"] = ("fieldapp@example.com", "chen@example.com")
    for name, words in known.items():
        if name in told and told[name] not in words:
            raise Refused(422, f"No value found for '{name}' with \"{told[name]}\"")
    return {
        name: told[name] for name in (*COLUMNS, *zammad.attributes) if name in told and name not in ("id", "number")
    }


def _check_article(told: dict[str, Any]) -> None:
    if not told.get("body"):
        raise Refused(422, 'Need at least article: { body: "some text" }')
    for index, each in enumerate(told.get("attachments") or ()):
        for key in ("mime-type", "filename", "data"):
            if not each.get(key):
                raise Refused(422, f"Attachment needs '{key}' param for attachment with index '{index}'")
        try:
            base64.b64decode(each["data"], validate=True)
        except binascii.Error:
            raise Refused(422, f"Invalid base64 for attachment with index '{index}'") from None


def _article(zammad: Zammad, row: dict[str, Any], told: dict[str, Any]) -> None:
    with zammad.lock:
        ref, stamp = next(zammad.ids), zammad.stamp()
        article = {"subject": "", "content_type": "text/html", "type": "note", "internal": False}
        article |= {name: told[name] for name in ARTICLE_KEYS if name in told}
        article |= {"id": ref, "ticket_id": row["id"], "created_at": stamp, "updated_at": stamp, "sender": "Agent"}
        article |= {"from": told.get("from", "Field App"), "created_by": "fieldapp@example.com"}
        article |= {name: told[name] for name in ("sender",) if name in told}
        article["attachments"] = [_kept(zammad, each) for each in told.get("attachments") or ()]
        zammad.articles[ref] = article
        row["updated_at"] = stamp


def _kept(zammad: Zammad, told: dict[str, Any]) -> dict[str, Any]:
    ref, content = next(zammad.ids), base64.b64decode(told["data"])
    content = content[: len(content) // 2] if zammad.cut_short else content
    zammad.contents[ref] = content
    preferences = {"Mime-Type": told["mime-type"]}
    return {"id": ref, "filename": told["filename"], "size": str(len(content)), "preferences": preferences}


def _shown(zammad: Zammad, row: dict[str, Any]) -> dict[str, Any]:
    ids = [ref for ref, article in zammad.articles.items() if article["ticket_id"] == row["id"]]
    return {**row, "article_ids": ids[::-1], "article_count": len(ids), "updated_by": "fieldapp@example.com"}


def _id(row: dict[str, Any]) -> int:
    return int(row["id"])


# ---- searching ----------------------------------------------------------------------------------------------


def _conditions(zammad: Zammad) -> list[tuple[str, str, str]]:
    """Column, operator and value of each."""
    told = []
    for name, operator in request.args.items():
        if name.endswith("][operator]"):
            column = name.removeprefix("condition[ticket.").removesuffix("][operator]")
            told.append((column, operator, request.args[name.replace("][operator]", "][value]")]))
    for column, operator, _value in told:
        if column not in (*COLUMNS, *zammad.attributes):
            raise Refused(422, f"PG::UndefinedColumn: ERROR: column tickets.{column} does not exist")
        if operator not in OPERATORS:
            raise Refused(422, f"Invalid operator {operator}")
    return told if zammad.honours_conditions else []


def _fits(zammad: Zammad, row: dict[str, Any], conditions: list[tuple[str, str, str]]) -> bool:
    return bool(zammad.groups.get(row["group"])) and all(_holds(row, *each) for each in conditions)


def _holds(row: dict[str, Any], column: str, operator: str, value: str) -> bool:
    held = str(row.get(column))
    if operator in ("is", "is not"):
        return (held == value) == (operator == "is")
    return held >= value if operator.startswith("after") else held <= value


def _sorted(zammad: Zammad, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = request.args.get("sort_by", "updated_at").split(",")
    orders = request.args.get("order_by", "desc").split(",")
    for column, order in reversed(list(zip(columns, orders))):
        if column not in (*COLUMNS, *zammad.attributes):
            raise Refused(500, f"Found invalid column '{column}' for sorting.")
        rows = sorted(rows, key=lambda row, column=column: row[column], reverse=order == "desc")  # type: ignore[misc]
    return rows


def _page(rows: list[dict[str, Any]], *, most: int) -> list[dict[str, Any]]:
    size = min(int(request.args.get("per_page", 50)), most)
    start = (int(request.args.get("page", 1)) - 1) * size
    return rows[start : start + size]
