"""No engineer is in two places: overlaps are refused at planning, also when two planners press at the same moment."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from flask import Flask

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.errors import FieldAppError, Invalid, NotAllowedNow, NotFound, Refused
from fieldapp.extensions import db
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.operations import Plan


def at(engineer: User, start: datetime, end: datetime | None = None, **more: str) -> Plan:
    """This engineer at that time."""
    return Plan(lead_id=engineer.id, window_start=start, window_end=end, **more)  # type: ignore[arg-type]


@pytest.fixture
def another(ticket: Ticket, dispatcher: User) -> Visit:
    """A second visit for the same ticket, not planned yet."""
    return operations.draft(ticket, by=dispatcher)


def test_the_window_is_half_an_hour_unless_said_otherwise(visit: Visit) -> None:
    assert visit.window_end is not None
    assert visit.window_end - visit.window_start == timedelta(minutes=30)


@pytest.mark.parametrize(("shift", "minutes"), [(0, 30), (-15, 30), (15, 5), (-60, 180), (29, 30)])
def test_a_window_that_meets_another_is_refused_and_says_which(
    shift: int, minutes: int, visit: Visit, another: Visit, engineer: User, dispatcher: User
) -> None:
    start = visit.window_start + timedelta(minutes=shift)

    with pytest.raises(Invalid, match="already has a visit to 华东精密机械有限公司") as refusal:
        operations.plan(another, at(engineer, start, start + timedelta(minutes=minutes)), by=dispatcher)

    assert "override_reason" in refusal.value.fields
    assert _status(another) == "draft"


@pytest.mark.parametrize("shift", [-30, 30])
def test_windows_may_touch(shift: int, visit: Visit, another: Visit, engineer: User, dispatcher: User) -> None:
    start = visit.window_start + timedelta(minutes=shift)

    operations.plan(another, at(engineer, start), by=dispatcher)

    assert _status(another) == "scheduled"


def test_a_colleague_a_closed_visit_and_the_visit_itself_do_not_stand_in_the_way(
    visit: Visit, another: Visit, ticket: Ticket, engineer: User, colleague: User, dispatcher: User
) -> None:
    start = visit.window_start
    operations.plan(another, at(colleague, start), by=dispatcher)
    operations.plan(visit, at(engineer, start + timedelta(minutes=10)), by=dispatcher)
    operations.cancel(visit, "客户取消", by=dispatcher)
    third = operations.draft(ticket, by=dispatcher)

    operations.plan(third, at(engineer, start), by=dispatcher)

    assert (_status(another), _status(third)) == ("scheduled", "scheduled")


def test_an_overlap_with_a_reason_is_allowed_and_kept(
    visit: Visit, another: Visit, engineer: User, dispatcher: User
) -> None:
    wanted = at(engineer, visit.window_start, override_reason=" 同一栋楼 ")

    operations.plan(another, wanted, by=dispatcher)

    event = db.session.scalars(db.select(VisitEvent).where(VisitEvent.visit_id == another.id)).all()[-1]
    assert (event.payload["override_reason"], event.payload["overlaps"]) == ("同一栋楼", [str(visit.id)])
    assert db.session.scalar(db.select(AuditEntry).where(AuditEntry.action == "visit.overlap_allowed"))


def test_two_planners_at_once_cannot_both_take_the_same_half_hour(
    app: Flask, ticket: Ticket, engineer: User, dispatcher: User
) -> None:
    """Six visits, six threads, one engineer, one window, on the database file: one is planned, five are told."""
    visits = [operations.draft(ticket, by=dispatcher).id for _each in range(6)]
    engineer_id, dispatcher_id, start = engineer.id, dispatcher.id, clock.now() + timedelta(hours=2)
    db.session.commit()
    ready, told = threading.Barrier(len(visits)), list[str]()

    def plan(visit_id: object) -> None:
        with app.app_context():
            visit, by = db.session.get_one(Visit, visit_id), db.session.get_one(User, dispatcher_id)
            ready.wait()
            try:
                told.append(operations.plan(visit, Plan(lead_id=engineer_id, window_start=start), by=by)["status"])
            except FieldAppError as refusal:
                told.append(refusal.code)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=plan, args=(visit_id,)) for visit_id in visits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(told) == ["invalid"] * 5 + ["scheduled"]
    planned = db.session.scalars(db.select(Visit.id).where(Visit.status == "scheduled")).all()
    assert len(planned) == 1


@pytest.mark.parametrize(
    ("minutes", "kind", "field"), [(0, "maintenance", "window_end"), (-5, "maintenance", "window_end"),
                                   (12 * 60 + 1, "maintenance", "window_end"), (30, "holiday", "kind")]
)  # fmt: skip
def test_a_window_or_a_kind_that_makes_no_sense_is_refused_at_its_field(
    minutes: int, kind: str, field: str, another: Visit, engineer: User, dispatcher: User
) -> None:
    start = clock.now()

    with pytest.raises(Invalid) as refusal:
        operations.plan(another, at(engineer, start, start + timedelta(minutes=minutes), kind=kind), by=dispatcher)

    assert list(refusal.value.fields) == [field]


def test_only_an_engineer_can_be_sent_and_only_the_office_sends(
    another: Visit, engineer: User, dispatcher: User
) -> None:
    with pytest.raises(NotFound):
        operations.plan(another, at(dispatcher, clock.now()), by=dispatcher)
    with pytest.raises(Refused):
        operations.plan(another, at(engineer, clock.now()), by=engineer)


def test_a_visit_that_is_under_way_on_site_is_not_planned_anew(
    working: Visit, engineer: User, dispatcher: User
) -> None:
    with pytest.raises(NotAllowedNow):
        operations.plan(working, at(engineer, clock.now() + timedelta(days=1)), by=dispatcher)


def test_a_new_plan_asks_the_engineer_again_and_keeps_the_old_one_in_its_event(
    visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    first = visit.window_start
    operations.accept(visit, by=engineer)

    operations.plan(visit, at(colleague, first + timedelta(days=1)), by=dispatcher)

    assert (visit.status, visit.lead_id, visit.accepted_at) == ("scheduled", colleague.id, None)
    query = db.select(VisitEvent).where(VisitEvent.visit_id == visit.id).order_by(VisitEvent.seq.desc())
    event = db.session.scalars(query).first()
    assert event is not None
    assert (event.type, event.payload["before"]["lead"]) == ("replanned", str(engineer.id))


def test_a_ticket_without_a_customer_cannot_be_visited(dispatcher: User) -> None:
    ticket = Ticket(store="embedded", ref="T-9", version="1", number="T-9", subject="?", customer_id=None)

    with pytest.raises(Invalid, match="names no customer"):
        operations.draft(ticket, by=dispatcher)


def _status(visit: Visit) -> str:
    db.session.rollback()
    db.session.refresh(visit)
    return visit.status


def test_an_engineer_takes_no_step_of_a_visit_that_was_given_to_a_colleague_meanwhile(
    visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    operations.plan(visit, at(colleague, clock.now() + timedelta(hours=1)), by=dispatcher)

    for step in (operations.accept, lambda visit, by: operations.decline(visit, "太远", by=by)):
        with pytest.raises(NotFound):
            step(visit, by=engineer)

    assert (visit.status, visit.lead_id) == ("scheduled", colleague.id)
    operations.accept(visit, by=colleague)
    assert visit.status == "accepted"
