"""Zammad: tickets over its REST API, with the token of an agent.

What is asked of it is answered from its database, not from its search index: a search by ``condition`` sees what was
written a moment ago, needs no Elasticsearch, and newer versions take the asterisk out of a ``query``, so that a range
without an end finds nothing there. Note, files and state go in by one request, which Zammad runs in one transaction.
It keeps no key against doubling: our mark is the note's last line, and a ticket of ours carries its uid in a field.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
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
    Retry,
    StoreFile,
    StoreNote,
    StoreTicket,
)
from fieldapp.tickets.wire import Answer, Wire

PENDING_DAYS = 7
DEFAULTS = StoreMapping(
    place="Users",
    statuses=Words(
        read={
            "new": "new",
            "open": "in_progress",
            "pending reminder": "waiting_customer",
            "pending close": "resolved",
            "closed": "closed",
            "merged": "closed",
            "removed": "closed",
        },
        write={
            "triaged": "open",
            "in_progress": "open",
            "reopened": "open",
            "waiting_customer": "pending reminder",
            "suspended": "pending reminder",
            "resolved": "closed",
            "closed": "closed",
        },
    ),
    priorities=Words(
        read={"1 low": "low", "2 normal": "normal", "3 high": "high"},
        write={"low": "1 low", "normal": "2 normal", "high": "3 high", "urgent": "3 high"},
    ),
    fields={
        "uid": "fieldapp_uid",
        "customer": "customer_number",
        "asset": "asset_serial",
        "channel": "service_channel",
        "type": "service_type",
        "contact": "contact_name",
        "contact_phone": "contact_phone",
        "named_engineer": "named_engineer",
        "site": "service_site",
    },
    options={
        "pending_days": str(PENDING_DAYS),
        "customer": "",
    },  # how long a pending state lasts; on whose name tickets are filed
)
BEGINNING = "1970-01-01T00:00:00.000Z"
LAG = timedelta(seconds=60)  # a long transaction shows its change only when it ends, under the time at which it began
MERGED = "merged"  # the state of a ticket that became a part of another; Zammad sets it, and nobody else
MOST_ROWS = 200  # of one search
LEFT = "fieldapp: status left to a person"  # the subject of a note whose status was not written
MAX_FILE = 36_000_000  # the web server that its packages set up takes 50 MB; base64 makes a file a third larger


@carefully
class ZammadStore:
    """Tickets are named by their id (the number that people see is a field)."""

    name = "zammad"
    caps = Caps(
        delta="since", find="scan", guard="none", atomic=True, lag_s=int(LAG.total_seconds()), max_file=MAX_FILE
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        self.wire = Wire(connection, headers={"Authorization": f"Token token={connection.secret}"})

    # ---- reading --------------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        """The cursor is ``time`` or ``time|page|rows``: the pages are only turned where many tickets have one time."""
        since, page, rows = _position(cursor, min(limit, MOST_ROWS))
        condition = {"updated_at": ("after (absolute)", since)}
        answer = self._search(condition, sort="updated_at,id", order="asc,asc", page=page, rows=rows)
        found = answer.json()
        tickets = tuple(self._told(row) for row in found)
        last = str(found[-1]["updated_at"]) if found else since
        if len(found) < rows:
            return Page(tickets=tickets, cursor=_settled(last, answer), more=False)
        onwards = last if last != since else f"{since}|{page + 1}|{rows}"
        return Page(tickets=tickets, cursor=onwards, more=True)

    def ticket(self, ref: str) -> StoreTicket:
        return self._told(self._row(ref))

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        condition = {self._field("customer"): ("is", customer)}
        found = self._search(condition, sort="created_at,id", order="desc,desc", page=1, rows=min(limit, MOST_ROWS))
        told = (self._told(row) for row in found.json() if row.get(self._field("customer")) == customer)
        return tuple(told)

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        return tuple(_note(article) for article in self._articles(ticket))

    def content(self, file: StoreFile) -> bytes:
        return self.wire.ask("GET", f"/api/v1/ticket_attachment/{quote(file.ref, safe='/')}").body

    def find(self, uid: str, ticket: str) -> Receipt | None:
        article = self._ours(uid, ticket)
        return None if article is None else _receipt(uid, ticket, article, complete=not _was_left(article))

    def check(self) -> tuple[Flaw, ...]:
        me = self.wire.ask("GET", "/api/v1/users/me", params={"expand": "true"}).json()
        return (*self._place_flaws(me), *self._word_flaws(), *self._field_flaws())

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """Zammad signs the body with the webhook's token and tells no time: what is played again is one hint again."""
        given = {name.casefold(): value for name, value in headers.items()}
        secret = self.connection.hook_secret
        ours = (
            "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
        )  # the only kind that Zammad signs with
        if not secret or not hmac.compare_digest(ours.encode(), given.get("x-hub-signature", "").encode()):
            raise Denied(_("This message does not prove that it comes from the ticket store."))
        try:
            ref = str(int(json.loads(body)["ticket"]["id"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Rejected(_("The ticket store's message names no ticket.")) from error
        return (Hint(id=given.get("x-zammad-delivery") or hashlib.sha256(body).hexdigest(), ticket=ref),)

    # ---- writing --------------------------------------------------------------------------------------------

    def push(self, change: Change) -> Receipt:
        article = self._ours(change.uid, change.ticket)
        state = self._state_for(change)
        if article is not None and (state is None or not _was_left(article)):
            return self._settle(change, article)
        row = self._row(change.ticket)
        if row["state"] == MERGED:
            raise Rejected(self._merged(change.ticket))
        if article is not None:
            return self._finish(change, row, article, state or "")
        if state and _is_stale(change, row):
            self._write_left(change)
            raise self._conflict(change)
        self._write(change, state)
        return self._read_back(change, state)

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        filed = self._filed(new.uid)
        if filed is None:
            self.wire.ask("POST", "/api/v1/tickets", json=self._filing(new))
            filed = self._filed(new.uid)
        if filed is None:
            raise Retry(_("The ticket was filed, but cannot be read back yet."))
        return self._told(filed)

    def _filed(self, uid: str) -> dict[str, Any] | None:
        """The ticket under our key. A condition that Zammad does not understand is no condition to it: then anything comes,
        and what does not carry the key is nothing to go by (raises Rejected)."""
        field = self._field("uid")
        found = listed(self._search({field: ("is", uid)}, sort="id", order="asc", page=1, rows=1).json())
        if found and found[0].get(field) != uid:
            raise Rejected(_("The store's search does not look at what it is asked for."))
        return found[0] if found else None

    def _write(self, change: Change, state: str | None, *, subject: str = "") -> None:
        """Note, files and state in one request: Zammad holds the ticket's lock until all of them are in."""
        article = {
            "subject": subject,
            "body": marks.mark(change.note, author=change.author, uid=change.uid),
            "content_type": "text/plain",
            "type": "note",
            "internal": True,
            "attachments": [_attached(file) for file in change.files],
        }
        try:
            self.wire.ask("PUT", _path(change.ticket), json={**self._new_state(state), "article": article})
        except Rejected as error:
            if state is None:
                raise
            self._write_left(change)
            raise Rejected(
                _("The note is in, but the ticket store does not take the status: %(why)s", why=error)
            ) from error

    def _write_left(self, change: Change) -> None:
        self._write(change, None, subject=LEFT)

    def _finish(self, change: Change, row: Mapping[str, Any], article: Mapping[str, Any], state: str) -> Receipt:
        """Our note stands there without its status: set it when nobody else has set one since."""
        if str(row["state"]).casefold() != state.casefold():
            if _is_stale(change, row):
                raise self._conflict(change)
            self.wire.ask("PUT", _path(change.ticket), json=self._new_state(state))
            if str(self._row(change.ticket)["state"]).casefold() != state.casefold():
                raise Retry(_("The note is in, but its status cannot be read back yet."))
        return _receipt(change.uid, change.ticket, article, complete=True)

    def _read_back(self, change: Change, state: str | None) -> Receipt:
        article = self._ours(change.uid, change.ticket)
        if article is None or change.missing_among(_files(article)):
            raise Retry(_("The note is in, but its files cannot be read back yet."))
        if state and str(self._row(change.ticket)["state"]).casefold() != state.casefold():
            raise Retry(_("The note is in, but its status cannot be read back yet."))
        return _receipt(change.uid, change.ticket, article, complete=not _was_left(article))

    def _settle(self, change: Change, article: Mapping[str, Any]) -> Receipt:
        """It stands there. A note takes no more files afterwards: what somebody took away is told, not sent again."""
        if names := change.missing_among(_files(article)):
            raise Rejected(_("The note stands in the ticket without its files: %(names)s.", names=", ".join(names)))
        return _receipt(change.uid, change.ticket, article, complete=not _was_left(article) or change.status is None)

    def _conflict(self, change: Change) -> Conflict:
        sentence = _("The ticket changed meanwhile: the note is in, its status is left to a person.")
        return Conflict(sentence, receipt=self.find(change.uid, change.ticket))

    def _merged(self, ref: str) -> str:
        target = self._merged_into(ref)
        number = self._row(target)["number"] if target else "?"
        return _(
            "Ticket %(number)s was merged into ticket %(target)s: nothing more is written to it.",
            number=ref,
            target=number,
        )

    def _state_for(self, change: Change) -> str | None:
        if change.status is None:
            return None
        state = self.words.statuses.theirs(change.status)
        if state is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        return state

    def _new_state(self, state: str | None) -> dict[str, Any]:
        """A pending state is refused without the moment at which it ends."""
        if state is None:
            return {}
        if not state.casefold().startswith("pending"):
            return {"state": state}
        days = self.words.options["pending_days"]
        until = clock.now() + timedelta(days=int(days) if days.isdigit() else PENDING_DAYS)
        return {"state": state, "pending_time": until.isoformat(timespec="seconds").replace("+00:00", "Z")}

    def _filing(self, new: NewTicket) -> dict[str, Any]:
        given = {**new.fields, "uid": new.uid, "customer": new.customer, "asset": new.asset}
        ours = {
            theirs: self._word(name, str(given[name])) for name, theirs in self.words.fields.items() if given.get(name)
        }
        return {
            **ours,
            "title": new.subject,
            "group": self.words.place,
            "priority": self.words.priorities.theirs(new.fields.get("priority", "normal")) or "2 normal",
            "customer": self.words.options["customer"] or self._my_login(),
            "article": {
                "body": new.text or new.subject,
                "content_type": "text/plain",
                "type": "note",
                "internal": False,
            },
        }

    def _word(self, name: str, value: str) -> str:
        sections = {"channel": self.words.channels, "type": self.words.types}
        return (sections[name].theirs(value) or value) if name in sections else value

    def _my_login(self) -> str:
        return str(self.wire.ask("GET", "/api/v1/users/me").json()["login"])

    # ---- rows -----------------------------------------------------------------------------------------------

    def _search(
        self, condition: Mapping[str, tuple[str, str]], *, sort: str, order: str, page: int, rows: int
    ) -> Answer:
        params: list[tuple[str, Any]] = [("expand", "true"), ("sort_by", sort), ("order_by", order)]
        params += [("page", page), ("per_page", rows)]
        for name, (operator, value) in condition.items():
            params.append((f"condition[ticket.{name}][operator]", operator))
            params.append((f"condition[ticket.{name}][value]", value))
        return self.wire.ask("GET", "/api/v1/tickets/search", params=params)

    def _row(self, ref: str) -> dict[str, Any]:
        answer = self.wire.ask("GET", _path(ref), params={"expand": "true"}, accept=(404,))
        if answer.status == 404:
            raise Rejected(_("There is no ticket %(number)s.", number=ref))
        row: dict[str, Any] = answer.json()
        return row

    def _articles(self, ref: str) -> list[dict[str, Any]]:
        """What was written after the first article, which is the ticket's own text unless a program filed it without any;
        what Zammad says itself is left out."""
        path = f"/api/v1/ticket_articles/by_ticket/{quote(ref, safe='')}"
        answer = self.wire.ask("GET", path, params={"expand": "true"}, accept=(404,))
        if answer.status == 404:
            raise Rejected(_("There is no ticket %(number)s.", number=ref))
        told = sorted(listed(answer.json()), key=lambda row: int(row["id"]))
        if not told and self._row(ref)["article_ids"]:  # to take this for "no note of ours" would be to write it again
            raise Retry(_("The ticket store shows nothing of what stands in ticket %(number)s.", number=ref))
        begun_without = bool(told) and marks.read(_text(told[0])).uid is not None
        return [row for row in told[0 if begun_without else 1 :] if row.get("sender") != "System"]

    def _ours(self, uid: str, ref: str) -> dict[str, Any] | None:
        """Our note, in the ticket or in the one that it was merged into: its articles went there."""
        mine = next((row for row in self._articles(ref) if marks.read(_text(row)).uid == uid), None)
        if mine is None and self._row(ref)["state"] == MERGED and (target := self._merged_into(ref)):
            return self._ours(uid, target)
        return mine

    def _told(self, row: Mapping[str, Any]) -> StoreTicket:
        fields = self._named(row)
        customer, asset = fields.pop("customer", None), fields.pop("asset", None)
        ref = str(row["id"])
        return StoreTicket(
            ref=ref,
            version=str(row["updated_at"]),
            opened=datetime.fromisoformat(row["created_at"]),
            updated=datetime.fromisoformat(row["updated_at"]),
            subject=str(row["title"]),
            status=self.words.statuses.ours(row.get("state"), "in_progress"),
            text=self._first_text(row),
            customer=customer,
            asset=asset,
            changed_by=str(row.get("updated_by") or ""),
            merged_into=self._merged_into(ref) if row.get("state") == MERGED else None,
            fields=fields,
        )

    def _named(self, row: Mapping[str, Any]) -> dict[str, str]:
        """What the ticket says under our names, in our words."""
        fields = {name: str(row.get(theirs) or "") for name, theirs in self.words.fields.items() if name != "uid"}
        fields["channel"] = self.words.channels.ours(fields.get("channel"), _if_ours(fields.get("channel"), CHANNELS))
        fields["type"] = self.words.types.ours(fields.get("type"), _if_ours(fields.get("type"), TYPES))
        fields["priority"] = self.words.priorities.ours(row.get("priority"), "normal")
        fields["number"] = str(row["number"])
        return {name: value for name, value in fields.items() if value}

    def _first_text(self, row: Mapping[str, Any]) -> str:
        """A merged ticket has given its articles away, and what it has instead says only that."""
        if not row.get("article_ids") or row["state"] == MERGED:
            return ""
        first = min(int(each) for each in row["article_ids"])
        answer = self.wire.ask("GET", f"/api/v1/ticket_articles/{first}", params={"expand": "true"}, accept=(404,))
        return _text(answer.json()) if answer.status == 200 else ""

    def _merged_into(self, ref: str) -> str | None:
        """Merging moves all links of a ticket, and leaves one of a parent and a child between the two."""
        params = {"link_object": "Ticket", "link_object_value": ref}
        links = self.wire.ask("GET", "/api/v1/links", params=params).json()["links"]
        kin = [str(link["link_object_value"]) for link in links if link["link_type"] in ("parent", "child")]
        return kin[-1] if kin else None

    # ---- does it fit? ---------------------------------------------------------------------------------------

    def _field(self, name: str) -> str:
        if name not in self.words.fields:
            raise Rejected(_("The mapping names no field of the ticket store for “%(name)s”.", name=name))
        return self.words.fields[name]

    def _place_flaws(self, me: Mapping[str, Any]) -> list[Flaw]:
        rights: list[str] = (me.get("groups") or {}).get(self.words.place, [])
        if {"read", "create", "change"} <= set(rights) or "full" in rights:
            return []
        return [
            Flaw(
                says=_("The token's user may not work in the group “%(group)s”.", group=self.words.place),
                mend=_(
                    "Give the user the role Agent and full access to that group, or name another group as “place” in the mapping."
                ),
            )
        ]

    def _word_flaws(self) -> list[Flaw]:
        return [
            *self._unknown_words("/api/v1/ticket_states", self.words.statuses, _("status")),
            *self._unknown_words("/api/v1/ticket_priorities", self.words.priorities, _("priority")),
        ]

    def _unknown_words(self, path: str, words: Words, kind: str) -> list[Flaw]:
        known = {row["name"].casefold() for row in self.wire.ask("GET", path).json() if row.get("active", True)}
        unknown = sorted({word for word in words.write.values() if word.casefold() not in known})
        mend = _("Write one of these in the mapping: %(words)s.", words=", ".join(sorted(known)))
        return [
            Flaw(says=_("The store knows no %(kind)s “%(word)s”.", kind=kind, word=word), mend=mend) for word in unknown
        ]

    def _field_flaws(self) -> list[Flaw]:
        """Every ticket shows all fields that there are, so that one ticket tells; an empty installation tells nothing."""
        rows = self.wire.ask("GET", "/api/v1/tickets", params={"per_page": 1, "page": 1, "expand": "true"}).json()
        if not rows:
            return []
        missing = [theirs for theirs in self.words.fields.values() if theirs not in rows[0]]
        flaws = [
            Flaw(
                says=_("The custom field “%(name)s” is missing.", name=name),
                mend=_(
                    "Create it so: Admin → Objects → Ticket → New attribute, name %(name)s, format “Text”, then “Update database”.",
                    name=name,
                ),
            )
            for name in missing
        ]
        return flaws or self._search_flaws(str(rows[0]["id"]))

    def _search_flaws(self, ref: str) -> list[Flaw]:
        found = self._search({"id": ("is", ref)}, sort="id", order="asc", page=1, rows=2).json()
        if [str(row["id"]) for row in found] == [ref]:
            return []
        return [
            Flaw(
                says=_("The store's search does not look at what it is asked for."),
                mend=_("Update Zammad: searching tickets by condition is needed."),
            )
        ]


# ---- the cursor ---------------------------------------------------------------------------------------------


def _position(cursor: str, rows: int) -> tuple[str, int, int]:
    """Time, page and rows a page; another page size begins at the time's first page again."""
    since, _bar, rest = (cursor or BEGINNING).partition("|")
    page, _bar, size = rest.partition("|")
    return (since, int(page), rows) if page.isdigit() and size == str(rows) else (since, 1, rows)


def _settled(last: str, answer: Answer) -> str:
    """The last time that was seen, but none that a transaction may still end behind; by the store's own clock."""
    steady = _their_now(answer) - LAG
    return last if datetime.fromisoformat(last) <= steady else _stamp(steady)


def _their_now(answer: Answer) -> datetime:
    """What the answer says; a header that says nothing sensible is as good as none."""
    try:
        moment = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return clock.now()
    return moment if moment.tzinfo else clock.now()


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- articles -----------------------------------------------------------------------------------------------


def _note(article: Mapping[str, Any]) -> StoreNote:
    read = marks.read(_text(article))
    return StoreNote(
        ref=str(article["id"]),
        at=datetime.fromisoformat(article["created_at"]),
        author=read.author if read.uid else str(article.get("from") or article.get("created_by") or ""),
        text=read.text,
        uid=read.uid,
        files=_files(article),
    )


def _files(article: Mapping[str, Any]) -> tuple[StoreFile, ...]:
    return tuple(
        StoreFile(
            name=str(each["filename"]),
            media_type=str((each.get("preferences") or {}).get("Mime-Type") or "application/octet-stream"),
            size=int(each.get("size") or 0),
            sha256=None,
            ref=f"{article['ticket_id']}/{article['id']}/{each['id']}",
        )
        for each in article.get("attachments") or ()
    )


def _attached(file: NewFile) -> dict[str, str]:
    return {
        "filename": file.name,
        "data": base64.b64encode(file.content).decode("ascii"),
        "mime-type": file.media_type,
    }


def _receipt(uid: str, ticket: str, article: Mapping[str, Any], *, complete: bool) -> Receipt:
    return Receipt(uid=uid, ticket=ticket, ref=str(article["id"]), complete=complete)


def _was_left(article: Mapping[str, Any]) -> bool:
    return article.get("subject") == LEFT


def _is_stale(change: Change, row: Mapping[str, Any]) -> bool:
    return change.base is not None and change.base != row["updated_at"]


def _path(ref: str) -> str:
    return f"/api/v1/tickets/{quote(ref, safe='')}"


def _if_ours(word: str | None, known: Sequence[str]) -> str:
    return word if word and word in known else ""


def _text(article: Mapping[str, Any]) -> str:
    body = article["body"] or ""
    if "html" not in str(article.get("content_type") or ""):
        return body
    reader = _Reader()
    reader.feed(body)
    reader.close()
    return "".join(reader.parts).strip()


class _Reader(HTMLParser):
    """The words of an HTML article, a line for each block."""

    BREAKS = frozenset({"br", "p", "div", "li", "tr", "blockquote"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.BREAKS and self.parts and not self.parts[-1].endswith("\n"):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
