"""Our copy of a ticket: what the engineer must know of it. The ticket store owns the original (ADR 3)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import Base, Keyed

CHANNELS = ("hotline", "web", "app", "wechat", "shop", "relay", "email")  # 电话 官网 APP 公众号 门店 办事处 邮件
TYPES = (
    "consult",
    "hardware",
    "software",
    "return",
    "doa",
    "service_problem",
    "suggestion",
    "complaint",
)
PRIORITIES = ("urgent", "high", "normal", "low")  # 紧急 高 普通 低
STATUSES = ("new", "triaged", "in_progress", "waiting_customer", "resolved", "closed", "reopened", "suspended")


class Ticket(Keyed, Base):
    """A service request as the store last told it. ``(store, ref)`` is its name there, ``version`` the state we saw."""

    __tablename__ = "ticket"
    __table_args__ = (
        UniqueConstraint("store", "ref"),
        Index("ix_ticket_status_opened_at", "status", "opened_at"),
    )

    store: Mapped[str] = mapped_column(String(20))
    ref: Mapped[str] = mapped_column(String(60))
    version: Mapped[str] = mapped_column(String(60))
    number: Mapped[str] = mapped_column(String(40), index=True)
    channel: Mapped[str] = mapped_column(String(20), default="hotline")
    type: Mapped[str] = mapped_column(String(20), default="hardware")
    priority: Mapped[str] = mapped_column(String(20), default="normal")
    status: Mapped[str] = mapped_column(String(20), default="new")
    subject: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text, default="")
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("customer.id"), index=True)
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id"))
    site_id: Mapped[UUID | None] = mapped_column(ForeignKey("site.id"))
    asset_id: Mapped[UUID | None] = mapped_column(ForeignKey("asset.id"), index=True)
    named_engineer_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    opened_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    pulled_at: Mapped[datetime] = mapped_column(default=clock.now)

    customer: Mapped[Customer | None] = relationship()
    contact: Mapped[Contact | None] = relationship()
    site: Mapped[Site | None] = relationship()
    asset: Mapped[Asset | None] = relationship()
    named_engineer: Mapped[User | None] = relationship()

    @property
    def lane(self) -> str:
        """All that we send about this ticket goes in this order: its lane in the outbox."""
        return f"{self.store}:{self.ref}"

    @property
    def open(self) -> bool:
        return self.status not in ("resolved", "closed", "suspended")


class PullCursor(Base):
    """How far we have read a store's changes; opaque to us."""

    __tablename__ = "pull_cursor"

    store: Mapped[str] = mapped_column(String(20), primary_key=True)
    cursor: Mapped[str] = mapped_column(String(200), default="")
    pulled_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
