"""ServiceNow, through its Table API and Attachment API.

A ticket's name here is the record's ``sys_id``. A note is an entry of its journal (``work_notes``): it can be neither searched
cheaply nor changed, so our mark stands in its text, with a line before it that says which files belong to the note and which
state was asked. Note and state are one update of the record: a business rule that refuses it refuses both, and the note is then
written alone. Files go in first and are known by their SHA-256, which this store tells: what is there is not sent again.

What this API does quietly: it drops unknown fields of a query (and then gives every record), drops fields that we may not
write, leaves out rows that we may not read. So what comes back is compared with what was asked, and a note that we could not
read back is never written twice: its text in the record itself is looked at, too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from fieldapp import clock
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
)
from fieldapp.tickets.wire import Answer, Wire

TABLE = "/api/now/table"
ATTACHMENT = "/api/now/attachment"
GRAIN = timedelta(seconds=1)
LAG = timedelta(seconds=10)  # a long update may show its moment only after others with a later one
FRESH = timedelta(minutes=5)
MANY = 500
KEY = 16  # hex digits of a file's SHA-256 in the note
MOST_CLOSE_NOTES = 4000
SIGNATURE = "x-fieldapp-signature"
SHIELD = "\u2060"  # takes no room; without it the journal shows what stands between [code] and [/code] as HTML
CODE = re.compile(r"\[(?=/?code\])", re.IGNORECASE)
REFUSALS = ("business rule", "data policy")
# The line before our mark, such as [fieldapp files=1a2b…,3c4d… state=6 after=12] or [fieldapp state=left].
TAIL = re.compile(
    r"(?:\A|\n\n)\[fieldapp(?: files=(?P<files>[0-9a-f,]+))?(?: state=(?P<state>[^\] ]+)(?: after=(?P<after>\d+))?)?\]\Z"
)
LEFT = "left"

DEFAULTS = StoreMapping(
    place="incident",  # the table
    statuses=Words(
        read={
            "1": "new",
            "2": "in_progress",
            "3": "waiting_customer",
            "6": "resolved",
            "7": "closed",
            "8": "suspended",
        },
        write={
            "triaged": "1",
            "in_progress": "2",
            "waiting_customer": "3",
            "resolved": "6",
            "closed": "7",
            "reopened": "2",
            "suspended": "8",
        },
    ),
    priorities=Words(
        read={"1": "urgent", "2": "high", "3": "normal", "4": "low", "5": "low"},
        # Priority follows from urgency and impact, in this order.
        write={"urgent": "1 1", "high": "1 2", "normal": "2 2", "low": "3 2"},
    ),
    types=Words(
        read={"hardware": "hardware", "software": "software", "inquiry": "consult"},
        write={"hardware": "hardware", "software": "software", "consult": "inquiry"},
    ),
    channels=Words(
        read={
            "phone": "hotline",
            "self-service": "web",
            "email": "email",
            "walk-in": "shop",
            "chat": "wechat",
        },
        write={
            "hotline": "phone",
            "web": "self-service",
            "app": "self-service",
            "email": "email",
            "shop": "walk-in",
            "wechat": "chat",
        },
    ),
    fields={
        "uid": "correlation_id",
        "customer": "u_customer_number",
        "asset": "u_asset_serial",
        "channel": "contact_type",
        "type": "category",
        "contact": "u_contact_name",
        "contact_phone": "u_contact_phone",
    },
    # only: a further condition of the feed, an encoded query. set.NAME: a value that each ticket we file gets.
    options={
        "note": "work_notes",
        "only": "",
        "close_code": "Solution provided",
        "hold_reason": "1",
        "closing": "6,7",
        "holding": "3",
    },
)


@carefully
class ServiceNowStore:
    """Tickets in a table of a ServiceNow instance."""

    name = "servicenow"
    caps = Caps(
        delta="since",
        find="scan",
        guard="stamp",
        atomic=False,
        grain_s=int(GRAIN.total_seconds()),
        lag_s=int(LAG.total_seconds()),
        max_file=50 * 1024 * 1024,
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        self.wire = Wire(connection, auth=(connection.user, connection.secret))

    # ---- reading ----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """A pass over all that changed since, by ``sys_id``: an order that does not shift while people write."""
        at = _Pass.read(cursor)
        answer = self._page(self.words.place, self._since(at), self._asked(), limit)
        rows, total = answer.json()["result"], _total(answer)
        if at.began is None:
            at = replace(at, began=_said_at(answer))
        if total > limit and not rows:
            raise Denied(_("The ticket store lets our user read only a part of the tickets."))
        tickets = tuple(self._told(row) for row in rows)
        at = at.after(tickets)
        if total > limit:
            return Page(tickets=tickets, cursor=str(at), more=True)
        done = at.done()
        return Page(tickets=tickets, cursor=str(done), more=at.pages > 1 and done.since != at.since)

    def ticket(self, ref: str) -> StoreTicket:
        return self._told(self._record(ref, self._asked(), display="false"))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        if customer.casefold().startswith("javascript:"):  # the instance would run it instead of comparing it
            return ()
        query = f"{self._field('customer')}={_literal(customer)}^ORDERBYDESCsys_created_on^ORDERBYDESCnumber"
        rows = self._page(self.words.place, query, self._asked(), limit).json()["result"]
        told = tuple(self._told(row) for row in rows)
        if any(ticket.customer != customer for ticket in told):  # an unknown field of a query is left out of it
            raise Rejected(
                _("The custom field “%(name)s” is missing in the ticket store.", name=self._field("customer"))
            )
        return told

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        return tuple(note.told for note in self._seen(ticket).notes)

    def content(self, file: StoreFile) -> bytes:
        return self._ask("GET", f"{ATTACHMENT}/{_quoted(file.ref)}/file", headers={"Accept": "*/*"}).body

    # ---- writing ----------------------------------------------------------------------------------------

    def find(self, uid: str, ticket: str) -> Receipt | None:
        seen = self._seen(ticket)
        note = self._ours(uid, seen)
        return self._receipt(note, seen) if note else None

    def push(self, change: Change) -> Receipt:
        seen = self._seen(change.ticket)
        wanted = self._wanted(change)
        note = self._ours(change.uid, seen)
        if note is None:
            self._attach(change.files, seen)
            self._write(change, wanted, seen)
        elif set(note.files) - set(seen.files):  # somebody removed a file of ours
            self._attach(change.files, seen)
        return self._read_back(change)

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("Say in a few words what is wrong."))
        ref = self._filed(new.uid) or self._file(new)
        filed = self._record(ref, self._asked(), display="false")
        for name, value in self._custom_values(new).items():
            if filed.get(name) != value:
                sentence = _("The ticket is filed, but the ticket store did not keep its field “%(name)s”.", name=name)
                raise Rejected(sentence)
        return self._told(filed)

    # ---- being looked at --------------------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        answer = self._answer("GET", f"{TABLE}/{_quoted(self.words.place)}", params=_params("", self._asked(), 1))
        if answer.status in (400, 404):
            says = _("There is no table “%(name)s” that we may read.", name=self.words.place)
            mend = _("Write the table's name, such as incident, as place in the mapping; give our user the role itil.")
            return (Flaw(says=says, mend=mend),)
        rows = answer.json()["result"]
        sample = list(self._fields_of(rows[0])) + list(self._clock_of(rows[0])) if rows else []
        return (*sample, *self._journal_readable(), *self._vocabulary(), *self._attachments_readable())

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """The body's HMAC-SHA256 in base64, as GlideCertificateEncryption.generateMac gives it; not older than five minutes."""
        given = {name.lower(): value for name, value in headers.items()}
        self._believe(given.get(SIGNATURE, ""), body)
        try:
            message = json.loads(body)
            hint = Hint(id=str(message["id"]), ticket=str(message["sys_id"]))
            sent = datetime.fromtimestamp(int(message["at"]), UTC)
        except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
            raise Rejected(_("The message names no ticket.")) from error
        if abs(clock.now() - sent) > FRESH:
            raise Denied(_("The message is too old to be believed."))
        return (hint,)

    def _believe(self, signature: str, body: bytes) -> None:
        secret = self.connection.hook_secret
        ours = b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
        if not secret or not hmac.compare_digest(ours, signature.encode()):
            raise Denied(_("The message does not prove that it comes from the ticket store."))

    # ---- a ticket as we tell it ---------------------------------------------------------------------------

    def _since(self, at: _Pass) -> str:
        parts = [f"sys_updated_on>={_stamp(at.since)}"] if at.since else []
        parts += [f"sys_id>{at.last}"] if at.last else []
        parts += [self.words.options["only"]] if self.words.options["only"] else []
        return "^".join([*parts, "ORDERBYsys_id"])

    def _asked(self) -> list[str]:
        system = ["sys_id", "number", "short_description", "description", "state", "priority"]
        stamps = ["sys_created_on", "sys_updated_on", "sys_updated_by", "sys_mod_count"]
        return [*system, *stamps, *self.words.fields.values()]

    def _told(self, row: Mapping[str, str]) -> StoreTicket:
        value = {name: row.get(theirs) or "" for name, theirs in self.words.fields.items()}
        fields = {
            "number": row["number"],
            "priority": self.words.priorities.ours(row.get("priority"), "normal"),
            "channel": self.words.channels.ours(value.get("channel"), value.get("channel", "")),
            "type": self.words.types.ours(value.get("type"), value.get("type", "")),
        }
        others = {name: text for name, text in value.items() if name not in ("uid", "customer", "asset", *fields)}
        return StoreTicket(
            ref=row["sys_id"],
            version=_version(row),
            opened=_moment(row["sys_created_on"]),
            updated=_moment(row["sys_updated_on"]),
            subject=row["short_description"],
            status=self.words.statuses.ours(row["state"], "in_progress"),
            text=(row.get("description") or "").replace("\r\n", "\n"),
            customer=value.get("customer") or None,
            asset=value.get("asset") or None,
            changed_by=row.get("sys_updated_by") or "",
            fields={name: text for name, text in {**fields, **others}.items() if text},
        )

    def _field(self, name: str) -> str:
        if name not in self.words.fields:
            raise Rejected(_("The mapping names no field for “%(name)s”.", name=name))
        return self.words.fields[name]

    # ---- the thread ---------------------------------------------------------------------------------------

    def _seen(self, ref: str) -> _Seen:
        asked = ["sys_id", "state", "sys_mod_count", "sys_updated_on", "work_notes", "comments"]
        record = self._record(ref, asked, display="all")
        files = {file.sha256 or "": file for file in self._files(ref)}
        by_key = {sha256[:KEY]: file for sha256, file in files.items()}
        query = f"element_id={_literal(ref)}^elementINwork_notes,comments^ORDERBYsys_created_on"
        entries = self._rows(
            "sys_journal_field", query, ["sys_id", "element", "value", "sys_created_on", "sys_created_by"]
        )
        notes = [self._note(entry, by_key) for entry in entries]
        # Entries of one second come in any order: ours in the order in which their keys were made.
        notes.sort(key=lambda note: (note.told.at, note.told.uid or ""))
        return _Seen(record, by_key, tuple(notes))

    def _note(self, entry: Mapping[str, str], files: Mapping[str, StoreFile]) -> _Note:
        plain = entry["value"].replace("\r\n", "\n").replace(f"[{SHIELD}", "[")
        marked = marks.read(plain) if entry["element"] == self.words.options["note"] else marks.Marked(plain, "", None)
        tail = TAIL.search(marked.text) if marked.uid else None
        keys = tuple((tail["files"] or "").split(",")) if tail and tail["files"] else ()
        told = StoreNote(
            ref=entry["sys_id"],
            at=_moment(entry["sys_created_on"]),
            author=marked.author if marked.uid else entry["sys_created_by"],
            text=marked.text[: tail.start()] if tail else marked.text,
            uid=marked.uid,
            files=tuple(files[key] for key in keys if key in files),
        )
        after = int(tail["after"]) if tail and tail["after"] else None
        return _Note(told, keys, tail["state"] if tail else None, after)

    def _files(self, ref: str) -> Iterator[StoreFile]:
        query = f"table_name={self.words.place}^table_sys_id={_literal(ref)}^ORDERBYsys_created_on^ORDERBYsys_id"
        for row in self._attachments(query):
            file = StoreFile(
                name=row["file_name"],
                media_type=row["content_type"],
                size=int(row["size_bytes"]),
                sha256=row.get("hash") or None,
                ref=row["sys_id"],
            )
            yield file if file.sha256 else replace(file, sha256=_sha256(self.content(file)))

    def _attachments(self, query: str) -> Iterator[Any]:
        """All of them, by pages; the attachment API tells no count."""
        start = 0
        while True:
            params = {"sysparm_query": query, "sysparm_limit": MANY, "sysparm_offset": start}
            page = self._ask("GET", ATTACHMENT, params=params).json()["result"]
            yield from page
            start += MANY
            if len(page) < MANY:
                return

    def _ours(self, uid: str, seen: _Seen) -> _Note | None:
        """Our note. One that stands in the record but is kept from us would be written again and again: Denied."""
        note = next((note for note in seen.notes if note.told.uid == uid), None)
        if note is None and seen.shows(self.words.options["note"], uid):
            raise Denied(_("Our user may not read the table sys_journal_field of the ticket store."))
        return note

    # ---- one note, its files, its state ---------------------------------------------------------------------

    def _wanted(self, change: Change) -> str | None:
        if change.status is None:
            return None
        theirs = self.words.statuses.theirs(change.status)
        if theirs is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        return theirs

    def _attach(self, files: tuple[NewFile, ...], seen: _Seen) -> None:
        there = set(seen.files)
        for file in files:
            if _key(file) not in there:
                self._upload(file, seen.ref)
                there.add(_key(file))

    def _upload(self, file: NewFile, ref: str) -> None:
        params = {"table_name": self.words.place, "table_sys_id": ref, "file_name": file.name}
        headers = {"Content-Type": file.media_type}
        self._ask("POST", f"{ATTACHMENT}/file", params=params, data=file.content, headers=headers)

    def _write(self, change: Change, wanted: str | None, seen: _Seen) -> None:
        """Note and state in one update. A store that refuses the state gets the note alone, and a person the reason."""
        stale = change.base is not None and change.base != seen.version
        if wanted is None or wanted == seen.state:
            self._patch(seen.ref, self._entry(change, ""))
        elif stale:
            self._patch(seen.ref, self._entry(change, f" state={LEFT}"))
        else:
            entry = self._entry(change, f" state={wanted} after={self._count(seen.ref)}")
            self._write_with_state(change, {**entry, **self._state_fields(wanted, change)}, seen)

    def _write_with_state(self, change: Change, fields: Mapping[str, str], seen: _Seen) -> None:
        try:
            after = self._patch(seen.ref, fields)
        except _Refused as refused:
            self._patch(seen.ref, self._entry(change, f" state={LEFT}"))
            raise Rejected(
                _("The note is in, but the ticket store refuses its status: %(why)s", why=refused)
            ) from refused
        if after["state"] != fields["state"]:
            raise Rejected(
                _("The note is in, but the status stayed as it was: our user may not write the field “state”.")
            )

    def _count(self, ref: str) -> str:
        """How often the record was changed so far: to see later whether anybody changed it after us."""
        return str(int(self._record(ref, ["sys_mod_count"], display="false")["sys_mod_count"]))

    def _entry(self, change: Change, state: str) -> dict[str, str]:
        files = " files=" + ",".join(_key(file) for file in change.files) if change.files else ""
        needed = files or state or TAIL.search(change.note)  # a text that ends like our line gets one of ours behind it
        tail = f"\n\n[fieldapp{files}{state}]" if needed else ""
        text = marks.mark(f"{change.note}{tail}", author=change.author, uid=change.uid)
        return {self.words.options["note"]: CODE.sub(f"[{SHIELD}", text)}

    def _state_fields(self, wanted: str, change: Change) -> dict[str, str]:
        """The state, and what a fresh installation asks for with it."""
        options = self.words.options
        fields = {"state": wanted}
        if wanted in options["closing"].split(","):
            fields |= {"close_code": options["close_code"], "close_notes": change.note[:MOST_CLOSE_NOTES]}
        if wanted in options["holding"].split(","):
            fields["hold_reason"] = options["hold_reason"]
        return fields

    def _patch(self, ref: str, fields: Mapping[str, str]) -> Any:
        path = f"{TABLE}/{_quoted(self.words.place)}/{_quoted(ref)}"
        params = {"sysparm_fields": "sys_id,state", "sysparm_exclude_reference_link": "true"}
        return self._ask("PATCH", path, params=params, json=fields, missing=ref).json()["result"]

    def _read_back(self, change: Change) -> Receipt:
        seen = self._seen(change.ticket)
        note = self._ours(change.uid, seen)
        if note is None:  # written and nowhere to be read: again would be a second time
            raise Denied(_("The ticket store did not keep our note, or does not let our user read it."))
        receipt = self._receipt(note, seen)
        if note.state == LEFT:
            sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
            raise Conflict(sentence, receipt=receipt)
        if not _state_taken(note, seen):
            raise Rejected(
                _("The note is in, but the status stayed as it was: our user may not write the field “state”.")
            )
        if not receipt.complete:
            raise Retry(_("The note is in, but its files cannot be read back yet."))
        return receipt

    def _receipt(self, note: _Note, seen: _Seen) -> Receipt:
        there = all(key in seen.files for key in note.files)
        complete = there and note.state != LEFT and _state_taken(note, seen)
        return Receipt(uid=note.told.uid or "", ticket=seen.ref, ref=note.told.ref, complete=complete)

    # ---- filing -------------------------------------------------------------------------------------------

    def _filed(self, uid: str) -> str | None:
        field = self._field("uid")
        query = f"{field}={_literal(uid)}^ORDERBYsys_created_on"
        rows = self._page(self.words.place, query, ["sys_id", field], 10).json()["result"]
        if any(row.get(field) != uid for row in rows):
            raise Rejected(_("The custom field “%(name)s” is missing in the ticket store.", name=field))
        return str(rows[0]["sys_id"]) if rows else None

    def _file(self, new: NewTicket) -> str:
        preset = {
            name.removeprefix("set."): value
            for name, value in self.words.options.items()
            if name.startswith("set.") and value
        }
        fields = {"short_description": " ".join(new.subject.split()), "description": new.text}
        body = {**preset, **fields, **self._urgency(new), **self._custom_values(new)}
        path = f"{TABLE}/{_quoted(self.words.place)}"
        params = {"sysparm_fields": "sys_id", "sysparm_exclude_reference_link": "true"}
        return str(self._ask("POST", path, params=params, json=body).json()["result"]["sys_id"])

    def _urgency(self, new: NewTicket) -> dict[str, str]:
        theirs = (self.words.priorities.theirs(new.fields.get("priority", "")) or "").split()
        return {"urgency": theirs[0], "impact": theirs[-1]} if theirs else {}

    def _custom_values(self, new: NewTicket) -> dict[str, str]:
        given = {**new.fields, "uid": new.uid, "customer": new.customer or "", "asset": new.asset or ""}
        words = {"channel": self.words.channels, "type": self.words.types}
        values = {}
        for name, theirs in self.words.fields.items():
            if value := given.get(name):
                values[theirs] = (words[name].theirs(value) if name in words else None) or value
        return values

    # ---- what does not fit ----------------------------------------------------------------------------------

    def _fields_of(self, sample: Mapping[str, str]) -> Iterator[Flaw]:
        """A field that does not exist, or that we may not read, is left out of an answer."""
        for theirs in self.words.fields.values():
            if theirs not in sample:
                says = _("The custom field “%(name)s” is missing.", name=theirs)
                mend = _(
                    "Create it so: System Definition, Tables, %(table)s, Columns, New, type String, column name “%(name)s”;"
                    " let our user read and write it.",
                    table=self.words.place,
                    name=theirs,
                )
                yield Flaw(says=says, mend=mend)

    def _clock_of(self, sample: Mapping[str, str]) -> Iterator[Flaw]:
        """A record must be found by its own time, and not by a later one."""
        own = f"sys_id={sample['sys_id']}^sys_updated_on"
        later = _stamp(_moment(sample["sys_updated_on"]) + timedelta(minutes=10))
        found = self._page(self.words.place, f"{own}>={sample['sys_updated_on']}", ["sys_id"], 1).json()["result"]
        again = self._page(self.words.place, f"{own}>={later}", ["sys_id"], 1).json()["result"]
        if not found or again:
            says = _("The ticket store reads our times in another time zone than it writes them.")
            yield Flaw(says=says, mend=_("Set the time zone of our user to UTC (GMT): changes would be missed."))

    def _journal_readable(self) -> Iterator[Flaw]:
        if not self._may_read("sys_journal_field", f"name={self.words.place}"):
            says = _("Our user may not read the table sys_journal_field of the ticket store.")
            mend = _("Add an access control: operation read, table sys_journal_field, for a role of our user.")
            yield Flaw(says=says, mend=mend)

    def _vocabulary(self) -> Iterator[Flaw]:
        query = f"nameIN{self.words.place},task^element=state^inactive=false"
        if not self._may_read("sys_choice", query):
            says = _("Our user may not read the table sys_choice: the words for a status cannot be checked.")
            yield Flaw(
                says=says, mend=_("Add an access control: operation read, table sys_choice, for a role of our user.")
            )
            return
        there = {row["value"]: row["label"] for row in self._rows("sys_choice", query, ["value", "label"])}
        names = ", ".join(f"{value} ({label})" for value, label in sorted(there.items()))
        for ours, theirs in self.words.statuses.write.items():
            if there and theirs not in there:
                says = _("The status “%(theirs)s”, our “%(ours)s”, does not exist.", theirs=theirs, ours=ours)
                yield Flaw(says=says, mend=_("Write one of these in [statuses.write]: %(names)s.", names=names))

    def _attachments_readable(self) -> Iterator[Flaw]:
        if self._answer("GET", ATTACHMENT, params={"sysparm_limit": 1}).status == 403:
            says = _("Our user may not read attachments.")
            yield Flaw(says=says, mend=_("Give our user the role itil, or read and create on sys_attachment."))

    def _may_read(self, table: str, query: str) -> bool:
        """Rows that we may not read are left out, but counted."""
        answer = self._answer("GET", f"{TABLE}/{table}", params=_params(query, ["sys_id"], 1))
        return answer.status == 200 and bool(answer.json()["result"] or not _total(answer))

    # ---- asking -------------------------------------------------------------------------------------------

    def _record(self, ref: str, fields: list[str], *, display: str) -> Any:
        params = {**_params("", fields, None), "sysparm_display_value": display}
        path = f"{TABLE}/{_quoted(self.words.place)}/{_quoted(ref)}"
        return self._ask("GET", path, params=params, missing=ref).json()["result"]

    def _rows(self, table: str, query: str, fields: list[str]) -> Iterator[Any]:
        """All of them. A page may be short because rows in it are kept from us: only the count tells the end."""
        start = 0
        while True:
            answer = self._page(table, query, fields, MANY, start)
            yield from answer.json()["result"]
            start += MANY
            if start >= _total(answer):
                return

    def _page(self, table: str, query: str, fields: list[str], limit: int, start: int = 0) -> Answer:
        params = {**_params(query, fields, limit), "sysparm_offset": start}
        return self._ask("GET", f"{TABLE}/{_quoted(table)}", params=params)

    def _ask(self, method: str, path: str, *, missing: str = "", **more: Any) -> Answer:
        answer = self._answer(method, path, **more)
        if answer.status == 404:
            raise Rejected(_("There is no ticket %(number)s.", number=missing or path))
        if answer.status in (400, 403):
            raise _refusal(answer)
        return answer

    def _answer(self, method: str, path: str, **more: Any) -> Answer:
        return self.wire.ask(method, path, accept=(400, 403, 404), **more)


