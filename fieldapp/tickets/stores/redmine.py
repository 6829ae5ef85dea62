"""Redmine 5 as a ticket store, over its REST API (and what of it has not changed in 6).

Measured on a running 5.0, and the reason for much below:

- One PUT with uploads, notes and status is one transaction; but 204 only means that the request was understood. A
  status that does not exist, or that the workflow forbids, is left out without a word; so are notes that the role may
  not write.
- A field of an issue holds only the latest of our keys, so the mark stands in the note's text, and a file carries the
  key in its description. An upload's token works once: a request that arrives twice gets 422 the second time, and
  writes nothing.
- ``updated_on`` has whole seconds: a version is that time and the number of the last journal entry.
- Two writers at the same moment: the slower gets 422 with an empty list of errors.
- A filter that Redmine does not know is left out without a word: what a search gives is always looked at again.
- Somebody with a wrong key is a stranger, to whom lists are shown empty, not refused.
- 401, 403 and 404 have empty bodies or HTML. The order of the journal follows the user's own preference.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from fieldapp.i18n import _
from fieldapp.tickets import marks
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.reading import carefully
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
    TooBig,
)
from fieldapp.tickets.wire import Answer, Wire

DEFAULTS = StoreMapping(
    statuses=Words(
        read={
            "New": "new",
            "In Progress": "in_progress",
            "Feedback": "waiting_customer",
            "Resolved": "resolved",
            "Closed": "closed",
            "Rejected": "suspended",
        },
        write={
            "new": "New",
            "triaged": "In Progress",
            "in_progress": "In Progress",
            "waiting_customer": "Feedback",
            "resolved": "Resolved",
            "closed": "Closed",
            "reopened": "In Progress",
            "suspended": "Rejected",
        },
    ),
    priorities=Words(
        read={"Low": "low", "Normal": "normal", "High": "high", "Urgent": "urgent", "Immediate": "urgent"},
        write={"low": "Low", "normal": "Normal", "high": "High", "urgent": "Urgent"},
    ),
    fields={
        "customer": "CustomerId",
        "asset": "AssetSerial",
        "contact": "Contact",
        "contact_phone": "ContactPhone",
        "channel": "Channel",
        "type": "ServiceType",
        "record": "ServiceRecordId",
    },
    options={"attachment_max_kb": "5120", "tracker": ""},
)
RIGHTS = {
    "view_issues": "View issues",
    "add_issues": "Add issues",
    "edit_issues": "Edit issues",
    "add_issue_notes": "Add notes",
}
GRAIN_S, LAG_S = 1, 5
MOST = 100  # Redmine gives no more on one page
REFUSALS = (401, 403, 404, 409, 413, 422)
OUR_FILE = "fieldapp:"
SIGNATURE, SECRET = "x-redmine-signature-256", "x-fieldapp-secret"

Raw = Mapping[str, Any]


@carefully
class RedmineStore:
    """Tickets are issues of one project (``place``: its identifier) and of the projects below it."""

    name = "redmine"
    caps = Caps(delta="since", find="search", guard="stamp", atomic=True, grain_s=GRAIN_S, lag_s=LAG_S)

    def __init__(self, connection: Connection) -> None:
        self.words = DEFAULTS.changed(connection.words)
        self.caps = replace(self.caps, max_file=int(self.words.options["attachment_max_kb"]) * 1024)
        self._hook_secret = connection.hook_secret
        self._wire = Wire(connection, headers={"X-Redmine-API-Key": connection.secret})
        self._statuses: dict[str, int] = {}  # by their lower-case name
        self._field_ids: dict[str, int] = {}  # by their name
        self._tokens: dict[tuple[str, str, str], str] = {}  # by key, name and hash: files whose entry nobody confirmed

    # ---- reading -----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """A round reads all that changed since the one before, by number: what changes meanwhile comes in the next."""
        turn = _Turn.of(cursor)
        if not turn.high:
            self._be_known()
            rows, total = self._listed(turn, limit, sort="updated_on:desc")
            turn = turn.begun(rows)
            if total <= len(rows):
                return Page(tickets=self._whole(rows), cursor=turn.next_round().text, more=False)
        rows, total = self._listed(turn, limit, sort="id")
        if total > len(rows):
            return Page(tickets=self._whole(rows), cursor=turn.after_rows(rows).text, more=True)
        newest, _total = self._listed(turn.next_round(), 1, sort="updated_on:desc")
        more = bool(newest) and newest[0]["updated_on"] > turn.high
        return Page(tickets=self._whole(rows), cursor=turn.next_round().text, more=more)

    def ticket(self, ref: str) -> StoreTicket:
        return self._told(self._issue(ref))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        rows = self._search(f"cf_{self._customer_field()}", "=", customer, limit=limit, sort="id:desc")
        if not rows:
            self._be_known()
        if any(self._values(row).get("customer") != customer for row in rows):
            field = self._field("customer")
            raise Rejected(
                _("Redmine does not search the field “%(name)s”: tick “Used as a filter” there.", name=field)
            )
        return self._whole(rows)

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        issue = self._issue(ticket)
        return tuple(issue.as_note(entry) for entry in issue.entries if issue.is_note(entry))

    def content(self, file: StoreFile) -> bytes:
        return self._ask("GET", f"/attachments/download/{quote(file.ref, safe='')}").body

    def find(self, uid: str, ticket: str) -> Receipt | None:
        """All is written in one piece, so a note that stands there is complete unless somebody took a file away."""
        issue = self._issue(ticket)
        entry = issue.entry(uid)
        return issue.receipt(entry, complete=True) if entry else None

    # ---- writing -----------------------------------------------------------------------------------------

    def push(self, change: Change) -> Receipt:
        issue = self._issue(change.ticket)
        wanted = self._status_id(change.status)
        if issue.entry(change.uid) is None:
            self._nowhere_else(change)
        left = wanted is not None and issue.overtaken(change)
        again = bool(self._tokens_of(change))
        if body := self._missing(issue, change, None if left else wanted):
            self._put(change, body, again=again)
            issue = self._issue(change.ticket)
        return self._read_back(issue, change, wanted, left)

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        ref = self._filed(new.uid) or self._file(new)
        issue = self._issue(ref)
        if self._fill(issue, new):
            issue = self._issue(ref)
        return self._told(issue)

    def _nowhere_else(self, change: Change) -> None:
        """Our key stands in no other ticket (raises Rejected)."""
        for row in self._search("notes", "~", change.uid, limit=3):
            if self._issue(str(row["id"])).entry(change.uid):
                raise Rejected(_("This entry already stands in ticket %(number)s.", number=row["id"]))

    def _missing(self, issue: _Issue, change: Change, wanted: int | None) -> dict[str, Any]:
        """What of the change is not in the issue yet, as one request; empty when all of it is."""
        entry = issue.entry(change.uid)
        body: dict[str, Any] = {}
        if entry is None:
            body["notes"] = marks.mark(change.note, author=change.author, uid=change.uid)
            if field := issue.fields.get(self._field("record")):
                body["custom_fields"] = [{"id": field["id"], "value": change.uid.removesuffix(":status")}]
        if wanted is not None and not (entry and issue.was_set(entry, wanted)):
            body["status_id"] = wanted
        if files := issue.lacks(change):
            body["uploads"] = [self._uploaded(change.uid, file) for file in files]
        return body

    def _uploaded(self, uid: str, file: NewFile) -> Mapping[str, str]:
        """What names an uploaded file. Its token is kept until the request that uses it has been answered: one that was
        believed lost and arrives late after all then makes the next one useless, not double."""
        sha256 = hashlib.sha256(file.content).hexdigest()
        key = (uid, file.name, sha256)
        if key not in self._tokens:
            self._tokens[key] = self._upload(file, sha256)
        named = {"filename": file.name, "content_type": file.media_type, "description": f"{OUR_FILE}{uid}"}
        return {"token": self._tokens[key], **named}

    def _upload(self, file: NewFile, sha256: str) -> str:
        """The token of an upload. It ends with the hash of what arrived."""
        if self.caps.max_file is not None and len(file.content) > self.caps.max_file:
            raise _too_big(file)
        headers = {"Content-Type": "application/octet-stream"}
        named = {"filename": file.name}
        answer = self._ask("POST", "/uploads.json", params=named, data=file.content, headers=headers, heard=(413, 422))
        most = _limit(answer, len(file.content))
        if most is not None:
            self.caps = replace(self.caps, max_file=most)
            raise _too_big(file)
        if answer.status == 422:
            raise Rejected(_said(answer))
        token = str(answer.json()["upload"]["token"])
        arrived = token.rpartition(".")[2]
        if len(arrived) == len(sha256) and arrived != sha256:
            raise Retry(_("The file %(name)s was damaged on its way.", name=file.name))
        return token

    def _put(self, change: Change, body: Mapping[str, Any], *, again: bool) -> None:
        """Send what is missing. ``again``: with files that an earlier try had sent already."""
        path = f"/issues/{quote(change.ticket, safe='')}.json"
        answer = self._ask("PUT", path, json={"issue": body}, heard=(403, 422))
        for key in self._tokens_of(change):
            del self._tokens[key]
        if answer.status == 403:
            raise Rejected(_("Redmine does not allow our user to write into ticket %(number)s.", number=change.ticket))
        if answer.status == 422 and (again or not _errors(answer)):
            # The earlier try arrived after all, or somebody wrote at the same moment: look again, then decide.
            raise Retry(_("Redmine did not take the entry this time; it will be looked for again."))
        if answer.status == 422:
            raise Rejected(_said(answer))

    def _tokens_of(self, change: Change) -> list[tuple[str, str, str]]:
        return [key for key in self._tokens if key[0] == change.uid]

    def _read_back(self, issue: _Issue, change: Change, wanted: int | None, left: bool) -> Receipt:
        entry = issue.entry(change.uid)
        if entry is None:
            raise Rejected(_("Redmine dropped the note: our user's role needs the right “Add notes”."))
        settled = wanted is None or issue.was_set(entry, wanted)
        lacking = issue.lacks(change)
        receipt = issue.receipt(entry, complete=settled and not lacking)
        if settled and not lacking:
            return receipt
        if lacking:
            raise Retry(_("The note is in, but its files cannot be read back yet."))
        if left:
            sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
            raise Conflict(sentence, receipt=receipt)
        raise Rejected(
            _(
                "The note is in, but Redmine's workflow does not let our user set the status “%(status)s”. Allow it"
                " under Administration → Workflow and try again, or set the status there by hand.",
                status=self.words.statuses.theirs(change.status or ""),
            )
        )

    # ---- filing ------------------------------------------------------------------------------------------

    def _filed(self, uid: str) -> str | None:
        """The number of the issue that carries our key in its description."""
        rows = self._search("description", "~", uid, limit=3)
        return next((str(row["id"]) for row in rows if marks.read(row["description"] or "").uid == uid), None)

    def _file(self, new: NewTicket) -> str:
        author, wanted = new.fields.get("opened_by", ""), self._wanted_values(new)
        known = self._known_fields(wanted)
        body: dict[str, Any] = {
            "project_id": self.words.place,
            "subject": new.subject,
            "description": marks.mark(new.text, author=author, uid=new.uid),
            "priority_id": self._priority_id(new.fields.get("priority", "")),
            "tracker_id": self._tracker_id(),
            "custom_fields": [{"id": known[name], "value": value} for name, value in wanted.items() if name in known],
        }
        issue = {name: value for name, value in body.items() if value is not None}
        answer = self._ask("POST", "/issues.json", json={"issue": issue}, heard=(422,))
        if answer.status == 422 and (flaw := self._place_flaw()):
            raise Rejected(flaw.says)  # what Redmine says then is that the project is blank
        if answer.status == 422:
            raise Rejected(_said(answer))
        return str(answer.json()["issue"]["id"])

    def _fill(self, issue: _Issue, new: NewTicket) -> bool:
        """Fields whose number was not known before there was a ticket, or which an earlier try left empty."""
        empty = [
            {"id": issue.fields[name]["id"], "value": value}
            for name, value in self._wanted_values(new).items()
            if name in issue.fields and not issue.fields[name].get("value")
        ]
        if empty:
            self._ask("PUT", f"/issues/{issue.ref}.json", json={"issue": {"custom_fields": empty}})
        return bool(empty)

    def _wanted_values(self, new: NewTicket) -> dict[str, str]:
        """Their field's name and what it should hold."""
        ours = {**new.fields, "customer": new.customer or "", "asset": new.asset or ""}
        ours["channel"] = self.words.channels.theirs(ours.get("channel", "")) or ours.get("channel", "")
        ours["type"] = self.words.types.theirs(ours.get("type", "")) or ours.get("type", "")
        return {theirs: ours[name] for name, theirs in self.words.fields.items() if ours.get(name) and name != "record"}

    def _priority_id(self, ours: str) -> int | None:
        theirs = self.words.priorities.theirs(ours)
        rows = self._ask("GET", "/enumerations/issue_priorities.json").json()["issue_priorities"] if theirs else []
        return next((row["id"] for row in rows if _same(row["name"], theirs)), None)

    def _tracker_id(self) -> int | None:
        """Of the tracker that the mapping names; without one the project's first is taken."""
        name = self.words.options.get("tracker")
        if not name:
            return None
        trackers = (self._project() or {}).get("trackers", [])
        found = next((row["id"] for row in trackers if _same(row["name"], name)), None)
        if found is None:
            raise Rejected(_("Redmine's project has no tracker “%(name)s”.", name=name))
        return int(found)

    # ---- asking ------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, heard: Sequence[int] = (), **more: Any) -> Answer:
        """What the wire gives; refusals become sentences, but for the statuses that the caller wants to hear."""
        answer = self._wire.ask(method, path, accept=REFUSALS, **more)
        if answer.status in REFUSALS and answer.status not in heard:
            raise _refusal(answer)
        return answer

    def _issue(self, ref: str) -> _Issue:
        """An issue with its journal and files. One that we may not see is none (raises Rejected)."""
        if not ref.isdigit():
            raise _unknown(ref)
        answer = self._ask(
            "GET", f"/issues/{ref}.json", params={"include": "journals,attachments,relations"}, heard=(403, 404)
        )
        if answer.status == 403:
            self._be_known()
        if answer.status >= 400:
            raise _unknown(ref)
        return _Issue.of(answer.json()["issue"])

    def _listed(self, turn: _Turn, limit: int, *, sort: str) -> tuple[list[Raw], int]:
        params = {"status_id": "*", "sort": sort, "limit": min(limit, MOST)}
        if self.words.place:
            params |= {"project_id": self.words.place, "subproject_id": "*"}
        if turn.since:
            params["updated_on"] = f">={turn.since}"
        if turn.after:
            params["issue_id"] = f">={turn.after + 1}"
        told = self._ask("GET", "/issues.json", params=params).json()
        return told["issues"], told["total_count"]

    def _search(self, field: str, operator: str, value: str, *, limit: int, sort: str = "id") -> list[Raw]:
        """Open and closed issues in all projects, asked in the long form: no value is taken for an operator."""
        asked = [("set_filter", "1"), ("f[]", field), (f"op[{field}]", operator), (f"v[{field}][]", value)]
        params = [*asked, ("sort", sort), ("limit", str(min(limit, MOST)))]
        rows: list[Raw] = self._ask("GET", "/issues.json", params=params).json()["issues"]
        return rows

    def _whole(self, rows: Sequence[Raw]) -> tuple[StoreTicket, ...]:
        """The tickets of a list, whose journal is told only one by one; those that went away meanwhile are left out."""
        return tuple(self._told(issue) for issue in self._each(rows))

    def _each(self, rows: Sequence[Raw]) -> Iterator[_Issue]:
        for row in rows:
            try:
                yield self._issue(str(row["id"]))
            except Rejected:
                continue

    def _project(self) -> Raw | None:
        """The project with its trackers and custom fields; None when there is none that we may see."""
        if not self.words.place:
            return None
        path = f"/projects/{quote(self.words.place, safe='')}.json"
        answer = self._ask("GET", path, params={"include": "trackers,issue_custom_fields"}, heard=(403, 404))
        return None if answer.status >= 400 else answer.json()["project"]

    def _status_id(self, ours: str | None) -> int | None:
        """Their number of our status (raises Rejected when there is no word, or no status, for it)."""
        if ours is None:
            return None
        theirs = self.words.statuses.theirs(ours)
        if theirs is None:
            raise Rejected(_("The mapping has no word of Redmine's for the status “%(status)s”.", status=ours))
        if theirs.casefold() not in self._statuses:
            rows = self._ask("GET", "/issue_statuses.json").json()["issue_statuses"]
            self._statuses = {row["name"].casefold(): row["id"] for row in rows}
        if theirs.casefold() not in self._statuses:
            raise Rejected(_("Redmine has no status “%(status)s”.", status=theirs))
        return self._statuses[theirs.casefold()]

    def _customer_field(self) -> int:
        name = self._field("customer")
        known = self._known_fields([name])
        if name not in known:
            raise Rejected(
                _("Redmine has no custom field for the customer's number: `flask doctor` says how to create it.")
            )
        return known[name]

    def _field(self, ours: str) -> str:
        return self.words.fields.get(ours, "")

    def _known_fields(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of custom fields by name; asked for again when one of these is not known."""
        if not set(names) <= self._field_ids.keys():
            self._field_ids = self._fields()
        return self._field_ids

    def _fields(self) -> dict[str, int]:
        """The list of all is for administrators only; a project tells of its own fields, and a ticket also of those that
        are meant for all projects."""
        project = self._project() or {}
        rows, _total = self._listed(_Turn(), 25, sort="updated_on:desc")
        told = [
            *project.get("issue_custom_fields", []),
            *(field for row in rows for field in row.get("custom_fields", [])),
        ]
        return {field["name"]: field["id"] for field in told}

    # ---- in our words ------------------------------------------------------------------------------------

    def _told(self, issue: _Issue) -> StoreTicket:
        raw = issue.raw
        values = self._values(raw)
        priority = self.words.priorities.ours(raw["priority"]["name"], "normal")
        description = marks.read(raw["description"] or "")
        return StoreTicket(
            ref=issue.ref,
            version=issue.version,
            opened=_time(raw["created_on"]),
            updated=_time(raw["updated_on"]),
            subject=raw["subject"],
            status=self._our_status(raw["status"]),
            text=description.text,
            customer=values.pop("customer", None),
            asset=values.pop("asset", None),
            changed_by=issue.entries[-1].author if issue.entries else description.author or raw["author"]["name"],
            merged_into=issue.merged_into,
            fields={"number": issue.ref, "priority": priority, **values},
        )

    def _our_status(self, status: Raw) -> str:
        return self.words.statuses.ours(status["name"], "closed" if status.get("is_closed") else "in_progress")

    def _values(self, raw: Raw) -> dict[str, str]:
        """Our name and what its custom field holds, in our words; empty ones are left out."""
        held = {field["name"]: field.get("value") for field in raw.get("custom_fields", [])}
        found = {name: _plain(held.get(theirs)) for name, theirs in self.words.fields.items()}
        values = {name: value for name, value in found.items() if value}
        for name, words in (("channel", self.words.channels), ("type", self.words.types)):
            if name in values:
                values[name] = words.ours(values[name], values[name])
        return values

    # ---- looking after -----------------------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        self._be_known()
        me, project = self._me(), self._project()
        if flaw := _no_place(project, self.words.place):
            return (flaw,)
        return (*self._right_flaws(me, project or {}), *self._field_flaws(), *self._word_flaws(project or {}))

    def _place_flaw(self) -> Flaw | None:
        """The first thing that keeps us out of the project."""
        me, project = self._me(), self._project()
        return _no_place(project, self.words.place) or next(self._right_flaws(me, project or {}), None)

    def _be_known(self) -> None:
        """Redmine accepts our key (raises Denied). To a stranger it shows lists all the same: what is public, or nothing."""
        if self._ask("GET", "/my/account.json", heard=(403,)).status == 403:
            raise Denied(_("Redmine's REST interface is off: switch it on under Administration → Settings → API."))

    def _me(self) -> Raw:
        """Our user with its memberships."""
        me: Raw = self._ask("GET", "/users/current.json", params={"include": "memberships"}).json()["user"]
        return me

    def _right_flaws(self, me: Raw, project: Raw) -> Iterator[Flaw]:
        if me.get("admin"):
            return
        rights: set[str] = set()
        for membership in me.get("memberships", []):
            if membership["project"]["id"] == project["id"]:
                for role in membership["roles"]:
                    rights |= set(self._ask("GET", f"/roles/{role['id']}.json").json()["role"].get("permissions", []))
        for right, label in RIGHTS.items():
            if right not in rights:
                says = _("Our user lacks the right “%(right)s” in Redmine's project.", right=label)
                yield Flaw(
                    says=says, mend=_("Give it to our user's role under Administration → Roles and permissions.")
                )

    def _field_flaws(self) -> Iterator[Flaw]:
        known = self._fields()
        for theirs in self.words.fields.values():
            if theirs not in known:
                mend = _(
                    "Create it so: Administration → Custom fields → New custom field → Issues; format “Text”, name"
                    " “%(name)s”, tick “Used as a filter”, all trackers and our project.",
                    name=theirs,
                )
                yield Flaw(says=_("The custom field “%(name)s” is missing.", name=theirs), mend=mend)
        if (number := known.get(self._field("customer"))) and not self._is_filter(number):
            says = _("Redmine does not search the custom field “%(name)s”.", name=self._field("customer"))
            yield Flaw(says=says, mend=_("Tick “Used as a filter” in the custom field."))

    def _is_filter(self, number: int) -> bool:
        """Whether Redmine heeds a filter on this field: nobody is called so; a filter left out finds somebody."""
        return not self._search(f"cf_{number}", "=", "nobody is called so", limit=1)

    def _word_flaws(self, project: Raw) -> Iterator[Flaw]:
        statuses = [row["name"] for row in self._ask("GET", "/issue_statuses.json").json()["issue_statuses"]]
        priorities = [
            row["name"] for row in self._ask("GET", "/enumerations/issue_priorities.json").json()["issue_priorities"]
        ]
        trackers = [row["name"] for row in project.get("trackers", [])]
        for name in _absent(self.words.statuses.write.values(), statuses):
            mend = _(
                "Create it under Administration → Issue statuses, or name another in [statuses.write] of the mapping."
            )
            yield Flaw(says=_("Redmine has no status “%(status)s”.", status=name), mend=mend)
        for name in _absent(statuses, self.words.statuses.read):
            says = _("Nobody has said what Redmine's status “%(status)s” means to us.", status=name)
            yield Flaw(says=says, mend=_("Write it in [statuses.read] of the mapping."))
        for name in _absent(self.words.priorities.write.values(), priorities):
            mend = _(
                "Create it under Administration → Enumerations, or name another in [priorities.write] of the mapping."
            )
            yield Flaw(says=_("Redmine has no priority “%(priority)s”.", priority=name), mend=mend)
        for name in _absent(filter(None, [self.words.options.get("tracker")]), trackers):
            mend = _("Tick it in the project's settings, or name another as `tracker` in [options] of the mapping.")
            yield Flaw(says=_("Redmine's project has no tracker “%(name)s”.", name=name), mend=mend)

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """Redmine 7 signs the body; a plug-in for Redmine 5 sends the secret itself, in a header that one sets there.

        No time of sending is told, so an old message can come again: it is known by its hash, and is but a hint.
        """
        self._prove({name.lower(): value for name, value in headers.items()}, body)
        ref = _issue_of(body)
        if ref is None:
            raise Rejected(_("This message of Redmine's is about no ticket."))
        return (Hint(id=hashlib.sha256(body).hexdigest(), ticket=ref),)

    def _prove(self, headers: Mapping[str, str], body: bytes) -> None:
        signed = "sha256=" + hmac.new(self._hook_secret.encode(), body, hashlib.sha256).hexdigest()
        proofs = ((headers.get(SIGNATURE), signed), (headers.get(SECRET), self._hook_secret))
        given = [hmac.compare_digest(told.encode(), right.encode()) for told, right in proofs if told]
        if not self._hook_secret or not given or not all(given):
            raise Denied(_("The message does not prove that it comes from the ticket store."))


# ---- an issue and its journal --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One entry of the journal: a note, changes, or both. ``was`` and ``became``: the status before and after, if it
    changed it; ``brought``: the numbers of the files that came with it."""

    id: int
    at: datetime
    marked: marks.Marked
    author: str
    was: int | None
    became: int | None
    brought: frozenset[str]

    @classmethod
    def of(cls, raw: Raw) -> _Entry:
        marked = marks.read(raw.get("notes") or "")
        user = (raw.get("user") or {}).get("name", "")
        details = raw.get("details", [])
        moved: Raw = next((each for each in details if (each["property"], each["name"]) == ("attr", "status_id")), {})
        brought = frozenset(
            each["name"] for each in details if each["property"] == "attachment" and each.get("new_value")
        )
        return cls(
            id=raw["id"],
            at=_time(raw["created_on"]),
            marked=marked,
            author=marked.author or user,
            was=_number(moved.get("old_value")),
            became=_number(moved.get("new_value")),
            brought=brought,
        )


@dataclass(frozen=True)
class _Issue:
    """An issue as Redmine tells it, with its journal in the order in which it was written."""

    raw: Raw
    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, raw: Raw) -> _Issue:
        return cls(raw, tuple(sorted((_Entry.of(each) for each in raw["journals"]), key=lambda entry: entry.id)))

    @property
    def ref(self) -> str:
        return str(self.raw["id"])

    @property
    def version(self) -> str:
        return f"{self.raw['updated_on']}.{self.entries[-1].id if self.entries else 0}"

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        """The custom fields by name."""
        return {field["name"]: field for field in self.raw.get("custom_fields", [])}

    @property
    def merged_into(self) -> str | None:
        """The issue of which this one, closed, is a duplicate."""
        ends = (
            str(each["issue_to_id"])
            for each in self.raw.get("relations", [])
            if each["relation_type"] == "duplicates" and each["issue_id"] == self.raw["id"]
        )
        return next(ends, None) if self.raw["status"].get("is_closed") else None

    def entry(self, uid: str) -> _Entry | None:
        """The entry that carries our key."""
        return next((entry for entry in self.entries if entry.marked.uid == uid), None)

    def is_note(self, entry: _Entry) -> bool:
        """Somebody said something, or brought a file other than one that belongs to a note of ours."""
        theirs = any(not (file["description"] or "").startswith(OUR_FILE) for file in self._attachments(entry))
        return bool(entry.marked.text.strip() or entry.marked.uid or theirs)

    def as_note(self, entry: _Entry) -> StoreNote:
        return StoreNote(
            ref=self._name(entry),
            at=entry.at,
            author=entry.author,
            text=entry.marked.text,
            uid=entry.marked.uid,
            files=tuple(_file(each) for each in self._attachments(entry)),
        )

    def receipt(self, entry: _Entry, *, complete: bool) -> Receipt:
        """Not complete either when a file that came with the note is no longer there."""
        there = len(self._attachments(entry)) >= len(entry.brought)
        return Receipt(uid=entry.marked.uid or "", ticket=self.ref, ref=self._name(entry), complete=complete and there)

    def was_set(self, entry: _Entry, status: int) -> bool:
        """Whether the issue stood at this status with our note, or came to it since."""
        return self._status_after(entry) == status or any(each.became == status for each in self._since(entry))

    def overtaken(self, change: Change) -> bool:
        """Whether the status is no longer ours to set: somebody wrote since the engineer looked, or set another status
        after our note."""
        entry = self.entry(change.uid)
        if entry and any(each.became for each in self._since(entry)):
            return True
        if change.base is None:
            return False
        seen = _number(change.base.rpartition(".")[2])
        return seen is None or any(each.id > seen and each.marked.uid != change.uid for each in self.entries)

    def lacks(self, change: Change) -> list[NewFile]:
        """The files of a change that are not there for it."""
        there = [(each["filename"], each["filesize"]) for each in self._brought(self.entry(change.uid), change.uid)]
        lacking = []
        for file in change.files:
            known = (_as_stored(file.name), len(file.content))
            if known in there:
                there.remove(known)
            else:
                lacking.append(file)
        return lacking

    def _name(self, entry: _Entry) -> str:
        """As Redmine's own links name it."""
        return f"{self.ref}#change-{entry.id}"

    def _attachments(self, entry: _Entry) -> list[Raw]:
        return self._brought(entry, entry.marked.uid)

    def _brought(self, entry: _Entry | None, uid: str | None) -> list[Raw]:
        """What came with the entry, and what was attached for our key without it."""
        came = entry.brought if entry else frozenset()
        ours = f"{OUR_FILE}{uid}" if uid else None
        files = self.raw["attachments"]
        found = [each for each in files if str(each["id"]) in came or (ours and each["description"] == ours)]
        return sorted(found, key=lambda each: int(each["id"]))

    def _since(self, entry: _Entry) -> list[_Entry]:
        return [each for each in self.entries if each.id > entry.id]

    def _status_after(self, entry: _Entry) -> int:
        """The status at which the issue stood once this entry was written."""
        before = [each.became for each in self.entries if each.id <= entry.id and each.became]
        after = [each.was for each in self._since(entry) if each.was]
        return (before[-1:] or after[:1] or [self.raw["status"]["id"]])[0]


