"""The on-site service record (客户服务记录表), its signatures, photos, parts and open items. Frozen once signed."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Date, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import Base, Keyed, UtcDateTime
from fieldapp.visits.models import Visit

SERVICE_TYPES = ("implementation", "maintenance", "remote")  # F2 实施 维护 远程
OUTCOMES = ("all_done", "remaining")  # F5 已全部完成 / 还需解决
RATINGS = ("poor", "fair", "good")  # F7, F8 较差 一般 较好
PHOTO_KINDS = ("before", "after", "label")
ROLES = ("backup_ack", "customer", "engineer", "manager")  # the four signature places F6, F11, F13, F14
METHODS = ("drawn", "typed", "remote", "refused", "absent", "not_applicable")
PRESENT = ("drawn", "typed", "remote")


class Counter(Base):
    """The last number given for a prefix, such as ``SR-20261121``."""

    __tablename__ = "counter"

    prefix: Mapped[str] = mapped_column(String(40), primary_key=True)
    last: Mapped[int]


class ServiceRecord(Keyed, Base):
    """One revision of a visit's record. Revision 1 is filled on site; later ones are corrections (更正单).

    ``content`` is the canonical JSON (RFC 8785) that is signed, ``content_hash`` its SHA-256; from ``frozen_at`` on
    the fields are only kept for reading. ``revision`` numbers what people see, ``draft_revision`` guards the draft.
    """

    __tablename__ = "service_record"
    __table_args__ = (UniqueConstraint("visit_id", "revision"), UniqueConstraint("number", "revision"))

    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visit.id"))
    number: Mapped[str] = mapped_column(String(30))
    revision: Mapped[int] = mapped_column(default=1)
    draft_revision: Mapped[int] = mapped_column(default=1)
    draft_device: Mapped[str | None] = mapped_column(String(64))  # the phone that wrote the draft last
    corrects_id: Mapped[UUID | None] = mapped_column(ForeignKey("service_record.id"))
    correction_reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    author_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), index=True)

    service_type: Mapped[str | None] = mapped_column(String(20))  # F2
    customer_name: Mapped[str] = mapped_column(String(160), default="")  # F3
    content_text: Mapped[str] = mapped_column(Text, default="")  # F4
    outcome: Mapped[str | None] = mapped_column(String(20))  # F5
    skill_rating: Mapped[str | None] = mapped_column(String(10))  # F7
    attitude_rating: Mapped[str | None] = mapped_column(String(10))  # F8
    started_at: Mapped[datetime | None]  # F9
    ended_at: Mapped[datetime | None]  # F9
    times_reason: Mapped[str] = mapped_column(Text, default="")
    remark: Mapped[str] = mapped_column(Text, default="")  # F10
    contact_phone: Mapped[str] = mapped_column(String(40), default="")  # F12
    cause: Mapped[str] = mapped_column(Text, default="")
    solution: Mapped[str] = mapped_column(Text, default="")
    prevention: Mapped[str] = mapped_column(Text, default="")
    tools: Mapped[str] = mapped_column(Text, default="")
    solved_item_ids: Mapped[list[str]] = mapped_column(JSON, default=list)

    content: Mapped[str | None] = mapped_column(Text)
    content_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    frozen_at: Mapped[datetime | None]
    signed_at: Mapped[datetime | None]

    visit: Mapped[Visit] = relationship()
    author: Mapped[User] = relationship()
    corrects: Mapped[ServiceRecord | None] = relationship(remote_side="ServiceRecord.id")
    parts: Mapped[list[PartUse]] = relationship(cascade="all, delete-orphan", order_by="PartUse.position")
    open_items: Mapped[list[OpenItem]] = relationship(
        cascade="all, delete-orphan", order_by="OpenItem.position", foreign_keys="OpenItem.record_id"
    )
    photos: Mapped[list[Photo]] = relationship(order_by="Photo.id", back_populates="record")
    signatures: Mapped[list[Signature]] = relationship(order_by="Signature.id", back_populates="record")

    __mapper_args__ = {"version_id_col": draft_revision}  # noqa: RUF012 - SQLAlchemy's own spelling

    @property
    def frozen(self) -> bool:
        return self.frozen_at is not None

    @property
    def signed(self) -> bool:
        return self.signed_at is not None

    @property
    def is_correction(self) -> bool:
        return self.corrects_id is not None

    @property
    def origin(self) -> ServiceRecord:
        """The revision that was filled on site: photos and the backup acknowledgement belong to it."""
        return self.corrects.origin if self.corrects else self

    @property
    def frozen_content(self) -> dict[str, Any]:
        """The content that was signed, as plain values."""
        content: dict[str, Any] = json.loads(self.content or "{}")
        return content

    @property
    def frozen_hash(self) -> str:
        """The hash that signatures are bound to; asking before the content is frozen is a programming error."""
        if self.content_hash is None:
            raise RuntimeError("a record is signed only after it was frozen")
        return self.content_hash

    @property
    def short_code(self) -> str:
        """Eight characters of the content's hash, for people to compare."""
        return (self.content_hash or "")[:8]

    @property
    def printed_number(self) -> str:
        """``SR-20261121-0007``; a correction adds ``-C1``."""
        return f"{self.number}-C{self.revision - 1}" if self.is_correction else self.number

    def signature(self, role: str) -> Signature | None:
        """The valid signature of a role (or the stated reason why there is none); None while undecided."""
        valid = [each for each in self.signatures if each.role == role and each.voided_at is None]
        return valid[-1] if valid else None


