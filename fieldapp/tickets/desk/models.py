"""The embedded ticket store's own tables. Nothing outside ``tickets.desk`` and its adapter reads or writes them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp.extensions import Base, Keyed
from fieldapp.tickets.models import ENDED, STATUSES

OPEN = tuple(status for status in STATUSES if status not in ENDED)


class DeskTicket(Keyed, Base):
    """A ticket in the embedded store. ``version`` counts its changes; ``change`` is the place of the last one in the feed.

    The customer is named by number, the asset by serial, as in any store that does not share our database. What a caller
    says who is not in the customer file stands here as it was said (requirements S1, 客户报修).
    """

    __tablename__ = "desk_ticket"
    __table_args__ = (
        Index("ix_desk_ticket_status_opened_at", "status", "opened_at"),
        Index("ix_desk_ticket_customer_number_opened_at", "customer_number", "opened_at"),
    )

    number: Mapped[str] = mapped_column(String(40), unique=True)
    uid: Mapped[str | None] = mapped_column(String(80), unique=True)
    version: Mapped[int]
    change: Mapped[int] = mapped_column(unique=True)
    channel: Mapped[str] = mapped_column(String(20))
    type: Mapped[str] = mapped_column(String(20))
    priority: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    customer_number: Mapped[str | None] = mapped_column(String(40))
    asset_serial: Mapped[str | None] = mapped_column(String(80))
    customer_name: Mapped[str] = mapped_column(String(160))
    product: Mapped[str] = mapped_column(String(160))
    company_phone: Mapped[str] = mapped_column(String(40))
    contact_name: Mapped[str] = mapped_column(String(80))
    contact_phone: Mapped[str] = mapped_column(String(40))
    contact_qq: Mapped[str] = mapped_column(String(40))
    contact_email: Mapped[str] = mapped_column(String(160))
    named_engineer: Mapped[str] = mapped_column(String(80))
    cover: Mapped[str] = mapped_column(String(20))
    opened_by: Mapped[str] = mapped_column(String(80))
    opened_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(80), default="")

    notes: Mapped[list[DeskNote]] = relationship(back_populates="ticket", order_by="DeskNote.version")

    @property
    def open(self) -> bool:
        return self.status not in ENDED


class DeskNote(Keyed, Base):
    """One entry of the thread, never changed. ``version``: that of the ticket which it made.

    ``uid`` is the writer's key; ``left_status`` is the status that was asked for but left to a person.
    """

    __tablename__ = "desk_note"
    __table_args__ = (UniqueConstraint("ticket_id", "version"),)

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("desk_ticket.id"))
    version: Mapped[int]
    uid: Mapped[str | None] = mapped_column(String(80), unique=True)
    at: Mapped[datetime]
    author: Mapped[str] = mapped_column(String(80))
    text: Mapped[str] = mapped_column(Text)
    status_before: Mapped[str | None] = mapped_column(String(20))
    status_after: Mapped[str | None] = mapped_column(String(20))
    left_status: Mapped[str | None] = mapped_column(String(20))

    ticket: Mapped[DeskTicket] = relationship(back_populates="notes")
    files: Mapped[list[DeskFile]] = relationship(back_populates="note", order_by="DeskFile.position")


class DeskFile(Keyed, Base):
    """An attachment of a note; the content lies in the storage under its SHA-256."""

    __tablename__ = "desk_file"
    __table_args__ = (UniqueConstraint("note_id", "position"),)

    note_id: Mapped[UUID] = mapped_column(ForeignKey("desk_note.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))

    note: Mapped[DeskNote] = relationship(back_populates="files")
