"""A double of Salesforce's REST API, as far as the adapter asks it.

Written from the public documents of Salesforce:

- "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration",
  https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm: the token, ``instance_url``;
- REST API Developer Guide, https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/: "Query" and "QueryAll"
  (``done``, ``nextRecordsUrl``; deleted and merged records), "Composite Request Body" (``allOrNone``: the answer is 200 in any
  case; 25 parts), "Conditional Request Headers" (``If-Unmodified-Since``, 412), "Insert or Update Blob Data" (37.5 MB of
  base64), "Upsert Records Using sObject Rows by External ID" (unique fields refuse a second record), "Status Codes and Error
  Responses" (401 ``INVALID_SESSION_ID``, 403 ``REQUEST_LIMIT_EXCEEDED``, 503);
- Object Reference, https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/: Case
  (``MasterRecordId``), CaseComment, ContentVersion (``Checksum`` is the MD5, ``FirstPublishLocationId``);
- SOQL and SOSL Reference: quoting, moments without quotes.

Its clock has a grain of a second, as that of the platform. It refuses unknown fields, objects and words of a restricted list.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask, Response, jsonify, request

from fieldapp.tickets.connection import Connection
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.stores.salesforce import DEFAULTS, SalesforceStore
from tests.stores.bench import Bench
from tests.stores.serving import serving
from tests.stores.threads import EachThread, at_once

CLIENT, SECRET, HOOK = "3MVG9.consumer.key", "the consumer's secret", "the flow's secret"
API = "/services/data/v62.0"
LARGEST = 37_500_000
KEY = "FieldAppId__c"
SYSTEM = ("Id", "CreatedDate", "LastModifiedDate", "SystemModstamp", "IsDeleted")
CASE = "CaseNumber Subject Description Status Priority Origin Type SuppliedName SuppliedPhone SuppliedEmail"
FIELDS = {
    "Case": [*CASE.split(), "MasterRecordId", "LastModifiedBy", "CustomerNumber__c", "AssetSerial__c", KEY],
    "ServiceNote__c": ["Name", "Case__c", "Text__c", "Author__c", "Status__c", "StatusLeft__c", "Files__c", KEY],
    "ContentVersion": [*"Title PathOnClient VersionData FirstPublishLocationId ContentSize Checksum".split(), KEY],
    "CaseComment": ["ParentId", "CommentBody", "CreatedBy"],
}
PREFIX = {"Case": "500", "ServiceNote__c": "a00", "ContentVersion": "068", "CaseComment": "00a"}
NEVER_GIVEN = {*SYSTEM, "CaseNumber", "Name", "ContentSize", "Checksum", "MasterRecordId"}  # the platform's own
ME = {"Name": "Field Service App"}
Row = dict[str, Any]


class Refusal(Exception):
    """A list with one error, as the platform answers."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.body = status, [{"errorCode": code, "message": message}]


