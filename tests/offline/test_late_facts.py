"""Facts of work beat plans: what a phone tells late, while the office had moved on, is kept and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import NotFound
from fieldapp.extensions import db, uuid7
from fieldapp.offline import times
from fieldapp.offline.models import Case, Submission
from fieldapp.offline.operations import Told, new_told, settle_case
from fieldapp.outbox import Promise
from fieldapp.sync import notes
from fieldapp.visits import operations, transitions
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.operations import Plan
from fieldapp.visits.queries import events_of, own_or_former_visit_or_404
from tests.offline.queue import receipt_of, step

LogIn = Callable[[User], FlaskClient]
NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
WORK = ("acceptance", "departure", "arrival", "start")


@pytest.fixture
def phone(logged_in: LogIn, engineer: User) -> FlaskClient:
    return logged_in(engineer)


def minutes(n: int) -> timedelta:
    return timedelta(minutes=n)


def replan(visit: Visit, lead: User, dispatcher: User, hours: int = 3) -> None:
    start = (visit.window_start or clock.now()) + timedelta(hours=hours)
    operations.plan(visit, Plan(lead_id=lead.id, window_start=start), by=dispatcher)


def sends(phone: FlaskClient, visit: Visit, *nouns: str, at: datetime | None = None, **fields: str) -> list[dict]:  # type: ignore[type-arg]
    """The receipts of these steps, tapped five minutes apart."""
    at = at or clock.now()
    answers = []
    for n, noun in enumerate(nouns):
        item = step(visit.id, noun, at=at + minutes(5 * n), sequence=n + 1, **fields)
        answers.append(receipt_of(item.sent(phone)))
    return answers


def now_of(visit: Visit) -> Visit:
    db.session.rollback()
    db.session.refresh(visit)
    return visit


def types(visit: Visit) -> list[str]:
    db.session.rollback()
    return [event.type for event in events_of(visit)]


def cases(kind: str) -> list[Case]:
    db.session.rollback()
    return list(db.session.scalars(select(Case).where(Case.kind == kind).order_by(Case.created_at)))


def told_by(user: User, at: datetime | None = None, **more: object) -> Told:
    told = new_told(user.id, "/x", submission_id=uuid7(), device_at=at)
    return replace(told, queued=True, device="phone", sequence=9, **more)  # type: ignore[arg-type]


# ---- ahead of the plan ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "state", "words"),
    [
        ("departure", "traveling", {}),
        ("arrival", "arrived", {}),
        ("start", "working", {}),
        ("pause", "paused", {"reason": "wait_part"}),
        ("resumption", "working", {}),
        ("inability", "cannot_complete", {"cause": "缺件"}),
        ("absence", "no_show", {"note": ""}),
    ],
)
def test_a_step_leaps_over_what_nothing_was_heard_of(
    visit: Visit, phone: FlaskClient, noun: str, state: str, words: dict[str, str]
) -> None:
    """The acceptance, and whatever else came between, is still on another phone or was never tapped."""
    (receipt,) = sends(phone, visit, noun, **words)

    assert (receipt["outcome"], receipt["status"]) == ("applied", state)
    event = events_of(now_of(visit))[-1]
    assert event.payload["leapt_from"] == "scheduled"
    if noun != "arrival":
        assert visit.arrived_at is None
    assert visit.accepted_at is None


def test_x11_a_visit_that_was_planned_anew_goes_on_where_its_engineer_is(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    started = clock.now() - minutes(60)
    sends(phone, visit, "acceptance", at=started - minutes(10))
    replan(visit, engineer, dispatcher)

    receipts = sends(phone, visit, "departure", "arrival", "start", at=started)

    assert [receipt["outcome"] for receipt in receipts] == ["applied"] * 3
    assert now_of(visit).status == "working"
    assert (visit.departed_at, visit.arrived_at, visit.started_at) == (
        started,
        started + minutes(5),
        started + minutes(10),
    )
    assert visit.window_start > clock.now()  # the plan is the office's, and stays
    assert cases("conflict") == []


def test_a_departure_that_was_known_before_the_visit_was_planned_anew_is_remembered(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    left = clock.now() - minutes(50)
    sends(phone, visit, "acceptance", "departure", at=left - minutes(5))
    replan(visit, engineer, dispatcher)
    assert now_of(visit).departed_at is None

    sends(phone, visit, "arrival", at=left + minutes(30))

    assert now_of(visit).departed_at == left
    assert visit.accepted_at is None  # the new plan was not accepted


def test_a_departure_of_another_day_is_not_this_journey(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    sends(phone, visit, "acceptance", "departure", at=clock.now() - timedelta(days=2))
    replan(visit, engineer, dispatcher)

    sends(phone, visit, "arrival")

    assert now_of(visit).departed_at is None


def test_an_acceptance_of_the_old_plan_is_no_acceptance_of_the_new_one(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    tapped = clock.now() - minutes(20)
    replan(visit, engineer, dispatcher)

    (old,) = sends(phone, visit, "acceptance", at=tapped)
    assert (old["outcome"], old["status"]) == ("noted", "scheduled")
    assert "planned this visit anew" in old["sentence"]
    assert now_of(visit).accepted_at is None

    (new,) = sends(phone, visit, "acceptance", at=clock.now() + timedelta(seconds=1))
    assert (new["outcome"], new["status"]) == ("applied", "accepted")


def test_an_acceptance_from_before_the_visit_was_taken_back_is_none_of_the_plan_that_came_then(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    tapped = clock.now() - minutes(20)
    operations.take_back(visit, "The part is missing.", by=dispatcher)
    replan(visit, engineer, dispatcher)

    (old,) = sends(phone, visit, "acceptance", at=tapped)

    assert (old["outcome"], old["status"]) == ("noted", "scheduled")
    assert now_of(visit).accepted_at is None


def test_a_departure_of_another_day_is_no_part_of_a_visit_that_was_taken_back_meanwhile(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    sends(phone, visit, "acceptance", "departure", at=clock.now() - timedelta(days=2))
    operations.take_back(now_of(visit), "The customer asked for another day.", by=dispatcher)
    replan(now_of(visit), engineer, dispatcher)

    sends(phone, visit, "arrival")

    assert now_of(visit).departed_at is None


def test_plain_forms_leap_nowhere(visit: Visit, phone: FlaskClient) -> None:
    assert phone.post(f"/visits/{visit.id}/arrival", headers={"Accept": "application/json"}).status_code == 409


# ---- behind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", ["acceptance", "departure", "arrival", "start", "resumption"])
def test_a_step_that_is_behind_is_noted_and_moves_nothing(working: Visit, phone: FlaskClient, noun: str) -> None:
    before = (working.accepted_at, working.departed_at, working.arrived_at, working.started_at)

    (receipt,) = sends(phone, working, noun)

    assert (receipt["outcome"], receipt["status"]) == ("noted", "working")
    assert "further already" in receipt["sentence"]
    event = events_of(now_of(working))[-1]
    assert event.payload["late"] is True
    assert before == (working.accepted_at, working.departed_at, working.arrived_at, working.started_at)
    assert db.session.scalars(select(Case)).all() == []


def test_a_time_that_was_not_known_is_known_when_it_comes_late(visit: Visit, phone: FlaskClient) -> None:
    at = clock.now() - minutes(30)
    sends(phone, visit, "start", at=at)

    sends(phone, visit, "arrival", at=at - minutes(10))

    assert now_of(visit).arrived_at == at - minutes(10)
    assert visit.status == "working"


def test_somebody_at_work_is_not_late_because_the_arrival_was_not_told(visit: Visit, phone: FlaskClient) -> None:
    sends(phone, visit, "start")

    with time_machine.travel(visit.window_end + timedelta(hours=2), tick=False):  # type: ignore[operator]
        assert now_of(visit).late_by is None


def test_a_step_after_the_end_is_noted_with_its_words(working: Visit, engineer: User, phone: FlaskClient) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)

    (receipt,) = sends(phone, working, "pause", reason="wait_part")

    assert (receipt["outcome"], receipt["status"]) == ("noted", "cannot_complete")
    assert events_of(now_of(working))[-1].payload == {"reason": "wait_part", "late": True}


def test_a_noted_step_still_needs_its_words(working: Visit, engineer: User, phone: FlaskClient) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)

    (receipt,) = sends(phone, working, "inability", cause=" ")

    assert receipt["outcome"] == "quarantined"


@pytest.mark.parametrize("noun", ["refusal", "inability", "absence"])
def test_what_would_end_an_ended_visit_is_noted_and_follows_up_nothing(
    working: Visit, engineer: User, phone: FlaskClient, noun: str
) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)
    before = db.session.scalars(select(Visit.id)).all()

    (receipt,) = sends(phone, working, noun, reason="x", cause="x", note="x")

    assert receipt["outcome"] == "noted"
    assert db.session.scalars(select(Visit.id)).all() == before


# ---- cancelled meanwhile ----------------------------------------------------------------------------


def test_x13_work_on_a_cancelled_visit_is_noted_and_is_one_case(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    operations.cancel(visit, "客户取消", by=dispatcher)

    receipts = sends(phone, visit, *WORK)

    assert {receipt["outcome"] for receipt in receipts} == {"noted"}
    assert {receipt["status"] for receipt in receipts} == {"canceled"}
    assert "cancelled" in receipts[0]["sentence"]
    (case,) = cases("despite_cancellation")
    assert (case.visit_id, case.user_id) == (visit.id, engineer.id)
    assert (case.facts["reason"], case.facts["canceled_by"]) == ("客户取消", str(dispatcher.id))
    assert case.submission_id is not None
    assert db.session.get_one(Submission, case.submission_id).path.endswith("/departure")


@pytest.mark.parametrize(("noun", "words"), [("acceptance", {}), ("refusal", {"reason": "病假"})])
def test_an_answer_to_a_cancelled_plan_is_no_work(
    visit: Visit, dispatcher: User, phone: FlaskClient, noun: str, words: dict[str, str]
) -> None:
    operations.cancel(visit, "客户取消", by=dispatcher)

    (receipt,) = sends(phone, visit, noun, **words)

    assert receipt["outcome"] == "noted"
    assert cases("despite_cancellation") == []
    assert now_of(visit).lead_id is not None


def test_x13_finished_work_revives_a_cancelled_visit_with_what_was_told(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    at = clock.now() - timedelta(hours=2)
    operations.cancel(visit, "客户取消", by=dispatcher)
    sends(phone, visit, "departure", "arrival", "start", at=at)

    seated = operations.seat(now_of(visit), by=engineer, told=told_by(engineer))

    assert seated is visit
    assert (now_of(visit).status, visit.closed_at, visit.ended_at) == ("working", None, None)
    assert (visit.departed_at, visit.arrived_at, visit.started_at) == (at, at + minutes(5), at + minutes(10))
    assert types(visit)[-1] == "revived"
    assert len(cases("despite_cancellation")) == 1
    (promise,) = db.session.scalars(select(Promise).where(Promise.kind == "done_despite_cancellation"))
    assert (promise.payload, promise.lane) == ({"visit": str(visit.id)}, visit.ticket.lane)
    operations.seat(visit, by=engineer, told=told_by(engineer))
    assert len(cases("despite_cancellation")) == 1


def test_x13_the_ticket_is_told_that_work_was_done_despite_the_cancellation(
    visit: Visit, engineer: User, dispatcher: User
) -> None:
    operations.cancel(visit, "客户取消", by=dispatcher)
    operations.seat(visit, by=engineer, told=told_by(engineer))

    note = notes.of_done_despite_cancellation(visit, events_of(visit))

    assert note.startswith("On-site visit: work was done despite the cancellation.")
    assert "客户取消" in note
    assert engineer.name in note
    assert "Arrived" not in note  # nobody told when


# ---- given to somebody else meanwhile ----------------------------------------------------------------


@pytest.fixture
def reassigned(visit: Visit, engineer: User, colleague: User, dispatcher: User) -> Visit:
    operations.accept(visit, by=engineer)
    replan(visit, colleague, dispatcher)
    return visit


def test_x14_steps_on_a_reassigned_visit_are_noted_and_move_nothing(
    reassigned: Visit, engineer: User, colleague: User, phone: FlaskClient
) -> None:
    receipts = sends(phone, reassigned, "acceptance", "departure")
    assert {receipt["outcome"] for receipt in receipts} == {"noted"}
    assert cases("second_record") == []  # nobody has to act: no work was done yet

    sends(phone, reassigned, "arrival", "start", "pause", reason="break")

    (case,) = cases("second_record")
    assert (case.visit_id, case.user_id, case.facts["why"], case.facts["second"]) == (
        reassigned.id,
        engineer.id,
        "reassigned",
        None,
    )
    assert case.facts["lead"] == str(colleague.id)
    assert (now_of(reassigned).status, reassigned.lead_id) == ("scheduled", colleague.id)
    assert (reassigned.arrived_at, reassigned.started_at) == (None, None)


def test_x14_finished_work_gets_a_visit_of_its_own(
    reassigned: Visit, engineer: User, colleague: User, phone: FlaskClient
) -> None:
    at = clock.now() - timedelta(hours=2)
    sends(phone, reassigned, "departure", "arrival", "start", at=at)

    second = operations.seat(now_of(reassigned), by=engineer, told=told_by(engineer))

    assert second.id != reassigned.id
    assert (second.parent_id, second.ticket_id, second.lead_id) == (reassigned.id, reassigned.ticket_id, engineer.id)
    assert (second.site_id, second.asset_id, second.contact_id, second.kind) == (
        reassigned.site_id,
        reassigned.asset_id,
        reassigned.contact_id,
        reassigned.kind,
    )
    assert (second.status, second.arrived_at, second.started_at) == ("working", at + minutes(5), at + minutes(10))
    assert second.window_start == second.arrived_at
    assert types(second) == ["seated"]
    assert (now_of(reassigned).lead_id, reassigned.status) == (colleague.id, "scheduled")
    (case,) = cases("second_record")
    assert case.facts["second"] == str(second.id)


def test_the_seat_is_one_until_its_record_is_signed(reassigned: Visit, engineer: User) -> None:
    first = operations.seat(reassigned, by=engineer, told=told_by(engineer))
    again = operations.seat(reassigned, by=engineer, told=told_by(engineer))

    assert first.id == again.id
    assert len(cases("second_record")) == 1


def test_a_record_after_the_case_was_settled_is_looked_at_anew(
    reassigned: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    sends(phone, reassigned, "arrival")
    (first,) = cases("second_record")
    settle_case(first, by=dispatcher, decision="asked him to go home")

    second = operations.seat(now_of(reassigned), by=engineer, told=told_by(engineer))

    settled, opened = cases("second_record")
    assert (settled.id, settled.facts["second"]) == (first.id, None)
    assert (opened.settled_at, opened.facts["second"]) == (None, str(second.id))


def test_work_on_a_visit_that_the_office_took_back(
    visit: Visit, engineer: User, dispatcher: User, phone: FlaskClient
) -> None:
    operations.take_back(visit, "排错人", by=dispatcher)
    sends(phone, visit, "start")

    second = operations.seat(now_of(visit), by=engineer, told=told_by(engineer))

    (case,) = cases("second_record")
    assert (case.facts["why"], case.facts["second"]) == ("taken_back", str(second.id))
    assert now_of(visit).status == "draft"


def test_a_second_finish_of_a_closed_visit_stands_beside_the_first(working: Visit, engineer: User) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)

    second = operations.seat(working, by=engineer, told=told_by(engineer))

    assert second.id != working.id
    assert now_of(working).status == "cannot_complete"
    (case,) = cases("second_record")
    assert case.facts["why"] == "closed"
    assert second.started_at is not None
    assert abs(second.started_at - working.started_at) < timedelta(seconds=1)  # type: ignore[operator]


@pytest.mark.parametrize("state", ["scheduled", "accepted", "traveling", "arrived", "paused"])
def test_finished_work_brings_ones_own_visit_forward_and_invents_no_time(
    visit: Visit, engineer: User, state: str
) -> None:
    way = [operations.accept, operations.depart, operations.arrive, operations.start]
    for one in way[: {"scheduled": 0, "accepted": 1, "traveling": 2, "arrived": 3, "paused": 4}[state]]:
        one(visit, by=engineer)
    if state == "paused":
        operations.pause(visit, "break", by=engineer)
    before = (visit.departed_at, visit.arrived_at, visit.started_at)

    seated = operations.seat(visit, by=engineer, told=told_by(engineer))

    assert (seated.id, now_of(visit).status) == (visit.id, "working")
    assert (visit.departed_at, visit.arrived_at, visit.started_at) == before
    event = events_of(visit)[-1]
    assert (event.type, event.payload["leapt_from"]) == ("brought_forward", state)


@pytest.mark.parametrize("state", ["working", "awaiting_sign"])
def test_a_visit_that_is_at_work_is_its_own_seat(working: Visit, engineer: User, state: str) -> None:
    if state == "awaiting_sign":
        operations.operation(operations.step)(working, "finished", by=engineer, told=None)
    before = types(working)

    assert operations.seat(working, by=engineer, told=told_by(engineer)).id == working.id
    assert types(working) == before


# ---- whose it was -----------------------------------------------------------------------------------


def test_a_visit_that_was_ever_given_to_somebody_is_found_for_their_queue(
    reassigned: Visit, engineer: User, colleague: User, dispatcher: User, admin: User
) -> None:
    stranger = User(username="sunyi", name="孙毅", role="engineer")
    db.session.add(stranger)
    db.session.flush()

    for someone in (engineer, colleague):
        assert own_or_former_visit_or_404(reassigned.id, someone).id == reassigned.id
    for other in (stranger, dispatcher):
        with pytest.raises(NotFound):
            own_or_former_visit_or_404(reassigned.id, other)
    db.session.rollback()


def test_a_plan_alone_made_it_theirs(visit: Visit, engineer: User, colleague: User, dispatcher: User) -> None:
    """Also when the only trace is the plan before the present one."""
    replan(visit, colleague, dispatcher)
    db.session.rollback()

    assert own_or_former_visit_or_404(visit.id, engineer)


def test_a_follow_up_that_ones_own_visit_brought_is_not_ones_own(
    working: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)
    follow_up = db.session.scalars(select(Visit).where(Visit.parent_id == working.id)).one()
    operations.plan(follow_up, Plan(lead_id=colleague.id, window_start=clock.now() + timedelta(days=1)), by=dispatcher)

    with pytest.raises(NotFound):
        own_or_former_visit_or_404(follow_up.id, engineer)


def test_a_phone_that_comes_back_after_months_is_heard(working: Visit, engineer: User, phone: FlaskClient) -> None:
    operations.cannot_complete(working, "缺件", by=engineer)

    with time_machine.travel(clock.now() + timedelta(days=300), tick=False):
        token_is_old = phone.get("/").status_code
        assert token_is_old == 303
        assert own_or_former_visit_or_404(working.id, engineer).id == working.id


def test_a_stranger_that_reaches_the_operation_is_not_filed(visit: Visit, colleague: User) -> None:
    with pytest.raises(NotFound):
        operations.accept(visit, by=colleague, told=None)


# ---- X21: the phone's clock -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device_at", "skew_s", "expected"),
    [
        (None, None, NOON),
        (NOON - timedelta(days=3), None, NOON - timedelta(days=3)),
        (NOON - timedelta(days=3), 200, NOON - timedelta(days=3)),
        (NOON - timedelta(days=1, minutes=20), -86400, NOON - minutes(20)),
        (NOON + timedelta(hours=2) - minutes(20), 7200, NOON - minutes(20)),
        (datetime(1970, 1, 1, tzinfo=UTC), None, NOON),
        (NOON + timedelta(hours=2), None, NOON),
        (NOON + minutes(3), None, NOON + minutes(3)),
        (datetime(9000, 1, 1, tzinfo=UTC), 2**31 - 1, NOON),
    ],
    ids=["no word", "days ago", "small skew", "a day behind", "two hours ahead", "1970", "future", "slack", "9000"],
)
def test_x21_when_it_happened(device_at: datetime | None, skew_s: int | None, expected: datetime) -> None:
    assert times.happened_at(device_at, skew_s, NOON) == expected


def test_x21_a_clock_that_started_at_1970_still_tells_how_long_ago_it_was() -> None:
    reset = datetime(1970, 1, 1, tzinfo=UTC)
    skew = times.skew_between(reset + minutes(90), NOON)

    assert times.happened_at(reset + minutes(30), skew, NOON) == NOON - minutes(60)


def test_x21_a_skew_fits_its_column() -> None:
    assert times.skew_between(datetime(9000, 1, 1, tzinfo=UTC), NOON) == 2**31 - 1
    assert times.skew_between(None, NOON) is None


@pytest.mark.parametrize("wrong_by", [timedelta(days=-1), timedelta(hours=2), datetime(1970, 1, 2, tzinfo=UTC) - NOON])
def test_x21_a_wrong_clock_moves_no_fact_and_is_flagged(visit: Visit, phone: FlaskClient, wrong_by: timedelta) -> None:
    now = clock.now()
    for n, noun in enumerate(WORK):
        happened = now - minutes(60 - 10 * n)
        item = step(visit.id, noun, at=happened + wrong_by, sequence=n + 1)
        assert receipt_of(item.sent(phone, sent_at=now + wrong_by))["outcome"] == "applied"

    facts = (now_of(visit).accepted_at, visit.departed_at, visit.arrived_at, visit.started_at)
    for n, fact in enumerate(facts):
        assert fact is not None
        assert abs(fact - (now - minutes(60 - 10 * n))) < timedelta(seconds=30)
    steps = events_of(visit)[-4:]
    assert [event.type for event in steps] == ["accepted", "departed", "arrived", "started"]
    for event in steps:
        assert event.device_at is not None
        assert abs(event.device_at - event.at - wrong_by) < timedelta(seconds=30)  # what the phone said stays beside
        assert event.skew_s is not None
        assert abs(event.skew_s - wrong_by.total_seconds()) < 30
    assert steps[2].payload.get("late_s") == 0


def test_x21_without_a_measured_clock_the_arrival_counts_where_the_phones_word_cannot_be(
    visit: Visit, phone: FlaskClient
) -> None:
    item = step(visit.id, "acceptance", at=datetime(1970, 1, 1, 3, tzinfo=UTC))

    receipt_of(item.sent(phone, X_Sent_At=""))

    assert now_of(visit).accepted_at is not None
    assert clock.now() - visit.accepted_at < minutes(1)  # type: ignore[operator]


# ---- the table --------------------------------------------------------------------------------------


def test_leads_on_is_the_table_and_the_way_there() -> None:
    for event, row in transitions.TRANSITIONS.items():
        for state in transitions.STATES:
            leaps = transitions.leads_on(state, event) and state not in row.sources
            if leaps:
                assert state in ("scheduled", "accepted", "traveling", "arrived", "working", "paused"), (state, event)
    assert not transitions.leads_on("canceled", "started")
    assert not transitions.leads_on("draft", "departed")
    assert not transitions.leads_on("awaiting_sign", "paused")
    assert transitions.leads_on("scheduled", "started")
    assert not transitions.leads_on("working", "resumed")


def test_the_lateness_of_a_late_arrival_is_measured_by_the_corrected_clock(visit: Visit, phone: FlaskClient) -> None:
    late = (visit.window_end or NOON) + minutes(12)
    behind = timedelta(hours=-3)

    with time_machine.travel(late + minutes(30), tick=False):
        item = step(visit.id, "arrival", at=late + behind)
        receipt_of(item.sent(phone, sent_at=clock.now() + behind))

    (event,) = db.session.scalars(select(VisitEvent).where(VisitEvent.type == "arrived"))
    assert event.payload["late_s"] == 12 * 60
