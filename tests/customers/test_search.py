"""The search: by name, number, serial and phone, paged by key, through an index."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import event, insert

from fieldapp.customers.models import Asset, Contact, Customer, dialable, squashed
from fieldapp.customers.queries import MOST_BEHIND, search, search_key
from fieldapp.extensions import db, operation, uuid7
from tests.conftest import add
from tests.customers.samples import customer as made

pytestmark = pytest.mark.usefixtures("app")


def names(query: str) -> list[str]:
    """Names of the customers that a search finds."""
    return [hit.customer.name for hit in search(query).hits]


@pytest.fixture
def three(customer: Customer, asset: Asset) -> None:
    add(made("C-2001", "苏州 A-B 电子有限公司", phone="0512-6666 0001", mobile="138 1234-5678"))
    add(made("C-2002", "无锡样本纺织厂", phone="(0510) 88880002", mobile="+86 137 0000 2002"))


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("精密机械", "华东精密机械有限公司"),
        ("华东 精密", "华东精密机械有限公司"),
        ("a-b", "苏州 A-B 电子有限公司"),
        ("AB电子", "苏州 A-B 电子有限公司"),
        ("c2002", "无锡样本纺织厂"),
        ("C-1001", "华东精密机械有限公司"),
        ("ZW3000-0001", "华东精密机械有限公司"),
        ("zw3000 00", "华东精密机械有限公司"),
        ("66660001", "苏州 A-B 电子有限公司"),
        ("0512 6666-0001", "苏州 A-B 电子有限公司"),
        ("1234 56", "苏州 A-B 电子有限公司"),
        ("+86 138 1234 5678", "苏州 A-B 电子有限公司"),
        ("0086-13812345678", "苏州 A-B 电子有限公司"),
        ("１３８１２３４", "苏州 A-B 电子有限公司"),
        ("2002", "无锡样本纺织厂"),
        ("陈晓", "华东精密机械有限公司"),
    ],
)
def test_people_find_customers_by_what_they_know(query: str, name: str) -> None:
    assert name in names(query)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("query", ["没有", "99999999999", "%", "_", "---", "ZW9"])
def test_what_is_not_there_is_not_found(query: str) -> None:
    assert names(query) == []


@pytest.mark.usefixtures("three")
def test_without_a_query_all_are_listed() -> None:
    assert len(names("  ")) == 3


@pytest.mark.usefixtures("three")
def test_a_hit_says_through_whom_it_was_found() -> None:
    by_serial, by_phone = search("ZW3000-0001").hits[0], search("13900000001").hits[0]

    assert [asset.serial for asset in by_serial.assets] == ["ZW3000-0001"]
    assert [contact.name for contact in by_phone.contacts] == ["陈晓"]


def test_a_changed_phone_is_found_and_the_old_one_is_not(customer: Customer) -> None:
    @operation
    def change() -> None:
        db.session.get_one(Contact, customer.contacts[0].id).mobile = "13611112222"

    change()

    assert names("1361111") == ["华东精密机械有限公司"]
    assert names("13900000001") == []


def test_rows_that_are_inserted_in_bulk_are_found() -> None:
    @operation
    def fill() -> None:
        db.session.execute(insert(Customer), [{"number": "B-1", "name": "批量 公司", "phone": "010-1"}])

    fill()

    assert names("批量公司") == ["批量 公司"]


def many(count: int) -> list[Customer]:
    """Customers of which two share each name, so that pages break between equal names."""
    return [Customer(number=f"N-{n:04}", name=f"同名{n // 2:03}") for n in range(count)]


def test_pages_follow_each_other_without_gap_or_repetition() -> None:
    add(*many(25))

    seen: list[str] = []
    page = search("同名", limit=7)
    while True:
        seen += [hit.customer.number for hit in page.hits]
        if page.after is None:
            break
        page = search("同名", after=page.after, limit=7)

    assert len(seen) == 25
    assert len(set(seen)) == 25


def test_an_unknown_place_in_the_list_is_its_beginning() -> None:
    add(*many(3))

    assert len(search("", after=uuid7()).hits) == 3


def test_a_search_that_fits_too_much_says_so(customer: Customer) -> None:
    others = many(MOST_BEHIND + 2)
    for each in others:
        each.contacts.append(Contact(name="同一人", mobile="13912340000"))
    add(*others)

    assert search("3912").too_many
    assert not search("同名0001").too_many


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("13900000001", "SEARCH contact USING COVERING INDEX ix_contact_search_text_customer_id"),
        ("13900000001", "SEARCH asset USING COVERING INDEX ix_asset_search_text_customer_id"),
        ("0001", "SCAN asset USING COVERING INDEX ix_asset_search_text_customer_id"),
        ("精密", "SCAN contact USING COVERING INDEX ix_contact_search_text_customer_id"),
        ("精密", "SCAN customer USING INDEX ix_customer_name_id_search_text"),
    ],
)
def test_a_search_reads_narrow_indexes(app: Flask, customer: Customer, query: str, index: str) -> None:
    plans = "\n".join(explained(query))

    assert index in plans
    assert "TEMP B-TREE FOR ORDER BY" not in plans


def explained(query: str) -> list[str]:
    """What SQLite says about each statement of a search."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        statements.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        search(query)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    connection = db.session.connection()
    plans = []
    for statement, parameters in statements:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans += [row[3] for row in rows]
    return plans


@pytest.mark.parametrize(
    ("phone", "number"),
    [
        ("021-5550 1234", "02155501234"),
        ("+86 (139) 0000-0001", "+8613900000001"),
        ("021-55501234 转 812", "02155501234,812"),
        ("０２１－５５５０", "0215550"),
        ("没有", ""),
    ],
)
def test_phone_numbers_can_be_dialled(phone: str, number: str) -> None:
    assert dialable(phone) == number


def test_a_key_has_no_separators() -> None:
    assert squashed(" (021)-55 50.") == "0215550"
    assert search_key("0086 139") == "0086139"
    assert search_key("+86 13900") == "13900"