class PartUse(Keyed, Base):
    """A spare part that was built in."""

    __tablename__ = "part_use"

    record_id: Mapped[UUID] = mapped_column(ForeignKey("service_record.id"), index=True)
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(120))
    serial: Mapped[str] = mapped_column(String(80), default="")
    quantity: Mapped[int] = mapped_column(default=1)
    old_serial: Mapped[str] = mapped_column(String(80), default="")


class OpenItem(Keyed, Base):
    """Something that remains to be solved (还需解决). It heads the next visit until a visit closes it."""

    __tablename__ = "open_item"
    __table_args__ = (
        Index("ix_open_item_customer_id_closed_at", "customer_id", "closed_at"),
        Index("ix_open_item_closed_at_promised_by", "closed_at", "promised_by"),
    )

    record_id: Mapped[UUID] = mapped_column(ForeignKey("service_record.id"), index=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    asset_id: Mapped[UUID | None] = mapped_column(ForeignKey("asset.id"))
    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("ticket.id"), index=True)
    position: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text, default="")  # 未修复原因
    part: Mapped[str] = mapped_column(String(120), default="")
    promised_by: Mapped[date | None] = mapped_column(Date)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    closed_at: Mapped[datetime | None]
    closed_by_visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visit.id"))


class Photo(Keyed, Base):
    """A picture as it was re-encoded at upload: full (≤ 1600 px), print size and thumbnail, each by its hash.

    A phone names its photos in the record and uploads them afterwards: until then only ``source_sha256``, the hash of
    the phone's own bytes, is known, and ``arrived_at`` is None. When the office no longer waits for it, it is taken out
    without ever having arrived (``given_up``); should it come all the same, it is back in its place.
    """

    __tablename__ = "photo"
    __table_args__ = (UniqueConstraint("record_id", "sha256"),)

    record_id: Mapped[UUID] = mapped_column(ForeignKey("service_record.id"))
    kind: Mapped[str] = mapped_column(String(10))
    caption: Mapped[str] = mapped_column(String(200), default="")
    source_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    print_sha256: Mapped[str | None] = mapped_column(String(64))
    thumb_sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]
    taken_at: Mapped[datetime]
    # without evaluates_none, a None that is said would be replaced by the default
    arrived_at: Mapped[datetime | None] = mapped_column(UtcDateTime().evaluates_none(), default=clock.now)
    uploaded_by_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    removed_at: Mapped[datetime | None]

    record: Mapped[ServiceRecord] = relationship(back_populates="photos")

    @property
    def given_up(self) -> bool:
        """Signed for, never seen here, and no longer awaited."""
        return self.removed_at is not None and self.arrived_at is None


class PhotoUpload(Keyed, Base):
    """The bytes of a phone's photo on their way here: ``received`` of ``length`` bytes lie in the uploads folder.

    Named by the hash of the whole (``sha256``), so a part that was cut goes on where it stopped, and a second time is
    the first. ``finished_at``: all bytes came and their hash is the name; ``blob_sha256`` is then the stored picture,
    with its other copies, ``size``, ``width`` and ``height`` as in Photo.
    """

    __tablename__ = "photo_upload"
    __table_args__ = (UniqueConstraint("user_id", "sha256"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    length: Mapped[int]
    received: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    touched_at: Mapped[datetime] = mapped_column(default=clock.now)
    finished_at: Mapped[datetime | None]
    blob_sha256: Mapped[str | None] = mapped_column(String(64))
    print_sha256: Mapped[str | None] = mapped_column(String(64))
    thumb_sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]


class Signature(Keyed, Base):
    """One of the four signatures, or the stated reason why it is missing. Bound to the hash of what was shown."""

    __tablename__ = "signature"

    record_id: Mapped[UUID] = mapped_column(ForeignKey("service_record.id"), index=True)
    role: Mapped[str] = mapped_column(String(12))
    method: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(80), default="")
    phone: Mapped[str] = mapped_column(String(40), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    strokes: Mapped[str | None] = mapped_column(Text)
    png_sha256: Mapped[str | None] = mapped_column(String(64))
    content_hash: Mapped[str] = mapped_column(String(64))
    consent_id: Mapped[str] = mapped_column(String(40))
    consent_sha256: Mapped[str] = mapped_column(String(64))
    signed_at: Mapped[datetime]
    device_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    witness_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    submission_id: Mapped[UUID | None]
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    voided_at: Mapped[datetime | None]

    record: Mapped[ServiceRecord] = relationship(back_populates="signatures")

    @property
    def present(self) -> bool:
        return self.method in PRESENT
