"""An invitation sets a password once, within a day."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts import passwords
from fieldapp.accounts.models import Invitation, User
from fieldapp.errors import NotAllowedNow
from fieldapp.extensions import db
from tests.accounts.conftest import give

LogIn = Callable[[User], FlaskClient]
NEW = "river lantern gravel seven"
JSON = {"Accept": "application/json"}


@pytest.fixture
def token(engineer: User) -> str:
    return accounts.invite(engineer.id, by=None)


def use(browser: FlaskClient, token: str, password: str = NEW):  # type: ignore[no-untyped-def]
    return browser.post(f"/invitations/{token}", data={"new_password": password})


def test_the_invited_person_sets_a_password_and_is_in(
    client: FlaskClient, engineer: User, token: str, audited: Callable[[], list[str]]
) -> None:
    assert "Welcome, 王磊" in client.get(f"/invitations/{token}").text

    response = use(client, token)

    assert (response.status_code, response.location) == (303, "/")
    assert client.get("/whoami").json["name"] == "wanglei"
    assert passwords.matches(engineer.password_hash, NEW)
    assert audited() == ["user.invited", "invitation.used", "password.changed"]


def test_it_works_once(client: FlaskClient, app: Flask, engineer: User, token: str) -> None:
    use(client, token)
    other = app.test_client()

    assert use(other, token, "another good long one").status_code == 409
    assert "used already" in other.get(f"/invitations/{token}").text
    assert passwords.matches(engineer.password_hash, NEW)


def test_looking_at_it_does_not_use_it_up(client: FlaskClient, token: str) -> None:
    for _ in range(3):
        client.get(f"/invitations/{token}")

    assert use(client, token).status_code == 303


def test_it_lasts_a_day(client: FlaskClient, token: str, frozen: time_machine.Traveller) -> None:
    frozen.shift(timedelta(hours=24, seconds=1))

    assert client.get(f"/invitations/{token}").status_code == 409
    assert use(client, token).status_code == 409


def test_a_weak_password_does_not_use_it_up(client: FlaskClient, engineer: User, token: str) -> None:
    response = use(client, token, "wanglei-the-great")

    assert response.status_code == 422
    assert "Your own name must not be a part of the password." in response.text
    assert engineer.password_hash is None
    assert use(client, token).status_code == 303


def test_a_newer_link_ends_the_older(client: FlaskClient, engineer: User, token: str) -> None:
    newer = accounts.invite(engineer.id, by=None)

    assert use(client, token).status_code == 409
    assert use(client, newer).status_code == 303


def test_a_made_up_link_is_not_found(client: FlaskClient, token: str) -> None:
    assert client.get("/invitations/" + "x" * 43).status_code == 404
    assert use(client, "x" * 43).status_code == 404


def test_a_disabled_person_is_not_let_in_by_it(client: FlaskClient, engineer: User, token: str) -> None:
    give(engineer, disabled_at=clock.now())

    assert use(client, token).status_code == 409
    with pytest.raises(NotAllowedNow):
        accounts.invite(engineer.id, by=None)


def test_a_forgotten_password_ends_the_sessions_of_before(
    client: FlaskClient, logged_in: LogIn, engineer: User, token: str
) -> None:
    before = logged_in(engineer)

    use(client, token)

    assert before.get("/whoami", headers=JSON).status_code == 401


def test_a_post_from_another_site_does_not_use_it(client: FlaskClient, engineer: User, token: str) -> None:
    response = client.post(
        f"/invitations/{token}", data={"new_password": NEW}, headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert response.status_code == 403
    assert engineer.password_hash is None


def test_the_token_is_kept_nowhere(client: FlaskClient, token: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("fieldapp")
    logger.addHandler(caplog.handler)
    try:
        client.get(f"/invitations/{token}")
        use(client, token)
    finally:
        logger.removeHandler(caplog.handler)

    assert any(getattr(record, "path", "") == "/invitations/<token>" for record in caplog.records)
    assert not any(token in str(vars(record)) for record in caplog.records)
    assert db.session.scalars(select(Invitation)).one().token_hash == accounts.keyed_hash(token)
