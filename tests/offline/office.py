"""The office's side of a broken journey: an installation in a folder that is restarted, restored, planned and replanned.

Everything the office does here goes through the app's own operations; the phones speak HTTP.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import select, update
from wtforms import Field, FieldList

from fieldapp import clock, create_app, outbox
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginSession, User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.errors import FieldAppError, NotFound
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.operations import bump_epoch
from fieldapp.outbox import OPEN_STATES, Promise
from fieldapp.records import forms
from fieldapp.records import operations as records
from fieldapp.records.queries import record_of
from fieldapp.records.values import Evaluation, Filled, Given
from fieldapp.reports import pdf
from fieldapp.sync import worker
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk import operations as desk
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.stores import store
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.conftest import add, person, settings_for
from tests.offline.phone import Phone, Transport, true_time

T = TypeVar("T")
ENGINEERS = ("wanglei", "liting")
LEFT = select(Promise.uid, Promise.state, Promise.last_error).where(Promise.state.in_(OPEN_STATES))
STEPS: dict[str, Callable[..., object]] = {
    "scheduled": visits.accept,
    "accepted": visits.depart,
    "traveling": visits.arrive,
    "arrived": visits.start,
    "paused": visits.resume,
}


@dataclass(frozen=True)
class Stage:
    """A prepared folder and who is in it: engineers by name with their id and session."""

    folder: Path
    engineers: dict[str, tuple[str, str]]


@functools.cache
def prepared(migrated: Path) -> Stage:
    """Two engineers, a dispatcher, two customers: made once per test process."""
    folder = migrated.parent / "office"
    folder.mkdir()
    shutil.copyfile(migrated, folder / "fieldapp.db")
    app = create_app(settings_for(folder))
    with app.app_context():
        people = {name: person(name, "engineer") for name in ENGINEERS}
        person("zhaomin", "dispatcher", "赵敏")
        for number in ("1001", "1002"):
            serve_customer(number)
        engineers = {name: (str(user.id), _session(user)) for name, user in people.items()}
        db.session.remove()
        db.engine.dispose()
    return Stage(folder, engineers)


class Office:
    """An installation that can be stopped, started, saved and restored while phones go on speaking to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = settings_for(folder, log_level="ERROR")
        self.app, self._other = create_app(self.settings), create_app(self.settings)
        self._hours = itertools.count(1)

    # ---- the installation

    def restart(self) -> None:
        """Stop, and start again on the same folder: the other process knows only what lies there."""
        self.close()
        self.app, self._other = self._other, self.app

    def close(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()

    def save(self) -> bytes:
        """A backup: the database as it is now (the blobs are only ever added to)."""
        self.close()
        for suffix in ("-wal", "-shm"):
            (self.folder / f"fieldapp.db{suffix}").unlink(missing_ok=True)
        return (self.folder / "fieldapp.db").read_bytes()

    def restore(self, backup: bytes) -> None:
        """Go back to a backup, as after a fire, and say so: the epoch grows beyond every one that was given out."""
        self.save()
        (self.folder / "fieldapp.db").write_bytes(backup)
        self.restart()
        self.ask(bump_epoch)

    def ask(self, question: Callable[[], T]) -> T:
        """Ask something of the app, in a context of its own."""
        with self.app.app_context():
            try:
                return question()
            finally:
                db.session.remove()

    def phone(self, name: str, stage: Stage, transport: Transport, rng: random.Random) -> Phone:
        user, cookie = stage.engineers[name]
        return Phone(user, cookie, transport, rng, clock=true_time)

    # ---- people of the office

    def plan_new(self, engineer: str, customer: str = "1001") -> str:
        """A ticket comes in and is planned; the visit's id."""

        def plan() -> str:
            subject, serial = f"服务器无法启动 {customer}", f"S-{customer}"
            intake = desk.Intake(subject=subject, customer_number=f"C-{customer}", asset_serial=serial)
            number = desk.file_ticket(intake, uid=str(uuid7())).number
            pull(store())
            ticket = db.session.scalars(select(Ticket).where(Ticket.ref == number)).one()
            visit = visits.draft(ticket, by=self.dispatcher())
            self._plan(visit.id, engineer)
            return str(visit.id)

        return self.ask(plan)

    def plan(self, visit: str, engineer: str) -> bool:
        """Plan, replan or give to somebody else; whether the visit's state allowed it."""
        return self._if_allowed(lambda: self._plan(UUID(visit), engineer))

    def cancel(self, visit: str) -> bool:
        return self._if_allowed(lambda: visits.cancel(_visit(visit), "客户改期", by=self.dispatcher()))

    def take_back(self, visit: str) -> bool:
        return self._if_allowed(lambda: visits.take_back(_visit(visit), "改派", by=self.dispatcher()))

    def edit(self, visit: str, **fields: str) -> bool:
        """The same engineer at a desk writes into the record's draft; whether there is one to write into."""

        def write() -> object:
            found = _visit(visit)
            engineer = found.lead
            if engineer is None:
                raise NotFound("nobody's visit")
            record = record_of(found)
            form = forms.of_record(record) if record else forms.blank(found)
            for name, value in fields.items():
                form[name].data = value
            return records.save(found, form.filled(), by=engineer)

        return self._if_allowed(write)

    def step(self, visit: str) -> bool:
        """The same engineer at a desk takes the next step of the visit."""

        def take() -> object:
            found = _visit(visit)
            if found.lead is None or found.status not in STEPS:
                raise NotFound("no step is left")
            return STEPS[found.status](found, by=found.lead)

        return self._if_allowed(take)

    def complete(self, visit: str, strokes: str) -> bool:
        """The same engineer at a desk carries the visit to its signed end, on the pages that need no script."""

        def carry() -> None:
            found = _visit(visit)
            engineer = found.lead
            if engineer is None:
                raise NotFound("nobody's visit")
            while found.status in STEPS:
                STEPS[found.status](found, by=engineer)
            form = Filled(service_type="maintenance", content_text="在办公室填写", outcome="all_done")
            records.save(found, form, by=engineer)
            records.acknowledge_backup(found, Given(method="not_applicable"), by=engineer)
            records.finish(found, by=engineer)
            customer = Given(method="drawn", name="陈晓", strokes=strokes)
            records.complete(
                found, Given(method="drawn", strokes=strokes), customer=customer, evaluation=Evaluation(), by=engineer
            )

        return self._if_allowed(carry)

    def log_out_everywhere(self, engineer: str) -> None:
        """Every session of this engineer ends, as after a change of password."""

        @operation
        def end() -> None:
            user = db.session.scalars(select(User).where(User.id == UUID(engineer))).one()
            for each in db.session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)):
                each.ended_at = clock.now()

        self.ask(end)

    def log_in(self, engineer: str) -> str:
        """A new session; its cookie."""
        return self.ask(lambda: _session(db.session.get_one(User, UUID(engineer))))

    def page(self, visit: str) -> tuple[dict[str, list[str]], int | None]:
        """What the record's page says when a phone takes it along: its fields, and the revision of the draft."""

        def read() -> tuple[dict[str, list[str]], int | None]:
            found = _visit(visit)
            record = record_of(found)
            form = forms.of_record(record) if record else forms.blank(found)
            return dict(_values(form)), record.draft_revision if record and not record.frozen else None

        return self.ask(read)

    def status(self, visit: str) -> str:
        return self.ask(lambda: _visit(visit).status)

    # ---- the worker

    def work(self) -> None:
        """Keep every promise that is due."""
        self.ask(lambda: worker.run_until_idle("tests"))

    def work_to_the_end(self) -> None:
        """Keep every promise, as if the time had passed for which some of them wait (AssertionError: one never ends)."""
        for _n in range(8):
            self.hurry()
            self.work()
            if not self.ask(outbox.waiting):
                return
        left = self.ask(lambda: db.session.execute(LEFT).all())
        raise AssertionError(f"promises that are not kept: {left}")

    def work_once(self) -> None:
        self.ask(lambda: worker.run_once("tests"))

    def tick(self) -> None:
        """One turn of the worker as a fresh process would take it, with what it does now and then."""
        self.ask(lambda: worker._step("tests", worker.Rhythm()))

    def hurry(self) -> None:
        """As if the time had passed for which waiting promises wait."""

        @operation
        def due_now() -> None:
            past = clock.now() - timedelta(days=1)
            db.session.execute(update(Promise).where(Promise.state == "retry_wait").values(next_at=past))

        self.ask(due_now)

    # ---- below

    def dispatcher(self) -> User:
        return db.session.scalars(select(User).where(User.username == "zhaomin")).one()

    def _plan(self, visit_id: UUID, engineer: str) -> None:
        wanted = Plan(
            lead_id=UUID(engineer),
            window_start=clock.now() + timedelta(hours=next(self._hours)),
            override_reason="两单同址",
        )
        visits.plan(db.session.get_one(Visit, visit_id), wanted, by=self.dispatcher())

    def _if_allowed(self, act: Callable[[], object]) -> bool:
        try:
            self.ask(act)
        except FieldAppError:
            return False
        return True


