"""What follows from what: every kind of promise is kept, and what reaches the ticket."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.operations import new_told
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records.queries import record_of
from fieldapp.records.values import Filled, Given, OpenLine
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.sync import labels, reconcile, worker
from fieldapp.sync.handlers import HANDLERS
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk.models import DeskNote, DeskTicket
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Change, Rejected, Retry, StoreNote
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.stores.embedded import EmbeddedStore
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.records.samples import filled, ink, signed
from tests.sync.conftest import due_at

PDF = b"%PDF-1.7 a report"


# ---- the table -------------------------------------------------------------------------------------------


def test_every_kind_that_is_promised_has_a_handler_and_a_name() -> None:
    kinds = {kind for path in (ROOT / "fieldapp").rglob("*.py") for kind in promised_in(path)}

    assert {"record_signed", "report_issued", "visit_unfinished"} <= kinds
    assert kinds == set(HANDLERS)
    assert kinds == set(labels.KINDS)


def promised_in(path: Path) -> Iterator[str]:
    """Kinds that a module promises: written in the call, or handed to a function that promises its own parameter."""
    tree = ast.parse(path.read_text("utf-8"))
    places: dict[str, int] = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for call in calls_in(function, "promise"):
            kind = call.args[0]
            if isinstance(kind, ast.Constant):
                yield kind.value
            elif isinstance(kind, ast.Name):
                places[function.name] = [argument.arg for argument in function.args.args].index(kind.id)
            else:
                pytest.fail(f"{path}: say the kind of this promise in plain")
    for name, place in places.items():
        for call in calls_in(tree, name):
            assert isinstance(call.args[place], ast.Constant), f"{path}: say the kind of this promise in plain"
            yield ast.literal_eval(call.args[place])


def calls_in(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name and node.args:
                yield node


# ---- a report --------------------------------------------------------------------------------------------


@operation
def issued(visit: Visit, *, revision: int = 1) -> Report:
    """A report of the visit's record, as issuing it leaves it behind."""
    record = record_of(visit)
    assert record is not None
    report = Report(
        record_id=record.id,
        locale="zh_Hans_CN",
        revision=revision,
        sha256=blobs.put(PDF),
        size=len(PDF),
        pages=1,
        content_hash=record.content_hash or "",
    )
    db.session.add(report)
    db.session.flush()
    payload = {"report": str(report.id), "visit": str(visit.id)}
    ticket = visit.ticket
    outbox.promise("report_issued", payload, lane=ticket.lane, uid=f"report_issued:{report.id}", store=ticket.store)
    return report


@operation
def issued_already() -> None:
    """Settle the promises of the rendering, which has its own tests."""
    for promise in db.session.scalars(select(Promise).where(Promise.kind == "record_signed")):
        promise.state = "superseded"


@pytest.fixture
def finished(on_site: Callable[[Ticket], Visit], engineer: User, filed: Ticket) -> Callable[..., Visit]:
    """``finished(form)`` is a visit with a signed record."""

    def finish(form: Filled | None = None) -> Visit:
        visit = on_site(filed)
        signed(visit, engineer, form)
        issued_already()
        return visit

    return finish


def deliver() -> list[str]:
    """Keep what is due and say how each promise of a report stands."""
    worker.run_until_idle("w")
    query = select(Promise.state).where(Promise.kind == "report_issued").order_by(Promise.lane_seq)
    return list(db.session.scalars(query))


def told_to(ticket: Ticket) -> list[StoreNote]:
    return list(EmbeddedStore().thread(ticket.ref))


def test_a_signed_record_reaches_the_ticket_as_note_pdf_and_status(
    finished: Callable[..., Visit], filed: Ticket
) -> None:
    visit = finished()
    report = issued(visit)
    record = record_of(visit)
    assert record is not None

    assert deliver() == ["delivered"]

    (note,) = told_to(filed)
    assert (note.author, note.uid) == ("王磊", f"report_issued:{report.id}")
    for part in (record.printed_number, record.short_code, "更换主板,测试正常", "主板电容老化", "陈晓", "王磊"):
        assert part in note.text
    (file,) = note.files
    assert (file.name, file.media_type) == (report.file_name, "application/pdf")
    assert file.sha256 == hashlib.sha256(PDF).hexdigest()
    pull(EmbeddedStore())
    db.session.refresh(filed)
    assert filed.status == "resolved"


