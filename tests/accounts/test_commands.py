"""People by command: how the first ones come to be."""

from __future__ import annotations

import click
import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp.accounts import commands
from fieldapp.accounts.models import User
from fieldapp.extensions import db
from tests.accounts.conftest import give
from tests.conftest import PASSWORD


@pytest.fixture
def run(app: Flask):  # type: ignore[no-untyped-def]
    """``run("create-user", …)`` runs a command as from the shell."""
    known: dict[str, click.Command] = {command.name or "": command for command in commands.COMMANDS}

    def run_command(name: str, *arguments: str) -> Result:
        db.session.rollback()
        return app.test_cli_runner().invoke(known[name], arguments)

    return run_command


def test_the_first_person_comes_in_by_a_link_and_no_default_password(app: Flask, client: FlaskClient, run) -> None:  # type: ignore[no-untyped-def]
    result = run("create-user", "Chief", "--name", "陈主任", "--role", "admin", "--phone", "13900000008")

    assert result.exit_code == 0, result.output
    user = db.session.scalars(select(User)).one()
    assert (user.username, user.name, user.role, user.phone) == ("chief", "陈主任", "admin", "13900000008")
    assert user.password_hash is None
    path = result.output.strip().removeprefix("http://127.0.0.1:8000")
    assert client.post(path, data={"new_password": "river lantern gravel"}).status_code == 303
    assert client.get("/people").status_code == 200


def test_what_is_wrong_is_said_in_a_sentence(run, engineer: User) -> None:  # type: ignore[no-untyped-def]
    result = run("create-user", "wanglei", "--name", "", "--role", "engineer")

    assert result.exit_code == 1
    assert "This log-in name is taken." in result.output
    assert "Please give the name." in result.output
    assert run("create-user", "x", "--name", "X", "--role", "king").exit_code == 2


def test_a_forgotten_password_gets_a_new_link(client: FlaskClient, run, wang: User) -> None:  # type: ignore[no-untyped-def]
    link = run("invite", "WangLei").output.strip()

    assert client.get(link.removeprefix("http://127.0.0.1:8000")).status_code == 200


def test_a_person_is_disabled_and_enabled(client: FlaskClient, run, wang: User) -> None:  # type: ignore[no-untyped-def]
    login = {"username": "wanglei", "password": PASSWORD}

    assert run("disable-user", "wanglei").exit_code == 0
    assert client.post("/login", data=login).status_code == 422
    refused = run("invite", "wanglei")
    assert (refused.exit_code, "disabled" in refused.output) == (1, True)

    assert run("enable-user", "wanglei").exit_code == 0
    assert client.post("/login", data=login).status_code == 303


@pytest.mark.parametrize("command", ["invite", "disable-user", "enable-user"])
def test_an_unknown_name_is_said(run, command: str) -> None:  # type: ignore[no-untyped-def]
    result = run(command, "nobody")

    assert result.exit_code == 1
    assert "Nobody has the log-in name 'nobody'" in result.output


def test_everybody_is_listed(run, wang: User, colleague: User, dispatcher: User) -> None:  # type: ignore[no-untyped-def]
    give(dispatcher, disabled_at=wang.created_at)

    lines = run("list-users").output.splitlines()

    assert lines == [
        "liting\tengineer\tinvited\t李婷",
        "wanglei\tengineer\tactive\t王磊",
        "zhaomin\tdispatcher\tdisabled\t赵敏",
    ]