def _visit(visit: str) -> Visit:
    return db.session.get_one(Visit, UUID(visit))


def serve_customer(number: str) -> None:
    customer = Customer(number=f"C-{number}", name=f"客户 {number}", tier="enterprise", phone=f"021-5550{number}")
    customer.contacts.append(Contact(name=f"联系人{number}", mobile=f"1390000{number}"))
    customer.sites.append(Site(name="本部", address=f"示例路 {number} 号"))
    add(customer)
    add(Asset(customer_id=customer.id, site_id=customer.sites[0].id, model="ZW-3000", serial=f"S-{number}"))


def _session(user: User) -> str:
    token = accounts.open_session(user, user_agent="tests", address="127.0.0.1")
    return f"{accounts.COOKIE}={token}"


def _values(form: forms.RecordForm) -> Iterator[tuple[str, list[str]]]:
    """Every field of the form as a browser would send it: name, and the values as text."""
    for field in _flat(form):
        data = field.data
        if isinstance(data, list):
            yield field.name, [str(each) for each in data]
        else:
            value = field._value() if hasattr(field, "_value") else data
            yield field.name, [str(value)] if value else []


def _flat(form: Any) -> Iterator[Field]:
    for field in form:
        if isinstance(field, FieldList):
            for row in field:
                yield from _flat(row.form)
        else:
            yield field


