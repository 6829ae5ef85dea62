"""A phone that cannot reach us gives its queue away as a file; the office hands that file in here.

Each item goes through the same door as if the phone had sent it, with its own number, so that a file that is handed in
twice, or after the phone has sent it all the same, does nothing twice. Who handed it in is audited.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import current_app, has_request_context, request
from sqlalchemy import column, select, table
from sqlalchemy.types import Uuid
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder, run_wsgi_app

from fieldapp import audit, clock
from fieldapp.audit import AuditEntry
from fieldapp.errors import Invalid, TooLarge
from fieldapp.extensions import db, in_operation, operation, settings
from fieldapp.i18n import _, ngettext
from fieldapp.offline.models import Case, Device, Submission
from fieldapp.offline.operations import quarantine_of
from fieldapp.security import ON_BEHALF_OF, OnBehalfOf
from fieldapp.storage import blobs
from fieldapp.texts import storable

FORMAT, VERSION = "fieldapp-rescue", 1
MOST_BYTES = 64 * 1024 * 1024
MOST_ITEMS = 2000
MOST_PHOTOS = 1000
RANGE = 64 * 1024
LATER = (408, 425, 429)
SHA256 = re.compile(r"[0-9a-f]{64}")
# The phone's queue holds steps and records of visits; nothing else is done in an engineer's name.
STEPS = "accept decline depart arrive start pause resume cannot_complete no_show"
RECORDS = "save acknowledge_backup add_photo remove_photo finish reopen customer_sign complete"
OF_QUEUE = frozenset([*(f"visits.{view}" for view in STEPS.split()), *(f"records.{view}" for view in RECORDS.split())])
HEADERS = {
    "X-Device-At": "device_at",
    "X-Time-Zone": "zone",
    "X-Form-Version": "form_version",
    "X-Base-Revision": "base_revision",
}


@dataclass(frozen=True)
class Handed:
    """What became of one item or photo. ``outcome``: as in the receipt, or ``replayed``, ``arrived``, ``refused``,
    ``damaged``, ``try_again``; ``sentence`` says why when it was not plainly taken."""

    what: str
    outcome: str
    sentence: str = ""
    sequence: int | None = None
    submission_id: str = ""


@dataclass(frozen=True)
class Package:
    """A file that could be read: whose, of which phone, when it was made, and what is in it.

    ``part`` of ``parts``: what is much leaves a phone as several files, each whole in itself.
    """

    user_id: UUID
    device: str
    made_at: str
    items: list[dict[str, Any]]
    photos: list[dict[str, Any]]
    sha256: str
    part: int = 1
    parts: int = 1


def read(content: bytes) -> Package:
    """The package in a file (raises TooLarge, or Invalid with a sentence that says what is wrong with it)."""
    if len(content) > MOST_BYTES:
        raise TooLarge(_("The file is larger than %(most)s MB.", most=MOST_BYTES // 1024 // 1024))
    try:
        given = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            _("This file is damaged, or it is no rescue file. Ask for it to be saved and sent again.")
        ) from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise Invalid(_("This is no rescue file of a phone."))
    if given.get("version") != VERSION:
        raise Invalid(_("This rescue file was made by a newer version of the app."))
    package = Package(
        user_id=_user_id(given.get("user")),
        device=_text(given.get("device"))[:64],
        made_at=_text(given.get("made_at"))[:40],
        items=_list(given, "items", MOST_ITEMS),
        photos=_list(given, "photos", MOST_PHOTOS),
        sha256=hashlib.sha256(content).hexdigest(),
        part=_number(given.get("part")) or 1,
        parts=_number(given.get("parts")) or 1,
    )
    if not package.device:
        raise _incomplete()
    return package


def hand_in(package: Package, *, by: UUID) -> list[Handed]:
    """Send everything in the package on behalf of its engineer; what became of each, items first, in their order.

    Not inside an operation: each item is a transaction of its own. Raises Invalid when no such engineer is known here.
    """
    if in_operation():
        raise RuntimeError("each item of a package is a transaction of its own")
    _check_person(package.user_id)
    _note(package, by)
    items = sorted(package.items, key=lambda item: _number(item.get("sequence")) or 0)
    return [*(_item(package, item) for item in items), *(_photo(package, photo) for photo in package.photos)]


def apply_again(submission: Submission, *, by: UUID) -> Handed:
    """Apply what was filed once more, as it came and under its own number, now that what stood in its way may be mended.

    What was applied meanwhile is not applied twice. ``outcome``: as in the receipt, else ``refused`` or ``try_again``
    with the sentence; then it stays filed. Not inside an operation. Raises NotFound when the bytes are not kept.
    """
    if in_operation():
        raise RuntimeError("what was filed is applied in a transaction of its own")
    body, came_with = blobs.get(submission.kept_sha256 or ""), _came_with(submission)
    headers = {
        "Idempotency-Key": str(submission.id),
        "X-Device": submission.device or FORMAT,
        "X-Sequence": str(submission.sequence or 0),
        "X-Form-Version": submission.form_version or "",
        "X-Device-At": submission.device_at.isoformat() if submission.device_at else "",
        "X-Sent-At": str(came_with.get("sent_at") or ""),
        "X-Base-Revision": str(came_with.get("base_revision") or ""),
        "Content-Type": submission.content_type or "application/x-www-form-urlencoded",
    }
    about = Handed(submission.path, "refused", sequence=submission.sequence, submission_id=str(submission.id))
    _note_again(submission.id, by)
    status, answer = _ask("POST", submission.path, submission.user_id, body, headers, again=submission.received_at)
    if status == 200:
        return replace(about, outcome=str(answer.get("outcome")), sentence=str(answer.get("sentence", "")))
    outcome, sentence = _became(status, answer)
    return replace(about, outcome=outcome, sentence=sentence)


def _came_with(submission: Submission) -> dict[str, Any]:
    """What its case keeps of the way it came: how wrong the phone's clock was must count at every try (X21)."""
    facts = db.session.scalar(select(Case.facts).where(Case.unique_for == quarantine_of(submission.id)))
    return facts or {}


