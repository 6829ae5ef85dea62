"""A small company in which every kind of page has something to show: two engineers, two customers, every state.

Engineer wanglei (A) serves the first customer, liting (B) the second. Built by the app's own operations.
"""

from __future__ import annotations

import functools
import io
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select
from werkzeug.routing import Rule

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginSession, User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db, uuid7
from fieldapp.offline.models import CASE_KINDS, Case, Device
from fieldapp.offline.operations import open_case
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records.models import Photo, ServiceRecord
from fieldapp.records.values import Evaluation, Given, OpenLine
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.sync import worker
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk import operations as desk
from fieldapp.tickets.desk.models import DeskFile, DeskTicket
from fieldapp.tickets.models import Ticket, TicketNews
from fieldapp.tickets.stores import store
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.conftest import Browser, add, person, settings_for
from tests.records.samples import DRAWN, NOT_NEEDED, filled

CSV = "number,name\nC-9001,示例公司\n".encode()
STEPS = {"accepted": 1, "traveling": 2, "arrived": 3, "working": 4}


@dataclass
class World:
    """The app and the keys of what is in it, by the name of the argument in the URL map."""

    app: Flask
    folder: Path
    people: dict[str, UUID] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)

    def browser(self, name: str | None, **headers: str) -> FlaskClient:
        """A browser in which this person is logged in; None: a stranger's."""
        self.app.test_client_class = Browser
        browser = self.app.test_client()
        if name:
            browser.set_cookie(accounts.COOKIE, self.tokens[name])
        browser.environ_base.update({f"HTTP_{key.upper().replace('-', '_')}": value for key, value in headers.items()})
        return browser

    def urls(self, rule: Rule, **only: list[str]) -> Iterator[str]:
        """Addresses of a rule, one for each key of its arguments that there is (``only`` narrows some)."""
        known: Mapping[str, list[str]] = {**self.keys, **only}
        names = sorted(rule.arguments)
        missing = [name for name in names if name not in known]
        assert not missing, f"{rule}: say in tests/security/world.py what {missing} may be"
        with self.app.test_request_context():
            for values in itertools.product(*(known[name] for name in names)):
                yield self.app.url_for(rule.endpoint, **dict(zip(names, values, strict=True)))

    def rules(self, method: str) -> list[Rule]:
        """The rules that answer to this method, in the order of their addresses."""
        return sorted((rule for rule in self.app.url_map.iter_rules() if method in (rule.methods or ())), key=str)


@functools.cache
def the_world(migrated: Path) -> World:
    """The one world of this test process, beside its migrated database; tests only read it."""
    folder = migrated.parent / "world"
    folder.mkdir()
    shutil.copyfile(migrated, folder / "fieldapp.db")
    app = create_app(settings_for(folder))
    with app.app_context():
        world = build(app, folder)
        db.session.remove()
    return world


def build(app: Flask, folder: Path) -> World:
    """Fill an empty database and learn every key in it."""
    world = World(app, folder)
    team = _people(world)
    for number in ("1001", "1002"):
        serve_customer(number)
    _visits("1001", team["wanglei"], team)
    _few_visits("1002", team["liting"], team)
    _desk_ticket_with_file()
    pull(store())
    worker.run_until_idle("world")
    _invitation(world, team)
    _hand_over(world, team["wanglei"])
    _exceptions(team["wanglei"])
    _learn(world)
    return world


def _people(world: World) -> dict[str, User]:
    roles = {
        "wanglei": "engineer",
        "liting": "engineer",
        "zhaomin": "dispatcher",
        "qianjun": "manager",
        "admin": "admin",
    }
    team = {name: person(name, role) for name, role in roles.items()}
    for name, user in team.items():
        world.people[name] = user.id
        world.tokens[name] = accounts.open_session(user, user_agent="tests", address="127.0.0.1")
    return team


