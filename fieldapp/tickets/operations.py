"""Our copy of the store's tickets: taken in as the store tells them, linked to the customer file we know."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, dialable
from fieldapp.extensions import Base, db, operation, settings
from fieldapp.tickets.models import CHANNELS, PRIORITIES, STATUSES, TYPES, Ticket
from fieldapp.tickets.store import StoreTicket

T = TypeVar("T", bound=Base)


@operation
def take_in(told: StoreTicket, *, store: str | None = None) -> Ticket:
    """Insert or update our copy of a ticket (``store``: its name; default the installation's).

    The same version twice is nothing new. What the store does not name stays as it was linked here. A caller with name
    and number whom the customer file does not know yet becomes a contact, so that the engineer can call back.
    Nothing is promised from here: what we read from the store never makes us write to it.
    """
    store = store or settings.ticket_store
    ticket = db.session.scalar(select(Ticket).where(Ticket.store == store, Ticket.ref == told.ref).with_for_update())
    if ticket is None:
        ticket = Ticket(store=store, ref=told.ref, opened_at=told.opened)
        db.session.add(ticket)
    elif ticket.version == told.version or told.updated < ticket.changed_at:
        return ticket
    _copy(ticket, told)
    _link(ticket, told)
    db.session.flush()
    return ticket


def _copy(ticket: Ticket, told: StoreTicket) -> None:
    ticket.version = told.version
    ticket.number = told.fields.get("number", told.ref)[:40]
    ticket.subject = told.subject[:200]
    ticket.text = told.text
    ticket.status = told.status if told.status in STATUSES else "in_progress"
    ticket.channel = _known(told, "channel", CHANNELS, "hotline")
    ticket.type = _known(told, "type", TYPES, "hardware")
    ticket.priority = _known(told, "priority", PRIORITIES, "normal")
    ticket.changed_at = told.updated
    ticket.pulled_at = clock.now()


def _known(told: StoreTicket, name: str, words: tuple[str, ...], otherwise: str) -> str:
    word = told.fields.get(name, otherwise)
    return word if word in words else otherwise


# ---- links: by the names that both sides know -----------------------------------------------------------


def _link(ticket: Ticket, told: StoreTicket) -> None:
    asset = _one(select(Asset).where(Asset.serial == told.asset)) if told.asset else None
    customer = _customer(told, asset)
    if customer is not None and customer.id != ticket.customer_id:
        ticket.customer_id = customer.id
        ticket.contact_id = ticket.site_id = ticket.asset_id = None
    if asset is not None and asset.customer_id == ticket.customer_id:
        ticket.asset_id, ticket.site_id = asset.id, asset.site_id or ticket.site_id
    if ticket.customer_id is not None:
        ticket.site_id = ticket.site_id or _only_site(ticket.customer_id)
        ticket.contact_id = _contact(ticket.customer_id, told) or ticket.contact_id
    if name := told.fields.get("named_engineer"):
        ticket.named_engineer_id = _engineer(name) or ticket.named_engineer_id


def _customer(told: StoreTicket, asset: Asset | None) -> Customer | None:
    """By the customer's number; without one, whoever owns the device."""
    if told.customer:
        return _one(select(Customer).where(Customer.number == told.customer))
    return db.session.get(Customer, asset.customer_id) if asset else None


def _only_site(customer_id: UUID) -> UUID | None:
    customer = db.session.get_one(Customer, customer_id)
    return customer.sites[0].id if len(customer.sites) == 1 else None


def _contact(customer_id: UUID, told: StoreTicket) -> UUID | None:
    """The caller among the customer's contacts: by phone, else by name."""
    name, phone = told.fields.get("contact", ""), told.fields.get("contact_phone", "")
    theirs = list(db.session.scalars(select(Contact).where(Contact.customer_id == customer_id).order_by(Contact.id)))
    number = dialable(phone)
    by_phone = (each for each in theirs if number and number in (dialable(each.mobile), dialable(each.phone)))
    by_name = (each for each in theirs if name and each.name == name)
    found = next(by_phone, None) or next(by_name, None)
    if found is None and name and phone:
        found = _new_contact(customer_id, told, name=name, phone=phone)
    return found.id if found else None


def _new_contact(customer_id: UUID, told: StoreTicket, *, name: str, phone: str) -> Contact:
    contact = Contact(
        customer_id=customer_id,
        name=name[:80],
        mobile=phone[:40],
        phone=told.fields.get("company_phone", "")[:40],
        qq=told.fields.get("contact_qq", "")[:40],
        email=told.fields.get("contact_email", "")[:160],
    )
    db.session.add(contact)
    db.session.flush()
    return contact


def _engineer(name: str) -> UUID | None:
    """An engineer in service by name; None when nobody or more than one is called so."""
    named = select(User.id).where(User.name == name, User.role == "engineer", User.disabled_at.is_(None)).limit(2)
    found = list(db.session.scalars(named))
    return found[0] if len(found) == 1 else None


def _one(query: Select[T]) -> T | None:
    return db.session.scalar(query.limit(1))