def _file(raw: Raw) -> StoreFile:
    """Redmine keeps a hash of each file, and does not tell it."""
    return StoreFile(
        name=raw["filename"],
        media_type=raw.get("content_type") or "application/octet-stream",
        size=raw["filesize"],
        sha256=None,
        ref=str(raw["id"]),
    )


def _as_stored(name: str) -> str:
    """A file's name as Redmine keeps it."""
    return re.sub(r"[/?%*:|\"'<>\n\r]+", "_", re.sub(r"(?s)\A.*[\\/]", "", name))


# ---- where we are in the feed --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    """``since``: where this round began; ``after``: the last number read in it; ``high``: the latest change there was
    when it began, from which the next round starts. Times as Redmine writes them."""

    since: str = ""
    after: int = 0
    high: str = ""

    @classmethod
    def of(cls, cursor: str) -> _Turn:
        """Anything that is no cursor of ours starts from the beginning."""
        since, _semicolon, rest = cursor.partition(";")
        after, _semicolon, high = rest.partition(";")
        return cls(since, int(after), high) if after.isdigit() else cls()

    @property
    def text(self) -> str:
        return f"{self.since};{self.after};{self.high}"

    def begun(self, newest_first: Sequence[Raw]) -> _Turn:
        return replace(self, high=newest_first[0]["updated_on"] if newest_first else "")

    def after_rows(self, rows: Sequence[Raw]) -> _Turn:
        return replace(self, after=int(rows[-1]["id"]))

    def next_round(self) -> _Turn:
        """A little before the latest change: one that was dated earlier may be committed later."""
        if not self.high:
            return _Turn(since=self.since)
        return _Turn(since=_zulu(_time(self.high) - timedelta(seconds=GRAIN_S + LAG_S)))


# ---- small words ---------------------------------------------------------------------------------------------


def _refusal(answer: Answer) -> Exception:
    if answer.status == 401:
        return Denied(_("Redmine does not accept our key."))
    if answer.status == 403:
        return Denied(_("Redmine does not allow our user to do this."))
    if answer.status == 404:
        return Rejected(_("Redmine knows no such thing: check its address and the project's identifier."))
    if answer.status == 409:
        return Retry(_("Somebody else is changing this ticket in Redmine."))
    return Rejected(_said(answer))


def _said(answer: Answer) -> str:
    return _("Redmine refuses: %(why)s", why=" · ".join(_errors(answer)) or answer.status)


def _errors(answer: Answer) -> list[str]:
    """The sentences of a refusal; pages and empty bodies have none."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        return []
    return [str(each) for each in told.get("errors", [])] if isinstance(told, dict) else []


