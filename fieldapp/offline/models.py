"""What phones told us, once; which phones there are; and what a person of the office must look at because of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp import clock
from fieldapp.extensions import Base, Keyed

# What became of a submission. The office has it in every case, so the phone's receipt says so in every case.
OUTCOMES = ("applied", "noted", "merged", "conflict", "quarantined")
# Why a person of the office has to look: each kind has the one action that settles it (dispatch/exceptions).
CASE_KINDS = (
    "conflict",  # the same text was changed on both sides
    "quarantine",  # readable, but nothing could be done with it
    "despite_cancellation",  # work was done although the visit was cancelled
    "second_record",  # work was done on a visit that had been given to somebody else, or was closed
    "photos_missing",  # the record came, its photos did not
    "contact_suggestion",  # the customer gave another number than the one that the office changed meanwhile
    "ticket_ended",  # the ticket ended in the store while a visit to it is planned or runs
)


class Submission(Keyed, Base):
    """One form that a person sent. Its id is made where the form is first touched; the same id is one effect.

    ``kept_sha256`` names the blob with the raw body of what could not be applied as it was meant.
    """

    __tablename__ = "submission"
    __table_args__ = (Index("ix_submission_user_id_path", "user_id", "path"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), index=True)
    device: Mapped[str | None] = mapped_column(String(64))
    sequence: Mapped[int | None]
    path: Mapped[str] = mapped_column(String(200))
    body_sha256: Mapped[str] = mapped_column(String(64))
    device_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    outcome: Mapped[str] = mapped_column(String(20), default="applied")
    reason: Mapped[str] = mapped_column(Text, default="")
    form_version: Mapped[str | None] = mapped_column(String(10))
    kept_sha256: Mapped[str | None] = mapped_column(String(64))
    content_type: Mapped[str | None] = mapped_column(String(120))


class Device(Keyed, Base):
    """A phone of an engineer as the office knows it: when it last spoke, and what it said is still waiting there."""

    __tablename__ = "device"
    __table_args__ = (UniqueConstraint("user_id", "device"), Index("ix_device_waiting_seen_at", "waiting", "seen_at"))

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    device: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(200), default="")
    first_seen_at: Mapped[datetime] = mapped_column(default=clock.now)
    seen_at: Mapped[datetime] = mapped_column(default=clock.now)
    waiting: Mapped[int] = mapped_column(default=0)
    attention: Mapped[int] = mapped_column(default=0)
    oldest_waiting_at: Mapped[datetime | None]
    last_sequence: Mapped[int | None]
    skew_s: Mapped[int | None]
    build: Mapped[str] = mapped_column(String(20), default="")
    storage_used: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    storage_quota: Mapped[int | None] = mapped_column(BigInteger)


class Case(Keyed, Base):
    """Something that a person of the office has to look at. Never deleted: settling it adds who, when and how.

    ``facts`` holds what the page shows (texts of both sides, reasons); ``unique_for`` keeps a case from being
    opened twice for the same cause.
    """

    __tablename__ = "office_case"
    __table_args__ = (Index("ix_office_case_settled_at_created_at", "settled_at", "created_at"),)

    kind: Mapped[str] = mapped_column(String(30))
    unique_for: Mapped[str] = mapped_column(String(160), unique=True)
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visit.id"), index=True)
    submission_id: Mapped[UUID | None] = mapped_column(ForeignKey("submission.id"))
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    settled_at: Mapped[datetime | None]
    settled_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    decision: Mapped[str] = mapped_column(Text, default="")


class ServerIdentity(Base):
    """One row: which installation this is, and a number that grows with each restore from a backup."""

    __tablename__ = "server_identity"

    id: Mapped[int] = mapped_column(primary_key=True)
    server: Mapped[UUID]
    epoch: Mapped[int] = mapped_column(BigInteger, default=1)
