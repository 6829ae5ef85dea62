"""News of tickets at the dispatcher's desk, and what a ticket that ended means for a visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.models import Case
from fieldapp.sync import ended
from fieldapp.tickets.models import PullCursor, Ticket, TicketNews
from fieldapp.tickets.operations import lose, take_in
from fieldapp.tickets.store import StoreTicket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.today.test_cost import asked

Tell = Callable[..., None]


@pytest.fixture
def tell(ticket: Ticket) -> Tell:
    """``tell(status="closed")``: the store says that somebody changed the ticket."""
    versions = iter(range(2, 1000))

    def change(**changes: Any) -> None:
        plain: dict[str, Any] = {
            "ref": ticket.ref,
            "version": str(next(versions)),
            "opened": ticket.opened_at,
            "updated": clock.now(),
            "subject": ticket.subject,
            "text": ticket.text,
            "status": ticket.status,
            "changed_by": "客服小李",
            "fields": {"number": ticket.number},
        }
        take_in(StoreTicket(**{**plain, **changes}))

    return change


def page(browser: FlaskClient, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return answer.text


# ---- news on the board -----------------------------------------------------------------------------------


def test_the_board_says_what_changed_from_what_to_what_and_by_whom(desk: FlaskClient, tell: Tell) -> None:
    assert "News of tickets" not in page(desk, "/dispatch")

    tell(status="waiting_customer")

    html = page(desk, "/dispatch")
    assert "Status: New → Waiting for the customer · 客服小李" in html
    assert 'href="/dispatch/news"' in html


def test_the_board_shows_the_newest_three_and_how_many_there_are(desk: FlaskClient, tell: Tell) -> None:
    for word in ("triaged", "in_progress", "waiting_customer", "reopened", "in_progress"):
        tell(status=word)

    html = page(desk, "/dispatch")

    assert html.count('data-news="changed"') == 3
    assert "5 changes in tickets" in html


def test_the_board_costs_the_same_with_little_and_with_much_news(desk: FlaskClient, tell: Tell) -> None:
    for word in ("triaged", "in_progress", "waiting_customer", "triaged"):
        tell(status=word)
    with asked() as few:
        page(desk, "/dispatch")
    for _turn in range(60):
        for word in ("reopened", "in_progress"):
            tell(status=word)

    with asked() as many:
        html = page(desk, "/dispatch")

    assert len(many) == len(few)
    assert "100 changes in tickets" in html


def test_a_line_is_seen_once_and_then_stands_among_the_seen_ones(desk: FlaskClient, tell: Tell) -> None:
    tell(subject="换硬盘", text="补充", fields={"number": "T-1", "priority": "urgent"})
    html = page(desk, "/dispatch/news")
    for words in ("Priority: Normal → Urgent", "Subject: 服务器无法启动 → 换硬盘", "The description was changed."):
        assert words in html
    line = db.session.scalars(select(TicketNews.id)).one()

    answer = desk.post(f"/dispatch/news/{line}/seen", data={"submission_id": str(uuid7())})

    assert (answer.status_code, answer.location) == (303, "/dispatch/news")
    assert "Nothing new." in page(desk, "/dispatch/news")
    assert "News of tickets" not in page(desk, "/dispatch")
    assert "Seen by 赵敏" in page(desk, "/dispatch/news?state=seen")


def test_a_merge_names_the_other_ticket_by_the_number_that_people_know(desk: FlaskClient, tell: Tell) -> None:
    opened = clock.now()
    other = StoreTicket(
        ref="9d385017c611",
        version="1",
        opened=opened,
        updated=opened,
        subject="?",
        status="new",
        fields={"number": "INC0042"},
    )
    take_in(other, quiet=True)

    tell(status="closed", merged_into="9d385017c611")

    html = page(desk, "/dispatch/news")
    assert "It is a part of INC0042 now." in html
    assert "9d385017c611" not in html


def test_all_is_seen_up_to_what_the_page_showed(desk: FlaskClient, tell: Tell) -> None:
    tell(status="triaged")
    shown = db.session.scalars(select(TicketNews.id)).one()
    tell(status="in_progress")

    desk.post("/dispatch/news/seen", data={"newest": str(shown), "submission_id": str(uuid7())})
    refused = desk.post("/dispatch/news/seen", data={"newest": "x", "submission_id": str(uuid7())})

    assert refused.status_code == 422
    html = page(desk, "/dispatch/news")
    assert "Triaged → In progress" in html
    assert "New → Triaged" not in html


def test_the_page_says_when_reading_the_store_fails(desk: FlaskClient) -> None:
    add(PullCursor(store="embedded", pulled_at=clock.now(), last_error="the line is down", scan_error="30 of 60"))

    html = page(desk, "/dispatch/news?before=nonsense")

    assert "the line is down" in html
    assert "30 of 60" in html


# ---- a ticket that ended while somebody goes there -------------------------------------------------------


def cases() -> list[Case]:
    return list(db.session.scalars(select(Case).order_by(Case.id)))


def test_a_ticket_that_was_closed_asks_the_dispatcher_and_takes_nothing_from_the_engineer(
    desk: FlaskClient,
    tell: Tell,
    visit: Visit,
    logged_in: Callable[[User], FlaskClient],
    engineer: User,
) -> None:
    phone = logged_in(engineer)
    before = phone.get("/offline/pack", headers={"Accept": "application/json"}).json
    tell(status="closed")
    ended.explain("embedded")
    ended.explain("embedded")

    case = cases()[0]
    assert (len(cases()), case.kind, case.visit_id) == (1, "ticket_ended", visit.id)
    assert "was ended in the ticket store (Closed)" in page(desk, "/exceptions")
    html = page(desk, f"/exceptions/{case.id}")
    assert "It was done there by 客服小李" in html
    assert "cancel the visit and tell the customer" in html
    assert "The office ended this ticket in the ticket store." in page(phone, f"/visits/{visit.id}")
    visits.accept(visit, by=engineer)
    assert visit.status == "accepted"
    after = phone.get("/offline/pack", headers={"Accept": "application/json"}).json
    assert digest(before, f"/visits/{visit.id}") != digest(after, f"/visits/{visit.id}")


def digest(pack: Any, url: str) -> str:
    return str(next(each["digest"] for each in pack["pages"] if each["url"] == url))


def test_a_merged_ticket_says_where_the_work_is_delivered(
    desk: FlaskClient, tell: Tell, working: Visit, another: Callable[..., Ticket], engineer: User,
    logged_in: Callable[[User], FlaskClient],
) -> None:  # fmt: skip
    survivor = another(ref="T-9", number="T-20261121-0009")
    tell(status="closed", merged_into="T-9")
    ended.explain("embedded")

    html = page(desk, f"/exceptions/{cases()[0].id}")

    assert f"became a part of {survivor.number}" in html
    assert f"delivered to ticket {survivor.number}" in html
    assert "goes on working" in html
    assert "a part of T-9" in page(logged_in(engineer), f"/visits/{working.id}")


def test_a_ticket_that_is_gone_is_explained_on_both_sides(
    desk: FlaskClient, ticket: Ticket, visit: Visit, engineer: User, logged_in: Callable[[User], FlaskClient]
) -> None:
    lose(ticket)
    ended.explain("embedded")

    assert "is not in the ticket store any more" in page(desk, f"/exceptions/{cases()[0].id}")
    assert "is not in the ticket store any more" in page(logged_in(engineer), f"/visits/{visit.id}")
    assert "does not have it any more" in page(desk, "/dispatch/news")
    assert ticket.number not in page(desk, "/dispatch").split('id="waiting"')[1]


def test_a_ticket_that_is_opened_again_settles_the_case_by_itself(tell: Tell, visit: Visit) -> None:
    tell(status="closed")
    ended.explain("embedded")

    tell(status="reopened")
    ended.explain("embedded")

    assert cases()[0].decision == "The ticket is open again."
    tell(status="suspended")
    ended.explain("embedded")
    assert [case.settled_at is None for case in cases()] == [False, True]


def test_seen_settles_the_case_and_it_is_not_asked_again(desk: FlaskClient, tell: Tell, visit: Visit) -> None:
    tell(status="closed")
    ended.explain("embedded")

    desk.post(f"/exceptions/{cases()[0].id}/settlement", data={"note": "已电话确认", "submission_id": str(uuid7())})
    tell(status="closed", text="又一条备注")
    ended.explain("embedded")

    assert [case.decision for case in cases()] == ["已电话确认"]
    assert "What to decide" not in page(desk, f"/exceptions/{cases()[0].id}")


def test_a_draft_and_a_finished_visit_ask_nobody(tell: Tell, ticket: Ticket, visit: Visit, dispatcher: User) -> None:
    visits.draft(ticket, by=dispatcher)

    @operation
    def finish() -> None:
        db.session.execute(update(Visit).where(Visit.id == visit.id).values(status="completed", closed_at=clock.now()))

    finish()
    tell(status="closed")

    assert ended.explain("embedded") == 0
    assert cases() == []


def test_a_visit_that_ended_before_anybody_decided_is_said_to_be_over(
    desk: FlaskClient, tell: Tell, visit: Visit, dispatcher: User
) -> None:
    tell(status="closed")
    ended.explain("embedded")
    visits.cancel(visit, "客户取消", by=dispatcher)

    assert "The visit is over meanwhile." in page(desk, f"/exceptions/{cases()[0].id}")