def test_what_lies_on_the_own_desk_is_compared_too(finished: Callable[..., Visit], filed: Ticket) -> None:
    issued(finished())
    deliver()
    EmbeddedStore().push(Change(uid="office", ticket=filed.ref, note="客户补充：昨天停过电"))

    compared = list(reconcile.steps(EmbeddedStore(), reconcile.begun("embedded", 1)))

    assert compared == [filed.ref]
    assert set(reconcile.counts().values()) == {0}


def test_what_remains_and_why_nobody_signed_stands_in_the_note(
    on_site: Callable[[Ticket], Visit], engineer: User, filed: Ticket
) -> None:
    visit = on_site(filed)
    due = clock.now().date() + timedelta(days=3)
    line = OpenLine(text="更换风扇", cause="缺件", part="FAN-80", promised_by=due)
    records.save(visit, filled(outcome="remaining", open_items=[line]), by=engineer)
    records.acknowledge_backup(visit, Given(method="not_applicable"), by=engineer)
    records.finish(visit, by=engineer)
    records.customer_sign(visit, records.Evaluation(), Given(method="refused", reason="要等主管"), by=engineer)
    records.complete(visit, Given(method="drawn", strokes=ink(1)), by=engineer)
    issued_already()
    issued(visit)

    assert deliver() == ["delivered"]

    (note,) = told_to(filed)
    for part in ("更换风扇", "缺件", "FAN-80", due.isoformat(), "要等主管", "refused"):
        assert part in note.text
    pull(EmbeddedStore())
    db.session.refresh(filed)
    assert filed.status == "in_progress"


def test_a_later_edition_leaves_the_status_alone(finished: Callable[..., Visit], filed: Ticket) -> None:
    visit = finished()
    issued(visit)
    deliver()
    EmbeddedStore().push(Change(uid="office", ticket=filed.ref, note="已回访", status="closed"))

    issued(visit, revision=2)

    assert deliver() == ["delivered", "delivered"]
    pull(EmbeddedStore())
    db.session.refresh(filed)
    assert filed.status == "closed"
    assert len(told_to(filed)) == 3


def test_two_reports_that_wait_for_one_ticket_are_two_notes_and_no_more(
    finished: Callable[..., Visit], filed: Ticket
) -> None:
    reports = [issued(finished()), issued(finished())]

    assert worker.run_once("w")  # without reading the store between them
    assert worker.run_once("w")

    assert [note.uid for note in told_to(filed)] == [f"report_issued:{report.id}" for report in reports]


@pytest.fixture
def ended_in_vain(on_site: Callable[[Ticket], Visit], engineer: User, filed: Ticket) -> Callable[[], Visit]:
    """``ended_in_vain()`` is a later visit to the same ticket that could not be completed."""

    def give_up() -> Visit:
        visit = on_site(filed)
        visits.cannot_complete(visit, "缺少电源模块", by=engineer)
        return visit

    return give_up


def status_of(ticket: Ticket) -> str:
    pull(EmbeddedStore())
    db.session.refresh(ticket)
    return ticket.status


def statuses_set(ticket: Ticket) -> list[str | None]:
    """What each of our notes in the ticket set its status to, oldest first."""
    query = (
        select(DeskNote.status_after).join(DeskTicket).where(DeskTicket.number == ticket.ref, DeskNote.uid.is_not(None))
    )
    return list(db.session.scalars(query.order_by(DeskNote.at)))


def test_a_report_that_comes_late_does_not_say_resolved_over_what_a_later_visit_found(
    finished: Callable[..., Visit], ended_in_vain: Callable[[], Visit], filed: Ticket
) -> None:
    """Its photos came late, or the store was down: the customer must not read that all is done."""
    first = finished()
    ended_in_vain()
    worker.run_until_idle("w")
    report = issued(first)

    assert deliver() == ["delivered"]

    assert [note.uid for note in told_to(filed)][1:] == [f"report_issued:{report.id}"]
    assert len(told_to(filed)[1].files) == 1
    assert status_of(filed) == "in_progress"
    assert list(reconcile.steps(EmbeddedStore(), reconcile.begun("embedded", 1))) == [filed.ref]
    assert set(reconcile.counts().values()) == {0}


