"""``flask doctor``: is everything well, and if not, what to do about it, in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import func, select, text

from fieldapp import audit, clock, outbox
from fieldapp.config import ROOT
from fieldapp.extensions import db, journal_mode, settings, wal_is_safe
from fieldapp.i18n import LOCALES
from fieldapp.reports import pdf
from fieldapp.storage import blobs
from fieldapp.sync import reconcile
from fieldapp.sync.models import StoreBreaker, WorkerBeat
from fieldapp.tickets.stores import store

OLDEST_BELIEVABLE = datetime(2026, 1, 1, tzinfo=UTC)
DRIFT = timedelta(seconds=5)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``mend`` says what to do; empty when all is well."""

    what: str
    says: str
    mend: str = ""
    warning: bool = False

    @property
    def well(self) -> bool:
        return not self.mend or self.warning


def findings() -> Iterator[Finding]:
    """Look at everything, one after another; a check that fails itself is a finding too."""
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("database", _database),
        ("migrations", _migrations),
        ("audit chain", _audit),
        ("fonts", _fonts),
        ("storage", _storage),
        ("ticket store", _ticket_store),
        ("store breaker", _breaker),
        ("reconcile", _reconcile),
        ("worker", _worker),
        ("clock", _clock),
        ("languages", _languages),
        ("secrets", _secrets),
    )
    for what, check in checks:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 - a check that fails is a finding
            yield Finding(what, f"could not be checked: {error}", f"See to the {what} first, then run doctor again.")
        finally:
            db.session.rollback()  # the next check starts afresh, also after one that failed


def _database() -> Finding:
    if db.engine.dialect.name != "sqlite":
        version = db.session.scalar(text("SHOW server_version"))
        durable = db.session.scalar(text("SHOW synchronous_commit"))
        mend = "" if durable != "off" else "Set synchronous_commit = on: with off a power cut loses signed records."
        return Finding("database", f"PostgreSQL {version}, synchronous_commit {durable}", mend)
    journal = str(db.session.scalar(text("PRAGMA journal_mode"))).upper()
    level = db.session.scalar(text("PRAGMA synchronous"))
    version = sqlite3.sqlite_version
    says = f"SQLite {version}, journal {journal}, synchronous {'FULL' if level == 2 else level}"
    if not wal_is_safe(sqlite3.sqlite_version_info[:3]):
        says += " (this version has the WAL-reset bug, so the rollback journal is used: slower, as safe)"
    if level != 2 or journal != journal_mode():
        return Finding(
            "database", says, "The database is not on the settings of this app: is another program using it?"
        )
    return Finding("database", says)


def _migrations() -> Finding:
    head = ScriptDirectory(str(ROOT / "migrations")).get_current_head()
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    mend = "" if current == head else "Run: flask --app app db upgrade"
    return Finding("migrations", f"database at {current or 'nothing'}, newest is {head}", mend)


def _audit() -> Finding:
    broken = audit.first_broken()
    if broken is None:
        return Finding("audit chain", "every row fits the one before")
    return Finding("audit chain", f"row {broken} does not fit", "Somebody changed the audit log: keep a copy and ask.")


def _fonts() -> Finding:
    wrong = pdf.check_fonts(settings.fonts_path)
    return Finding("fonts", wrong or "汉字 printed and read back", "Run: make setup" if wrong else "")


def _storage() -> Finding:
    try:
        blobs.check()
    except OSError as error:
        return Finding("storage", str(error), f"Make {settings.data_path} writable and see that the disk is not full.")
    return Finding("storage", f"{settings.data_path / 'blobs'} can be written and flushed")


def _ticket_store() -> Finding:
    theirs = store()
    flaws = theirs.check()
    held = outbox.waiting()
    if flaws:
        return Finding(
            "ticket store",
            f"{theirs.name}: {' '.join(flaw.says for flaw in flaws)}",
            " ".join(flaw.mend for flaw in flaws),
        )
    return Finding("ticket store", f"{theirs.name} answers; {held} deliveries wait")


def _breaker() -> Finding:
    row = db.session.get(StoreBreaker, settings.ticket_store)
    if row is None or (row.quiet and not row.paused):
        return Finding("store breaker", f"{settings.ticket_store} answers its calls")
    says = f"{settings.ticket_store} is left alone ({row.why or 'paused'}): {row.sentence}"
    if row.why == "credentials":
        return Finding(
            "store breaker", says, "Mend FIELDAPP_STORE_USER and FIELDAPP_STORE_SECRET, start the worker anew."
        )
    return Finding("store breaker", says, "Nothing is lost: it is asked again by itself.", warning=True)


def _reconcile() -> Finding:
    found = reconcile.counts()
    says = ", ".join(f"{count} {kind}" for kind, count in found.items())
    mend = "Look at the page of deliveries, or run: flask --app app reconcile" if any(found.values()) else ""
    return Finding("reconcile", says, mend, warning=True)


def _worker() -> Finding:
    if any(beat.alive for beat in db.session.scalars(select(WorkerBeat))):
        return Finding("worker", "a worker is at work")
    says = "no worker was seen in the last minute"
    return Finding("worker", says, "Start one: flask --app app work", warning=True)


def _clock() -> Finding:
    now = clock.now()
    says = f"{now.isoformat(timespec='seconds')}, pages in {settings.timezone}"
    if now < OLDEST_BELIEVABLE:
        return Finding("clock", says, "The clock of this machine is wrong: set it, and keep it set (NTP).")
    theirs = db.session.scalar(select(func.current_timestamp()))
    moment = datetime.fromisoformat(str(theirs)) if isinstance(theirs, str) else theirs
    if moment and abs(_aware(moment) - now) > DRIFT:
        return Finding("clock", f"{says}; the database says {moment}", "Set both clocks from the same source (NTP).")
    return Finding("clock", says)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _languages() -> Finding:
    folder = ROOT / "fieldapp" / "translations"
    absent = [name for name in LOCALES if name != "en" and not (folder / name / "LC_MESSAGES" / "messages.mo").exists()]
    says = f"not compiled: {', '.join(absent)}" if absent else ", ".join(LOCALES)
    return Finding("languages", says, "Run: make setup" if absent else "")


def _secrets() -> Finding:
    if settings.is_demo:
        says = "demo mode: everybody knows the log-ins"
        return Finding("secrets", says, "Never open a demo to the internet.", warning=True)
    if not settings.https:
        says = f"people reach {settings.base_url} without https"
        mend = "Put https in front and set FIELDAPP_PUBLIC_URL: without it, whoever listens can take a log-in."
        return Finding("secrets", says, mend, warning=True)
    mode = "production" if current_app.extensions["settings"].env else "not marked as production"
    return Finding("secrets", f"key of {len(settings.secret_key)} characters, https, {mode}")
