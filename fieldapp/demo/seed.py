"""The demo day: a fictional service company with a fixed seed and a fixed story, told relative to today."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from sqlalchemy import exists, select

from fieldapp import clock
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.demo import history, today
from fieldapp.demo.company import CUSTOMERS, FAULTS, GIVEN, JOBS, PEOPLE, PRODUCTS, SURNAMES, WAITING, Fault
from fieldapp.extensions import db, operation, settings, uuid7
from fieldapp.offline.models import Device
from fieldapp.outbox import promise
from fieldapp.tickets.desk import operations as desk
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.desk.operations import Entry, Intake
from fieldapp.tickets.desk.queries import told
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import take_in

PASSWORD = "demo"  # noqa: S105 - everybody may know it: demo mode only
PIN = "5937"  # of the engineers, to take the phone back from a customer
SEED = 20261121
ASSETS = 80
WITH_REPORT = 6


def log_ins() -> dict[str, list[str]]:
    """Log-in names by role."""
    names: dict[str, list[str]] = {}
    for username, _name, role, _phone, _region in PEOPLE:
        names.setdefault(role, []).append(username)
    return names


@operation
def load_if_empty() -> bool:
    """Load the demo day when there is nobody yet; whether it was loaded."""
    if db.session.scalar(select(exists().where(User.id.is_not(None)))):
        return False
    rng = random.Random(SEED)  # noqa: S311 - a fixed story
    people = _people()
    customers = _customers(rng)
    assets = _assets(rng, customers)
    db.session.flush()
    engineers = [person for person in people.values() if person.is_engineer]
    pasts = history.plan(rng, engineers, assets, _midnight())
    old = [_file_old(past, closed=n < len(pasts) - WITH_REPORT) for n, past in enumerate(pasts)]
    stories = [_story_of(n, assets) for n in range(len(today.STORY))]
    fresh = [_file(asset, fault, _hours_ago(26 - n)) for n, (asset, fault) in enumerate(stories)]
    waiting = _waiting(assets)
    _take_in()
    _write_history(pasts, old, rng, people["qianjun"])
    today.play(today.Cast(people), [_ticket(number) for number in fresh])
    _silent_phone(people["liting"])
    _called_again(waiting[1])
    return True


# ---- people, customers, assets ------------------------------------------------------------------------


def _people() -> dict[str, User]:
    kept, pin, check = passwords.hashed(PASSWORD), passwords.hashed(PIN), passwords.phone_check(PIN)
    people = {
        username: User(
            id=uuid7(),
            username=username,
            name=name,
            role=role,
            phone=phone,
            department="客户服务部",
            password_hash=kept,
            pin_hash=pin if role == "engineer" else None,
            pin_check=check if role == "engineer" else None,
        )
        for username, name, role, phone, _region in PEOPLE
    }
    db.session.add_all(people.values())
    return people


def _customers(rng: random.Random) -> list[Customer]:
    made = []
    for n, (name, tier, region, address, latitude, longitude) in enumerate(CUSTOMERS):
        customer = Customer(
            id=uuid7(), number=f"C-{1001 + n}", name=name, tier=tier, region=region, phone=f"021-5550{1000 + n}"
        )
        customer.contacts = [_contact(rng, n, each) for each in range(2 if tier in ("vip", "key_account") else 1)]
        site = Site(id=uuid7(), name="本部", address=address, region=region)
        site.latitude_e6, site.longitude_e6 = latitude, longitude
        site.access_notes = rng.choice(("", "北门登记，需带工牌", "地下停车场 B2,货梯上楼", "进车间须戴安全帽"))
        customer.sites = [site]
        customer.special_needs = "医疗场景，须二十四小时响应" if "医院" in name or "口腔" in name else ""
        customer.blackout = "每月二十五日至月底结账，不可停机" if "会计" in name or "光电" in name else ""
        made.append(customer)
    db.session.add_all(made)
    return made


def _contact(rng: random.Random, customer: int, number: int) -> Contact:
    name = SURNAMES[(customer * 3 + number) % len(SURNAMES)] + GIVEN[(customer * 5 + number * 7) % len(GIVEN)]
    mobile = f"139000{1000 + customer * 10 + number:05d}"
    return Contact(id=uuid7(), name=name, mobile=mobile, role=rng.choice(JOBS))


def _assets(rng: random.Random, customers: list[Customer]) -> list[Asset]:
    made = []
    for n in range(ASSETS):
        customer = customers[n % len(customers)]
        product = PRODUCTS[(n * 7 + n // len(customers)) % len(PRODUCTS)]
        bought = _midnight().date() - timedelta(days=rng.randrange(60, 1500))
        asset = Asset(
            id=uuid7(),
            customer=customer,
            site=customer.sites[0],
            model=product.model,
            serial=f"{product.prefix}-{24000 + n * 37}",
            software_version=rng.choice(product.versions),
            bought_on=bought,
            warranty_until=bought + timedelta(days=3 * 365),
        )
        made.append(asset)
    db.session.add_all(made)
    return made


# ---- tickets ------------------------------------------------------------------------------------------


def _file(asset: Asset, fault: Fault, at: datetime, *, priority: str = "normal", channel: str = "hotline") -> str:
    """File a ticket at the embedded store; its number."""
    contact = asset.customer.contacts[0]
    intake = Intake(
        subject=fault.subject,
        text=fault.text,
        type=fault.type,
        priority=priority,
        channel=channel,
        customer_number=asset.customer.number,
        asset_serial=asset.serial,
        customer_name=asset.customer.name,
        contact_name=contact.name,
        contact_phone=contact.mobile,
    )
    return desk.file_ticket(intake, uid=None, opened_by="客服坐席 018", at=at).number


def _file_old(past: history.Past, *, closed: bool) -> str:
    """A ticket of the past year; closed, but for the latest, whose reports are still to be delivered."""
    number = _file(past.asset, past.fault, past.at - timedelta(days=1))
    if closed:
        desk.add_entry(number, Entry(author=past.engineer.name, text=past.fault.done, status="closed"))
    return number


def _waiting(assets: list[Asset]) -> list[str]:
    """Tickets that nobody has planned yet; their numbers."""
    numbers = []
    for n, (priority, channel, fault_number) in enumerate(WAITING):
        fault = FAULTS[fault_number]
        fitting = [asset for asset in assets if asset.model == fault.model]
        numbers.append(_file(fitting[n % len(fitting)], fault, _hours_ago(9 - n), priority=priority, channel=channel))
    return numbers


def _story_of(number: int, assets: list[Asset]) -> tuple[Asset, Fault]:
    """The asset and the trouble of today's visit ``number``."""
    fault = FAULTS[number % len(FAULTS)]
    fitting = [asset for asset in assets if asset.model == fault.model]
    return fitting[(number * 5) % len(fitting)], fault