def serve_customer(number: str) -> None:
    customer = Customer(number=f"C-{number}", name=f"客户 {number}", tier="enterprise", phone=f"021-5550{number}")
    customer.contacts.append(Contact(name=f"联系人{number}", mobile=f"1390000{number}"))
    customer.sites.append(Site(name="本部", address=f"示例路 {number} 号"))
    add(customer)
    add(Asset(customer_id=customer.id, site_id=customer.sites[0].id, model="ZW-3000", serial=f"S-{number}"))


# ---- visits in every state --------------------------------------------------------------------------


def _visits(number: str, engineer: User, team: dict[str, User]) -> None:
    dispatcher, fresh = team["zhaomin"], planner(number, engineer, team["zhaomin"])
    fresh()
    fresh(0)
    for steps in STEPS.values():
        fresh(steps)
    visits.decline(fresh(0), "病假", by=engineer)
    visits.cancel(fresh(1), "客户取消", by=dispatcher)
    visits.no_show(fresh(3), "门锁着", by=engineer)
    visits.cannot_complete(fresh(4), "缺备件", by=engineer)
    paused = fresh(4)
    records.save(paused, filled(), by=engineer)
    records.add_photo(paused, picture(), kind="before", caption="铭牌", by=engineer)
    visits.pause(paused, "break", by=engineer)
    finish(fresh(4), engineer)
    _completed(fresh(4), engineer)
    _completed(fresh(4), engineer, outcome="remaining", open_items=(OpenLine(text="更换电源", cause="缺货"),))
    reviewed = fresh(4)
    _completed(reviewed, engineer)
    records.review(reviewed, Given(method="drawn", strokes=DRAWN), by=team["qianjun"])


def _few_visits(number: str, engineer: User, team: dict[str, User]) -> None:
    fresh = planner(number, engineer, team["zhaomin"])
    fresh(0)
    records.save(fresh(4), filled(), by=engineer)
    finish(fresh(4), engineer)
    _completed(fresh(4), engineer)


def planner(number: str, engineer: User, dispatcher: User) -> Callable[..., Visit]:
    """``fresh(steps)`` files a ticket and takes a visit that many steps; None: it stays a draft."""
    starts = (clock.now() + timedelta(hours=2 * n) for n in itertools.count(1))

    def fresh(steps: int | None = None) -> Visit:
        intake = desk.Intake(
            subject=f"服务器无法启动 {number}", customer_number=f"C-{number}", asset_serial=f"S-{number}"
        )
        desk.file_ticket(intake, uid=str(uuid7()))
        pull(store())
        ticket = db.session.scalars(select(Ticket).order_by(Ticket.id.desc()).limit(1)).one()
        visit = visits.draft(ticket, by=dispatcher)
        if steps is not None:
            visits.plan(visit, Plan(lead_id=engineer.id, window_start=next(starts)), by=dispatcher)
            for step in (visits.accept, visits.depart, visits.arrive, visits.start)[:steps]:
                step(visit, by=engineer)
        return visit

    return fresh


def finish(visit: Visit, engineer: User, **changes: object) -> None:
    records.save(visit, filled(**changes), by=engineer)
    records.add_photo(visit, picture(), kind="after", caption="完成", by=engineer)
    records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)
    records.finish(visit, by=engineer)


def _completed(visit: Visit, engineer: User, **changes: object) -> None:
    finish(visit, engineer, **changes)
    customer = Given(method="drawn", name="陈晓", phone="13900000001", strokes=DRAWN)
    records.customer_sign(visit, Evaluation(skill_rating="good", attitude_rating="good"), customer, by=engineer)
    records.complete(visit, Given(method="drawn", strokes=DRAWN), by=engineer)


_shades = itertools.count(1)


