"""A double of Zendesk Support's REST API, as far as the adapter asks it, with the host that gives a file's bytes.

Written from the public documents of Zendesk (https://developer.zendesk.com):

- "Security and authentication" (/api-reference/introduction/security-and-auth/): ``address/token:key``, and a bearer token;
- "Migrating from API tokens to OAuth access tokens" (/documentation/api-basics/authentication/oauth-migration/) and "OAuth
  Tokens for Grant Types" (/api-reference/ticketing/oauth/grant_type_tokens/): client credentials at ``/oauth/tokens``, 30
  minutes, nothing to renew them with; no new API tokens since 27 October 2026, none at all from 30 April 2027;
- "Rate limits" (/api-reference/introduction/rate-limits/): 429 with ``Retry-After``;
- "Using the Incremental Exports API" (/documentation/ticketing/managing-tickets/using-the-incremental-export-api) and
  "Incremental Exports" (/api-reference/ticketing/ticket-management/incremental_exports/): cursor, ten a minute, the last
  minute held back, administrators only;
- "Creating and updating tickets" (/documentation/ticketing/managing-tickets/creating-and-updating-tickets): ``safe_update``
  and 409, a closed ticket takes nothing more, ``metadata`` of an update;
- "Introduction" of the Ticketing API (/api-reference/ticketing/introduction/): ``Idempotency-Key``;
- "Tickets", "Ticket Comments", "Ticket Audits", "Ticket Attachments", "Ticket Fields", "Search", "Pagination" in the API
  reference: ``external_id``, a comment's 65 535 characters and a ticket's 5 000 comments, ``metadata.custom``, uploads, a
  search that is indexed minutes later;
- "Accessing end user uploaded attachments" and "Working with url properties"
  (/documentation/ticketing/managing-tickets/…): an attachment's address answers 302 and leads to another host, which must
  not be given our credentials;
- "Verifying webhook authenticity" (/documentation/webhooks/verifying/) and "Anatomy of a webhook request".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, Response, jsonify, redirect, request
from werkzeug.exceptions import HTTPException

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.stores.zendesk import DEFAULTS, ZendeskStore
from tests.stores.bench import Bench
from tests.stores.serving import serving

USER, TOKEN, HOOK = "fieldapp@example.com", "zendesk-token-1", "zendesk-hook-secret"
CLIENT, SECRET = "fieldapp", "zendesk-client-secret-1"
TOKENS_LAST = timedelta(minutes=30)
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
ME = {"id": 7, "name": "Field App", "email": USER}
OTHER = {"id": 8, "name": "陈晓", "email": "chen@example.com"}
HELD_BACK = timedelta(seconds=60)
INDEXED = timedelta(seconds=120)
UPLOADS_LAST = timedelta(minutes=60)


@dataclass
class Zendesk:
    """What it holds, and how it is set up. ``ahead``: how far its clock is before ours."""

    fields: dict[int, str] = field(default_factory=lambda: dict(enumerate(DEFAULTS.fields.values(), 360001)))
    groups: dict[int, str] = field(default_factory=lambda: {501: "Support"})
    role: str = "admin"
    hold: bool = True
    exports_a_minute: int = 10
    wait_s: int = 0
    lost: int = 0  # so many writes are done, and their answers do not arrive
    busy: int = 0  # so many writes meet another one on its way
    quicker: str = ""  # what somebody else writes just before our next update
    upload_takes: timedelta = timedelta()
    needs_assignee: bool = False
    most_bytes: int = 50_000_000
    most_comments: int = 5000
    ahead: timedelta = timedelta()
    file_host: str = ""
    tickets: dict[int, dict[str, Any]] = field(default_factory=dict)
    changed: dict[int, datetime] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    audits: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    uploads: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)
    exports: list[datetime] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, datetime] = field(default_factory=dict)  # until when each is good
    forgetful: bool = False  # it takes no token, although it gives them
    seen_elsewhere: list[dict[str, str]] = field(default_factory=list)  # headers that the other host was sent
    lock: threading.RLock = field(default_factory=threading.RLock)
    ids: Any = field(default_factory=lambda: itertools.count(1001))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def stamp(self) -> str:
        return self.now().isoformat(timespec="seconds").replace("+00:00", "Z")

    def knows(self, bearer: str) -> bool:
        return not self.forgetful and bearer in self.tokens and self.now() < self.tokens[bearer]

    def later(self) -> None:
        """The minute that the export holds back passes, and the search has indexed what there is."""
        self.ahead += INDEXED + timedelta(seconds=1)

    def answered(self, ticket: int, body: str, **more: Any) -> None:
        """Somebody else writes in the ticket."""
        _comment(self, ticket, {"body": body, "public": True, **more}, author=OTHER)
        _touch(self, ticket)

    def close(self, ticket: int) -> None:
        self.tickets[ticket]["status"] = "closed"
        _touch(self, ticket)

    def merge(self, source: int, target: int) -> None:
        """As a person does it."""
        text = f'This request was closed and merged into request #{target} "服务器无法启动".'
        _comment(self, source, {"body": text, "public": False}, author=OTHER)
        self.tickets[source]["tags"] = ["closed_by_merge"]
        self.close(source)

    def hook(self, ticket: int, *, at: datetime | None = None) -> tuple[dict[str, str], bytes]:
        """The headers and body of a webhook about a ticket."""
        body = json.dumps({"ticket_id": str(ticket)}).encode()
        stamp = (at or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
        signed = hmac.new(HOOK.encode(), stamp.encode() + body, hashlib.sha256).digest()
        headers = {
            "x-zendesk-account-id": "123456",
            "x-zendesk-webhook-id": "01F1KRFQ6BG29CNWFR60NK5FNY",
            "x-zendesk-webhook-invocation-id": "8350205582",
            "x-zendesk-webhook-signature": base64.b64encode(signed).decode(),
            "x-zendesk-webhook-signature-timestamp": stamp,
        }
        return headers, body


class Refused(Exception):
    """What is answered instead."""

    def __init__(self, status: int, error: str, said: str, **details: str) -> None:
        super().__init__(said)
        self.status = status
        self.body = {"error": error, "description": said}
        if details:
            self.body["details"] = {name: [{"description": text}] for name, text in details.items()}  # type: ignore[assignment]


class Waiting(Refused):
    """Too many exports in a minute."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            429, "APIRateLimitExceeded", "Number of allowed incremental ticket export API requests exceeded"
        )
        self.seconds = seconds


