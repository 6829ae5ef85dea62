"""Planning: one form from ticket to visit, suggestions with reasons, nothing typed is lost, nothing happens twice."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from time_machine import Traveller

from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.customers.models import Contact, Customer, Site
from fieldapp.dispatch import operations
from fieldapp.errors import NotAllowedNow
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.operations import new_told
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit, VisitEvent
from tests.conftest import add
from tests.dispatch.conftest import AFTERNOON, planned, typed
from tests.records.samples import signed


def count(*conditions) -> int:  # type: ignore[no-untyped-def]
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(Visit).where(*conditions)) or 0


def only_visit(ticket: Ticket) -> Visit:
    db.session.rollback()
    return db.session.scalars(select(Visit).where(Visit.ticket_id == ticket.id)).one()


def cards(html: str) -> list[str]:
    """The engineers' cards in the order of the suggestions."""
    return re.findall(r'<input type="radio" id="lead_id-.*?</label>', html, re.S)


# ---- a new visit for a ticket -------------------------------------------------------------------------------


def test_a_ticket_is_planned_in_one_step(desk: FlaskClient, ticket: Ticket, engineer: User, customer: Customer) -> None:
    site, contact = customer.sites[0], customer.contacts[0]
    answer = desk.post(
        f"/dispatch/tickets/{ticket.id}/plan",
        data=typed(engineer, site_id=str(site.id), contact_id=str(contact.id), kind="inspection"),
    )

    assert answer.status_code == 303
    assert answer.location == "/dispatch?day=2026-11-18"
    visit = only_visit(ticket)
    assert (visit.status, visit.lead_id, visit.kind) == ("scheduled", engineer.id, "inspection")
    assert (visit.site_id, visit.contact_id, visit.asset_id) == (site.id, contact.id, None)
    assert visit.window_start == AFTERNOON.replace(hour=8, minute=0)
    assert visit.window_end == AFTERNOON.replace(hour=8, minute=30)
    assert (visit.bring, visit.note) == ("硬盘 2TB", "先找陈晓")
    assert "Planned for Today 16:00–16:30." in desk.get("/dispatch").text


def test_a_window_without_end_is_thirty_minutes(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    desk.post(
        f"/dispatch/tickets/{ticket.id}/plan",
        data=typed(engineer, window_end="", window_start="9：05", day="2026-11-19"),
    )

    visit = only_visit(ticket)
    assert visit.window_end is not None
    assert visit.window_start is not None
    assert visit.window_end - visit.window_start == timedelta(minutes=30)


def test_a_double_click_is_one_visit(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    form = typed(engineer)

    first = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=form)
    second = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=form)

    assert (first.status_code, second.status_code) == (303, 303)
    assert count(Visit.ticket_id == ticket.id) == 1


def test_the_second_dispatcher_is_told_who_already_goes(
    desk: FlaskClient, ticket: Ticket, engineer: User, colleague: User
) -> None:
    desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(engineer))

    answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(colleague, note="我的备注"))

    assert answer.status_code == 409
    assert "Somebody planned this ticket before you: 王磊, Today 16:00–16:30." in answer.text
    assert "我的备注" in answer.text
    assert count(Visit.ticket_id == ticket.id) == 1


def test_the_form_of_a_planned_ticket_leads_to_its_visit(desk: FlaskClient, visit: Visit) -> None:
    answer = desk.get(f"/dispatch/tickets/{visit.ticket_id}/plan")

    assert answer.location == f"/dispatch/visits/{visit.id}/plan"


def test_a_closed_ticket_is_not_planned(desk: FlaskClient, another: Callable[..., Ticket], engineer: User) -> None:
    closed = another(status="closed")

    answer = desk.post(f"/dispatch/tickets/{closed.id}/plan", data=typed(engineer))

    assert answer.status_code == 409
    assert "closed in the ticket store" in answer.text