def picture() -> bytes:
    """A JPEG that no other call returns."""
    out = io.BytesIO()
    shade = next(_shades)
    Image.new("RGB", (320, 240), (shade % 256, shade // 256, 120)).save(out, "JPEG")
    return out.getvalue()


# ---- the desk, an invitation ------------------------------------------------------------------------


def _desk_ticket_with_file() -> None:
    content = b"%PDF-1.4 not really"
    kept = desk.KeptFile(name="说明书.pdf", media_type="application/pdf", size=len(content), sha256=blobs.put(content))
    number = desk.file_ticket(desk.Intake(subject="来电咨询"), uid="intake").number
    desk.add_entry(number, desk.Entry(author="赵敏", text="见附件", files=(kept,)))


def _invitation(world: World, team: dict[str, User]) -> None:
    invited = person("newcomer", "engineer")
    world.keys["token"] = [accounts.invite(invited.id, by=team["admin"].id)]


def _hand_over(world: World, engineer: User) -> None:
    """A second phone of this engineer is in a customer's hand, and the record was taken back meanwhile."""
    world.tokens["handed over"] = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")
    session = db.session.scalars(select(LoginSession).order_by(LoginSession.id.desc()).limit(1)).one()
    query = select(Visit.id).where(Visit.lead_id == engineer.id, Visit.status == "working")
    visit_id = db.session.scalars(query).one()
    accounts.hand_over(session.id, visit_id)
    world.keys["handed_over_visit"] = [str(visit_id)]


def _exceptions(engineer: User) -> None:
    """A case of every kind, and a silent phone on which something waits."""
    visit = db.session.scalars(select(Visit).where(Visit.lead_id == engineer.id, Visit.status == "completed")).first()
    assert visit
    texts = {"before": "检查电源", "phone": "更换电源", "office": "更换主板"}
    for kind in CASE_KINDS:
        facts = {"conflict": {"fields": {"content_text": texts}}}.get(kind, {})
        open_case(kind, unique_for=f"world:{kind}", visit_id=visit.id, user_id=engineer.id, **facts)
    for position, kind in enumerate(("new", "changed", "merged", "gone", "back")):
        changes = [{"field": "status", "before": "new", "after": "closed"}] if position else []
        add(
            TicketNews(
                ticket_id=visit.ticket_id,
                version=f"world {kind}",
                kind=kind,
                at=clock.now(),
                by="客服小李",
                changes=changes,
            )
        )
    add(Device(user_id=engineer.id, device="world", waiting=2, seen_at=clock.now() - timedelta(hours=5)))


def _learn(world: World) -> None:
    """Every key, as text, by the name of the argument that takes it."""

    def keys(column: object, *where: object) -> list[str]:
        return [str(key) for key in db.session.scalars(select(column).where(*where))]  # type: ignore[call-overload]

    world.keys |= {
        "visit_id": keys(Visit.id),
        "customer_id": keys(Customer.id),
        "contact_id": keys(Contact.id),
        "site_id": keys(Site.id),
        "asset_id": keys(Asset.id),
        "user_id": keys(User.id),
        "login_session_id": keys(LoginSession.id),
        "promise_id": keys(Promise.id)[:3],
        "ticket_id": keys(Ticket.id)[::5] + keys(Ticket.id, Ticket.customer_id.is_(None)),
        "photo_id": keys(Photo.id),
        "case_id": keys(Case.id),
        "device_id": keys(Device.id),
        "news_id": keys(TicketNews.id),
        "report_id": keys(Report.id),
        "number": keys(DeskTicket.number, DeskTicket.uid == "intake") + keys(DeskTicket.number)[:1],
        "file_id": keys(DeskFile.id)[:1],
        "content_hash": [*keys(ServiceRecord.content_hash, ServiceRecord.signed_at.is_not(None))[:1], "0" * 64],
        "store": ["embedded"],
        "kind": ["customers"],
        "size": ["thumb", "full"],
        "role": ["customer", "engineer", "manager", "backup_ack"],
        "build": [world.app.extensions["assets"].build],
        "name": ["js/main.js"],
    }
