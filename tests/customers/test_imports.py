"""The import: a check that says everything, then all or nothing."""

from __future__ import annotations

from datetime import date

import pytest
from flask import Flask
from sqlalchemy import event, func, insert, select
from sqlalchemy.orm import Session

from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.customers import imports, operations
from fieldapp.customers.imports import check, load
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.customers.operations import SiteDetails
from fieldapp.errors import NotAllowedNow
from fieldapp.extensions import db, uuid7
from tests.customers.samples import ASSETS, CUSTOMERS, SITES, files, three

pytestmark = pytest.mark.usefixtures("app")


def count(thing: type) -> int:
    """How many rows there are."""
    return db.session.scalar(select(func.count()).select_from(thing)) or 0


def wrong(**texts: str) -> list[tuple[str, int, str]]:
    """(kind, row, column) of all that is wrong."""
    return [(each.sheet, each.row, each.column) for each in check(files(**texts)).wrong]


def test_a_check_says_what_would_happen_and_writes_nothing() -> None:
    report = check(three())

    assert report.ok
    assert not report.loaded
    assert [(each.kind, each.rows, each.new) for each in report.outcomes] == [
        ("customers", 2, 2),
        ("sites", 2, 2),
        ("assets", 2, 2),
    ]
    assert count(Customer) == count(Site) == count(Asset) == 0


def test_three_files_that_name_each_other_are_loaded_together(dispatcher: User) -> None:
    report = load(three(), by=dispatcher)

    assert report.loaded
    asset = db.session.scalars(select(Asset).where(Asset.serial == "SZ-9001")).one()
    assert (asset.customer.number, asset.customer.tier, asset.site and asset.site.name) == ("C-2001", "vip", "总部")
    assert (asset.bought_on, asset.warranty_until) == (date(2025, 1, 10), date(2028, 1, 9))
    assert asset.site is not None
    assert asset.site.latitude_e6 == 31317600
    assert asset.customer.contacts[0].mobile == "138 0000 2001"
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "customers.imported")).one()
    assert entry.by == dispatcher.id
    assert entry.facts["assets_new"] == 2


def test_the_same_files_again_change_nothing(dispatcher: User) -> None:
    load(three(), by=dispatcher)

    report = load(three(), by=dispatcher)

    assert [(each.new, each.changed, each.same) for each in report.outcomes] == [(0, 0, 2)] * 3
    assert count(Contact) == 2


def test_known_rows_are_updated_and_empty_cells_leave_what_is_stored(dispatcher: User) -> None:
    load(three(), by=dispatcher)
    before = db.session.scalars(select(Customer.revision).where(Customer.number == "C-2001")).one()

    report = load(
        files(
            customers="客户编号,客户名称,公司电话,联系人,联系人手机\nC-2001,苏州新名电子有限公司,,周敏,13900009999\n",
            sites="客户编号,服务地点,地址\nC-2001,总部,新地址5号\n",
            assets="序列号,型号,客户编号,软件版本\nSZ-9001,ZW-3000,C-2001,V6.0\n",
        ),
        by=dispatcher,
    )

    assert [(each.new, each.changed) for each in report.outcomes] == [(0, 1)] * 3
    customer = db.session.scalars(select(Customer).where(Customer.number == "C-2001")).one()
    assert (customer.name, customer.phone, customer.tier) == ("苏州新名电子有限公司", "0512-66660001", "vip")
    assert customer.revision == before + 1
    assert [(each.name, each.mobile, each.qq) for each in customer.contacts] == [("周敏", "13900009999", "10002001")]
    assert customer.sites[0].address == "新地址5号"
    assert (customer.assets[0].software_version, customer.assets[0].config) == ("V6.0", "双电源")


def test_one_wrong_row_in_any_file_and_nothing_is_loaded(dispatcher: User) -> None:
    broken = files(customers=CUSTOMERS, sites=SITES, assets=ASSETS + "SZ-9009,ZW-1,C-9999,,,,,\n")

    report = load(broken, by=dispatcher)

    assert not report.loaded
    assert [(each.sheet, each.row, each.column, each.value) for each in report.wrong] == [
        ("assets", 4, "客户编号", "C-9999")
    ]
    assert count(Customer) == count(Site) == count(Asset) == count(Contact) == 0
    assert count(AuditEntry) == 0


def test_nothing_to_load_loads_nothing(dispatcher: User) -> None:
    assert not load({}, by=dispatcher).loaded


def test_repeated_keys_inside_a_file_are_wrong() -> None:
    again = CUSTOMERS + "C-2001,另一个名字,,,,,\n"

    report = check(files(customers=again, sites=SITES + "C-2001,总部,别处,,\n", assets=ASSETS + "SZ-9001,X,C-2001\n"))

    assert [(each.sheet, each.row) for each in report.wrong] == [("customers", 4), ("sites", 4), ("assets", 4)]
    assert "Row 2" in report.wrong[0].sentence


def test_a_wrong_customer_does_not_make_its_sites_and_assets_wrong_too() -> None:
    broken = CUSTOMERS.replace("VIP", "皇帝")

    assert wrong(customers=broken, sites=SITES, assets=ASSETS) == [("customers", 2, "客户等级")]


def test_a_wrong_site_does_not_make_its_assets_wrong_too() -> None:
    broken = SITES.replace("31.3176", "北纬31度")

    assert wrong(customers=CUSTOMERS, sites=broken, assets=ASSETS) == [("sites", 2, "纬度")]


