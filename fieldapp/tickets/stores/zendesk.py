"""Zendesk Support: tickets over its REST API, as an OAuth client that belongs to an administrator (client credentials).

Where ``FIELDAPP_STORE_USER`` is an e-mail address it is an administrator's, with an API token: none can be created any more
since 27 October 2026, and those that there are end on 30 April 2027.

Note, files and status go in by one update. The update's audit keeps what we say about it (``metadata.custom``): under
which key it was made, and whether its status was left to a person. Our mark is the note's last line. A ticket that we
file carries its uid as ``external_id``, which can be asked for at once; the search finds new tickets minutes later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from fieldapp import clock
from fieldapp.i18n import _
from fieldapp.tickets import marks
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.models import CHANNELS, TYPES
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
from fieldapp.tickets.tokens import Tokens
from fieldapp.tickets.wire import Answer, Wire

DEFAULTS = StoreMapping(
    statuses=Words(
        read={
            "new": "new",
            "open": "in_progress",
            "pending": "waiting_customer",
            "hold": "suspended",
            "solved": "resolved",
            "closed": "closed",
        },
        # Zendesk closes what is solved by itself, days later; what is closed can never be changed again by anybody.
        write={
            "triaged": "open",
            "in_progress": "open",
            "reopened": "open",
            "waiting_customer": "pending",
            "suspended": "hold",
            "resolved": "solved",
            "closed": "solved",
        },
    ),
    priorities=Words(
        read={"low": "low", "normal": "normal", "high": "high", "urgent": "urgent"},
        write={"low": "low", "normal": "normal", "high": "high", "urgent": "urgent"},
    ),
    fields={  # the title of a ticket field, or its number
        "customer": "Customer number",
        "asset": "Asset serial",
        "channel": "Service channel",
        "type": "Service type",
        "contact": "Contact name",
        "contact_phone": "Contact phone",
        "named_engineer": "Named engineer",
        "site": "Service site",
    },
    options={"file_hosts": "zdusercontent.com"},  # where the store sends us for a file's bytes, comma separated
)
MAX_FILE = 50_000_000
MOST_ROWS = 1000  # of one export
BEGINNING = 1  # the export wants a moment in seconds
PAGE = 100
TOLERANCE = timedelta(minutes=5)
MERGED = "closed_by_merge"  # the tag of a ticket that became a part of another
SHIELD = "\u2060"  # takes no room; without it Zendesk reads {{ and {% as placeholders and puts something in their place


@carefully
class ZendeskStore:
    """Tickets are named by their number."""

    name = "zendesk"
    caps = Caps(delta="cursor", find="scan", guard="stamp", atomic=True, grain_s=1, lag_s=60, max_file=MAX_FILE)

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        by_api_token = "@" in connection.user
        auth = (f"{connection.user}/token", connection.secret) if by_api_token else None
        self.wire = Wire(connection, auth=auth)
        self._tokens = None if by_api_token else Tokens(self.wire, self._logged_in)

    # ---- reading --------------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """The export holds the last minute back itself, so that its cursor is safe to start from."""
        params: dict[str, Any] = {"per_page": min(limit, MOST_ROWS), "exclude_deleted": "true"}
        params |= {"cursor": cursor} if cursor else {"start_time": BEGINNING}
        told = self._ask("GET", "/api/v2/incremental/tickets/cursor", params=params).json()
        tickets = tuple(self._told(row) for row in told["tickets"] if row["status"] != "deleted")
        return Page(tickets=tickets, cursor=told.get("after_cursor") or cursor, more=not told["end_of_stream"])

    def ticket(self, ref: str) -> StoreTicket:
        return self._told(self._row(ref))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        """By search, which finds words: what is of another customer is dropped here."""
        words = customer.replace('"', " ")
        query = f'type:ticket custom_field_{self._field_id("customer")}:"{words}"'
        params = {"query": query, "sort_by": "created_at", "sort_order": "desc", "per_page": PAGE}
        rows = self._ask("GET", "/api/v2/search", params=params).json()["results"]
        told = [self._told(row) for row in rows if row.get("result_type", "ticket") == "ticket"]
        mine = [ticket for ticket in told if ticket.customer == customer]
        return tuple(sorted(mine, key=lambda ticket: (ticket.opened, int(ticket.ref)), reverse=True)[:limit])

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        return tuple(_note(comment) for comment in self._comments(ticket))

    def content(self, file: StoreFile) -> bytes:
        """The store names an address of its own, which leads on to where the bytes lie, for a while and for anybody.

        Our credentials go to the store only; the other host must be one that the settings name.
        """
        told = self._ask("GET", f"/api/v2/attachments/{quote(file.ref, safe='')}").json()
        named = urlsplit(str(told["attachment"]["content_url"]))  # its host may be another brand's: ours has them all
        path = f"{named.path}?{named.query}" if named.query else named.path
        answer = self._ask("GET", path, accept=(301, 302, 303, 307))
        if 200 <= answer.status < 300:
            return answer.body
        return self._from_elsewhere(str(answer.headers.get("Location", "")))

    def find(self, uid: str, ticket: str) -> Receipt | None:
        comment = self._ours(uid, ticket)
        return None if comment is None else _receipt(uid, ticket, comment, complete=not self._was_left(uid, ticket))

    def check(self) -> tuple[Flaw, ...]:
        me = self._ask("GET", "/api/v2/users/me").json()["user"]
        if not me.get("id"):
            raise Denied(_("The ticket store does not know who we are: check the user's address and the token."))
        self.__dict__.pop("_fields", None)  # asked anew: an administrator may just have created one
        return (
            *self._log_in_flaws(),
            *_role_flaws(me),
            *self._place_flaws(),
            *self._field_flaws(),
            *self._word_flaws(),
        )

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        given = {name.casefold(): value for name, value in headers.items()}
        stamp = given.get("x-zendesk-webhook-signature-timestamp", "")
        digest = hmac.new(self.connection.hook_secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
        signed = given.get("x-zendesk-webhook-signature", "").encode()
        if not self.connection.hook_secret or not hmac.compare_digest(base64.b64encode(digest), signed):
            raise Denied(_("This message does not prove that it comes from the ticket store."))
        if not _is_recent(stamp):
            raise Denied(_("This message of the ticket store is too old."))
        return (
            Hint(
                id=given.get("x-zendesk-webhook-invocation-id") or hashlib.sha256(body).hexdigest(),
                ticket=_ticket_named(body),
            ),
        )

    # ---- writing --------------------------------------------------------------------------------------------

    def push(self, change: Change) -> Receipt:
        comment = self._ours(change.uid, change.ticket)
        status = self._status_for(change)
        if comment is not None and (status is None or not self._was_left(change.uid, change.ticket)):
            return self._settle(change, comment)
        row = self._row(change.ticket)
        if comment is not None:
            return self._finish(change, row, comment, status or "")
        if row["status"] == "closed":
            raise Rejected(_closed_for_good(change.ticket))
        self._write(change, row, status)
        return self._read_back(change, status)

    def create(self, new: NewTicket) -> StoreTicket:
        """Its key guards a filing that is repeated soon; its external id one that is repeated later."""
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        rows = self._ask("GET", "/api/v2/tickets", params={"external_id": new.uid}).json()["tickets"]
        if rows:
            return self._told(min(rows, key=lambda row: int(row["id"])))
        filing = {"ticket": self._filing(new)}
        told = self._ask("POST", "/api/v2/tickets", json=filing, headers={"Idempotency-Key": new.uid}).json()
        return self.ticket(str(told["ticket"]["id"]))

    def _write(self, change: Change, row: Mapping[str, Any], status: str | None) -> None:
        """The note with its files and its status; where the status cannot be, the note without it."""
        comment = self._comment(change)
        if status and _is_stale(change, row):
            self._write_left(change, comment)
            raise self._conflict(change)
        guarded = _guarded(change, row, status)
        try:
            answer = self._update(change.ticket, {"comment": comment, **guarded, "metadata": _said(change)})
        except Rejected as error:
            if status is None:
                raise
            self._write_left(change, comment)
            sentence = _("The note is in, but the ticket store does not take the status: %(why)s", why=error)
            raise Rejected(sentence) from error
        if answer.status == 409 and "safe_update" not in guarded:
            raise Retry(_("The ticket store asks us to wait."))  # somebody writes at this moment
        if answer.status == 409:
            self._write_left(change, comment)
            raise self._conflict(change)

    def _comment(self, change: Change) -> dict[str, Any]:
        return {
            "body": _shielded(marks.mark(change.note, author=change.author, uid=change.uid)),
            "public": False,
            "uploads": [self._uploaded(file) for file in change.files],
        }

    def _write_left(self, change: Change, comment: Mapping[str, Any]) -> None:
        told = {"comment": comment, "metadata": {**_said(change), "left": "status"}}
        if self._update(change.ticket, told).status == 409:
            raise Retry(_("The ticket store asks us to wait."))

    def _finish(self, change: Change, row: Mapping[str, Any], comment: Mapping[str, Any], status: str) -> Receipt:
        """Our note stands there without its status: set it when nobody else has set one since."""
        if row["status"] != status:
            if row["status"] == "closed":
                raise Rejected(_closed_for_good(change.ticket))
            guarded = {**_guarded(change, row, status), "metadata": _said(change)}
            if _is_stale(change, row) or self._update(change.ticket, guarded).status == 409:
                raise self._conflict(change)
            if self._row(change.ticket)["status"] != status:
                raise Retry(_("The note is in, but its status cannot be read back yet."))
        return _receipt(change.uid, change.ticket, comment, complete=True)

    def _read_back(self, change: Change, status: str | None) -> Receipt:
        comment = self._ours(change.uid, change.ticket)
        if comment is None or change.missing_among(_files(comment)):
            raise Retry(_("The note is in, but its files cannot be read back yet."))
        if status and self._row(change.ticket)["status"] != status:
            raise Retry(_("The note is in, but its status cannot be read back yet."))
        return _receipt(change.uid, change.ticket, comment, complete=True)

    def _settle(self, change: Change, comment: Mapping[str, Any]) -> Receipt:
        """It stands there. A note takes no more files afterwards: what somebody took away is told, not sent again."""
        if names := change.missing_among(_files(comment)):
            raise Rejected(_("The note stands in the ticket without its files: %(names)s.", names=", ".join(names)))
        return _receipt(change.uid, change.ticket, comment, complete=True)

    def _conflict(self, change: Change) -> Conflict:
        sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
        return Conflict(sentence, receipt=self.find(change.uid, change.ticket))

    def _update(self, ref: str, ticket: Mapping[str, Any]) -> Answer:
        """409 comes back: the ticket changed since our stamp, or somebody writes at this moment."""
        return self._ask("PUT", _path(ref), json={"ticket": ticket}, accept=(409,))

    def _uploaded(self, file: NewFile) -> str:
        """Its token is good for an hour and for one comment."""
        told = self._ask(
            "POST",
            "/api/v2/uploads",
            params={"filename": file.name},
            data=file.content,
            headers={"Content-Type": file.media_type},
        ).json()
        return str(told["upload"]["token"])

    def _status_for(self, change: Change) -> str | None:
        if change.status is None:
            return None
        status = self.words.statuses.theirs(change.status)
        if status is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        return status

    def _filing(self, new: NewTicket) -> dict[str, Any]:
        given = {**new.fields, "customer": new.customer, "asset": new.asset}
        ours = [
            {"id": self._field_id(name), "value": self._word(name, str(given[name]))}
            for name in self.words.fields
            if given.get(name)
        ]
        filing: dict[str, Any] = {
            "subject": new.subject,
            "comment": {"body": _shielded(new.text or new.subject), "public": False},
            "external_id": new.uid,
            "priority": self.words.priorities.theirs(new.fields.get("priority", "normal")) or "normal",
            "custom_fields": ours,
        }
        return {**filing, "group_id": self._group_id()} if self.words.place else filing

    def _word(self, name: str, value: str) -> str:
        sections = {"channel": self.words.channels, "type": self.words.types}
        return (sections[name].theirs(value) or value) if name in sections else value

    # ---- the log-in -----------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, accept: Sequence[int] = (), **more: Any) -> Answer:
        """As the wire asks, with what we log in by (raises StoreError)."""
        if self._tokens is None:
            return self.wire.ask(method, path, accept=accept, **more)
        answer = self._tokens.ask(method, path, accept=accept, **more)
        if answer.status == 401:
            raise Denied(_("The ticket store does not accept the token that it has just given us."))
        return answer

    def _logged_in(self) -> str:
        """It lasts for half an hour unless the client says otherwise, and comes without another one to renew it."""
        asked = {
            "grant_type": "client_credentials",
            "client_id": self.connection.user,
            "client_secret": self.connection.secret,
            "scope": "read write",
        }
        answer = self.wire.ask("POST", "/oauth/tokens", data=asked, accept=(400, 401), hush=True)
        told = answer.json()
        if answer.status >= 400:
            said = f"{told.get('error')}: {told.get('error_description', '')}"
            raise Denied(_("The log-in was refused: %(said)s", said=said))
        return str(told["access_token"])

    # ---- rows -----------------------------------------------------------------------------------------------

    def _row(self, ref: str) -> dict[str, Any]:
        answer = self._ask("GET", _path(ref), accept=(404,))
        if answer.status == 404:
            raise Rejected(_("There is no ticket %(number)s.", number=ref))
        row: dict[str, Any] = answer.json()["ticket"]
        return row

    def _comments(self, ref: str) -> list[dict[str, Any]]:
        """What was written after the first comment, which is the ticket's own text; each with its author's name."""
        found: list[dict[str, Any]] = []
        names: dict[Any, str] = {}
        for told in self._pages(f"{_path(ref)}/comments", {"include": "users"}, ref):
            names |= {user["id"]: user["name"] for user in told.get("users") or ()}
            found += [{**comment, "author": names.get(comment["author_id"], "")} for comment in told["comments"]]
        return found[1:]

    def _pages(self, path: str, params: Mapping[str, str], ref: str) -> Iterator[dict[str, Any]]:
        """The pages of a list, read by cursor (raises Rejected when there is no such ticket)."""
        after: dict[str, str] = {}
        while True:
            asked = {"page[size]": PAGE, **params, **after}
            answer = self._ask("GET", path, params=asked, accept=(404,))
            if answer.status == 404:
                raise Rejected(_("There is no ticket %(number)s.", number=ref))
            told = answer.json()
            yield told
            if not told["meta"]["has_more"]:
                return
            before, after = after, {"page[after]": told["meta"]["after_cursor"]}
            if after == before:
                raise ValueError("after_cursor")  # it would go on for ever

    def _ours(self, uid: str, ref: str) -> dict[str, Any] | None:
        return next((row for row in self._comments(ref) if marks.read(_unshielded(row["body"])).uid == uid), None)

    def _was_left(self, uid: str, ref: str) -> bool:
        """What the last of our updates under this key said about itself."""
        left = False
        for told in self._pages(f"{_path(ref)}/audits", {}, ref):
            for audit in told["audits"]:
                said = (audit.get("metadata") or {}).get("custom") or {}
                if said.get("fieldapp") == uid:
                    left = "left" in said
        return left

    def _told(self, row: Mapping[str, Any]) -> StoreTicket:
        fields = self._named(row)
        customer, asset = fields.pop("customer", None), fields.pop("asset", None)
        ref = str(row["id"])
        return StoreTicket(
            ref=ref,
            version=_version(row),
            opened=datetime.fromisoformat(row["created_at"]),
            updated=datetime.fromisoformat(row["updated_at"]),
            subject=str(row.get("subject") or ""),
            status=self.words.statuses.ours(row["status"], "in_progress"),
            text=_unshielded(str(row.get("description") or "")),
            customer=customer,
            asset=asset,
            merged_into=self._merged_into(ref) if MERGED in (row.get("tags") or ()) else None,
            fields=fields,
        )

    def _named(self, row: Mapping[str, Any]) -> dict[str, str]:
        """What the ticket says under our names, in our words."""
        values = {each["id"]: each["value"] for each in row.get("custom_fields") or ()}
        fields = {name: str(values.get(number) or "") for name, number in self._numbers().items()}
        fields["channel"] = self.words.channels.ours(fields.get("channel"), _if_ours(fields.get("channel"), CHANNELS))
        fields["type"] = self.words.types.ours(fields.get("type"), _if_ours(fields.get("type"), TYPES))
        fields["priority"] = self.words.priorities.ours(row.get("priority"), "normal")
        fields["number"] = str(row["id"])
        return {name: value for name, value in fields.items() if value}

    def _merged_into(self, ref: str) -> str | None:
        """Merging leaves a comment that names the other ticket, in the account's language, as #123."""
        for comment in reversed(self._comments(ref)):
            if found := re.search(r"#(\d+)", comment["body"]):
                return found[1]
        return None

    def _from_elsewhere(self, address: str) -> bytes:
        there, ours = urlsplit(address), urlsplit(self.connection.address)
        hosts = [host.strip() for host in self.words.options["file_hosts"].split(",") if host.strip()]
        known = any(there.netloc == host or there.netloc.endswith(f".{host}") for host in hosts)
        if not known or there.scheme not in ("https", ours.scheme):
            raise Rejected(
                _("The ticket store points to another address (%(host)s): not followed.", host=there.netloc or address)
            )
        bare = Connection(
            address=f"{there.scheme}://{there.netloc}",
            networks=self.connection.networks,
            ca=self.connection.ca,
            proxy=self.connection.proxy,
        )
        return Wire(bare).ask("GET", address).body

    # ---- fields, groups and whether all fits ----------------------------------------------------------------

    @cached_property
    def _fields(self) -> list[dict[str, Any]]:
        """The account's ticket fields, asked for once."""
        return [row for told in self._pages("/api/v2/ticket_fields", {}, "") for row in told["ticket_fields"]]

    def _numbers(self) -> dict[str, int]:
        """Our name of each field that there is → its number."""
        by_title = {str(row["title"]).casefold(): int(row["id"]) for row in self._fields if row.get("active", True)}
        known = set(by_title.values())
        named = {name: by_title.get(theirs.casefold()) for name, theirs in self.words.fields.items()}
        named |= {
            name: int(theirs) for name, theirs in self.words.fields.items() if theirs.isdigit() and int(theirs) in known
        }
        return {name: number for name, number in named.items() if number is not None}

    def _field_id(self, name: str) -> int:
        if name not in self._numbers():
            theirs = self.words.fields.get(name, name)
            raise Rejected(_("The custom field “%(name)s” is missing.", name=theirs))
        return self._numbers()[name]

    def _group_id(self) -> int:
        for told in self._pages("/api/v2/groups", {}, ""):
            for row in told["groups"]:
                if row["name"] == self.words.place:
                    return int(row["id"])
        raise Rejected(_("The ticket store has no group “%(group)s”.", group=self.words.place))

    def _log_in_flaws(self) -> list[Flaw]:
        if self._tokens is not None:
            return []
        mend = _(
            "Create a client: Admin Center → Apps and integrations → APIs → OAuth clients → Add OAuth client, kind"
            " “Confidential”, as the administrator that the app is; then set FIELDAPP_STORE_USER to its identifier and"
            " FIELDAPP_STORE_SECRET to its secret."
        )
        return [Flaw(says=_("Zendesk switches API tokens off on 30 April 2027."), mend=mend)]

    def _place_flaws(self) -> list[Flaw]:
        if not self.words.place:
            return []
        try:
            self._group_id()
        except Rejected as error:
            return [Flaw(says=str(error), mend=_("Name one of its groups as “place” in the mapping."))]
        return []

    def _field_flaws(self) -> list[Flaw]:
        there = self._numbers()
        return [
            Flaw(
                says=_("The custom field “%(name)s” is missing.", name=theirs),
                mend=_(
                    "Create it so: Admin Center → Objects and rules → Tickets → Fields → Add field, type “Text”, title %(name)s; or write the number of another field in the mapping.",
                    name=theirs,
                ),
            )
            for name, theirs in self.words.fields.items()
            if name not in there
        ]

    def _word_flaws(self) -> list[Flaw]:
        return [
            *self._unknown_words("status", self.words.statuses, _("status")),
            *self._unknown_words("priority", self.words.priorities, _("priority")),
        ]

    def _unknown_words(self, field: str, words: Words, kind: str) -> list[Flaw]:
        """Words that an agent cannot choose here: the status “hold” must be switched on in the account."""
        options = [row.get("system_field_options") or () for row in self._fields if row.get("type") == field]
        known = {str(each["value"]) for each in (options[0] if options else ())}
        unknown = sorted(set(words.write.values()) - known) if known else []
        mend = _("Write one of these in the mapping: %(words)s.", words=", ".join(sorted(known)))
        return [
            Flaw(says=_("The store knows no %(kind)s “%(word)s”.", kind=kind, word=word), mend=mend) for word in unknown
        ]


