"""What happened at a customer's and to an asset, and who may know it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db, operation, settings, uuid7
from fieldapp.records.models import ServiceRecord
from fieldapp.records.values import OpenLine
from fieldapp.reports.models import Report
from fieldapp.tickets.models import Ticket
from fieldapp.today import past
from fieldapp.today.past import past_of_asset, past_of_customer
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.records.samples import filled, signed

LogIn = Callable[[User], FlaskClient]


def an_old_visit(
    ticket: Ticket, lead: User, *, days: int, site: Site | None = None, asset: Asset | None = None
) -> Visit:
    """A visit that was completed so many days ago."""
    start = clock.now() - timedelta(days=days)
    assert ticket.customer_id is not None
    return Visit(
        ticket_id=ticket.id,
        customer_id=ticket.customer_id,
        site_id=site.id if site else ticket.site_id,
        asset_id=asset.id if asset else ticket.asset_id,
        lead_id=lead.id,
        status="completed",
        window_start=start,
        window_end=start + timedelta(minutes=30),
        closed_at=start + timedelta(hours=2),
    )


@pytest.fixture
def finished(working: Visit, engineer: User) -> Visit:
    """A signed visit that left something open, with its report."""
    signed(
        working,
        engineer,
        filled(outcome="remaining", open_items=(OpenLine(text="补丁待装", cause="缺授权", part="授权码"),)),
    )
    record = db.session.scalars(select(ServiceRecord)).one()
    issued = {"sha256": "0" * 64, "size": 1, "pages": 2, "content_hash": record.content_hash or ""}
    add(
        Report(record_id=record.id, locale="zh_Hans_CN", **issued),
        Report(record_id=record.id, locale="en", **issued),
        Report(record_id=record.id, locale="en", revision=2, **issued),
    )
    return working


# ---- the pages --------------------------------------------------------------------------------------------------


def test_a_customer_page_says_how_to_reach_and_what_was_done(
    logged_in: LogIn, dispatcher: User, customer: Customer, finished: Visit
) -> None:
    page = logged_in(dispatcher).get(f"/customers/{customer.id}").text

    for text in (
        "Enterprise",
        "C-1001",
        'href="tel:02155501234"',
        'href="tel:13900000001"',
        "示例路88号",
        "In warranty",
    ):
        assert text in page
    assert page.index("补丁待装") < page.index("Service history")
    assert 'data-status="partial"' in page
    assert f'href="/visits/{finished.id}"' in page


def test_an_asset_page_says_what_it_is_and_what_was_done(
    logged_in: LogIn, dispatcher: User, asset: Asset, finished: Visit
) -> None:
    page = logged_in(dispatcher).get(f"/assets/{asset.id}").text

    for text in ("ZW-3000", "ZW3000-0001", "V5.2", "In warranty", "补丁待装", "缺授权", "授权码"):
        assert text in page
    assert f'data-visit-id="{finished.id}"' in page


@pytest.mark.usefixtures("finished")
def test_the_report_in_the_readers_language_and_newest_revision_is_linked(
    logged_in: LogIn, dispatcher: User, customer: Customer
) -> None:
    newest = db.session.scalars(select(Report).where(Report.locale == "en", Report.revision == 2)).one()
    number = db.session.scalars(select(ServiceRecord.number)).one()

    page = logged_in(dispatcher).get(f"/customers/{customer.id}?lang=en").text

    assert f'href="/reports/{newest.id}.pdf"' in page
    assert page.count("/reports/") == 1
    assert number in page


@pytest.mark.parametrize(("days", "words"), [(-1, "Out of warranty"), (0, "In warranty"), (None, "Warranty unknown")])
def test_warranty_is_told_by_today(
    logged_in: LogIn, dispatcher: User, asset: Asset, days: int | None, words: str
) -> None:
    @operation
    def change() -> None:
        today = clock.local(clock.now(), settings.zone).date()
        stored = db.session.get_one(Asset, asset.id)
        stored.warranty_until = None if days is None else today + timedelta(days=days)

    change()

    assert words in logged_in(dispatcher).get(f"/assets/{asset.id}").text


def test_a_customer_of_whom_little_is_known_has_a_page(logged_in: LogIn, dispatcher: User) -> None:
    bare = Customer(number="C-9", name="新客户")
    bare.contacts.append(Contact(name="李", phone="没有电话"))
    add(bare)

    page = logged_in(dispatcher).get(f"/customers/{bare.id}").text

    assert "No visits yet." in page
    assert "tel:" not in page


def test_a_customers_special_needs_owner_and_credit_are_told(
    logged_in: LogIn, dispatcher: User, engineer: User, manager: User, visit: Visit
) -> None:
    @operation
    def change() -> None:
        customer = db.session.get_one(Customer, visit.customer_id)
        customer.special_needs, customer.credit, customer.account_owner_id = "穿防静电服", "AAA", manager.id

    change()
    path = f"/customers/{visit.customer_id}"

    office, field = logged_in(dispatcher).get(path).text, logged_in(engineer).get(path).text

    assert "穿防静电服" in office
    assert "钱军" in office
    assert "AAA" in office
    assert "穿防静电服" in field
    assert "AAA" not in field


def test_the_search_page_lists_and_finds(logged_in: LogIn, dispatcher: User, asset: Asset) -> None:
    add(*[Customer(number=f"N-{n}", name=f"样本{n:02}") for n in range(35)])
    browser = logged_in(dispatcher)

    first = browser.get("/customers").text
    after = first.split("after=")[1].split('"')[0]
    rest = browser.get(f"/customers?after={after}").text

    assert first.count('class="card"') == 30
    assert rest.count('class="card"') == 6
    assert "To the beginning" in rest
    assert asset.serial in browser.get("/customers?q=zw3000").text
    assert "Nothing found" in browser.get("/customers?q=nobody").text
    assert browser.get("/customers?after=nonsense").status_code == 200


def test_empty_lists_say_what_to_do(logged_in: LogIn, dispatcher: User, engineer: User) -> None:
    assert "import a list" in logged_in(dispatcher).get("/customers").text
    assert "customers of your visits" in logged_in(engineer).get("/customers").text


# ---- who may know what --------------------------------------------------------------------------------------------


def test_engineers_see_customers_and_assets_of_their_visits(
    logged_in: LogIn, engineer: User, visit: Visit, asset: Asset
) -> None:
    browser = logged_in(engineer)

    assert browser.get(f"/customers/{visit.customer_id}").status_code == 200
    assert browser.get(f"/assets/{asset.id}").status_code == 200
    assert "华东精密" in browser.get("/customers?q=ZW3000").text
    assert "New customer" not in browser.get("/customers").text
    assert "/edit" not in browser.get(f"/customers/{visit.customer_id}").text


def test_another_engineers_customers_and_assets_are_not_found(
    logged_in: LogIn, colleague: User, visit: Visit, asset: Asset
) -> None:
    browser = logged_in(colleague)

    assert browser.get(f"/customers/{visit.customer_id}").status_code == 404
    assert browser.get(f"/assets/{asset.id}").status_code == 404
    for query in ("", "华东", "ZW3000-0001", "13900000001", "C-1001"):
        assert "华东精密" not in browser.get(f"/customers?q={query}").text


def test_after_ninety_days_an_engineer_no_longer_sees_a_customer(
    logged_in: LogIn, engineer: User, ticket: Ticket
) -> None:
    add(an_old_visit(ticket, engineer, days=91))
    assert logged_in(engineer).get(f"/customers/{ticket.customer_id}").status_code == 404

    add(an_old_visit(ticket, engineer, days=89))
    assert logged_in(engineer).get(f"/customers/{ticket.customer_id}").status_code == 200


def test_engineers_know_the_past_of_their_sites_only(
    logged_in: LogIn, engineer: User, colleague: User, visit: Visit, ticket: Ticket, customer: Customer
) -> None:
    elsewhere = Site(customer_id=customer.id, name="二号仓库", address="样本路9号")
    add(elsewhere)
    hidden = Asset(customer_id=customer.id, site_id=elsewhere.id, model="保密设备", serial="HIDDEN-1")
    add(hidden)
    there = an_old_visit(ticket, colleague, days=200)
    other = an_old_visit(ticket, colleague, days=10, site=elsewhere, asset=hidden)
    add(there, other)
    browser = logged_in(engineer)

    page = browser.get(f"/customers/{customer.id}").text

    assert f'data-visit-id="{there.id}"' in page
    assert f'href="/visits/{there.id}"' not in page
    assert f'data-visit-id="{other.id}"' not in page
    assert "二号仓库" not in page
    assert "保密设备" not in page
    assert browser.get(f"/assets/{hidden.id}").status_code == 404
    assert "HIDDEN-1" not in browser.get("/customers?q=HIDDEN").text


@pytest.mark.parametrize("path", ["/customers", "/customers/{id}", "/assets/{id}"])
def test_strangers_are_sent_to_the_log_in(client: FlaskClient, path: str) -> None:
    answer = client.get(path.format(id=uuid7()))

    assert answer.status_code in (302, 303)
    assert answer.location.split("?")[0] == "/login"


@pytest.mark.parametrize("path", ["/customers/{id}", "/assets/{id}"])
def test_what_does_not_exist_is_not_found(logged_in: LogIn, dispatcher: User, path: str) -> None:
    assert logged_in(dispatcher).get(path.format(id=uuid7())).status_code == 404


# ---- a long past --------------------------------------------------------------------------------------------------


def test_older_visits_follow_without_gap_or_repetition(
    app: Flask, dispatcher: User, engineer: User, ticket: Ticket, customer: Customer, asset: Asset
) -> None:
    add(*[an_old_visit(ticket, engineer, days=days // 2) for days in range(2, 52)])
    waiting = Visit(ticket_id=ticket.id, customer_id=customer.id, asset_id=asset.id, status="draft")
    add(waiting)

    with app.test_request_context("/"):
        page = past_of_customer(customer, dispatcher)
        assert page.visits[0].id == waiting.id
        seen = [visit.id for visit in page.visits]
        while page.older:
            page = past_of_customer(customer, dispatcher, page.older)
            seen += [visit.id for visit in page.visits]

    assert len(seen) == len(set(seen)) == 51


def test_a_long_past_has_a_way_to_older_visits_and_back(
    logged_in: LogIn, dispatcher: User, engineer: User, ticket: Ticket
) -> None:
    add(*[an_old_visit(ticket, engineer, days=days) for days in range(1, 26)])
    browser = logged_in(dispatcher)

    first = browser.get(f"/customers/{ticket.customer_id}").text
    before = first.split("before=")[1].split('"')[0]
    older = browser.get(f"/customers/{ticket.customer_id}?before={before}").text

    assert first.count("data-visit-id") == past.PAGE
    assert older.count("data-visit-id") == 5
    assert "Newest" in older


def test_a_long_list_of_devices_is_paged(logged_in: LogIn, dispatcher: User, customer: Customer) -> None:
    add(*[Asset(customer_id=customer.id, model=f"M{n // 3:02}", serial=f"S{n:03}") for n in range(40)])
    browser = logged_in(dispatcher)

    first = browser.get(f"/customers/{customer.id}").text
    after = first.split("assets_after=")[1].split('"')[0]
    rest = browser.get(f"/customers/{customer.id}?assets_after={after}").text

    assert sum(f"S{n:03}" in first for n in range(40)) == 30
    assert sum(f"S{n:03}" in rest for n in range(40)) == 10


def test_a_history_asks_the_same_few_questions_however_long_it_is(
    app: Flask, dispatcher: User, engineer: User, ticket: Ticket, customer: Customer, asset: Asset
) -> None:
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        statements.append((statement, parameters))

    add(*[an_old_visit(ticket, engineer, days=days) for days in range(1, 40)])
    with app.test_request_context("/"):
        event.listen(db.engine, "before_cursor_execute", note)
        for person in (dispatcher, engineer):
            past_of_customer(customer, person)
            past_of_asset(asset, person)
        event.remove(db.engine, "before_cursor_execute", note)

    asked = [each for each in statements if each[0].startswith("SELECT")]
    assert len(asked) <= 4 * 5 + 4
    for statement, parameters in asked:
        rows = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        plan = [row[3] for row in rows]
        assert not [step for step in plan if step.startswith("SCAN visit")]
        if "window_start DESC" in statement and "visit.lead_id" not in statement.split("WHERE")[1]:
            assert "USE TEMP B-TREE FOR ORDER BY" not in plan
