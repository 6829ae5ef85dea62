"""Our copy of a ticket: what the engineer must know of it. The ticket store owns the original (ADR 3)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
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
ENDED = ("resolved", "closed", "suspended")
REPORTS = "reports:"  # before a ticket's name: the lane in which its reports are made


class Ticket(Keyed, Base):
    """A service request as the store last told it. ``(store, ref)`` is its name there, ``version`` the state we saw.

    ``ended``: how it ended there without our doing (one of ENDED, ``merged`` into ``merged_into``, or ``gone`` from the
    store), at ``ended_at``. ``seen_at``: when a full pass last met it. ``pushed_status``, ``pushed_at``: what we wrote
    there last, and when; what comes back of it is no news.
    """

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
    ended: Mapped[str | None] = mapped_column(String(20))
    ended_at: Mapped[datetime | None]
    merged_into: Mapped[str | None] = mapped_column(String(60))
    seen_at: Mapped[datetime | None]
    pushed_status: Mapped[str | None] = mapped_column(String(20))
    pushed_at: Mapped[datetime | None]

    customer: Mapped[Customer | None] = relationship()
    contact: Mapped[Contact | None] = relationship()
    site: Mapped[Site | None] = relationship()
    asset: Mapped[Asset | None] = relationship()
    named_engineer: Mapped[User | None] = relationship()

    @property
    def lane(self) -> str:
        """All that we send about this ticket goes in this order: its lane in the outbox. What became a part of another
        ticket goes in that one's."""
        return f"{self.store}:{self.merged_into or self.ref}"

    @property
    def reports_lane(self) -> str:
        """Its reports are made in their order, and wait for nothing that the store has to take first."""
        return f"{REPORTS}{self.store}:{self.ref}"

    @property
    def open(self) -> bool:
        return self.status not in ENDED and self.ended is None


class PullCursor(Base):
    """How far we have read a store's changes; opaque to us. ``caught_up_at``: when its end was first reached; what stood
    there before is no news. ``scan_*``: where the slow pass over everything stands, since when, when it had read
    everything, when the last one was ended and what stood in its way.
    """

    __tablename__ = "pull_cursor"

    store: Mapped[str] = mapped_column(String(20), primary_key=True)
    cursor: Mapped[str] = mapped_column(Text, default="")
    pulled_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    caught_up_at: Mapped[datetime | None]
    scan_cursor: Mapped[str] = mapped_column(Text, default="")
    scan_started_at: Mapped[datetime | None]
    scan_read_at: Mapped[datetime | None]
    scan_ended_at: Mapped[datetime | None]
    scan_error: Mapped[str | None] = mapped_column(Text)


class TicketNews(Keyed, Base):
    """Something new about a ticket that people who plan should know: what it was, by whom, and who has seen it.

    ``kind``: ``new``, ``changed``, ``merged``, ``gone`` or ``back``. ``changes``: ``[{field, before, after}]`` in our words;
    empty when something was written that our copy does not hold, such as a note.
    """

    __tablename__ = "ticket_news"
    __table_args__ = (
        UniqueConstraint("ticket_id", "version", "kind"),
        Index("ix_ticket_news_seen_at_id", "seen_at", "id"),
    )

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("ticket.id"))
    version: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(80), default="")
    changes: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    made_at: Mapped[datetime] = mapped_column(default=clock.now, index=True)
    seen_at: Mapped[datetime | None]
    seen_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))

    ticket: Mapped[Ticket] = relationship()
    seen_by: Mapped[User | None] = relationship()


class CustomerHistory(Keyed, Base):
    """What a store said about a customer's tickets, and when. ``tickets`` has the shape that ``tickets.history`` reads.

    ``tried_at`` is the last question, ``asked_at`` the last one that was answered; ``error`` why the last was not.
    """

    __tablename__ = "customer_history"
    __table_args__ = (UniqueConstraint("store", "customer_id"),)

    store: Mapped[str] = mapped_column(String(20))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), index=True)
    tickets: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    asked_at: Mapped[datetime | None]
    tried_at: Mapped[datetime]
    error: Mapped[str] = mapped_column(Text, default="")
