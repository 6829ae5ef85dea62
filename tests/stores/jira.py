"""A double of Jira Service Management in the cloud, written from Atlassian's public documents:

- "The Jira Cloud platform REST API", version 3, https://developer.atlassian.com/cloud/jira/platform/rest/v3/ : the groups Issues,
  Issue search, Issue comments, Issue comment properties, Issue attachments, User properties, Projects, Permissions, Myself,
  Server info. A comment takes ``properties`` when it is made; ``POST comment/list?expand=properties`` gives them back.
- "Search after write with search and reconcile", https://developer.atlassian.com/cloud/jira/platform/search-and-reconcile/ :
  no read-after-write, a delay "from a few seconds to minutes"; pages by ``nextPageToken``; queries must be bounded.
- "JQL fields" and "JQL date time formats", https://support.atlassian.com/jira-software-cloud/docs/jql-fields/ and
  https://confluence.atlassian.com/spaces/JIRA052/pages/314448708/ : in quotes minutes of the user's zone, without them milliseconds.
- "Rate limiting", https://developer.atlassian.com/cloud/jira/platform/rate-limiting/ : 429 with ``Retry-After``.
- "Basic auth for REST APIs", https://developer.atlassian.com/cloud/jira/platform/basic-auth-for-rest-apis/ , and ServiceNow's
  KB2942093 on what a wrong token looks like from outside: 200 with ``X-Seraph-LoginReason: AUTHENTICATED_FAILED``.
- "Webhooks", https://developer.atlassian.com/cloud/jira/platform/webhooks/ : ``X-Hub-Signature``, ``X-Atlassian-Webhook-Identifier``.
- "Atlassian Document Format", https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ .
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from fieldapp import clock
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.stores.jira import DEFAULTS, JiraStore
from tests.stores.bench import Bench
from tests.stores.serving import serving

USER, TOKEN, HOOK = "field@service.example", "ATATT3xFfGF0-a-token", "the webhook's secret"
ACCOUNT = "5b10a2844c20165700ede21g"
API = "/rest/api/3"
LONGEST_TEXT = 32767
STATUSES = ["Waiting for support", "In progress", "Waiting for customer", "Resolved", "Closed", "Canceled"]
STEPS = {  # from: the statuses that the workflow leads to
    "Waiting for support": ["In progress", "Waiting for customer", "Resolved", "Canceled"],
    "In progress": ["Waiting for support", "Waiting for customer", "Resolved", "Canceled"],
    "Waiting for customer": ["Waiting for support", "In progress", "Resolved", "Canceled"],
    "Resolved": ["Waiting for support", "In progress", "Closed"],
    "Canceled": ["Waiting for support"],
    "Closed": [],
}


@dataclass
class Refusal(Exception):
    """An answer that is not what was asked for."""

    status: int
    messages: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Double:
    """What the site holds. ``lagging``: search shows what it showed when it began. ``limited``: so many requests are refused
    with 429. ``lost``: the (method, end of the path) whose answer is lost once, after it took effect. ``required``: fields that
    the step to "Resolved" asks for. ``lax``: a wrong token is answered as anybody, not refused."""

    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    user_properties: dict[str, Any] = field(default_factory=dict)
    fields: list[str] = field(default_factory=lambda: list(DEFAULTS.fields.values()))
    statuses: list[str] = field(default_factory=lambda: list(STATUSES))
    permissions: dict[str, bool] = field(default_factory=dict)
    upload_limit: int = 20 * 1024 * 1024
    attachments_enabled: bool = True
    required: list[str] = field(default_factory=list)
    lax: bool = False
    limited: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _index: dict[str, dict[str, Any]] | None = None
    _tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    _last: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    _number: int = 10000

    # ---- what the site does by itself ------------------------------------------------------------------

    def lag(self, *, hiding: str = "") -> None:
        """From now on search shows what there is now, but for what is hidden."""
        now = {ref: {**issue, "fields": dict(issue["fields"])} for ref, issue in self.issues.items()}
        self._index = {ref: issue for ref, issue in now.items() if ref != hiding}

    def catch_up(self) -> None:
        self._index = None

    def now(self) -> str:
        """Later than any moment before, to the millisecond, in the zone of the user's profile."""
        self._last = max(clock.now(), self._last + timedelta(milliseconds=1))
        text = self._last.astimezone(UTC) + timedelta(hours=8)
        return text.strftime("%Y-%m-%dT%H:%M:%S.") + f"{text.microsecond // 1000:03}+0800"

    def number(self) -> str:
        self._number += 1
        return str(self._number)

    def touch(self, issue: dict[str, Any]) -> None:
        issue["fields"]["updated"] = self.now()

    def set_status(self, issue: dict[str, Any], status: str, who: str = "Field Service") -> None:
        item = {"field": "status", "fromString": issue["fields"]["status"]["name"], "toString": status}
        issue["fields"]["status"] = {"name": status}
        self.touch(issue)
        changed = {"created": issue["fields"]["updated"], "author": {"displayName": who}, "items": [item]}
        issue["changelog"]["histories"].insert(0, {"id": self.number(), **changed})

    def comment(self, issue: dict[str, Any], body: Any, *, who: str, properties: list[Any]) -> dict[str, Any]:
        self.touch(issue)
        made = {"id": self.number(), "body": body, "author": {"displayName": who}, "properties": properties}
        made["created"] = made["updated"] = issue["fields"]["updated"]
        issue["comments"].append(made)
        return made

    # ---- search -----------------------------------------------------------------------------------------

    def search(self, asked: dict[str, Any]) -> dict[str, Any]:
        jql, start = asked.get("jql", ""), 0
        if token := asked.get("nextPageToken"):
            known, start = self._tokens.get(token, ("", 0))
            if known != jql:
                raise Refusal(400, ["The provided nextPageToken is invalid."])
        found = self.matching(jql)
        end = start + min(asked.get("maxResults", 50), 5000)
        page: dict[str, Any] = {"issues": [self.shown(each, asked) for each in found[start:end]]}
        page["isLast"] = end >= len(found)
        if not page["isLast"]:
            page["nextPageToken"] = secrets.token_urlsafe(300)
            self._tokens[page["nextPageToken"]] = (jql, end)
        return page

    def shown(self, issue: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        told = {"id": issue["id"], "key": issue["key"]}
        told["fields"] = {name: issue["fields"].get(name) for name in asked.get("fields", [])}
        if "changelog" in asked.get("expand", ""):
            told["changelog"] = issue["changelog"]
        return told

    def matching(self, jql: str) -> list[dict[str, Any]]:
        conditions, _order, order = jql.partition(" ORDER BY ")
        if not conditions.strip():
            raise Refusal(400, ["Unbounded JQL queries are not allowed here. Please add a search restriction."])
        found = list((self.issues if self._index is None else self._index).values())
        for condition in conditions.split(" AND "):
            found = [issue for issue in found if self.meets(issue, condition)]
        for each in reversed(order.split(", ")):
            name, direction = each.split(" ")
            found.sort(key=lambda issue, name=name: self.sortable(issue, name), reverse=direction == "DESC")
        return found

    def meets(self, issue: dict[str, Any], condition: str) -> bool:
        if found := re.fullmatch(r'project = "([^"]*)"', condition):
            if found[1] != "FS":
                raise Refusal(400, [f"The value '{found[1]}' does not exist for the field 'project'."])
            return bool(issue["key"].startswith("FS-"))
        if found := re.fullmatch(r"(updated|created) >= (\d+)", condition):
            return moment(issue["fields"][found[1]]).timestamp() * 1000 >= int(found[2])
        if found := re.fullmatch(r'cf\[(\d+)\] ~ "(.*)"', condition):
            number = f"customfield_{found[1]}"
            if number not in self.numbers():
                raise Refusal(400, [f"Field 'cf[{found[1]}]' does not exist or you do not have permission to view it."])
            wanted = unescaped(unescaped(found[2]).strip('"'))  # a text of JQL, and in it a phrase
            # Words are compared without regard to case, wherever they stand: the search is an index of words.
            return wanted.casefold() in (issue["fields"].get(number) or "").casefold()
        raise Refusal(400, [f"Error in the JQL Query: {condition}"])

    def sortable(self, issue: dict[str, Any], name: str) -> Any:
        return int(issue["key"].partition("-")[2]) if name == "key" else moment(issue["fields"][name])

    def numbers(self) -> dict[str, str]:
        return {f"customfield_{10100 + place}": name for place, name in enumerate(self.fields)}

    def issue(self, ref: str) -> dict[str, Any]:
        found = next((each for each in self.issues.values() if ref in (each["id"], each["key"], *each["old"])), None)
        if found is None:
            raise Refusal(404, ["Issue does not exist or you do not have permission to see it."])
        return found


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def served(double: Double) -> Flask:
    """The double as a web application."""
    app = Flask("jira")
    app.config["MAX_CONTENT_LENGTH"] = None
    lock = RLock()

    @app.before_request
    def enter() -> Response | None:
        lock.acquire()
        double.asked.append(f"{request.method} {request.path.removeprefix(API)}")
        if double.limited:
            double.limited -= 1
            return answer(Refusal(429, headers={"Retry-After": "7", "X-RateLimit-Reset": "2026-11-22T10:15Z"}))
        given = request.authorization
        if given and (given.username, given.password) == (USER, TOKEN):
            return None
        return stranger()

    def stranger() -> Response:
        failed = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
        if double.lax and request.path.endswith("/search/jql"):
            response = jsonify(issues=[], isLast=True)
            response.headers.extend(failed)
            return response
        if double.lax:
            return answer(Refusal(404, ["Issue does not exist or you do not have permission to see it."], {}, failed))
        return answer(Refusal(401, ["Client must be authenticated to access this resource."]))

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        lock.release()

    @app.after_request
    def lose(response: Response) -> Response:
        for each in double.lost:
            if request.method == each[0] and request.path.endswith(each[1]) and response.status_code < 300:
                double.lost.remove(each)
                return Response("<html>Bad Gateway</html>", 502, content_type="text/html")
        return response

    @app.errorhandler(Refusal)
    def answer(refusal: Refusal) -> Response:
        response = jsonify(errorMessages=refusal.messages, errors=refusal.errors)
        response.status_code = refusal.status
        response.headers.extend(refusal.headers)
        return response

    # ---- about the site ---------------------------------------------------------------------------------

    @app.get(f"{API}/serverInfo")
    def server_info() -> Any:
        return {"serverTime": double.now(), "deploymentType": "Cloud"}

    @app.get(f"{API}/myself")
    def myself() -> Any:
        return {"accountId": ACCOUNT, "displayName": "Field Service", "timeZone": "Asia/Shanghai"}

    @app.get(f"{API}/field")
    def fields() -> Any:
        system = [{"id": name, "name": name.title(), "custom": False} for name in ("summary", "status")]
        return jsonify(system + [{"id": key, "name": name, "custom": True} for key, name in double.numbers().items()])

    @app.get(f"{API}/project/<key>")
    def project(key: str) -> Any:
        if key != "FS":
            raise Refusal(404, [f"No project could be found with key '{key}'."])
        return {"id": "10000", "key": "FS"}

    @app.get(f"{API}/project/<key>/statuses")
    def statuses(key: str) -> Any:
        return jsonify([{"name": "[System] Service request", "statuses": [{"name": name} for name in double.statuses]}])

    @app.get(f"{API}/mypermissions")
    def permissions() -> Any:
        asked = request.args["permissions"].split(",")
        return {"permissions": {name: {"havePermission": double.permissions.get(name, True)} for name in asked}}

    @app.get(f"{API}/attachment/meta")
    def attachment_meta() -> Any:
        return {"enabled": double.attachments_enabled, "uploadLimit": double.upload_limit}

    # ---- properties of the user ---------------------------------------------------------------------------

    @app.get(f"{API}/user/properties")
    def property_keys() -> Any:
        own_account()
        return {"keys": [{"key": key} for key in double.user_properties]}

    @app.route(f"{API}/user/properties/<key>", methods=["GET", "PUT", "DELETE"])
    def user_property(key: str) -> Any:
        own_account()
        if request.method == "PUT":
            if not request.get_json():
                raise Refusal(400, ["The property value must be a valid, non-empty JSON blob."])
            new = key not in double.user_properties
            double.user_properties[key] = request.get_json()
            return "", 201 if new else 200
        if key not in double.user_properties:
            raise Refusal(404, ["The property key or the user is not found."])
        if request.method == "DELETE":
            del double.user_properties[key]
            return "", 204
        return {"key": key, "value": double.user_properties[key]}

    def own_account() -> None:
        if request.args.get("accountId") != ACCOUNT:
            raise Refusal(403, ["You are not allowed to set a property of this user."])

    # ---- issues -------------------------------------------------------------------------------------------

    @app.post(f"{API}/search/jql")
    def search() -> Any:
        return double.search(request.get_json())

    @app.post(f"{API}/issue")
    def create() -> Any:
        given = request.get_json()["fields"]
        refuse_unknown(given)
        key = f"FS-{len(double.issues) + 1}"
        made = {"id": double.number(), "key": key, "old": [], "comments": [], "changelog": {"histories": []}}
        now = double.now()
        fields = {"created": now, "updated": now, "status": {"name": "Waiting for support"}, "attachment": []}
        made["fields"] = {"priority": {"name": "Medium"}, **given, **fields}
        double.issues[made["id"]] = made
        return {"id": made["id"], "key": key}, 201

    def refuse_unknown(given: dict[str, Any]) -> None:
        errors = {}
        known = {"project", "issuetype", "summary", "description", "priority", *double.numbers()}
        for name in set(given) - known:
            errors[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        if not given.get("summary", "").strip():
            errors["summary"] = "You must specify a summary of the issue."
        if given.get("project") != {"key": "FS"}:
            errors["project"] = "valid project is required"
        if given.get("issuetype") != {"name": "[System] Service request"}:
            errors["issuetype"] = "Specify a valid issue type"
        if "description" in given:
            refuse_document(given["description"], "description")
        if errors:
            raise Refusal(400, errors=errors)

    def refuse_document(document: Any, name: str) -> None:
        if not isinstance(document, dict) or document.get("type") != "doc" or document.get("version") != 1:
            raise Refusal(400, errors={name: "Operation value must be an Atlassian Document (see the documentation)"})
        texts = list(texts_of(document))
        if not all(texts):
            raise Refusal(400, errors={name: "INVALID_INPUT"})
        if sum(len(text) for text in texts) > LONGEST_TEXT:
            raise Refusal(400, errors={name: "CONTENT_LIMIT_EXCEEDED"})

    def texts_of(node: dict[str, Any]) -> Any:
        if node["type"] == "text":
            yield node["text"]
        for part in node.get("content", []):
            yield from texts_of(part)

    @app.get(f"{API}/issue/<ref>")
    def issue(ref: str) -> Any:
        asked = {"fields": request.args["fields"].split(","), "expand": request.args.get("expand", "")}
        return double.shown(double.issue(ref), asked)

    @app.get(f"{API}/issue/<ref>/changelog")
    def changelog(ref: str) -> Any:
        start, many = request.args.get("startAt", 0, int), request.args.get("maxResults", 100, int)
        oldest_first = double.issue(ref)["changelog"]["histories"][::-1]
        page = oldest_first[start : start + many]
        return {"values": page, "startAt": start, "isLast": start + len(page) >= len(oldest_first)}

    @app.route(f"{API}/issue/<ref>/transitions", methods=["GET", "POST"])
    def transitions(ref: str) -> Any:
        found = double.issue(ref)
        steps = [step(name) for name in STEPS[found["fields"]["status"]["name"]]]
        if request.method == "GET":
            return {"transitions": steps}
        given = request.get_json()
        chosen = next((each for each in steps if each["id"] == given["transition"]["id"]), None)
        if chosen is None:
            raise Refusal(400, ["It seems that you have tried to perform a workflow operation that is not valid."])
        for name, told in chosen["fields"].items():
            if told["required"] and name not in given.get("fields", {}):
                raise Refusal(400, errors={name: f"{told['name']} is required."})
        if strange := set(given.get("fields", {})) - set(chosen["fields"]):
            raise Refusal(400, errors={name: f"Field '{name}' cannot be set." for name in strange})
        double.set_status(found, chosen["to"]["name"])
        return "", 204

    def step(status: str) -> dict[str, Any]:
        names = ["resolution", *double.required] if status == "Resolved" else []
        fields = {name: {"name": name.title(), "required": True, "hasDefaultValue": False} for name in names}
        number = str(11 + 10 * STATUSES.index(status))
        return {"id": number, "name": f"To {status}", "to": {"name": status}, "fields": fields}

    # ---- comments -----------------------------------------------------------------------------------------

    @app.get(f"{API}/issue/<ref>/comment")
    def comments(ref: str) -> Any:
        start, many = request.args.get("startAt", 0, int), min(request.args.get("maxResults", 50, int), 100)
        all_of_them = double.issue(ref)["comments"]
        shown = [{name: value for name, value in each.items() if name != "properties"} for each in all_of_them]
        return {"comments": shown[start : start + many], "startAt": start, "total": len(shown)}

    @app.post(f"{API}/issue/<ref>/comment")
    def add_comment(ref: str) -> Any:
        given = request.get_json()
        if strange := set(given) - {"body", "properties", "visibility"}:
            raise Refusal(400, [f'Unrecognized field "{strange.pop()}"'])
        refuse_document(given["body"], "comment")
        properties = given.get("properties", [])
        if any(len(str(each["value"])) > LONGEST_TEXT for each in properties):
            raise Refusal(400, ["The property value is too long."])
        made = double.comment(double.issue(ref), given["body"], who="Field Service", properties=properties)
        return {name: value for name, value in made.items() if name != "properties"}, 201

    @app.post(f"{API}/comment/list")
    def comment_list() -> Any:
        ids = {str(each) for each in request.get_json()["ids"]}
        found = [each for issue in double.issues.values() for each in issue["comments"] if each["id"] in ids]
        if request.args.get("expand") != "properties":
            found = [{name: value for name, value in each.items() if name != "properties"} for each in found]
        return {"values": found, "isLast": True}

    @app.put(f"{API}/comment/<ref>/properties/<key>")
    def comment_property(ref: str, key: str) -> Any:
        for found in (each for issue in double.issues.values() for each in issue["comments"]):
            if found["id"] == ref:
                found["properties"] = [each for each in found["properties"] if each["key"] != key]
                found["properties"].append({"key": key, "value": request.get_json()})
                return "", 200
        raise Refusal(404, ["The comment is not found."])

    # ---- attachments --------------------------------------------------------------------------------------

    @app.post(f"{API}/issue/<ref>/attachments")
    def attach(ref: str) -> Any:
        if request.headers.get("X-Atlassian-Token") != "no-check":
            return Response("XSRF check failed", 403, content_type="text/plain")
        found, made = double.issue(ref), []
        if not double.attachments_enabled:
            raise Refusal(404, ["Attachments are disabled."])
        for given in request.files.getlist("file"):
            content = given.read()
            if len(content) > double.upload_limit:
                raise Refusal(413, ["The file is larger than the attachment limit."])
            told = {"id": double.number(), "filename": given.filename, "mimeType": given.mimetype, "size": len(content)}
            double.contents[told["id"]] = content
            found["fields"]["attachment"].append(told)
            made.append(told)
        double.touch(found)
        return jsonify(made)

    @app.get(f"{API}/attachment/content/<ref>")
    def content(ref: str) -> Any:
        if ref not in double.contents:
            raise Refusal(404, ["The attachment is not found."])
        if request.args.get("redirect") != "false":
            return Response("", 303, headers={"Location": "https://api.media.atlassian.com/file/1/binary"})
        return Response(double.contents[ref], content_type="application/octet-stream")

    return app


# ---- the bench ----------------------------------------------------------------------------------------------


def connection(port: int, **changes: Any) -> Connection:
    given = Connection(
        address=f"http://127.0.0.1:{port}",
        user=USER,
        secret=TOKEN,
        hook_secret=HOOK,
        words=StoreMapping(place="FS"),
        networks=("127.0.0.0/8",),
    )
    return replace(given, **changes)


def started(request: pytest.FixtureRequest) -> tuple[Double, int]:
    """A double of its own for this test, and its port."""
    double, stack = Double(), ExitStack()
    request.addfinalizer(stack.close)
    return double, stack.enter_context(serving(served(double)))


def told(status: str) -> str:
    """A fresh service project has no word of its own for a ticket that was triaged or opened again."""
    return {"triaged": "new", "reopened": "new"}.get(status, status)


def bench(request: pytest.FixtureRequest) -> Bench:
    """Its search knows of nothing that was written until time passes."""
    double, port = started(request)
    double.lag()
    return Bench(
        store=JiraStore(connection(port)),
        unknown="99999999",
        told=told,
        later=double.lag,
        port=port,
        at=lambda address: JiraStore(connection(port, address=address)),
    )
