"""Any ticket system, through a small bridge that its owner writes: requests signed by the Standard Webhooks specification
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), and a few things to read.

The bridge takes each ``webhook-id`` once and says under ``/receipts/<uid>`` what came of it. A GET has no body, so its
signature covers ``GET`` and the part of the address after the bridge's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fieldapp import clock
from fieldapp.extensions import uuid7
from fieldapp.i18n import _
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.mapping import OURS, StoreMapping, Words
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

PROTOCOL = 1
MB = 1024 * 1024
SHORTEST_KEY, LONGEST_KEY = 24, 64  # bytes, by the specification
SECTIONS = {"channel": "channels", "type": "types", "priority": "priorities"}  # fields that have words of their own
DEFAULTS = replace(
    StoreMapping(options={"max_file_mb": "20"}),
    **{name: Words({each: each for each in words}, {each: each for each in words}) for name, words in OURS.items()},  # type: ignore[arg-type]
)


@dataclass(frozen=True)
class _Told:
    """What the bridge says about one uid: our receipt, and why it is not complete."""

    receipt: Receipt
    left_status: bool
    sha256s: tuple[str, ...]


@carefully
class WebhookStore:
    """A bridge to some other ticket system. It takes each uid once, so find and write cannot race."""

    name = "webhook"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.words = DEFAULTS.changed(connection.words)
        most = self.words.options["max_file_mb"]
        self.caps = Caps(
            delta="cursor",
            find="unique",
            guard="match",
            atomic=True,
            max_file=int(most) * MB if most.isdecimal() else None,
        )
        self._wire = Wire(connection)

    # ---- reading ----------------------------------------------------------------------------------------

    def changes(self, cursor: str, limit: int) -> Page:
        page = self._read(f"/tickets?{urlencode({'after': cursor, 'limit': limit})}")
        tickets = tuple(self._ticket(each) for each in page["tickets"])
        return Page(tickets=tickets, cursor=_text(page["cursor"]), more=page["more"] is True)

    def ticket(self, ref: str) -> StoreTicket:
        told = self._read(f"/tickets/{_quoted(ref)}")
        return self._ticket(told)

    def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
        page = self._read(f"/tickets?{urlencode({'customer': customer, 'limit': limit})}")
        return tuple(self._ticket(each) for each in page["tickets"][:limit])

    def thread(self, ticket: str) -> tuple[StoreNote, ...]:
        page = self._read(f"/tickets/{_quoted(ticket)}/notes")
        return tuple(_note(each) for each in page["notes"])

    def content(self, file: StoreFile) -> bytes:
        return self._get(f"/files/{_quoted(file.ref)}").body

    def find(self, uid: str, ticket: str) -> Receipt | None:
        told = self._told(uid)
        return told.receipt if told is not None and told.receipt.ticket == ticket else None

    # ---- writing ----------------------------------------------------------------------------------------

    def push(self, change: Change) -> Receipt:
        word = self.words.statuses.theirs(change.status) if change.status else None
        told = self._told(change.uid)
        if told is not None and told.receipt.ticket != change.ticket:
            raise Rejected(_("This entry already stands in ticket %(number)s.", number=told.receipt.ticket))
        if change.status and word is None:
            raise Rejected(_("The ticket store has no word for the status “%(status)s”.", status=change.status))
        if told is None or not (told.receipt.complete or told.left_status):
            self._post("/changes", "change", change.uid, _change(change, word))
            told = self._told(change.uid)
        return _settled(told, change)

    def create(self, new: NewTicket) -> StoreTicket:
        if not new.subject.strip():
            raise Rejected(_("A ticket needs a subject."))
        told = self._told(new.uid)
        if told is None:
            self._post("/tickets", "ticket", new.uid, self._new(new))
            told = self._told(new.uid)
        if told is None:
            raise Retry(_("The ticket store has not filed the ticket yet."))
        return self.ticket(told.receipt.ticket)

    def _new(self, new: NewTicket) -> dict[str, Any]:
        fields = {name: self._their_word(name, word) for name, word in new.fields.items()}
        return {
            "subject": new.subject,
            "text": new.text,
            "customer": new.customer,
            "asset": new.asset,
            "status": self.words.statuses.theirs("new"),
            "fields": fields,
        }

    # ---- what is asked of the bridge --------------------------------------------------------------------

    def check(self) -> tuple[Flaw, ...]:
        about = self._read("/about")
        if about["protocol"] != PROTOCOL:
            return (_other_protocol(about["protocol"]),)
        known = {_text(each).casefold() for each in about["statuses"]}
        words = {word for word in self.words.statuses.write.values() if word}
        return tuple(_unknown_status(word) for word in sorted(words) if word.casefold() not in known)

    def heard(self, headers: Mapping[str, str], body: bytes) -> tuple[Hint, ...]:
        """Signed as the specification says, at most five minutes ago; ``{"type": "ticket.changed", "data": {"ticket": …}}``."""
        try:
            _signer(self.connection.hook_secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # a mangled header is not told apart by the package
            raise Denied(_("The message does not prove that it comes from the ticket store.")) from error
        try:
            ref = json.loads(body)["data"]["ticket"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Rejected(_("The message names no ticket.")) from error
        if not isinstance(ref, str) or not ref:
            raise Rejected(_("The message names no ticket."))
        given = {name.lower(): value for name, value in headers.items()}
        return (Hint(id=given["webhook-id"], ticket=ref),)

    def _told(self, uid: str) -> _Told | None:
        answer = self._get(f"/receipts/{_quoted(uid)}", accept=(404,))
        if answer.status == 404:
            return None
        told = answer.json()
        receipt = Receipt(
            uid=_text(told["uid"]),
            ticket=_text(told["ticket"]),
            ref=_text(told["ref"]),
            complete=told["complete"] is True,
        )
        if receipt.uid != uid:
            raise ValueError("uid")
        hashes = tuple(_text(each["sha256"]) for each in told.get("files", ()))
        return _Told(receipt, told.get("left_status") is True, hashes)

    def _read(self, path: str) -> Any:
        return self._get(path).json()

    def _get(self, path: str, accept: tuple[int, ...] = ()) -> Answer:
        return self._wire.ask("GET", path, headers=self._signed(str(uuid7()), f"GET {path}"), accept=accept)

    def _post(self, path: str, kind: str, uid: str, data: dict[str, Any]) -> None:
        """What is answered counts for nothing but its refusal: what became of it is read back."""
        body = json.dumps({"type": kind, "timestamp": clock.now().isoformat(), "data": data}, ensure_ascii=False)
        headers = {"Content-Type": "application/json", **self._signed(uid, body)}
        self._wire.ask("POST", path, data=body.encode(), headers=headers)

    def _signed(self, uid: str, content: str) -> dict[str, str]:
        now = clock.now()
        return {
            "webhook-id": uid,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": _signer(self.connection.secret).sign(uid, now, content),
        }

    # ---- the bridge's words -----------------------------------------------------------------------------

    def _ticket(self, told: Any) -> StoreTicket:
        fields = {name: self._our_word(name, _text(word)) for name, word in told.get("fields", {}).items()}
        return StoreTicket(
            ref=_text(told["ref"]),
            version=_text(told["version"]),
            opened=_moment(told["opened"]),
            updated=_moment(told["updated"]),
            subject=_text(told["subject"]),
            status=self.words.statuses.ours(_text(told["status"]), "in_progress"),
            text=_text(told.get("text") or ""),
            customer=told.get("customer") or None,
            asset=told.get("asset") or None,
            changed_by=_text(told.get("changed_by") or ""),
            merged_into=told.get("merged_into") or None,
            fields=fields,
        )

    def _our_word(self, name: str, theirs: str) -> str:
        return self._section(name).ours(theirs, theirs) if name in SECTIONS else theirs

    def _their_word(self, name: str, ours: str) -> str:
        return self._section(name).theirs(ours) or ours if name in SECTIONS else ours

    def _section(self, name: str) -> Words:
        words: Words = getattr(self.words, SECTIONS[name])
        return words


def _other_protocol(theirs: object) -> Flaw:
    return Flaw(
        says=_("The bridge speaks version %(theirs)s of the protocol, not %(ours)s.", theirs=theirs, ours=PROTOCOL),
        mend=_("Bring the bridge up to the protocol in docs/ticket-stores.md."),
    )


def _unknown_status(word: str) -> Flaw:
    return Flaw(
        says=_("The bridge does not know the status “%(word)s”.", word=word),
        mend=_("Add it there, or name another under [statuses.write] in the mapping."),
    )


def _settled(told: _Told | None, change: Change) -> Receipt:
    """The receipt as it was read back; anything less is not done yet."""
    if told is None:
        raise Retry(_("The ticket store has not taken the entry yet."))
    if told.left_status:
        sentence = _("Ticket %(number)s changed in the meantime; its status was left alone.", number=change.ticket)
        raise Conflict(sentence, receipt=told.receipt)
    ours = sorted(_sha256(file) for file in change.files)
    if not told.receipt.complete or sorted(told.sha256s) != ours:
        raise Retry(_("The entry in the ticket store is not complete yet."))
    return told.receipt


def _change(change: Change, word: str | None) -> dict[str, Any]:
    return {
        "ticket": change.ticket,
        "note": change.note,
        "author": change.author,
        "files": [_file(file) for file in change.files],
        "status": word,
        "base": change.base,
    }


def _file(file: NewFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "media_type": file.media_type,
        "size": len(file.content),
        "sha256": _sha256(file),
        "content": base64.b64encode(file.content).decode(),
    }


def _sha256(file: NewFile) -> str:
    return hashlib.sha256(file.content).hexdigest()


def _note(told: Any) -> StoreNote:
    files = tuple(
        StoreFile(
            name=_text(each["name"]),
            media_type=_text(each["media_type"]),
            size=int(each["size"]),
            sha256=_text(each["sha256"]),
            ref=_text(each["ref"]),
        )
        for each in told.get("files", ())
    )
    return StoreNote(
        ref=_text(told["ref"]),
        at=_moment(told["at"]),
        author=_text(told["author"]),
        text=_text(told["text"]),
        uid=told.get("uid") or None,
        files=files,
    )


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError(f"{told!r:.40} is not a text")
    return told


def _moment(told: Any) -> datetime:
    moment = datetime.fromisoformat(_text(told))
    if moment.tzinfo is None:
        raise ValueError(f"{told} has no time zone")
    return moment


def _quoted(ref: str) -> str:
    return quote(ref, safe="")


def _signer(secret: str) -> Webhook:
    """From ``whsec_`` and base64 (raises Denied, with the sentence of what to write)."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise Denied(_("A signing secret is whsec_ and the base64 of 24 to 64 random bytes."))
    return Webhook(key)
