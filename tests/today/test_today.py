"""The engineer's day: what comes next, what is left over, the week around it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask.testing import FlaskClient

from fieldapp.accounts.models import User
from fieldapp.visits import operations
from fieldapp.visits.models import Visit
from tests.today.conftest import GiveVisit

NOON = datetime(2026, 11, 18, 4, 0, tzinfo=UTC)  # Wednesday, 12:00 in Shanghai
pytestmark = pytest.mark.usefixtures("at_noon")


@pytest.fixture
def at_noon(app: object) -> object:
    with time_machine.travel(NOON, tick=False):
        yield


def shown(page: str) -> list[tuple[str, str]]:
    """``(id, status)`` of the visits on a page, in their order."""
    return re.findall(r'data-visit-id="([^"]+)" data-status="([^"]+)"', page)


def hours(number: float) -> datetime:
    return NOON + timedelta(hours=number)


def test_an_empty_day_says_what_to_do(phone: FlaskClient) -> None:
    page = phone.get("/").text

    assert "No visits today." in page
    assert "as soon as the dispatcher assigns it" in page
    assert shown(page) == []


def test_an_empty_day_leads_to_the_next_visit(phone: FlaskClient, give: GiveVisit) -> None:
    visit = give(hours(48))

    page = phone.get("/").text

    assert "Next: Fri 20 Nov 12:00–12:30, 华东精密机械有限公司" in page
    assert f'href="/visits/{visit.id}"' in page.split('class="actionbar"')[1]


def test_the_next_visit_is_the_large_card_with_its_step(phone: FlaskClient, give: GiveVisit) -> None:
    later, soon = give(hours(3)), give(hours(0.4), bring="电源模块")

    page = phone.get("/").text

    assert shown(page) == [(str(soon.id), "scheduled"), (str(later.id), "scheduled")]
    card = page.split("<section")[1].split("</section>")[0]
    for words in (
        "12:24–12:54",
        "in 24 min",
        "华东精密机械有限公司",
        "上海市松江区示例路88号",
        "服务器无法启动",
        "电源模块",
    ):
        assert words in card
    assert f'action="/visits/{soon.id}/acceptance"' in page.split('class="actionbar"')[1]


@pytest.mark.parametrize(
    ("start", "words"), [(0.75, "in 45 min"), (2.25, "in 2 h 15 min"), (-0.2, "now"), (-1.2, "42 min late")]
)
def test_the_distance_of_the_next_visit_is_said_as_people_do(
    start: float, words: str, phone: FlaskClient, give: GiveVisit
) -> None:
    give(hours(start))

    assert f"</svg>{words}</span>" in phone.get("/").text


def test_the_visit_under_way_comes_before_an_earlier_one_and_is_not_late(
    phone: FlaskClient, give: GiveVisit, engineer: User
) -> None:
    waiting, working = give(hours(-2)), give(hours(-1))
    for step in (operations.accept, operations.depart, operations.arrive, operations.start):
        step(working, by=engineer)

    page = phone.get("/").text

    assert shown(page) == [(str(working.id), "working"), (str(waiting.id), "scheduled")]
    assert f'href="/visits/{working.id}/record"' in page.split('class="actionbar"')[1]
    assert page.count(" late<") == 1


def test_what_earlier_days_left_over_comes_before_the_rest_of_the_day(
    phone: FlaskClient, give: GiveVisit, engineer: User
) -> None:
    first, done, later = give(hours(1)), give(hours(-3)), give(hours(4))
    left = give(hours(-25))
    for step in (operations.accept, operations.depart, operations.arrive):
        step(done, by=engineer)
    operations.cannot_complete(done, "缺备件", by=engineer)

    page = phone.get("/").text

    assert [each for each, _status in shown(page)] == [str(visit.id) for visit in (first, left, later, done)]
    assert "Not finished on earlier days" in page
    assert "Yesterday 11:00–11:30" in page


def test_when_only_something_left_over_remains_it_is_next(phone: FlaskClient, give: GiveVisit) -> None:
    left = give(hours(-49))

    page = phone.get("/").text

    assert shown(page) == [(str(left.id), "scheduled")]
    assert "Mon 16 Nov <span>11:00–11:30" in page


def test_when_all_is_done_it_says_so(phone: FlaskClient, give: GiveVisit, engineer: User) -> None:
    done = give(hours(-1))
    for step in (operations.accept, operations.depart):
        step(done, by=engineer)
    operations.no_show(done, "", by=engineer)

    page = phone.get("/").text

    assert "All visits of today are done." in page
    assert shown(page) == [(str(done.id), "no_show")]


def test_the_week_strip_counts_and_leads_to_each_day(phone: FlaskClient, give: GiveVisit, dispatcher: User) -> None:
    thursday = give(hours(24))
    give(hours(26))
    canceled = give(hours(28))
    operations.cancel(canceled, "客户取消", by=dispatcher)

    today, other = phone.get("/").text, phone.get("/?day=2026-11-19").text

    assert '<span class="unseen"> Thursday, November 19, 2026: 2 visits</span>' in today
    assert 'href="/?day=2026-11-18" aria-current="date" class="today"' in today
    assert 'href="/?day=2026-11-11"' in today
    assert 'href="/?day=2026-11-25"' in today
    assert shown(other)[0] == (str(thursday.id), "scheduled")
    assert "<h1>Tomorrow</h1>" in other
    assert "Back to today" in other


def test_a_day_without_visits_says_so(phone: FlaskClient) -> None:
    assert "No visits on this day." in phone.get("/?day=2026-12-24").text


@pytest.mark.parametrize("day", ["tomorrow", "2026-13-01", "1999-12-31", "9999-12-31", "0001-01-01"])
def test_what_is_no_day_is_refused_with_a_sentence(day: str, phone: FlaskClient) -> None:
    answer = phone.get(f"/?day={day}")

    assert answer.status_code == 422
    assert "day" in answer.text


def test_a_day_is_the_day_of_shanghai(phone: FlaskClient, give: GiveVisit) -> None:
    late = give(datetime(2026, 11, 18, 15, 30, tzinfo=UTC))  # 23:30, until midnight
    early = give(datetime(2026, 11, 18, 16, 0, tzinfo=UTC))  # 00:00 of Thursday

    assert [each for each, _status in shown(phone.get("/?day=2026-11-18").text)] == [str(late.id)]
    assert [each for each, _status in shown(phone.get("/?day=2026-11-19").text)] == [str(early.id)]


def test_a_colleagues_visits_are_not_on_my_day(phone: FlaskClient, give: GiveVisit, colleague: User) -> None:
    give(hours(1), colleague)

    assert shown(phone.get("/").text) == []


def test_the_office_works_on_its_board(
    logged_in: Callable[[User], FlaskClient], dispatcher: User, manager: User, admin: User
) -> None:
    for person in (dispatcher, manager, admin):
        answer = logged_in(person).get("/")
        assert (answer.status_code, answer.location) == (302, "/dispatch")


def test_a_stranger_is_asked_to_log_in(client: FlaskClient) -> None:
    assert client.get("/").location.startswith("/login")


def test_the_day_is_said_in_the_persons_language(phone: FlaskClient, visit: Visit) -> None:
    page = phone.get("/?lang=zh-TW").text

    assert '<html lang="zh-TW">' in page
    assert "<span>三</span>" in page
