"""A phone in Python: what the pages' scripts do with a queue, so that thousands of broken journeys can be tried.

State first, send second, delete never until a receipt is stored (design of the offline part). What lies on the phone's
disk survives ``reboot``; everything else is gone. Nothing sleeps: ``step`` tries the one thing that is due and ``wait``
lets the phone's time pass. The same random source and the same answers give the same phone.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Flask
from werkzeug.test import Client

RANGE = 64 * 1024  # bytes of a photo in one request
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
TIMEOUT_S = 30.0
ZONE, OFFSET = "Asia/Shanghai", timezone(timedelta(hours=8))
FORM_VERSION = "2"
TRY_AGAIN = frozenset({408, 425, 429})
LEADS_TO = {
    "acceptance": "accepted",
    "refusal": "",
    "departure": "traveling",
    "arrival": "arrived",
    "start": "working",
    "pause": "paused",
    "resumption": "working",
    "inability": "cannot_complete",
    "absence": "no_show",
    "completion": "completed",
    "backup-acknowledgement": None,  # moves no state
}


class NoAnswer(Exception):
    """The network gave nothing: refused, reset, cut, or silent for too long."""


class Died(Exception):
    """The phone lost its power before it could write down what it had just heard."""


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any] | None:
        """The body, when it is a JSON object and says so."""
        if not self.headers.get("content-type", "").startswith("application/json"):
            return None
        try:
            said = json.loads(self.body)
        except ValueError:
            return None
        return said if isinstance(said, dict) else None


# (method, path, headers, body) → Answer; raises NoAnswer
Transport = Callable[[str, str, dict[str, str], bytes], Answer]


def over_tcp(port: int, timeout_s: float = TIMEOUT_S) -> Transport:
    """A new connection to this machine for each request: what a proxy spoils stays spoiled."""

    def send(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            said = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, said, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(repr(error)) from error
        finally:
            connection.close()

    return send


def into(app: Flask) -> Transport:
    """Into the app without sockets."""
    browser = Client(app, use_cookies=False)

    def send(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        answer = browser.open(path, method=method, headers=headers, data=body)
        said = {name.lower(): value for name, value in answer.headers.items()}
        got = Answer(answer.status_code, said, answer.get_data())
        answer.close()
        return got

    return send


# ---- what lies on the disk --------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One submission, frozen: the same bytes each time it is sent."""

    sequence: int
    id: str
    path: str
    body: bytes
    sha256: str
    device_at: str
    visit: str
    leads_to: str | None
    base_revision: int | None
    photos: tuple[str, ...]
    epoch: int


@dataclass
class Sending:
    """How often an item was tried, when next (seconds of the phone's uptime), and why it needs a person."""

    attempts: int = 0
    next_at: float = 0.0
    attention: str = ""


@dataclass
class Blob:
    """A photo's bytes. ``offset``: what the office has, None until it was asked; ``error``: why it stopped."""

    content: bytes
    offset: int | None = None
    arrived: bool = False
    error: str = ""
    attempts: int = 0
    next_at: float = 0.0


@dataclass
class Draft:
    """The open record of a visit: what the page said when it was opened, and what was typed since."""

    revision: int | None
    base: dict[str, list[str]]
    fields: dict[str, list[str]]
    photos: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Disk:
    """What survives a reboot. Items are kept after their receipt: a restored office may ask for them again."""

    device: str
    sequence: int = 0
    server: str | None = None
    epoch: int = 0
    drafts: dict[str, Draft] = field(default_factory=dict)
    outbox: dict[int, Item] = field(default_factory=dict)
    sending: dict[str, Sending] = field(default_factory=dict)
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)


@dataclass
class Told:
    """What the engineer saw on the screen, kept by the test: the promises that must hold whatever happens.

    ``saved``: id → item that was shown as saved on this phone; ``received``: id → epoch of the office that had it.
    """

    saved: dict[str, Item] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)


@dataclass
class Counts:
    """For reports on long runs."""

    sent: int = 0
    no_answer: int = 0
    not_ours: int = 0
    again: int = 0
    refused: int = 0
    replayed: int = 0
    ranges: int = 0


# ---- the phone --------------------------------------------------------------------------------------