class _Refused(Rejected):
    """A business rule or a data policy does not want this change; the credentials are good."""


def _refusal(answer: Answer) -> Exception:
    """403 is a matter of rights, or a rule's opinion of this one change."""
    told = answer.json().get("error") or {}
    why = str(told.get("detail") or told.get("message") or "")
    if any(word in why.casefold() for word in REFUSALS):
        return _Refused(why)
    kind = Denied if answer.status == 403 else Rejected
    return kind(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=why))


# ---- how far we have read -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pass:
    """A walk over all that changed ``since``. ``began``: when it began, by the store's clock; ``newest``: the latest change
    seen in it; ``last``: the ``sys_id`` of the last one told."""

    since: datetime | None = None
    began: datetime | None = None
    newest: datetime | None = None
    last: str = ""
    pages: int = 0

    @classmethod
    def read(cls, cursor: str) -> _Pass:
        """From a cursor; one that we do not understand starts from the beginning."""
        parts = cursor.split("|")
        moments = [_at(part) for part in parts[:3]]
        if len(parts) != 5 or not parts[4].isdigit():
            return cls()
        return cls(moments[0], moments[1], moments[2], parts[3], int(parts[4]))

    def __str__(self) -> str:
        moments = (str(int(each.timestamp())) if each else "" for each in (self.since, self.began, self.newest))
        return "|".join([*moments, self.last, str(self.pages)])

    def after(self, tickets: tuple[StoreTicket, ...]) -> _Pass:
        """One page further."""
        seen = [*([self.newest] if self.newest else []), *(ticket.updated for ticket in tickets)]
        newest = max(seen, default=None)
        last = tickets[-1].ref if tickets else self.last
        return replace(self, newest=newest, last=last, pages=self.pages + 1)

    def done(self) -> _Pass:
        """Where the next walk starts: what was written behind this one's back is still ahead of it."""
        if self.newest is None:
            return _Pass(self.since)
        safe = min(self.newest, self.began or self.newest) - LAG - GRAIN
        return _Pass(max(safe, self.since) if self.since else safe)