def _limit(answer: Answer, size: int) -> int | None:
    """The largest file in bytes, from a refusal of one of ``size`` bytes; None when it was refused for another reason.

    The refusal is in the language of our user, and its figure in bytes, or rounded with a unit.
    """
    if answer.status == 413:  # a server before Redmine, which says no figure
        return size - 1
    units = {"": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
    figures = re.findall(r"(\d+(?:[.,]\d+)?)\s*([KMG]B)?", " ".join(_errors(answer)) if answer.status == 422 else "")
    limits = [int(float(figure.replace(",", ".")) * units[unit]) for figure, unit in figures]
    return next((limit for limit in limits if 1024 <= limit < size), None)


def _too_big(file: NewFile) -> TooBig:
    return TooBig(_("Redmine takes no file of this size: %(name)s.", name=file.name))


def _no_place(project: Raw | None, place: str) -> Flaw | None:
    if project is not None:
        return None
    mend = _("Write the project's identifier as `place` in the mapping, and make our user a member of it.")
    return Flaw(says=_("Redmine has no project “%(name)s” that our user may see.", name=place), mend=mend)


def _unknown(ref: str) -> Rejected:
    return Rejected(_("There is no ticket %(number)s.", number=ref))


def _issue_of(body: bytes) -> str | None:
    """The number in a message: ``data.issue`` of Redmine itself, ``payload.issue`` or ``issue`` of the plug-ins, where
    an issue may be wrapped once more."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    for key in ("payload", "data", "issue", "issue"):
        if isinstance(told, dict) and isinstance(told.get(key), dict):
            told = told[key]
    number = told.get("id") if isinstance(told, dict) else None
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else None


def _absent(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    known = {name.casefold() for name in there}
    return [name for name in dict.fromkeys(wanted) if name.casefold() not in known]


def _same(theirs: str, wanted: str | None) -> bool:
    return theirs.casefold() == (wanted or "").casefold()


def _plain(value: Any) -> str:
    """What a custom field holds: a word, or several of them."""
    return ", ".join(value) if isinstance(value, list) else value or ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
