"""A double of a ServiceNow instance, written from ServiceNow's public documents:

- "Table API", https://www.servicenow.com/docs/r/zurich/api-reference/rest-apis/c_TableAPI.html : sysparm_query (an invalid part of
  it, such as an unknown field, is ignored unless glide.invalid_query.returns_no_rows is set; a value may be a script,
  ``javascript:…``), sysparm_fields, sysparm_limit (counted before rights are looked at) and sysparm_offset,
  sysparm_display_value (database values of dates are UTC), X-Total-Count.
- "GlideStringUtil", https://www.servicenow.com/docs/r/zurich/api-reference/server-api-reference/GlideStringUtilScopedAPI.html :
  ``^`` inside a value of a query is written ``^^`` (escapeQueryTermSeparator).
- "Render journal field entries as HTML", in Platform Administration: what stands between [code] and [/code] is shown as HTML.
- "Table API FAQs", KB0534905, https://support.servicenow.com/kb?id=kb_article_view&sysparm_article=KB0534905 : UTC unless asked.
- "Attachment API", https://www.servicenow.com/docs/r/zurich/api-reference/rest-apis/c_AttachmentAPI.html : POST attachment/file,
  com.glide.attachment.max_size (1024 MB unless changed), sysparm_limit (1000 unless given) and sysparm_offset; the hash is a SHA-256 ("NowAttachmentService class", cllent-mobile-api-reference).
- "Inbound REST API rate limiting", https://www.servicenow.com/docs/r/zurich/api-reference/rest-api-explorer/inbound-REST-API-rate-limiting.html :
  429 with Retry-After, X-RateLimit-Limit, X-RateLimit-Reset, X-RateLimit-Rule.
- What 403 may mean (rights, business rule, data policy): the response codes in IBM's TADDM guide, appendix C,
  http://www-01.ibm.com/support/knowledgecenter/SSPLFC_7.3.0/com.ibm.taddm.doc_7.3/AdminGuide/r_cmdb_snow_appendix_c.html .
- "Journal field type", https://www.servicenow.com/docs/r/washingtondc/platform-administration/c_JournalFields.html , and that a
  regular user does not see sys_journal_field, https://konverso.atlassian.net/wiki/spaces/IMAPI/pages/2997682181 .
- "GlideCertificateEncryption", https://www.servicenow.com/docs/r/zurich/api-reference/server-api-reference/c_GlideCertificateEncryptionAPI.html .
"""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from fieldapp import clock
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.stores.servicenow import ServiceNowStore
from tests.stores.bench import Bench
from tests.stores.serving import serving

USER, PASSWORD, HOOK = "field.service", "a password, long enough", "the webhook's secret"
TABLE, ATTACHMENT = "/api/now/table", "/api/now/attachment"
STATES = {"1": "New", "2": "In Progress", "3": "On Hold", "6": "Resolved", "7": "Closed", "8": "Canceled"}
PRIORITY = {"11": "1", "12": "2", "21": "2", "13": "3", "22": "3", "31": "3", "23": "4", "32": "4", "33": "5"}
COLUMNS = (
    "sys_id number short_description description state priority urgency impact contact_type category correlation_id close_code"
    " close_notes hold_reason assignment_group sys_created_on sys_updated_on sys_updated_by sys_mod_count work_notes comments"
    " u_customer_number u_asset_serial u_contact_name u_contact_phone"
)
JOURNALS = ("work_notes", "comments")


