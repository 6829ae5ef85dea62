"""Request Tracker 5 by its REST 2.0 (https://docs.bestpractical.com/rt/5.0.3/RT/REST2.html).

A note is a comment, so nothing is mailed to the customer. Our key lies in a custom field of the comment's transaction and in the
note's last line: RT says “Custom fields updated” also when it has not kept them, and then the line is what we find.

What RT does that one would not expect (tried against 5.0.3): it answers 200 to a change that it refused; it reads dates in a
query in the time zone of the user who asks; “Permission Denied” for a comment comes as 400, also for a ticket that is not there;
a merged ticket leaves every search and its time of change stays; a list loses the rows that we may not see after it was cut into
pages and names no next page; a file name beyond ASCII in JSON is a 500; whoever sends a cookie gets 302 instead of 401; each
request with a token costs a slow hash, while a session of the web pages, which the same token opens, is quick.

RT sends no webhooks. A scrip (condition “On Transaction”, template “Blank”, custom action) sends ours; sign as Standard Webhooks
does, with ``FIELDAPP_STORE_HOOK_SECRET`` (docs/ticket-stores.md has its text): headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature: v1,BASE64(HMAC-SHA256(secret, "ID.TIMESTAMP.BODY"))``, body ``{"ticket": "17"}``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import count
from typing import Any
from urllib.parse import quote

from fieldapp import clock
from fieldapp.i18n import _
from fieldapp.tickets import marks
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.models import CHANNELS, TYPES
from fieldapp.tickets.reading import carefully, listed
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
    StoreFile,
    StoreNote,
    StoreTicket,
    TooBig,
)
from fieldapp.tickets.wire import Answer, Wire

PER_PAGE = 100  # RT gives no more
LAG_S = 5  # a change counts from before it is committed, and each of RT's servers has its own clock
SESSION_S = 3600
MAX_FILE = 10 * 1024 * 1024 * 3 // 4  # RT's default, less what some databases need for encoding
HOOK_TOLERANCE_S = 300
KEPT_TEXTS = 2000
WITHOUT_PEOPLE = ("EmailRecord", "CommentEmailRecord")  # RT's own bookkeeping of the mails that a change caused

DEFAULTS = StoreMapping(
    place="Field Service",
    statuses=Words(
        read={
            "new": "new",
            "open": "in_progress",
            "stalled": "waiting_customer",
            "resolved": "resolved",
            "rejected": "closed",
            "deleted": "closed",
        },
        write={
            "new": "new",
            "triaged": "open",
            "in_progress": "open",
            "waiting_customer": "stalled",
            "resolved": "resolved",
            "closed": "resolved",
            "reopened": "open",
            "suspended": "stalled",
        },
    ),
    priorities=Words(
        read={"0": "low", "50": "normal", "80": "high", "100": "urgent"},
        write={"low": "0", "normal": "50", "high": "80", "urgent": "100"},
    ),
    types=Words({each: each for each in TYPES}, {each: each for each in TYPES}),
    channels=Words({each: each for each in CHANNELS}, {each: each for each in CHANNELS}),
    fields={
        "record": "ServiceRecordId",
        "note": "RecordId",
        "customer": "CustomerId",
        "asset": "AssetSerial",
        "channel": "Channel",
        "type": "ServiceType",
        "contact": "Contact",
        "contact_phone": "ContactPhone",
        "named_engineer": "NamedEngineer",
    },
)
MARKERS = ("record", "note")

TICKET = {
    "fields": "Subject,Status,Priority,Created,LastUpdated,LastUpdatedBy,EffectiveId,Queue,Owner,Requestor,CustomFields",
    "fields[LastUpdatedBy]": "RealName",
    "fields[Requestor]": "RealName,EmailAddress,MobilePhone",
}
ENTRY = {"fields": "Type,Created,Creator,CustomFields,ObjectId", "fields[Creator]": "RealName"}
TEXT_PART = {"fields": "TransactionId,ContentType,Filename,Content"}
FILE_PART = {"fields": "TransactionId,ContentType,Filename,ContentLength"}


@dataclass(frozen=True)
class Entry:
    """A transaction of a ticket that somebody wrote; ``ticket`` is where it stands, ``uid`` what our custom field holds."""

    ref: str
    ticket: str
    at: datetime
    author: str
    uid: str | None


@carefully
class RequestTrackerStore:
    """Tickets of one queue. ``options``: ``feed``, TicketSQL of the tickets to read instead of the queue's;
    ``max_file``, bytes, where RT's ``$MaxAttachmentSize`` was changed."""

    name = "rt"

    def __init__(self, connection: Connection) -> None:
        self.words = DEFAULTS.changed(connection.words)
        self.caps = Caps(
            delta="since",
            find="search",
            guard="match",
            atomic=False,
            grain_s=1,
            lag_s=LAG_S,
            max_file=_number(self.words.options.get("max_file", ""), MAX_FILE),
        )
        self._hook_secret = connection.hook_secret
        self._wire = Wire(connection, headers={"Authorization": f"token {connection.secret}"})
        self._session_until = 0.0
        self._in_utc = False
        self._texts: dict[str, str] = {}  # of what a ticket began with: that never changes

    # ---- reading ----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        place = self.words.options.get("feed") or f"Queue = {_quoted(self.words.place)}"
        since, after = _position(cursor)
        if since is None:
            query = place
        else:
            self._insist_on_utc()
            moment = _quoted(_literal(since))
            query = f"({place}) AND LastUpdated >= {moment} AND (LastUpdated > {moment} OR id > {after})"
        rows, more = self._page_of_tickets(query, limit)
        return Page(tickets=self._told(self._with_merged(rows)), cursor=_cursor(cursor, rows, more), more=more)

    def ticket(self, ref: str) -> StoreTicket:
        return self._told([self._row(ref)])[0]

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        query = f"{self._field('customer')} = {_quoted(customer)}"
        rows, _more = self._page_of_tickets(query, limit, orderby=("id",), order="DESC")
        return self._told(rows)

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        self._row(ticket)
        entries = self._entries(ticket, "Comment", "Correspond")
        if not entries:
            return ()
        path = f"/ticket/{_path(ticket)}/attachments"
        texts = _texts(self._all(path, {**TEXT_PART, "query": _where(ContentType=("text/plain", "text/html"))}))
        files = _files(self._all(path, FILE_PART))
        return tuple(_note(entry, texts.get(entry.ref, ""), files.get(entry.ref, ())) for entry in entries)

    def content(self, file: StoreFile) -> bytes:
        found = self._ask("GET", f"/attachment/{_path(file.ref)}").json()
        return base64.b64decode(found.get("Content") or "")

    # ---- writing ----------------------------------------------------------------------------------------

    def find(self, uid: str, ticket: str) -> Receipt | None:
        """Complete means note and files, which RT keeps in one step; what status was asked for, RT does not know."""
        entry = self._ours(uid, ticket)
        return _receipt(uid, ticket, entry.ref, complete=True) if entry else None

    def push(self, change: Change) -> Receipt:
        row = self._row(change.ticket)
        status = self._status_word(change)
        self._refuse_large(change.files)
        entry = self._ours(change.uid, change.ticket)
        if entry is None:
            self._refuse_elsewhere(change)
        stale = change.base is not None and self._moved(row, change.base, entry)
        since = self._statuses_since(entry) if entry and status else []
        ref = entry.ref if entry else self._comment(change)
        self._insist_on_files(change, ref)
        if status and not _had(status, row, since):
            if stale or since or _merged_into(row):
                raise self._left_to_a_person(change, ref)
            self._set_status(change, ref, row, status)
        return _receipt(change.uid, change.ticket, ref, complete=True)

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        ref = self._filed(new) or self._file(new)
        row = self._row(ref)
        if not self._carries(row, new):
            raise Rejected(_("Request Tracker filed ticket %(number)s without its text.", number=ref))
        return self._told([row])[0]

    # ---- looking at the store ---------------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        self._ask("GET", "/rt")
        queue = self._queue()
        if queue is None:
            return (self._no_queue(),)
        newest, _more = self._page_of_tickets(f"Queue = {queue['id']}", 1, orderby=("id",), order="DESC")
        return (
            *self._missing_fields(queue),
            *self._missing_rights(queue, newest),
            *self._wrong_zone(queue, newest),
            *self._unread_statuses(queue),
        )

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        given = {name.lower(): value for name, value in headers.items()}
        id, moment = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
        self._prove(id, moment, given.get("webhook-signature", ""), body)
        try:
            ref = json.loads(body)["ticket"]
        except (ValueError, KeyError, TypeError):
            ref = None
        if not isinstance(ref, str | int) or not str(ref).isdigit():
            raise Rejected(_("The message names no ticket."))
        return (Hint(id=id, ticket=str(ref)),)

    def _prove(self, id: str, moment: str, signatures: str, body: bytes) -> None:
        if not self._hook_secret:
            raise Denied(_("No secret is set for messages from Request Tracker."))
        if not id or abs(clock.now().timestamp() - _number(moment, 0)) > HOOK_TOLERANCE_S:
            raise Denied(_("The message has no name, or is not from now."))
        proof = hmac.new(self._hook_secret.encode(), f"{id}.{moment}.".encode() + body, hashlib.sha256).digest()
        wanted = f"v1,{base64.b64encode(proof).decode()}"
        if not any(hmac.compare_digest(wanted.encode(), each.encode()) for each in signatures.split()):
            raise Denied(_("The message is not signed with our secret."))

    # ---- a push, step by step ---------------------------------------------------------------------------

    def _status_word(self, change: Change) -> str | None:
        if change.status is None:
            return None
        if word := self.words.statuses.theirs(change.status):
            return word
        raise Rejected(_("The mapping names no status of Request Tracker for “%(status)s”.", status=change.status))

    def _refuse_large(self, files: Sequence[NewFile]) -> None:
        for file in files:
            if self.caps.max_file is not None and len(file.content) > self.caps.max_file:
                raise TooBig(_("The file %(name)s is too large for Request Tracker.", name=file.name))

    def _ours(self, uid: str, ticket: str) -> Entry | None:
        """The comment with our key in this ticket, or in what it was merged with."""
        comments = self._entries(ticket, "Comment")
        return next((entry for entry in comments if entry.uid == uid), None) or self._marked(uid, ticket, comments)

    def _marked(self, uid: str, ticket: str, comments: Sequence[Entry]) -> Entry | None:
        """By its last line, among those whose custom field RT has not kept."""
        bare = [entry for entry in comments if not entry.uid]
        if not bare:
            return None
        path = f"/ticket/{_path(ticket)}/attachments"
        texts = _texts(self._all(path, {**TEXT_PART, "query": _where(ContentType=("text/plain", "text/html"))}))
        return next((entry for entry in bare if marks.read(texts.get(entry.ref, "")).uid == uid), None)

    def _refuse_elsewhere(self, change: Change) -> None:
        query = f"ObjectType = 'RT::Ticket' AND {self._field('note')} = {_quoted(change.uid)}"
        for row in self._page("/transactions", {"query": query, "fields": "ObjectId"}):
            raise Rejected(_("This entry already stands in ticket %(number)s.", number=row["ObjectId"]))

    def _moved(self, row: Mapping[str, Any], base: str, entry: Entry | None) -> bool:
        """Whether anything but our own comment has happened since ``base``."""
        if entry is None:
            return base != _version(row)
        updated, _dot, state = base.partition(".")
        if state != _state(row):
            return True
        others = self._transactions(str(row["id"]), f"id != {entry.ref}", {"fields": "Type,Created"})
        since = [each for each in others if _moment(each["Created"]) > _moment(updated)]
        return any(each["Type"] not in WITHOUT_PEOPLE for each in since)

    def _comment(self, change: Change) -> str:
        """Write the note with its files; the transaction's number."""
        told = {
            "Content": marks.mark(change.note, author=change.author, uid=change.uid),
            "ContentType": "text/plain",
            "TxnCustomFields": {self.words.fields.get("note", ""): change.uid},
        }
        path = f"/ticket/{_path(change.ticket)}/comment"
        if change.files:
            files = [("Attachments", (file.name, file.content, file.media_type)) for file in change.files]
            answer = self._ask("POST", path, data={"JSON": json.dumps(told)}, files=files, accept=(400,))
        else:
            answer = self._ask("POST", path, json=told, accept=(400,))
        if answer.status == 400:
            raise Rejected(_("Request Tracker does not take the note: %(said)s", said=_said(answer)))
        return self._read_back(change, answer.headers.get("Location", "").rpartition("/")[2])

    def _read_back(self, change: Change, ref: str) -> str:
        """Our key stands in the transaction that RT names; where it has not kept the field, in the text."""
        if ref.isdigit() and self._key_of(ref) == change.uid:
            return ref
        written = self._ours(change.uid, change.ticket)
        if (
            written is None
        ):  # not asked again by itself: it could not be found the next time either, and would be written twice
            raise Rejected(
                _(
                    "Request Tracker has taken the note but does not show it: give our user the right ShowTicketComments, then try again."
                )
            )
        return written.ref

    def _key_of(self, transaction: str) -> str | None:
        answer = self._ask("GET", f"/transaction/{transaction}", accept=(403, 404))
        return self._entry_key(answer.json()) if answer.status == 200 else None

    def _insist_on_files(self, change: Change, ref: str) -> None:
        """RT may be told to cut or drop what is too long (raises Rejected). Texts it turns into UTF-8, so their size may change."""
        if not change.files:
            return
        kept = _files(self._all(f"/transaction/{ref}/attachments", FILE_PART, enough=len(change.files) + 2)).get(
            ref, ()
        )
        sizes = [(file.name, file.size) for file in kept]
        names = [file.name for file in kept]
        for file in change.files:
            text = file.media_type.startswith("text/")
            if (file.name, len(file.content)) not in sizes and not (text and file.name in names):
                raise Rejected(
                    _("The note is in, but Request Tracker has not kept the file %(name)s as it is.", name=file.name)
                )

    def _statuses_since(self, entry: Entry) -> list[dict[str, Any]]:
        """The changes of the status after our note, oldest first."""
        query = f"Type = 'Status' AND id > {entry.ref}"
        found = self._transactions(entry.ticket, query, {"fields": "OldValue,NewValue"})
        return sorted(found, key=lambda each: int(each["id"]))

    def _set_status(self, change: Change, ref: str, seen: Mapping[str, Any], status: str) -> None:
        """Guarded by the ticket's ETag, and read back: a refusal comes with 200, too."""
        path = f"/ticket/{_path(change.ticket)}"
        before = self._ask("GET", path)
        now = before.json()["Status"]
        if _same(now, status):
            return
        if not _same(now, seen["Status"]):
            raise self._left_to_a_person(change, ref)
        guard = {"If-Match": before.headers.get("ETag", "*")}
        answer = self._ask("PUT", path, json={"Status": status}, headers=guard, accept=(400, 412))
        if answer.status == 412:
            raise self._left_to_a_person(change, ref)
        if not _same(self._row(change.ticket)["Status"], status):
            sentence = _("The note is in, but Request Tracker leaves the status: %(said)s", said=_said(answer))
            raise Rejected(sentence)

    def _left_to_a_person(self, change: Change, ref: str) -> Conflict:
        sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
        return Conflict(sentence, receipt=_receipt(change.uid, change.ticket, ref, complete=False))

    # ---- filing, step by step ---------------------------------------------------------------------------

    def _filed(self, new: NewTicket) -> str | None:
        """The ticket with our key: in the custom field, or in the text where RT has not kept the field."""
        rows, _more = self._page_of_tickets(f"{self._field('record')} = {_quoted(new.uid)}", 1)
        if rows:
            return str(rows[0]["id"])
        place = f"Queue = {_quoted(self.words.place)} AND Subject = {_quoted(new.subject.strip())}"
        alike, _more = self._page_of_tickets(place, PER_PAGE, orderby=("id",), order="DESC")
        bare = [row for row in alike if not self._values(row).get("record")]
        begun = self._begun([str(row["id"]) for row in bare])
        return next((ref for ref, text in begun.items() if marks.read(text).uid == new.uid), None)

    def _file(self, new: NewTicket) -> str:
        queue = self._queue()
        if queue is None:
            raise Rejected(self._no_queue().says)
        if lacking := [
            flaw for flaw in self._missing_fields(queue) if self.words.fields.get("record", "") in flaw.says
        ]:
            raise Rejected(lacking[0].says)
        told = {
            "Queue": self.words.place,
            "Subject": new.subject.strip(),
            "Content": marks.mark(new.text, author=new.fields.get("opened_by", ""), uid=new.uid),
            "ContentType": "text/plain",
            "CustomFields": self._custom_fields(new),
        }
        if priority := self.words.priorities.theirs(new.fields.get("priority", "")):
            told["Priority"] = priority
        answer = self._ask("POST", "/ticket", json=told, accept=(400, 403))
        ref = str(answer.json().get("id", "")) if answer.status < 300 else ""
        if not ref:
            raise Rejected(_("Request Tracker does not take the ticket: %(said)s", said=_said(answer)))
        return ref

    def _custom_fields(self, new: NewTicket) -> dict[str, str]:
        given = {**new.fields, "record": new.uid, "customer": new.customer or "", "asset": new.asset or ""}
        given["channel"] = self.words.channels.theirs(given.get("channel", "")) or ""
        given["type"] = self.words.types.theirs(given.get("type", "")) or ""
        named = {theirs: given.get(ours, "") for ours, theirs in self.words.fields.items() if ours != "note"}
        return {theirs: value for theirs, value in named.items() if value}

    def _carries(self, row: Mapping[str, Any], new: NewTicket) -> bool:
        text = self._begun([str(row["id"])]).get(str(row["id"]), "")
        return self._values(row).get("record") == new.uid or marks.read(text).uid == new.uid

    # ---- what does not fit ------------------------------------------------------------------------------

    def _queue(self) -> dict[str, Any] | None:
        """The queue where we file tickets; RT answers 403 also when there is none."""
        answer = self._ask("GET", f"/queue/{_path(self.words.place)}", accept=(403, 404))
        return dict(answer.json()) if answer.status == 200 else None

    def _no_queue(self) -> Flaw:
        return Flaw(
            says=_("There is no queue “%(name)s” that our user may see.", name=self.words.place),
            mend=_(
                "Create it (Admin › Queues › Create) and give our user the right SeeQueue there, or name another queue as “place” in the mapping."
            ),
        )

    def _missing_fields(self, queue: Mapping[str, Any]) -> list[Flaw]:
        there = {
            "ticket": {each["name"].casefold() for each in queue.get("TicketCustomFields") or ()},
            "note": {each["name"].casefold() for each in queue.get("TicketTransactionCustomFields") or ()},
        }
        flaws = [_without_marker(ours) for ours in MARKERS if not self.words.fields.get(ours)]
        for ours, theirs in self.words.fields.items():
            kind = "note" if ours == "note" else "ticket"
            if theirs.casefold() not in there[kind]:
                flaws.append(self._missing_field(theirs, kind))
        return flaws

    def _missing_field(self, name: str, kind: str) -> Flaw:
        applies = "Ticket Transactions" if kind == "note" else "Tickets"
        return Flaw(
            says=_("The custom field “%(name)s” is missing.", name=name),
            mend=_(
                "Create it so: Admin › Custom Fields › Create, type “Enter one value”, applies to “%(applies)s”; then under “Applies to” tick the queue “%(queue)s”. Our user needs the right SeeCustomField.",
                applies=applies,
                queue=self.words.place,
            ),
        )

    def _missing_rights(self, queue: Mapping[str, Any], newest: Sequence[Mapping[str, Any]]) -> list[Flaw]:
        """As far as RT tells them: it offers what our user may do next."""
        lacking = [] if _offers(queue, "create") else ["CreateTicket"]
        if newest:
            ticket = self._ask("GET", f"/ticket/{newest[0]['id']}").json()
            lacking += [] if _offers(ticket, "comment") else ["CommentOnTicket"]
            lacking += [] if _offers(ticket, "lifecycle") else ["ModifyTicket"]
        return [
            Flaw(
                says=_("Our user lacks the right %(right)s.", right=right),
                mend=_(
                    "Grant it so: Admin › Queues › %(queue)s › User Rights (or Group Rights).", queue=self.words.place
                ),
            )
            for right in lacking
        ]

    def _wrong_zone(self, queue: Mapping[str, Any], newest: Sequence[Mapping[str, Any]]) -> list[Flaw]:
        """RT reads the dates of a query in our user's time zone: ask for something by the second in which it was made."""
        path, query = "/tickets", "EffectiveId > 0"
        things: Sequence[Mapping[str, Any]] = newest
        if not things:
            path, query = "/transactions", "ObjectType = 'RT::Queue'"
            things = self._page(path, {"query": f"{query} AND ObjectId = {queue['id']}", "fields": "Created"})
        if not things:
            return []
        made = _moment(things[0]["Created"])
        second = [_quoted(_literal(made + timedelta(seconds=more))) for more in (0, 1)]
        query = f"{query} AND id = {things[0]['id']} AND Created >= {second[0]} AND Created < {second[1]}"
        if self._page(path, {"query": query}):
            return []
        return [
            Flaw(
                says=_("Our user in Request Tracker is not in the time zone UTC: changes would be missed."),
                mend=_("Set it so: Admin › Users › our user › Timezone: UTC."),
            )
        ]

    def _unread_statuses(self, queue: Mapping[str, Any]) -> list[Flaw]:
        known = " AND ".join(f"Status != {_quoted(word)}" for word in self.words.statuses.read)
        rows, _more = self._page_of_tickets(f"Queue = {queue['id']} AND {known}", PER_PAGE)
        return [
            Flaw(
                says=_("Tickets have the status “%(status)s”, which the mapping does not know.", status=status),
                mend=_("Name it under [statuses.read] in the mapping."),
            )
            for status in sorted({str(row["Status"]) for row in rows})
        ]

    def _insist_on_utc(self) -> None:
        """Before the first question with a date (raises Rejected): rather no news than some of them."""
        if self._in_utc:
            return
        queue = self._queue()
        if queue is None:
            raise Rejected(self._no_queue().says)
        newest, _more = self._page_of_tickets(f"Queue = {queue['id']}", 1, orderby=("id",), order="DESC")
        for flaw in self._wrong_zone(queue, newest):
            raise Rejected(f"{flaw.says} {flaw.mend}")
        self._in_utc = True

    # ---- tickets ----------------------------------------------------------------------------------------

    def _row(self, ref: str) -> dict[str, Any]:
        rows, _more = self._page_of_tickets(f"id = {ref}", 1) if ref.isdigit() else ([], False)
        if not rows:
            raise Rejected(_("There is no ticket %(number)s.", number=ref))
        return rows[0]

    def _page_of_tickets(
        self, query: str, limit: int, *, orderby: tuple[str, ...] = ("LastUpdated", "id"), order: str = "ASC"
    ) -> tuple[list[dict[str, Any]], bool]:
        """Tickets, the merged ones too (RT leaves them out unless ``EffectiveId`` is asked for), and whether more wait."""
        params = {
            "query": f"EffectiveId > 0 AND ({query})",
            "orderby": orderby,
            "order": [order] * len(orderby),
            "per_page": min(limit, PER_PAGE),
            **TICKET,
        }
        found = self._ask("GET", "/tickets", params=params).json()
        rows = listed(found["items"])
        total = found.get("total")
        return rows, bool(rows) if total is None else int(total) > len(rows)

    def _with_merged(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """These, and what was merged into them: a merge changes only the time of the ticket that remains."""
        if not rows:
            return rows
        remaining = " OR ".join(f"EffectiveId = {row['id']}" for row in rows)
        others = " AND ".join(f"id != {row['id']}" for row in rows)
        merged, _more = self._page_of_tickets(f"({remaining}) AND {others}", PER_PAGE, orderby=("id",), order="DESC")
        return [*merged, *rows]

    def _told(self, rows: Sequence[Mapping[str, Any]]) -> tuple[StoreTicket, ...]:
        texts, remaining = self._begun([str(row["id"]) for row in rows]), self._remaining(rows)
        return tuple(
            self._ticket(row, texts.get(str(row["id"]), ""), remaining.get(_merged_into(row) or "", row))
            for row in rows
        )

    def _remaining(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """What some of these were merged into: only there RT notes when that was, and who did it."""
        known = {str(row["id"]): row for row in rows}
        wanted = sorted({into for row in rows if (into := _merged_into(row))} - known.keys())
        for start in range(0, len(wanted), PER_PAGE):
            those = " OR ".join(f"id = {ref}" for ref in wanted[start : start + PER_PAGE])
            found, _more = self._page_of_tickets(those, PER_PAGE)
            known |= {str(row["id"]): row for row in found}
        return known

    def _ticket(self, row: Mapping[str, Any], text: str, touched: Mapping[str, Any]) -> StoreTicket:
        """``touched``: the row that says when it changed last and by whom."""
        values = self._values(row)
        merged = _merged_into(row)
        return StoreTicket(
            ref=str(row["id"]),
            version=_version(row),
            opened=_moment(row["Created"]),
            updated=_moment(touched["LastUpdated"]),
            subject=row["Subject"],
            status="closed" if merged else self.words.statuses.ours(row["Status"], "in_progress"),
            text=marks.read(text).text,
            customer=values.pop("customer", None),
            asset=values.pop("asset", None),
            changed_by=_name(touched["LastUpdatedBy"]),
            merged_into=merged,
            fields={**self._asked(row), **values},
        )

    def _asked(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Priority, and who asks where no custom field says it."""
        fields = {"priority": self._priority(str(row.get("Priority") or "0"))}
        for person in (row.get("Requestor") or ())[:1]:
            told = {
                "contact": _name(person),
                "contact_email": person.get("EmailAddress"),
                "contact_phone": person.get("MobilePhone"),
            }
            fields.update({name: value for name, value in told.items() if value})
        return fields

    def _priority(self, number: str) -> str:
        """Our word for a number: the one that the mapping names, or the nearest below."""
        named = sorted((int(each), ours) for each, ours in self.words.priorities.read.items() if each.isdigit())
        below = [ours for least, ours in named if least <= _number(number, 0)]
        return self.words.priorities.ours(number, below[-1] if below else "normal")

    def _values(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The custom fields that the mapping knows, by our names, in our words."""
        held = _held(row)
        mapped = {ours: held.get(theirs.casefold(), "") for ours, theirs in self.words.fields.items() if ours != "note"}
        values = {ours: value for ours, value in mapped.items() if value}
        for name, words, otherwise in (
            ("channel", self.words.channels, "hotline"),
            ("type", self.words.types, "hardware"),
        ):
            if name in values:
                values[name] = words.ours(values[name], otherwise)
        return values

    def _begun(self, refs: Sequence[str]) -> dict[str, str]:
        """What each ticket began with."""
        unknown = [ref for ref in refs if ref not in self._texts]
        if len(self._texts) > KEPT_TEXTS:
            self._texts.clear()
            unknown = list(refs)
        for start in range(0, len(unknown), PER_PAGE):
            self._texts.update(self._read_begun(unknown[start : start + PER_PAGE]))
        return {ref: self._texts[ref] for ref in refs if ref in self._texts}

    def _read_begun(self, refs: Sequence[str]) -> dict[str, str]:
        those = " OR ".join(f"TicketId = {ref}" for ref in refs)
        query = f"ObjectType = 'RT::Ticket' AND Type = 'Create' AND ({those})"
        created = {
            row["id"]: str(row["ObjectId"])
            for row in self._all("/transactions", {"query": query, "fields": "ObjectId", "orderby": "id"})
        }
        if not created:
            return {}
        asked = json.loads(_where(TransactionId=tuple(created), ContentType=("text/plain", "text/html")))
        parts = self._all("/attachments", TEXT_PART, body=asked)
        texts = _texts(parts)
        return {ref: texts.get(transaction, "") for transaction, ref in created.items()}

    def _field(self, ours: str) -> str:
        """Our custom field in a query."""
        return f"CF.{{{self.words.fields.get(ours) or 'unmapped'}}}"

    # ---- lists ------------------------------------------------------------------------------------------

    def _entries(self, ticket: str, *types: str) -> list[Entry]:
        """What was written in a ticket and in those merged into it, oldest first."""
        if not ticket.isdigit():
            return []
        rows = self._all(f"/ticket/{ticket}/history", {"query": _where(Type=types), **ENTRY})
        return [self._entry(row) for row in sorted(rows, key=lambda row: int(row["id"]))]

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        return Entry(
            ref=str(row["id"]),
            ticket=str(row["ObjectId"]),
            at=_moment(row["Created"]),
            author=_name(row["Creator"]),
            uid=self._entry_key(row),
        )

    def _entry_key(self, row: Mapping[str, Any]) -> str | None:
        return _held(row).get(self.words.fields.get("note", "").casefold())

    def _transactions(self, ticket: str, query: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        whole = f"ObjectType = 'RT::Ticket' AND TicketId = {ticket} AND {query}"
        return self._all("/transactions", {"query": whole, "orderby": "id", **fields})

    def _all(
        self, path: str, params: Mapping[str, Any], *, body: Any = None, enough: int | None = None
    ) -> list[dict[str, Any]]:
        """Every row. A page may be short without being the last: only an empty one is the end, unless we know how many are
        ``enough``."""
        rows: list[dict[str, Any]] = []
        for page in count(1):
            found = self._page(path, {**params, "page": page}, body=body)
            if not found:
                break
            if found == rows[-len(found) :]:
                raise ValueError("page")  # the same once more: it would go on for ever
            rows += found
            if enough is not None and len(rows) >= enough:
                break
        return rows

    def _page(self, path: str, params: Mapping[str, Any], *, body: Any = None) -> list[dict[str, Any]]:
        method = "GET" if body is None else "POST"
        found = self._ask(method, path, params={"per_page": PER_PAGE, **params}, json=body).json()
        return listed(found["items"])

    # ---- asking -----------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, accept: Sequence[int] = (), **how: Any) -> Answer:
        self._open_session()
        answer = self._wire.ask(method, f"/REST/2.0{path}", accept=(302, *accept), **how)
        if answer.status == 302:
            raise Denied(_("Request Tracker does not accept our token."))
        return answer

    def _open_session(self) -> None:
        """A page that shows nothing opens a session for our token. Where it does not, the token alone works, too."""
        if time.monotonic() < self._session_until:
            return
        with suppress(Rejected, Denied):
            self._wire.ask("GET", "/Helpers/Autocomplete/Users", accept=(302,))
        self._session_until = time.monotonic() + SESSION_S


# ---- what RT's rows say ------------------------------------------------------------------------------------


def _version(row: Mapping[str, Any]) -> str:
    """Times have a grain of a second, so what a person sees of the ticket counts as well."""
    return f"{row['LastUpdated']}.{_state(row)}"


def _state(row: Mapping[str, Any]) -> str:
    held = sorted((each["name"], each["values"]) for each in row["CustomFields"] or ())
    people = [row["Owner"]["id"] if row["Owner"] else "", *(each["id"] for each in row.get("Requestor") or ())]
    told = [row[name] for name in ("Status", "Subject", "Priority", "EffectiveId")]
    text = json.dumps([*told, row["Queue"]["id"], people, held], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _merged_into(row: Mapping[str, Any]) -> str | None:
    remaining = str(row["EffectiveId"])
    return None if remaining == str(row["id"]) else remaining


def _name(person: Mapping[str, Any]) -> str:
    return str(person.get("RealName") or person["id"])


def _held(row: Mapping[str, Any]) -> dict[str, str]:
    """The first value of each custom field, by its name in small letters."""
    return {each["name"].casefold(): str(each["values"][0]) for each in row["CustomFields"] or () if each["values"]}


def _had(status: str, row: Mapping[str, Any], since: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the status was as asked when our note came, or the first change after it made it so."""
    if not since:
        return _same(row["Status"], status)
    return any(_same(since[0][name], status) for name in ("OldValue", "NewValue"))


def _offers(row: Mapping[str, Any], what: str) -> bool:
    return any(link.get("ref") == what for link in row.get("_hyperlinks") or ())


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _note(entry: Entry, text: str, files: tuple[StoreFile, ...]) -> StoreNote:
    marked = marks.read(text)
    uid = entry.uid or marked.uid
    author = marked.author if uid and marked.author else entry.author
    return StoreNote(ref=entry.ref, at=entry.at, author=author, text=marked.text, uid=uid, files=files)


def _receipt(uid: str, ticket: str, ref: str, *, complete: bool) -> Receipt:
    return Receipt(uid=uid, ticket=ticket, ref=ref, complete=complete)


def _texts(parts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The text of each transaction: the first plain part that is no file, else the first HTML part."""
    plain: dict[str, str] = {}
    html: dict[str, str] = {}
    for part in parts:
        if not part.get("Filename"):
            texts = html if part["ContentType"] == "text/html" else plain
            texts.setdefault(str(part["TransactionId"]), part.get("Content") or "")
    return {**{ref: _words_of(text) for ref, text in html.items()}, **plain}


def _files(parts: Iterable[Mapping[str, Any]]) -> dict[str, tuple[StoreFile, ...]]:
    """The files of each transaction, in the order in which they were attached."""
    files: dict[str, tuple[StoreFile, ...]] = {}
    for part in parts:
        if part.get("Filename"):
            ref = str(part["TransactionId"])
            size = _number(str(part.get("ContentLength") or ""), 0)
            file = StoreFile(
                name=part["Filename"], media_type=part["ContentType"], size=size, sha256=None, ref=str(part["id"])
            )
            files[ref] = (*files.get(ref, ()), file)
    return files


class _Reader(HTMLParser):
    """The words of an HTML mail, a line for each block."""

    BLOCKS = frozenset({"br", "p", "div", "li", "tr", "blockquote"})

    def __init__(self) -> None:
        super().__init__()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.BLOCKS and not self.words.endswith("\n"):
            self.words += "\n"

    def handle_data(self, data: str) -> None:
        self.words += data


def _words_of(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.words.strip()


def _without_marker(ours: str) -> Flaw:
    return Flaw(
        says=_("The mapping names no custom field “%(name)s”, by which we find again what we wrote.", name=ours),
        mend=_("Leave it out of [fields] for the default, or name one."),
    )


def _said(answer: Answer) -> str:
    """RT's own sentence, of an error or of a list of results."""
    told = answer.json()
    if isinstance(told, dict):
        return str(told.get("message", ""))
    return " ".join(str(each) for each in told) if isinstance(told, list) else str(told)


# ---- questions ---------------------------------------------------------------------------------------------


def _where(**fields: Sequence[str]) -> str:
    """A query in JSON: one of the values for each field."""
    return json.dumps([{"field": name, "value": value} for name, values in fields.items() for value in values])


def _quoted(text: str) -> str:
    """A word in TicketSQL."""
    escaped = re.sub(r"([\\'])", r"\\\1", text)
    return f"'{escaped}'"


def _path(ref: str) -> str:
    return quote(ref, safe="")


def _moment(text: str) -> datetime:
    """A time as RT's answers have it: always UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _literal(moment: datetime) -> str:
    """A time as RT's queries read it, in the time zone of our user, which must be UTC; anything after the seconds is not read."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else otherwise


# ---- the cursor: second and number of the last ticket told, "2026-11-22T10:00:00Z 17" ------------------------


def _position(cursor: str) -> tuple[datetime | None, int]:
    """Where to read on; what is no cursor of ours starts from the beginning."""
    moment, _space, after = cursor.partition(" ")
    try:
        return _moment(moment), _number(after, 0)
    except ValueError:
        return None, 0


def _cursor(before: str, rows: Sequence[Mapping[str, Any]], more: bool) -> str:
    """After the last row; at the end a few seconds earlier, for what is committed late."""
    if not rows:
        return before
    last = rows[-1]
    if more:
        return f"{last['LastUpdated']} {last['id']}"
    return f"{(_moment(last['LastUpdated']) - timedelta(seconds=LAG_S)).strftime('%Y-%m-%dT%H:%M:%SZ')} 0"
