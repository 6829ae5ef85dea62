"""The engineers' phones as the office knows them: silent ones are loud, and words say so, not colours alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.models import Device
from tests.conftest import add

CHROME = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"


def phone(owner: User, *, silent_for: timedelta = timedelta(minutes=1), **said: Any) -> Device:
    """A phone that said this when it last spoke."""
    device = Device(user_id=owner.id, device=str(uuid7()), seen_at=clock.now() - silent_for, **said)
    add(device)
    return device


@operation
def call_at(user: User, number: str) -> None:
    user.phone = number
    db.session.add(user)


def row(desk: FlaskClient, name: str) -> str:
    """The row of an engineer's only phone."""
    answer = desk.get("/devices")
    assert answer.status_code == 200
    rows = re.findall(r'<tr role="row">(?:(?!</tr>).)*</tr>', answer.text, re.S)
    (found,) = [each for each in rows if name in each]
    return found


def test_no_phone_so_far_says_so(desk: FlaskClient) -> None:
    assert "No phone has spoken yet." in desk.get("/devices").text


@pytest.mark.parametrize(
    ("silent_for", "alarm", "tone", "words"),
    [
        (timedelta(hours=3, minutes=59), "none", "info", "2 waiting<"),
        (timedelta(hours=4), "silent", "warn", "2 waiting, silent for 4 h<"),
        (timedelta(hours=23, minutes=59), "silent", "warn", "2 waiting, silent for 23 h 59 min<"),
        (timedelta(hours=24), "lost", "bad", "2 waiting, silent for 24 h<"),
        (timedelta(days=3), "lost", "bad", "2 waiting, silent for 3 days<"),
    ],
)
def test_the_longer_a_phone_with_work_is_silent_the_louder(
    desk: FlaskClient, engineer: User, silent_for: timedelta, alarm: str, tone: str, words: str
) -> None:
    phone(engineer, silent_for=silent_for, waiting=2)

    found = row(desk, "王磊")

    assert f'data-alarm="{alarm}"' in found
    assert f'data-tone="{tone}"' in found
    assert words in found


def test_a_phone_on_which_nothing_waits_is_never_alarming(desk: FlaskClient, engineer: User) -> None:
    phone(engineer, silent_for=timedelta(days=5), waiting=0)

    found = row(desk, "王磊")

    assert 'data-alarm="none"' in found
    assert "Everything sent" in found


def test_a_phone_with_refused_items_does_not_say_that_everything_is_sent(desk: FlaskClient, engineer: User) -> None:
    phone(engineer, waiting=0, attention=1)

    found = row(desk, "王磊")

    assert "1 needs attention" in found
    assert "Everything sent" not in found


def test_what_the_phone_said_of_itself_is_shown(desk: FlaskClient, engineer: User) -> None:
    call_at(engineer, "138 0000 0001")
    oldest = clock.now() - timedelta(hours=2)
    told = {"waiting": 1, "attention": 2, "oldest_waiting_at": oldest, "build": "ab12cd", "agent": CHROME}
    phone(engineer, **told, skew_s=720, storage_used=120 * 1024**2, storage_quota=2 * 1024**3)

    found = row(desk, "王磊")

    assert '<a href="tel:13800000001">' in found
    assert "1 waiting" in found
    assert "2 need attention" in found
    assert "The oldest waits since Today 12:40" in found
    assert "Its clock is 12 min fast" in found
    assert "Android, Chrome" in found
    assert "Version ab12cd" in found
    assert "120 MB of 2.0 GB" in found
    assert "Today 14:39" in found


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"skew_s": -3600 * 24}, "Its clock is 24 h slow"),
        ({"storage_used": 950, "storage_quota": 1000}, "Storage nearly full"),
        ({"storage_used": 5 * 1024}, ">5 KB<"),
    ],
)
def test_what_is_wrong_with_a_phone_is_said(desk: FlaskClient, engineer: User, said: Any, words: str) -> None:
    phone(engineer, **said)

    assert words in row(desk, "王磊")


@pytest.mark.parametrize("skew", [None, 0, 300, -300])
def test_a_clock_that_is_nearly_right_is_not_mentioned(desk: FlaskClient, engineer: User, skew: int | None) -> None:
    phone(engineer, skew_s=skew)

    assert "Its clock" not in row(desk, "王磊")


def test_the_longest_silent_comes_first_and_trouble_before_peace(
    desk: FlaskClient, engineer: User, colleague: User, dispatcher: User
) -> None:
    phone(engineer, waiting=1, silent_for=timedelta(hours=5))
    phone(colleague, waiting=1, silent_for=timedelta(hours=30))
    phone(dispatcher, waiting=0, attention=1, silent_for=timedelta(hours=9))

    html = desk.get("/devices").text

    assert html.index("李婷") < html.index("王磊") < html.index("赵敏")


def test_a_phone_that_was_put_away_long_ago_is_not_shown_unless_something_waits_there(
    desk: FlaskClient, engineer: User, colleague: User
) -> None:
    phone(engineer, silent_for=timedelta(days=31), waiting=0)
    phone(colleague, silent_for=timedelta(days=31), waiting=1)

    html = desk.get("/devices").text

    assert "王磊" not in html
    assert "李婷" in html


def test_a_phone_that_is_lost_for_good_stops_alarming_once_a_person_says_so(
    desk: FlaskClient, engineer: User, dispatcher: User
) -> None:
    lost = phone(engineer, waiting=3, silent_for=timedelta(days=40))
    assert "3 waiting, silent for 40 days" in desk.get("/devices").text

    answer = write_off(desk, lost)

    assert answer.status_code == 303
    assert "This phone is no longer waited for." in desk.get("/devices").text
    assert "has not spoken" not in desk.get("/exceptions").text
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "device.written_off")).one()
    assert (entry.by, entry.facts) == (dispatcher.id, {"waiting": 3})
    assert write_off(desk, lost).status_code == 409


def test_a_phone_that_was_written_off_and_speaks_again_says_anew_what_waits(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], engineer: User
) -> None:
    lost = phone(engineer, waiting=3, silent_for=timedelta(days=2))
    write_off(desk, lost)

    logged_in(engineer).post("/offline/contact", data={"device": lost.device, "waiting": "3"})

    assert "3 waiting" in desk.get("/devices").text


def test_a_phone_that_may_only_be_in_a_cellar_cannot_be_written_off_on_the_page(
    desk: FlaskClient, engineer: User
) -> None:
    phone(engineer, waiting=3, silent_for=timedelta(hours=23))

    assert "write-off" not in desk.get("/devices").text


def write_off(desk: FlaskClient, device: Device) -> TestResponse:
    return desk.post(f"/devices/{device.id}/write-off", data={"submission_id": str(uuid7())})


def test_a_page_that_cannot_show_all_says_so(desk: FlaskClient, engineer: User) -> None:
    said = {"user_id": engineer.id, "waiting": 1}
    add(*(Device(device=str(n), seen_at=clock.now() - timedelta(minutes=n), **said) for n in range(101)))

    html = desk.get("/devices").text

    assert "There are more phones than this page can show" in html
    assert html.count("data-alarm") == 100


def test_the_office_reads_it_and_nobody_else(
    logged_in: Callable[[User], FlaskClient], dispatcher: User, manager: User, admin: User, engineer: User
) -> None:
    seen = {user.role: logged_in(user).get("/devices").status_code for user in (dispatcher, manager, admin, engineer)}

    assert seen == {"dispatcher": 200, "manager": 200, "admin": 200, "engineer": 403}