def _role_flaws(me: Mapping[str, Any]) -> list[Flaw]:
    if me.get("role") == "admin":
        return []
    return [
        Flaw(
            says=_("The token's user “%(user)s” is no administrator.", user=me.get("email") or ""),
            mend=_(
                "Make the user an administrator: Zendesk tells changes (incremental export) to administrators only."
            ),
        )
    ]


# ---- what an update says ------------------------------------------------------------------------------------


def _guarded(change: Change, row: Mapping[str, Any], status: str | None) -> dict[str, Any]:
    """The status, and the moment after which nobody may have changed the ticket."""
    if status is None:
        return {}
    stamp = {"safe_update": True, "updated_stamp": row["updated_at"]} if change.base is not None else {}
    return {"status": status, **stamp}


def _said(change: Change) -> dict[str, str]:
    return {"fieldapp": change.uid}


def _is_stale(change: Change, row: Mapping[str, Any]) -> bool:
    return change.base is not None and change.base != _version(row)


def _version(row: Mapping[str, Any]) -> str:
    """Times have a grain of a second: what the ticket says counts as well."""
    fields = sorted(([each["id"], each["value"]] for each in row.get("custom_fields") or ()), key=lambda each: each[0])
    parts = [row.get(name) for name in ("status", "priority", "subject", "assignee_id", "group_id")]
    said = json.dumps([*parts, sorted(row.get("tags") or ()), fields], default=str)
    return f"{row['updated_at']}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _closed_for_good(ref: str) -> str:
    return _(
        "Ticket %(number)s is closed for good and takes nothing more: file a follow-up of it in the ticket store.",
        number=ref,
    )