class Platform:
    """Records in memory; one request at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in FIELDS}
        self.fields = copy.deepcopy(FIELDS)
        self.statuses = ["New", "Working", "Escalated", "On Hold", "Closed"]
        self.unique = {"Case", "ServiceNote__c", "ContentVersion"}
        self.tokens: set[str] = set()
        self.numbers = itertools.count(1)
        self.batch = 2000
        self.left: dict[str, list[Row]] = {}
        self.instance: str | None = None
        self.logins, self.requests = 0, 0
        self.fail: list[Refusal] = []  # for the next requests

    # ---- writing ----------------------------------------------------------------------------------------

    def insert(self, name: str, body: Row) -> str:
        self._accept(name, body)
        for row in self.rows[name].values():
            if name in self.unique and body.get(KEY) is not None and row.get(KEY) == body[KEY]:
                raise Refusal(
                    400, "DUPLICATE_VALUE", f"duplicate value found: {KEY} duplicates value on record {row['Id']}"
                )
        number = next(self.numbers)
        ref = f"{PREFIX[name]}5g00000{number:06d}AAA"[:18]
        row = dict.fromkeys(self.fields[name]) | self._made(name, number, body) | body
        self.rows[name][ref] = row | {"Id": ref, "IsDeleted": False, "CreatedDate": now()}
        self.touch(self.rows[name][ref])
        return ref

    def update(self, name: str, ref: str, body: Row, unmodified_since: str | None) -> None:
        row = self.rows[name].get(ref)
        if row is None or row["IsDeleted"]:
            raise Refusal(404, "ENTITY_IS_DELETED", "entity is deleted")
        if unmodified_since and moment(row["LastModifiedDate"]) > parsedate_to_datetime(unmodified_since):
            raise Refusal(412, "PRECONDITION_FAILED", "the record was changed")
        self._accept(name, body)
        row.update(body)
        self.touch(row)

    def touch(self, row: Row, by: str = ME["Name"]) -> None:
        row["LastModifiedDate"] = row["SystemModstamp"] = now()
        row["LastModifiedBy"] = row["CreatedBy"] = {"Name": by}

    def _accept(self, name: str, body: Row) -> None:
        for field in body:
            if field not in self.fields[name] or field in NEVER_GIVEN:
                raise Refusal(400, "INVALID_FIELD", f"No such column '{field}' on sobject of type {name}")
        if name == "Case" and body.get("Status", "New") not in self.statuses:
            raise Refusal(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", f"bad value: {body['Status']}")
        for field in ("Case__c", "FirstPublishLocationId"):
            if body.get(field) and body[field] not in self.rows["Case"]:
                raise Refusal(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")

    def _made(self, name: str, number: int, body: Row) -> Row:
        if name == "ContentVersion":
            content = base64.b64decode(body["VersionData"], validate=True)
            return {"ContentSize": len(content), "Checksum": hashlib.md5(content).hexdigest()}  # noqa: S324 - as it does
        return {"Case": {"CaseNumber": f"{number:08d}"}, "ServiceNote__c": {"Name": f"SN-{number:08d}"}}.get(name, {})

    def composite(self, asked: Row) -> list[Row]:
        if len(asked["compositeRequest"]) > 25:
            raise Refusal(400, "INVALID_INPUT", "too many subrequests")
        before, answers = copy.deepcopy(self.rows), []
        for part in asked["compositeRequest"]:
            try:
                answers.append(self._part(part))
            except Refusal as refusal:
                answers.append({"httpStatusCode": refusal.status, "body": refusal.body})
        if asked["allOrNone"] and any(answer["httpStatusCode"] >= 300 for answer in answers):
            self.rows = before
            halted = [{"errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back"}]
            answers = [
                each if each["httpStatusCode"] >= 300 else {"httpStatusCode": 400, "body": halted} for each in answers
            ]
        parts = zip(asked["compositeRequest"], answers, strict=True)
        return [{**answer, "httpHeaders": {}, "referenceId": part["referenceId"]} for part, answer in parts]

    def _part(self, part: Row) -> Row:
        _empty, name, *ref = part["url"].removeprefix(f"{API}/sobjects").split("/")
        if name not in self.fields:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if part["method"] == "POST":
            return {
                "httpStatusCode": 201,
                "body": {"id": self.insert(name, part["body"]), "success": True, "errors": []},
            }
        self.update(name, ref[0], part["body"], part.get("httpHeaders", {}).get("If-Unmodified-Since"))
        return {"httpStatusCode": 204, "body": None}

    # ---- reading ----------------------------------------------------------------------------------------

    def select(self, soql: str, *, deleted: bool) -> list[Row]:
        found = re.fullmatch(
            r"SELECT (?P<names>.+?) FROM (?P<of>\w+)(?: WHERE (?P<where>.+?))?(?: ORDER BY (?P<order>.+?))?(?: LIMIT (?P<limit>\d+))?",
            soql,
            re.S,
        )
        if found is None or found["of"] not in self.fields:
            raise Refusal(400, "INVALID_TYPE", f"sObject type is not supported: {soql}")
        rows = [row for row in self.rows[found["of"]].values() if deleted or not row["IsDeleted"]]
        if found["where"]:
            wanted = Where(found["where"])
            rows = [row for row in rows if wanted.holds(row)]
        for term in reversed((found["order"] or "Id").split(", ")):
            field, _space, way = term.partition(" ")
            rows.sort(key=lambda row, field=field: row[field] or "", reverse=way == "DESC")  # type: ignore[misc]
        limit = int(found["limit"]) if found["limit"] else None
        names = found["names"].split(", ")
        return [{"attributes": {"type": found["of"]}, **self._shown(found["of"], row, names)} for row in rows[:limit]]

    def _shown(self, of: str, row: Row, names: list[str]) -> Row:
        shown: Row = {}
        for name in names:
            first, _dot, rest = name.partition(".")
            if (
                first.removesuffix("__r") + ("__c" if "__r" in first else "") not in (*self.fields[of], *SYSTEM)
                or first == "VersionData"
            ):
                raise Refusal(400, "INVALID_FIELD", f"No such column '{first}' on entity '{of}'")
            if not rest:
                shown[name] = row[name]
            else:
                there = self.rows["Case"].get(row["Case__c"]) if first == "Case__r" else row[first]
                shown.setdefault(first, {} if there else None)
                if there:
                    shown[first][rest] = there[rest]
        return shown


class Where:
    """The conditions that we ask with: ``=``, ``>``, ``>=``, ``IN``, ``AND``, ``OR`` and parentheses."""

    WORD = re.compile(r"\s*('(?:[^'\\]|\\.)*'|>=|[=>(),]|[\w.:-]+)")

    def __init__(self, text: str) -> None:
        self.words, at = [], 0
        while at < len(text.rstrip()):
            found = self.WORD.match(text, at)
            if found is None:
                raise Refusal(400, "MALFORMED_QUERY", text)
            self.words.append(found[1])
            at = found.end()
        self.test = self._any()
        if self.words:
            raise Refusal(400, "MALFORMED_QUERY", text)

    def holds(self, row: Row) -> bool:
        return bool(self.test(row))

    def _any(self) -> Any:
        tests = [self._all()]
        while self.words[:1] == ["OR"]:
            self.words.pop(0)
            tests.append(self._all())
        return lambda row: any(test(row) for test in tests)

    def _all(self) -> Any:
        tests = [self._one()]
        while self.words[:1] == ["AND"]:
            self.words.pop(0)
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _one(self) -> Any:
        word = self.words.pop(0)
        if word == "(":
            test = self._any()
            assert self.words.pop(0) == ")"
            return test
        how = self.words.pop(0)
        if how == "IN":
            values = []
            while self.words.pop(0) != ")":
                values.append(self._value(self.words.pop(0)))
            return lambda row: row[word] in values
        value = self._value(self.words.pop(0))
        compare = {"=": lambda a, b: a == b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}[how]
        return lambda row: row[word] is not None and compare(row[word], value)

    @staticmethod
    def _value(word: str) -> Any:
        if word.startswith("'"):
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        return (
            {"true": True, "false": False}[word] if word in ("true", "false") else shown(datetime.fromisoformat(word))
        )


def now() -> str:
    return shown(datetime.now(UTC))


def shown(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def served(platform: Platform) -> Flask:
    """The platform's web server."""
    app = Flask("salesforce")

    @app.before_request
    def guard() -> None:
        platform.lock.acquire()
        if request.path == "/services/oauth2/token":
            return
        platform.requests += 1
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in platform.tokens:
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if platform.fail:
            raise platform.fail.pop(0)
        if (request.content_length or 0) > LARGEST:
            raise Refusal(413, "REQUEST_ENTITY_TOO_LARGE", "too large")

    @app.teardown_request
    def release(_error: BaseException | None) -> None:
        platform.lock.release()

    @app.errorhandler(Refusal)
    def refuse(refusal: Refusal) -> Response:
        return Response(json.dumps(refusal.body), refusal.status, mimetype="application/json")

    @app.post("/services/oauth2/token")
    def token() -> Any:
        form = request.form
        if form["grant_type"] != "client_credentials":
            return jsonify(error="unsupported_grant_type", error_description="grant type not supported"), 400
        if (form["client_id"], form["client_secret"]) != (CLIENT, SECRET):
            return jsonify(error="invalid_client", error_description="invalid client credentials"), 400
        platform.logins += 1
        made = f"00D5g000!token.{platform.logins}"
        platform.tokens.add(made)
        return jsonify(
            access_token=made, token_type="Bearer", instance_url=platform.instance or request.host_url.rstrip("/")
        )

    @app.get(f"{API}/query")
    @app.get(f"{API}/queryAll", endpoint="all")
    def query() -> Response:
        return page(platform.select(request.args["q"], deleted=request.endpoint == "all"))

    @app.get(f"{API}/query/<locator>")
    def more(locator: str) -> Response:
        return page(platform.left.pop(locator))

    def page(rows: list[Row]) -> Response:
        answer: Row = {"totalSize": len(rows), "done": len(rows) <= platform.batch, "records": rows[: platform.batch]}
        if not answer["done"]:
            locator = f"01g5g-{next(platform.numbers)}"
            platform.left[locator] = rows[platform.batch :]
            answer["nextRecordsUrl"] = f"{API}/query/{locator}"
        return jsonify(answer)

    @app.post(f"{API}/composite")
    def composite() -> Response:
        return jsonify(compositeResponse=platform.composite(request.get_json()))

    @app.get(f"{API}/sobjects/<name>/describe")
    def describe(name: str) -> Response:
        if name not in platform.fields:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        words = [{"value": word, "active": True} for word in platform.statuses]
        return jsonify(
            fields=[
                {
                    "name": each,
                    "unique": each == KEY and name in platform.unique,
                    "picklistValues": words * (each == "Status"),
                }
                for each in platform.fields[name]
            ]
        )

    @app.get(f"{API}/sobjects/ContentVersion/<ref>/VersionData")
    def content(ref: str) -> Response:
        row = platform.rows["ContentVersion"][unquote(ref)]
        return Response(base64.b64decode(row["VersionData"]), mimetype="application/octetstream")

    return app


def connection(address: str, **more: Any) -> Connection:
    return Connection(
        address, **{"user": CLIENT, "secret": SECRET, "hook_secret": HOOK, "networks": ("127.0.0.0/8",), **more}
    )


def told(status: str) -> str:
    words = DEFAULTS.statuses
    return words.ours(words.theirs(status), "")


def bench(request: pytest.FixtureRequest) -> Bench:
    """A fresh organization, with our fields and the status “On Hold” added."""
    app = request.getfixturevalue("app")
    serve = serving(served(Platform()))
    port = serve.__enter__()
    request.addfinalizer(lambda: serve.__exit__(None, None, None))

    def at(address: str) -> TicketStore:
        return EachThread(lambda: SalesforceStore(connection(address)))  # type: ignore[return-value]

    return Bench(
        store=at(f"http://127.0.0.1:{port}"),
        unknown="5005g00000ZZZZZAAA",
        at_once=at_once(app),
        told=told,
        keeps=frozenset({"type", "priority", "contact"}),
        port=port,
        at=at,
    )
