"""Importing customers, sites and assets: a check that says everything that is wrong, then all or nothing.

A row with a known number (customer), name at its customer (site) or serial (asset) updates; an empty cell and a
column that is not there leave what is stored. The check and the load make the same plan; the load makes it again
inside its transaction, so nothing that changed meanwhile is trusted.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from fieldapp import audit
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site, is_email, is_phone, millionths
from fieldapp.customers.sheets import BadCell, Column, Row, Sheet, Wrong, read, written
from fieldapp.errors import NotAllowedNow
from fieldapp.extensions import db, operation, uuid7
from fieldapp.i18n import _

Thing = Customer | Contact | Site | Asset
DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]0{1,2}:00(?::00)?)?")
COMPACT_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")
TIERS = {
    "普通": "standard", "一般": "standard", "standard": "standard",
    "企业": "enterprise", "企業": "enterprise", "enterprise": "enterprise",
    "vip": "vip",
    "大客户": "key_account", "大客戶": "key_account", "keyaccount": "key_account",
}  # fmt: skip


# ---- what a cell must be ------------------------------------------------------------------------------------


def _key(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()


def _tier(text: str) -> str:
    tier = TIERS.get(re.sub(r"[\s_\-]|客户$|客戶$", "", text.lower())) or TIERS.get(text)
    if tier is None:
        raise BadCell(_("Write one of: %(words)s.", words="普通 / 企业 / VIP / 大客户"))
    return tier


def _phone(text: str) -> str:
    text = _key(text).removesuffix(".0")
    if not is_phone(text):
        raise BadCell(_("Write a phone number with digits, for example 021-5550 1234 or 13900000001."))
    return text


def _email(text: str) -> str:
    if not is_email(text):
        raise BadCell(_("Write an e-mail address with @, for example chen@example.com."))
    return text


def _day(text: str) -> date:
    match = DAY.fullmatch(text) or COMPACT_DAY.fullmatch(text)
    try:
        if match:
            return date(*(int(part) for part in match.groups()))
    except ValueError:
        pass
    raise BadCell(_("Write the day as year-month-day, for example 2026-11-21."))


def _degrees(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = Decimal(_key(text))
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or abs(value) > most:
            raise BadCell(_("Write degrees from -%(most)d to %(most)d, for example 31.2304.", most=most))
        number = millionths(value)
        assert number is not None  # noqa: S101 - for the type checker: a value gives a number
        return number

    return parse


_NUMBER = Column(
    "number", ("客户编号", "customer number", "客戶編號", "编号"), _key, required=True, most=40, example="C-1001"
)
_OF_CUSTOMER = Column("customer_number", _NUMBER.headings, _key, required=True, most=40, example="C-1001")
_REGION = Column("region", ("区域", "region", "區域", "大区"), most=60, example="华东")

COLUMNS: dict[str, tuple[Column, ...]] = {
    "customers": (
        _NUMBER,
        Column(
            "name", ("客户名称", "customer name", "客戶名稱", "名称", "name"), required=True, most=160, example="华东精密机械有限公司"
        ),
        Column("tier", ("客户等级", "tier", "客戶等級", "等级"), _tier, example="企业"),
        Column("phone", ("公司电话", "company phone", "公司電話", "电话", "phone"), _phone, most=40, example="021-55501234"),
        _REGION,
        Column("credit", ("信用", "credit", "信用等级"), most=20, example="A"),
        Column("contact_name", ("联系人", "contact", "聯絡人", "contact name"), most=80, example="陈晓"),
        Column("contact_mobile", ("联系人手机", "mobile phone", "手机", "聯絡人手機", "mobile"), _phone, most=40, example="13900000001"),
        Column("contact_qq", ("联系人QQ", "QQ", "聯絡人QQ"), _key, most=40, example="10001"),
        Column("contact_wechat", ("微信", "wechat", "联系人微信"), most=60, example="chenxiao"),
        Column("contact_email", ("邮箱", "e-mail", "email", "電子郵件", "联系人邮箱"), _email, most=160, example="chen@example.com"),
        Column("contact_role", ("职务", "position", "職務", "role"), most=60, example="设备主管"),
        Column("special_needs", ("特殊要求", "special needs"), most=2000, example="进场需登记"),
        Column("blackout", ("不可上门时间", "no visits at these times", "不可上門時間", "blackout"), most=2000, example="每月最后两天"),
    ),
    "sites": (
        _OF_CUSTOMER,
        Column("name", ("服务地点", "site", "服務地點", "地点名称", "地点", "site name", "name"), required=True, most=120, example="一号厂房"),
        Column("address", ("地址", "address", "详细地址"), required=True, most=240, example="上海市松江区示例路88号"),
        _REGION,
        Column("access_notes", ("进场说明", "how to get in", "進場說明", "access notes"), most=2000, example="北门登记"),
        Column("latitude_e6", ("纬度", "latitude", "緯度"), _degrees(90), example="31.0322"),
        Column("longitude_e6", ("经度", "longitude", "經度"), _degrees(180), example="121.2277"),
    ),
    "assets": (
        Column("serial", ("序列号", "serial number", "序號", "序列號", "serial", "SN", "S/N"), _key, required=True, most=80, example="ZW3000-0001"),
        Column("model", ("型号", "model", "型號", "设备型号", "产品"), required=True, most=120, example="ZW-3000 工业服务器"),
        _OF_CUSTOMER,
        Column("site_name", ("服务地点", "site", "服務地點", "地点名称", "地点"), most=120, example="一号厂房"),
        Column("software_version", ("软件版本", "software version", "軟體版本", "版本"), most=60, example="V5.2"),
        Column("bought_on", ("购买日期", "bought on", "購買日期"), _day, example="2024-05-10"),
        Column("warranty_until", ("保修截止", "warranty until", "保固截止", "保修期至"), _day, example="2027-05-09"),
        Column("config", ("配置", "configuration", "設定", "config"), most=10000, example="双电源,64 GB 内存"),
    ),
}  # fmt: skip
KINDS = tuple(COLUMNS)


# ---- the report of a check ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one file would do: counts of rows, and headings that nobody knows (they are left out)."""

    kind: str
    rows: int
    new: int
    changed: int
    same: int
    unknown: list[str]