def bench(request: pytest.FixtureRequest, zendesk: Zendesk | None = None) -> Bench:
    """The contract reads pages of two tickets where Zendesk gives a thousand: its ten a minute would be used up at once."""
    zendesk = zendesk or Zendesk(exports_a_minute=100_000)
    ports = []
    for app in (files_of(zendesk), double(zendesk)):
        served = serving(app)
        ports.append(served.__enter__())
        request.addfinalizer(lambda served=served: served.__exit__(None, None, None))
    zendesk.file_host = f"127.0.0.1:{ports[0]}"
    made_for = StoreMapping(options={"file_hosts": zendesk.file_host})

    def here(address: str) -> ZendeskStore:
        return at(address, words=made_for)

    return Bench(
        store=here(f"http://127.0.0.1:{ports[1]}"),
        unknown="999999",
        told=lambda status: DEFAULTS.statuses.ours(DEFAULTS.statuses.theirs(status) or status, "in_progress"),
        later=zendesk.later,
        port=ports[1],
        at=here,
    )


def at(
    address: str,
    *,
    user: str = CLIENT,
    secret: str = SECRET,
    hook_secret: str = HOOK,
    words: StoreMapping | None = None,
) -> ZendeskStore:
    connection = Connection(
        address=address,
        user=user,
        secret=secret,
        hook_secret=hook_secret,
        words=words or StoreMapping(),
        networks=("127.0.0.0/8",),
    )
    return ZendeskStore(connection)


# ---- the server ---------------------------------------------------------------------------------------------