def test_a_ticket_with_a_waiting_follow_up_says_so(desk: FlaskClient, working: Visit, engineer: User) -> None:
    visits.cannot_complete(working, "缺主板", by=engineer)

    answer = desk.post(f"/dispatch/tickets/{working.ticket_id}/plan", data=typed(engineer))

    assert answer.status_code == 409
    assert "already has a visit that waits for its plan" in answer.text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("lead_id", "", "Choose who goes."),
        ("day", "18.11.", "Write the day like 2026-11-21."),
        ("day", "0001-01-01", "Write the day like 2026-11-21."),
        ("day", "9999-12-31", "Write the day like 2026-11-21."),
        ("day", "2026-11-17", "This day is over."),
        ("window_start", "25:00", "Write the time like 14:30."),
        ("window_end", "soon", "Write the time like 14:30, or leave it empty."),
        ("window_end", "15:30", "The window must end after it starts."),
        ("kind", "party", "Choose the kind of visit."),
        ("site_id", "somewhere", "Choose one of this customer&#39;s."),
        ("bring", "硬" * 2001, "At most 2000 characters"),
    ],
)
def test_every_mistake_is_said_at_its_field_and_nothing_typed_is_lost(
    desk: FlaskClient, ticket: Ticket, engineer: User, field: str, value: str, sentence: str
) -> None:
    answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(engineer, **{field: value}))

    assert answer.status_code == 422
    assert sentence in answer.text
    if field != "kind":
        assert f'id="{field}-error"' in answer.text
    for kept in ("硬盘 2TB" if field != "bring" else value, "先找陈晓"):
        assert kept in answer.text
    if field != "lead_id":
        assert re.search(rf'value="{engineer.id}" checked', answer.text)
    assert count() == 0


def test_an_engineer_who_left_meanwhile_costs_nothing_typed(
    desk: FlaskClient, ticket: Ticket, engineer: User, dispatcher: User
) -> None:
    answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(dispatcher))

    assert answer.status_code == 404
    assert "There is no such engineer." in answer.text
    assert "先找陈晓" in answer.text


def test_the_same_submission_with_other_content_is_told_so(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    form = typed(engineer)
    desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=form)

    answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data={**form, "note": "改过的"})

    assert answer.status_code == 422
    assert "what came first stays" in answer.text
    assert "改过的" in answer.text
    assert only_visit(ticket).note == "先找陈晓"


def test_a_window_of_more_than_twelve_hours_is_refused_at_its_field(
    desk: FlaskClient, ticket: Ticket, engineer: User
) -> None:
    form = typed(engineer, day="2026-11-19", window_start="06:00", window_end="19:00")

    answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=form)

    assert answer.status_code == 422
    assert 'id="window_end-error"' in answer.text


def test_a_window_that_is_over_today_is_saved_with_a_warning(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(engineer, window_start="09:00", window_end="09:30"))

    assert "this window is already over" in desk.get("/dispatch").text


def test_a_program_gets_its_receipt_or_the_mistakes(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    json = {"Accept": "application/json"}
    wrong = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(None), headers=json)
    right = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=typed(engineer), headers=json)

    assert (wrong.status_code, wrong.get_json()["fields"]) == (422, {"lead_id": "Choose who goes."})
    assert right.get_json()["status"] == "scheduled"


def test_places_of_another_customer_are_refused(desk: FlaskClient, ticket: Ticket, engineer: User) -> None:
    stranger = Customer(number="C-2", name="别家")
    stranger.sites.append(Site(name="别处", address="别处1号"))
    stranger.contacts.append(Contact(name="别人"))
    add(stranger)

    for field, thing in (("site_id", stranger.sites[0]), ("contact_id", stranger.contacts[0])):
        form = typed(engineer, **{field: str(thing.id)})
        answer = desk.post(f"/dispatch/tickets/{ticket.id}/plan", data=form)
        assert answer.status_code == 422
        assert f'id="{field}-error"' in answer.text
    assert count() == 0


def test_looking_for_who_is_free_changes_nothing_and_keeps_what_is_typed(
    desk: FlaskClient, ticket: Ticket, visit: Visit, another: Callable[..., Ticket], engineer: User
) -> None:
    other = another()

    answer = desk.post(
        f"/dispatch/tickets/{other.id}/plan",
        data=typed(engineer, look="1", window_start="15:00", note="还没想好"),
    )

    assert answer.status_code == 200
    assert "Busy 15:10–15:40" in cards(answer.text)[0]
    assert "还没想好" in answer.text
    assert count() == 1


