"""An issued report: one PDF, rendered once, kept by its hash."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp import clock
from fieldapp.extensions import Base, Keyed
from fieldapp.records.models import ServiceRecord


class Report(Keyed, Base):
    """The PDF of a record in one language. ``revision`` grows when it is issued anew (a manager signed)."""

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("record_id", "locale", "revision"),)

    record_id: Mapped[UUID] = mapped_column(ForeignKey("service_record.id"))
    locale: Mapped[str] = mapped_column(String(12))
    revision: Mapped[int] = mapped_column(default=1)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]
    pages: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(64))
    lost_characters: Mapped[list[str]] = mapped_column(JSON, default=list)
    issued_at: Mapped[datetime] = mapped_column(default=clock.now)

    record: Mapped[ServiceRecord] = relationship()

    @property
    def file_name(self) -> str:
        """``SR-20261121-0007-v1-1a2b3c4d.pdf``: number, revision and the first of the hash."""
        return f"{self.record.printed_number}-v{self.revision}-{self.sha256[:8]}.pdf"