def double(zendesk: Zendesk) -> Flask:
    app = Flask("zendesk")

    @app.before_request
    def at_the_door() -> Any:
        if request.path == "/oauth/tokens":
            return None
        zendesk.asked.append(f"{request.method} {request.path}")
        if zendesk.wait_s:
            return jsonify(error="APIRateLimitExceeded"), 429, {"Retry-After": str(zendesk.wait_s)}
        given = request.authorization
        if given and given.type == "bearer" and zendesk.knows(given.token or ""):
            return None
        if given is None or (given.username, given.password) != (f"{USER}/token", TOKEN):
            return jsonify(error="Couldn't authenticate you"), 401
        return None

    @app.post("/oauth/tokens")
    def token() -> Any:
        form = request.form
        if form["grant_type"] != "client_credentials" or form["scope"] != "read write":
            return jsonify(error="invalid_request", error_description="The request is missing a parameter"), 400
        if (form["client_id"], form["client_secret"]) != (CLIENT, SECRET):
            return jsonify(error="invalid_client", error_description="Client authentication failed"), 401
        made = f"zendesk-access-{len(zendesk.tokens) + 1}"
        zendesk.tokens[made] = zendesk.now() + TOKENS_LAST
        return jsonify(access_token=made, token_type="bearer", scope="read write", expires_in=1800)

    @app.after_request
    def on_the_way_back(response: Response) -> Response:
        if request.method == "GET" or not zendesk.lost or response.status_code >= 300 or "oauth" in request.path:
            return response
        zendesk.lost -= 1
        return Response("<html><h1>502 Bad Gateway</h1></html>", 502, mimetype="text/html")

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        waits = {"Retry-After": str(error.seconds)} if isinstance(error, Waiting) else {}
        return jsonify(error.body), error.status, waits

    @app.errorhandler(HTTPException)
    def unknown_path(error: HTTPException) -> Any:
        return jsonify(error="InvalidEndpoint", description="Not found"), error.code or 500

    @app.get("/api/v2/users/me")
    def me() -> Any:
        return jsonify(user={**ME, "role": zendesk.role})

    @app.get("/api/v2/ticket_fields")
    def fields() -> Any:
        return jsonify(_listed("ticket_fields", _ticket_fields(zendesk)))

    @app.get("/api/v2/groups")
    def groups() -> Any:
        return jsonify(_listed("groups", [{"id": number, "name": name} for number, name in zendesk.groups.items()]))

    @app.get("/api/v2/incremental/tickets/cursor")
    def exported() -> Any:
        with zendesk.lock:
            return jsonify(_export(zendesk))

    @app.get("/api/v2/search")
    def searched() -> Any:
        with zendesk.lock:
            return jsonify(_search(zendesk))

    @app.get("/api/v2/tickets")
    def by_external_id() -> Any:
        with zendesk.lock:
            return jsonify(
                tickets=[row for row in zendesk.tickets.values() if row["external_id"] == request.args["external_id"]]
            )

    @app.post("/api/v2/tickets")
    def created() -> Any:
        with zendesk.lock:
            return _create(zendesk, request.get_json()["ticket"])

    @app.get("/api/v2/tickets/<int:ref>")
    def ticket(ref: int) -> Any:
        return jsonify(ticket=_ticket(zendesk, ref))

    @app.put("/api/v2/tickets/<int:ref>")
    def updated(ref: int) -> Any:
        with zendesk.lock:
            audit = _update(zendesk, _ticket(zendesk, ref), request.get_json()["ticket"])
            return jsonify(ticket=zendesk.tickets[ref], audit=audit)

    @app.get("/api/v2/tickets/<int:ref>/comments")
    def comments(ref: int) -> Any:
        _ticket(zendesk, ref)
        listed = _listed("comments", zendesk.comments[ref])
        return jsonify(**listed, users=[ME, OTHER] if request.args.get("include") == "users" else [])

    @app.get("/api/v2/tickets/<int:ref>/audits")
    def audits(ref: int) -> Any:
        _ticket(zendesk, ref)
        return jsonify(_listed("audits", zendesk.audits[ref]))

    @app.post("/api/v2/uploads")
    def uploaded() -> Any:
        with zendesk.lock:
            return _upload(zendesk)

    @app.get("/api/v2/attachments/<int:ref>")
    def attachment(ref: int) -> Any:
        if ref not in zendesk.contents:
            raise Refused(404, "RecordNotFound", "Not found")
        return jsonify(attachment={"id": ref, "content_url": f"{request.host_url}attachments/token/t{ref}/?name=x.pdf"})

    @app.get("/attachments/token/t<int:ref>/")
    def leads_on(ref: int) -> Any:
        return redirect(f"http://{zendesk.file_host}/attachment/1015988/{ref}?token=eyJhbGciOiJkaXIi")

    return app


def files_of(zendesk: Zendesk) -> Flask:
    """The other host: it knows a token of its own, and nothing that we are sent there may be a secret of ours."""
    app = Flask("zdusercontent")

    @app.get("/attachment/1015988/<int:ref>")
    def content(ref: int) -> Any:
        zendesk.seen_elsewhere.append(dict(request.headers))
        if request.args.get("token") != "eyJhbGciOiJkaXIi":
            return Response("<html>expired</html>", 403)
        return Response(zendesk.contents[ref], mimetype="application/octet-stream")

    return app


def _ticket(zendesk: Zendesk, ref: int) -> dict[str, Any]:
    if ref not in zendesk.tickets:
        raise Refused(404, "RecordNotFound", "Not found")
    return zendesk.tickets[ref]


