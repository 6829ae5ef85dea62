"""Coming in and going out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginFailure, LoginSession, User
from fieldapp.audit import AuditEntry, first_broken
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from tests.accounts.conftest import give, hashed
from tests.conftest import PASSWORD, Browser, person, settings_for

LogIn = Callable[[User], FlaskClient]
JSON = {"Accept": "application/json"}


def enter(browser: FlaskClient, username: str = "wanglei", password: str = PASSWORD, **more: str):  # type: ignore[no-untyped-def]
    return browser.post("/login", data={"username": username, "password": password, **more})


def test_an_engineer_comes_in_by_name_and_password(
    client: FlaskClient, wang: User, audited: Callable[[], list[str]]
) -> None:
    response = enter(client)

    assert (response.status_code, response.location) == (303, "/")
    assert client.get("/whoami").json["name"] == "wanglei"
    assert audited() == ["login"]


def test_the_office_comes_in_at_the_dispatch_board(client: FlaskClient, dispatcher: User) -> None:
    give(dispatcher, password_hash=hashed(PASSWORD))

    assert enter(client, "zhaomin").location == "/dispatch"


def test_case_and_blanks_around_a_name_do_not_matter_but_in_the_password_they_do(
    client: FlaskClient, wang: User
) -> None:
    assert enter(client, password=PASSWORD + " ").status_code == 422
    assert enter(client, " WangLei ").status_code == 303


def test_on_goes_who_wanted_to_go_somewhere(client: FlaskClient, wang: User) -> None:
    assert client.get("/account?x=1").location == "/login?next=/account?x%3D1"
    assert 'name="next" value="/account?x=1"' in client.get("/login?next=/account?x%3D1").text

    assert enter(client, next="/account?x=1").location == "/account?x=1"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/no/such/page",
        "/logout",  # answers to POST only
        "/login?next=/login",
        "account",
    ],
)
def test_on_goes_nobody_to_another_place(client: FlaskClient, wang: User, elsewhere: str) -> None:
    assert enter(client, next=elsewhere).location == "/"


def test_who_is_in_already_is_not_asked_again(logged_in: LogIn, engineer: User) -> None:
    assert logged_in(engineer).get("/login").location == "/"


def test_wrong_password_unknown_name_and_disabled_person_get_the_same_answer(client: FlaskClient, wang: User) -> None:
    give(person("gone", "engineer"), password_hash=hashed(PASSWORD), disabled_at=clock.now())
    person("invited", "engineer")

    answers = [
        enter(client, "wanglei", "wrong"),
        enter(client, "nobody", "wrong"),
        enter(client, "gone", PASSWORD),
        enter(client, "invited", ""),
    ]

    assert {answer.status_code for answer in answers} == {422}
    texts = {re.sub(r'value="(wanglei|nobody|gone|invited)"', "", answer.text) for answer in answers}
    assert len(texts) == 1
    assert "Name or password is not right." in texts.pop()
    assert not any(answer.headers.get("Set-Cookie") for answer in answers)


def test_an_unknown_name_costs_a_hash_as_well(client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    real = PasswordHasher.verify
    monkeypatch.setattr(
        PasswordHasher, "verify", lambda self, kept, given: (looked_at.append(kept), real(self, kept, given))[1]
    )

    enter(client, "nobody", "wrong")

    assert len(looked_at) == 1
    assert looked_at[0].startswith("$argon2id$v=19$m=19456,t=3,p=4$")


def test_the_name_stays_and_the_password_does_not(client: FlaskClient, wang: User) -> None:
    page = enter(client, "wanglei", "my secret words").text

    assert 'value="wanglei"' in page
    assert "my secret words" not in page


def test_a_password_typed_as_a_name_is_kept_nowhere(client: FlaskClient, app: Flask, tmp_path: Path) -> None:
    enter(client, "my secret words", "x")

    assert db.session.scalars(select(LoginFailure)).one()
    db.session.rollback()
    assert b"my secret words" not in b"".join(path.read_bytes() for path in tmp_path.glob("fieldapp.db*"))


def test_the_cookie_is_for_the_server_only(client: FlaskClient, wang: User) -> None:
    cookie = enter(client).headers["Set-Cookie"]

    assert cookie.startswith("fieldapp=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


def test_on_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path, app: Flask, wang: User) -> None:
    secure = create_app(settings_for(tmp_path, public_url="https://field.example"), TESTING=True)
    secure.test_client_class = Browser

    cookie = enter(secure.test_client()).headers["Set-Cookie"]

    assert cookie.startswith("__Host-fieldapp=")
    assert "Secure; HttpOnly; Path=/; SameSite=Lax" in cookie
    assert "Domain" not in cookie
    with secure.app_context():
        db.engine.dispose()


def test_each_log_in_is_a_new_session_and_ends_the_one_before(client: FlaskClient, wang: User) -> None:
    enter(client)
    first = client.get_cookie("fieldapp").value

    enter(client)
    second = client.get_cookie("fieldapp").value

    assert first != second
    client.set_cookie("fieldapp", first)
    assert client.get("/whoami", headers=JSON).status_code == 401


def test_a_token_planted_before_the_log_in_is_worth_nothing_after_it(client: FlaskClient, wang: User) -> None:
    client.set_cookie("fieldapp", "planted-by-somebody-else-0000000000000000000")

    enter(client)

    assert client.get_cookie("fieldapp").value != "planted-by-somebody-else-0000000000000000000"
    client.set_cookie("fieldapp", "planted-by-somebody-else-0000000000000000000")
    assert client.get("/whoami", headers=JSON).status_code == 401


def test_log_out_ends_the_session_for_good(client: FlaskClient, wang: User, audited: Callable[[], list[str]]) -> None:
    enter(client)
    token = client.get_cookie("fieldapp").value

    response = client.post("/logout")

    assert (response.status_code, response.location) == (303, "/login")
    assert client.get_cookie("fieldapp") is None
    client.set_cookie("fieldapp", token)
    assert client.get("/whoami", headers=JSON).status_code == 401
    assert audited() == ["login", "session.ended"]


def test_a_phone_is_told_in_words_of_ours_that_it_is_logged_out(client: FlaskClient, wang: User) -> None:
    """A captive portal answers with a page or a redirect as well: neither is the office's word."""
    enter(client)

    response = client.post("/logout", headers=JSON)

    assert (response.status_code, response.json) == (200, {"logged_out": True})
    assert client.get("/whoami", headers=JSON).status_code == 401


