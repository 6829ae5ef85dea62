"""Our copy of the store's tickets: taken in as the store tells them, linked to the customer file we know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import selectinload

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, dialable
from fieldapp.extensions import db, operation, serialize, settings, uuid7
from fieldapp.outbox import OPEN_STATES, Promise
from fieldapp.tickets import news
from fieldapp.tickets.models import CHANNELS, ENDED, PRIORITIES, STATUSES, TYPES, Ticket
from fieldapp.tickets.store import StoreTicket

NOTHING: Mapping[str, news.Wrote] = MappingProxyType({})
STORE_CLOCK_BEHIND = timedelta(minutes=2)
WRITING_TAKES = timedelta(minutes=5)  # how long after we began a push its last write may be dated


@operation
def take_in(
    told: StoreTicket, *, store: str | None = None, quiet: bool = False, wrote: Mapping[str, news.Wrote] = NOTHING
) -> Ticket:
    """Insert or update our copy of a ticket (``store``: its name; default the installation's).

    The same version twice is nothing new. What the store does not name stays as it was linked here. A caller with name
    and number whom the customer file does not know yet becomes a contact, so that the engineer can call back.
    Nothing is promised from here: what we read from the store never makes us write to it. What is new is noted for
    those who plan, unless it is what we wrote ourselves, or ``quiet``. ``wrote``: what people are known to have written
    since, by the ticket's ref, so that it is not taken for ours.
    """
    return take_in_all((told,), store=store or settings.ticket_store, quiet=quiet, wrote=wrote)[0]


@operation
def take_in_all(
    told: Sequence[StoreTicket], *, store: str, quiet: bool = False, wrote: Mapping[str, news.Wrote] = NOTHING
) -> list[Ticket]:
    """The same for a page of tickets: what they need is read together, and written together."""
    at_hand = _at_hand(told, store)
    with db.session.no_autoflush:
        tickets = [_take_in(each, at_hand, store, quiet=quiet, wrote=wrote.get(each.ref)) for each in told]
    db.session.flush()
    return tickets


@dataclass(frozen=True)
class AtHand:
    """What a page of tickets names, by the names that both sides know."""

    tickets: dict[str, Ticket]
    customers: dict[str, Customer]
    assets: dict[str, Asset]
    lines: news.Lines


def _at_hand(told: Sequence[StoreTicket], store: str) -> AtHand:
    refs = {each.ref for each in told}
    numbers, serials = {each.customer for each in told if each.customer}, {each.asset for each in told if each.asset}
    tickets = select(Ticket).where(Ticket.store == store, Ticket.ref.in_(refs)).order_by(Ticket.id).with_for_update()
    customers = select(Customer).where(Customer.number.in_(numbers)).options(selectinload(Customer.sites))
    assets = select(Asset).where(Asset.serial.in_(serials))
    known = {each.ref: each for each in db.session.scalars(tickets)}
    return AtHand(
        tickets=known,
        customers={each.number: each for each in db.session.scalars(customers)} if numbers else {},
        assets={each.serial: each for each in db.session.scalars(assets)} if serials else {},
        lines=news.lines_of([each.id for each in known.values()], {each.version for each in told}),
    )


def _take_in(told: StoreTicket, at_hand: AtHand, store: str, *, quiet: bool, wrote: news.Wrote | None) -> Ticket:
    ticket = at_hand.tickets.get(told.ref)
    known = ticket is not None
    if ticket is None:
        ticket = at_hand.tickets[told.ref] = Ticket(id=uuid7(), store=store, ref=told.ref, opened_at=told.opened)
        db.session.add(ticket)
    elif ticket.ended != "gone" and (ticket.version == told.version or told.updated < ticket.changed_at):
        if ticket.version == told.version and ticket.customer_id is None:
            _link(ticket, told, at_hand)  # the customer file may know by now whom the store means
        return ticket
    before = news.state_of(ticket)
    ours = _is_echo(ticket, told)
    _copy(ticket, told)
    _link(ticket, told, at_hand)
    _note_end(ticket, told, before, ours=ours)
    if not quiet:
        by = told.changed_by
        news.note(ticket, before if known else None, by=by, ours=ours, wrote=wrote, lines=at_hand.lines)
    return ticket


@operation
def lose(ticket: Ticket) -> None:
    """The store does not have this ticket any more: our copy stays, and those who plan are told."""
    ticket.ended, ticket.ended_at = "gone", clock.now()
    news.add(ticket, "gone", at=clock.now())


@operation
def become_part(ticket: Ticket, into: str) -> None:
    """The store answers with another ticket when it is asked for this one."""
    _merge(ticket, into)
    _end(ticket, "merged", clock.now())
    news.add(ticket, "merged", at=clock.now())


@operation
def expect_back(store: str, ref: str, status: str | None) -> None:
    """We are about to write to this ticket: what the store tells of it soon is no news (``status``: None leaves it)."""
    known = update(Ticket).where(Ticket.store == store, Ticket.ref == ref)
    db.session.execute(known.values(pushed_at=clock.now(), pushed_status=status or Ticket.pushed_status))


def looked_at(told: Sequence[StoreTicket], *, store: str) -> Mapping[str, datetime]:
    """Those of these tickets whose change may be what we wrote, and when they had changed last as far as we knew."""
    versions = {each.ref: each for each in told}
    known = select(Ticket).where(Ticket.store == store, Ticket.ref.in_(versions), Ticket.pushed_at.is_not(None))
    return {
        ticket.ref: ticket.changed_at
        for ticket in db.session.scalars(known)
        if ticket.version != versions[ticket.ref].version and _is_echo(ticket, versions[ticket.ref])
    }


def _is_echo(ticket: Ticket, told: StoreTicket) -> bool:
    """Whether the store's last change falls into the time in which we wrote."""
    if ticket.pushed_at is None:
        return False
    return ticket.pushed_at - STORE_CLOCK_BEHIND <= told.updated <= ticket.pushed_at + WRITING_TAKES


def _note_end(ticket: Ticket, told: StoreTicket, before: news.State, *, ours: bool) -> None:
    """How the ticket ended there, when it did without our doing; a ticket that goes on has not ended."""
    into = told.merged_into if told.merged_into != told.ref else None
    if into != ticket.merged_into:
        _merge(ticket, into)
        _end(ticket, "merged" if into else _ended_by(ticket, ours), told.updated)
    elif into is None and (ticket.ended == "gone" or ticket.status != before.status):
        _end(ticket, _ended_by(ticket, ours), told.updated)


def _end(ticket: Ticket, how: str | None, at: datetime) -> None:
    ticket.ended, ticket.ended_at = how, at if how else None


def _ended_by(ticket: Ticket, ours: bool) -> str | None:
    if ticket.status not in ENDED or (ours and ticket.status == ticket.pushed_status):
        return None
    return ticket.status


def _merge(ticket: Ticket, into: str | None) -> None:
    """What waits to be delivered goes on in the lane of the ticket that this one is a part of now."""
    db.session.flush()  # another ticket of the same page may be a part of it, too
    lane = ticket.lane
    ticket.merged_into = into
    if into is None:
        return
    move_promises(lane, ticket.lane)
    parts = update(Ticket).where(Ticket.store == ticket.store, Ticket.merged_into == ticket.ref, Ticket.ref != into)
    db.session.execute(parts.values(merged_into=into))


def move_promises(lane: str, to: str) -> None:
    """To the end of the other lane, in their order. One that is being kept at this moment goes along: should it have to be
    tried again, what follows it must still wait behind it."""
    if lane == to:
        return
    for name in sorted((lane, to)):
        serialize(name)
    waits = (Promise.lane == lane) & Promise.state.in_(OPEN_STATES)
    last = db.session.scalar(select(func.max(Promise.lane_seq)).where(Promise.lane == to)) or 0
    for promise in db.session.scalars(select(Promise).where(waits).order_by(Promise.lane_seq).with_for_update()):
        last += 1
        promise.lane, promise.lane_seq = to, last
        promise.store = promise.store and to.partition(":")[0]  # None: it asks nobody outside


def _copy(ticket: Ticket, told: StoreTicket) -> None:
    ticket.version = told.version
    ticket.number = told.fields.get("number", told.ref)[:40]
    ticket.subject = told.subject.replace("\x00", "")[:200]
    ticket.text = told.text.replace("\x00", "")  # PostgreSQL takes no NUL
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


def _link(ticket: Ticket, told: StoreTicket, at_hand: AtHand) -> None:
    asset = at_hand.assets.get(told.asset) if told.asset else None
    customer = _customer(told, asset, at_hand)
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


def _customer(told: StoreTicket, asset: Asset | None, at_hand: AtHand) -> Customer | None:
    """By the customer's number; without one, whoever owns the device."""
    if told.customer:
        return at_hand.customers.get(told.customer)
    return db.session.get(Customer, asset.customer_id) if asset else None


def _only_site(customer_id: UUID) -> UUID | None:
    customer = db.session.get_one(Customer, customer_id)
    return customer.sites[0].id if len(customer.sites) == 1 else None


def _contact(customer_id: UUID, told: StoreTicket) -> UUID | None:
    """The caller among the customer's contacts: by phone, else by name."""
    name, phone = told.fields.get("contact", ""), told.fields.get("contact_phone", "")
    if not name and not phone:
        return None
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
