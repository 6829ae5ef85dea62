"""Guessing gets slower and slower, and nobody is locked out for good."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp.accounts import operations as accounts
from fieldapp.accounts import throttle
from fieldapp.accounts.models import LoginFailure, User
from fieldapp.errors import Invalid, TryLater
from fieldapp.extensions import db, operation
from tests.conftest import PASSWORD


def guess(username: str = "wanglei", password: str = "wrong", address: str = "192.0.2.1") -> int:
    """Try once: 0 when it was looked at, else the seconds to wait."""
    try:
        accounts.log_in(username, password, user_agent="tests", address=address)
    except Invalid:
        return 0
    except TryLater as error:
        return error.retry_after
    return -1


IN = -1


def test_five_tries_are_free_then_the_wait_doubles_up_to_a_quarter_of_an_hour(
    wang: User, frozen: time_machine.Traveller
) -> None:
    assert [guess() for _ in range(5)] == [0] * 5

    waits = []
    for _ in range(12):
        waits.append(guess())
        frozen.shift(waits[-1])
        assert guess() == 0

    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_the_right_password_must_wait_too_and_then_comes_in(wang: User, frozen: time_machine.Traveller) -> None:
    for _ in range(6):
        guess()

    assert guess(password=PASSWORD) == 2
    frozen.shift(2)
    assert guess(password=PASSWORD) == IN


def test_a_try_that_had_to_wait_is_not_counted(wang: User, frozen: time_machine.Traveller) -> None:
    for _ in range(50):
        guess()

    assert db.session.scalar(select(func.count()).select_from(LoginFailure)) == 5
    assert guess() == 2


def test_success_takes_the_count_back(wang: User, frozen: time_machine.Traveller) -> None:
    for _ in range(4):
        guess()
    assert guess(password=PASSWORD) == IN

    assert [guess() for _ in range(5)] == [0] * 5
    assert guess() == 2


def test_many_addresses_do_not_help_against_one_account(wang: User, frozen: time_machine.Traveller) -> None:
    for number in range(5):
        guess(address=f"198.51.100.{number}")

    assert guess(address="203.0.113.9") == 2


def test_many_accounts_do_not_help_from_one_address(wang: User, frozen: time_machine.Traveller) -> None:
    for number in range(throttle.FREE_TRIES_OF_ADDRESS):
        assert guess(f"name{number}") == 0

    assert guess("another") == 2
    assert guess("another", address="203.0.113.9") == 0


def test_a_stranger_cannot_keep_a_person_out_of_where_they_logged_in_before(
    wang: User, frozen: time_machine.Traveller
) -> None:
    assert guess(password=PASSWORD, address="203.0.113.9") == IN
    for _ in range(5):
        guess(address="198.51.100.1")

    assert guess(address="198.51.100.1") == 2
    assert guess(password=PASSWORD, address="203.0.113.9") == IN


def test_where_a_person_logged_in_long_ago_is_a_strange_place_again(wang: User, frozen: time_machine.Traveller) -> None:
    assert guess(password=PASSWORD, address="203.0.113.9") == IN
    frozen.shift(timedelta(days=31))
    for _ in range(5):
        guess(address="198.51.100.1")

    assert guess(password=PASSWORD, address="203.0.113.9") == 2


def test_an_unknown_name_waits_like_a_known_one(app: Flask, frozen: time_machine.Traveller) -> None:
    assert [guess("nobody") for _ in range(6)] == [0, 0, 0, 0, 0, 2]


def test_failures_are_forgotten_after_a_day(wang: User, frozen: time_machine.Traveller) -> None:
    for _ in range(5):
        guess("nobody", address="198.51.100.1")
    assert guess("nobody") == 2

    frozen.shift(timedelta(hours=24, seconds=1))

    assert guess("nobody") == 0
    assert guess(password=PASSWORD) == IN
    assert db.session.scalar(select(func.count()).select_from(LoginFailure)) == 1


def test_the_page_says_how_long_and_keeps_the_name(
    client: FlaskClient, wang: User, frozen: time_machine.Traveller
) -> None:
    for _ in range(5):
        client.post("/login", data={"username": "wanglei", "password": "wrong"})

    response = client.post("/login", data={"username": "wanglei", "password": PASSWORD})

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "2"
    assert "Too many tries. Please wait 2 seconds and try again." in response.text
    assert 'value="wanglei"' in response.text


def test_a_program_is_told_in_its_own_way(client: FlaskClient, wang: User, frozen: time_machine.Traveller) -> None:
    headers = {"Accept": "application/json"}
    for _ in range(5):
        answer = client.post("/login", data={"username": "wanglei", "password": "wrong"}, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (422, "wrong_secret")

    answer = client.post("/login", data={"username": "wanglei", "password": "wrong"}, headers=headers)

    assert (answer.status_code, answer.json["error"]) == (429, "try_later")
    assert answer.headers["Retry-After"] == "2"


def test_long_waits_are_said_in_minutes(app: Flask) -> None:
    @operation
    def refuse(number: int) -> str:
        attempt = throttle.Try(f"account{number}", "nowhere")
        for _ in range(number):
            db.session.add(LoginFailure(account=attempt.account, address="elsewhere", at=accounts.clock.now()))
        with pytest.raises(TryLater) as refused:
            throttle.count(attempt, familiar=False)
        return refused.value.sentence

    assert refuse(40) == "Too many tries. Please wait 15 minutes and try again."
    assert refuse(10) == "Too many tries. Please wait 2 minutes and try again."


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_one_connection_is_one_place(address: str, network: str) -> None:
    assert throttle.network_of(address) == network
