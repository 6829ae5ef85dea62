"""The database's ground rules: aware UTC, one use case is one transaction, SQLite that does not lose what it said."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from fieldapp import create_app
from fieldapp.accounts.models import User
from fieldapp.extensions import (
    UtcDateTime,
    contended,
    db,
    in_operation,
    journal_mode,
    locked,
    operation,
    serialize,
    uuid7,
    wal_is_safe,
)
from tests.conftest import person, settings_for

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


# ---- time -------------------------------------------------------------------------------------------


def test_moments_are_aware_utc_in_and_out(app: Flask) -> None:
    user = person("wanglei", "engineer")

    @operation
    def move() -> None:
        db.session.get_one(User, user.id).created_at = NOON.astimezone(timezone(timedelta(hours=8)))

    move()

    assert user.created_at == NOON
    assert user.created_at.tzinfo is UTC
    assert db.session.scalar(text('SELECT created_at FROM "user"')) == "2026-11-22 12:00:00.000000"


def test_a_naive_moment_is_refused(app: Flask) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        db.session.scalars(select(User).where(User.created_at == datetime(2026, 1, 1))).all()  # noqa: DTZ001


def test_postgresql_gets_and_gives_aware_moments() -> None:
    column, theirs = UtcDateTime(), postgresql.dialect()
    eight_ahead = NOON.astimezone(timezone(timedelta(hours=8)))

    assert column.process_bind_param(eight_ahead, theirs) == NOON
    assert column.process_result_value(eight_ahead, theirs).tzinfo is UTC
    assert column.process_bind_param(None, theirs) is None
    assert column.process_result_value(None, theirs) is None


def test_keys_grow_with_time() -> None:
    keys = [uuid7() for _n in range(1000)]

    assert keys == sorted(keys)
    assert len(set(keys)) == 1000
    assert keys[0].version == 7


# ---- one use case, one transaction ------------------------------------------------------------------


def names() -> list[str]:
    db.session.rollback()
    return list(db.session.scalars(select(User.username).order_by(User.username)))


@operation
def make(name: str) -> User:
    user = User(username=name, name=name, role="engineer")
    db.session.add(user)
    return user


def test_an_operation_commits_and_gives_its_result(app: Flask) -> None:
    assert make("wanglei").username == "wanglei"
    assert names() == ["wanglei"]
    assert not in_operation()


def test_operations_inside_join_the_outer_one(app: Flask) -> None:
    @operation
    def both() -> None:
        make("wanglei")
        assert in_operation()
        make("liting")
        raise ValueError("after both")

    with pytest.raises(ValueError):
        both()

    assert names() == []
    assert not in_operation()


def test_what_lies_about_before_is_not_committed_with_it(app: Flask) -> None:
    db.session.add(User(username="stray", name="", role="engineer"))

    make("wanglei")

    assert names() == ["wanglei"]


def test_even_an_interrupt_rolls_back(app: Flask) -> None:
    @operation
    def interrupted() -> None:
        make("wanglei")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert names() == []


def test_a_second_writer_waits_at_the_begin_not_at_the_end(app: Flask, tmp_path: Path) -> None:
    """BEGIN IMMEDIATE: what an operation reads is what its write will meet."""
    other = sqlite3.connect(tmp_path / "fieldapp.db", timeout=0)
    try:

        @operation
        def reads_only() -> None:
            db.session.scalar(select(User.id))
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")

        reads_only()
        other.execute("BEGIN IMMEDIATE")
        assert names() == []  # reading outside an operation waits for nobody
    finally:
        other.close()


def test_locked_reads_the_row_again(app: Flask) -> None:
    user = person("wanglei", "engineer")
    assert user.name == "Wanglei"
    with db.engine.connect() as other:
        db.session.rollback()
        other.execute(text("""UPDATE "user" SET name = '王磊'"""))
        other.commit()

    @operation
    def look() -> str:
        serialize("on SQLite the write lock is enough")
        return locked(user).name

    assert look() == "王磊"


# ---- SQLite -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_only_where_it_loses_nothing(version: tuple[int, int, int], safe: bool) -> None:
    assert wal_is_safe(version) is safe


def test_every_connection_is_durable_and_strict(app: Flask) -> None:
    assert db.session.scalar(text("PRAGMA synchronous")) == 2
    assert db.session.scalar(text("PRAGMA foreign_keys")) == 1
    assert db.session.scalar(text("PRAGMA busy_timeout")) == 15000
    assert str(db.session.scalar(text("PRAGMA journal_mode"))).upper() == journal_mode()


def test_the_journal_follows_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    assert journal_mode() == "DELETE"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert journal_mode() == "WAL"


def test_postgresql_means_its_new_driver(tmp_path: Path) -> None:
    for scheme in ("postgresql", "postgresql+psycopg"):
        app = create_app(settings_for(tmp_path, database_url=f"{scheme}://nobody@/nothing"))
        with app.app_context():
            assert db.engine.driver == "psycopg"


# ---- errors -----------------------------------------------------------------------------------------


def test_peoples_words_stay_out_of_the_errors_text(app: Flask) -> None:
    make("wanglei")
    with pytest.raises(IntegrityError) as refused:
        make("wanglei")

    assert "wanglei" not in str(refused.value)


def test_a_locked_database_is_a_matter_of_a_moment(app: Flask) -> None:
    busy = OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
    broken = OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("disk I/O error"))

    assert contended(busy)
    assert not contended(broken)
    assert not contended(ValueError("database is locked"))


def test_a_busy_database_asks_to_come_again_and_a_broken_one_is_an_error(
    app: Flask,
    client,
    caplog: pytest.LogCaptureFixture,  # type: ignore[no-untyped-def]
) -> None:
    raised = {"busy": "database is locked", "broken": "disk I/O error"}

    def fail(kind: str) -> str:
        raise OperationalError("SELECT", None, sqlite3.OperationalError(raised[kind]))

    fail.access = app.view_functions["health.live"].access  # type: ignore[attr-defined]
    app.add_url_rule("/fail/<kind>", view_func=fail)
    busy, broken = client.get("/fail/busy", headers={"Accept": "application/json"}), client.get("/fail/broken")

    assert (busy.status_code, busy.json["error"], busy.headers["Retry-After"]) == (503, "busy", "2")
    assert broken.status_code == 500
    assert "Nothing you saved is lost" in broken.get_data(as_text=True)


def test_with_the_database_gone_there_is_still_a_page(app: Flask, tmp_path: Path, logged_in, engineer) -> None:  # type: ignore[no-untyped-def]
    logging.getLogger("fieldapp").setLevel("CRITICAL")
    browser = logged_in(engineer)
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE login_session RENAME TO gone"))

    answer = browser.get("/customers")

    assert answer.status_code == 500
    assert "<h1>" in answer.get_data(as_text=True)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