@pytest.mark.parametrize(
    ("before", "after", "column"),
    [
        ("0512-66660001", "五一二", "公司电话"),
        ("138 0000 2001", "1.38E+10", "联系人手机"),
        ("苏州示例电子有限公司", "", "客户名称"),
        ("周敏", "", "联系人"),
    ],
)
def test_wrong_cells_of_customers_are_said_with_row_and_column(before: str, after: str, column: str) -> None:
    assert wrong(customers=CUSTOMERS.replace(before, after)) == [("customers", 2, column)]


def test_an_address_without_at_is_no_email() -> None:
    assert wrong(customers="客户编号,客户名称,联系人,邮箱\nC-1,甲,陈,chen.example.com\n") == [("customers", 2, "邮箱")]


@pytest.mark.parametrize(
    ("before", "after", "column"),
    [
        ("2028/1/9", "2024/1/9", "保修截止"),
        ("2028/1/9", "9/1/2028", "保修截止"),
        ("2025-01-10", "2025-02-30", "购买日期"),
        ("2025-01-10", "45667", "购买日期"),
        ("总部", "不存在的地点", "服务地点"),
    ],
)
def test_wrong_cells_of_assets_are_said_with_row_and_column(before: str, after: str, column: str) -> None:
    broken = ASSETS.replace(before, after)

    assert wrong(customers=CUSTOMERS, sites=SITES, assets=broken) == [("assets", 2, column)]


@pytest.mark.parametrize("latitude", ["91", "-90.1", "NaN", "Infinity", "abc"])
def test_degrees_must_lie_on_the_earth(latitude: str) -> None:
    assert wrong(customers=CUSTOMERS, sites=SITES.replace("31.3176", latitude)) == [("sites", 2, "纬度")]


@pytest.mark.parametrize("text", ["2025-1-2", "2025/01/02", "2025.1.2", "2025年1月2日", "20250102", "2025/1/2 0:00"])
def test_days_may_be_written_as_people_do(text: str, dispatcher: User) -> None:
    load(files(customers=CUSTOMERS, assets=f"序列号,型号,客户编号,购买日期\nX-1,M,C-2001,{text}\n"), by=dispatcher)

    assert db.session.scalars(select(Asset.bought_on)).one() == date(2025, 1, 2)


def test_a_serial_of_another_customer_is_not_taken_over(asset: Asset) -> None:
    text = f"序列号,型号,客户编号\n{asset.serial},ZW-3000,C-2001\n"

    report = check(files(customers=CUSTOMERS, assets=text))

    assert report.wrong[0].sentence == "A device with this serial number belongs to another customer."


def test_sites_and_assets_of_stored_customers_need_no_customers_file(customer: Customer, dispatcher: User) -> None:
    report = load(
        files(
            sites="customer number,site,address\nC-1001,二号厂房,示例路90号\n",
            assets="serial number,model,customer number,site\nN-1,M,C-1001,二号厂房\nN-2,M,C-1001,一号厂房\n",
        ),
        by=dispatcher,
    )

    assert report.loaded
    assert {asset.site.name for asset in customer.assets if asset.site} == {"一号厂房", "二号厂房"}


def test_full_width_numbers_are_the_same_numbers(customer: Customer) -> None:
    report = check(files(sites="客户编号,服务地点,地址\nＣ－１００１,仓库,示例路\n".replace("－", "-")))

    assert report.ok


def test_what_is_added_between_check_and_load_is_seen(customer: Customer, dispatcher: User) -> None:
    given = files(sites="客户编号,服务地点,地址\nC-1001,仓库,示例路3号\n")
    assert check(given).outcomes[0].new == 1
    operations.add_site(customer.id, SiteDetails(name="仓库", address="示例路3号"), by=dispatcher)

    report = load(given, by=dispatcher)

    assert (report.outcomes[0].new, report.outcomes[0].same) == (0, 1)


def test_a_writer_who_comes_between_stops_the_whole_load(dispatcher: User) -> None:
    def write_the_same_number(session: Session, *_more: object) -> None:
        row = {"number": "C-2002", "name": "来得更早", "id": uuid7()}
        session.connection().execute(insert(Customer).values(row))

    event.listen(db.session, "before_flush", write_the_same_number, once=True)

    with pytest.raises(NotAllowedNow):
        load(three(), by=dispatcher)

    assert count(Customer) == count(Site) == count(Asset) == 0


def test_the_list_of_wrong_rows_is_safe_to_open_in_a_spreadsheet() -> None:
    report = check(files(customers='客户编号,客户名称,公司电话\nC-1,甲,"=HYPERLINK(""http://x"")"\n'))

    text = report.as_csv().decode("utf-8-sig")

    assert "'=HYPERLINK" in text
    assert ",=" not in text
    assert ',"=' not in text


@pytest.mark.parametrize("kind", imports.KINDS)
def test_an_empty_file_with_headings_is_right(kind: str) -> None:
    report = check({kind: imports.template(kind)})

    assert report.ok
    assert report.outcomes[0].unknown == []


def test_every_example_is_right(app: Flask) -> None:
    given = {
        kind: "\n".join(
            [",".join(f'"{each.headings[0]}"' for each in columns), ",".join(f'"{each.example}"' for each in columns)]
        )
        for kind, columns in imports.COLUMNS.items()
    }

    assert check(files(**given)).wrong == []
