"""The administrator adds, invites, promotes and disables people."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.errors import NotAllowedNow, NotFound
from fieldapp.extensions import db, uuid7
from tests.accounts.conftest import give
from tests.conftest import PASSWORD, person

LogIn = Callable[[User], FlaskClient]
JSON = {"Accept": "application/json"}
GIVEN = {"username": "SunYi", "name": "孙怡", "role": "engineer", "phone": "13900000009", "department": "客户服务部"}


def named(username: str) -> User:
    db.session.rollback()
    return db.session.scalars(select(User).where(User.username == username)).one()


@pytest.mark.parametrize("role", ["engineer", "dispatcher", "manager"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/people"),
        ("GET", "/people/new"),
        ("POST", "/people"),
        ("GET", "/people/{id}"),
        ("POST", "/people/{id}/role"),
        ("POST", "/people/{id}/disabling"),
        ("POST", "/people/{id}/enabling"),
        ("POST", "/people/{id}/invitation"),
    ],
)
def test_only_an_admin_looks_after_people(logged_in: LogIn, boss: User, role: str, method: str, path: str) -> None:
    browser = logged_in(person("somebody", role))

    response = browser.open(path.format(id=boss.id), method=method, data={**GIVEN, "role": "admin"})

    assert response.status_code == 403
    assert db.session.scalars(select(User.username).order_by(User.username)).all() == ["admin", "somebody"]
    assert boss.is_active


def test_everybody_stands_in_the_list_with_their_state(logged_in: LogIn, boss: User, wang: User) -> None:
    person("sunyi", "engineer", "孙怡")
    give(person("gone", "manager", "周远"), disabled_at=accounts.clock.now())

    page = logged_in(boss).get("/people").text

    for words in ("王磊", "Active", "孙怡", "Invited", "周远", "Disabled", "Never"):
        assert words in page


def test_a_new_person_gets_a_link_that_is_shown_once(app: Flask, logged_in: LogIn, boss: User) -> None:
    browser = logged_in(boss)

    page = browser.post("/people", data=GIVEN)

    assert page.status_code == 200
    link = re.search(r"\nhttp://127.0.0.1:8000(/invitations/[\w-]{43})</textarea>", page.text).group(1)
    new = named("sunyi")
    assert (new.name, new.role, new.phone, new.department) == ("孙怡", "engineer", "13900000009", "客户服务部")
    assert new.password_hash is None
    assert link not in browser.get(f"/people/{new.id}").text
    stranger = app.test_client()
    assert stranger.post(link, data={"new_password": "river lantern gravel"}).status_code == 303
    rows = db.session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    assert [(row.action, row.by) for row in rows[:2]] == [("user.created", boss.id), ("user.invited", boss.id)]
    assert "孙怡" not in str([row.facts for row in rows])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"username": "x"}, "A log-in name has 2 to 40 letters"),
        ({"username": "孙怡"}, "A log-in name has 2 to 40 letters"),
        ({"username": "ADMIN"}, "This log-in name is taken."),
        ({"name": ""}, "Please give the name."),
        ({"name": "x" * 81}, "This is longer than 80 characters."),
        ({"role": "king"}, "Please choose a role."),
        ({"role": ""}, "Please choose a role."),
        ({"phone": "<b>"}, "A phone number has digits"),
        ({"department": "x" * 81}, "This is longer than 80 characters."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    logged_in: LogIn, boss: User, wrong: dict[str, str], sentence: str
) -> None:
    response = logged_in(boss).post("/people", data={**GIVEN, **wrong})

    assert response.status_code == 422
    assert sentence in response.text
    for name in {"username", "name", "phone"} - set(wrong):
        assert f'value="{GIVEN[name]}"' in response.text
    assert len(db.session.scalars(select(User)).all()) == 1


def test_the_form_for_a_new_person_opens(logged_in: LogIn, boss: User) -> None:
    assert 'name="username"' in logged_in(boss).get("/people/new").text


def test_another_role_counts_at_once_with_a_new_session(logged_in: LogIn, boss: User, wang: User) -> None:
    theirs = logged_in(wang)

    response = logged_in(boss).post(f"/people/{wang.id}/role", data={"role": "manager"})

    assert response.location == f"/people/{wang.id}"
    assert named("wanglei").role == "manager"
    assert theirs.get("/whoami", headers=JSON).status_code == 401
    assert logged_in(wang).get("/whoami").status_code == 200
    entry = db.session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.by, entry.facts) == (
        "user.role_changed",
        boss.id,
        {"was": "engineer", "now": "manager"},
    )


def test_the_same_role_changes_nothing(
    logged_in: LogIn, boss: User, wang: User, audited: Callable[[], list[str]]
) -> None:
    theirs = logged_in(wang)

    logged_in(boss).post(f"/people/{wang.id}/role", data={"role": "engineer"})

    assert theirs.get("/whoami").status_code == 200
    assert audited() == []


def test_an_unknown_role_is_refused(logged_in: LogIn, boss: User, wang: User) -> None:
    response = logged_in(boss).post(f"/people/{wang.id}/role", data={"role": "king"})

    assert response.status_code == 422
    assert "Please choose a role." in response.text
    assert named("wanglei").role == "engineer"


def test_who_is_disabled_is_out_everywhere_and_who_is_enabled_comes_in_again(
    client: FlaskClient, logged_in: LogIn, boss: User, wang: User, audited: Callable[[], list[str]]
) -> None:
    phone, tablet, desk = logged_in(wang), logged_in(wang), logged_in(boss)

    desk.post(f"/people/{wang.id}/disabling")
    desk.post(f"/people/{wang.id}/disabling")

    assert phone.get("/whoami", headers=JSON).status_code == 401
    assert tablet.get("/whoami", headers=JSON).status_code == 401
    login = {"username": "wanglei", "password": PASSWORD}
    assert client.post("/login", data=login).status_code == 422
    assert "Let in again" in desk.get(f"/people/{wang.id}").text

    desk.post(f"/people/{wang.id}/enabling")
    desk.post(f"/people/{wang.id}/enabling")

    assert phone.get("/whoami", headers=JSON).status_code == 401
    assert client.post("/login", data=login).status_code == 303
    assert audited() == ["user.disabled", "login.failed", "user.enabled", "login"]


def test_an_admin_does_not_saw_off_the_own_branch(logged_in: LogIn, boss: User) -> None:
    browser = logged_in(boss)

    assert browser.post(f"/people/{boss.id}/disabling").status_code == 409
    assert browser.post(f"/people/{boss.id}/role", data={"role": "engineer"}).status_code == 409
    assert "This is you." in browser.get(f"/people/{boss.id}").text
    assert named("admin").role == "admin"
    with pytest.raises(NotAllowedNow):
        accounts.disable(boss.id, by=boss.id)


def test_a_link_for_a_forgotten_password(logged_in: LogIn, boss: User, wang: User) -> None:
    page = logged_in(boss).post(f"/people/{wang.id}/invitation")

    assert page.status_code == 200
    assert "/invitations/" in page.text


def test_a_disabled_person_is_not_invited(logged_in: LogIn, boss: User, wang: User) -> None:
    accounts.disable(wang.id, by=boss.id)

    assert logged_in(boss).post(f"/people/{wang.id}/invitation").status_code == 409


def test_nobody_by_that_key(logged_in: LogIn, boss: User) -> None:
    browser = logged_in(boss)

    assert browser.get(f"/people/{uuid7()}").status_code == 404
    assert browser.post(f"/people/{uuid7()}/disabling").status_code == 404
    with pytest.raises(NotFound):
        accounts.enable(uuid7(), by=None)