def test_the_form_shows_what_the_customer_needs(desk: FlaskClient, ticket: Ticket, customer: Customer) -> None:
    _say(customer, blackout="周一上午盘点", special_needs="需戴安全帽")

    html = desk.get(f"/dispatch/tickets/{ticket.id}/plan").text

    for words in ("周一上午盘点", "需戴安全帽", "北门登记", "开机后蓝屏", "一号厂房 · 上海市松江区示例路88号"):
        assert words in html
    assert 'value="16:00"' in html, "the next half hour at least an hour away"
    assert 'value="16:30"' in html


@operation
def _say(customer: Customer, **words: str) -> None:
    for name, text in words.items():
        setattr(customer, name, text)


def test_late_in_the_day_the_next_morning_is_proposed(desk: FlaskClient, ticket: Ticket, afternoon: Traveller) -> None:
    afternoon.shift(timedelta(hours=4))

    html = desk.get(f"/dispatch/tickets/{ticket.id}/plan").text

    assert 'value="2026-11-19"' in html
    assert 'value="09:00"' in html


def test_at_night_the_beginning_of_the_day_is_proposed(desk: FlaskClient, ticket: Ticket, afternoon: Traveller) -> None:
    afternoon.shift(timedelta(hours=11))  # 01:40

    html = desk.get(f"/dispatch/tickets/{ticket.id}/plan").text

    assert 'value="2026-11-19"' in html
    assert 'value="08:00"' in html


# ---- who ------------------------------------------------------------------------------------------------


def test_suggestions_are_ranked_with_their_reasons(
    desk: FlaskClient,
    ticket: Ticket,
    another: Callable[..., Ticket],
    working: Visit,
    engineer: User,
    colleague: User,
    dispatcher: User,
) -> None:
    signed(working, engineer)  # he knows the device
    third = User(username="chenhao", name="陈浩", role="engineer")
    add(third)
    planned(another(), colleague, dispatcher, AFTERNOON + timedelta(hours=2))
    wished = another(asset_id=ticket.asset_id, site_id=ticket.site_id, named_engineer_id=third.id)

    found = cards(desk.get(f"/dispatch/tickets/{wished.id}/plan").text)

    assert ["陈浩" in found[0], "王磊" in found[1], "李婷" in found[2]] == [True] * 3
    assert "Named for this ticket" in found[0]
    assert "Served this device: Today" in found[1]
    assert "1 visit that day" in found[2]
    assert "Free: 08:00–16:40, 17:10–18:00" in found[2]
    assert "No visit that day yet" in found[0]
    assert "Free: 08:00–18:00" in found[0]


def test_nearness_and_region_are_reasons(
    desk: FlaskClient, another: Callable[..., Ticket], customer: Customer, engineer: User, dispatcher: User
) -> None:
    near = Site(customer_id=customer.id, name="甲", address="甲路", latitude_e6=31_230_000, longitude_e6=121_470_000)
    there = Site(customer_id=customer.id, name="乙", address="乙路", latitude_e6=31_240_000, longitude_e6=121_470_000)
    unknown = Site(customer_id=customer.id, name="丙", address="丙路", region="松江")
    add(near, there, unknown)
    planned(another(site_id=near.id), engineer, dispatcher, AFTERNOON + timedelta(hours=3))

    close = cards(desk.get(f"/dispatch/tickets/{another(site_id=there.id).id}/plan").text)[0]
    _say_region(near)
    same = cards(desk.get(f"/dispatch/tickets/{another(site_id=unknown.id).id}/plan").text)[0]

    assert "1.1 km from the visit at 17:40" in close
    assert "In 松江 that day already" in same


@operation
def _say_region(site: Site) -> None:
    site.region = "松江"


def test_who_served_the_customer_before_is_a_reason(
    desk: FlaskClient, working: Visit, another: Callable[..., Ticket], engineer: User
) -> None:
    signed(working, engineer)

    card = cards(desk.get(f"/dispatch/tickets/{another().id}/plan").text)[0]

    assert "Served this customer 1 time, last: Today" in card


# ---- overlaps -------------------------------------------------------------------------------------------