def test_looking_at_the_log_out_address_does_nothing(logged_in: LogIn, engineer: User) -> None:
    browser = logged_in(engineer)

    assert browser.get("/logout").status_code == 405
    assert browser.get("/whoami").status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout", "/account", "/account/password", "/account/pin", "/taking-back"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_post_from_another_site_is_refused(logged_in: LogIn, wang: User, path: str, site: str) -> None:
    browser = logged_in(wang)

    response = browser.post(path, data={"name": "Mallory"}, headers={"Sec-Fetch-Site": site})

    assert response.status_code == 403
    assert browser.get("/whoami").status_code == 200
    db.session.refresh(wang)
    assert wang.name == "王磊"


def test_failures_are_audited_without_what_was_typed(client: FlaskClient, wang: User, app: Flask) -> None:
    enter(client, "wanglei", "wrong")
    enter(client, "nobody", "wrong")

    rows = db.session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    assert [(row.action, row.subject_type) for row in rows] == [
        ("login.failed", "user"),
        ("login.failed", "unknown_name"),
    ]
    assert rows[0].subject_id == str(wang.id)
    assert "nobody" not in rows[1].subject_id
    assert first_broken() is None


def test_a_hash_made_with_other_costs_is_renewed(client: FlaskClient, wang: User) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    give(wang, password_hash=weak)

    enter(client)

    db.session.refresh(wang)
    assert wang.password_hash.startswith("$argon2id$v=19$m=19456,t=3,p=4$")
    assert enter(client).status_code == 303


def test_a_phone_keyboard_does_not_get_in_the_way(client: FlaskClient) -> None:
    page = client.get("/login").text

    name, password = re.findall(r"<input class=.input.[^>]*>", page)
    assert 'autocomplete="username"' in name
    assert 'autocapitalize="none"' in name
    assert 'autocomplete="current-password"' in password


def test_a_browser_keeps_the_language_it_chose(client: FlaskClient) -> None:
    assert 'lang="en"' in client.get("/login", headers={"Accept-Language": "en"}).text

    page = client.get("/login?lang=zh-TW", headers={"Accept-Language": "en"})

    assert '<html lang="zh-TW">' in page.text
    assert '<html lang="zh-TW">' in client.get("/login", headers={"Accept-Language": "en"}).text
    client.get("/login?lang=tlh")
    assert client.get_cookie("lang").value == "zh_Hant_TW"


def test_a_stranger_sees_no_names(client: FlaskClient, wang: User) -> None:
    assert "wanglei" not in client.get("/login").text


def test_on_a_demo_day_the_page_offers_everybody(tmp_path: Path, app: Flask, wang: User, dispatcher: User) -> None:
    give(person("gone", "engineer"), disabled_at=clock.now())
    demo = create_app(settings_for(tmp_path, demo="1"), TESTING=True)
    demo.test_client_class = Browser
    browser = demo.test_client()

    page = browser.get("/login").text

    assert page.index("wanglei") < page.index("zhaomin")
    assert "gone" not in page
    assert 'value="wanglei"' in browser.get("/login?as=wanglei").text
    with demo.app_context():
        db.engine.dispose()


def test_sessions_of_two_browsers_are_two(client: FlaskClient, app: Flask, wang: User) -> None:
    other = app.test_client()
    enter(client)
    enter(other)

    client.post("/logout")

    assert other.get("/whoami").json["name"] == "wanglei"
    assert len(db.session.scalars(select(LoginSession).where(LoginSession.ended_at.is_(None))).all()) == 1


def test_nobody_ends_the_session_of_another(logged_in: LogIn, wang: User, colleague: User) -> None:
    theirs = logged_in(colleague)
    session_id = db.session.scalars(select(LoginSession.id)).one()

    with pytest.raises(NotFound):
        accounts.log_out(session_id, by=wang.id)
    assert logged_in(wang).post(f"/account/devices/{session_id}/end").status_code == 404
    assert theirs.get("/whoami").status_code == 200