@dataclass
class Refusal(Exception):
    """An answer that is not what was asked for."""

    status: int
    message: str
    detail: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Double:
    """What the instance holds. ``hidden``: tables whose rows are kept from our user. ``unwritable``: fields that our user's
    changes leave as they are. ``busy``: rules of the instance touch each record after a change. ``rule``: a business rule that aborts every change of the state. ``zone``: how far the zone of our
    user, in which times of a query are read, is from UTC. ``limited``: so many requests get 429. ``lost``: the (method, end of
    the path) whose answer is lost once, after it took effect. ``asleep``: the instance shows its page for people."""

    incidents: dict[str, dict[str, str]] = field(default_factory=dict)
    journal: list[dict[str, str]] = field(default_factory=list)
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    columns: list[str] = field(default_factory=COLUMNS.split)
    states: dict[str, str] = field(default_factory=lambda: dict(STATES))
    hidden: set[str] = field(default_factory=set)
    unwritable: set[str] = field(default_factory=set)
    busy: bool = False
    rule: str = ""
    zone: timedelta = timedelta(0)
    largest: int = 20 * 1024 * 1024
    limited: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)
    asleep: bool = False
    ran: list[str] = field(default_factory=list)  # scripts that a query brought along

    # ---- records ----------------------------------------------------------------------------------------

    def change(self, record: dict[str, str], given: dict[str, Any], who: str) -> None:
        """One update, or none: what a rule or a policy refuses leaves all as it was."""
        taken = {name: str(value) for name, value in given.items() if name in self.columns}
        taken = {name: value for name, value in taken.items() if name not in self.unwritable or who != USER}
        self.refuse(record, taken, who)
        notes = {name: taken.pop(name) for name in JOURNALS if name in taken}
        record.update(taken)
        record["priority"] = PRIORITY[record["urgency"] + record["impact"]]
        for element, text in notes.items():
            self.note(record, element, text, who)
        record["sys_mod_count"] = str(int(record["sys_mod_count"]) + (3 if self.busy else 1))
        record["sys_updated_on"], record["sys_updated_by"] = now(), who

    def refuse(self, record: dict[str, str], taken: dict[str, str], who: str) -> None:
        if "state" not in taken or taken["state"] == record["state"]:
            return
        if self.rule:
            detail = f"Operation against file 'incident' was aborted by Business Rule '{self.rule}^0a1b'."
            raise Refusal(403, "Operation Failed", detail)
        after = {**record, **taken}
        missing = [name for name in ("close_code", "close_notes") if not after.get(name)]
        if taken["state"] in ("6", "7") and missing:
            detail = f"Data Policy Exception: The following fields are mandatory: {', '.join(missing)}"
            raise Refusal(403, "Operation Failed", detail)

    def note(self, record: dict[str, str], element: str, text: str, who: str) -> None:
        entry = {"sys_id": uuid.uuid4().hex, "name": "incident", "element": element, "element_id": record["sys_id"]}
        self.journal.append({**entry, "value": text, "sys_created_on": now(), "sys_created_by": who})

    def shown(self, record: dict[str, str], name: str) -> str:
        """A journal as the record's view of it: the newest first, each under a line that says when and who."""
        if name not in JOURNALS:
            return record.get(name, "")
        label = {"work_notes": "Work notes", "comments": "Additional comments"}[name]
        entries = [each for each in self.journal if (each["element_id"], each["element"]) == (record["sys_id"], name)]
        heads = [f"{each['sys_created_on']} - {each['sys_created_by']} ({label})\n{each['value']}" for each in entries]
        return "\n\n".join(reversed(heads))

    def person(self, ref: str, **changes: str) -> None:
        """What an agent does to a record in the browser."""
        self.change(self.incidents[ref], changes, "li.ting")

    # ---- queries ----------------------------------------------------------------------------------------

    def table(self, name: str) -> tuple[list[dict[str, str]], list[str]]:
        """The rows of a table, and its columns."""
        if name == "incident":
            return list(self.incidents.values()), self.columns
        if name == "sys_journal_field":
            return self.journal, [
                "sys_id",
                "name",
                "element",
                "element_id",
                "value",
                "sys_created_on",
                "sys_created_by",
            ]
        if name == "sys_choice":
            kept = {"name": "incident", "element": "state", "inactive": "false"}
            rows = [{"sys_id": value, **kept, "value": value, "label": label} for value, label in self.states.items()]
            return rows, ["sys_id", "name", "element", "inactive", "value", "label"]
        raise Refusal(400, f"Invalid table {name}")

    def matching(self, rows: list[dict[str, str]], columns: list[str], query: str) -> list[dict[str, str]]:
        """An unknown field's condition is dropped, with no word about it."""
        found = sorted(rows, key=lambda row: row["sys_id"])
        parts = [part.replace("\0", "^") for part in query.replace("^^", "\0").split("^") if part]
        for part in reversed([part for part in parts if part.startswith("ORDERBY")]):
            name = part.removeprefix("ORDERBYDESC").removeprefix("ORDERBY")
            found.sort(key=lambda row, name=name: row.get(name, ""), reverse=part.startswith("ORDERBYDESC"))
        for part in parts:
            told = re.fullmatch(r"([a-z_]+)(>=|>|=|IN)(.*)", part, re.S)
            if told and told[1] in columns:
                found = [row for row in found if self.meets(row, *told.groups())]
        return found

    def meets(self, row: dict[str, str], name: str, operator: str, value: str) -> bool:
        own = row.get(name, "")
        if value.startswith("javascript:"):
            self.ran.append(value)
        if name.endswith("_on") and operator != "=":
            value = (datetime.fromisoformat(value) - self.zone).strftime("%Y-%m-%d %H:%M:%S")
        if operator == "IN":
            return own in value.split(",")
        return {"=": own == value, ">": own > value, ">=": own >= value}[operator]