def _path(ref: str) -> str:
    return f"/api/v2/tickets/{quote(ref, safe='')}"


def _shielded(text: str) -> str:
    return text.replace("{{", "{" + SHIELD + "{").replace("{%", "{" + SHIELD + "%")


def _unshielded(text: str) -> str:
    return text.replace("{" + SHIELD, "{")


def _if_ours(word: str | None, known: Sequence[str]) -> str:
    return word if word and word in known else ""


# ---- comments -----------------------------------------------------------------------------------------------


def _note(comment: Mapping[str, Any]) -> StoreNote:
    read = marks.read(_unshielded(comment["body"]))
    return StoreNote(
        ref=str(comment["id"]),
        at=datetime.fromisoformat(comment["created_at"]),
        author=read.author if read.uid else str(comment["author"]),
        text=read.text,
        uid=read.uid,
        files=_files(comment),
    )


def _files(comment: Mapping[str, Any]) -> tuple[StoreFile, ...]:
    return tuple(
        StoreFile(
            name=str(each["file_name"]),
            media_type=str(each["content_type"]),
            size=int(each["size"]),
            sha256=None,
            ref=str(each["id"]),
        )
        for each in comment.get("attachments") or ()
        if not each.get("deleted")
    )


def _receipt(uid: str, ticket: str, comment: Mapping[str, Any], *, complete: bool) -> Receipt:
    return Receipt(uid=uid, ticket=ticket, ref=str(comment["id"]), complete=complete)


# ---- webhooks -----------------------------------------------------------------------------------------------


def _is_recent(stamp: str) -> bool:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return False
    return moment.tzinfo is not None and abs(clock.now() - moment) <= TOLERANCE


def _ticket_named(body: bytes) -> str:
    """As our set-up has the trigger say it (``ticket_id``), or as Zendesk's own events do (``detail.id``)."""
    try:
        told = json.loads(body)
        return str(int(told["ticket_id"] if "ticket_id" in told else told["detail"]["id"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(_("The ticket store's message names no ticket.")) from error
