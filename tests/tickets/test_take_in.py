"""Our copy of the store's tickets, linked to the customer file."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db
from fieldapp.outbox import Promise
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import take_in
from fieldapp.tickets.store import StoreTicket
from tests.conftest import add, person


@pytest.fixture
def told(app: Flask) -> StoreTicket:
    """What the store tells of a caller."""
    return StoreTicket(
        ref="T-20261121-0009",
        version="1",
        opened=clock.now() - timedelta(hours=1),
        updated=clock.now() - timedelta(hours=1),
        subject="服务器无法启动",
        text="开机后蓝屏",
        status="new",
        customer="C-1001",
        asset="ZW3000-0001",
        fields={
            "number": "T-20261121-0009",
            "channel": "wechat",
            "type": "software",
            "priority": "urgent",
            "contact": "陈晓",
            "contact_phone": "139-0000-0001",
            "named_engineer": "王磊",
        },
    )


def changed(told: StoreTicket, **values: object) -> StoreTicket:
    """The same ticket, told again with the next version."""
    values = {"version": str(int(told.version) + 1), "updated": clock.now(), **values}
    return replace(told, **values)  # type: ignore[arg-type]


def fields(told: StoreTicket, **values: str) -> dict[str, str]:
    return {**told.fields, **values}


def test_a_ticket_is_linked_to_what_we_know(told: StoreTicket, asset: Asset, engineer: User) -> None:
    ticket = take_in(told)

    assert (ticket.store, ticket.ref, ticket.number, ticket.version) == ("embedded", told.ref, told.ref, "1")
    assert (ticket.subject, ticket.text, ticket.status) == ("服务器无法启动", "开机后蓝屏", "new")
    assert (ticket.channel, ticket.type, ticket.priority) == ("wechat", "software", "urgent")
    assert ticket.customer is not None
    assert ticket.customer.number == "C-1001"
    assert ticket.asset == asset
    assert ticket.site_id == asset.site_id
    assert ticket.contact is not None
    assert ticket.contact.name == "陈晓"
    assert ticket.named_engineer == engineer


def test_the_same_version_twice_is_nothing_new(told: StoreTicket, asset: Asset) -> None:
    first = take_in(told)

    again = take_in(replace(told, subject="other"))

    assert again.id == first.id
    assert again.subject == "服务器无法启动"
    assert db.session.scalar(select(func.count()).select_from(Ticket)) == 1


def test_a_later_version_replaces_and_an_older_one_does_not(told: StoreTicket, asset: Asset) -> None:
    take_in(told)

    assert take_in(changed(told, status="in_progress")).status == "in_progress"
    assert take_in(replace(told, version="0", status="closed")).status == "in_progress"


def test_a_caller_whom_we_do_not_know_becomes_a_contact(told: StoreTicket, asset: Asset) -> None:
    known = fields(told, contact="刘芳", contact_phone="13700000009", contact_qq="10001", company_phone="021-5550")

    ticket = take_in(replace(told, fields=known))

    assert ticket.contact is not None
    assert (ticket.contact.name, ticket.contact.mobile, ticket.contact.qq) == ("刘芳", "13700000009", "10001")
    assert ticket.contact.phone == "021-5550"
    again = take_in(changed(told, fields=known))
    assert again.contact_id == ticket.contact_id
    assert db.session.scalar(select(func.count()).select_from(Contact)) == 2


def test_a_name_alone_finds_a_contact_but_makes_none(told: StoreTicket, asset: Asset) -> None:
    assert take_in(replace(told, fields=fields(told, contact_phone=""))).contact is not None

    stranger = take_in(replace(told, ref="T-2", fields=fields(told, contact="刘芳", contact_phone="")))

    assert stranger.contact is None


def test_a_device_alone_tells_the_customer(told: StoreTicket, asset: Asset) -> None:
    ticket = take_in(replace(told, customer=None))

    assert ticket.customer_id == asset.customer_id
    assert ticket.asset_id == asset.id


def test_somebody_elses_device_is_not_linked(told: StoreTicket, asset: Asset) -> None:
    add(Customer(number="C-2002", name="另一家公司"))

    ticket = take_in(replace(told, customer="C-2002"))

    assert ticket.customer is not None
    assert ticket.customer.number == "C-2002"
    assert ticket.asset is None


def test_an_unknown_customer_stays_open_until_one_is_named(told: StoreTicket, asset: Asset) -> None:
    ticket = take_in(replace(told, customer="C-9999", asset=None))
    assert (ticket.customer, ticket.contact, ticket.site) == (None, None, None)

    linked = take_in(changed(told))

    assert linked.customer is not None
    assert linked.asset is not None


def test_another_customer_takes_the_old_ones_contact_and_site_away(told: StoreTicket, asset: Asset) -> None:
    take_in(told)
    add(Customer(number="C-2002", name="另一家公司", sites=[Site(name="总部", address="北京市示例路1号")]))

    ticket = take_in(changed(told, customer="C-2002", asset=None, fields=fields(told, contact="", contact_phone="")))

    assert (ticket.contact, ticket.asset) == (None, None)
    assert ticket.site is not None
    assert ticket.site.name == "总部"


def test_what_the_store_does_not_name_stays_as_it_was(told: StoreTicket, asset: Asset, engineer: User) -> None:
    take_in(told)

    ticket = take_in(changed(told, customer=None, asset=None, fields={}))

    assert ticket.customer is not None
    assert ticket.asset == asset
    assert ticket.named_engineer == engineer


def test_words_that_we_do_not_have_get_a_plain_one(told: StoreTicket) -> None:
    ticket = take_in(replace(told, status="escalated", fields={"channel": "fax", "type": "?", "priority": "P1"}))

    assert (ticket.status, ticket.channel, ticket.type, ticket.priority) == (
        "in_progress",
        "hotline",
        "hardware",
        "normal",
    )


def test_an_engineer_is_not_guessed_between_two_of_the_same_name(told: StoreTicket, engineer: User) -> None:
    person("wanglei2", "engineer", "王磊")

    assert take_in(told).named_engineer is None


def test_reading_a_ticket_promises_nothing(told: StoreTicket, asset: Asset) -> None:
    take_in(told)
    take_in(changed(told, status="resolved"))

    assert db.session.scalar(select(func.count()).select_from(Promise)) == 0