def _take_in() -> None:
    """What the worker does by pulling, but within the one transaction of the demo day."""
    for row in db.session.scalars(select(DeskTicket).order_by(DeskTicket.change)).all():
        take_in(told(row), quiet=True)


def _called_again(number: str) -> None:
    """The customer rang once more: news for those who plan, as the worker brings it from a ticket store."""
    said = "客户再次来电催促，产线等待恢复，请尽快安排上门。"
    desk.add_entry(number, Entry(author="客服坐席 018", text=said, status="triaged"))
    take_in(told(desk.ticket_for_update(number)))


def _ticket(number: str) -> Ticket:
    ticket = db.session.scalar(select(Ticket).where(Ticket.number == number))
    if ticket is None:
        raise LookupError(f"ticket {number} was not taken in")
    return ticket


def _silent_phone(engineer: User) -> None:
    """Yesterday's telephone of an engineer: two things still lie on it, and it has not spoken since."""
    yesterday = _hours_ago(26)
    db.session.add(
        Device(
            user_id=engineer.id,
            device="demo-old-phone",
            agent=today.AGENT,
            first_seen_at=yesterday,
            seen_at=yesterday,
            waiting=2,
            oldest_waiting_at=yesterday,
        )
    )


# ---- a year -------------------------------------------------------------------------------------------


def _write_history(pasts: list[history.Past], numbers: list[str], rng: random.Random, manager: User) -> None:
    """Each old ticket with its visit; the latest ones are promised a report, as if they had just been signed."""
    for n, (past, number) in enumerate(zip(pasts, numbers, strict=True)):
        ticket = _ticket(number)
        recent = n >= len(pasts) - WITH_REPORT
        record = history.write(past, ticket, rng, None if recent else manager)
        if recent:
            payload = {"record": str(record.id), "edition": "signed"}
            promise("record_signed", payload, lane=ticket.reports_lane, uid=f"record_signed:{record.id}:signed")


def _midnight() -> datetime:
    return clock.day_bounds(clock.now(), settings.zone)[0]


def _hours_ago(hours: int) -> datetime:
    return clock.now() - timedelta(hours=hours)
