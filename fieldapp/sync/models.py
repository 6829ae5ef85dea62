"""The sign of life that each worker leaves."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp import clock
from fieldapp.extensions import Base

SILENT_AFTER = timedelta(seconds=60)


class WorkerBeat(Base):
    """When a worker (host and process) was last heard of. A worker that ends in good order takes its row away."""

    __tablename__ = "worker_beat"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]

    @property
    def alive(self) -> bool:
        return clock.now() - self.seen_at < SILENT_AFTER
