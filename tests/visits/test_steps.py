"""Every step of a visit by HTTP: as a form on a page, as a phone's queue sends it, and by whom it may not be taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask.testing import FlaskClient

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation, uuid7
from fieldapp.outbox import Promise
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.transitions import STATES, TRANSITIONS

Events = Callable[[Visit], list[VisitEvent]]
PutInto = Callable[[Visit, str], Visit]
LogIn = Callable[[User], FlaskClient]

# noun: (event, what the form sends)
NOUNS: dict[str, tuple[str, dict[str, str]]] = {
    "acceptance": ("accepted", {}),
    "refusal": ("declined", {"reason": "那天请假"}),
    "departure": ("departed", {}),
    "arrival": ("arrived", {}),
    "start": ("started", {}),
    "pause": ("paused", {"reason": "wait_part"}),
    "resumption": ("resumed", {}),
    "inability": ("cannot_complete", {"cause": "缺电源模块"}),
    "absence": ("no_show", {"note": "打了三次电话"}),
    "cancellation": ("canceled", {"reason": "客户取消"}),
}
JSON = {"Accept": "application/json"}


def test_a_visit_goes_its_way_form_by_form(phone: FlaskClient, visit: Visit, events: Events) -> None:
    for noun in ("acceptance", "departure", "arrival", "start"):
        answer = phone.post(f"/visits/{visit.id}/{noun}", data={"submission_id": str(uuid7())})
        assert (answer.status_code, answer.location) == (303, f"/visits/{visit.id}")
    phone.post(f"/visits/{visit.id}/pause", data={"reason": "break"})
    phone.post(f"/visits/{visit.id}/resumption")

    kinds = [event.type for event in events(visit)]
    assert kinds == ["drafted", "planned", "accepted", "departed", "arrived", "started", "paused", "resumed"]
    assert visit.status == "working"
    assert visit.accepted_at <= visit.departed_at <= visit.arrived_at <= visit.started_at


@pytest.mark.parametrize("noun", NOUNS)
def test_a_step_is_possible_in_its_states_only(
    noun: str, visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn, put_into: PutInto, events: Events
) -> None:
    event, words = NOUNS[noun]
    browser = logged_in(dispatcher if noun == "cancellation" else engineer)

    for state in STATES:
        _given_again(visit, engineer)
        put_into(visit, state)
        before = len(events(visit))
        answer = browser.post(f"/visits/{visit.id}/{noun}", data=words, headers=JSON)

        if state in TRANSITIONS[event].sources and (state != "draft" or noun == "cancellation"):
            assert answer.status_code == 200, state
            assert answer.json is not None
            assert answer.json["status"] == TRANSITIONS[event].target
            assert len(events(visit)) == before + 1
        else:
            assert answer.status_code == (404 if state == "draft" else 409), state
            assert len(events(visit)) == before


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if noun != "cancellation"])
def test_an_engineers_step_is_not_the_offices_nor_a_colleagues_nor_a_strangers(
    noun: str,
    visit: Visit,
    colleague: User,
    dispatcher: User,
    manager: User,
    admin: User,
    logged_in: LogIn,
    client: FlaskClient,
) -> None:
    address, words = f"/visits/{visit.id}/{noun}", NOUNS[noun][1]

    assert logged_in(colleague).post(address, data=words).status_code == 404
    for other in (dispatcher, manager, admin):
        assert logged_in(other).post(address, data=words).status_code == 403
    assert client.post(address, data=words, headers=JSON).status_code == 401
    assert _status(visit) == "scheduled"


def test_cancelling_is_the_offices(
    visit: Visit, engineer: User, manager: User, logged_in: LogIn, events: Events
) -> None:
    address = f"/visits/{visit.id}/cancellation"

    assert logged_in(engineer).post(address, data={"reason": "x"}).status_code == 403
    answer = logged_in(manager).post(address, data={"reason": "客户改约下月"})

    assert (answer.status_code, answer.location) == (303, f"/visits/{visit.id}")
    assert (_status(visit), events(visit)[-1].payload) == ("canceled", {"reason": "客户改约下月"})


def test_a_visit_that_does_not_exist_is_not_found(phone: FlaskClient) -> None:
    assert phone.post(f"/visits/{uuid7()}/arrival").status_code == 404
    assert phone.post("/visits/7/arrival").status_code == 404


def test_a_write_from_another_site_is_refused(phone: FlaskClient, visit: Visit) -> None:
    answer = phone.post(f"/visits/{visit.id}/acceptance", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert _status(visit) == "scheduled"


# ---- words that are needed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "state", "typed", "sentence"),
    [
        ("refusal", "scheduled", {"reason": "  "}, "Please write the reason."),
        ("inability", "working", {"cause": ""}, "Please write the reason."),
        ("pause", "working", {"reason": "lunch"}, "Choose one of the reasons."),
        ("pause", "working", {}, "Choose one of the reasons."),
    ],
)
def test_a_step_without_its_reason_comes_back_with_the_sentence_at_the_field(
    noun: str, state: str, typed: dict[str, str], sentence: str, phone: FlaskClient, visit: Visit, put_into: PutInto
) -> None:
    put_into(visit, state)

    page = phone.post(f"/visits/{visit.id}/{noun}", data=typed)
    program = phone.post(f"/visits/{visit.id}/{noun}", data=typed, headers=JSON)

    assert page.status_code == program.status_code == 422
    assert re.search(f'<details[^>]* id="{noun}"[^>]* open[ >]', page.text)
    assert sentence in page.text
    assert program.json is not None
    assert list(program.json["fields"].values()) == [sentence]
    assert _status(visit) == state


def test_cancelling_without_a_reason_comes_back_on_the_offices_page(
    visit: Visit, dispatcher: User, logged_in: LogIn
) -> None:
    answer = logged_in(dispatcher).post(f"/visits/{visit.id}/cancellation", data={"reason": ""})

    assert answer.status_code == 422
    assert 'id="cancellation-reason-error"' in answer.text
    assert _status(visit) == "scheduled"


def test_what_was_typed_is_not_lost_when_the_state_moved_on(
    phone: FlaskClient, visit: Visit, put_into: PutInto
) -> None:
    put_into(visit, "canceled")

    answer = phone.post(f"/visits/{visit.id}/inability", data={"cause": "主板 <烧毁>，需换件"})

    assert answer.status_code == 409
    assert "主板 &lt;烧毁&gt;，需换件" in answer.text
    assert "Cancelled" in answer.text


def test_a_form_that_is_still_there_keeps_its_words(phone: FlaskClient, visit: Visit, put_into: PutInto) -> None:
    put_into(visit, "working")

    answer = phone.post(f"/visits/{visit.id}/pause", data={"reason": "wait_moon"})

    assert answer.status_code == 422
    assert "wait_moon" not in answer.text.split('id="other"')[0]


# ---- once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", NOUNS)
def test_the_same_submission_twice_is_one_event_and_the_same_receipt(
    noun: str, visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn, put_into: PutInto, events: Events
) -> None:
    event, words = NOUNS[noun]
    put_into(visit, TRANSITIONS[event].sources[-1 if noun == "cancellation" else 0])
    browser = logged_in(dispatcher if noun == "cancellation" else engineer)
    headers = {**JSON, "Idempotency-Key": str(uuid7())}
    before = len(events(visit))

    first = browser.post(f"/visits/{visit.id}/{noun}", data=words, headers=headers)
    again = browser.post(f"/visits/{visit.id}/{noun}", data=words, headers=headers)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json is not None
    assert again.json == {**first.json, "replayed": True}
    assert first.json["submission_id"] == headers["Idempotency-Key"]
    assert len(events(visit)) == before + 1


def test_a_form_sent_twice_goes_to_the_page_twice(phone: FlaskClient, visit: Visit, events: Events) -> None:
    form = {"submission_id": str(uuid7())}

    answers = [phone.post(f"/visits/{visit.id}/acceptance", data=form).status_code for _turn in range(2)]

    assert answers == [303, 303]
    assert [event.type for event in events(visit)].count("accepted") == 1


def test_an_unfinished_visit_tells_the_store_once_and_drafts_one_follow_up(
    phone: FlaskClient, working: Visit, events: Events
) -> None:
    headers = {"Idempotency-Key": str(uuid7())}

    for _turn in range(2):
        phone.post(f"/visits/{working.id}/inability", data={"cause": "缺电源模块"}, headers=headers)

    assert events(working)[-1].payload == {"cause": "缺电源模块"}
    follow_ups = db.session.scalars(db.select(Visit).where(Visit.parent_id == working.id)).all()
    assert [(each.status, each.note) for each in follow_ups] == [("draft", "缺电源模块")]
    told = db.session.scalars(db.select(Promise).where(Promise.kind == "visit_unfinished")).all()
    assert [promise.payload for promise in told] == [{"visit": str(working.id)}]


def test_the_same_number_for_something_else_is_refused_and_the_first_stays(
    phone: FlaskClient, visit: Visit, events: Events
) -> None:
    headers = {**JSON, "Idempotency-Key": str(uuid7())}
    phone.post(f"/visits/{visit.id}/acceptance", headers=headers)

    other_step = phone.post(f"/visits/{visit.id}/departure", headers=headers)

    assert (other_step.status_code, other_step.json["error"]) == (422, "key_reused")  # type: ignore[index]
    assert events(visit)[-1].type == "accepted"


def test_after_declining_the_visit_is_gone_from_the_engineer(phone: FlaskClient, visit: Visit, events: Events) -> None:
    answer = phone.post(f"/visits/{visit.id}/refusal", data={"reason": "那天请假"})

    assert (answer.status_code, answer.location) == (303, "/")
    assert "You declined the visit." in phone.get("/").text
    assert phone.get(f"/visits/{visit.id}").status_code == 404
    db.session.refresh(visit)
    assert (visit.status, visit.lead_id) == ("draft", None)
    assert events(visit)[-1].payload["reason"] == "那天请假"


# ---- the phone's time and ours ------------------------------------------------------------------------


def test_the_phones_time_is_when_it_happened_and_ours_is_kept_beside_it(
    phone: FlaskClient, visit: Visit, events: Events
) -> None:
    happened = clock.now().replace(microsecond=0) - timedelta(minutes=40)

    phone.post(f"/visits/{visit.id}/acceptance", headers={"X-Device-At": happened.isoformat()})

    event = events(visit)[-1]
    assert (event.device_at, visit.accepted_at, event.at) == (happened, happened, happened)
    assert event.server_at > happened
    assert event.skew_s is None  # sent late is no wrong clock


def test_a_wrong_clock_is_measured_when_the_phone_sends(phone: FlaskClient, visit: Visit, events: Events) -> None:
    wrong = clock.now() - timedelta(hours=2)
    headers = {"X-Device-At": (wrong - timedelta(hours=5)).isoformat(), "X-Sent-At": wrong.isoformat()}

    phone.post(f"/visits/{visit.id}/acceptance", headers=headers)

    skew = events(visit)[-1].skew_s
    assert skew is not None
    assert -7205 <= skew <= -7195


def test_without_the_phones_time_ours_counts(phone: FlaskClient, visit: Visit, events: Events) -> None:
    phone.post(f"/visits/{visit.id}/acceptance", headers={"X-Device-At": "yesterday"})

    event = events(visit)[-1]
    assert (event.device_at, event.skew_s) == (None, None)
    assert event.at == event.server_at


def test_lateness_is_measured_by_the_phones_time(
    phone: FlaskClient, visit: Visit, put_into: PutInto, events: Events
) -> None:
    put_into(visit, "traveling")
    at = (visit.window_end or clock.now()) + timedelta(minutes=12)

    with time_machine.travel(at + timedelta(hours=3), tick=False):
        phone.post(f"/visits/{visit.id}/arrival", headers={"X-Device-At": at.isoformat()})

    assert events(visit)[-1].payload == {"late_s": 12 * 60}
    assert visit.late_by == timedelta(minutes=12)


def test_a_clock_that_runs_ahead_is_told_on_the_page(phone: FlaskClient, visit: Visit) -> None:
    ahead = clock.now() + timedelta(minutes=50)

    phone.post(
        f"/visits/{visit.id}/acceptance", headers={"X-Device-At": ahead.isoformat(), "X-Sent-At": ahead.isoformat()}
    )

    assert "the phone&#39;s clock was" in phone.get(f"/visits/{visit.id}").text


@time_machine.travel(datetime(2026, 11, 21, 6, 0, tzinfo=UTC), tick=False)
def test_a_pause_does_not_move_the_start_of_the_work(phone: FlaskClient, working: Visit) -> None:
    started = working.started_at

    with time_machine.travel(datetime(2026, 11, 21, 7, 0, tzinfo=UTC), tick=False):
        phone.post(f"/visits/{working.id}/pause", data={"reason": "wait_part"})
        phone.post(f"/visits/{working.id}/resumption")

    db.session.refresh(working)
    assert working.started_at == started


def test_events_are_never_changed(working: Visit, events: Events) -> None:
    @operation
    def rewrite() -> None:
        events(working)
        db.session.execute(db.text("UPDATE visit_event SET type = 'nothing'"))

    with pytest.raises(Exception, match="append"):
        rewrite()


def _given_again(visit: Visit, engineer: User) -> None:
    """Back to the engineer: declining took the visit away."""

    @operation
    def give() -> None:
        visit.lead_id = engineer.id

    give()


def _status(visit: Visit) -> str:
    db.session.rollback()
    db.session.refresh(visit)
    return visit.status
