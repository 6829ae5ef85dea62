"""The bytes of a phone's photo, in ranges that resume: ``PUT /photos/<sha256>``.

The name is the hash of the whole, so a part that was cut goes on where it stopped and a second time is the first.
What counts is what is on the disk: a range is written and flushed, then its end becomes the offset.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow, TooLarge, TryLater
from fieldapp.extensions import db, locked, operation, serialize, uuid7
from fieldapp.i18n import _
from fieldapp.records import photos
from fieldapp.records.models import PhotoUpload
from fieldapp.records.photos import Kept
from fieldapp.records.pictures import MOST_BYTES
from fieldapp.storage import staging

MOST_UNFINISHED = 200
ABANDONED_AFTER = timedelta(days=30)


class WrongOffset(NotAllowedNow):
    """A range that does not begin where ours ends; ``offset`` is where it should."""

    code = "offset"

    def __init__(self, offset: int) -> None:
        super().__init__(_("The photo continues elsewhere than what was sent."))
        self.offset = offset


@dataclass(frozen=True)
class Progress:
    """How much of a photo is here: ``offset`` of ``length`` bytes; ``complete`` once the picture is stored."""

    offset: int
    length: int
    complete: bool


def progress(sha256: str, *, by: User) -> Progress:
    """How far this person's upload of these bytes came; nothing is known of other people's."""
    upload = _find(sha256, by)
    if upload is None:
        return Progress(0, 0, complete=False)
    return _progress(upload)


def receive(sha256: str, *, length: int, offset: int, content: bytes, by: User) -> Progress:
    """Take one range; with the last one check the whole, store the picture and give it to the records that wait for it.

    Raises WrongOffset, TryLater (too many unfinished), TooLarge, and Invalid: ``digest_mismatch`` when the whole is
    not what its name says, or because it is no picture. After these two the bytes are gone and it starts again.
    """
    _check(length, offset, content)
    here = _append(sha256, length, offset, content, by=by)
    return here if here.complete or here.offset < here.length else _finish(sha256, by=by)


def _check(length: int, offset: int, content: bytes) -> None:
    if length > MOST_BYTES:
        raise TooLarge(_("The photo is larger than 15 MB. Please choose a smaller one."))
    if length < 1:
        raise Invalid(_("The photo is empty. Please take it again."))
    if offset + len(content) > length:
        raise Invalid(_("More bytes arrived than the photo has."))


# ---- a range ----------------------------------------------------------------------------------------


@operation
def _append(sha256: str, length: int, offset: int, content: bytes, *, by: User) -> Progress:
    serialize(f"upload:{by.id}:{sha256}")
    upload = _find(sha256, by) or _begin(sha256, length, by=by)
    if photos.stored(locked(upload)):
        return _progress(upload)
    here = _durable(upload, length)
    if here == length:
        return Progress(here, length, complete=False)
    if offset != here:
        raise WrongOffset(here)
    staging.write(str(upload.id), content, at=here)
    upload.length, upload.received, upload.touched_at = length, here + len(content), clock.now()
    upload.finished_at = None
    return Progress(upload.received, length, complete=False)


def _begin(sha256: str, length: int, *, by: User) -> PhotoUpload:
    unfinished = (PhotoUpload.user_id == by.id) & PhotoUpload.finished_at.is_(None)
    if (db.session.scalar(select(func.count()).select_from(PhotoUpload).where(unfinished)) or 0) >= MOST_UNFINISHED:
        raise TryLater(_("Too many photos are on their way at once. Please wait a moment."), retry_after=300)
    upload = PhotoUpload(
        id=uuid7(), user_id=by.id, sha256=sha256, length=length, started_at=clock.now(), touched_at=clock.now()
    )
    db.session.add(upload)
    db.session.flush()
    return upload


def _durable(upload: PhotoUpload, length: int) -> int:
    """Where the next range begins: what both the row and the disk have. Another length is another attempt: from 0."""
    return min(upload.received, staging.size(str(upload.id))) if upload.length == length else 0


# ---- the whole --------------------------------------------------------------------------------------


def _finish(sha256: str, *, by: User) -> Progress:
    """Check and encode without a transaction, for it takes its time; then keep it in one."""
    upload = _find(sha256, by)
    name = str(upload.id) if upload else ""
    content = staging.read(name) if name else None
    db.session.rollback()
    if content is None:  # the same last range came twice, and the other one was faster
        return progress(sha256, by=by)
    if hashlib.sha256(content).hexdigest() != sha256:
        _forget(sha256, by=by)
        raise Invalid(_("What arrived is not what was sent. Please send it again."), code="digest_mismatch")
    try:
        kept = photos.keep(content)
    except (Invalid, TooLarge):
        _forget(sha256, by=by)
        raise
    here = _keep(sha256, kept, by=by)
    staging.drop(name)
    return here


@operation
def _keep(sha256: str, kept: Kept, *, by: User) -> Progress:
    upload = locked(db.session.scalars(_mine(sha256, by)).one())
    if upload.finished_at is None:
        photos.finish(upload, kept)
        photos.arrived(upload, kept)
    return _progress(upload)


@operation
def _forget(sha256: str, *, by: User) -> None:
    upload = _find(sha256, by)
    if upload is not None and upload.finished_at is None:
        staging.drop(str(upload.id))
        db.session.delete(upload)


@operation
def prune_uploads() -> int:
    """Drop uploads that nobody continued for 30 days; how many. What was finished stays known."""
    abandoned = PhotoUpload.finished_at.is_(None) & (PhotoUpload.touched_at < clock.now() - ABANDONED_AFTER)
    uploads = db.session.scalars(select(PhotoUpload).where(abandoned)).all()
    for upload in uploads:
        staging.drop(str(upload.id))
        db.session.delete(upload)
    return len(uploads)


# ---- below ------------------------------------------------------------------------------------------


def _find(sha256: str, by: User) -> PhotoUpload | None:
    return db.session.scalar(_mine(sha256, by))


def _mine(sha256: str, by: User) -> Select[PhotoUpload]:
    return select(PhotoUpload).where(PhotoUpload.user_id == by.id, PhotoUpload.sha256 == sha256)


def _progress(upload: PhotoUpload) -> Progress:
    """What is all here but not yet stored lacks its last byte for whoever asks, so that they send it and it is tried
    again."""
    if photos.stored(upload):
        return Progress(upload.length, upload.length, complete=True)
    return Progress(min(_durable(upload, upload.length), upload.length - 1), upload.length, complete=False)