@dataclass(frozen=True)
class Report:
    """All that is wrong, or that nothing is. ``loaded`` is true when the rows are in the database."""

    outcomes: list[Outcome]
    wrong: list[Wrong]
    loaded: bool = False

    @property
    def ok(self) -> bool:
        return bool(self.outcomes) and not self.wrong

    def as_csv(self) -> bytes:
        """The wrong rows as a file for the spreadsheet; cells that look like formulas are guarded."""
        heading = (_("File"), _("Row"), _("Column"), _("Value"), _("What is wrong"))
        return written(
            [heading, *((each.sheet, each.row, each.column, each.value, each.sentence) for each in self.wrong)]
        )


def check(files: Mapping[str, bytes]) -> Report:
    """What loading these files (by kind: customers, sites, assets) would do. Nothing is written."""
    return _planned(_sheets(files)).report()


def load(files: Mapping[str, bytes], *, by: User | None) -> Report:
    """Load all rows of all files in one transaction, or none when any is wrong (``report.loaded`` says which).

    Raises NotAllowedNow when someone else wrote the same rows at the same moment; nothing is loaded then either.
    """
    sheets = _sheets(files)
    digest = hashlib.sha256(b"".join(hashlib.sha256(files[sheet.name]).digest() for sheet in sheets)).hexdigest()
    try:
        return _load(sheets, digest, by)
    except (IntegrityError, StaleDataError) as error:
        raise NotAllowedNow(
            _("Someone else saved the same rows at this moment. Please check and load again.")
        ) from error


def template(kind: str) -> bytes:
    """An empty file of a kind: nothing but the headings."""
    return written([[column.headings[0] for column in COLUMNS[kind]]])


# ---- the plan: what each row means for the database -----------------------------------------------------------


