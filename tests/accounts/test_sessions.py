"""A session lets its person in until it ends, expires or the person is disabled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginSession, User
from fieldapp.extensions import db
from tests.accounts.conftest import give

LogIn = Callable[[User], FlaskClient]


def is_in(browser: FlaskClient) -> bool:
    """Whether this browser's session still lets its person in."""
    return browser.get("/whoami", headers={"Accept": "application/json"}).status_code == 200


def test_the_token_lets_its_person_in(logged_in: LogIn, engineer: User, colleague: User) -> None:
    first, second = logged_in(engineer), logged_in(colleague)

    assert first.get("/whoami").json["name"] == "wanglei"
    assert second.get("/whoami").json["name"] == "liting"


def test_nobody_comes_in_without_a_token_or_with_another(client: FlaskClient, engineer: User) -> None:
    assert client.get("/whoami").location == "/login?next=/whoami"

    client.set_cookie(accounts.COOKIE, "x" * 43)

    assert client.get("/whoami", headers={"Accept": "application/json"}).status_code == 401


def test_only_a_keyed_hash_of_the_token_is_kept(app: Flask, engineer: User) -> None:
    token = accounts.open_session(engineer, user_agent="phone " * 100, address="127.0.0.1")

    kept = db.session.scalars(select(LoginSession)).one()

    assert len(token) == 43
    assert token not in repr(vars(kept))
    assert kept.token_hash == accounts.keyed_hash(token)
    assert len(kept.user_agent) == 200


def test_an_engineer_stays_for_a_fortnight_idle_and_a_month_in_all(logged_in: LogIn, engineer: User) -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as traveller:
        browser = logged_in(engineer)
        for days in (13, 26):
            traveller.move_to(start + timedelta(days=days))
            assert is_in(browser)
        traveller.move_to(start + timedelta(days=30, seconds=1))
        assert not is_in(browser)


def test_an_idle_session_ends(logged_in: LogIn, engineer: User, dispatcher: User) -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as traveller:
        phone, desk = logged_in(engineer), logged_in(dispatcher)
        traveller.move_to(start + timedelta(hours=12))
        assert is_in(phone)
        assert not is_in(desk)
        traveller.move_to(start + timedelta(days=14, hours=12))
        assert not is_in(phone)


def test_being_seen_is_written_at_most_every_ten_minutes(logged_in: LogIn, engineer: User) -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as traveller:
        browser = logged_in(engineer)
        traveller.move_to(start + timedelta(minutes=9))
        browser.get("/whoami")
        assert db.session.scalars(select(LoginSession)).one().seen_at == start
        traveller.move_to(start + timedelta(minutes=10))
        browser.get("/whoami")
        assert db.session.scalars(select(LoginSession)).one().seen_at == start + timedelta(minutes=10)


def test_seeing_a_device_does_not_lengthen_its_month(logged_in: LogIn, engineer: User) -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as traveller:
        browser = logged_in(engineer)
        for days in (13, 26):
            traveller.move_to(start + timedelta(days=days))
            browser.get("/whoami")

        assert db.session.scalars(select(LoginSession)).one().idle_until == start + timedelta(days=30)


def test_a_disabled_person_is_out_at_the_next_request(logged_in: LogIn, engineer: User) -> None:
    browser = logged_in(engineer)
    assert is_in(browser)

    give(engineer, disabled_at=clock.now())

    assert browser.get("/whoami", headers={"Accept": "application/json"}).status_code == 401


def test_another_role_counts_at_the_next_request(logged_in: LogIn, engineer: User) -> None:
    browser = logged_in(engineer)
    assert browser.get("/people").status_code == 403

    give(engineer, role="admin")

    assert browser.get("/people").status_code == 200


def test_a_request_costs_one_select(app: Flask, logged_in: LogIn, engineer: User) -> None:
    browser = logged_in(engineer)
    said: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: said.append(args[2]))

    browser.get("/whoami")

    assert [text.split()[0] for text in said if not text.startswith("BEGIN")] == ["SELECT"]


def test_the_pages_speak_the_language_of_the_person(logged_in: LogIn, engineer: User) -> None:
    browser = logged_in(give(engineer, locale="zh_Hant_TW"))

    assert browser.get("/whoami").json["locale"] == "zh_Hant_TW"