def test_of_a_day_that_waited_every_note_goes_in_and_the_last_status_only(
    finished: Callable[..., Visit], ended_in_vain: Callable[[], Visit], filed: Ticket
) -> None:
    for _n in range(3):
        ended_in_vain()
    report = issued(finished())

    assert deliver() == ["delivered"]

    assert [note.uid.partition(":")[0] for note in told_to(filed) if note.uid] == [
        "visit_unfinished",
        "visit_unfinished",
        "visit_unfinished",
        "report_issued",
    ]
    assert statuses_set(filed) == [None, None, None, "resolved"]
    assert told_to(filed)[-1].files[0].name == report.file_name
    assert list(reconcile.steps(EmbeddedStore(), reconcile.begun("embedded", 1))) == [filed.ref]
    assert set(reconcile.counts().values()) == {0}


def test_a_report_is_made_though_the_store_refuses_what_comes_before_it(
    on_site: Callable[[Ticket], Visit],
    ended_in_vain: Callable[[], Visit],
    engineer: User,
    dispatcher: User,
    filed: Ticket,
    monkeypatch: pytest.MonkeyPatch,
    logged_in: Callable[[User], FlaskClient],
) -> None:
    """The customer and the company have theirs; only the ticket waits until a person has decided."""
    ended_in_vain()
    with monkeypatch.context() as refusing:
        refusing.setattr(EmbeddedStore, "push", lambda _store, _change: (_ for _ in ()).throw(Rejected("no")))
        worker.run_once("w")
    signed(on_site(filed), engineer)

    worker.run_until_idle("w")

    assert db.session.scalars(select(Report.revision)).all() != []
    states = {row.kind: row.state for row in db.session.scalars(select(Promise))}
    assert states == {
        "visit_unfinished": "held",
        "record_signed": "delivered",
        "report_languages": "delivered",
        "report_issued": "pending",
    }
    page = logged_in(dispatcher).get("/deliveries").get_data(as_text=True)
    assert page.count(filed.number) >= 3


def test_a_visit_that_was_cancelled_later_overtakes_nothing(
    finished: Callable[..., Visit], filed: Ticket, dispatcher: User, engineer: User
) -> None:
    report = issued(finished())
    later = visits.draft(filed, by=dispatcher)
    visits.plan(later, Plan(lead_id=engineer.id, window_start=clock.now() + timedelta(hours=9)), by=dispatcher)
    visits.cancel(later, "不再需要", by=dispatcher)

    assert deliver() == ["delivered"]

    assert report.file_name
    assert status_of(filed) == "resolved"


