"""The main job without a browser: a waiting ticket → plan → visit → record → signatures → PDF → ticket store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.demo import hand
from fieldapp.errors import FieldAppError
from fieldapp.extensions import db, uuid7
from fieldapp.offline.operations import Told, new_told
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records.queries import record_of
from fieldapp.records.standing import standing_of
from fieldapp.records.values import Evaluation, Filled, Given, PartLine
from fieldapp.reports import operations as reports
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.sync import worker
from fieldapp.sync.pull import pull
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import StoreError
from fieldapp.tickets.stores import store
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan

Say = Callable[[str], object]
PAUSE_S = 0.5
LONGEST_WAIT_S = 240  # a worker that died has its promise for so long, with the time that it takes to keep it again


@dataclass
class Steps:
    """Says each step with its time in milliseconds; ``held`` turns false with the first that did not hold."""

    say: Say
    held: bool = True
    number: int = field(default=0)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.number += 1
        started = time.perf_counter()
        try:
            yield
        except (FieldAppError, StoreError, LookupError, OSError) as error:
            self.held = False
            self.say(f"{self.number:2}. {what}: FAILED: {error}")
            raise
        self.say(f"{self.number:2}. {what}: {(time.perf_counter() - started) * 1000:.0f} ms")

    def check(self, what: str, true: bool) -> None:
        self.held = self.held and true
        self.say(f"    {'holds' if true else 'DOES NOT HOLD'}: {what}")


def run(locale: str, out: Path, *, say: Say) -> bool:
    """Carry one waiting ticket through; whether every step and check held."""
    steps = Steps(say)
    try:
        _carry(steps, locale, out)
    except (FieldAppError, StoreError, LookupError, OSError):
        return False
    return steps.held


def _carry(steps: Steps, locale: str, out: Path) -> None:
    with steps.step("read the ticket store"):
        pull(store())
    with steps.step("take a waiting ticket"):
        ticket = _waiting_ticket()
    steps.say(f"    {ticket.number} {ticket.subject}")
    dispatcher, engineer = _person("dispatcher"), _person("engineer")
    with steps.step(f"plan it for {engineer.name}"):
        visit = visits.draft(ticket, by=dispatcher)
        wanted = Plan(lead_id=engineer.id, window_start=_ago(75), override_reason="演示流程，与当日安排并行")
        visits.plan(visit, wanted, by=dispatcher)
    _travel(steps, visit, engineer)
    _fill(steps, visit, engineer)
    _sign(steps, visit, engineer)
    with steps.step("issue the report and deliver it"):
        _deliver(steps, visit)
    _prove(steps, visit, locale, out)


def _travel(steps: Steps, visit: Visit, engineer: User) -> None:
    for what, act, minutes in (
        ("accept", visits.accept, 150),
        ("set off", visits.depart, 105),
        ("arrive", visits.arrive, 68),
        ("start", visits.start, 60),
    ):
        with steps.step(what):
            act(visit, by=engineer, told=_told(engineer, minutes))


def _fill(steps: Steps, visit: Visit, engineer: User) -> None:
    with steps.step("have the backup reminder signed"):
        given = Given(method="drawn", name=_customer(visit), strokes=hand.strokes(_customer(visit)))
        records.acknowledge_backup(visit, given, by=engineer, told=_told(engineer, 58))
    filled = Filled(
        service_type="maintenance",
        content_text="检查设备运行日志，发现电源模块输出电压不稳；更换电源模块，重新紧固线缆，连续运行测试三十分钟正常。",
        outcome="all_done",
        cause="电源模块滤波电容老化，满载时输出跌落。",
        solution="更换同型号电源模块，清理风道积灰。",
        prevention="每季度清洁防尘网；机房温度保持在二十六摄氏度以下。",
        tools="万用表、防静电手环、十字螺丝刀",
        parts=(PartLine(name="电源模块 800W", serial="PSU800-23917", old_serial="PSU800-11802"),),
        contact_phone="13900000000",
    )
    with steps.step("fill the service record"):
        records.save(visit, filled, by=engineer)
    for kind, title in (("label", "铭牌"), ("before", "处理前"), ("after", "处理后"), ("after", "满载测试")):
        with steps.step(f"photograph: {kind}"):
            lines = (visit.asset.serial, visit.asset.model) if visit.asset else ()
            picture = hand.photo(title, lines, seed=steps.number)
            records.add_photo(visit, picture, kind=kind, caption=title, by=engineer, told=_told(engineer, 30))
    with steps.step("finish: check and freeze"):
        records.finish(visit, by=engineer, told=_told(engineer, 6))


def _sign(steps: Steps, visit: Visit, engineer: User) -> None:
    evaluation = Evaluation(skill_rating="good", attitude_rating="good", contact_phone="13900000000")
    with steps.step("the customer rates and signs"):
        name = _customer(visit)
        customer = Given(method="drawn", name=name, phone="13900000000", strokes=hand.strokes(name))
        records.customer_sign(visit, evaluation, customer, by=engineer, told=_told(engineer, 3))
    with steps.step("the engineer signs, the visit ends"):
        given = Given(method="drawn", strokes=hand.strokes(engineer.name))
        records.complete(visit, given, by=engineer, told=_told(engineer, 1))


def _deliver(steps: Steps, visit: Visit) -> None:
    """Until all that follows was kept, by us or by the worker of a server that runs beside (raises LookupError)."""
    until = time.monotonic() + LONGEST_WAIT_S
    worker.run_until_idle("demo-visit")
    while left := _unkept(visit):
        if any(each.needs_person for each in left) or time.monotonic() > until:
            raise LookupError("; ".join(f"{each.kind}: {each.last_error or each.state}" for each in left))
        db.session.rollback()
        steps.say("    another worker is at it")
        time.sleep(PAUSE_S)
        worker.run_until_idle("demo-visit")


def _prove(steps: Steps, visit: Visit, locale: str, out: Path) -> None:
    db.session.rollback()
    record = record_of(visit)
    report = reports.find(record.id, locale) if record else None
    if record is None or report is None:
        steps.check("the report was issued", true=False)
        return
    with steps.step(f"write {out.name}"):
        out.write_bytes(blobs.get(report.sha256))
    steps.say(f"    {record.printed_number}, {report.pages} pages, {report.size // 1024} KiB")
    steps.check("the visit is completed", visit.status == "completed")
    steps.check("the record is signed by customer and engineer", standing_of(record).state == "signed")
    steps.check("no character was lost in print", not report.lost_characters)
    steps.check("every promise of this ticket was kept", not _unkept(visit))
    steps.check("the ticket store holds the report exactly once", _delivered_once(visit, record.id))
    ticket = db.session.get_one(Ticket, visit.ticket_id)
    pull(store())
    steps.check("the ticket is resolved in the store", ticket.status == "resolved")


def _waiting_ticket() -> Ticket:
    """The oldest open ticket of a known customer that has no open visit (raises LookupError when there is none)."""
    visited = select(Visit.ticket_id)
    query = select(Ticket).where(Ticket.status.in_(("new", "triaged")), Ticket.customer_id.is_not(None))
    ticket = db.session.scalar(query.where(Ticket.id.not_in(visited)).order_by(Ticket.opened_at).limit(1))
    if ticket is None:
        raise LookupError("no ticket is waiting: load a fresh demo day")
    return ticket


def _person(role: str) -> User:
    found = db.session.scalar(select(User).where(User.role == role, User.disabled_at.is_(None)).order_by(User.id))
    if found is None:
        raise LookupError(f"there is no {role}")
    return found


def _customer(visit: Visit) -> str:
    return visit.contact.name if visit.contact else "林晓"


def _ago(minutes: int) -> datetime:
    return clock.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes)


def _told(engineer: User, minutes_ago: int) -> Told:
    """A submission that a phone would have made some minutes ago and sent now."""
    return new_told(engineer.id, "/demo", submission_id=uuid7(), device_at=_ago(minutes_ago), device="demo-phone")


def _unkept(visit: Visit) -> list[Promise]:
    """What of this ticket, and of the other languages of its report, is not kept yet."""
    record = record_of(visit)
    lanes = [visit.ticket.lane, visit.ticket.reports_lane, *([reports.languages_lane(record)] if record else [])]
    query = select(Promise).where(Promise.lane.in_(lanes), Promise.state != "delivered")
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def _delivered_once(visit: Visit, record_id: object) -> bool:
    hashes = set(db.session.scalars(select(Report.sha256).where(Report.record_id == record_id)))
    notes = store().thread(visit.ticket.ref)
    return sum(1 for note in notes for file in note.files if file.sha256 in hashes) == 1