def _ticket_fields(zendesk: Zendesk) -> list[dict[str, Any]]:
    statuses = [status for status in ("new", "open", "pending", "hold", "solved") if status != "hold" or zendesk.hold]
    system = [("Status", "status", statuses), ("Priority", "priority", PRIORITIES)]
    rows: list[dict[str, Any]] = [
        {
            "id": number,
            "title": title,
            "type": kind,
            "active": True,
            "system_field_options": [{"value": each} for each in words],
        }
        for number, (title, kind, words) in enumerate(system, 1)
    ]
    return rows + [
        {"id": number, "title": title, "type": "text", "active": True} for number, title in zendesk.fields.items()
    ]


def _create(zendesk: Zendesk, told: dict[str, Any]) -> Any:
    key, said = request.headers.get("Idempotency-Key", ""), json.dumps(told, sort_keys=True)
    if key in zendesk.keys:
        before, ref = zendesk.keys[key]
        if before != said:
            raise Refused(
                400, "IdempotentRequestError", "The request parameters do not match those of the first request"
            )
        return jsonify(ticket=zendesk.tickets[ref]), 201, {"x-idempotency-lookup": "hit"}
    _check(zendesk, told)
    if not told.get("comment", {}).get("body"):
        raise Refused(422, "RecordInvalid", "Record validation errors", base="Description: cannot be blank")
    ref, stamp = next(zendesk.ids), zendesk.stamp()
    row = {"id": ref, "status": "new", "priority": None, "subject": None, "tags": [], "external_id": None}
    row |= {"assignee_id": None, "group_id": None, "created_at": stamp, "updated_at": stamp}
    row |= {name: told[name] for name in ("subject", "priority", "external_id", "group_id") if name in told}
    given = {each["id"]: each["value"] for each in told.get("custom_fields") or ()}
    row["custom_fields"] = [{"id": number, "value": given.get(number)} for number in zendesk.fields]
    row["description"] = _rendered(told["comment"]["body"])
    zendesk.tickets[ref], zendesk.comments[ref], zendesk.audits[ref] = row, [], []
    _comment(zendesk, ref, told["comment"], author=ME)
    _touch(zendesk, ref)
    if key:
        zendesk.keys[key] = (said, ref)
    return jsonify(ticket=row), 201, {"x-idempotency-lookup": "miss"}


