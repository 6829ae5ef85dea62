"""Reading the embedded store's desk: the list, one ticket, and what the customer file knows about a caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import selectinload

from fieldapp.customers.models import Asset, Customer
from fieldapp.customers.queries import search
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.tickets.desk.models import OPEN, DeskFile, DeskNote, DeskTicket
from fieldapp.tickets.models import STATUSES
from fieldapp.tickets.store import StoreTicket

PAGE = 50
MOST_SUGGESTED = 100
ASKED = (
    "channel",
    "type",
    "priority",
    "company_phone",
    "contact_phone",
    "contact_qq",
    "contact_email",
    "named_engineer",
)


@dataclass(frozen=True)
class Listed:
    """A ticket in the list with the customer's name as far as anybody knows it."""

    ticket: DeskTicket
    customer: str


@dataclass(frozen=True)
class Listing:
    """One page of the list, from 1; ``pages`` is at least 1."""

    rows: Sequence[Listed]
    total: int
    page: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))


def listing(words: str, status: str, page: int) -> Listing:
    """Tickets, newest first. ``status``: one of STATUSES, ``open`` or ``all``; ``words``: in number, text or caller."""
    query = _listed(words.strip(), status)
    total = db.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = min(max(page, 1), max(1, -(-total // PAGE)))
    newest = query.order_by(DeskTicket.opened_at.desc(), DeskTicket.id.desc()).limit(PAGE).offset((page - 1) * PAGE)
    rows = [Listed(row.DeskTicket, row.name or row.DeskTicket.customer_name) for row in db.session.execute(newest)]
    return Listing(rows, total, page)


def _listed(words: str, status: str) -> Select[DeskTicket, str]:
    query = select(DeskTicket, Customer.name).outerjoin(Customer, Customer.number == DeskTicket.customer_number)
    if status == "open":
        query = query.where(DeskTicket.status.in_(OPEN))
    elif status in STATUSES:
        query = query.where(DeskTicket.status == status)
    if words:
        columns = (
            DeskTicket.number,
            DeskTicket.subject,
            DeskTicket.customer_number,
            DeskTicket.asset_serial,
            DeskTicket.customer_name,
            DeskTicket.contact_name,
            DeskTicket.contact_phone,
            Customer.name,
        )
        query = query.where(or_(*(column.icontains(words, autoescape=True) for column in columns)))
    return query


def ticket_or_404(number: str) -> DeskTicket:
    """A ticket with its thread and files (raises NotFound)."""
    query = select(DeskTicket).where(DeskTicket.number == number)
    thread = selectinload(DeskTicket.notes).selectinload(DeskNote.files)
    ticket = db.session.scalar(query.options(thread).execution_options(populate_existing=True))
    if ticket is None:
        raise NotFound(_("There is no ticket %(number)s.", number=number))
    return ticket


def file_or_404(number: str, file_id: UUID) -> DeskFile:
    """A file in the thread of this very ticket (raises NotFound)."""
    query = select(DeskFile).join(DeskNote).join(DeskTicket)
    file = db.session.scalar(query.where(DeskTicket.number == number, DeskFile.id == file_id))
    if file is None:
        raise NotFound(_("There is no such file in this ticket."))
    return file


def told(ticket: DeskTicket) -> StoreTicket:
    """A ticket in the words of the protocol; what was said about the product follows the text."""
    asked = {name: getattr(ticket, name) for name in ASKED}
    return StoreTicket(
        ref=ticket.number,
        version=str(ticket.version),
        opened=ticket.opened_at,
        updated=ticket.changed_at,
        subject=ticket.subject,
        status=ticket.status,
        text="\n\n".join(part for part in (ticket.text, ticket.product) if part),
        customer=ticket.customer_number,
        asset=ticket.asset_serial,
        changed_by=ticket.changed_by,
        fields={"number": ticket.number, "contact": ticket.contact_name, **asked},
    )


# ---- suggestions: who is calling, and about what --------------------------------------------------------


def customer_called(words: str) -> Customer | None:
    """The one customer with this number, or this very name."""
    by_number = db.session.scalar(select(Customer).where(func.lower(Customer.number) == words.lower()).limit(1))
    if by_number is not None or not words:
        return by_number
    named = list(db.session.scalars(select(Customer).where(Customer.name == words).limit(2)))
    return named[0] if len(named) == 1 else None


def customer_numbered(number: str | None) -> Customer | None:
    """The customer with this number."""
    return db.session.scalar(select(Customer).where(Customer.number == number)) if number else None


def customers_like(words: str, limit: int = 8) -> list[Customer]:
    """Customers whose name, number, phone, contact or device holds the words."""
    return [hit.customer for hit in search(words, limit=limit).hits] if words.strip() else []


def some_customers() -> list[Customer]:
    """Customers to choose from while typing; in a larger file one looks them up."""
    return list(db.session.scalars(select(Customer).order_by(Customer.name).limit(MOST_SUGGESTED)))


def assets_of(customer: Customer | None) -> list[Asset]:
    """The customer's devices to choose from."""
    if customer is None:
        return []
    query = select(Asset).where(Asset.customer_id == customer.id).order_by(Asset.model, Asset.serial)
    return list(db.session.scalars(query.limit(MOST_SUGGESTED)))


def asset_with(serial: str) -> Asset | None:
    """The device with this serial."""
    return db.session.scalar(select(Asset).where(func.lower(Asset.serial) == serial.lower()).limit(1))
