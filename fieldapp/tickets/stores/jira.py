"""Jira Service Management in the cloud, through the platform's REST API version 3.

A ticket's name here is the issue's number (``id``): it stays when the issue moves to another project, its key does not.
A note is a comment in Atlassian's document format, one paragraph, so that it reads back to the letter. Its last line is our mark
for people; what counts is the comment's property ``fieldapp``, written in the same call: key, author, the files that belong to
it, the status that was asked. Files are attachments of the issue, put there before the note; those whose note never came are
known by name, size and content, and taken instead of a second copy.

Search lags behind writing, by seconds or minutes. So notes are looked for in the issue itself; and a ticket that we file is
announced first as a property of our own user, which does not lag.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from fieldapp import clock
from fieldapp.i18n import _
from fieldapp.tickets import marks
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.reading import carefully, named
from fieldapp.tickets.store import (
    Caps,
    Change,
    Conflict,
    Denied,
    Flaw,
    Hint,
    NewFile,
    NewTicket,
    Page,
    Receipt,
    Rejected,
    Retry,
    StoreFile,
    StoreNote,
    StoreTicket,
)
from fieldapp.tickets.wire import Answer, Wire

API = "/rest/api/3"
PROPERTY = "fieldapp"  # of a comment
ANNOUNCED = "fieldapp.filing."  # of our user, followed by the second and the key
FORGOTTEN = timedelta(days=7)  # an announcement that old is settled
LAG = timedelta(seconds=300)  # the vendor says "a few seconds to minutes"
GRAIN = timedelta(seconds=60)
MANY = 100
MANY_IDS = 1000
PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "CREATE_ATTACHMENTS", "TRANSITION_ISSUES")
LOGIN_FAILED = ("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED")
SYSTEM_FIELDS = ("summary", "description", "status", "created", "updated", "priority", "resolution", "issuelinks")

DEFAULTS = StoreMapping(
    statuses=Words(
        read={
            "Open": "new",
            "Waiting for support": "new",
            "Reopened": "reopened",
            "Escalated": "triaged",
            "In progress": "in_progress",
            "Work in progress": "in_progress",
            "Pending": "waiting_customer",
            "Waiting for customer": "waiting_customer",
            "Resolved": "resolved",
            "Done": "resolved",
            "Closed": "closed",
            "Canceled": "suspended",
        },
        write={
            "triaged": "Waiting for support",
            "in_progress": "In progress",
            "waiting_customer": "Waiting for customer",
            "resolved": "Resolved",
            "closed": "Closed",
            "reopened": "Waiting for support",
            "suspended": "Canceled",
        },
    ),
    priorities=Words(
        read={"Highest": "urgent", "High": "high", "Medium": "normal", "Low": "low", "Lowest": "low"},
        write={"urgent": "Highest", "high": "High", "normal": "Medium", "low": "Low"},
    ),
    fields={
        "uid": "ServiceRecordId",
        "customer": "CustomerId",
        "asset": "AssetSerial",
        "channel": "ServiceChannel",
        "type": "ServiceType",
        "contact": "ContactName",
        "contact_phone": "ContactPhone",
    },
    # visible: "customers" makes our notes replies that the portal shows. only: a further condition in JQL.
    options={"issue_type": "[System] Service request", "resolution": "Done", "visible": "agents", "only": ""},
)


@carefully
class JiraStore:
    """Tickets in a Jira service project."""

    name = "jira"
    caps = Caps(
        delta="since",
        find="scan",
        guard="stamp",
        atomic=False,
        grain_s=int(GRAIN.total_seconds()),
        lag_s=int(LAG.total_seconds()),
        max_file=10 * 1024 * 1024,
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        self.wire = Wire(connection, auth=(connection.user, connection.secret))
        self._next: tuple[str, str, str] | None = None  # cursor, query and token of the page that follows
        self._ids: dict[str, str] | None = None

    # ---- reading ----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """A pass over all that changed since, in the order of filing, which does not shift while people write."""
        at = _Pass.read(cursor)
        if at.began is None:
            at = replace(at, began=_ms(self._get("/serverInfo")["serverTime"]))
        query, token = self._query(at), ""
        if self._next and self._next[0] == cursor:
            _same, query, token = self._next
        self._next = None  # should the token be refused, the cursor says where to go on
        answer = self._search(query, limit, token)
        tickets = tuple(self._told(issue) for issue in answer["issues"])
        at = at.after(tickets)
        following = answer.get("nextPageToken")
        if following and not answer.get("isLast"):
            self._next = (str(at), query, following)
            return Page(tickets=tickets, cursor=str(at), more=True)
        done = at.done()
        return Page(tickets=tickets, cursor=str(done), more=at.pages > 1 and done.since != at.since)

    def ticket(self, ref: str) -> StoreTicket:
        return self._told(self._issue(ref, self._asked()))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        issues = self._search_all(self._equals("customer", customer) + " ORDER BY created DESC, key DESC")
        # The search compares words, not letters.
        theirs = (self._told(issue) for issue in issues if self._value(issue["fields"], "customer") == customer)
        return tuple(islice(theirs, limit))

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        return tuple(note.told for note in self._seen(ticket).notes)

    def content(self, file: StoreFile) -> bytes:
        """Asked for without a redirect: the media server is another host, and we follow to none."""
        return self._ask("GET", f"/attachment/content/{_quoted(file.ref)}", params={"redirect": "false"}).body

    # ---- writing ----------------------------------------------------------------------------------------

    def find(self, uid: str, ticket: str) -> Receipt | None:
        seen = self._seen(ticket)
        note = seen.ours(uid)
        return self._receipt(note, seen) if note else None

    def push(self, change: Change) -> Receipt:
        seen = self._seen(change.ticket)
        wanted = self._wanted(change)
        if seen.ours(change.uid) is None:
            self._add_note(change, wanted, seen)
            seen = self._seen(change.ticket)
        note = seen.ours(change.uid)
        if note is None:
            raise Retry(_("The ticket store took the change, but it cannot be read back yet."))
        if self._add_missing_files(note, change, seen):
            seen = self._seen(change.ticket)
        receipt = self._receipt(note, seen)
        if note.left:
            sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
            raise Conflict(sentence, receipt=receipt)
        if receipt.complete:
            return receipt
        if not self._status_reached(note, seen):
            self._move(note, seen, change)
        receipt = self.find(change.uid, change.ticket) or receipt
        if not receipt.complete:
            raise Retry(_("The ticket store took the change, but it cannot be read back yet."))
        return receipt

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("Say in a few words what is wrong."))
        custom = self._custom_values(new)
        return self.ticket(self._filed(new.uid) or self._file(new, custom))

    # ---- being looked at --------------------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        self._myself()
        self._ids = None
        if not self._project_exists():
            says = _("There is no project “%(name)s” that we may see.", name=self.words.place)
            mend = _("Write the project's key as place in the mapping, and let our user browse the project.")
            return (Flaw(says=says, mend=mend),)
        return (*self._rights(), *self._fields(), *self._vocabulary(), *self._attachments_allowed())

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """``X-Hub-Signature`` is the HMAC-SHA256 of the body; a message that is sent again keeps its identifier."""
        given = {name.lower(): value for name, value in headers.items()}
        self._believe(given.get("x-hub-signature", ""), body)
        try:
            message = json.loads(body)
            issue = str(message["issue"]["id"])
        except (ValueError, TypeError, KeyError) as error:
            raise Rejected(_("The message names no ticket.")) from error
        name = given.get("x-atlassian-webhook-identifier") or hashlib.sha256(body).hexdigest()
        return (Hint(id=name, ticket=issue),)

    def _believe(self, signature: str, body: bytes) -> None:
        secret = self.connection.hook_secret
        ours = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if not secret or not hmac.compare_digest(ours.encode(), signature.encode()):
            raise Denied(_("The message does not prove that it comes from the ticket store."))

    # ---- search -----------------------------------------------------------------------------------------

    def _query(self, at: _Pass) -> str:
        """Moments without quotes are milliseconds, so that the time zone of our user's profile does not matter."""
        parts = [self._within()]
        if at.since is not None:
            parts.append(f"updated >= {at.since}")
        if at.created is not None:
            parts.append(f"created >= {at.created}")
        return " AND ".join(parts) + " ORDER BY created ASC, key ASC"

    def _within(self) -> str:
        only = self.words.options["only"]
        return f"project = {_in_quotes(self.words.place)}" + (f" AND ({only})" if only else "")

    def _equals(self, field: str, value: str) -> str:
        number = self._field(field).removeprefix("customfield_")
        return f"{self._within()} AND cf[{number}] ~ {_in_quotes(_in_quotes(value))}"

    def _search_all(self, query: str) -> Iterator[Any]:
        token = ""
        while True:
            answer = self._search(query, MANY, token)
            yield from answer["issues"]
            token = answer.get("nextPageToken") or ""
            if not token or answer.get("isLast"):
                return

    def _search(self, query: str, limit: int, token: str = "") -> Any:
        asked = {"jql": query, "maxResults": limit, "fields": self._asked(), "expand": "changelog"}
        return self._ask("POST", "/search/jql", json={**asked, **({"nextPageToken": token} if token else {})}).json()

    # ---- a ticket as we tell it ---------------------------------------------------------------------------

    def _asked(self) -> list[str]:
        return [*SYSTEM_FIELDS, *(self._numbers()[name] for name in self._known_fields())]

    def _issue(self, ref: str, fields: Sequence[str]) -> Any:
        params = {"fields": ",".join(fields), "expand": "changelog"}
        return self._get(f"/issue/{_quoted(ref)}", params=params, missing=ref)

    def _told(self, issue: Any) -> StoreTicket:
        fields = issue["fields"]
        return StoreTicket(
            ref=issue["id"],
            version=_version(fields),
            opened=_moment(fields["created"]),
            updated=_moment(fields["updated"]),
            subject=fields["summary"],
            status=self.words.statuses.ours(fields["status"]["name"], "in_progress"),
            text=_plain(fields.get("description")),
            customer=self._value(fields, "customer") or None,
            asset=self._value(fields, "asset") or None,
            changed_by=_changed_by(issue),
            merged_into=_duplicated(fields),
            fields={"number": issue["key"], **self._other_fields(fields)},
        )

    def _other_fields(self, fields: Any) -> dict[str, str]:
        values = {name: self._value(fields, name) for name in self._known_fields()}
        for name in ("uid", "customer", "asset"):
            values.pop(name, None)
        for name, words in self._vocabularies().items():
            if values.get(name):
                values[name] = words.ours(values[name], values[name])
        priority = (fields.get("priority") or {}).get("name")
        values["priority"] = self.words.priorities.ours(priority, "normal")
        return {name: value for name, value in values.items() if value}

    def _vocabularies(self) -> dict[str, Words]:
        return {"channel": self.words.channels, "type": self.words.types}

    def _value(self, fields: Any, name: str) -> str:
        """A custom field's value; of a list to choose from, the chosen word."""
        number = self._numbers().get(name)
        value = fields.get(number) if number else None
        if isinstance(value, dict):
            value = value.get("value") or value.get("name") or _plain(value)
        return str(value or "")

    def _known_fields(self) -> list[str]:
        return [name for name in self.words.fields if name in self._numbers()]

    def _numbers(self) -> dict[str, str]:
        """Our name of each custom field, and ``customfield_…``."""
        if self._ids is None:
            there = {field["name"].casefold(): field["id"] for field in self._get("/field") if field.get("custom")}
            named = {name: there.get(theirs.casefold()) for name, theirs in self.words.fields.items()}
            self._ids = {name: number for name, number in named.items() if number}
        return self._ids

    def _field(self, name: str) -> str:
        if name not in self._numbers():
            self._ids = None  # somebody may have made it since we looked
        if name not in self._numbers():
            theirs = self.words.fields.get(name, name)
            raise Rejected(_("The custom field “%(name)s” is missing in the ticket store.", name=theirs))
        return self._numbers()[name]

    # ---- the thread ---------------------------------------------------------------------------------------

    def _seen(self, ref: str) -> _Seen:
        issue = self._get(f"/issue/{_quoted(ref)}", params={"fields": "status,updated,attachment"}, missing=ref)
        files = {file["id"]: _file(file) for file in issue["fields"]["attachment"]}
        comments = list(self._comments(issue["id"]))
        marked = [each["id"] for each in comments if marks.read(_plain(each["body"])).uid]
        kept = self._properties(marked)
        notes = tuple(_note(comment, kept.get(comment["id"]), files) for comment in comments)
        fields = issue["fields"]
        return _Seen(issue["id"], _version(fields), fields["status"]["name"], files, notes)

    def _comments(self, ref: str) -> Iterator[Any]:
        start = 0
        while True:
            params = {"startAt": start, "maxResults": MANY, "orderBy": "created"}
            page = self._get(f"/issue/{_quoted(ref)}/comment", params=params, missing=ref)
            yield from page["comments"]
            start += len(page["comments"])
            if not page["comments"] or start >= page["total"]:
                return

    def _properties(self, comments: Sequence[str]) -> dict[str, Any]:
        """Our property of each comment that has one. A mark in the text alone may be somebody's quotation."""
        found = {}
        for start in range(0, len(comments), MANY_IDS):
            ids = [int(each) for each in comments[start : start + MANY_IDS]]
            page = self._ask("POST", "/comment/list", params={"expand": "properties"}, json={"ids": ids}).json()
            told = {comment["id"]: comment for comment in page["values"]}
            for each in comments[start : start + MANY_IDS]:  # one that is left out would be taken for nobody's
                values = {kept["key"]: kept["value"] for kept in told[each].get("properties") or []}
                if PROPERTY in values:
                    found[each] = named(values[PROPERTY])
        return found

    # ---- one note, its files, its status --------------------------------------------------------------------

    def _wanted(self, change: Change) -> str | None:
        if change.status is None:
            return None
        theirs = self.words.statuses.theirs(change.status)
        if theirs is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        return theirs

    def _add_note(self, change: Change, wanted: str | None, seen: _Seen) -> None:
        same = wanted is not None and _same(wanted, seen.status)
        left = wanted is not None and not same and change.base is not None and change.base != seen.version
        files = self._attached(change.files, seen)
        kept = {"uid": change.uid, "author": change.author, "files": files, "status": wanted, "left": left}
        shown = {"key": "sd.public.comment", "value": {"internal": self.words.options["visible"] != "customers"}}
        body = _document(marks.mark(change.note, author=change.author, uid=change.uid))
        comment = {"body": body, "properties": [{"key": PROPERTY, "value": kept}, shown]}
        self._ask("POST", f"/issue/{_quoted(seen.ref)}/comment", json=comment, missing=change.ticket)

    def _attached(self, files: Sequence[NewFile], seen: _Seen) -> list[str]:
        """The attachments' ids; those that an earlier try left without a note are taken first."""
        spare = [file for ref, file in seen.files.items() if ref not in seen.claimed]
        ids = []
        for file in files:
            there = next((each for each in spare if self._same_file(each, file)), None)
            if there:
                spare.remove(there)
            ids.append(there.ref if there else self._attach(file, seen.ref))
        return ids

    def _same_file(self, there: StoreFile, file: NewFile) -> bool:
        alike = (there.name, there.size) == (file.name, len(file.content))
        return alike and self.content(there) == file.content

    def _attach(self, file: NewFile, ref: str) -> str:
        answer = self._ask(
            "POST",
            f"/issue/{_quoted(ref)}/attachments",
            files={"file": (file.name, file.content, file.media_type)},
            headers={"X-Atlassian-Token": "no-check"},  # else taken for a forged form
            missing=ref,
        )
        return str(answer.json()[0]["id"])

    def _add_missing_files(self, note: _Note, change: Change, seen: _Seen) -> bool:
        """Whether files of our note that somebody removed were put there again."""
        ids = list(note.files)
        gone = [place for place, ref in enumerate(ids) if ref not in seen.files and place < len(change.files)]
        if not gone:
            return False
        for place, ref in zip(gone, self._attached([change.files[place] for place in gone], seen)):
            ids[place] = ref
        path = f"/comment/{_quoted(note.told.ref)}/properties/{PROPERTY}"
        self._ask("PUT", path, json={**note.kept, "files": ids}, missing=change.ticket)
        return True

    def _receipt(self, note: _Note, seen: _Seen) -> Receipt:
        there = all(ref in seen.files for ref in note.files)
        complete = there and not note.left and self._status_reached(note, seen)
        return Receipt(uid=note.told.uid or "", ticket=seen.ref, ref=note.told.ref, complete=complete)

    def _status_reached(self, note: _Note, seen: _Seen) -> bool:
        """Now, or at some moment since the note: what a person did after that is not taken back."""
        if note.status is None or _same(note.status, seen.status):
            return True
        return any(_same(note.status, status) for status in self._statuses_since(note, seen))

    def _statuses_since(self, note: _Note, seen: _Seen) -> list[str]:
        changes = self._paged(f"/issue/{_quoted(seen.ref)}/changelog")
        since = [each for each in changes if _moment(each["created"]) >= note.told.at]
        return [item["toString"] for each in since for item in each["items"] if item["field"] == "status"]

    def _paged(self, path: str) -> Iterator[Any]:
        start = 0
        while True:
            page = self._get(path, params={"startAt": start, "maxResults": MANY})
            yield from page["values"]
            start += len(page["values"])
            if page.get("isLast", True) or not page["values"]:
                return

    def _move(self, note: _Note, seen: _Seen, change: Change) -> None:
        """By a step of the workflow that is open to us now; there may be none."""
        if change.base is not None and self._statuses_since(note, seen):
            sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
            raise Conflict(sentence, receipt=self._receipt(note, seen))
        path = f"/issue/{_quoted(seen.ref)}/transitions"
        steps = self._get(path, params={"expand": "transitions.fields"})["transitions"]
        step = next((each for each in steps if _same(each["to"]["name"], note.status or "")), None)
        if step is None:
            raise Rejected(
                _(
                    "The note is in, but the workflow leads from “%(now)s” to “%(wanted)s” by no step that is open to us.",
                    now=seen.status,
                    wanted=note.status,
                )
            )
        self._ask("POST", path, json={"transition": {"id": step["id"]}, "fields": self._step_fields(step)})

    def _step_fields(self, step: Any) -> dict[str, Any]:
        fields = step.get("fields") or {}
        given = {"resolution": {"name": self.words.options["resolution"]}} if "resolution" in fields else {}
        for key, field in fields.items():
            if field.get("required") and not field.get("hasDefaultValue") and key not in given:
                sentence = _(
                    "The note is in, but the step “%(step)s” asks for “%(field)s”, which only a person can give.",
                    step=step["name"],
                    field=field["name"],
                )
                raise Rejected(sentence)
        return given

    # ---- filing -------------------------------------------------------------------------------------------

    def _filed(self, uid: str) -> str | None:
        """The issue under our key. While search may still lag behind an announced filing, nobody can know: Retry."""
        for issue in self._search_all(self._equals("uid", uid) + " ORDER BY created ASC"):
            if self._value(issue["fields"], "uid") == uid:
                return str(issue["id"])
        announced = self._announcement(uid)
        if announced is None:
            return None
        if issue := self._get(self._announced_path(announced), params=self._me())["value"].get("issue"):
            return str(issue)
        left = _announced_at(announced) + LAG - clock.now()
        if left > timedelta(0):
            sentence = _("A ticket was filed, but the ticket store's search does not show yet whether it arrived.")
            raise Retry(sentence, after=int(left.total_seconds()) + 1)
        return None

    def _file(self, new: NewTicket, custom: Mapping[str, Any]) -> str:
        key = self._announcement(new.uid) or f"{ANNOUNCED}{int(clock.now().timestamp())}.{new.uid}"
        if _announced_at(key) + LAG <= clock.now():  # tried long ago and not arrived: announced anew
            key = f"{ANNOUNCED}{int(clock.now().timestamp())}.{new.uid}"
        self._ask("PUT", self._announced_path(key), params=self._me(), json={"uid": new.uid})
        fields = {
            "project": {"key": self.words.place},
            "issuetype": {"name": self.words.options["issue_type"]},
            "summary": " ".join(new.subject.split()),
            **({"description": _document(new.text)} if new.text else {}),
            **self._priority(new),
            **custom,
        }
        issue = str(self._ask("POST", "/issue", json={"fields": fields}).json()["id"])
        self._ask("PUT", self._announced_path(key), params=self._me(), json={"uid": new.uid, "issue": issue})
        return issue

    def _priority(self, new: NewTicket) -> dict[str, Any]:
        theirs = self.words.priorities.theirs(new.fields.get("priority", ""))
        return {"priority": {"name": theirs}} if theirs else {}

    def _custom_values(self, new: NewTicket) -> dict[str, Any]:
        """``customfield_…`` and value of all that this installation has a field for (raises Rejected where it is missing)."""
        given = {**new.fields, "uid": new.uid, "customer": new.customer or "", "asset": new.asset or ""}
        values = {self._field("uid"): new.uid}
        for name in self.words.fields:
            if value := given.get(name):
                words = self._vocabularies().get(name)
                values[self._field(name)] = (words.theirs(value) if words else None) or value
        return values

    def _announcement(self, uid: str) -> str | None:
        """The property that announced this filing, the latest if there are several; old ones are swept away."""
        keys = [each["key"] for each in self._get("/user/properties", params=self._me())["keys"]]
        ours = sorted(key for key in keys if key.startswith(ANNOUNCED))
        for key in ours[:20]:
            if _announced_at(key) + FORGOTTEN < clock.now():
                self._ask("DELETE", self._announced_path(key), params=self._me())
        return next((key for key in reversed(ours) if key.removeprefix(ANNOUNCED).partition(".")[2] == uid), None)

    def _announced_path(self, key: str) -> str:
        return f"/user/properties/{_quoted(key)}"

    def _me(self) -> dict[str, str]:
        return {"accountId": self._myself()["accountId"]}

    # ---- what does not fit ----------------------------------------------------------------------------------

    def _myself(self) -> Any:
        return self._get("/myself")

    def _project_exists(self) -> bool:
        answer = self._believed("GET", f"/project/{_quoted(self.words.place)}") if self.words.place else None
        return answer is not None and answer.status != 404

    def _rights(self) -> Iterator[Flaw]:
        params = {"projectKey": self.words.place, "permissions": ",".join(PERMISSIONS)}
        given = self._get("/mypermissions", params=params)["permissions"]
        for name in PERMISSIONS:
            if not given.get(name, {}).get("havePermission"):
                says = _("Our user lacks the permission “%(name)s” in the project.", name=name)
                yield Flaw(
                    says=says, mend=_("Make our user an agent of the project, or grant it in the permission scheme.")
                )

    def _fields(self) -> Iterator[Flaw]:
        names = [field["name"].casefold() for field in self._get("/field") if field.get("custom")]
        for theirs in self.words.fields.values():
            count = names.count(theirs.casefold())
            if count == 0:
                says = _("The custom field “%(name)s” is missing.", name=theirs)
                mend = _(
                    "Create it so: Settings, Issues, Custom fields, Create, Short text, “%(name)s”, on the project's screens.",
                    name=theirs,
                )
                yield Flaw(says=says, mend=mend)
            elif count > 1:
                says = _("There are %(count)s custom fields named “%(name)s”.", count=count, name=theirs)
                yield Flaw(says=says, mend=_("Rename all but one of them: we know a field by its name."))

    def _vocabulary(self) -> Iterator[Flaw]:
        kinds = self._get(f"/project/{_quoted(self.words.place)}/statuses")
        kind = next((each for each in kinds if _same(each["name"], self.words.options["issue_type"])), None)
        if kind is None:
            says = _("The project has no issue type “%(name)s”.", name=self.words.options["issue_type"])
            yield Flaw(
                says=says, mend=_("Write one of these as issue_type in the mapping: %(names)s.", names=_names(kinds))
            )
            return
        there = [status["name"].casefold() for status in kind["statuses"]]
        for ours, theirs in self.words.statuses.write.items():
            if theirs.casefold() not in there:
                says = _("The status “%(theirs)s”, our “%(ours)s”, does not exist.", theirs=theirs, ours=ours)
                mend = _("Write one of these in [statuses.write]: %(names)s.", names=_names(kind["statuses"]))
                yield Flaw(says=says, mend=mend)

    def _attachments_allowed(self) -> Iterator[Flaw]:
        told = self._get("/attachment/meta")
        if not told.get("enabled"):
            yield Flaw(
                says=_("Attachments are switched off."), mend=_("Switch them on: Settings, System, Attachments.")
            )
        elif told.get("uploadLimit", 0) < (self.caps.max_file or 0):
            says = _("Attachments may have %(size)s MB at most.", size=told["uploadLimit"] // 1024**2)
            yield Flaw(says=says, mend=_("Allow 10 MB: Settings, System, Attachments."))

    # ---- asking -------------------------------------------------------------------------------------------

    def _get(self, path: str, *, missing: str = "", **more: Any) -> Any:
        return self._ask("GET", path, missing=missing, **more).json()

    def _ask(self, method: str, path: str, *, missing: str = "", **more: Any) -> Answer:
        answer = self._believed(method, path, **more)
        if answer.status == 404:
            raise Rejected(_("There is no ticket %(number)s.", number=missing or path))
        return answer

    def _believed(self, method: str, path: str, **more: Any) -> Answer:
        """Where a log-in fails, Jira may answer as it answers anybody: nothing found, and a header that says why."""
        answer = self.wire.ask(method, API + path, accept=(404,), **more)
        if answer.headers.get("X-Seraph-LoginReason") in LOGIN_FAILED:
            raise Denied(_("The ticket store does not accept our user and token."))
        return answer


# ---- how far we have read -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pass:
    """A walk over all that changed ``since``. All in milliseconds. ``began``: when the walk began, by the store's clock;
    ``newest``: the latest change seen in it; ``created``: when the last one told was filed, to go on from after a restart."""

    since: int | None = None
    began: int | None = None
    newest: int | None = None
    created: int | None = None
    pages: int = 0

    @classmethod
    def read(cls, cursor: str) -> _Pass:
        """From a cursor; one that we do not understand starts from the beginning."""
        parts = cursor.split("|")
        if len(parts) != 5 or not all(part.isdigit() or not part for part in parts):
            return cls()
        since, began, newest, created, pages = (int(part) if part else None for part in parts)
        return cls(since, began, newest, created, pages or 0)

    def __str__(self) -> str:
        values = (self.since, self.began, self.newest, self.created, self.pages or None)
        return "|".join("" if value is None else str(value) for value in values)

    def after(self, tickets: Sequence[StoreTicket]) -> _Pass:
        """One page further."""
        newest = max([self.newest or 0, *(_milliseconds(ticket.updated) for ticket in tickets)])
        created = _milliseconds(tickets[-1].opened) if tickets else self.created
        return replace(self, newest=newest or None, created=created, pages=self.pages + 1)

    def done(self) -> _Pass:
        """Where the next walk starts: whatever the search may have hidden from this one is still ahead of it."""
        if self.newest is None:
            return _Pass(self.since)
        safe = min(self.newest, self.began or self.newest) - _span(LAG)
        minute = safe - safe % _span(GRAIN) - _span(GRAIN)
        return _Pass(max(minute, self.since or 0))


# ---- what an issue holds ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Note:
    """A comment, and our property of it ({} when it is not ours): the attachments' ids, the status that was asked
    (None: none), and whether it was left to a person."""

    told: StoreNote
    kept: Mapping[str, Any]

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.kept.get("files", ()))

    @property
    def status(self) -> str | None:
        return self.kept.get("status")

    @property
    def left(self) -> bool:
        return bool(self.kept.get("left"))