def _at(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() else None


# ---- what a record holds --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Note:
    """An entry of the journal. ``files``: keys of its files; ``state``: what was asked with it, LEFT when it was left to a
    person; ``after``: how often the record had been changed before."""

    told: StoreNote
    files: tuple[str, ...]
    state: str | None
    after: int | None


@dataclass(frozen=True)
class _Seen:
    """A record as a push needs it; ``files`` by the first digits of their SHA-256."""

    record: Mapping[str, Mapping[str, str]]
    files: Mapping[str, StoreFile]
    notes: tuple[_Note, ...]

    @property
    def ref(self) -> str:
        return self.record["sys_id"]["value"]

    @property
    def state(self) -> str:
        return self.record["state"]["value"]

    @property
    def count(self) -> int:
        return int(self.record["sys_mod_count"]["value"])

    @property
    def version(self) -> str:
        return _version({name: each["value"] for name, each in self.record.items()})

    def shows(self, journal: str, uid: str) -> bool:
        """Whether the record's own view of its journal shows our mark (raises Denied where we may not see the journal)."""
        if journal not in self.record:
            raise Denied(_("Our user may not read the field “%(name)s” of the ticket store.", name=journal))
        return bool(re.search(rf" · fieldapp:{re.escape(uid)}\s", self.record[journal]["display_value"] + "\n"))


def _state_taken(note: _Note, seen: _Seen) -> bool:
    """Note and state were one update. Where the state is another now, somebody must have changed the record since."""
    if note.state is None or note.state == seen.state:
        return True
    return note.after is not None and seen.count > note.after + 1


# ---- small things ---------------------------------------------------------------------------------------------


def _version(row: Mapping[str, str]) -> str:
    return f"{row['sys_mod_count']} {row['sys_updated_on']}"


def _key(file: NewFile) -> str:
    return _sha256(file.content)[:KEY]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _moment(text: str) -> datetime:
    """``2026-11-22 10:11:12``, which is UTC."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _said_at(answer: Answer) -> datetime:
    """The store's own clock."""
    said = answer.headers.get("Date")
    return parsedate_to_datetime(said).astimezone(UTC) if said else clock.now()


def _total(answer: Answer) -> int:
    count = answer.headers.get("X-Total-Count", "")
    return int(count) if count.isdigit() else 0


def _params(query: str, fields: list[str], limit: int | None) -> dict[str, Any]:
    given: dict[str, Any] = {
        "sysparm_fields": ",".join(dict.fromkeys(fields)),
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
    }
    given |= {"sysparm_query": query} if query else {}
    return given | ({"sysparm_limit": limit} if limit else {})


def _literal(text: str) -> str:
    """A value inside an encoded query, where ^ separates conditions."""
    return text.replace("^", "^^")


def _quoted(text: str) -> str:
    return quote(text, safe="")
