"""The dispatcher's day: who is where, who is late, what waits, what needs a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from time_machine import Traveller

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer, Site
from fieldapp.extensions import db, operation
from fieldapp.records.models import OpenItem
from fieldapp.records.values import OpenLine
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.dispatch.conftest import AFTERNOON, planned
from tests.records.samples import filled, signed


def page(desk: FlaskClient, query: str = "") -> str:
    answer = desk.get(f"/dispatch{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def slot(html: str, visit: Visit) -> str:
    """The element of a visit in a lane."""
    found = re.search(rf'<li class="slot[^>]*data-visit-id="{visit.id}".*?</li>', html, re.S)
    assert found, f"{visit.id} is not on the board"
    return found[0]


def aside(html: str) -> str:
    return html[html.index('id="waiting"') : html.index("<template")]


# ---- lanes ----------------------------------------------------------------------------------------------


def test_a_visit_stands_in_its_engineers_lane_with_state_and_time(
    desk: FlaskClient, ticket: Ticket, engineer: User, colleague: User, dispatcher: User
) -> None:
    visit = planned(ticket, engineer, dispatcher, AFTERNOON + timedelta(minutes=20))

    html = page(desk)

    element = slot(html, visit)
    assert 'data-status="scheduled"' in element
    assert "15:00–15:30" in element
    assert "华东精密机械有限公司" in element
    assert "Assigned" in element
    assert 'class="slot c32 e48"' in element
    lane_of_wang = html[html.index("王磊 <") : html.index("</ul>", html.index("王磊 <"))]
    assert str(visit.id) in lane_of_wang
    assert "free all day" in html[html.index("李婷 <") : html.index("</h3>", html.index("李婷 <"))]


def test_the_day_is_the_local_day_and_can_be_chosen(
    desk: FlaskClient, ticket: Ticket, engineer: User, dispatcher: User
) -> None:
    before_midnight = AFTERNOON.replace(hour=15, minute=30)  # 23:30 in Shanghai
    visit = planned(ticket, engineer, dispatcher, before_midnight)
    later = planned(ticket, engineer, dispatcher, before_midnight + timedelta(hours=1))

    today, tomorrow = page(desk), page(desk, "?day=2026-11-19")

    assert str(visit.id) in today
    assert str(visit.id) not in tomorrow
    assert str(later.id) in tomorrow
    assert '<span class="unseen">Tomorrow, 1 visit</span>' in today


def test_a_late_visit_says_how_late(desk: FlaskClient, visit: Visit, afternoon: Traveller) -> None:
    afternoon.shift(timedelta(minutes=72))

    html = page(desk)

    assert "12 min late" in slot(html, visit)
    assert f'data-overdue="{visit.id}"' in html


def test_nobody_is_late_after_arriving(desk: FlaskClient, visit: Visit, engineer: User, afternoon: Traveller) -> None:
    afternoon.shift(timedelta(minutes=72))
    for step in (visits.accept, visits.depart, visits.arrive):
        step(visit, by=engineer)

    html = page(desk)

    assert 'data-status="arrived"' in slot(html, visit)
    assert "late" not in re.sub(r"<[^>]*>", "", slot(html, visit))
    assert "data-overdue" not in html


def test_a_visit_of_yesterday_that_never_ended_needs_a_person(
    logged_in: Callable[[User], FlaskClient], dispatcher: User, working: Visit, afternoon: Traveller
) -> None:
    afternoon.shift(timedelta(days=1))

    html = page(logged_in(dispatcher))

    assert f'data-overdue="{working.id}"' in html
    assert "Never ended" in html


def test_states_are_told_anew_without_the_page(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    html = page(desk)
    visits.accept(visit, by=engineer)

    answer = desk.get("/dispatch/states", headers={"Accept": "application/json"}).get_json()

    assert answer["visits"] == [{"id": str(visit.id), "status": "accepted", "late": None}]
    assert f'data-shape="{answer["shape"]}"' in html, "a new state is no new plan"
    assert '<span data-for="accepted">' in html, "the page holds the badge to show"


def test_a_new_plan_changes_the_shape(
    desk: FlaskClient, visit: Visit, another: Callable[..., Ticket], engineer: User, dispatcher: User
) -> None:
    before = desk.get("/dispatch/states").get_json()["shape"]

    planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=3))

    assert desk.get("/dispatch/states").get_json()["shape"] != before


def test_visits_outside_the_axis_stand_at_its_edges(
    desk: FlaskClient, ticket: Ticket, engineer: User, dispatcher: User
) -> None:
    early = planned(ticket, engineer, dispatcher, AFTERNOON.replace(hour=17, minute=0) - timedelta(days=1))
    late = planned(ticket, engineer, dispatcher, AFTERNOON.replace(hour=15, minute=15))

    html = page(desk)

    assert 'class="slot c0 e16"' in slot(html, early)
    assert 'class="slot c44 e60"' in slot(html, late)


# ---- filters --------------------------------------------------------------------------------------------


def test_filters_choose_engineer_region_and_state(
    desk: FlaskClient, ticket: Ticket, customer: Customer, engineer: User, colleague: User, dispatcher: User
) -> None:
    away = Site(customer_id=customer.id, name="二号厂房", address="上海市宝山区示例路9号", region="宝山")
    add(away)
    mine = planned(ticket, engineer, dispatcher, AFTERNOON - timedelta(hours=2))
    theirs = planned(ticket, colleague, dispatcher, AFTERNOON + timedelta(hours=1))
    _move(theirs, away)

    def shown(query: str) -> list[bool]:
        lanes = page(desk, query).split('id="lanes"')[1]
        return [f'data-visit-id="{each.id}"' in lanes for each in (mine, theirs)]

    assert shown("") == [True, True]
    assert shown(f"?engineer={engineer.id}") == [True, False]
    assert shown("?region=宝山") == [False, True]
    assert shown("?state=late") == [True, False]
    assert shown("?state=open") == [True, True]
    assert shown("?state=accepted") == [False, False]
    assert ">宝山</option>" in page(desk)
    assert " selected>嘉定</option>" in page(desk, "?region=嘉定")


@operation
def _move(visit: Visit, site: Site) -> None:
    visit.site_id = site.id


@pytest.mark.parametrize(
    "query", ["?day=tomorrow", "?day=0001-01-01", "?day=9999-12-31", "?engineer=wanglei", "?state=asleep"]
)
def test_what_the_address_says_wrongly_is_said_in_a_sentence(desk: FlaskClient, query: str) -> None:
    for path in ("/dispatch", "/dispatch/table", "/dispatch/table.csv", "/dispatch/states"):
        answer = desk.get(path + query, headers={"Accept": "application/json"})
        assert answer.status_code == 422
        assert answer.get_json()["message"]


# ---- what waits -----------------------------------------------------------------------------------------


def test_tickets_wait_until_somebody_goes(
    desk: FlaskClient, ticket: Ticket, another: Callable[..., Ticket], engineer: User, dispatcher: User
) -> None:
    another(subject="已解决的", status="resolved")
    urgent = another(subject="生产线停了", priority="urgent")

    waiting = aside(page(desk))

    assert waiting.index(str(urgent.id)) < waiting.index(str(ticket.id)), "urgent first"
    assert "已解决的" not in waiting
    assert f"/dispatch/tickets/{urgent.id}/plan" in waiting

    planned(urgent, engineer, dispatcher, AFTERNOON + timedelta(hours=1))

    assert str(urgent.id) not in aside(page(desk))


def test_a_settled_ticket_waits_again_only_when_it_is_reopened(
    desk: FlaskClient, ticket: Ticket, working: Visit, engineer: User
) -> None:
    signed(working, engineer)
    assert str(ticket.id) not in aside(page(desk))

    _reopen(ticket)

    assert str(ticket.id) in aside(page(desk))


@operation
def _reopen(ticket: Ticket) -> None:
    ticket.status = "reopened"


def test_a_declined_visit_comes_back_with_its_reason(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    visits.decline(visit, "当天要去宝山", by=engineer)

    waiting = aside(page(desk))

    assert f'data-visit-id="{visit.id}" data-status="draft"' in waiting
    assert "王磊: 当天要去宝山" in waiting
    assert "Declined" in waiting


def test_a_follow_up_waits_with_its_reason(desk: FlaskClient, working: Visit, engineer: User) -> None:
    visits.cannot_complete(working, "主板到货后再来", by=engineer)

    waiting = aside(page(desk))

    assert "Follow-up" in waiting
    assert "主板到货后再来" in waiting
    assert "Visit before: Today 15:10" in waiting


def test_an_empty_day_says_what_to_do_next(desk: FlaskClient) -> None:
    html = page(desk)

    assert "Everything is planned." in html
    assert "No engineer to show." in html
    assert "Needs a person" not in html


# ---- what needs a person ----------------------------------------------------------------------------------


def test_deliveries_that_gave_up_are_counted(desk: FlaskClient) -> None:
    _give_up("held", "dead", "delivered")

    html = page(desk)

    assert "2 deliveries to the ticket store gave up" in html
    assert 'href="/deliveries"><svg' in html


@operation
def _give_up(*states: str) -> None:
    for state in states:
        outbox.promise("visit_unfinished", {"n": state}, lane=state).state = state


def test_an_open_item_past_its_promise_needs_a_person(
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
    working: Visit,
    engineer: User,
    afternoon: Traveller,
) -> None:
    promised = (AFTERNOON + timedelta(days=2)).date()
    form = filled(outcome="remaining", open_items=(OpenLine(text="更换硬盘背板", promised_by=promised),))
    signed(working, engineer, form)
    assert "更换硬盘背板</span>" not in page(logged_in(dispatcher))

    afternoon.shift(timedelta(days=3))
    desk = logged_in(dispatcher)

    html = page(desk)
    assert "Promised for Yesterday" in html
    assert "更换硬盘背板</span>" in html
    assert f"/dispatch/tickets/{working.ticket_id}/plan" in html

    _close_items()

    assert "更换硬盘背板</span>" not in page(desk)


@operation
def _close_items() -> None:
    for item in db.session.query(OpenItem):
        item.closed_at = clock.now()


def test_records_wait_for_the_manager(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    working: Visit,
    engineer: User,
    manager: User,
) -> None:
    signed(working, engineer)

    for_dispatcher, for_manager = page(desk), page(logged_in(manager))

    assert "1 record waits for the manager" in for_dispatcher
    attention = for_dispatcher[: for_dispatcher.index('id="lanes"')]
    assert f'href="/visits/{working.id}"' in attention
    assert 'href="/dispatch/reviews"' in for_manager
