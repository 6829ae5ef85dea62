"""What workers tell each other: that they live, whether a store may be asked, what it lacks, and what comparing with it found."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fieldapp import clock
from fieldapp.extensions import Base, Keyed
from fieldapp.outbox import AT_ONCE

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


class StoreBreaker(Base):
    """Whether a ticket store may be asked, for all workers together.

    ``failures``: how many calls in a row had no answer. While it is open (since ``opened_at``; ``why``: unreachable or
    credentials) nothing is asked before ``probe_at``, then one thing at a time; ``wait_s`` is the time between two such
    probes. ``paused_until``: the store itself asked for a pause. A store without a row was always well.
    """

    __tablename__ = "store_breaker"

    store: Mapped[str] = mapped_column(String(20), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime | None]
    why: Mapped[str | None] = mapped_column(String(20))
    sentence: Mapped[str | None] = mapped_column(Text)
    wait_s: Mapped[int] = mapped_column(default=0)
    probe_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]

    @property
    def open(self) -> bool:
        return self.opened_at is not None

    @property
    def paused(self) -> bool:
        return self.paused_until is not None and self.paused_until > clock.now()

    @property
    def asks_again_at(self) -> datetime | None:
        """When the store is asked again; None when it may be asked now."""
        moments = [each for each in (self.probe_at, self.paused_until) if each is not None and each > clock.now()]
        return max(moments, default=None)

    @property
    def room(self) -> int:
        """How many promises may be at work in the store at once."""
        if self.asks_again_at is not None:
            return 0
        return 1 if self.open else AT_ONCE

    @property
    def quiet(self) -> bool:
        """Whether there is nothing that a good answer would change."""
        return not self.open and self.failures == 0


class StoreCheck(Base):
    """What a worker found when it looked whether a store fits our mapping. ``wanted_at``: somebody asked for it since.

    ``flaws`` holds ``{"says": …, "mend": …}``, in the language of the installation.
    """

    __tablename__ = "store_check"

    store: Mapped[str] = mapped_column(String(20), primary_key=True)
    wanted_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    flaws: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    error: Mapped[str | None] = mapped_column(Text)


class ReconcileRun(Keyed, Base):
    """One comparison of what was delivered since ``since`` with what the store holds.

    ``deep``: the content of files is fetched where the store tells no hash. ``seen_at``: when it last got on; a run without
    an end that has not got on for long was left by a worker that died.
    """

    __tablename__ = "reconcile_run"
    __table_args__ = (Index("ix_reconcile_run_store_started_at", "store", "started_at"),)

    store: Mapped[str] = mapped_column(String(20))
    deep: Mapped[bool]
    since: Mapped[datetime]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    tickets: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)


class Finding(Keyed, Base):
    """Where the store and what we delivered differ. ``kind``: missing, duplicate, mismatch, remote_changed or orphan;
    ``what`` says more exactly, ``facts`` fills its sentence. Cleared when a later comparison no longer finds it."""

    __tablename__ = "reconcile_finding"
    __table_args__ = (
        UniqueConstraint("store", "ticket", "uid", "what"),
        Index("ix_reconcile_finding_cleared_at", "cleared_at"),
    )

    store: Mapped[str] = mapped_column(String(20))
    ticket: Mapped[str] = mapped_column(String(60))
    uid: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(20))
    what: Mapped[str] = mapped_column(String(20))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
    repairs: Mapped[int] = mapped_column(default=0)
