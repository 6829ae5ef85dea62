"""While a customer holds the phone, it shows that customer's pages and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp.accounts import handover
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginSession, User
from fieldapp.errors import PROGRAMS_ONLY, Invalid
from fieldapp.extensions import db
from fieldapp.security import EVERYONE, requires
from tests.accounts.conftest import PIN, give, hashed
from tests.conftest import PASSWORD

LogIn = Callable[[User], FlaskClient]
JSON = {"Accept": "application/json"}
VISIT = UUID("01930000-0000-7000-8000-000000000001")
THERE = f"/visits/{VISIT}/customer-test"


@pytest.fixture(autouse=True)
def customer_page(app: Flask) -> None:
    """A page that the customer may use."""

    @app.route("/visits/<uuid:visit_id>/customer-test", methods=["GET", "POST"])
    @requires(*EVERYONE)
    @handover.allowed
    def customer_test(visit_id: UUID) -> str:
        return "for the customer"


@pytest.fixture
def handed(logged_in: LogIn, wang: User) -> FlaskClient:
    """The engineer's phone in the customer's hand."""
    browser = logged_in(wang)
    accounts.hand_over(session_of(wang).id, VISIT)
    return browser


def session_of(user: User) -> LoginSession:
    db.session.rollback()
    return db.session.scalars(select(LoginSession).where(LoginSession.user_id == user.id)).one()


def customers_page(app: Flask) -> str:
    with app.test_request_context():
        return app.url_for("records.hand_over", visit_id=VISIT)


def test_the_customer_reaches_the_pages_made_for_them(handed: FlaskClient) -> None:
    assert handed.get(THERE).text == "for the customer"
    assert handed.post(THERE).text == "for the customer"


def test_every_other_page_leads_back_to_the_customers(app: Flask, handed: FlaskClient) -> None:
    arguments = {"visit_id": VISIT, "user_id": uuid4(), "login_session_id": uuid4(), "token": "x" * 43}
    tried = set()
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        simple = rule.arguments <= set(arguments)
        if rule.endpoint.startswith(("assets.", "shell.")) or getattr(view, "while_handed_over", False) or not simple:
            continue
        with app.test_request_context():
            path = app.url_for(rule.endpoint, **{name: arguments[name] for name in rule.arguments})
        for method in rule.methods & {"GET", "POST"}:
            response = handed.open(path, method=method)
            tried.add(rule.endpoint)
            role_refused = response.status_code == 403 and "engineer" not in view.access.roles
            led_back = (response.status_code, response.location) == (303, customers_page(app))
            told = path.startswith(PROGRAMS_ONLY) and response.status_code == 409
            assert led_back or role_refused or told, f"{method} {path} answered {response.status_code}"
    assert {"whoami", "accounts.account", "accounts.logout", "accounts.login", "visits.show"} <= tried


def test_another_visits_page_leads_back_too(app: Flask, handed: FlaskClient) -> None:
    assert handed.get(f"/visits/{uuid4()}/customer-test").location == customers_page(app)


def test_an_unknown_address_leads_back_too(app: Flask, handed: FlaskClient) -> None:
    assert handed.get("/no/such/page").location == customers_page(app)


def test_a_program_is_told_with_409(handed: FlaskClient) -> None:
    response = handed.get("/whoami", headers=JSON)

    assert (response.status_code, response.json["error"]) == (409, "handed_over")


def test_the_pages_parts_still_arrive(app: Flask, handed: FlaskClient) -> None:
    build = app.extensions["assets"].build

    with handed.get(f"/assets/{build}/js/main.js", buffered=True) as response:
        assert response.status_code == 200


def test_only_this_phone_is_handed_over(handed: FlaskClient, logged_in: LogIn, wang: User) -> None:
    assert logged_in(wang).get("/whoami").status_code == 200


@pytest.mark.parametrize("secret", [PIN, PASSWORD])
def test_the_engineer_takes_it_back_by_pin_or_password(
    app: Flask, handed: FlaskClient, secret: str, audited: Callable[[], list[str]]
) -> None:
    response = handed.post("/taking-back", data={"pin": secret})

    with app.test_request_context():
        assert (response.status_code, response.location) == (303, app.url_for("visits.show", visit_id=VISIT))
    assert handed.get("/whoami").status_code == 200
    assert audited() == ["session.handed_over", "session.taken_back"]


def test_a_page_that_asks_by_itself_is_told_so(handed: FlaskClient) -> None:
    json = {"Accept": "application/json"}

    wrong = handed.post("/taking-back", data={"pin": "0000"}, headers=json)
    right = handed.post("/taking-back", data={"pin": PASSWORD}, headers=json)

    assert (wrong.status_code, wrong.json["error"]) == (422, "wrong_secret")
    assert (right.status_code, right.json) == (200, {"taken_back": True})
    assert handed.get("/whoami").status_code == 200


def test_without_a_pin_the_password_is_asked(handed: FlaskClient, wang: User) -> None:
    assert "PIN</label>" in handed.get("/taking-back").text.replace(' <span class="needed">required</span>', "")

    give(wang, pin_hash=None)

    assert "You have no PIN yet" in handed.get("/taking-back").text
    assert handed.post("/taking-back", data={"pin": PASSWORD}).status_code == 303


def test_it_goes_on_to_a_page_of_ours_only(handed: FlaskClient, app: Flask) -> None:
    assert handed.post("/taking-back", data={"pin": PIN, "next": "/account"}).location == "/account"
    assert handed.post("/taking-back", data={"pin": PIN, "next": "//evil.example"}).location == "/"


def test_a_wrong_pin_changes_nothing(handed: FlaskClient, wang: User, app: Flask) -> None:
    response = handed.post("/taking-back", data={"pin": "0000", "next": "/account"})

    assert response.status_code == 422
    assert "This is not your PIN or your password." in response.text
    assert 'name="next" value="/account"' in response.text
    assert f'href="{customers_page(app)}"' in response.text
    assert session_of(wang).handed_over_to == VISIT


def test_guessing_the_pin_gets_slower(handed: FlaskClient, frozen: time_machine.Traveller) -> None:
    for _ in range(5):
        assert handed.post("/taking-back", data={"pin": "0000"}).status_code == 422

    response = handed.post("/taking-back", data={"pin": PIN})

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "2"
    frozen.shift(2)
    assert handed.post("/taking-back", data={"pin": PIN}).status_code == 303


def test_guessing_the_pin_does_not_slow_down_the_log_in(
    handed: FlaskClient, app: Flask, frozen: time_machine.Traveller
) -> None:
    for _ in range(5):
        handed.post("/taking-back", data={"pin": "0000"})

    assert app.test_client().post("/login", data={"username": "wanglei", "password": PASSWORD}).status_code == 303


def test_the_pin_of_another_does_not_fit(handed: FlaskClient, colleague: User) -> None:
    give(colleague, pin_hash=hashed("8265"))

    assert handed.post("/taking-back", data={"pin": "8265"}).status_code == 422


def test_handing_over_twice_is_once(handed: FlaskClient, wang: User, audited: Callable[[], list[str]]) -> None:
    accounts.hand_over(session_of(wang).id, VISIT)

    assert audited() == ["session.handed_over"]


def test_taking_back_what_was_not_handed_over_is_no_harm(
    logged_in: LogIn, wang: User, audited: Callable[[], list[str]]
) -> None:
    browser = logged_in(wang)

    assert accounts.take_back(session_of(wang).id, PIN) is None
    assert browser.post("/taking-back", data={"pin": PIN}).location == "/"
    assert audited() == []


def test_a_person_who_has_neither_cannot_take_it_back(app: Flask, colleague: User) -> None:
    accounts.open_session(colleague, user_agent="", address="")
    accounts.hand_over(session_of(colleague).id, VISIT)

    with pytest.raises(Invalid):
        accounts.take_back(session_of(colleague).id, "")
