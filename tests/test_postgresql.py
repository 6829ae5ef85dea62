"""The distributed engine: migrations, races and the whole journey on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import flask_migrate
import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select, text

from fieldapp import audit, clock, create_app, doctor, outbox
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.errors import Invalid, KeyReused
from fieldapp.extensions import contended, db, locked, operation, uuid7
from fieldapp.offline.operations import new_told, once
from fieldapp.outbox import Attempt, Promise
from fieldapp.sync import worker
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests import postgres
from tests.conftest import person, settings_for
from tests.faults import child
from tests.faults.stage import ONCE, found_by, phone_says
from tests.security import world
from tests.test_migrations import down_and_up_again, revisions

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    try:
        with postgres.cluster() as started:
            yield started
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def at_head(cluster: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database at the newest migration, for copying."""
    url = cluster.create("at_head")
    with in_app(tmp_path_factory.mktemp("at_head"), url):
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    return "at_head"


@pytest.fixture
def url(cluster: postgres.Cluster, at_head: str, tmp_path: Path) -> str:
    return cluster.create(f"test_{uuid7().hex}", at_head)


@pytest.fixture
def app(url: str, tmp_path: Path) -> Iterator[Flask]:
    with in_app(tmp_path, url) as app:
        yield app


@contextmanager
def in_app(folder: Path, url: str) -> Iterator[Flask]:
    app = create_app(settings_for(folder, database_url=url, log_level="ERROR"))
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