@dataclass(frozen=True)
class _Seen:
    """An issue as a push needs it."""

    ref: str
    version: str
    status: str
    files: Mapping[str, StoreFile]
    notes: tuple[_Note, ...]

    def ours(self, uid: str) -> _Note | None:
        return next((note for note in self.notes if note.told.uid == uid), None)

    @property
    def claimed(self) -> set[str]:
        """Attachments that belong to a note of ours."""
        return {ref for note in self.notes for ref in note.files}


def _note(comment: Any, kept: Mapping[str, Any] | None, files: Mapping[str, StoreFile]) -> _Note:
    text = _plain(comment["body"])
    kept = kept or {}
    told = StoreNote(
        ref=comment["id"],
        at=_moment(comment["created"]),
        author=str(kept["author"] if kept else (comment.get("author") or {}).get("displayName", "")),
        text=marks.read(text).text if kept else text,
        uid=kept.get("uid"),
        files=tuple(files[ref] for ref in kept.get("files", ()) if ref in files),
    )
    return _Note(told, kept)


def _file(attachment: Any) -> StoreFile:
    """The store tells no hash: whoever wants one asks for the content."""
    return StoreFile(
        name=attachment["filename"],
        media_type=attachment.get("mimeType", "application/octet-stream"),
        size=attachment["size"],
        sha256=None,
        ref=attachment["id"],
    )


