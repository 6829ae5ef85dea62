"""A day in the field: an office that is a real process, phones behind a network that can be spoilt, and a look at both."""

from __future__ import annotations

import json
import random
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
from sqlalchemy import select

from fieldapp.extensions import db
from fieldapp.offline.models import Case
from fieldapp.records.models import ServiceRecord
from fieldapp.visits.models import Visit, VisitEvent
from tests.faults import child
from tests.faults.proxy import Fault, Proxy, proxy_to
from tests.offline import invariant
from tests.offline.office import Office, Stage, ink, prepared, quick_paper
from tests.offline.phone import Item, Phone, over_tcp

STEPS = ("acceptance", "departure", "arrival", "start")


@dataclass
class Web:
    """The web server: a process that is killed and started again on a port that stays open meanwhile."""

    folder: Path
    listener: socket.socket
    processes: list[ForkServerProcess] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def start(self, crash_at: str = "", workers: int = 1) -> None:
        self.processes = [child.started(child.serve, self.folder, self.listener, crash_at) for _n in range(workers)]

    def died(self) -> bool:
        """Wait for the one that was to die at a named point; whether it did."""
        return child.ended(self.processes.pop()) == child.KILLED

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        for each in self.processes:
            each.kill()
            each.join()
        self.processes = []


@dataclass
class FieldDay:
    """``office`` looks into the folder that ``web`` serves; phones speak through ``proxy``."""

    stage: Stage
    office: Office
    web: Web
    proxy: Proxy
    phones: list[Phone] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(20261122))

    def phone(self, name: str = "wanglei") -> Phone:
        """A phone of an engineer, behind the network."""
        phone = self.office.phone(name, self.stage, over_tcp(self.proxy.port), self.rng)
        self.phones.append(phone)
        return phone

    def plan(self, phone: Phone) -> str:
        """A visit of this phone's engineer."""
        return self.office.plan_new(phone.user)

    def begin(self, phone: Phone, visit: str) -> None:
        """Every step down to the work itself, and the record's page opened."""
        for noun in STEPS:
            phone.tap(visit, noun)
        self.begin_record(phone, visit)

    def begin_record(self, phone: Phone, visit: str, content_text: str = "更换主板，测试正常") -> None:
        """The record's page opened as the office has it now, and filled in."""
        phone.open_record(visit, *self.office.page(visit))
        phone.write(visit, service_type="maintenance", content_text=content_text, outcome="all_done")
        phone.tap(visit, "backup-acknowledgement", backup_ack_method="not_applicable")

    def finish(self, phone: Phone, visit: str) -> Item:
        """Both signatures, and the whole record in one submission."""
        customer = {"skill_rating": "good", "attitude_rating": "good", "contact_phone": "13900000001"}
        customer |= {"customer_method": "drawn", "signer_name": "陈晓", "customer_strokes": ink(self.rng)}
        return phone.complete(visit, customer, {"engineer_strokes": ink(self.rng)})

    def work(self, phone: Phone, visit: str) -> Item:
        """A visit from its acceptance to its end."""
        self.begin(phone, visit)
        return self.finish(phone, visit)

    def settle(self) -> None:
        """The network is well, the queues run empty, the worker keeps what was promised."""
        self.proxy.fault, self.proxy.chooses = Fault(), None
        for phone in self.phones:
            phone.settle()
        with quick_paper():
            self.office.work_to_the_end()

    def all_is_well(self) -> None:
        """After every case: everything drains, and the global invariant holds."""
        self.settle()
        invariant.check_settled(self.office.app, self.phones)

    # ---- looking

    def outcomes(self, phone: Phone) -> list[str]:
        return [phone.disk.receipts[item.id]["outcome"] for item in phone.disk.outbox.values()]

    def records(self, visit: str) -> list[dict[str, Any]]:
        """What was signed at this visit and at visits beside it, oldest first."""

        def read() -> list[dict[str, Any]]:
            family = (Visit.id == UUID(visit)) | (Visit.parent_id == UUID(visit))
            query = select(ServiceRecord).join(Visit, Visit.id == ServiceRecord.visit_id).where(family)
            signed = query.where(ServiceRecord.signed_at.is_not(None)).order_by(ServiceRecord.signed_at)
            return [json.loads(each.content or "{}") for each in db.session.scalars(signed)]

        return self.office.ask(read)

    def cases(self, kind: str = "") -> list[dict[str, Any]]:
        """The facts of the cases of a kind."""

        def read() -> list[dict[str, Any]]:
            query = select(Case).order_by(Case.id)
            return [each.facts for each in db.session.scalars(query.where(Case.kind == kind) if kind else query)]

        return self.office.ask(read)

    def events(self, visit: str) -> list[VisitEvent]:
        def read() -> list[VisitEvent]:
            query = select(VisitEvent).where(VisitEvent.visit_id == UUID(visit)).order_by(VisitEvent.seq)
            return list(db.session.scalars(query))

        return self.office.ask(read)


def said(item: Item) -> dict[str, str]:
    """The fields of a submission."""
    return {name: values[0] for name, values in parse_qs(item.body.decode(), keep_blank_values=True).items()}


@pytest.fixture
def day(migrated: Path, tmp_path: Path) -> Iterator[FieldDay]:
    stage = prepared(migrated)
    folder = Path(shutil.copytree(stage.folder, tmp_path / "data"))
    office = Office(folder)
    with child.listening() as listener:
        web = Web(folder, listener)
        web.start()
        try:
            with proxy_to(web.port) as proxy:
                yield FieldDay(stage, office, web, proxy)
        finally:
            web.kill()
            office.close()
