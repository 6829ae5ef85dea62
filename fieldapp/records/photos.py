"""Photos that a phone names in the record and uploads afterwards: waiting, arriving, missing.

A record is signed at once. Its report is promised when the last photo that it names has arrived, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from fieldapp import audit, clock, outbox
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow
from fieldapp.extensions import db, locked, operation, serialize, uuid7
from fieldapp.i18n import _
from fieldapp.offline.models import Case
from fieldapp.offline.operations import open_case
from fieldapp.records import pictures
from fieldapp.records.models import PHOTO_KINDS, Photo, PhotoUpload, ServiceRecord
from fieldapp.records.values import NamedPhoto
from fieldapp.storage import blobs

MOST_PHOTOS = 20
MISSING_AFTER = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A picture in the storage: its three copies by their hashes, and the size of the full one."""

    full: str
    print: str
    thumb: str
    size: int
    width: int
    height: int


def keep(content: bytes) -> Kept:
    """Encode a picture anew and store its copies (raises Invalid, TooLarge). No transaction is needed, it takes time."""
    picture = pictures.normalised(content)
    return Kept(
        full=blobs.put(picture.full),
        print=blobs.put(picture.print),
        thumb=blobs.put(picture.thumb),
        size=len(picture.full),
        width=picture.width,
        height=picture.height,
    )


def finish(upload: PhotoUpload, kept: Kept) -> None:
    """Note that the bytes came and where their copies lie."""
    upload.finished_at = upload.touched_at = clock.now()
    upload.blob_sha256, upload.print_sha256, upload.thumb_sha256 = kept.full, kept.print, kept.thumb
    upload.size, upload.width, upload.height = kept.size, kept.width, kept.height


def stored(upload: PhotoUpload) -> Kept | None:
    """The copies of a finished upload; None while it comes, or when the storage has lost them: then it comes again."""
    full, small, thumb = upload.blob_sha256, upload.print_sha256, upload.thumb_sha256
    if upload.finished_at is None or not (full and small and thumb):
        return None
    if not all(blobs.exists(name) for name in (full, small, thumb)):
        return None
    size, width, height = upload.size or 0, upload.width or 0, upload.height or 0
    return Kept(full=full, print=small, thumb=thumb, size=size, width=width, height=height)


def pending(record: ServiceRecord) -> list[Photo]:
    """The photos that a record names and that are still on the phone."""
    return [photo for photo in record.origin.photos if photo.removed_at is None and photo.arrived_at is None]


# ---- named ------------------------------------------------------------------------------------------


def name_photos(record: ServiceRecord, named: Sequence[NamedPhoto], *, by: User, at: datetime) -> None:
    """Write the phone's list of photos into the record; those whose bytes came before it are there at once."""
    _check(record, named)
    serialize(_lock(by.id))
    for each in _once(named):
        photo = Photo(
            id=uuid7(),
            kind=each.kind,
            caption=each.caption.strip()[:200],
            source_sha256=each.sha256,
            size=each.size,
            width=each.width,
            height=each.height,
            taken_at=each.taken_at or at,
            arrived_at=None,
            uploaded_by_id=by.id,
        )
        record.photos.append(photo)
        if kept := _uploaded_before(each.sha256, by):
            _arrive(photo, kept)
    db.session.flush()


def _check(record: ServiceRecord, named: Sequence[NamedPhoto]) -> None:
    kept = {photo.source_sha256 or photo.sha256 for photo in record.photos if photo.removed_at is None}
    if len(kept | {each.sha256 for each in named}) > MOST_PHOTOS:
        raise Invalid(_("A record holds at most %(most)s photos.", most=MOST_PHOTOS))
    if any(each.kind not in PHOTO_KINDS for each in named):
        raise Invalid(_("Say whether the photo was taken before or after, or shows the label."))
    if any(each.size > pictures.MOST_BYTES for each in named):
        raise Invalid(_("The photo is larger than 15 MB. Please choose a smaller one."))


def _once(named: Sequence[NamedPhoto]) -> list[NamedPhoto]:
    """The same photo twice is one: as it was named first."""
    first: dict[str, NamedPhoto] = {}
    for each in named:
        first.setdefault(each.sha256, each)
    return list(first.values())


def _uploaded_before(sha256: str, by: User) -> Kept | None:
    mine = (PhotoUpload.user_id == by.id) & (PhotoUpload.sha256 == sha256)
    upload = db.session.scalar(select(PhotoUpload).where(mine))
    return stored(upload) if upload else None


# ---- arriving ---------------------------------------------------------------------------------------