def at_once(app: Flask, *acts: Callable[[], object]) -> list[object]:
    """Run these at the same moment, each in a thread with a session of its own; what each returned or raised."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        with app.app_context():
            gate.wait()
            try:
                return act()
            except Exception as error:  # noqa: BLE001 - what was raised is the result
                return error
            finally:
                db.session.remove()

    db.session.rollback()
    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


# ---- migrations -------------------------------------------------------------------------------------


def test_every_migration_goes_up_and_down(cluster: postgres.Cluster, tmp_path: Path) -> None:
    with in_app(tmp_path, cluster.create("up_and_down")):
        for revision in revisions():
            down_and_up_again(revision)
        flask_migrate.downgrade(directory=str(ROOT / "migrations"), revision="base")
        tables = db.session.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        assert set(tables) == {"alembic_version"}


def test_models_are_what_the_newest_migration_makes(app: Flask) -> None:
    flask_migrate.check(directory=str(ROOT / "migrations"))


def test_signed_things_cannot_be_changed_behind_the_app(app: Flask, url: str) -> None:
    user = person("wanglei", "engineer")
    _note(user)
    with psycopg.connect(url) as connection, pytest.raises(psycopg.Error):
        connection.execute("UPDATE audit_entry SET action = 'nothing'")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.Error):
        connection.execute("DELETE FROM audit_entry")


@operation
def _note(user: User) -> None:
    audit.record("test", "test", user.id, by=user.id)


def test_the_doctor_knows_postgresql(app: Flask) -> None:
    found = {finding.what: finding for finding in doctor.findings()}

    for what in ("database", "migrations", "audit chain", "clock", "storage", "ticket store"):
        assert found[what].well, found[what]
    assert found["database"].says.startswith("PostgreSQL")


# ---- races ------------------------------------------------------------------------------------------


@operation
def _promise(number: int) -> None:
    outbox.promise("nothing", {"n": number}, lane=f"lane {number}")


def test_two_claims_at_once_never_take_the_same_promise(app: Flask) -> None:
    for number in range(20):
        _promise(number)

    def claim_all() -> list[object]:
        claims = []
        while claim := outbox.claim("somebody"):
            claims.append(claim.id)
        return claims

    taken = [key for claims in at_once(app, *[claim_all] * 4) for key in claims]  # type: ignore[attr-defined]

    assert len(taken) == len(set(taken)) == 20
    assert db.session.scalar(select(func.count()).select_from(Attempt)) == 20


def test_a_store_has_four_promises_at_work_though_eight_claim_at_once(app: Flask) -> None:
    @operation
    def promise_to_a_store(number: int) -> None:
        outbox.promise("nothing", {"n": number}, lane=f"far:{number}", store="far")

    for number in range(20):
        promise_to_a_store(number)

    claims = at_once(app, *[lambda: outbox.claim("somebody")] * 8)

    assert sum(isinstance(claim, outbox.Claim) for claim in claims) == outbox.AT_ONCE
    assert sum(claim is None for claim in claims) == 8 - outbox.AT_ONCE


def test_a_claim_passes_over_what_another_is_taking(app: Flask, url: str) -> None:
    """SKIP LOCKED: while one transaction holds the first promise, the second is taken without waiting."""
    _promise(1)
    _promise(2)
    first, second = db.session.scalars(select(Promise.id).order_by(Promise.next_at, Promise.id)).all()
    db.session.rollback()
    with psycopg.connect(url) as other:
        other.execute("SELECT id FROM outbox WHERE id = %s FOR UPDATE", [first])
        claim = outbox.claim("the second")

    assert claim is not None
    assert claim.id == second


def test_two_worker_processes_deliver_everything_once(app: Flask, url: str, tmp_path: Path) -> None:
    engineer, dispatcher = person("wanglei", "engineer"), person("zhaomin", "dispatcher")
    world.serve_customer("1001")
    fresh = world.planner("1001", engineer, dispatcher)
    for _n in range(8):
        visits.cannot_complete(fresh(4), "缺备件", by=engineer)
    db.session.remove()

    workers = [child.started(child.work, tmp_path, "", url) for _n in range(2)]

    assert [child.ended(each) for each in workers] == [0, 0]
    assert set(db.session.scalars(select(Promise.state))) == {"delivered"}
    notes = db.session.scalar(text("SELECT count(*) FROM desk_note"))
    assert notes == 8


def test_of_two_plans_for_the_same_half_hour_one_is_told(app: Flask) -> None:
    engineer, dispatcher = person("wanglei", "engineer"), person("zhaomin", "dispatcher")
    world.serve_customer("1001")
    fresh = world.planner("1001", engineer, dispatcher)
    drafts = [fresh().id for _n in range(4)]
    wanted = Plan(lead_id=engineer.id, window_start=clock.now() + timedelta(days=1))
    boss = dispatcher.id

    def plan(key: object) -> Callable[[], object]:
        return lambda: visits.plan(db.session.get_one(Visit, key), wanted, by=db.session.get_one(User, boss))

    results = at_once(app, *[plan(key) for key in drafts])

    assert Counter(type(result) for result in results) == {dict: 1, Invalid: 3}
    planned = select(func.count()).select_from(Visit).where(Visit.window_start.is_not(None))
    assert db.session.scalar(planned) == 1


def test_the_same_submission_at_once_is_one_effect(app: Flask) -> None:
    user = person("wanglei", "engineer")
    key, number = user.id, uuid7()
    done: list[int] = []

    def submit(body: str) -> Callable[[], object]:
        def act() -> object:
            told = new_told(key, "/x", submission_id=number, body_sha256=body)
            return once(told, lambda: {"effect": len(done) if done.append(1) is None else 0})

        return act

    results = at_once(app, *[submit("the same")] * 6)

    receipts = [result for result in results if isinstance(result, tuple)]
    assert len(receipts) == 6, results
    assert [replayed for _receipt, replayed in receipts].count(False) == 1
    assert {receipt["effect"] for receipt, _replayed in receipts} == {receipts[0][0]["effect"]}


def test_the_same_number_with_other_content_at_once_is_audited(app: Flask) -> None:
    user = person("wanglei", "engineer")
    key, number = user.id, uuid7()

    def submit(body: str) -> Callable[[], object]:
        return lambda: once(new_told(key, "/x", submission_id=number, body_sha256=body), dict)

    results = at_once(app, submit("one"), submit("other"))

    assert Counter(type(result) for result in results) == {tuple: 1, KeyReused: 1}
    actions = db.session.scalars(select(audit.AuditEntry.action)).all()
    assert actions == ["submission.key_reused"]


def test_the_audit_chain_stays_whole_under_load(app: Flask) -> None:
    user = person("wanglei", "engineer")
    key = user.id

    def write() -> None:
        for _n in range(10):
            _note(db.session.get_one(User, key))

    results = at_once(app, *[write] * 4)

    assert results == [None] * 4
    assert audit.first_broken() is None
    assert db.session.scalar(select(func.count()).select_from(audit.AuditEntry)) == 40


def test_a_deadlock_is_known_as_a_matter_of_a_moment(app: Flask) -> None:
    """Two people take the same two rows in opposite order: one gets through, the other is told to try again."""
    keys = [person("wanglei", "engineer").id, person("liting", "engineer").id]
    both_hold_one = threading.Barrier(2)

    @operation
    def take(first: object, second: object) -> str:
        locked(db.session.get_one(User, first))
        both_hold_one.wait()
        locked(db.session.get_one(User, second))
        return "through"

    results = at_once(app, lambda: take(*keys), lambda: take(*reversed(keys)))

    assert results.count("through") == 1
    assert [contended(each) for each in results if isinstance(each, Exception)] == [True]


# ---- the journey ------------------------------------------------------------------------------------


def test_from_ticket_to_delivered_report(app: Flask) -> None:
    engineer, dispatcher = person("wanglei", "engineer", "王磊"), person("zhaomin", "dispatcher", "赵敏")
    world.serve_customer("1001")
    visit = world.planner("1001", engineer, dispatcher)(4)
    world.finish(visit, engineer)
    token = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")

    answer = phone_says(app, token, visit.id)
    worker.run_until_idle("postgresql")

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert found_by() == ONCE