@dataclass
class Plan:
    """Things to add, and values to set on things that are there."""

    sheets: list[Sheet]
    new: list[Thing] = field(default_factory=list)
    changes: list[tuple[Thing, dict[str, Any]]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def put(self, sheet: Sheet, existing: Thing | None, fresh: Callable[[], Thing], values: dict[str, Any]) -> Thing:
        """Plan one row: a new thing, a change, or nothing because all is so already."""
        thing, what = existing, "same"
        if thing is None:
            thing, what = fresh(), "new"
            self.new.append(thing)
        elif different := {name: value for name, value in values.items() if getattr(thing, name) != value}:
            self.changes.append((thing, different))
            what = "changed"
        self.counts.setdefault(sheet.name, {"new": 0, "changed": 0, "same": 0})[what] += 1
        return thing

    def report(self, *, loaded: bool = False) -> Report:
        outcomes = [
            Outcome(
                sheet.name,
                sheet.row_count,
                **{"new": 0, "changed": 0, "same": 0, **self.counts.get(sheet.name, {})},
                unknown=sheet.unknown,
            )
            for sheet in self.sheets
        ]
        wrong = [each for sheet in self.sheets for each in sorted(sheet.wrong, key=lambda wrong: wrong.row)]
        return Report(outcomes, wrong, loaded)


def _sheets(files: Mapping[str, bytes]) -> list[Sheet]:
    return [read(kind, files[kind], COLUMNS[kind]) for kind in KINDS if kind in files]


@operation
def _load(sheets: list[Sheet], digest: str, by: User | None) -> Report:
    plan = _planned(sheets)
    if plan.report().wrong or not sheets:
        return plan.report()
    for thing, values in plan.changes:
        for name, value in values.items():
            setattr(thing, name, value)
    db.session.add_all(plan.new)
    db.session.flush()
    report = plan.report(loaded=True)
    facts = {f"{each.kind}_{what}": getattr(each, what) for each in report.outcomes for what in ("new", "changed")}
    audit.record("customers.imported", "import", digest, by=by.id if by else None, **facts)
    return report


def _planned(sheets: list[Sheet]) -> Plan:
    plan = Plan(sheets)
    by_name = {sheet.name: sheet for sheet in sheets}
    customers = _customers(plan, by_name.get("customers"), sheets)
    sites = _sites(plan, by_name.get("sites"), by_name.get("assets"), customers)
    _assets(plan, by_name.get("assets"), customers, sites)
    return plan


def _customers(plan: Plan, sheet: Sheet | None, sheets: list[Sheet]) -> dict[str, Customer | None]:
    """Customers by number: those in the database and those of the file. None: named in a row that is wrong."""
    rows = [row for each in sheets for row in each.rows]
    numbers = {row.values.get("number") or row.values["customer_number"] for row in rows}
    stored: dict[str, Any] = {each.number: each for each in _by(Customer, Customer.number, numbers)}
    if sheet is None:
        return stored
    contacts = _contacts([stored[row.values["number"]].id for row in sheet.rows if row.values["number"] in stored])
    named: dict[str, Customer | None] = {}
    for row in _unrepeated(sheet, ("number",)):
        values = {name: value for name, value in row.values.items() if not name.startswith("contact_")}
        customer = plan.put(sheet, stored.get(values["number"]), partial(Customer, id=uuid7(), **values), values)
        named[values["number"]] = customer  # type: ignore[assignment]  # a customer's sheet makes customers
        _contact(plan, sheet, row, customer.id, contacts)
    refused = {row.values["number"]: None for row in sheet.refused if "number" in row.values}
    return {**refused, **stored, **named}


def _contact(plan: Plan, sheet: Sheet, row: Row, customer_id: UUID, contacts: dict[tuple[UUID, str], Contact]) -> None:
    values = {name.removeprefix("contact_"): value for name, value in row.values.items() if name.startswith("contact_")}
    if not values:
        return
    if "name" not in values:
        sheet.complain(row.number, "contact_name", "", _("Say whose phone or address this is."))
        return
    existing = contacts.get((customer_id, values["name"]))
    if existing is None:
        plan.new.append(Contact(id=uuid7(), customer_id=customer_id, **values))
    elif different := {name: value for name, value in values.items() if getattr(existing, name) != value}:
        plan.changes.append((existing, different))


def _contacts(customer_ids: Iterable[UUID]) -> dict[tuple[UUID, str], Contact]:
    return {(each.customer_id, each.name): each for each in _by(Contact, Contact.customer_id, set(customer_ids))}


def _sites(
    plan: Plan, sheet: Sheet | None, assets: Sheet | None, customers: dict[str, Customer | None]
) -> dict[tuple[UUID, str], Site | None]:
    """Sites by customer and name: those in the database and those of the file. None: in a row that is wrong."""
    ids = {customer.id for customer in customers.values() if customer is not None}
    named: dict[tuple[UUID, str], Site | None] = {}
    for each in _by(Site, Site.customer_id, ids) if sheet or (assets and assets.rows) else ():
        named.setdefault((each.customer_id, each.name), each)
    if sheet is None:
        return named
    for row in _unrepeated(sheet, ("customer_number", "name")):
        customer = _customer_of(sheet, row, customers)
        if customer is not None:
            key = (customer.id, row.values["name"])
            values = {name: value for name, value in row.values.items() if name != "customer_number"}
            named[key] = plan.put(  # type: ignore[assignment]  # a site's sheet makes sites
                sheet,
                named.get(key),
                partial(Site, id=uuid7(), customer_id=customer.id, **values),
                values,
            )
    for row in sheet.refused:
        if (customer := customers.get(row.values.get("customer_number", ""))) and "name" in row.values:
            named.setdefault((customer.id, row.values["name"]), None)
    return named


def _assets(
    plan: Plan,
    sheet: Sheet | None,
    customers: dict[str, Customer | None],
    sites: dict[tuple[UUID, str], Site | None],
) -> None:
    if sheet is None:
        return
    stored: dict[str, Asset] = {
        each.serial: each for each in _by(Asset, Asset.serial, {row.values["serial"] for row in sheet.rows})
    }
    for row in _unrepeated(sheet, ("serial",)):
        customer, existing = _customer_of(sheet, row, customers), stored.get(row.values["serial"])
        if customer is None or not _asset_fits(sheet, row, customer, existing, sites):
            continue
        values = {name: value for name, value in row.values.items() if name not in ("customer_number", "site_name")}
        if site := sites.get((customer.id, row.values.get("site_name", ""))):
            values["site_id"] = site.id
        plan.put(
            sheet,
            existing,
            partial(Asset, id=uuid7(), customer_id=customer.id, **values),
            values,
        )


def _customer_of(sheet: Sheet, row: Row, customers: dict[str, Customer | None]) -> Customer | None:
    number = row.values["customer_number"]
    if number not in customers:
        sheet.complain(row.number, "customer_number", number, _("There is no customer with this number."))
    return customers.get(number)


def _asset_fits(
    sheet: Sheet,
    row: Row,
    customer: Customer,
    existing: Asset | None,
    sites: dict[tuple[UUID, str], Site | None],
) -> bool:
    before = len(sheet.wrong)
    if existing is not None and existing.customer_id != customer.id:
        sheet.complain(
            row.number, "serial", existing.serial, _("A device with this serial number belongs to another customer.")
        )
    site_name = row.values.get("site_name")
    if site_name and (customer.id, site_name) not in sites:
        sheet.complain(row.number, "site_name", site_name, _("This customer has no site of this name."))
    bought = row.values.get("bought_on") or (existing and existing.bought_on)
    until = row.values.get("warranty_until") or (existing and existing.warranty_until)
    if bought and until and until < bought:
        sheet.complain(row.number, "warranty_until", until, _("The warranty cannot end before the day of purchase."))
    return len(sheet.wrong) == before


def _unrepeated(sheet: Sheet, names: Sequence[str]) -> list[Row]:
    """The rows of a sheet; a row that repeats the key of an earlier one is wrong."""
    first: dict[tuple[Any, ...], int] = {}
    kept = []
    for row in sheet.rows:
        key = tuple(row.values[name] for name in names)
        if key in first:
            sentence = _("Row %(row)d says the same; keep one of the two.", row=first[key])
            sheet.complain(row.number, names[-1], key[-1], sentence)
        else:
            first[key] = row.number
            kept.append(row)
    return kept


def _by(thing: Any, column: Any, keys: set[Any], step: int = 500) -> list[Any]:
    """All rows whose column is one of ``keys``, asked in portions that every database takes."""
    wanted, found = list(keys), list[Any]()
    for start in range(0, len(wanted), step):
        found += db.session.scalars(select(thing).where(column.in_(wanted[start : start + step]))).all()
    return found
