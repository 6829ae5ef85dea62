"""What the phones' part asks of a database in its own words, asked of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.errors import NotFound
from fieldapp.extensions import db, uuid7
from fieldapp.offline.models import Case, Device, Submission
from fieldapp.offline.operations import bump_epoch, identity, open_case
from fieldapp.records import operations as records
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from fieldapp.visits.queries import events_of, own_or_former_visit_or_404
from tests.conftest import Browser
from tests.offline.queue import Item, receipt_of, step
from tests.offline.test_late_facts import told_by
from tests.offline.test_whatever_comes import whatever_comes
from tests.records.samples import filled
from tests.test_postgresql import app, at_head, at_once, cluster, url

__all__ = ["app", "at_head", "cluster", "url"]
pytestmark = pytest.mark.postgresql


def phone_of(app: Flask, user: User) -> FlaskClient:
    app.test_client_class = Browser
    browser = app.test_client()
    browser.set_cookie(accounts.COOKIE, accounts.open_session(user, user_agent="tests", address="127.0.0.1"))
    return browser


def rows(model: type) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(model)) or 0


def test_a_day_that_the_office_planned_otherwise(
    app: Flask, visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    phone = phone_of(app, engineer)
    at = clock.now() - timedelta(hours=2)
    visits.plan(visit, Plan(lead_id=colleague.id, window_start=at + timedelta(hours=4)), by=dispatcher)

    outcomes = []
    for n, noun in enumerate(("acceptance", "departure", "arrival", "start", "pause")):
        item = step(visit.id, noun, at=at + timedelta(minutes=n), sequence=n + 1, reason="lunch")
        sent = item.sent(
            phone, sent_at=clock.now() + timedelta(days=900), X_Waiting=str(5 - n), X_Oldest=at.isoformat()
        )
        outcomes.append(receipt_of(sent)["outcome"])
        assert receipt_of(item.sent(phone))["replayed"]
    phone.post("/offline/contact", data={"device": "x", "storage_quota": "60000000000", "waiting": "1000000"})
    db.session.refresh(visit)
    second = visits.seat(visit, by=engineer, told=told_by(engineer))

    assert outcomes == ["noted"] * 4 + ["quarantined"]
    assert second.arrived_at is not None
    assert [event.type for event in events_of(second)] == ["seated"]
    assert (rows(Submission), rows(Device), rows(Case)) == (5, 2, 2)
    for someone in (engineer, colleague):
        assert own_or_former_visit_or_404(visit.id, someone)
    with pytest.raises(NotFound):
        own_or_former_visit_or_404(visit.id, dispatcher)


def test_the_same_item_twenty_times_at_once(app: Flask, visit: Visit, engineer: User) -> None:
    phone_of(app, engineer)
    token = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")
    item = step(visit.id, "pause", reason="lunch")

    def send() -> tuple[int, object]:
        browser = app.test_client()
        browser.set_cookie(accounts.COOKIE, token)
        answer = item.sent(browser)
        assert answer.json is not None
        return answer.status_code, answer.json.get("error", answer.json.get("outcome"))

    answers = at_once(app, *[send] * 20)

    assert set(answers) <= {(200, "quarantined"), (409, "in_progress")}
    assert (200, "quarantined") in answers
    assert (rows(Submission), rows(Device), rows(Case)) == (1, 1, 1)


def test_two_new_items_of_a_new_phone_at_once(app: Flask, visit: Visit, engineer: User) -> None:
    phone_of(app, engineer)
    token = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")
    items = [step(visit.id, "departure", sequence=n) for n in range(6)]

    def sender(n: int):  # type: ignore[no-untyped-def]
        def send() -> int:
            browser = app.test_client()
            browser.set_cookie(accounts.COOKIE, token)
            return items[n].sent(browser).status_code

        return send

    answers = at_once(app, *[sender(n) for n in range(6)])

    assert set(answers) <= {200, 409}
    for n, answer in enumerate(answers):
        if answer == 409:  # in progress: the phone asks again
            assert sender(n)() == 200
    assert (rows(Submission), rows(Device)) == (6, 1)


def test_the_office_decides_while_the_phone_goes_on_saving(
    app: Flask, visit: Visit, engineer: User, dispatcher: User
) -> None:
    """X12: neither gets into the other's way, whoever comes first."""
    phone = phone_of(app, engineer)
    for noun in ("arrival", "start"):
        receipt_of(step(visit.id, noun).sent(phone))
    records.save(visit, filled(content_text="办公室写的"), by=engineer)
    receipt_of(saving(visit, "更换主板").sent(phone))
    case = db.session.scalars(select(Case)).one()
    chosen = {f"choice-{name}": "office" for name in case.facts["fields"]}
    tokens = [accounts.open_session(user, user_agent="tests", address="::1") for user in (engineer, dispatcher)]
    items, decision = [saving(visit, f"更换主板 {n}") for n in range(8)], f"/exceptions/{case.id}/settlement"
    db.session.rollback()

    def browser(token: str) -> FlaskClient:
        made = app.test_client()
        made.set_cookie(accounts.COOKIE, token)
        return made

    def saves(item: Item) -> Callable[[], int]:
        return lambda: item.sent(browser(tokens[0])).status_code

    def decide() -> int:
        return browser(tokens[1]).post(decision, data=chosen).status_code

    answers = at_once(app, *(saves(item) for item in items[:4]), decide, *(saves(item) for item in items[4:]))

    assert answers.pop(4) == 303
    assert set(answers) <= {200, 409}, "taken, or asked to come again in a moment"


def saving(visit: Visit, words: str) -> Item:
    return step(visit.id, "record", service_type="maintenance", content_text=words, outcome="all_done")


def test_whatever_a_phone_sends_fits_the_columns(
    app: Flask, ticket: Ticket, engineer: User, colleague: User, dispatcher: User
) -> None:
    whatever_comes(app, ticket, engineer, colleague, dispatcher)


def test_one_case_for_one_cause_at_once(app: Flask) -> None:
    def opened() -> object:
        return open_case("conflict", unique_for="the same").id

    assert len(set(at_once(app, *[opened] * 8))) == 1
    assert rows(Case) == 1


def test_the_epoch_grows_with_each_restore(app: Flask) -> None:
    epochs = set(at_once(app, *[bump_epoch] * 4))

    assert len(epochs) == 4
    assert identity().epoch == max(epochs)  # type: ignore[type-var]
    assert uuid7() > identity().server
