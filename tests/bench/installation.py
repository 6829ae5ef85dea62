"""A demo installation for the benchmark: migrated, seeded, somebody logged in, visits that wait for a signature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import flask_migrate
from flask import Flask
from sqlalchemy import select

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.config import ROOT, Settings
from fieldapp.demo import hand, seed
from fieldapp.extensions import db
from fieldapp.records import operations as records
from fieldapp.records.values import Evaluation, Filled, Given
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan

TO_COMPLETE = 60
NOT_NEEDED = Given(method="not_applicable")


@dataclass(frozen=True)
class Installation:
    """What the measurements need to know of it."""

    cookie: str
    visit: UUID
    working: UUID
    waiting_for_signature: tuple[UUID, ...]
    strokes: str


def app_in(folder: Path) -> Flask:
    """The app on a database in ``folder``, at the newest revision."""
    app = create_app(Settings(data_dir=str(folder), demo="1", log_level="WARNING"))
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    return app


def prepared(folder: Path) -> Installation:
    """The demo day, with Wang Lei logged in and some of his visits up to the engineer's signature."""
    app = app_in(folder)
    with app.app_context():
        seed.load_if_empty()
        wanglei = db.session.scalars(select(User).where(User.username == "wanglei")).one()
        dispatcher = db.session.scalars(select(User).where(User.username == "zhaomin")).one()
        mine = list(db.session.scalars(select(Visit).where(Visit.lead_id == wanglei.id, Visit.status == "scheduled")))
        template = mine[0]
        waiting = [_awaiting(template, n, dispatcher, wanglei, sign=True) for n in range(TO_COMPLETE)]
        working = _awaiting(template, TO_COMPLETE, dispatcher, wanglei, sign=False)
        token = accounts.open_session(wanglei, user_agent="bench", address="127.0.0.1")
        found = Installation(
            cookie=f"{accounts.cookie_name()}={token}",
            visit=template.id,
            working=working,
            waiting_for_signature=tuple(waiting),
            strokes=hand.strokes(wanglei.name),
        )
        db.session.remove()
        db.engine.dispose()
    return found


def _awaiting(template: Visit, n: int, dispatcher: User, engineer: User, *, sign: bool) -> UUID:
    """A visit on another day, at work; with ``sign`` up to the customer's signature."""
    visit = visits.draft(template.ticket, by=dispatcher)
    start = clock.now() + timedelta(days=30, hours=n)
    visits.plan(visit, Plan(lead_id=engineer.id, window_start=start), by=dispatcher)
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(visit, by=engineer)
    if sign:
        form = Filled(service_type="maintenance", content_text="更换电源模块", outcome="all_done")
        records.save(visit, form, by=engineer)
        records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)
        records.finish(visit, by=engineer)
        customer = Given(method="typed", name="林晓")
        records.customer_sign(visit, Evaluation(skill_rating="good"), customer, by=engineer)
    return visit.id
