"""A visit just before its last signature, in a data folder that is copied for each fault, and what must be true after."""

from __future__ import annotations

import functools
import http.client
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from fieldapp import audit, clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.extensions import db, operation, uuid7
from fieldapp.i18n import LOCALES
from fieldapp.offline.models import Submission
from fieldapp.outbox import Promise
from fieldapp.records.models import ServiceRecord, Signature
from fieldapp.reports.models import Report
from fieldapp.tickets.desk.models import DeskNote, DeskTicket
from fieldapp.visits.models import Visit, VisitEvent
from tests.conftest import Browser, person, settings_for
from tests.records.samples import DRAWN
from tests.security import world

SIGNED = {
    "skill_rating": "good",
    "attitude_rating": "good",
    "customer_method": "drawn",
    "customer_name": "陈晓",
    "customer_strokes": DRAWN,
    "engineer_strokes": DRAWN,
}


@dataclass(frozen=True)
class Stage:
    """Where the prepared installation lies, and how its engineer's phone speaks to it."""

    folder: Path
    token: str
    visit_id: str

    def copied(self, to: Path) -> Path:
        """A copy for one round, to be spoiled."""
        return Path(shutil.copytree(self.folder, to / "data"))

    def completion(self, submission_id: str, **changes: str) -> Phone:
        """The last submission of the visit, with both signatures."""
        body = urlencode(SIGNED | changes).encode()
        return Phone(f"/visits/{self.visit_id}/completion", body, submission_id, self.token)


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, object]
    headers: dict[str, str]


@dataclass(frozen=True)
class Phone:
    """One submission as the phone keeps it: the same bytes and the same number each time it is sent."""

    path: str
    body: bytes
    submission_id: str
    token: str

    def send(self, port: int) -> Answer:
        """Send it to a server on this machine (raises OSError or HTTPException when no answer comes)."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", self.path, self.body, self._headers())
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()), dict(answer.getheaders()))
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"{accounts.COOKIE}={self.token}",
            "Idempotency-Key": self.submission_id,
            "Sec-Fetch-Site": "same-origin",
        }


@functools.cache
def prepared(migrated: Path) -> Stage:
    """The installation of this test process: one engineer, one ticket, one visit that waits for its signatures."""
    folder = migrated.parent / "stage"
    folder.mkdir()
    shutil.copyfile(migrated, folder / "fieldapp.db")
    app = create_app(settings_for(folder))
    with app.app_context():
        engineer, dispatcher = person("wanglei", "engineer", "王磊"), person("zhaomin", "dispatcher", "赵敏")
        world.serve_customer("1001")
        visit = world.planner("1001", engineer, dispatcher)(4)
        world.finish(visit, engineer)
        token = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")
        stage = Stage(folder, token, str(visit.id))
        db.session.remove()
        db.engine.dispose()
    return stage


def phone_says(app: Flask, token: str, visit_id: UUID) -> TestResponse:
    """The same last submission, handed to the app without a server."""
    app.test_client_class = Browser
    browser = app.test_client()
    browser.set_cookie(accounts.COOKIE, token)
    headers = {"Accept": "application/json", "Idempotency-Key": str(uuid7())}
    return browser.post(f"/visits/{visit_id}/completion", data=SIGNED, headers=headers)


# ---- afterwards -------------------------------------------------------------------------------------


def leases_over(folder: Path) -> None:
    """As if the two minutes had passed after which a dead worker's lease ends."""
    _in(folder, _end_leases)


def found_in(folder: Path) -> dict[str, object]:
    """What is in an installation, counted."""
    return _in(folder, found_by)


# One of everything, however often anything was killed, cut or repeated.
ONCE = {
    "visit": "completed",
    "signed records": 1,
    "signatures": {"backup_ack": 1, "customer": 1, "engineer": 1},
    "ends of the visit": 1,
    "submissions": 1,
    "promises": {(kind, "delivered"): 1 for kind in ("record_signed", "report_issued", "report_languages")},
    "reports": dict.fromkeys(LOCALES, 1),
    "notes in the ticket store": 1,
    "files in the ticket store": 1,
    "ticket": "resolved",
    "broken audit row": None,
}


def found_by() -> dict[str, object]:
    """What the app of this context has, counted."""
    db.session.rollback()
    notes = list(db.session.scalars(select(DeskNote)))
    hashes = set(db.session.scalars(select(Report.sha256)))
    promises = db.session.execute(select(Promise.kind, Promise.state)).all()
    ended = select(func.count()).select_from(VisitEvent).where(VisitEvent.type == "completed")
    return {
        "visit": db.session.scalars(select(Visit.status)).one(),
        "signed records": len([each for each in db.session.scalars(select(ServiceRecord)) if each.signed]),
        "signatures": dict(Counter(db.session.scalars(select(Signature.role)))),
        "ends of the visit": db.session.scalar(ended),
        "submissions": db.session.scalar(select(func.count()).select_from(Submission)),
        "promises": dict(Counter((row.kind, row.state) for row in promises)),
        "reports": dict(Counter(db.session.scalars(select(Report.locale)))),
        "notes in the ticket store": len(notes),
        "files in the ticket store": sum(file.sha256 in hashes for note in notes for file in note.files),
        "ticket": db.session.scalars(select(DeskTicket.status)).one(),
        "broken audit row": audit.first_broken(),
    }


@operation
def _end_leases() -> None:
    past = clock.now().replace(year=2020)
    db.session.execute(update(Promise).where(Promise.state == "leased").values(lease_until=past))
    db.session.execute(update(Promise).where(Promise.state == "retry_wait").values(next_at=past))


def _in(folder: Path, ask):  # type: ignore[no-untyped-def]
    app = create_app(settings_for(folder))
    with app.app_context():
        try:
            return ask()
        finally:
            db.session.remove()
            db.engine.dispose()
