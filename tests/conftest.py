"""What every test starts from: an app on a fresh, migrated database, people, and a way to log in as them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import flask_migrate
import hypothesis
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.config import ROOT, Settings
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db, operation
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan

# How long an example takes says nothing on a machine that does other things meanwhile.
hypothesis.settings.register_profile(
    "unhurried", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")
SECRET = "a secret of the tests, long enough to be one"
PASSWORD = "correct horse battery"


def settings_for(folder: Path, **changes: str) -> Settings:
    """Settings of a throw-away installation in ``folder``; passwords are hashed at the lowest allowed cost."""
    given = {"data_dir": str(folder), "secret_key": SECRET, "argon2_memory_kib": "19456", "locale": "en"}
    return Settings(**{**given, **changes})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where nobody watches, what was starved of two cores gets a second try, and the log says so."""
    for item in items:
        if os.environ.get("CI") and (item.get_closest_marker("browser") or item.get_closest_marker("crash")):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say what failed when it fails: a run that is cut short shows no summary."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        print(
            f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)\n{report.longreprtext[-3000:]}",
            flush=True,
        )


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file at the head revision, made once per test process and copied for each test."""
    folder = tmp_path_factory.mktemp("migrated")
    app = create_app(settings_for(folder))
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        db.session.remove()
        db.engine.dispose()
    return folder / "fieldapp.db"


@pytest.fixture
def app(tmp_path: Path, migrated: Path) -> Iterator[Flask]:
    """The app on its own fresh database, inside an application context."""
    shutil.copyfile(migrated, tmp_path / "fieldapp.db")
    app = create_app(settings_for(tmp_path), TESTING=True)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(migrated.parent))  # templates are compiled once
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


class Browser(FlaskClient):
    """A client that says where its writes come from, as browsers do.

    Each request has a context of its own, as on a server: who is logged in and what was read do not leak from the
    test or from the request before. What the test has read is read again when touched.
    """

    def open(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        headers = dict(kwargs.pop("headers", None) or {})
        headers.setdefault("Sec-Fetch-Site", "same-origin")
        db.session.rollback()
        with self.application.app_context():
            return super().open(*args, headers=headers, **kwargs)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser in which nobody is logged in."""
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def logged_in(app: Flask) -> Callable[[User], FlaskClient]:
    """``logged_in(user)`` is a browser of its own in which that person is logged in."""

    def log_in(user: User) -> FlaskClient:
        app.test_client_class = Browser
        browser = app.test_client()
        token = accounts.open_session(user, user_agent="tests", address="127.0.0.1")
        browser.set_cookie(accounts.COOKIE, token)
        return browser

    return log_in


# ---- people -----------------------------------------------------------------------------------------


@operation
def add(*things: object) -> None:
    """Put rows into the database and commit them."""
    db.session.add_all(things)


def person(username: str, role: str, name: str = "") -> User:
    """A user with a role and the tests' password."""
    user = User(username=username, name=name or username.title(), role=role, department="客户服务部")
    add(user)
    return user


@pytest.fixture
def engineer(app: Flask) -> User:
    return person("wanglei", "engineer", "王磊")


@pytest.fixture
def colleague(app: Flask) -> User:
    return person("liting", "engineer", "李婷")


@pytest.fixture
def dispatcher(app: Flask) -> User:
    return person("zhaomin", "dispatcher", "赵敏")


@pytest.fixture
def manager(app: Flask) -> User:
    return person("qianjun", "manager", "钱军")


@pytest.fixture
def admin(app: Flask) -> User:
    return person("admin", "admin", "管理员")


# ---- a customer with a broken device ----------------------------------------------------------------


@pytest.fixture
def customer(app: Flask) -> Customer:
    customer = Customer(number="C-1001", name="华东精密机械有限公司", tier="enterprise", phone="021-55501234")
    customer.contacts.append(Contact(name="陈晓", mobile="13900000001", role="设备主管"))
    customer.sites.append(Site(name="一号厂房", address="上海市松江区示例路88号", access_notes="北门登记"))
    add(customer)
    return customer


@pytest.fixture
def asset(customer: Customer) -> Asset:
    asset = Asset(
        customer_id=customer.id,
        site_id=customer.sites[0].id,
        model="ZW-3000 工业服务器",
        serial="ZW3000-0001",
        software_version="V5.2",
        warranty_until=clock.now().date() + timedelta(days=200),
    )
    add(asset)
    return asset


@pytest.fixture
def ticket(customer: Customer, asset: Asset) -> Ticket:
    ticket = Ticket(
        store="embedded",
        ref="T-1",
        version="1",
        number="T-20261121-0001",
        subject="服务器无法启动",
        text="开机后蓝屏",
        customer_id=customer.id,
        contact_id=customer.contacts[0].id,
        site_id=customer.sites[0].id,
        asset_id=asset.id,
        opened_at=clock.now() - timedelta(hours=3),
        changed_at=clock.now() - timedelta(hours=3),
    )
    add(ticket)
    return ticket


@pytest.fixture
def visit(ticket: Ticket, dispatcher: User, engineer: User) -> Visit:
    """A visit of the engineer, planned for half an hour from now."""
    drafted = visits.draft(ticket, by=dispatcher)
    start = clock.now() + timedelta(minutes=30)
    visits.plan(drafted, Plan(lead_id=engineer.id, window_start=start), by=dispatcher)
    return drafted


@pytest.fixture
def working(visit: Visit, engineer: User) -> Visit:
    """The same visit, with the engineer at work on site."""
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(visit, by=engineer)
    return visit
