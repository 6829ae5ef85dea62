"""Who did what: append-only, each row chained to the one before by its hash.

A row holds ids, hashes and short words, never personal text: the chain can outlive an erasure.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

import rfc8785
from sqlalchemy import JSON, String, select
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp import clock
from fieldapp.extensions import Base, db, in_operation, serialize

Fact = str | int | bool | None
GENESIS = "0" * 64


class AuditEntry(Base):
    """One thing done. ``hash`` = SHA-256(previous hash ‖ RFC 8785 of the entry)."""

    __tablename__ = "audit_entry"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(60))
    subject_type: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(String(64), index=True)
    by: Mapped[UUID | None]
    facts: Mapped[dict[str, Fact]] = mapped_column(JSON)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)

    def computed_hash(self) -> str:
        """The hash that this row must carry, from its own content."""
        entry: dict[str, Any] = {
            "seq": self.seq,
            "at": self.at.isoformat(),
            "action": self.action,
            "subject_type": self.subject_type,
            "subject_id": self.subject_id,
            "by": str(self.by) if self.by else None,
            "facts": self.facts,
        }
        return hashlib.sha256(self.previous_hash.encode() + rfc8785.dumps(entry)).hexdigest()


def record(action: str, subject_type: str, subject_id: UUID | str, *, by: UUID | None, **facts: Fact) -> AuditEntry:
    """Append one row in the transaction of the operation that runs."""
    if not in_operation():
        raise RuntimeError("audit.record belongs inside an operation")
    serialize("audit")
    last = db.session.execute(select(AuditEntry.seq, AuditEntry.hash).order_by(AuditEntry.seq.desc()).limit(1)).first()
    entry = AuditEntry(
        seq=last.seq + 1 if last else 1,
        at=clock.now(),
        action=action,
        subject_type=subject_type,
        subject_id=str(subject_id),
        by=by,
        facts=facts,
        previous_hash=last.hash if last else GENESIS,
    )
    entry.hash = entry.computed_hash()
    db.session.add(entry)
    db.session.flush()
    return entry


def first_broken() -> int | None:
    """The number of the first row that does not fit the chain; None when all fit."""
    expected, number = GENESIS, 1
    for entry in db.session.scalars(select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=500)):
        if entry.seq != number or entry.previous_hash != expected or entry.hash != entry.computed_hash():
            return number
        expected, number = entry.hash, number + 1
    return None
