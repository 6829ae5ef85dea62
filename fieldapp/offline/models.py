"""What a phone told us, once: the submission, its body's hash and the receipt that it got."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp.extensions import Base, Keyed


class Submission(Keyed, Base):
    """One form that a person sent. Its id is made where the form is first touched; the same id is one effect."""

    __tablename__ = "submission"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), index=True)
    device: Mapped[str | None] = mapped_column(String(64))
    sequence: Mapped[int | None]
    path: Mapped[str] = mapped_column(String(200))
    body_sha256: Mapped[str] = mapped_column(String(64))
    device_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSON)
