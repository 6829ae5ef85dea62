"""The visit (上门): a plan, the facts of what happened, and every step as an event that is never changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, ForeignKey, Index, String, Text, UniqueConstraint, exists, or_, true
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import Base, Keyed
from fieldapp.offline.times import happened_at
from fieldapp.tickets.models import Ticket

KINDS = ("implementation", "maintenance", "remote", "first_visit", "inspection", "callback_visit")
PAUSE_REASONS = ("break", "wait_customer", "wait_part")
WINDOW = timedelta(minutes=30)
ENGINEER_SEES_OWN_WORK = timedelta(days=90)
# Events by which an engineer shows that the visit was theirs when it happened.
OWN_STEPS = ("accepted", "declined", "departed", "arrived", "started", "paused", "resumed", "finished")


class Visit(Keyed, Base):
    """One appointment of one engineer for one ticket.

    ``status`` is a projection of the events, kept for lists; ``closed_at`` is when nothing more was to be done on
    site (completed, partial, cannot complete, no-show, cancelled). ``revision`` grows with every change.
    """

    __tablename__ = "visit"
    __table_args__ = (
        Index("ix_visit_lead_id_closed_at_window_start", "lead_id", "closed_at", "window_start"),
        Index("ix_visit_lead_id_window_start", "lead_id", "window_start"),
        Index("ix_visit_customer_id_window_start", "customer_id", "window_start"),
        Index("ix_visit_asset_id_window_start", "asset_id", "window_start"),
        Index("ix_visit_closed_at_window_start", "closed_at", "window_start"),
        Index("ix_visit_window_start", "window_start"),
        Index("ix_visit_status_closed_at", "status", "closed_at"),
    )

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("ticket.id"), index=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    site_id: Mapped[UUID | None] = mapped_column(ForeignKey("site.id"), index=True)
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id"))
    asset_id: Mapped[UUID | None] = mapped_column(ForeignKey("asset.id"))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("visit.id"), index=True)
    lead_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    kind: Mapped[str] = mapped_column(String(20), default="maintenance")
    status: Mapped[str] = mapped_column(String(20), default="draft")
    window_start: Mapped[datetime | None]
    window_end: Mapped[datetime | None]
    bring: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    created_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    scheduled_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    departed_at: Mapped[datetime | None]
    arrived_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    reviewed_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(default=1)

    ticket: Mapped[Ticket] = relationship()
    customer: Mapped[Customer] = relationship()
    site: Mapped[Site | None] = relationship()
    contact: Mapped[Contact | None] = relationship()
    asset: Mapped[Asset | None] = relationship()
    lead: Mapped[User | None] = relationship(foreign_keys=[lead_id])
    parent: Mapped[Visit | None] = relationship(remote_side="Visit.id")
    events: Mapped[list[VisitEvent]] = relationship(back_populates="visit", order_by="VisitEvent.seq")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling

    @property
    def closed(self) -> bool:
        return self.closed_at is not None

    @property
    def late_by(self) -> timedelta | None:
        """How late the engineer was, or is by now; None when not late or nobody is awaited."""
        came = self.arrived_at or self.started_at  # a phone may tell of the work before it tells of the arrival
        if self.window_end is None or (self.closed and came is None):
            return None
        late = (came or clock.now()) - self.window_end
        return late if late >= timedelta(minutes=1) else None


class VisitEvent(Keyed, Base):
    """One thing that happened, with the phone's time and ours. Never changed, never deleted (a trigger sees to it)."""

    __tablename__ = "visit_event"
    __table_args__ = (UniqueConstraint("visit_id", "seq"),)

    visit_id: Mapped[UUID] = mapped_column(ForeignKey("visit.id"))
    seq: Mapped[int]
    type: Mapped[str] = mapped_column(String(40))
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    device_at: Mapped[datetime | None]
    server_at: Mapped[datetime]
    skew_s: Mapped[int | None]
    submission_id: Mapped[UUID | None]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    visit: Mapped[Visit] = relationship(back_populates="events")
    actor: Mapped[User | None] = relationship()

    @property
    def at(self) -> datetime:
        """When it happened: by the phone if it said so, corrected when its clock was measured to be wrong (ADR 15)."""
        return happened_at(self.device_at, self.skew_s, self.server_at)


def visible_to(user: User) -> ColumnElement[bool]:
    """Which visits a person may see: the office all; an engineer those assigned now, and own work of 90 days."""
    if user.in_office:
        return true()
    return own_work(user.id, clock.now() - ENGINEER_SEES_OWN_WORK)


def own_work(engineer_id: Any, since: Any) -> ColumnElement[bool]:
    """The engineer's half of ``visible_to``, for values or for bound names."""
    own: ColumnElement[bool] = Visit.lead_id == engineer_id
    return own & (Visit.status != "draft") & or_(Visit.closed_at.is_(None), Visit.window_start >= since)


def given_to(user: User) -> ColumnElement[bool]:
    """Which visits are or ever were this engineer's. Only for what their phone did meanwhile: it may come months later,
    after the office gave the visit to somebody else."""
    key = str(user.id)
    planned = (VisitEvent.payload["lead"].as_string() == key) | (
        VisitEvent.payload[("before", "lead")].as_string() == key
    )
    stepped = (VisitEvent.actor_id == user.id) & VisitEvent.type.in_(OWN_STEPS)
    return or_(Visit.lead_id == user.id, exists().where((VisitEvent.visit_id == Visit.id) & (planned | stepped)))


def readable_by(user: User) -> ColumnElement[bool]:
    """Whose reports a person may read: those of visits they see, and finished ones at a site where they have work now
    or had some lately. An engineer must know what was done to the machine before."""
    if user.in_office:
        return true()
    mine = aliased(Visit)
    recent = mine.window_start >= clock.now() - ENGINEER_SEES_OWN_WORK
    there = (mine.lead_id == user.id) & (mine.site_id == Visit.site_id) & (mine.status != "draft")
    works_there = exists().where(there & or_(mine.closed_at.is_(None), recent))
    return or_(visible_to(user), Visit.closed_at.is_not(None) & works_there)
