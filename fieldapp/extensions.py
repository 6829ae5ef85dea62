"""The database: base model, column types, and the one way to write: an ``operation``."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import uuid_utils.compat
from flask import Flask, current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, DateTime, Engine, MetaData, event, text
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry
from sqlalchemy.types import TypeDecorator
from werkzeug.local import LocalProxy

from fieldapp.config import Settings

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Base")

NAMES = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# What PostgreSQL says of rows that others hold: serialization failure, deadlock, lock not available.
BUSY_STATES = ("40001", "40P01", "55P03")
# The WAL-reset bug can lose a committed transaction; these versions and later ones of their line are free of it.
WAL_SAFE = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in and out. SQLite drops zones, so they are put back; a naive moment is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database: use clock.now()")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all models: constraint names are fixed from the start so that migrations can name them."""

    registry = registry(
        metadata=MetaData(naming_convention=NAMES, info={"bind_key": None}),
        type_annotation_map={datetime: UtcDateTime, dict[str, Any]: JSON},
    )


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
settings = cast(Settings, LocalProxy(lambda: current_app.extensions["settings"]))


def uuid7() -> UUID:
    """A new key: random, unique, and in the order of time, so that tables and indexes grow at their end."""
    return uuid_utils.compat.uuid7()


class Keyed:
    """Primary key by UUIDv7; things made on a phone bring theirs."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-10)


# ---- one use case, one transaction -----------------------------------------------------------------

_depth: ContextVar[int] = ContextVar("operation_depth", default=0)


def operation(function: Callable[P, R]) -> Callable[P, R]:
    """One use case = one transaction.

    The outermost call ends any read transaction, begins a write transaction (SQLite: BEGIN IMMEDIATE, so that
    what the guards read is what the write will meet), commits when the function returns and rolls back when it
    raises. Calls inside it join. Objects loaded before are read again when touched.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _depth.get():
            return function(*args, **kwargs)
        mark = _depth.set(1)
        try:
            db.session.rollback()
            result = function(*args, **kwargs)
            db.session.commit()
            return result
        except BaseException:
            db.session.rollback()
            raise
        finally:
            _depth.reset(mark)

    return run


def locked(thing: M) -> M:
    """Read a row again and hold it until the operation ends (PostgreSQL: FOR UPDATE; SQLite already holds all).

    Only the row itself: what was loaded beside it is joined again, and the far side of an outer join cannot be held.
    """
    model = thing.__class__  # not type(): the person of a request is a proxy
    db.session.refresh(thing, with_for_update={"of": model})
    return thing


def serialize(name: str) -> None:
    """Let one operation at a time pass for ``name`` until it ends (SQLite's write lock already does)."""
    if db.session.get_bind().dialect.name == "postgresql":
        db.session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})


def contended(error: BaseException) -> bool:
    """Whether the database gave up because somebody else was at the same rows: trying again will do."""
    if not isinstance(error, OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    return state in BUSY_STATES if state else "database is locked" in str(error.orig)


def in_operation() -> bool:
    """True while an operation runs: promises and audit rows insist on it."""
    return bool(_depth.get())


# ---- engine set-up -----------------------------------------------------------------------------------


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug (architecture choice 8)."""
    if version >= WAL_SAFE[-1]:
        return True
    return any(version[:2] == line[:2] and version >= line for line in WAL_SAFE)


def journal_mode() -> str:
    return "WAL" if wal_is_safe(sqlite3.sqlite_version_info[:3]) else "DELETE"


def init_app(app: Flask) -> None:
    """Bind the database of the settings; SQLite gets its durability and waiting rules on each connection."""
    url = make_url(app.config["SQLALCHEMY_DATABASE_URI"])
    if url.get_backend_name() == "postgresql" and url.drivername != "postgresql+psycopg":
        url = url.set(drivername="postgresql+psycopg")
        app.config["SQLALCHEMY_DATABASE_URI"] = url
    # Values of a statement are people's words: they do not belong into an error's text, which is logged.
    options = {"pool_pre_ping": url.get_backend_name() != "sqlite", "hide_parameters": True}
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", options)
    db.init_app(app)
    migrate.init_app(app, db, directory="migrations", render_as_batch=True, compare_type=True)
    with app.app_context():
        if url.get_backend_name() == "sqlite":
            _listen(db.engine)


def _listen(engine: Engine) -> None:
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 15000")
    cursor.execute(f"PRAGMA journal_mode = {journal_mode()}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16000")
    cursor.execute("PRAGMA mmap_size = 268435456")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if in_operation() else "BEGIN")