def now() -> str:
    """To the second, in UTC."""
    return clock.now().strftime("%Y-%m-%d %H:%M:%S")


def served(double: Double) -> Flask:
    """The double as a web application."""
    app = Flask("servicenow")
    lock = RLock()

    @app.before_request
    def enter() -> Response | None:
        lock.acquire()
        if double.asleep:
            return Response("<html>Your instance is hibernating</html>", content_type="text/html")
        if double.limited:
            double.limited -= 1
            limits = {"X-RateLimit-Limit": "100", "X-RateLimit-Reset": "1795384800", "X-RateLimit-Rule": "0a1b"}
            return answer(Refusal(429, "Rate limit exceeded", None, {"Retry-After": "9", **limits}))
        given = request.authorization
        if given is None or (given.username, given.password) != (USER, PASSWORD):
            return answer(Refusal(401, "User Not Authenticated", "Required to provide Auth information"))
        return None

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        lock.release()

    @app.after_request
    def lose(response: Response) -> Response:
        response.date = clock.now()
        for each in double.lost:
            if request.method == each[0] and re.search(each[1] + "$", request.path) and response.status_code < 300:
                double.lost.remove(each)
                return Response("<html>Bad Gateway</html>", 502, content_type="text/html")
        return response

    @app.errorhandler(Refusal)
    def answer(refusal: Refusal) -> Response:
        response = jsonify(error={"message": refusal.message, "detail": refusal.detail}, status="failure")
        response.status_code = refusal.status
        response.headers.extend(refusal.headers)
        return response

    # ---- tables -----------------------------------------------------------------------------------------

    @app.get(f"{TABLE}/<name>")
    def rows(name: str) -> Any:
        there, columns = double.table(name)
        found = double.matching(there, columns, request.args.get("sysparm_query", ""))
        start, many = request.args.get("sysparm_offset", 0, int), request.args.get("sysparm_limit", 10000, int)
        page = [] if name in double.hidden else found[start : start + many]
        response = jsonify(result=[told(row, columns) for row in page])
        response.headers["X-Total-Count"] = str(len(found))
        return response

    @app.get(f"{TABLE}/<name>/<ref>")
    def row(name: str, ref: str) -> Any:
        return {"result": told(record(name, ref), double.columns)}

    @app.patch(f"{TABLE}/<name>/<ref>")
    def patch(name: str, ref: str) -> Any:
        found = record(name, ref)
        double.change(found, request.get_json(), USER)
        return {"result": told(found, double.columns)}

    @app.post(f"{TABLE}/<name>")
    def insert(name: str) -> Any:
        double.table(name)
        made = dict.fromkeys((column for column in double.columns if column not in JOURNALS), "")
        made |= {"sys_id": uuid.uuid4().hex, "number": f"INC{len(double.incidents) + 1:07}", "sys_mod_count": "-1"}
        made |= {"state": "1", "urgency": "3", "impact": "3", "sys_created_on": now()}
        double.change(made, request.get_json(), USER)
        double.incidents[made["sys_id"]] = made
        return {"result": told(made, double.columns)}, 201

    def record(name: str, ref: str) -> dict[str, str]:
        double.table(name)
        if ref not in double.incidents:
            detail = "Record doesn't exist or ACL restricts the record retrieval"
            raise Refusal(404, "No Record found", detail)
        return double.incidents[ref]

    def told(row: dict[str, str], columns: list[str]) -> dict[str, Any]:
        """The fields that were asked for and exist."""
        asked = request.args.get("sysparm_fields", "").split(",")
        names = [name for name in asked if name in columns and name not in double.hidden]
        if request.args.get("sysparm_display_value") == "all":
            return {name: {"value": row.get(name, ""), "display_value": double.shown(row, name)} for name in names}
        return {name: row.get(name, "") for name in names}

    # ---- attachments ------------------------------------------------------------------------------------

    @app.get(ATTACHMENT)
    def attachments() -> Any:
        if "sys_attachment" in double.hidden:
            raise Refusal(403, "Insufficient rights", "ACL restricts reading sys_attachment")
        columns = ["sys_id", "table_name", "table_sys_id", "sys_created_on"]
        found = double.matching(list(double.attachments.values()), columns, request.args.get("sysparm_query", ""))
        start, many = request.args.get("sysparm_offset", 0, int), request.args.get("sysparm_limit", 1000, int)
        return {"result": found[start : start + many]}

    @app.post(f"{ATTACHMENT}/file")
    def attach() -> Any:
        record(request.args["table_name"], request.args["table_sys_id"])
        content = request.get_data()
        if not content or len(content) > double.largest:
            raise Refusal(400, "The file is empty or larger than com.glide.attachment.max_size")
        made = {name: request.args[name] for name in ("table_name", "table_sys_id", "file_name")}
        made |= {"sys_id": uuid.uuid4().hex, "sys_created_on": now(), "size_bytes": str(len(content))}
        made |= {"content_type": request.content_type or "", "hash": hashlib.sha256(content).hexdigest()}
        double.attachments[made["sys_id"]] = made
        double.contents[made["sys_id"]] = content
        return {"result": made}, 201

    @app.get(f"{ATTACHMENT}/<ref>/file")
    def content(ref: str) -> Any:
        if ref not in double.contents:
            raise Refusal(404, "Record Not Found")
        return Response(double.contents[ref], content_type=double.attachments[ref]["content_type"])

    return app


# ---- the bench ----------------------------------------------------------------------------------------------


def connection(port: int, **changes: Any) -> Connection:
    given = Connection(
        address=f"http://127.0.0.1:{port}",
        user=USER,
        secret=PASSWORD,
        hook_secret=HOOK,
        networks=("127.0.0.0/8",),
    )
    return replace(given, **changes)


def started(request: pytest.FixtureRequest) -> tuple[Double, int]:
    """A double of its own for this test, and its port."""
    double, stack = Double(), ExitStack()
    request.addfinalizer(stack.close)
    return double, stack.enter_context(serving(served(double)))


def told(status: str) -> str:
    """An incident has no word of its own for a ticket that was triaged or opened again."""
    return {"triaged": "new", "reopened": "in_progress"}.get(status, status)


def bench(request: pytest.FixtureRequest) -> Bench:
    _double, port = started(request)
    return Bench(
        store=ServiceNowStore(connection(port)),
        unknown="ffffffffffffffffffffffffffffffff",
        told=told,
        port=port,
        at=lambda address: ServiceNowStore(connection(port, address=address)),
    )