def arrived(upload: PhotoUpload, kept: Kept) -> None:
    """The bytes of ``upload`` are here: every record of this person that waits for them has its photo, and the
    record that had its last one has its report promised. Belongs inside an operation."""
    serialize(_lock(upload.user_id))
    waiting = (Photo.source_sha256 == upload.sha256) & (Photo.uploaded_by_id == upload.user_id)
    records: dict[UUID, ServiceRecord] = {}
    for photo in db.session.scalars(select(Photo).where(waiting, Photo.arrived_at.is_(None))):
        _arrive(photo, kept)
        records[photo.record_id] = photo.record
        audit.record("photo.arrived", "photo", photo.id, by=upload.user_id, sha256=kept.full)
    db.session.flush()
    for record in records.values():
        if not pending(record):
            _all_here(record)


def _arrive(photo: Photo, kept: Kept) -> None:
    photo.removed_at = None  # given up by the office, and here after all
    same = any(each.sha256 == kept.full for each in photo.record.photos)
    photo.sha256 = None if same else kept.full  # two files that show the same picture: it is kept once in a record
    photo.print_sha256, photo.thumb_sha256 = kept.print, kept.thumb
    photo.size, photo.width, photo.height = kept.size, kept.width, kept.height
    photo.arrived_at = clock.now()


def _all_here(record: ServiceRecord) -> None:
    _promise_all(record)
    case = db.session.scalar(select(Case).where(Case.unique_for == _case_of(record), Case.settled_at.is_(None)))
    if case is not None:
        case.settled_at, case.decision = clock.now(), _("The photos have arrived.")
        audit.record("case.settled", "case", case.id, by=None, kind=case.kind)


def _promise_all(record: ServiceRecord) -> None:
    """Promise what was held back: the report of every signed revision, and that with the manager's signature."""
    for revision in _revisions(record):
        promise_report(revision, edition="signed")
        if revision.signature("manager"):
            promise_report(revision, edition="manager")


def _revisions(record: ServiceRecord) -> Iterable[ServiceRecord]:
    signed = (ServiceRecord.visit_id == record.visit_id) & ServiceRecord.signed_at.is_not(None)
    return db.session.scalars(select(ServiceRecord).where(signed).order_by(ServiceRecord.revision)).all()


def promise_report(record: ServiceRecord, *, edition: str) -> None:
    """Promise the report of a signed record; while a photo is missing nothing is promised (X17)."""
    if pending(record):
        return
    payload = {"record": str(record.id), "edition": edition}
    lane = record.visit.ticket.reports_lane
    outbox.promise("record_signed", payload, lane=lane, uid=f"record_signed:{record.id}:{edition}")


# ---- missing ----------------------------------------------------------------------------------------


@operation
def alert_missing_photos() -> int:
    """Ask the office to look at records that have waited a day for photos; how many wait so long. Twice is once."""
    waiting = Photo.arrived_at.is_(None) & Photo.removed_at.is_(None)
    long_ago = ServiceRecord.signed_at.is_not(None) & (ServiceRecord.frozen_at < clock.now() - MISSING_AFTER)
    late = select(ServiceRecord).where(long_ago, ServiceRecord.photos.any(waiting))
    records = db.session.scalars(late.order_by(ServiceRecord.id)).all()
    for record in records:
        missing = pending(record)
        open_case(
            "photos_missing",
            unique_for=_case_of(record),
            visit_id=record.visit_id,
            user_id=missing[0].uploaded_by_id,
            record=str(record.id),
            number=record.number,
            missing=len(missing),
            photos=[{"kind": photo.kind, "caption": photo.caption} for photo in missing],
        )
    return len(records)


@operation
def give_up(record: ServiceRecord, *, by: User) -> int:
    """The phone is lost or broken: no longer wait for the photos that have not come; how many. The report of what was
    signed is promised without them, and says so (raises NotAllowedNow when none is awaited any more)."""
    for user_id in {photo.uploaded_by_id for photo in pending(record)}:
        serialize(_lock(user_id))
    awaited = [photo for photo in pending(record) if locked(photo).arrived_at is None]
    if not awaited:
        raise NotAllowedNow(_("All photos have arrived meanwhile."))
    for photo in awaited:
        photo.removed_at = clock.now()
        audit.record("photo.given_up", "photo", photo.id, by=by.id, record=str(record.id))
    db.session.flush()
    _promise_all(record)
    return len(awaited)


def _case_of(record: ServiceRecord) -> str:
    return f"photos_missing:{record.id}"


def _lock(user_id: UUID) -> str:
    """Naming a photo and its arrival must see each other, or it waits for ever."""
    return f"photos:{user_id}"
