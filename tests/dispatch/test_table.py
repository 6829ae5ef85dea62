"""The visits as a table, as a file, and the manager's list."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from time_machine import Traveller

from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer
from fieldapp.dispatch import queries
from fieldapp.extensions import operation
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.dispatch.conftest import AFTERNOON, planned
from tests.records.samples import signed


def rows(answer: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.removeprefix("\ufeff"))))


def test_the_table_shows_the_day_or_its_week(
    desk: FlaskClient, ticket: Ticket, engineer: User, dispatcher: User
) -> None:
    today = planned(ticket, engineer, dispatcher, AFTERNOON + timedelta(hours=1))
    friday = planned(ticket, engineer, dispatcher, AFTERNOON + timedelta(days=2))

    day, week = desk.get("/dispatch/table").text, desk.get("/dispatch/table?span=week").text

    assert f'data-visit-id="{today.id}" data-status="scheduled"' in day
    assert str(friday.id) not in day
    assert str(friday.id) in week
    assert "No visits here." in desk.get("/dispatch/table?day=2026-12-01").text


def test_the_file_holds_the_rows_of_the_table(desk: FlaskClient, visit: Visit) -> None:
    answer = desk.get("/dispatch/table.csv?span=week")

    assert answer.mimetype == "text/csv"
    assert 'filename="visits-2026-11-18.csv"' in answer.headers["Content-Disposition"]
    assert answer.data.startswith(b"\xef\xbb\xbf"), "spreadsheets need the mark to read Chinese"
    head, row = rows(answer.text)
    assert head[:4] == ["Window from", "Window to", "Engineer", "State"]
    assert row[:5] == ["2026-11-18 15:10", "2026-11-18 15:40", "王磊", "Assigned", "华东精密机械有限公司"]


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "\u3000=1"])
def test_no_cell_is_taken_for_a_formula(desk: FlaskClient, visit: Visit, customer: Customer, name: str) -> None:
    _rename(customer, name)

    row = rows(desk.get("/dispatch/table.csv").text)[1]

    assert row[4] == f"'{name}".replace("\r", "\n") or row[4] == f"'{name}"


@operation
def _rename(customer: Customer, name: str) -> None:
    customer.name = name


def test_the_manager_sees_what_waits_newest_first_and_only_signed_records(
    logged_in: Callable[[User], FlaskClient],
    desk: FlaskClient,
    working: Visit,
    another: Callable[..., Ticket],
    engineer: User,
    dispatcher: User,
    manager: User,
) -> None:
    signed(working, engineer)
    unsigned = planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=3))
    for step in (visits.accept, visits.depart, visits.arrive):
        step(unsigned, by=engineer)
    visits.cannot_complete(unsigned, "门锁着", by=engineer)
    browser = logged_in(manager)

    html = browser.get("/dispatch/reviews").text

    assert f'href="/visits/{working.id}/review"' in html
    assert str(unsigned.id) not in html

    _review(working, manager)

    assert "Nothing waits for your signature." in browser.get("/dispatch/reviews").text


@operation
def _review(visit: Visit, manager: User) -> None:
    visits.step(visit, "reviewed", by=manager, told=None)


def test_the_managers_list_has_pages(
    logged_in: Callable[[User], FlaskClient],
    working: Visit,
    engineer: User,
    manager: User,
    another: Callable[..., Ticket],
    dispatcher: User,
    afternoon: Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queries, "PAGE", 1)
    signed(working, engineer)
    afternoon.shift(timedelta(hours=2))
    newer = planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=3))
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(newer, by=engineer)
    signed(newer, engineer)
    browser = logged_in(manager)

    first = browser.get("/dispatch/reviews").text
    second = browser.get("/dispatch/reviews", query_string={"before": newer.closed_at.isoformat()}).text  # type: ignore[union-attr]

    assert (str(newer.id) in first, str(working.id) in first) == (True, False)
    assert 'rel="next"' in first
    assert (str(newer.id) in second, str(working.id) in second) == (False, True)
    assert 'rel="next"' not in second
