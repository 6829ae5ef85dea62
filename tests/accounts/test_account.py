"""One's own account: name, language, map, password, PIN, devices."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp.accounts import passwords
from fieldapp.accounts.models import LoginSession, User
from fieldapp.extensions import db
from tests.conftest import PASSWORD

LogIn = Callable[[User], FlaskClient]
NEW = "river lantern gravel seven"
JSON = {"Accept": "application/json"}


def change(browser: FlaskClient, current: str = PASSWORD, new: str = NEW):  # type: ignore[no-untyped-def]
    return browser.post("/account/password", data={"current_password": current, "new_password": new})


@pytest.mark.parametrize("role", ["engineer", "dispatcher", "manager", "admin"])
def test_everybody_has_an_account_page(logged_in: LogIn, wang: User, role: str) -> None:
    wang.role = role
    db.session.commit()

    page = logged_in(wang).get("/account")

    assert page.status_code == 200
    assert "wanglei" in page.text
    assert PASSWORD not in page.text


def test_name_phone_language_and_map_are_saved(logged_in: LogIn, wang: User, audited: Callable[[], list[str]]) -> None:
    browser = logged_in(wang)
    given = {"name": " 王小磊 ", "phone": "+86 139 0000 0001", "locale": "zh_TW", "map_app": "amap"}

    response = browser.post("/account", data=given)

    assert (response.status_code, response.location) == (303, "/account")
    assert (wang.name, wang.phone, wang.locale, wang.map_app) == ("王小磊", "+86 139 0000 0001", "zh_Hant_TW", "amap")
    assert '<html lang="zh-TW">' in browser.get("/account").text
    assert audited() == ["account.changed"]


def test_an_empty_language_and_map_mean_what_the_device_says(logged_in: LogIn, wang: User) -> None:
    browser = logged_in(wang)
    browser.post("/account", data={"name": "W", "phone": "", "locale": "en", "map_app": "geo"})

    browser.post("/account", data={"name": "W", "phone": "", "locale": "", "map_app": ""})

    assert (wang.locale, wang.map_app) == (None, None)


def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(logged_in: LogIn, wang: User) -> None:
    given = {"name": " ", "phone": "call me maybe", "locale": "tlh", "map_app": "atlas"}

    response = logged_in(wang).post("/account", data=given)

    assert response.status_code == 422
    assert "Please give the name." in response.text
    assert "A phone number has digits" in response.text
    assert "We do not speak this language." in response.text
    assert "We do not know this map." in response.text
    assert 'value="call me maybe"' in response.text
    assert wang.name == "王磊"


def test_a_name_has_an_end(logged_in: LogIn, wang: User) -> None:
    assert logged_in(wang).post("/account", data={"name": "x" * 81}).status_code == 422


def test_role_and_log_in_name_are_not_ones_own_to_change(logged_in: LogIn, wang: User) -> None:
    logged_in(wang).post("/account", data={"name": "W", "role": "admin", "username": "admin"})

    assert (wang.role, wang.username) == ("engineer", "wanglei")


def test_a_new_password_ends_every_other_session_and_renews_this_one(
    logged_in: LogIn, wang: User, audited: Callable[[], list[str]]
) -> None:
    here, phone = logged_in(wang), logged_in(wang)
    before = here.get_cookie("fieldapp").value

    response = change(here)

    after = here.get_cookie("fieldapp").value
    assert (response.status_code, response.location) == (303, "/account")
    assert after != before
    assert here.get("/whoami").status_code == 200
    assert phone.get("/whoami", headers=JSON).status_code == 401
    phone.set_cookie("fieldapp", before)
    assert phone.get("/whoami", headers=JSON).status_code == 401
    assert passwords.matches(wang.password_hash, NEW)
    assert audited() == ["password.changed"]


@pytest.mark.parametrize(
    ("current", "new", "sentence"),
    [
        ("wrong", NEW, "This is not your present password."),
        (PASSWORD, "tiny 7", "A password has at least 8 characters."),
        (PASSWORD, "wanglei-river-lantern", "Your own name must not be a part of the password."),
        (PASSWORD, "password1", "This password is easy to guess."),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(
    logged_in: LogIn, wang: User, current: str, new: str, sentence: str
) -> None:
    here, phone = logged_in(wang), logged_in(wang)

    response = change(here, current, new)

    assert response.status_code == 422
    assert sentence in response.text
    assert new not in response.text
    assert passwords.matches(wang.password_hash, PASSWORD)
    assert phone.get("/whoami").status_code == 200


def test_guessing_the_present_password_gets_slower(
    logged_in: LogIn, wang: User, frozen: time_machine.Traveller
) -> None:
    browser = logged_in(wang)
    for _ in range(5):
        assert change(browser, "wrong").status_code == 422

    response = change(browser)

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "2"
    assert "Please wait 2 seconds" in response.text
    frozen.shift(2)
    assert change(browser).status_code == 303


def test_a_pin_is_set_with_the_password(logged_in: LogIn, wang: User, audited: Callable[[], list[str]]) -> None:
    response = logged_in(wang).post("/account/pin", data={"pin": "8265", "password_for_pin": PASSWORD})

    assert (response.status_code, response.location) == (303, "/account")
    assert passwords.matches(wang.pin_hash, "8265")
    assert wang.pin_hash.startswith("$argon2id$")
    assert audited() == ["pin.changed"]


def test_the_owners_phone_can_check_a_pin_without_signal(logged_in: LogIn, wang: User) -> None:
    logged_in(wang).post("/account/pin", data={"pin": "8265", "password_for_pin": PASSWORD})

    kind, iterations, salt, digest = wang.pin_check.split("$")
    same = hashlib.pbkdf2_hmac("sha256", b"8265", base64.b64decode(salt), int(iterations))
    assert (kind, iterations) == ("pbkdf2-sha256", "210000")
    assert base64.b64decode(digest) == same


@pytest.mark.parametrize(
    ("pin", "password", "sentence"),
    [
        ("12", PASSWORD, "A PIN has 4 to 8 digits."),
        ("1111", PASSWORD, "Everybody tries this PIN first."),
        ("8265", "wrong", "This is not your present password."),
    ],
)
def test_a_pin_that_will_not_do_changes_nothing(
    logged_in: LogIn, wang: User, pin: str, password: str, sentence: str
) -> None:
    response = logged_in(wang).post("/account/pin", data={"pin": pin, "password_for_pin": password})

    assert response.status_code == 422
    assert sentence in response.text
    assert passwords.matches(wang.pin_hash, "7391")


def test_a_pin_waits_too(logged_in: LogIn, wang: User, frozen: time_machine.Traveller) -> None:
    browser = logged_in(wang)
    for _ in range(5):
        browser.post("/account/pin", data={"pin": "8265", "password_for_pin": "wrong"})

    assert browser.post("/account/pin", data={"pin": "8265", "password_for_pin": PASSWORD}).status_code == 429


def test_a_lost_phone_is_logged_out_from_here(logged_in: LogIn, wang: User, audited: Callable[[], list[str]]) -> None:
    phone = logged_in(wang)
    lost = db.session.scalars(select(LoginSession.id)).one()
    here = logged_in(wang)
    assert here.get("/account").text.count("Log out there") == 1

    response = here.post(f"/account/devices/{lost}/end")

    assert response.location == "/account"
    assert phone.get("/whoami", headers=JSON).status_code == 401
    assert here.get("/whoami").status_code == 200
    assert "Log out there" not in here.get("/account").text
    here.post(f"/account/devices/{lost}/end")
    assert audited() == ["session.ended"]


def test_a_device_is_named_as_its_owner_knows_it(app, client: FlaskClient, wang: User) -> None:  # type: ignore[no-untyped-def]
    told = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
    for user_agent in (told, "curl"):
        client.post("/login", data={"username": "wanglei", "password": PASSWORD}, headers={"User-Agent": user_agent})
        client.delete_cookie("fieldapp")
    client.post("/login", data={"username": "wanglei", "password": PASSWORD})

    page = client.get("/account").text

    assert "Android, Chrome" in page
    assert "Unknown device" in page
