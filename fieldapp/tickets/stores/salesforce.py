"""Salesforce Service Cloud over its REST API: cases, a custom object for our notes, and files at the case.

A note is a record of its own whose key field is unique. Note, files and status go in by one composite request that is taken as
a whole or not at all, so that the key stands there once or nothing does: a second one is refused as a duplicate together with
its files. An upsert by the key would write the files again, so it is not used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from fieldapp.extensions import uuid7
from fieldapp.i18n import _
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
    Throttled,
    Unreachable,
)
from fieldapp.tickets.tokens import Tokens
from fieldapp.tickets.wire import Answer, Wire, seconds_to_wait

GRAIN_S, LAG_S = 1, 5
LARGEST_FILE = 25_000_000  # a request may hold 37.5 MB of base64
LIMIT_PAUSE_S = 300  # the limit counts the last 24 hours, so there is no moment when it ends
ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
KEY = "FieldAppId__c"
NOTE_FIELDS = ("Case__c", "Text__c", "Author__c", "Status__c", "StatusLeft__c", "Files__c")
CASE_FIELDS = (
    "Id",
    "CaseNumber",
    "Subject",
    "Description",
    "Status",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
    "LastModifiedBy.Name",
    "IsDeleted",
    "MasterRecordId",
)
COMMENT_FIELDS = ("Id", "CommentBody", "CreatedDate", "CreatedBy.Name")
FILE_FIELDS = ("Id", KEY, "PathOnClient", "ContentSize", "Checksum")
BUSY = ("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "OPERATION_TOO_LARGE", "UNKNOWN_EXCEPTION")
DEFAULTS = StoreMapping(
    statuses=Words(
        {
            "New": "new",
            "Working": "in_progress",
            "Escalated": "in_progress",
            "On Hold": "suspended",
            "Closed": "closed",
        },
        {
            "new": "New",
            "triaged": "Working",
            "in_progress": "Working",
            "waiting_customer": "On Hold",
            "resolved": "Closed",
            "closed": "Closed",
            "reopened": "Working",
            "suspended": "On Hold",
        },
    ),
    priorities=Words(
        {"High": "high", "Medium": "normal", "Low": "low"},
        {"urgent": "High", "high": "High", "normal": "Medium", "low": "Low"},
    ),
    types=Words({"Question": "consult", "Problem": "hardware"}, {"consult": "Question", "hardware": "Problem"}),
    channels=Words(
        {"Phone": "hotline", "Email": "email", "Web": "web"}, {"hotline": "Phone", "email": "Email", "web": "Web"}
    ),
    fields={
        "customer": "CustomerNumber__c",
        "asset": "AssetSerial__c",
        "contact": "SuppliedName",
        "contact_phone": "SuppliedPhone",
        "contact_email": "SuppliedEmail",
        "channel": "Origin",
        "type": "Type",
        "priority": "Priority",
    },
    options={"note": "ServiceNote__c", "api": "62.0"},
)
SECTIONS = {"channel": "channels", "type": "types", "priority": "priorities"}  # fields that have words of their own


@dataclass(frozen=True)
class _Note:
    """Our note as it stands there, with the files that do: key → MD5."""

    receipt: Receipt
    left_status: bool
    status_there: bool
    files: Mapping[str, str]


@carefully
class SalesforceStore:
    """Logged in by client credentials; the token is kept, and asked for once more when it has ended."""

    name = "salesforce"
    caps = Caps(
        delta="since",
        find="unique",
        guard="stamp",
        atomic=True,
        grain_s=GRAIN_S,
        lag_s=LAG_S,
        max_file=LARGEST_FILE,
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        self.note = self.words.options["note"]
        self.base = f"/services/data/v{self.words.options['api']}"
        self._wire = Wire(connection)
        self._tokens = Tokens(self._wire, self._logged_in)

    # ---- reading ----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """By time and name. A case may be dated before it can be read, and change twice within a second: what is that young
        is read once more after several pages, and in any case the next time."""
        moment, ref, again = [*cursor.split("|"), "", ""][:3]
        rows = self._cases(f"{_after(moment, ref)}ORDER BY SystemModstamp, Id LIMIT {int(limit)}")
        tickets = tuple(self._ticket(row) for row in rows if not row["IsDeleted"] or row["MasterRecordId"])
        if not rows and not ref:
            return Page(tickets=(), cursor=cursor, more=False)
        last = _moment(rows[-1]["SystemModstamp"] if rows else moment)
        if len(rows) == limit:
            return Page(tickets=tickets, cursor=f"{_literal(last)}|{rows[-1]['Id']}|{again}", more=True)
        young = _literal(last - timedelta(seconds=GRAIN_S + LAG_S))
        if ref and not again:
            return Page(tickets=tickets, cursor=f"{young}||again", more=True)
        return Page(tickets=tickets, cursor=f"{young}||", more=False)

    def ticket(self, ref: str) -> StoreTicket:
        return self._ticket(self._case(ref))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        field = self.words.fields.get("customer")
        if not field:
            return ()
        where = f"WHERE {field} = {_quoted(customer)} AND IsDeleted = false "
        rows = self._cases(f"{where}ORDER BY CreatedDate DESC, CaseNumber DESC LIMIT {int(limit)}")
        return tuple(self._ticket(row) for row in rows)

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        """Our notes and people's comments; of the same second, ours come first."""
        case = self._case(ticket)
        ours = self._notes(f"WHERE Case__c = {_quoted(case['Id'])} ORDER BY CreatedDate, Name")
        files = self._files([key for row in ours for key in _keys(row)])
        theirs = self._query(
            COMMENT_FIELDS, "CaseComment", f"WHERE ParentId = {_quoted(case['Id'])} ORDER BY CreatedDate, Id"
        )
        notes = [*(_our_note(row, files) for row in ours), *(_comment(row) for row in theirs)]
        return tuple(sorted(notes, key=lambda note: note.at))

    def content(self, file: StoreFile) -> bytes:
        return self._ask("GET", f"{self.base}/sobjects/ContentVersion/{quote(file.ref, safe='')}/VersionData").body

    def find(self, uid: str, ticket: str) -> Receipt | None:
        note = self._found(uid)
        return note.receipt if note is not None and note.receipt.ticket == ticket else None

    # ---- writing ----------------------------------------------------------------------------------------

    def push(self, change: Change) -> Receipt:
        note = self._found(change.uid)
        if note is not None and note.receipt.ticket != change.ticket:
            raise Rejected(_("This entry already stands in another ticket (%(ref)s).", ref=note.receipt.ticket))
        if note is None or not (note.left_status or _complete(note, change)):
            self._write(change, note)
            note = self._found(change.uid)
        return _settled(note, change)

    def _write(self, change: Change, note: _Note | None) -> None:
        """What is missing of note, files and status, as a whole. A status of a stale base is left, and the note says so."""
        word, case = self._status_word(change), self._live_case(change.ticket)
        files = [self._file_part(change, n, case) for n in self._missing(change, note)]
        status = [self._status_part(case, word, change)] if word and change.base in (None, _version(case)) else []
        if note is not None:
            self._together([*files, *([] if note.status_there else status)])
            return
        if status and self._together([self._note_part(change, word, case, left=False), *files, *status]):
            return
        self._together([self._note_part(change, word, case, left=bool(word)), *files])

    def _missing(self, change: Change, note: _Note | None) -> list[int]:
        """Which files to bring; of a note that somebody deleted they may still be there."""
        if note is not None:
            return _unlike(change, note.files)
        keys = [_key(change.uid, n) for n in range(len(change.files))]
        return _unlike(change, _checksums(self._files(keys)))

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        filed = self._filed(new.uid)
        if filed is None:
            self._together([self._part("POST", "Case", self._new(new))])
            filed = self._filed(new.uid)
        if filed is None:
            raise Retry(_("The ticket store has not filed the ticket yet."))
        return self._ticket(filed)

    def _filed(self, uid: str) -> dict[str, Any] | None:
        return next(iter(self._cases(f"WHERE {KEY} = {_quoted(uid)} LIMIT 2")), None)

    def _new(self, new: NewTicket) -> dict[str, Any]:
        told = {"customer": new.customer, "asset": new.asset, **new.fields}
        fields = {theirs: self._their_word(name, told.get(name)) for name, theirs in self.words.fields.items()}
        return {
            KEY: new.uid,
            "Subject": new.subject,
            "Description": new.text,
            "Status": self.words.statuses.theirs("new"),
            **{name: word for name, word in fields.items() if word and "." not in name},
        }

    def _status_word(self, change: Change) -> str | None:
        if change.status is None:
            return None
        word = self.words.statuses.theirs(change.status)
        if word is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        return word

    def _live_case(self, ref: str) -> dict[str, Any]:
        case = self._case(ref)
        if case["IsDeleted"]:
            raise Rejected(_("Ticket %(number)s became a part of another one.", number=case["CaseNumber"]))
        return case

    # ---- one composite request --------------------------------------------------------------------------

    def _note_part(self, change: Change, word: str | None, case: dict[str, Any], *, left: bool) -> dict[str, Any]:
        return self._part(
            "POST",
            self.note,
            {
                KEY: change.uid,
                "Case__c": case["Id"],
                "Text__c": change.note,
                "Author__c": change.author,
                "Status__c": word,
                "StatusLeft__c": left,
                "Files__c": len(change.files),
            },
        )

    def _file_part(self, change: Change, n: int, case: dict[str, Any]) -> dict[str, Any]:
        file = change.files[n]
        body = {
            KEY: _key(change.uid, n),
            "Title": file.name[:255],
            "PathOnClient": file.name,
            "FirstPublishLocationId": case["Id"],
            "VersionData": base64.b64encode(file.content).decode(),
        }
        return self._part("POST", "ContentVersion", body)

    def _status_part(self, case: dict[str, Any], word: str, change: Change) -> dict[str, Any]:
        part = self._part("PATCH", f"Case/{case['Id']}", {"Status": word})
        if change.base is not None:
            seen = format_datetime(_moment(case["LastModifiedDate"]), usegmt=True)
            part["httpHeaders"] = {"If-Unmodified-Since": seen}
        return part

    def _part(self, method: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"method": method, "url": f"{self.base}/sobjects/{what}", "body": body}

    def _together(self, parts: Sequence[dict[str, Any]]) -> bool:
        """All parts in their order or none of them; False when the case changed meanwhile (raises StoreError)."""
        if not parts:
            return True
        named = [{**part, "referenceId": f"part{n}"} for n, part in enumerate(parts)]
        body = {"allOrNone": True, "collateSubrequests": False, "compositeRequest": named}
        answers = self._ask("POST", f"{self.base}/composite", json=body).json()
        causes = [
            (each["httpStatusCode"], error) for each in answers["compositeResponse"] for error in _errors(each["body"])
        ]
        for status, error in causes:
            if status == 412:
                return False
            if error["errorCode"] != "PROCESSING_HALTED" and not _ours_already(error):
                raise _refused(error)
        return True

    # ---- what stands there ------------------------------------------------------------------------------

    def _found(self, uid: str) -> _Note | None:
        rows = self._notes(f"WHERE {KEY} = {_quoted(uid)} LIMIT 2")
        if not rows:
            return None
        if len(rows) > 1:
            raise Rejected(_("The key %(uid)s stands there more than once: make the field unique.", uid=uid))
        if rows[0][KEY] != uid:
            raise ValueError(KEY)
        return self._note(rows[0])

    def _note(self, row: dict[str, Any]) -> _Note:
        files = self._files(_keys(row))
        case = row["Case__r"] or {}
        left = bool(row["StatusLeft__c"])
        word = row["Status__c"]
        there = not word or case.get("Status") == word or case.get("SystemModstamp", "") >= row["CreatedDate"]
        complete = not left and there and len(files) == len(_keys(row))
        receipt = Receipt(uid=row[KEY], ticket=row["Case__c"], ref=row["Id"], complete=complete)
        return _Note(receipt, left, there, _checksums(files))

    def _notes(self, rest: str) -> list[dict[str, Any]]:
        names = ("Id", "Name", KEY, "CreatedDate", *NOTE_FIELDS, "Case__r.Status", "Case__r.SystemModstamp")
        return self._query(names, self.note, rest)

    def _files(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By key; few at a time, because a query travels in the address."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), 50):
            listed = ", ".join(_quoted(key) for key in keys[start : start + 50])
            found |= {row[KEY]: row for row in self._query(FILE_FIELDS, "ContentVersion", f"WHERE {KEY} IN ({listed})")}
        return found

    def _case(self, ref: str) -> dict[str, Any]:
        rows = self._cases(f"WHERE Id = {_quoted(ref)}") if ID.fullmatch(ref) else []
        if not rows or (rows[0]["IsDeleted"] and not rows[0]["MasterRecordId"]):
            raise Rejected(_("There is no ticket %(number)s.", number=ref))
        if rows[0]["Id"][:15] != ref[:15]:  # what follows is for the upper and lower case of the 15 before
            raise ValueError("Id")
        return rows[0]

    def _cases(self, rest: str) -> list[dict[str, Any]]:
        """Those that were merged away too."""
        return self._query(tuple(dict.fromkeys((*CASE_FIELDS, *self.words.fields.values()))), "Case", rest, "queryAll")

    def _query(self, names: Sequence[str], of: str, rest: str, how: str = "query") -> list[dict[str, Any]]:
        soql = " ".join(("SELECT", ", ".join(names), "FROM", of, rest)).strip()
        rows: list[dict[str, Any]] = []
        page = self._ask("GET", f"{self.base}/{how}", params={"q": soql}).json()
        while True:
            rows += page["records"]
            if page["done"]:
                return rows
            following = self._ask("GET", page["nextRecordsUrl"]).json()
            if not following["done"] and following["nextRecordsUrl"] == page["nextRecordsUrl"]:
                raise ValueError("nextRecordsUrl")  # it would go on for ever
            page = following

    # ---- the log-in -------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, accept: Sequence[int] = (), **more: Any) -> Answer:
        """As the wire asks, with a token (raises StoreError)."""
        answer = self._tokens.ask(method, path, accept=(403, *accept), **more)
        if answer.status in (401, 403):
            raise _denied(answer)
        return answer

    def _logged_in(self) -> str:
        asked = {
            "grant_type": "client_credentials",
            "client_id": self.connection.user,
            "client_secret": self.connection.secret,
        }
        told = self._wire.ask("POST", "/services/oauth2/token", data=asked, accept=(400, 401), hush=True).json()
        if not isinstance(told, dict) or "access_token" not in told:
            raise _no_token(told)
        instance = str(told.get("instance_url", ""))
        if urlsplit(instance).hostname != urlsplit(self.connection.address).hostname:
            raise Denied(_("FIELDAPP_STORE_URL must be the address of your own domain: %(url)s", url=instance))
        return str(told["access_token"])

    # ---- what does not fit ------------------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        case, note, file = (self._described(name) for name in ("Case", self.note, "ContentVersion"))
        if not note:
            return (_no_object(self.note),)
        plain = [name for name in self.words.fields.values() if "." not in name]
        return (
            *_lacking("Case", case, plain),
            *_lacking(self.note, note, NOTE_FIELDS),
            *(
                flaw
                for name, fields in (("Case", case), (self.note, note), ("ContentVersion", file))
                for flaw in _key_flaw(name, fields)
            ),
            *self._status_flaws(case.get("Status", {})),
        )

    def _described(self, name: str) -> dict[str, dict[str, Any]]:
        """The fields of an object that our user sees, by name; none when there is no such object."""
        answer = self._ask("GET", f"{self.base}/sobjects/{name}/describe", accept=(404,))
        return {field["name"]: field for field in answer.json()["fields"]} if answer.status == 200 else {}

    def _status_flaws(self, field: Mapping[str, Any]) -> list[Flaw]:
        known = {value["value"].casefold() for value in field.get("picklistValues", ()) if value["active"]}
        words = {word for word in self.words.statuses.write.values() if word}
        return [_no_status(word) for word in sorted(words) if word.casefold() not in known]

    # ---- what we hear -----------------------------------------------------------------------------------

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """A flow's call out carries our secret as ``Authorization: Bearer …``; the platform signs nothing itself."""
        given = {name.casefold(): value for name, value in headers.items()}.get("authorization", "")
        secret = self.connection.hook_secret
        if not secret or not hmac.compare_digest(given.encode(), f"Bearer {secret}".encode()):
            raise Denied(_("The message does not prove that it comes from the ticket store."))
        try:
            told = json.loads(body)
            ref, version = told["ticket"], told.get("version")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Rejected(_("The message names no ticket.")) from error
        if not isinstance(ref, str) or not ID.fullmatch(ref):
            raise Rejected(_("The message names no ticket."))
        return (Hint(id=f"{ref}@{version or uuid7()}", ticket=ref),)

    # ---- the store's words ------------------------------------------------------------------------------

    def _ticket(self, row: dict[str, Any]) -> StoreTicket:
        told = {name: _at(row, theirs) for name, theirs in self.words.fields.items()}
        fields = {
            name: self._our_word(name, value) for name, value in told.items() if name not in ("customer", "asset")
        }
        return StoreTicket(
            ref=row["Id"],
            version=_version(row),
            opened=_moment(row["CreatedDate"]),
            updated=_moment(row["SystemModstamp"]),
            subject=row["Subject"] or "",
            status=self.words.statuses.ours(row["Status"], "in_progress"),
            text=row["Description"] or "",
            customer=told.get("customer") or None,
            asset=told.get("asset") or None,
            changed_by=_at(row, "LastModifiedBy.Name"),
            merged_into=row["MasterRecordId"],
            fields={"number": row["CaseNumber"], **{name: word for name, word in fields.items() if word}},
        )

    def _our_word(self, name: str, theirs: str) -> str:
        words: Words | None = getattr(self.words, SECTIONS.get(name, ""), None)
        return theirs if words is None else words.ours(theirs, "")

    def _their_word(self, name: str, ours: str | None) -> str | None:
        words: Words | None = getattr(self.words, SECTIONS.get(name, ""), None)
        return ours if words is None or ours is None else words.theirs(ours)


# ---- notes and files ---------------------------------------------------------------------------------------


def _settled(note: _Note | None, change: Change) -> Receipt:
    """The receipt as it was read back; anything less is not done yet."""
    if note is None:
        raise Retry(_("The ticket store has not taken the entry yet."))
    if note.left_status:
        sentence = _("Ticket %(number)s changed in the meantime; its status was left alone.", number=change.ticket)
        raise Conflict(sentence, receipt=note.receipt)
    if not _complete(note, change):
        raise Retry(_("The entry in the ticket store is not complete yet."))
    return note.receipt


def _complete(note: _Note, change: Change) -> bool:
    return note.receipt.complete and not _unlike(change, note.files) and len(note.files) == len(change.files)


def _unlike(change: Change, there: Mapping[str, str]) -> list[int]:
    """Which files do not stand there as they should."""
    return [n for n, file in enumerate(change.files) if there.get(_key(change.uid, n)) != _md5(file)]


def _checksums(files: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    return {key: file["Checksum"] for key, file in files.items()}


def _md5(file: NewFile) -> str:
    """What the platform reckons of a file by itself."""
    return hashlib.md5(file.content, usedforsecurity=False).hexdigest()


def _key(uid: str, n: int) -> str:
    return f"{uid}/{n + 1}"


def _keys(row: dict[str, Any]) -> list[str]:
    """The keys of the files that a note came with."""
    return [_key(row[KEY], n) for n in range(int(row["Files__c"] or 0))]


def _our_note(row: dict[str, Any], files: Mapping[str, dict[str, Any]]) -> StoreNote:
    return StoreNote(
        ref=row["Id"],
        at=_moment(row["CreatedDate"]),
        author=row["Author__c"] or "",
        text=row["Text__c"] or "",
        uid=row[KEY],
        files=tuple(_file(files[key]) for key in _keys(row) if key in files),
    )


def _file(row: dict[str, Any]) -> StoreFile:
    """The platform keeps no media type: it lies in the name."""
    name = row["PathOnClient"]
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return StoreFile(name=name, media_type=media_type, size=row["ContentSize"], sha256=None, ref=row["Id"])


def _comment(row: dict[str, Any]) -> StoreNote:
    return StoreNote(
        ref=row["Id"], at=_moment(row["CreatedDate"]), author=_at(row, "CreatedBy.Name"), text=row["CommentBody"] or ""
    )


# ---- cases -------------------------------------------------------------------------------------------------


def _version(row: dict[str, Any]) -> str:
    """Times have a grain of a second: what the case says is a part of its version."""
    said = json.dumps([row[name] for name in sorted(row) if name != "attributes"], sort_keys=True, default=str)
    return f"{row['SystemModstamp'][:19]}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _after(moment: str, ref: str) -> str:
    if not moment:
        return ""
    if not ref:
        return f"WHERE SystemModstamp >= {moment} "
    return f"WHERE SystemModstamp > {moment} OR (SystemModstamp = {moment} AND Id > {_quoted(ref)}) "


def _at(row: Mapping[str, Any], name: str) -> str:
    """A field, also of a record that it leads to (``Account.AccountNumber``)."""
    value: Any = row
    for step in name.split("."):
        value = (value or {}).get(step)
    return "" if value is None else str(value)


def _moment(told: str) -> datetime:
    return datetime.fromisoformat(told)


def _literal(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# ---- refusals ----------------------------------------------------------------------------------------------


def _errors(body: Any) -> list[dict[str, Any]]:
    """A refusal is a list of errors; a success is an object, or nothing."""
    return [each for each in body if "errorCode" in each] if isinstance(body, list) else []


def _ours_already(error: Mapping[str, Any]) -> bool:
    """Somebody has written it since we looked; what stands there is read back."""
    return error["errorCode"] == "DUPLICATE_VALUE" and KEY in error.get("message", "")


def _refused(error: Mapping[str, Any]) -> Exception:
    code, said = error["errorCode"], error.get("message", "")
    if code == "REQUEST_LIMIT_EXCEEDED":
        return Throttled(_("The ticket store asks us to wait."), after=LIMIT_PAUSE_S)
    if code in BUSY:
        return Unreachable(_("The ticket store has trouble (%(status)s): %(said)s", status=code, said=said))
    return Rejected(_("The ticket store answered %(status)s: %(said)s", status=code, said=said))


def _denied(answer: Answer) -> Exception:
    """A limit of requests is answered with 403 too, and ends by itself."""
    errors = _errors(answer.json())
    if any(error["errorCode"] == "REQUEST_LIMIT_EXCEEDED" for error in errors):
        after = seconds_to_wait(answer.headers.get("Retry-After")) or LIMIT_PAUSE_S
        return Throttled(_("The ticket store asks us to wait."), after=after)
    said = "; ".join(f"{error['errorCode']}: {error.get('message', '')}" for error in errors)
    return Denied(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=said))


def _no_token(told: Any) -> Exception:
    if not isinstance(told, dict):
        return Unreachable(_("The ticket store answered with something that is not its data."))
    said = f"{told.get('error')}: {told.get('error_description', '')}"
    if "rate" in said and "exceeded" in said:
        return Throttled(_("The ticket store asks us to wait."), after=LIMIT_PAUSE_S)
    return Denied(_("The log-in was refused: %(said)s", said=said))


def _no_object(name: str) -> Flaw:
    return Flaw(
        says=_("The custom object “%(name)s” is missing.", name=name),
        mend=_("Create it, with its fields, as docs/ticket-stores.md says, and let our user read and create it."),
    )


def _lacking(name: str, fields: Mapping[str, Any], wanted: Sequence[str]) -> list[Flaw]:
    return [
        Flaw(
            says=_(
                "The field “%(field)s” of %(object)s is missing, or our user may not see it.", field=each, object=name
            ),
            mend=_("Create it, or let our user's permission set read and edit it."),
        )
        for each in wanted
        if each not in fields
    ]


def _key_flaw(name: str, fields: Mapping[str, Any]) -> list[Flaw]:
    field = fields.get(KEY)
    if field and field["unique"]:
        return []
    return [
        Flaw(
            says=_("%(object)s has no unique field “%(field)s”.", object=name, field=KEY),
            mend=_("Create it so: Text, 255 characters, Unique (case sensitive), External ID."),
        )
    ]


def _no_status(word: str) -> Flaw:
    return Flaw(
        says=_("Cases have no status “%(word)s”.", word=word),
        mend=_("Add it to the field Status of cases, or name another under [statuses.write] in the mapping."),
    )