def test_an_overlap_is_refused_naming_the_other_visit_and_allowed_with_a_reason_that_is_kept(
    desk: FlaskClient, visit: Visit, another: Callable[..., Ticket], engineer: User
) -> None:
    other = another()
    overlapping = {"window_start": "15:30", "window_end": "16:00"}

    refused = desk.post(f"/dispatch/tickets/{other.id}/plan", data=typed(engineer, **overlapping))

    assert refused.status_code == 422
    assert "王磊 already has a visit to 华东精密机械有限公司 on Today, 15:10–15:40." in refused.text
    assert 'id="override_reason-error"' in refused.text
    assert "先找陈晓" in refused.text
    assert count(Visit.ticket_id == other.id) == 0

    form = typed(engineer, **overlapping, override_reason="同一栋楼，顺路")
    assert desk.post(f"/dispatch/tickets/{other.id}/plan", data=form).status_code == 303

    event = db.session.scalars(
        select(VisitEvent).where(VisitEvent.visit_id == only_visit(other).id, VisitEvent.type == "planned")
    ).one()
    assert event.payload["override_reason"] == "同一栋楼，顺路"
    assert event.payload["overlaps"] == [str(visit.id)]
    assert db.session.scalar(select(func.count()).where(AuditEntry.action == "visit.overlap_allowed")) == 1


def test_two_dispatchers_plan_the_same_engineer_at_once_and_one_is_told(
    app: Flask,
    logged_in: Callable[[User], FlaskClient],
    another: Callable[..., Ticket],
    engineer: User,
    dispatcher: User,
    manager: User,
) -> None:
    paths = [f"/dispatch/tickets/{another().id}/plan" for _ in range(2)]
    browsers = [logged_in(dispatcher), logged_in(manager)]
    forms = [typed(engineer) for _ in range(2)]
    db.session.remove()
    answers: list[int] = []
    gate = threading.Barrier(2)

    def send(n: int) -> None:
        with app.app_context():
            gate.wait()
            answers.append(browsers[n].post(paths[n], data=forms[n]).status_code)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [303, 422]
    assert count(Visit.lead_id == engineer.id) == 1
    assert count() == 1, "the refused one left no draft behind"


# ---- a planned visit --------------------------------------------------------------------------------------


def test_a_visit_is_moved_to_another_engineer_and_time(desk: FlaskClient, visit: Visit, colleague: User) -> None:
    form = typed(colleague, window_start="17:00", window_end="17:45", revision=str(visit.revision))

    answer = desk.post(f"/dispatch/visits/{visit.id}/plan", data=form)

    assert answer.status_code == 303
    db.session.refresh(visit)
    assert (visit.lead_id, visit.status) == (colleague.id, "scheduled")
    last = db.session.scalars(select(VisitEvent).order_by(VisitEvent.seq.desc())).first()
    assert last is not None
    assert last.type == "replanned"