def _changed_by(issue: Any) -> str:
    """Who made the latest change of a field; the history does not hold who wrote the latest comment."""
    histories = (issue.get("changelog") or {}).get("histories") or []
    latest = max(histories, key=lambda each: _moment(each["created"]), default=None)
    if latest is None or _moment(latest["created"]) < _moment(issue["fields"]["updated"]) - timedelta(seconds=1):
        return ""
    return str((latest.get("author") or {}).get("displayName", ""))


def _duplicated(fields: Any) -> str | None:
    """The issue that this one was closed as a duplicate of: the nearest that Jira has to merging."""
    if not _same((fields.get("resolution") or {}).get("name", ""), "Duplicate"):
        return None
    links = [link for link in fields.get("issuelinks") or [] if _same(link["type"]["name"], "Duplicate")]
    return next((str(link["outwardIssue"]["id"]) for link in links if "outwardIssue" in link), None)


# ---- Atlassian's document format ------------------------------------------------------------------------------


def _document(text: str) -> dict[str, Any]:
    """One paragraph with hard breaks: each character comes back as it was."""
    content: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n")):
        content += [{"type": "hardBreak"}] if number else []
        content += [{"type": "text", "text": line}] if line else []  # an empty text node is refused
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": content}]}


def _plain(node: Any) -> str:
    """The text of a document; its blocks stand on lines of their own."""
    if not isinstance(node, dict):
        return node or ""
    if node.get("type") == "hardBreak":
        return "\n"
    if node.get("type") in ("text", "mention", "emoji", "inlineCard"):
        attributes = node.get("attrs") or {}
        return str(node.get("text") or attributes.get("text") or attributes.get("url") or "")
    between = "" if node.get("type") in ("paragraph", "heading", "codeBlock") else "\n"
    return between.join(_plain(part) for part in node.get("content") or [])


# ---- small things ---------------------------------------------------------------------------------------------


def _moment(text: Any) -> datetime:
    """``2026-11-22T10:11:12.345+0800`` in UTC."""
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _ms(text: Any) -> int:
    return _milliseconds(_moment(text))


def _span(length: timedelta) -> int:
    return int(length.total_seconds() * 1000)


def _version(fields: Any) -> str:
    """The millisecond of the last change: Jira writes it in the time zone of our user, which may change."""
    return str(_ms(fields["updated"]))


def _announced_at(key: str) -> datetime:
    second = key.removeprefix(ANNOUNCED).partition(".")[0]
    return datetime.fromtimestamp(int(second) if second.isdigit() else 0, UTC)


def _names(things: Sequence[Any]) -> str:
    return ", ".join(f"“{each['name']}”" for each in things)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quoted(text: str) -> str:
    return quote(text, safe="")