# ---- reading ----------------------------------------------------------------------------------------


def _incomplete() -> Invalid:
    return Invalid(_("This rescue file is not complete. Ask for it to be saved and sent again."))


def _user_id(value: object) -> UUID:
    try:
        return UUID(_text(value))
    except ValueError as error:
        raise _incomplete() from error


def _list(given: dict[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    value = given.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _incomplete()
    if len(value) > most:
        raise TooLarge(
            ngettext("The file holds more than %(num)s item.", "The file holds more than %(num)s items.", most)
        )
    return value


def _text(value: object) -> str:
    """A text of the file; half a character, which JSON can spell and no page can show, becomes a question mark."""
    return storable(value) if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _bytes(value: object, sha256: object) -> bytes | None:
    """The bytes when they are what their hash says; None when they are not."""
    try:
        content = base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


# ---- handing in -------------------------------------------------------------------------------------


@operation
def _note(package: Package, by: UUID) -> None:
    counts = {"items": len(package.items), "photos": len(package.photos)}
    audit.record("rescue.handed_in", "user", package.user_id, by=by, file=package.sha256, **counts)


@operation
def _note_again(submission_id: UUID, by: UUID) -> None:
    audit.record("submission.tried_again", "submission", submission_id, by=by)


def _check_person(user_id: UUID) -> None:
    """An engineer, or somebody who was one when the phone kept this."""
    user = table("user", column("id", Uuid()), column("role"))
    role = db.session.scalar(select(user.c.role).where(user.c.id == user_id))
    if role != "engineer" and not (role and _was_engineer(user_id)):
        raise Invalid(_("This rescue file is of an engineer who is not known here."))


def _was_engineer(user_id: UUID) -> bool:
    changes = select(AuditEntry.facts).where(
        AuditEntry.action == "user.role_changed", AuditEntry.subject_id == str(user_id)
    )
    return any(facts.get("was") == "engineer" for facts in db.session.scalars(changes))


def _item(package: Package, item: dict[str, Any]) -> Handed:
    path, number, sequence = _text(item.get("path")), _text(item.get("id")), _number(item.get("sequence"))
    about: dict[str, Any] = {"what": path[:200], "sequence": sequence, "submission_id": number[:36]}
    body = _bytes(item.get("body_b64"), item.get("sha256"))
    if body is None or sequence is None or not number:
        return Handed(
            **about, outcome="damaged", sentence=_("This item is damaged: it is not what the phone had kept.")
        )
    if not _of_queue(path):
        return Handed(**about, outcome="refused", sentence=_("This is nothing that a phone keeps for later."))
    headers = {
        "Idempotency-Key": number,
        "X-Body-SHA256": _text(item.get("sha256")),
        "X-Device": package.device,
        "X-Sequence": str(sequence),
        "Content-Type": _text(item.get("type")),
        "X-Sent-At": _its_clock_now(package),
    }
    for header, name in HEADERS.items():
        if item.get(name) is not None:
            headers[header] = str(item[name])
    status, answer = _ask("POST", path, package.user_id, body, headers)
    outcome, sentence = _became(status, answer)
    return Handed(**about, outcome=outcome, sentence=sentence)


def _its_clock_now(package: Package) -> str:
    """What that phone's clock shows at this moment, by what was last measured of it: an item is dated as if it had sent
    it itself (X21). Empty where it never reached us, so that nothing is measured."""
    theirs = (Device.user_id == package.user_id) & (Device.device == package.device)
    skew = db.session.scalar(select(Device.skew_s).where(theirs))
    return "" if skew is None else (clock.now() + timedelta(seconds=skew)).isoformat()


def _became(status: int, answer: dict[str, Any]) -> tuple[str, str]:
    """(outcome, sentence) of an answer."""
    if status == 200:
        outcome = "replayed" if answer.get("replayed") else str(answer.get("outcome"))
        return outcome, str(answer.get("sentence", ""))
    later = status >= 500 or status in LATER or answer.get("error") == "in_progress"
    return "try_again" if later else "refused", str(answer.get("message", ""))


def _photo(package: Package, photo: dict[str, Any]) -> Handed:
    name = _text(photo.get("sha256"))
    content = _bytes(photo.get("bytes_b64"), name)
    if content is None or not content or not SHA256.fullmatch(name):
        return Handed(name[:64], "damaged", _("This photo is damaged: it is not what the phone had kept."))
    *_sent, (status, answer) = _ranges(package.user_id, name, content)
    if status == 200 and answer.get("complete"):
        return Handed(name, "arrived")
    outcome, sentence = _became(status if status != 200 else 503, answer)
    return Handed(name, outcome, sentence)


def _ranges(user_id: UUID, name: str, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Send a photo as the phone does, from where an earlier try had stopped; the answers."""
    offset, corrected = 0, False
    while True:
        headers = {
            "Upload-Length": str(len(content)),
            "Upload-Offset": str(offset),
            "Content-Type": "application/octet-stream",
        }
        status, answer = _ask("PUT", f"/photos/{name}", user_id, content[offset : offset + RANGE], headers)
        yield status, answer
        there = _number(answer.get("offset"))
        moved_on = status == 200 and not answer.get("complete") and there is not None and there > offset
        told_where = status == 409 and there is not None and not corrected
        if there is None or not (moved_on or told_where):
            return
        offset, corrected = there, corrected or told_where


def _header(value: str) -> str:
    """A value from a file as a header may carry it: one line of plain characters."""
    return "".join(char for char in value[:500] if " " <= char <= "~")


def _of_queue(path: str) -> bool:
    if not path.startswith("/visits/"):
        return False
    try:
        endpoint, _values = current_app.url_map.bind("localhost").match(path, method="POST")
    except HTTPException:
        return False
    return endpoint in OF_QUEUE


def _ask(
    method: str,
    path: str,
    user_id: UUID,
    body: bytes,
    headers: dict[str, str],
    *,
    again: datetime | None = None,
) -> tuple[int, dict[str, Any]]:
    """The app's own answer to a request that this process makes in the engineer's name."""
    ours = {"Accept": "application/json", "Sec-Fetch-Site": "same-origin", "User-Agent": FORMAT}
    builder = EnvironBuilder(
        path=path,
        method=method,
        base_url=request.host_url if has_request_context() else settings.base_url,
        data=body,
        headers=Headers({**{name: _header(value) for name, value in headers.items()}, **ours}),
        environ_overrides={"REMOTE_ADDR": request.remote_addr or "" if has_request_context() else ""},
    )
    environ = builder.get_environ()
    environ[ON_BEHALF_OF] = OnBehalfOf(user_id, again=again)
    db.session.rollback()  # or what we have read would stand in the way of what is now written
    with current_app.app_context():  # of its own: who asks must not leak from this request into that one
        parts, status, _headers = run_wsgi_app(current_app.wsgi_app, environ, buffered=True)
        content = b"".join(parts)
    try:
        answer = json.loads(content)
    except ValueError:
        answer = {}
    return int(status.split(" ", 1)[0]), answer if isinstance(answer, dict) else {}