def test_the_form_of_a_visit_shows_what_is_planned(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    html = desk.get(f"/dispatch/visits/{visit.id}/plan").text

    assert 'value="15:10"' in html
    assert 'value="15:40"' in html
    assert re.search(rf'value="{engineer.id}" checked', html)
    assert "Free then" in cards(html)[0], "a visit is not in its own way"
    assert "Take it back from the engineer" in html


def test_who_looked_before_it_changed_is_told_and_keeps_what_was_typed(
    desk: FlaskClient, visit: Visit, engineer: User, colleague: User
) -> None:
    form = typed(colleague, revision=str(visit.revision), note="改给李婷")
    visits.accept(visit, by=engineer)

    refused = desk.post(f"/dispatch/visits/{visit.id}/plan", data=form)

    assert refused.status_code == 409
    assert "it is now “Accepted”, 王磊, Today 15:10–15:40" in refused.text
    assert "改给李婷" in refused.text
    assert f'name="revision" value="{visit.revision}"' in refused.text, "the next try knows what is now"

    again = typed(colleague, revision=str(visit.revision), note="改给李婷")
    assert desk.post(f"/dispatch/visits/{visit.id}/plan", data=again).status_code == 303


def test_looking_at_another_day_from_a_visit_keeps_what_is_typed(
    desk: FlaskClient, visit: Visit, engineer: User
) -> None:
    answer = desk.post(f"/dispatch/visits/{visit.id}/plan", data=typed(engineer, look="1", day="2026-11-19"))

    assert answer.status_code == 200
    assert "Who · Tomorrow" in answer.text
    assert "先找陈晓" in answer.text


def test_a_visit_under_way_cannot_be_moved(desk: FlaskClient, working: Visit, engineer: User) -> None:
    page = desk.get(f"/dispatch/visits/{working.id}/plan")
    answer = desk.post(f"/dispatch/visits/{working.id}/plan", data=typed(engineer))

    assert "its plan cannot be changed any more" in page.text
    assert "<form" not in page.text.split("<main")[1]
    assert answer.status_code == 409


def test_a_declined_visit_is_planned_again(desk: FlaskClient, visit: Visit, engineer: User, colleague: User) -> None:
    visits.decline(visit, "当天要去宝山", by=engineer)

    html = desk.get(f"/dispatch/visits/{visit.id}/plan").text
    assert "Declined by 王磊" in html
    assert "当天要去宝山" in html
    assert ["李婷" in cards(html)[0], "王磊" in cards(html)[1]] == [True, True]
    assert "Declined this visit" in cards(html)[1]

    desk.post(f"/dispatch/visits/{visit.id}/plan", data=typed(colleague, revision=str(visit.revision)))
    db.session.refresh(visit)
    assert (visit.status, visit.lead_id) == ("scheduled", colleague.id)


def test_a_visit_whose_window_is_over_is_offered_the_next_time(
    logged_in: Callable[[User], FlaskClient], dispatcher: User, visit: Visit, afternoon: Traveller
) -> None:
    afternoon.shift(timedelta(days=1))

    html = logged_in(dispatcher).get(f"/dispatch/visits/{visit.id}/plan").text

    assert 'value="2026-11-19"' in html
    assert 'value="16:00"' in html


# ---- ending a plan ----------------------------------------------------------------------------------------


def test_a_visit_is_cancelled_with_a_reason(desk: FlaskClient, visit: Visit) -> None:
    form = {"submission_id": str(uuid7()), "reason": "客户改为送修"}

    answer = desk.post(f"/dispatch/visits/{visit.id}/cancellation", data=form)
    again = desk.post(f"/dispatch/visits/{visit.id}/cancellation", data=form)

    assert (answer.status_code, again.status_code) == (303, 303)
    db.session.refresh(visit)
    assert visit.status == "canceled"
    html = desk.get("/dispatch").text
    assert "The visit is cancelled." in html
    assert 'data-status="canceled"' in html


def test_an_assignment_is_taken_back_and_waits_with_its_reason(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    visits.accept(visit, by=engineer)

    desk.post(f"/dispatch/visits/{visit.id}/withdrawal", data={"reason": "王磊请假"})

    db.session.refresh(visit)
    assert (visit.status, visit.lead_id, visit.accepted_at) == ("draft", None, None)
    html = desk.get("/dispatch").text
    assert "Taken back" in html
    assert "赵敏: 王磊请假" in html
    assert "Taken back by 赵敏" in desk.get(f"/dispatch/visits/{visit.id}/plan").text


@pytest.mark.parametrize("noun", ["cancellation", "withdrawal"])
def test_without_a_reason_nothing_ends(desk: FlaskClient, visit: Visit, noun: str) -> None:
    answer = desk.post(f"/dispatch/visits/{visit.id}/{noun}", data={"reason": "  "})
    program = desk.post(
        f"/dispatch/visits/{visit.id}/{noun}", data={"reason": ""}, headers={"Accept": "application/json"}
    )

    assert answer.status_code == 422
    assert f'id="{noun}-reason-error"' in answer.text
    assert f'<details class="card" id="{noun}" open>' in answer.text
    assert program.get_json()["fields"] == {"reason": "Please write the reason."}
    db.session.refresh(visit)
    assert visit.status == "scheduled"


@pytest.mark.parametrize("noun", ["cancellation", "withdrawal"])
def test_what_changed_meanwhile_is_not_ended_unseen(desk: FlaskClient, visit: Visit, engineer: User, noun: str) -> None:
    seen = visit.revision
    visits.accept(visit, by=engineer)

    answer = desk.post(f"/dispatch/visits/{visit.id}/{noun}", data={"reason": "改期", "revision": str(seen)})

    assert answer.status_code == 409
    assert "改期</textarea>" in answer.text
    db.session.refresh(visit)
    assert visit.status == "accepted"


def test_a_draft_that_changed_says_so_without_an_engineer(
    app: Flask, visit: Visit, engineer: User, dispatcher: User
) -> None:
    visits.decline(visit, "生病", by=engineer)

    told = new_told(dispatcher.id, "/", submission_id=uuid7(), base_revision=1)
    with app.test_request_context(), pytest.raises(NotAllowedNow, match="it is now “To plan”"):
        operations.cancel(visit, "x", by=dispatcher, told=told)


# ---- whose ticket it is -------------------------------------------------------------------------------------


def test_a_ticket_without_a_known_customer_is_linked_first(
    desk: FlaskClient, another: Callable[..., Ticket], customer: Customer, engineer: User
) -> None:
    nobody = another(customer_id=None, subject="门店收银机坏了")
    step = f"/dispatch/tickets/{nobody.id}/customer"

    assert desk.get(f"/dispatch/tickets/{nobody.id}/plan").location == step
    assert desk.post(f"/dispatch/tickets/{nobody.id}/plan", data=typed(engineer)).status_code in (302, 409, 422)
    assert "门店收银机坏了" in desk.get(step).text
    for words in ("华东精密", "C-1001", "021-5550 1234", "139 0000 0001"):
        assert "It is 华东精密机械有限公司" in desk.get(step, query_string={"q": words}).text, words
    assert "Nobody found." in desk.get(step, query_string={"q": "不存在"}).text

    answer = desk.post(step, data={"customer_id": str(customer.id), "submission_id": str(uuid7())})

    assert answer.location == f"/dispatch/tickets/{nobody.id}/plan"
    html = desk.get(answer.location).text
    assert re.search(rf'value="{customer.sites[0].id}" selected', html), "the only place is taken"
    assert desk.get(step).location == f"/dispatch/tickets/{nobody.id}/plan"


def test_a_ticket_is_not_linked_to_a_second_customer(
    desk: FlaskClient, ticket: Ticket, another: Callable[..., Ticket]
) -> None:
    stranger = Customer(number="C-2", name="别家")
    add(stranger)
    nobody = another(customer_id=None)

    def link(one: Ticket, customer_id: object) -> int:
        return desk.post(f"/dispatch/tickets/{one.id}/customer", data={"customer_id": str(customer_id)}).status_code

    assert link(ticket, stranger.id) == 409
    assert link(ticket, ticket.customer_id) == 303
    assert link(nobody, uuid7()) == 404
    assert link(nobody, "C-2") == 422


# ---- who may ------------------------------------------------------------------------------------------------


def test_engineers_and_strangers_stay_out(
    logged_in: Callable[[User], FlaskClient], client: FlaskClient, visit: Visit, engineer: User, dispatcher: User
) -> None:
    pages = [
        "/dispatch",
        "/dispatch/states",
        "/dispatch/table",
        "/dispatch/table.csv",
        f"/dispatch/tickets/{visit.ticket_id}/plan",
        f"/dispatch/tickets/{visit.ticket_id}/customer",
        f"/dispatch/visits/{visit.id}/plan",
    ]
    writes = [*pages[4:], f"/dispatch/visits/{visit.id}/cancellation", f"/dispatch/visits/{visit.id}/withdrawal"]
    browser = logged_in(engineer)

    assert {browser.get(path).status_code for path in [*pages, "/dispatch/reviews"]} == {403}
    assert {browser.post(path).status_code for path in writes} == {403}
    assert {client.get(path).location.split("?")[0] for path in [*pages, "/dispatch/reviews"]} == {"/login"}
    assert logged_in(dispatcher).get("/dispatch/reviews").status_code == 403


def test_what_does_not_exist_is_not_found(desk: FlaskClient) -> None:
    for path in (f"/dispatch/tickets/{uuid7()}/plan", f"/dispatch/visits/{uuid7()}/plan"):
        assert desk.get(path).status_code == 404
