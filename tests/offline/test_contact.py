"""What the office knows of a phone: by its queue, and by what it says between two submissions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.offline.models import Device
from fieldapp.offline.operations import identity
from fieldapp.offline.views import lock_of
from fieldapp.visits.models import Visit
from tests.offline.queue import receipt_of, step

LogIn = Callable[[User], FlaskClient]
CHECK = "pbkdf2-sha256$600000$c2FsdHNhbHRzYWx0$aGFzaGhhc2g="


@pytest.fixture
def phone(logged_in: LogIn, engineer: User) -> FlaskClient:
    return logged_in(engineer)


def the_device() -> Device:
    db.session.rollback()
    device = db.session.scalars(select(Device)).one()
    db.session.refresh(device)
    return device


# ---- by its queue -----------------------------------------------------------------------------------


def test_an_item_of_the_queue_says_how_its_phone_is(visit: Visit, engineer: User, phone: FlaskClient) -> None:
    now, oldest = clock.now(), clock.now() - timedelta(hours=3)
    item = step(visit.id, "acceptance", sequence=7)

    receipt_of(item.sent(phone, sent_at=now + timedelta(minutes=20), X_Waiting="4", X_Oldest=oldest.isoformat()))

    device = the_device()
    assert (device.user_id, device.device) == (engineer.id, item.device)
    assert (device.waiting, device.oldest_waiting_at) == (3, oldest)  # this one has arrived
    assert device.last_sequence == 7
    assert device.skew_s is not None
    assert 1190 <= device.skew_s <= 1210
    assert "Werkzeug" in device.agent
    assert now <= device.seen_at <= clock.now()


def test_the_last_item_leaves_nothing_waiting(visit: Visit, phone: FlaskClient) -> None:
    first = step(visit.id, "acceptance", sequence=1)
    last = step(visit.id, "departure", sequence=2)
    receipt_of(first.sent(phone, X_Waiting="2", X_Oldest=clock.now().isoformat()))
    receipt_of(last.sent(phone, X_Waiting="1", X_Oldest=clock.now().isoformat()))

    device = the_device()

    assert (device.waiting, device.oldest_waiting_at, device.last_sequence) == (0, None, 2)


def test_an_older_item_sent_again_does_not_turn_the_sequence_back(visit: Visit, phone: FlaskClient) -> None:
    receipt_of(step(visit.id, "acceptance", sequence=9).sent(phone))
    receipt_of(step(visit.id, "departure", sequence=3).sent(phone))

    assert the_device().last_sequence == 9


def test_what_was_not_said_stays_as_it_was(visit: Visit, phone: FlaskClient) -> None:
    receipt_of(step(visit.id, "acceptance", sequence=1).sent(phone, X_Waiting="5", X_Oldest=clock.now().isoformat()))

    receipt_of(step(visit.id, "departure", sequence=2).sent(phone, X_Sent_At=""))

    device = the_device()
    assert device.waiting == 4
    assert device.skew_s is not None


def test_a_filed_item_is_a_sign_of_life_too(working: Visit, phone: FlaskClient) -> None:
    assert receipt_of(step(working.id, "pause", reason="x").sent(phone))["outcome"] == "quarantined"

    assert the_device().last_sequence == 1


# ---- by its own word --------------------------------------------------------------------------------


def says(phone: FlaskClient, **fields: str):  # type: ignore[no-untyped-def]
    return phone.post("/offline/contact", data=fields)


def test_a_phone_tells_how_it_is_and_learns_whom_it_speaks_to(engineer: User, phone: FlaskClient) -> None:
    before, oldest = clock.now(), datetime(2026, 11, 20, 3, 0, tzinfo=UTC)

    answer = says(
        phone,
        device="a-phone",
        waiting="3",
        attention="1",
        oldest_at=oldest.isoformat(),
        build="abc123",
        storage_used="123456789",
        storage_quota="60000000000",
        sent_at=(before - timedelta(hours=1)).isoformat(),
    )

    assert answer.status_code == 200
    said = answer.json
    assert set(said) == {"server", "epoch", "now", "user", "lock"}
    assert (said["server"], said["epoch"], said["user"]) == (str(identity().server), 1, str(engineer.id))
    assert before <= datetime.fromisoformat(said["now"]) <= clock.now()
    assert said["lock"] is None
    device = the_device()
    assert (device.waiting, device.attention, device.oldest_waiting_at, device.build) == (3, 1, oldest, "abc123")
    assert (device.storage_used, device.storage_quota) == (123456789, 60000000000)
    assert device.skew_s is not None
    assert -3605 <= device.skew_s <= -3595


def test_nothing_waiting_has_no_oldest(phone: FlaskClient) -> None:
    says(phone, device="a-phone", waiting="2", oldest_at="2026-11-20T03:00:00Z")
    says(phone, device="a-phone", waiting="0")

    assert (the_device().waiting, the_device().oldest_waiting_at) == (0, None)


@pytest.mark.parametrize("nonsense", ["-1", "many", "1e9", "9" * 30, "٣"])
def test_nonsense_is_left_out(phone: FlaskClient, nonsense: str) -> None:
    answer = says(
        phone, device="a-phone", waiting=nonsense, storage_used=nonsense, sent_at=nonsense, oldest_at=nonsense
    )

    assert answer.status_code == 200
    device = the_device()
    assert (device.waiting, device.storage_used, device.skew_s, device.oldest_waiting_at) == (0, None, None, None)


@pytest.mark.parametrize("device", ["", " ", "x" * 65])
def test_a_phone_has_a_name(phone: FlaskClient, device: str) -> None:
    answer = says(phone, device=device)

    assert (answer.status_code, answer.json["error"]) == (422, "invalid")  # type: ignore[index]
    assert db.session.scalars(select(Device)).all() == []


def test_two_people_on_one_phone_are_two_devices(engineer: User, colleague: User, logged_in: LogIn) -> None:
    for someone in (engineer, colleague):
        assert says(logged_in(someone), device="shared").status_code == 200

    assert {device.user_id for device in db.session.scalars(select(Device))} == {engineer.id, colleague.id}


def test_only_engineers_have_a_queue(dispatcher: User, logged_in: LogIn, client: FlaskClient) -> None:
    refused = says(logged_in(dispatcher), device="desk")
    nobody = says(client, device="a-phone")

    assert (refused.status_code, refused.json["error"]) == (403, "refused")  # type: ignore[index]
    assert (nobody.status_code, nobody.json["error"]) == (401, "login_needed")  # type: ignore[index]


def test_the_phone_learns_what_to_check_the_pin_against(app: Flask, engineer: User, phone: FlaskClient) -> None:
    @operation
    def choose() -> None:
        engineer.pin_check = CHECK

    choose()

    lock = says(phone, device="a-phone").json["lock"]

    assert lock == {"salt": "c2FsdHNhbHRzYWx0", "iterations": 600000, "hash": "aGFzaGhhc2g="}


@pytest.mark.parametrize(
    "check",
    [
        None,
        "",
        "argon2$1$2$3",
        "pbkdf2-sha256$600000$c2FsdA==",
        "pbkdf2-sha256$0$c2FsdA==$aGFzaA==",
        "pbkdf2-sha256$-5$c2FsdA==$aGFzaA==",
        "pbkdf2-sha256$many$c2FsdA==$aGFzaA==",
        "pbkdf2-sha256$1$not base64$aGFzaA==",
        "pbkdf2-sha256$1$$aGFzaA==",
        "pbkdf2-sha256$1$c2FsdA==$盐",
        "pbkdf2-sha256$1$c2FsdA==$aGFzaA==$more",
    ],
)
def test_a_lock_that_cannot_be_read_is_none(check: str | None) -> None:
    assert lock_of(check) is None