# ---- what people give -------------------------------------------------------------------------------


def ink(rng: random.Random) -> str:
    """Two strokes that pass for a signature and that nobody drew before, as the pad writes them."""
    turn = rng.randrange(10_000)
    wave = [[1500 + 40 * n, 2500 + int(900 * math.sin(n / 3 + turn)), n * 24] for n in range(60)]
    line = [[2000 + 120 * n, 3600 - 16 * n, 1500 + n * 20 + turn % 7] for n in range(30)]
    return json.dumps({"v": 1, "w": 328, "h": 164, "strokes": [wave, line]}, separators=(",", ":"))


def picture(rng: random.Random, *, large: bool = False) -> bytes:
    """A JPEG that no other call returns; a large one takes three ranges."""
    size = (400, 300) if large else (48, 32)
    noise = Image.frombytes("RGB", size, rng.randbytes(size[0] * size[1] * 3))
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=95)
    return out.getvalue()


@contextmanager
def quick_paper() -> Iterator[None]:
    """The outside program that sets pages, replaced by one that writes a line: hundreds of reports in seconds."""

    def render(document: Any, **_more: object) -> pdf.Rendered:
        paper = b"%PDF-1.7 " + hashlib.sha256(document.as_json().encode()).hexdigest().encode()
        return pdf.Rendered(
            pdf=paper, sha256=hashlib.sha256(paper).hexdigest(), pages=1, lost_characters=(), seconds=0.0
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "ask", lambda _press, document: render(document))
        yield