class Phone:
    """One engineer's browser. ``user`` is their id, ``cookie`` their session, ``clock`` the true time.

    ``wrong_by`` is how far the phone's own clock is off; ``paused``: the office asked for a log-in.
    """

    def __init__(
        self,
        user: str,
        cookie: str,
        transport: Transport,
        rng: random.Random,
        *,
        clock: Callable[[], datetime],
        disk: Disk | None = None,
    ) -> None:
        self.user, self.cookie, self.transport, self.rng, self.clock = user, cookie, transport, rng, clock
        self.disk = disk or Disk(device=str(UUID(int=rng.getrandbits(128), version=4)))
        self.wrong_by = timedelta()
        self.uptime = 0.0
        self.paused = False
        self.dies_before_storing = False
        self.told, self.counts = Told(), Counts()

    # ---- time and power

    def now(self) -> datetime:
        """The phone's own idea of the time."""
        return (self.clock() + self.wrong_by).astimezone(OFFSET)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.uptime += seconds

    def reboot(self) -> None:
        """Power off and on: only what lies on the disk is left, as bytes."""
        self.disk = pickle.loads(pickle.dumps(self.disk))  # noqa: S301 - our own bytes
        self.paused = self.dies_before_storing = False
        self.uptime = 0.0
        for each in (*self.disk.sending.values(), *self.disk.blobs.values()):
            each.next_at = 0.0

    def log_in(self, cookie: str) -> None:
        """The engineer logged in again: the queue goes on by itself."""
        self.cookie, self.paused = cookie, False

    # ---- what the engineer does

    def tap(self, visit: str, noun: str, **fields: str) -> Item:
        """A step of a visit: a small form, caught and kept."""
        return self.enqueue(f"/visits/{visit}/{noun}", list(fields.items()), visit=visit, leads_to=LEADS_TO[noun])

    def open_record(self, visit: str, base: Mapping[str, Sequence[str]], revision: int | None) -> None:
        """Open the record's page as it was last read; a draft that lies here already stays."""
        fields = {name: list(values) for name, values in base.items()}
        self.disk.drafts.setdefault(visit, Draft(revision, fields, dict(fields)))

    def write(self, visit: str, **fields: str) -> None:
        """Type into the open record."""
        self.disk.drafts[visit].fields.update({name: [value] for name, value in fields.items()})

    def take_photo(self, visit: str, picture: bytes, *, kind: str = "after", caption: str = "") -> str:
        """A photo for the open record; its hash."""
        sha256 = hashlib.sha256(picture).hexdigest()
        self.disk.blobs.setdefault(sha256, Blob(picture))
        row = {"sha256": sha256, "size": len(picture), "kind": kind, "caption": caption}
        row |= {"taken_at": self.now().isoformat(timespec="milliseconds"), "width": 320, "height": 240}
        photos = self.disk.drafts[visit].photos
        if all(each["sha256"] != sha256 for each in photos):
            photos.append(row)
        return sha256

    def complete(self, visit: str, customer: Mapping[str, str], engineer: Mapping[str, str]) -> Item:
        """Freeze the draft with both signatures into one submission; the draft is finished by it."""
        draft = self.disk.drafts[visit]
        now = self.now().isoformat(timespec="milliseconds")
        base = {"revision": draft.revision, "fields": draft.base}
        signed = {**customer, "customer_at": now, **engineer, "engineer_at": now}
        shown = _canonical(shown_to_customer(visit, draft, customer))
        more = {
            **signed,
            "photos": _canonical(draft.photos),
            "base": _canonical(base),
            "shown": shown,
            "shown_sha256": hashlib.sha256(shown.encode()).hexdigest(),
            "form_version": FORM_VERSION,
            "whole": "1",
        }
        fields = [(name, value) for name, values in draft.fields.items() if name not in more for value in values]
        photos = tuple(each["sha256"] for each in draft.photos)
        item = self.enqueue(
            f"/visits/{visit}/completion",
            [*fields, *more.items()],
            visit=visit,
            leads_to="completed",
            photos=photos,
            base_revision=draft.revision,
        )
        del self.disk.drafts[visit]
        return item

    def enqueue(
        self,
        path: str,
        fields: list[tuple[str, str]],
        *,
        visit: str = "",
        leads_to: str | None = None,
        photos: tuple[str, ...] = (),
        base_revision: int | None = None,
    ) -> Item:
        """Freeze a form into bytes and write it down with the next sequence number, in one transaction."""
        number = self._uuid7()
        body = urlencode([*fields, ("submission_id", number)]).encode()
        item = Item(
            sequence=self.disk.sequence + 1,
            id=number,
            path=path,
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
            device_at=self.now().isoformat(timespec="milliseconds"),
            visit=visit,
            leads_to=leads_to,
            base_revision=base_revision,
            photos=photos,
            epoch=self.disk.epoch,
        )
        self.disk.sequence = item.sequence
        self.disk.outbox[item.sequence] = item
        self.disk.sending[item.id] = Sending()
        self.told.saved[item.id] = item
        return item

    # ---- what the engineer sees

    def waiting(self) -> list[Item]:
        """Items on their way, in order; those that need a person are not among them."""
        return [item for item in self._unreceived() if not self.disk.sending[item.id].attention]

    def attention(self) -> dict[str, str]:
        """Items that need a person, with the reason."""
        reasons = {item.id: self.disk.sending[item.id].attention for item in self._unreceived()}
        return {number: reason for number, reason in reasons.items() if reason}

    def photos_waiting(self) -> list[str]:
        """Photos that a sent record names and the office does not have yet."""
        named = {
            sha: None for item in self.disk.outbox.values() if item.id in self.disk.receipts for sha in item.photos
        }
        return [sha for sha in named if not self.disk.blobs[sha].arrived]

    @property
    def drained(self) -> bool:
        """Nothing of this phone is on its way any more."""
        return not self.waiting() and not [sha for sha in self.photos_waiting() if not self.disk.blobs[sha].error]

    # ---- sending

    def step(self) -> str | None:
        """Try the one thing that is due and say what became of it; None when nothing is due.

        ``received`` · ``no answer`` · ``not ours`` · ``again`` · ``log in`` · ``attention`` · ``range`` · ``arrived``
        """
        if self.paused:
            return None
        if item := self._due():
            return self._send(item)
        if sha256 := self._due_photo():
            return self._upload(sha256)
        return None

    def settle(self, most: int = 2000) -> None:
        """Let time pass and try until nothing is on its way (AssertionError after ``most`` tries)."""
        for _n in range(most):
            if self.paused or self.drained:
                return
            if self.step() is None:
                self.wait(LONGEST_WAIT_S)
        raise AssertionError(f"the queue does not drain: {[item.path for item in self.waiting()]}")

    def contact(self) -> dict[str, Any] | None:
        """Say that we live; the office's answer, None when there was none."""
        waiting = self.waiting()
        form = {
            "device": self.disk.device,
            "waiting": str(len(waiting)),
            "attention": str(len(self.attention())),
            "oldest_at": waiting[0].device_at if waiting else "",
            "build": "tests",
            "storage_used": str(sum(len(blob.content) for blob in self.disk.blobs.values())),
            "storage_quota": str(2**30),
            "sent_at": self.now().isoformat(timespec="milliseconds"),
        }
        try:
            answer = self._ask("POST", "/offline/contact", {}, urlencode(form).encode())
        except NoAnswer:
            return None
        said = answer.json
        if answer.status == 401:
            self.paused = True
        if answer.status != 200 or said is None or not said.get("server") or "now" not in said:
            return None
        if said.get("user") != self.user:  # somebody else's session must not carry this person's work
            self.paused = True
            return None
        self._learn(said)
        return said

    def headers(self, item: Item) -> dict[str, str]:
        """What goes with an item each time it is sent; only the moment of sending and the count differ."""
        waiting = self.waiting()
        digest = base64.b64encode(bytes.fromhex(item.sha256)).decode()
        said = {
            "Idempotency-Key": item.id,
            "X-Body-SHA256": item.sha256,
            "Content-Digest": f"sha-256=:{digest}:",
            "X-Device": self.disk.device,
            "X-Sequence": str(item.sequence),
            "X-Device-At": item.device_at,
            "X-Sent-At": self.now().isoformat(timespec="milliseconds"),
            "X-Time-Zone": ZONE,
            "X-Form-Version": FORM_VERSION,
            "X-Waiting": str(max(1, len(waiting))),
            "X-Oldest": (waiting[0] if waiting else item).device_at,
        }
        return said if item.base_revision is None else {**said, "X-Base-Revision": str(item.base_revision)}

    def _due(self) -> Item | None:
        """Of the items that head a lane (the items of one visit are one) and may be tried now, the one that failed least."""
        lanes: dict[str, Item] = {}
        for item in self.waiting():
            lanes.setdefault(item.visit, item)
        due = [item for item in lanes.values() if self.disk.sending[item.id].next_at <= self.uptime]
        return min(due, key=lambda item: (self.disk.sending[item.id].attempts, item.sequence), default=None)

    def _send(self, item: Item) -> str:
        sending = self.disk.sending[item.id]
        self.counts.sent += 1
        self.counts.again += sending.attempts > 0
        try:
            answer = self._ask("POST", item.path, self.headers(item), item.body)
        except NoAnswer:
            self.counts.no_answer += 1
            return self._later(sending, "no answer")
        self._maybe_die()
        said = answer.json
        if answer.status in (200, 201):
            if said is None or not self._ours(item, said):
                self.counts.not_ours += 1
                return self._later(sending, "not ours")
            self._learn(said)
            return self._received(item, said)
        return self._refused(answer, sending)

    def _received(self, item: Item, receipt: dict[str, Any]) -> str:
        self.disk.receipts[item.id] = receipt
        self.told.received[item.id] = self.disk.epoch
        self.counts.replayed += bool(receipt.get("replayed"))
        return "received"

    def _refused(self, answer: Answer, stopped: Sending | Blob) -> str:
        """The table of answers below 200/201. Only an error in our own words stops anything: a stranger's is no answer."""
        said = answer.json or {}
        error = str(said.get("error", ""))
        if answer.status == 401:
            self.paused = True
            return "log in"
        if error == "digest_mismatch":  # the bytes here are what was frozen (checked), so it was the way
            return self._later(stopped, "again")
        ours_and_final = (
            (error or answer.status == 413) and 400 <= answer.status < 500 and answer.status not in TRY_AGAIN
        )
        if ours_and_final and not (answer.status == 409 and error == "in_progress"):
            self.counts.refused += 1
            reason = f"{answer.status} {error}: {said.get('message', '')} {said.get('fields', '')}"
            if isinstance(stopped, Sending):
                stopped.attention = reason
            else:
                stopped.error = reason
            return "attention"
        return self._later(stopped, "again", answer.headers.get("retry-after", ""))

    def _later(self, stopped: Sending | Blob, why: str, retry_after: str = "") -> str:
        """Full jitter, doubling, at most five minutes; what the office asks for wins. Never gives up."""
        most = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(stopped.attempts, 12))
        stopped.attempts += 1
        wait = float(retry_after) if retry_after.isdecimal() else self.rng.uniform(0, most)
        stopped.next_at = self.uptime + wait
        return why

    def _ours(self, item: Item, receipt: dict[str, Any]) -> bool:
        """A receipt is ours when it names this very submission, these very bytes, and who has them since when."""
        same = receipt.get("submission_id") == item.id and receipt.get("body_sha256") == item.sha256
        return same and bool(receipt.get("server")) and bool(receipt.get("received_at"))

    def _learn(self, said: dict[str, Any]) -> None:
        """Which office this is. Another one, or one restored from a backup (a newer epoch), gets everything again."""
        server, epoch = str(said["server"]), int(said.get("epoch", 1))
        known = self.disk.server
        if known == server and epoch <= self.disk.epoch:
            return
        self.disk.server, self.disk.epoch = server, epoch
        if known is not None:
            self._start_over()

    def _start_over(self) -> None:
        for number in self.disk.receipts:
            self.disk.sending[number] = Sending()
        self.disk.receipts.clear()
        for blob in self.disk.blobs.values():
            blob.arrived, blob.offset, blob.error = False, None, ""

    # ---- photos

    def _due_photo(self) -> str | None:
        for sha256 in self.photos_waiting():
            blob = self.disk.blobs[sha256]
            if not blob.error and blob.next_at <= self.uptime:
                return sha256
        return None

    def _upload(self, sha256: str) -> str:
        """Ask how far it came, or send the next range."""
        blob = self.disk.blobs[sha256]
        try:
            if blob.offset is None:
                return self._ask_offset(sha256, blob)
            return self._send_range(sha256, blob, blob.offset)
        except NoAnswer:
            self.counts.no_answer += 1
            blob.offset = None
            return self._later(blob, "no answer")

    def _ask_offset(self, sha256: str, blob: Blob) -> str:
        answer = self._ask("HEAD", f"/photos/{sha256}", {}, b"")
        self._maybe_die()
        if answer.status == 401:
            self.paused = True
            return "log in"
        offset = answer.headers.get("upload-offset", "")
        if answer.status != 200 or not offset.isdecimal():
            return self._later(blob, "not ours")
        blob.offset, blob.arrived = int(offset), answer.headers.get("upload-complete") == "?1"
        return "arrived" if blob.arrived else "range"

    def _send_range(self, sha256: str, blob: Blob, offset: int) -> str:
        self.counts.ranges += 1
        headers = {
            "Upload-Length": str(len(blob.content)),
            "Upload-Offset": str(offset),
            "Content-Type": "application/octet-stream",
        }
        answer = self._ask("PUT", f"/photos/{sha256}", headers, blob.content[offset : offset + RANGE])
        self._maybe_die()
        said = answer.json or {}
        error = said.get("error")
        if answer.status == 409 and error == "offset" and isinstance(said.get("offset"), int):
            blob.offset = said["offset"]
            return "range"
        if answer.status == 422 and error == "digest_mismatch":
            return self._start_photo_again(sha256, blob)
        if answer.status != 200:
            blob.offset = None
            return self._refused(answer, blob)
        if said.get("sha256") != sha256 or not said.get("server") or not isinstance(said.get("offset"), int):
            blob.offset = None
            return self._later(blob, "not ours")
        blob.offset, blob.arrived, blob.attempts = said["offset"], bool(said.get("complete")), 0
        return "arrived" if blob.arrived else "range"

    def _start_photo_again(self, sha256: str, blob: Blob) -> str:
        """The office got other bytes than these: is it us? If our own are what their name says, once more from the start."""
        if hashlib.sha256(blob.content).hexdigest() != sha256:
            blob.error = "this photo is damaged on the phone"
            return "attention"
        blob.offset = 0
        return self._later(blob, "again")

    # ---- below

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        common = {
            "Accept": "application/json",
            "Sec-Fetch-Site": "same-origin",
            "Cookie": self.cookie,
            "X-User": self.user,
            "User-Agent": "a phone of the tests",
        }
        if method == "POST":
            common["Content-Type"] = "application/x-www-form-urlencoded"
        return self.transport(method, path, {**common, **headers}, body)

    def _maybe_die(self) -> None:
        if self.dies_before_storing:
            self.dies_before_storing = False
            raise Died

    def _unreceived(self) -> list[Item]:
        return [item for _n, item in sorted(self.disk.outbox.items()) if item.id not in self.disk.receipts]

    def _uuid7(self) -> str:
        """A key from this phone's clock, which may be wrong: it gives order on the page, nothing depends on it."""
        milliseconds = max(0, int(self.now().timestamp() * 1000))
        number = (milliseconds & (2**48 - 1)) << 80 | self.rng.getrandbits(80)
        return str(UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


SHOWN = (
    "cause content_text customer_name outcome prevention remark service_type solution started_at ended_at "
    "times_reason tools contact_phone skill_rating attitude_rating signer_name"
).split()
ROWS = {"parts": ("name", "quantity", "serial", "old_serial"), "open_items": ("text", "cause", "part", "promised_by")}


def shown_to_customer(visit: str, draft: Draft, signed: Mapping[str, str]) -> dict[str, Any]:
    """What the customer's screen displays (static/js/offline/shown.js): every value as it will be sent."""
    fields = {name: values[0] for name, values in draft.fields.items() if values} | dict(signed)
    return {
        "form_version": FORM_VERSION,
        "consent": "customer/1",
        "visit": visit,
        "photos": [each["sha256"] for each in draft.photos],
        **{name: fields.get(name, "") for name in SHOWN},
        **{name: _rows(fields, name, columns) for name, columns in ROWS.items()},
        "solved": list(draft.fields.get("solved", [])),
    }


def _rows(fields: Mapping[str, str], name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows that say something in their first column."""
    numbers = [key.split("-")[1] for key, text in fields.items() if _leads(key, name, columns[0]) and text.strip()]
    return [{column: fields.get(f"{name}-{number}-{column}", "") for column in columns} for number in numbers]


def _leads(key: str, name: str, leading: str) -> bool:
    return key.startswith(f"{name}-") and key.endswith(f"-{leading}")


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def true_time() -> datetime:
    """The clock of the world outside the phone."""
    return datetime.now(UTC)