def _update(zendesk: Zendesk, row: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """All of it or nothing, under one audit."""
    ref = row["id"]
    if zendesk.quicker:
        zendesk.ahead += timedelta(seconds=2)
        zendesk.answered(ref, zendesk.quicker)
        zendesk.quicker = ""
    if zendesk.busy:
        zendesk.busy -= 1
        raise Refused(409, "DatabaseConflict", "Database collision")
    if row["status"] == "closed":
        raise Refused(422, "RecordInvalid", "Record validation errors", status="Status: closed prevents ticket update")
    if told.get("safe_update") and told.get("updated_stamp") != row["updated_at"]:
        raise Refused(409, "UpdateConflict", "Safe Update prevented the update due to outdated ticket data.")
    _check(zendesk, told)
    if told.get("status") == "solved" and zendesk.needs_assignee and not row["assignee_id"]:
        said = "Assignee: is required when solving a ticket"
        raise Refused(422, "RecordInvalid", "Record validation errors", assignee=said)
    if told.get("comment") and len(zendesk.comments[ref]) >= zendesk.most_comments:
        raise Refused(422, "RecordInvalid", "Record validation errors", base="Comment limit reached")
    audit = {"id": next(zendesk.ids), "metadata": {"system": {}, "custom": told.get("metadata") or {}}}
    if told.get("comment"):
        _comment(zendesk, ref, told["comment"], author=ME, audit=audit["id"])
    row["status"] = told.get("status", row["status"])
    zendesk.audits[ref].append(audit)
    _touch(zendesk, ref)
    return audit


def _check(zendesk: Zendesk, told: dict[str, Any]) -> None:
    for name, words in (("status", STATUSES), ("priority", PRIORITIES)):
        if name in told and told[name] not in words:
            raise Refused(422, "RecordInvalid", "Record validation errors", **{name: f"{name}: is not valid"})
    if told.get("status") == "hold" and not zendesk.hold:
        raise Refused(422, "RecordInvalid", "Record validation errors", status="Status: hold is not available")
    if len((told.get("comment") or {}).get("body", "")) > 65_535:
        raise Refused(422, "RecordInvalid", "Record validation errors", base="Comment body: is too long")
    for token in (told.get("comment") or {}).get("uploads") or ():
        if token not in zendesk.uploads or zendesk.now() - zendesk.uploads[token][0] > UPLOADS_LAST:
            raise Refused(422, "RecordInvalid", "Record validation errors", base="Upload token is invalid")


def _comment(zendesk: Zendesk, ref: int, told: dict[str, Any], *, author: dict[str, Any], audit: int = 0) -> None:
    comment = {"id": next(zendesk.ids), "type": "Comment", "author_id": author["id"], "audit_id": audit}
    comment |= {"body": _rendered(told["body"]), "public": told.get("public", True), "created_at": zendesk.stamp()}
    comment["attachments"] = [zendesk.uploads.pop(token)[1] for token in told.get("uploads") or ()]
    zendesk.comments[ref].append(comment)


def _rendered(body: str) -> str:
    """Placeholders are replaced; what is unknown becomes nothing."""
    return re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", body).strip()


def _touch(zendesk: Zendesk, ref: int) -> None:
    zendesk.tickets[ref]["updated_at"] = zendesk.stamp()
    zendesk.changed[ref] = zendesk.now()


def _upload(zendesk: Zendesk) -> Any:
    content = request.get_data()
    if len(content) > zendesk.most_bytes:
        raise Refused(413, "AttachmentTooLarge", "The file is too large")
    ref = next(zendesk.ids)
    name, kind = request.args["filename"], request.headers.get("Content-Type", "application/binary")
    told = {"id": ref, "file_name": name, "content_type": kind, "size": len(content), "deleted": False}
    told["content_url"] = f"{request.host_url}attachments/token/t{ref}/?name=x"
    zendesk.contents[ref] = content
    zendesk.uploads[f"token{ref}"] = (zendesk.now(), told)
    zendesk.ahead += zendesk.upload_takes
    return jsonify(upload={"token": f"token{ref}", "attachment": told}), 201


# ---- reading ------------------------------------------------------------------------------------------------


def _listed(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By cursor, at most a hundred."""
    size = min(int(request.args.get("page[size]", 100)), 100)
    start = int(request.args.get("page[after]", 0))
    more = len(rows) > start + size
    links = {"next": f"{request.url}&page[after]={start + size}" if more else None}
    return {
        name: rows[start : start + size],
        "meta": {"has_more": more, "after_cursor": str(start + size)},
        "links": links,
    }


def _export(zendesk: Zendesk) -> dict[str, Any]:
    if zendesk.role != "admin":
        raise Refused(403, "Forbidden", "You do not have access to this page.")
    minute = zendesk.now() - timedelta(seconds=60)
    zendesk.exports = [moment for moment in zendesk.exports if moment > minute]
    if len(zendesk.exports) >= zendesk.exports_a_minute:
        raise Waiting(60 - int((zendesk.now() - zendesk.exports[0]).total_seconds()))
    zendesk.exports.append(zendesk.now())
    after = _after(zendesk)
    known = sorted((int(moment.timestamp()), ref) for ref, moment in zendesk.changed.items())
    until = int((zendesk.now() - HELD_BACK).timestamp())
    new = [each for each in known if each > after and each[0] < until]
    taken = new[: int(request.args.get("per_page", 1000))]
    cursor = (
        base64.b64encode(f"{taken[-1][0]}|{taken[-1][1]}".encode()).decode() if taken else request.args.get("cursor")
    )
    rows = [zendesk.tickets[ref] for _moment, ref in taken]
    return {"tickets": rows, "after_cursor": cursor, "end_of_stream": len(taken) == len(new)}


def _after(zendesk: Zendesk) -> tuple[int, int]:
    if cursor := request.args.get("cursor"):
        moment, _bar, ref = base64.b64decode(cursor).decode().partition("|")
        return int(moment), int(ref)
    start = int(request.args["start_time"])
    if start <= 0 or start > (zendesk.now() - HELD_BACK).timestamp():
        raise Refused(422, "InvalidValue", "start_time must be a moment before the last minute")
    return start, 0


def _search(zendesk: Zendesk) -> dict[str, Any]:
    """Finds words, in what has been indexed."""
    found = re.fullmatch(r'type:ticket custom_field_(\d+):"(.*)"', request.args["query"])
    assert found, request.args["query"]
    words = set(re.split(r"\W+", found[2].casefold()))
    rows = []
    for row in zendesk.tickets.values():
        value = next((each["value"] for each in row["custom_fields"] if each["id"] == int(found[1])), None)
        if zendesk.changed[row["id"]] < zendesk.now() - INDEXED and words & set(
            re.split(r"\W+", str(value).casefold())
        ):
            rows.append({**row, "result_type": "ticket"})
    rows.sort(key=lambda row: row[request.args["sort_by"]], reverse=request.args["sort_order"] == "desc")
    return {"results": rows[: int(request.args["per_page"])], "count": len(rows)}