def test_a_status_that_was_left_and_then_overtaken_is_not_asked_for_again(
    finished: Callable[..., Visit], ended_in_vain: Callable[[], Visit], filed: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wrote to the ticket, and the line broke before the status could be settled: meanwhile another visit ended."""
    issued(finished())
    EmbeddedStore().push(Change(uid="office", ticket=filed.ref, note="客户补充：昨天停过电"))
    with monkeypatch.context() as broken:
        broken.setattr(EmbeddedStore, "ticket", lambda _store, _ref: (_ for _ in ()).throw(Retry("the line broke")))
        worker.run_once("w")
    ended_in_vain()
    due_at(clock.now())

    assert deliver() == ["delivered"]

    assert [note.uid.partition(":")[0] for note in told_to(filed) if note.uid] == [
        "office",
        "report_issued",
        "visit_unfinished",
    ]
    assert status_of(filed) == "in_progress"


def test_a_note_from_the_office_meanwhile_does_not_hold_the_status_back(
    finished: Callable[..., Visit], filed: Ticket
) -> None:
    issued(finished())
    EmbeddedStore().push(Change(uid="office", ticket=filed.ref, note="客户补充：昨天停过电"))

    assert worker.run_once("w")  # without reading the store first

    assert [note.uid for note in told_to(filed)][:1] == ["office"]
    assert len(told_to(filed)) == 3
    pull(EmbeddedStore())
    db.session.refresh(filed)
    assert filed.status == "resolved"
    assert deliver() == ["delivered"]


@pytest.mark.parametrize("known", [True, False])
def test_a_ticket_that_the_office_ended_keeps_its_status_and_a_person_is_asked(
    finished: Callable[..., Visit], filed: Ticket, known: bool
) -> None:
    issued(finished())
    EmbeddedStore().push(Change(uid="office", ticket=filed.ref, note="客户要求停止", status="suspended"))
    if known:
        pull(EmbeddedStore())

    assert worker.run_once("w")

    held = db.session.scalars(select(Promise).where(Promise.kind == "report_issued")).one()
    assert held.state == "held"
    assert filed.number in (held.last_error or "")
    assert len(told_to(filed)) == 2
    pull(EmbeddedStore())
    db.session.refresh(filed)
    assert filed.status == "suspended"


def test_a_report_too_large_for_the_store_is_linked(
    finished: Callable[..., Visit], filed: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(EmbeddedStore):
        caps = replace(EmbeddedStore.caps, max_file=5)

    monkeypatch.setitem(STORES, "embedded", Small)
    report = issued(finished())

    assert deliver() == ["delivered"]

    (note,) = told_to(filed)
    assert note.files == ()
    assert f"/reports/{report.id}.pdf" in note.text


def test_a_report_that_is_not_there_is_held(filed: Ticket) -> None:
    @operation
    def lost() -> Promise:
        return outbox.promise("report_issued", {"report": str(uuid7()), "visit": "?"}, lane="x")

    lost()

    assert deliver() == ["held"]


def test_a_ticket_of_a_store_that_is_gone_is_held(
    on_site: Callable[[Ticket], Visit], engineer: User, ticket: Ticket
) -> None:
    @operation
    def move() -> None:
        ticket.store = "oldstore"

    move()
    visits.cannot_complete(on_site(ticket), "缺件", by=engineer)

    worker.run_until_idle("w")

    held = db.session.scalars(select(Promise)).one()
    assert held.state == "held"
    assert "oldstore" in (held.last_error or "")


def test_a_customer_who_was_absent_is_told_to_the_ticket(
    on_site: Callable[[Ticket], Visit], engineer: User, dispatcher: User, filed: Ticket
) -> None:
    visit = visits.draft(filed, by=dispatcher)
    start = clock.now() + timedelta(hours=1)
    visits.plan(visit, visits.Plan(lead_id=engineer.id, window_start=start), by=dispatcher)
    for step in (visits.accept, visits.depart, visits.arrive):
        step(visit, by=engineer)
    visits.no_show(visit, "电话无人接听", by=engineer)

    worker.run_until_idle("w")

    (note,) = told_to(filed)
    assert "was not there" in note.text
    assert "电话无人接听" in note.text


# ---- work despite a cancellation ---------------------------------------------------------------------------


def test_x13_the_ticket_reads_once_that_work_was_done_despite_the_cancellation(
    filed: Ticket, store: EmbeddedStore, engineer: User, dispatcher: User
) -> None:
    visit = visits.draft(filed, by=dispatcher)
    visits.plan(visit, Plan(lead_id=engineer.id, window_start=clock.now() + timedelta(hours=1)), by=dispatcher)
    visits.cancel(visit, "客户取消", by=dispatcher)
    told = replace(new_told(engineer.id, "/x", submission_id=uuid7()), queued=True, device="phone", sequence=1)
    visits.seat(visit, by=engineer, told=told)

    worker.run_until_idle("w")
    worker.run_until_idle("w")

    said = [note.text for note in store.thread(filed.ref) if "despite the cancellation" in note.text]
    assert len(said) == 1
    assert "客户取消" in said[0]
    promise = db.session.scalars(select(Promise).where(Promise.kind == "done_despite_cancellation")).one()
    assert promise.state == "delivered"
    db.session.refresh(filed)
    assert filed.status not in ("resolved", "closed")  # the report that follows says how it stands
