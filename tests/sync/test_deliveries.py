"""The page of deliveries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import outbox
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db, uuid7
from fieldapp.outbox import Promise
from fieldapp.sync import handlers, operations, worker
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Rejected, Retry


@pytest.fixture
def office(logged_in: Callable[[User], FlaskClient], dispatcher: User) -> FlaskClient:
    return logged_in(dispatcher)


@pytest.fixture
def held(filed: Ticket, unfinished: Callable[[Ticket], Promise], monkeypatch: pytest.MonkeyPatch) -> Promise:
    """A delivery that the store refused."""
    row = unfinished(filed)

    def refuse(_claim: outbox.Claim) -> None:
        raise Rejected("The store has no such ticket.")

    with monkeypatch.context() as refusing:
        refusing.setitem(handlers.HANDLERS, "visit_unfinished", refuse)
        worker.run_once("w")
    return row


def page(browser: FlaskClient) -> str:
    db.session.rollback()
    return browser.get("/deliveries").get_data(as_text=True)


def test_an_empty_page_says_that_no_worker_runs(office: FlaskClient) -> None:
    text = page(office)

    assert "No worker runs" in text
    assert "Everything is delivered." in text
    assert "The ticket store was not read yet." in text


def test_the_page_says_when_the_worker_and_the_store_were_last_heard_of(office: FlaskClient) -> None:
    operations.beat("w")
    worker.pull_now()

    text = page(office)

    assert "The worker runs" in text
    assert "The ticket store was read" in text


def test_what_waits_was_tried_and_was_delivered_is_told_in_plain_words(
    office: FlaskClient,
    filed: Ticket,
    unfinished: Callable[[Ticket], Promise],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unfinished(filed)
    assert "Tell the ticket that the visit could not be finished" in page(office)
    assert filed.number in page(office)

    def fail(_claim: outbox.Claim) -> None:
        raise Retry("The line is down.")

    with monkeypatch.context() as failing:
        failing.setitem(handlers.HANDLERS, "visit_unfinished", fail)
        worker.run_once("w")
    text = page(office)
    assert "Tried, will try again" in text
    assert "The line is down." in text

    office.post(f"/deliveries/{db.session.scalars(select(Promise.id)).one()}/retry")
    worker.run_once("w")
    text = page(office)
    assert "Settled today (1)" in text
    assert "Delivered" in text


def test_try_again_sends_what_was_held_and_is_audited(office: FlaskClient, held: Promise) -> None:
    shown = page(office)
    assert "The store has no such ticket." in shown
    assert f'action="/deliveries/{held.id}/retry"' in shown
    assert f'action="/deliveries/{held.id}/skip"' in shown

    answer = office.post(f"/deliveries/{held.id}/retry")
    worker.run_once("w")

    assert answer.location == "/deliveries"
    db.session.refresh(held)
    assert held.state == "delivered"
    assert "delivery.retried" in db.session.scalars(select(AuditEntry.action)).all()


def test_leaving_out_needs_a_reason_and_shows_who_did_it(office: FlaskClient, held: Promise) -> None:
    refused = office.post(f"/deliveries/{held.id}/skip", data={"reason": " "})
    assert refused.status_code == 422
    assert "Say why this is left." in refused.get_data(as_text=True)
    program = office.post(f"/deliveries/{held.id}/skip", headers={"Accept": "application/json"})
    assert program.json["fields"] == {"reason": "Say why this is left."}

    answer = office.post(f"/deliveries/{held.id}/skip", data={"reason": "已电话告知"})

    assert answer.status_code == 303
    text = page(office)
    assert "Left out by 赵敏: 已电话告知" in text
    assert "delivery.skipped" in db.session.scalars(select(AuditEntry.action)).all()


def test_all_that_is_held_can_be_tried_again_together(office: FlaskClient, held: Promise) -> None:
    office.post("/deliveries/retry")
    worker.run_once("w")

    db.session.refresh(held)
    assert held.state == "delivered"


def test_what_waits_behind_another_delivery_says_so(
    office: FlaskClient, held: Promise, filed: Ticket, unfinished: Callable[[Ticket], Promise]
) -> None:
    unfinished(filed)

    assert "An earlier delivery of this ticket comes first" in page(office)


def test_a_store_that_cannot_be_read_is_named(office: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dark(handlers.push.STORES["embedded"]):  # type: ignore[misc,name-defined]
        def changes(self, cursor: str, limit: int) -> None:
            raise Retry("The line is down.")

    monkeypatch.setitem(handlers.push.STORES, "embedded", Dark)
    worker.pull_now()

    assert "The ticket store could not be read: The line is down." in page(office)


def test_only_the_office_sees_deliveries(
    logged_in: Callable[[User], FlaskClient], engineer: User, client: FlaskClient, office: FlaskClient
) -> None:
    assert logged_in(engineer).get("/deliveries").status_code == 403
    assert client.get("/deliveries").location.startswith("/login")
    assert office.post(f"/deliveries/{uuid7()}/retry").status_code == 404
