"""A phone that cannot reach us: its queue comes as a file, through the same door, and twice is once."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts import sessions
from fieldapp.accounts.models import LoginSession, User
from fieldapp.audit import AuditEntry
from fieldapp.errors import FieldAppError, Invalid, TooLarge
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline import rescue
from fieldapp.offline.models import Device, Submission
from fieldapp.offline.rescue import Handed
from fieldapp.security import ON_BEHALF_OF, OnBehalfOf
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.queries import events_of
from tests.offline.queue import Item, receipt_of, step

LogIn = Callable[[User], FlaskClient]


def saved(item: Item, **changes: Any) -> dict[str, Any]:
    """An item as the phone writes it into the file."""
    return {
        "sequence": item.sequence,
        "id": str(item.id),
        "path": item.path,
        "body_b64": base64.b64encode(item.body).decode(),
        "sha256": hashlib.sha256(item.body).hexdigest(),
        "type": item.type,
        "device_at": (item.at or clock.now()).isoformat(),
        "zone": "Asia/Shanghai",
        "form_version": item.version,
        "base_revision": None,
        **changes,
    }


def file_of(user: User, *items: dict[str, Any], photos: tuple[dict[str, Any], ...] = (), **changes: Any) -> bytes:
    content: dict[str, Any] = {
        "format": "fieldapp-rescue",
        "version": 1,
        "user": str(user.id),
        "device": "0f3c1c6e-7d1b-4a63-9a53-000000000001",
        "made_at": clock.now().isoformat(),
        "items": list(items),
        "photos": list(photos),
        **changes,
    }
    return json.dumps(content).encode()


def handed_in(content: bytes, by: User) -> list[Handed]:
    return rescue.hand_in(rescue.read(content), by=by.id)


def outcomes(handed: list[Handed]) -> list[str]:
    return [each.outcome for each in handed]


def a_day(visit: Visit) -> list[dict[str, Any]]:
    nouns = ("acceptance", "departure", "arrival", "start")
    return [saved(step(visit.id, noun, sequence=n + 1)) for n, noun in enumerate(nouns)]


# ---- handing in -------------------------------------------------------------------------------------


def test_a_file_does_what_the_phone_would_have_done_in_its_order(
    visit: Visit, engineer: User, dispatcher: User
) -> None:
    content = file_of(engineer, *reversed(a_day(visit)))

    handed = handed_in(content, dispatcher)

    assert outcomes(handed) == ["applied"] * 4
    assert [each.sequence for each in handed] == [1, 2, 3, 4]
    assert handed[0].what == f"/visits/{visit.id}/acceptance"
    db.session.refresh(visit)
    assert visit.status == "working"
    steps = events_of(visit)[-4:]
    assert {event.actor_id for event in steps} == {engineer.id}
    assert {event.skew_s for event in steps} == {None}  # how old the file is says nothing about the phone's clock
    assert [each.submission_id for each in handed] == [str(event.submission_id) for event in steps]


def test_twice_is_once_also_when_the_phone_comes_back_itself(
    visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    item = step(visit.id, "acceptance")
    content = file_of(engineer, saved(item))

    first = handed_in(content, dispatcher)
    again = handed_in(content, dispatcher)
    by_itself = receipt_of(item.sent(logged_in(engineer)))

    assert (outcomes(first), outcomes(again), by_itself["replayed"]) == (["applied"], ["replayed"], True)
    assert [event.type for event in events_of(visit)].count("accepted") == 1


def test_who_handed_it_in_is_audited_and_it_is_no_sign_of_life_of_the_phone(
    visit: Visit, engineer: User, dispatcher: User
) -> None:
    content = file_of(engineer, saved(step(visit.id, "acceptance")))

    handed_in(content, dispatcher)

    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "rescue.handed_in")).one()
    assert (entry.by, entry.subject_id) == (dispatcher.id, str(engineer.id))
    assert db.session.scalars(select(Device)).all() == []  # the phone itself was not heard
    assert entry.facts == {"file": hashlib.sha256(content).hexdigest(), "items": 1, "photos": 0}
    assert db.session.scalar(select(func.count()).select_from(LoginSession)) == 0


def test_x21_a_clock_that_was_measured_to_be_wrong_is_corrected_in_a_file_too(
    visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    """The phone is two hours fast, as its last sending showed; then it broke, and gave the rest away as a file."""
    fast, now = timedelta(hours=2), clock.now()
    receipt_of(step(visit.id, "acceptance", at=now + fast).sent(logged_in(engineer), sent_at=now + fast))

    handed_in(file_of(engineer, saved(step(visit.id, "departure", at=now + fast, sequence=2))), by=dispatcher)

    departed = events_of(visit)[-1]
    assert departed.type == "departed"
    assert abs(departed.at - now) < timedelta(seconds=5)
    assert departed.skew_s is not None
    assert abs(departed.skew_s - fast.total_seconds()) <= 5


def test_what_cannot_be_applied_is_filed_as_from_the_phone(working: Visit, engineer: User, dispatcher: User) -> None:
    (handed,) = handed_in(file_of(engineer, saved(step(working.id, "pause", reason="x"))), dispatcher)

    assert (handed.outcome, handed.sentence) == ("quarantined", "Please say why you pause.")


def test_somebody_elses_visit_is_refused_and_the_rest_goes_on(
    visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    theirs = saved(step(visit.id, "acceptance", sequence=1))
    unknown = saved(step(uuid7(), "acceptance", sequence=2))  # of a plan that a restored backup does not have

    handed = handed_in(file_of(colleague, theirs, unknown), dispatcher)
    then = handed_in(file_of(engineer, saved(step(visit.id, "acceptance"))), dispatcher)

    assert outcomes(handed) == ["refused", "quarantined"]
    assert handed[0].sentence == "This visit does not exist, or it is not yours to see."
    assert outcomes(then) == ["applied"]


@pytest.mark.parametrize(
    "path",
    [
        "/account/password",
        "/logout",
        "/login",
        "/visits/../account/password",
        "/visits/7/acceptance",
        "/visits/01a2048c-861c-7031-90ab-908aa0b80984/cancellation",
        "/visits/01a2048c-861c-7031-90ab-908aa0b80984/customer-mode",
        "/visits/01a2048c-861c-7031-90ab-908aa0b80984/correction",
        "/dispatch",
        "",
        "https://elsewhere.example/visits/x/acceptance",
        "/visits/\r\nX-Evil: 1",
    ],
)
def test_a_file_does_nothing_but_what_a_phone_keeps_for_later(
    engineer: User, dispatcher: User, app: Flask, path: str
) -> None:
    body = urlencode({"password": "new password 123", "new_password": "new password 123"}).encode()

    (handed,) = handed_in(file_of(engineer, saved(Item(path, body))), dispatcher)

    assert (handed.outcome, handed.sentence) == ("refused", "This is nothing that a phone keeps for later.")
    assert db.session.scalars(select(Submission)).all() == []


def test_what_a_phone_keeps_for_later_are_views_that_there_are(app: Flask) -> None:
    assert set(app.view_functions) >= rescue.OF_QUEUE


@pytest.mark.parametrize(
    "change",
    [
        {"body_b64": "no base64 at all!"},
        {"body_b64": base64.b64encode(b"other bytes").decode()},
        {"body_b64": None},
        {"sha256": "0" * 64},
        {"sequence": None},
        {"sequence": -1},
        {"sequence": 2**40},
        {"id": ""},
        {"id": None},
    ],
    ids=str,
)
def test_a_damaged_item_is_named_and_the_others_are_taken(
    visit: Visit, engineer: User, dispatcher: User, change: dict[str, Any]
) -> None:
    damaged = saved(step(visit.id, "acceptance", sequence=1), **change)
    whole = saved(step(visit.id, "departure", sequence=2))

    handed = handed_in(file_of(engineer, damaged, whole), dispatcher)

    assert sorted(outcomes(handed)) == ["applied", "damaged"]


@pytest.mark.parametrize(
    "change", [{"zone": "\r\nSet-Cookie: a=1"}, {"form_version": "盐"}, {"type": "a\nb"}, {"device_at": "yesterday"}]
)
def test_odd_values_beside_the_item_break_nothing(
    visit: Visit, engineer: User, dispatcher: User, change: dict[str, Any]
) -> None:
    (handed,) = handed_in(file_of(engineer, saved(step(visit.id, "acceptance"), **change)), dispatcher)

    assert handed.outcome in ("applied", "quarantined")


def test_an_id_that_is_none_is_refused_with_a_sentence(visit: Visit, engineer: User, dispatcher: User) -> None:
    (handed,) = handed_in(file_of(engineer, saved(step(visit.id, "acceptance"), id="seven")), dispatcher)

    assert (handed.outcome, handed.sentence) == ("refused", "The number of this submission is not a UUID.")


def test_photos_arrive_in_ranges_and_twice_is_once(engineer: User, dispatcher: User) -> None:
    picture = io.BytesIO()
    Image.effect_noise((700, 500), 80).convert("RGB").save(picture, "JPEG", quality=95)
    content = picture.getvalue()
    assert len(content) > 2 * rescue.RANGE
    photo = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "type": "image/jpeg",
        "bytes_b64": base64.b64encode(content).decode(),
    }

    first = handed_in(file_of(engineer, photos=(photo,)), dispatcher)
    again = handed_in(file_of(engineer, photos=(photo,)), dispatcher)

    assert (outcomes(first), outcomes(again)) == (["arrived"], ["arrived"])


def test_a_damaged_photo_and_one_that_is_none_are_named(engineer: User, dispatcher: User) -> None:
    text = b"not a picture"
    photos = (
        {"sha256": "0" * 64, "type": "image/jpeg", "bytes_b64": base64.b64encode(b"x").decode()},
        {
            "sha256": hashlib.sha256(text).hexdigest(),
            "type": "image/jpeg",
            "bytes_b64": base64.b64encode(text).decode(),
        },
        {"sha256": hashlib.sha256(b"").hexdigest(), "type": "image/jpeg", "bytes_b64": ""},
        {},
    )

    handed = handed_in(file_of(engineer, photos=photos), dispatcher)

    assert outcomes(handed) == ["damaged", "refused", "damaged", "damaged"]


def test_it_is_no_use_inside_an_operation(engineer: User, dispatcher: User) -> None:
    package = rescue.read(file_of(engineer))

    with pytest.raises(RuntimeError):
        operation(rescue.hand_in)(package, by=dispatcher.id)


# ---- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "This file is damaged"),
        (b"\xff\xd8\xff\xe0 a picture", "This file is damaged"),
        (b"{", "This file is damaged"),
        (b"[" * 200_000, "This file is damaged"),
        (b"[]", "This is no rescue file"),
        (b'{"format": "other"}', "This is no rescue file"),
        (b'{"format": "fieldapp-rescue", "version": 9}', "made by a newer version"),
        (b'{"format": "fieldapp-rescue", "version": 1}', "is not complete"),
        (b'{"format": "fieldapp-rescue", "version": 1, "user": "7", "items": [], "photos": []}', "is not complete"),
    ],
)
def test_a_file_that_is_none_says_so(app: Flask, content: bytes, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        rescue.read(content)


@pytest.mark.parametrize("change", [{"items": None}, {"items": ["x"]}, {"photos": {"a": 1}}, {"device": ""}])
def test_a_file_of_which_something_is_missing_says_so(engineer: User, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="not complete"):
        rescue.read(file_of(engineer, **change))


def test_a_file_that_is_too_large_says_so(app: Flask, monkeypatch: pytest.MonkeyPatch, engineer: User) -> None:
    monkeypatch.setattr(rescue, "MOST_BYTES", 1024 * 1024)
    with pytest.raises(TooLarge, match="1 MB"):
        rescue.read(b" " * (1024 * 1024 + 1))
    with pytest.raises(TooLarge, match="2000 items"):
        rescue.read(file_of(engineer, items=[{}] * 2001))


@pytest.mark.parametrize("whose", ["nobody", "office"])
def test_a_file_of_nobody_we_know_is_refused(app: Flask, dispatcher: User, whose: str) -> None:
    user = User(id=uuid7(), username="x") if whose == "nobody" else dispatcher

    with pytest.raises(FieldAppError, match="not known here"):
        handed_in(file_of(user), dispatcher)


def test_the_queue_of_somebody_who_was_an_engineer_then_is_still_an_engineers(
    visit: Visit, engineer: User, dispatcher: User, admin: User
) -> None:
    accounts.change_role(engineer.id, "dispatcher", by=admin.id)

    handed = handed_in(file_of(engineer, *a_day(visit)), dispatcher)

    assert outcomes(handed) == ["applied"] * len(handed)
    assert "arrived" in [event.type for event in events_of(visit)]


# ---- on whose behalf --------------------------------------------------------------------------------


def test_nobody_outside_can_name_on_whose_behalf_they_ask(
    visit: Visit, engineer: User, client: FlaskClient, app: Flask
) -> None:
    """Not by a header, and not even a server that put text there would be believed."""
    assert OnBehalfOf.of({ON_BEHALF_OF: OnBehalfOf(engineer.id)}) == OnBehalfOf(engineer.id)
    for name in (ON_BEHALF_OF, f"HTTP_{ON_BEHALF_OF}", "HTTP_FIELDAPP_ON_BEHALF_OF"):
        said = {"fieldapp.on_behalf_of": str(engineer.id)}
        answer = client.get("/", environ_overrides={name: str(engineer.id)}, headers=said)
        assert answer.status_code == 303
        assert "/login" in answer.location


def test_the_session_of_an_imported_item_is_kept_nowhere(app: Flask, engineer: User) -> None:
    key = engineer.id
    with app.test_request_context(environ_overrides={ON_BEHALF_OF: OnBehalfOf(key)}):
        user = sessions.who(request)
        assert user is not None
        assert user.id == key
        assert sessions.current().handed_over_to is None
        db.session.flush()
    assert db.session.scalar(select(func.count()).select_from(LoginSession)) == 0


def test_work_on_a_visit_that_was_reassigned_comes_in_by_file_too(
    visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    visits.accept(visit, by=engineer)
    start = visit.window_start
    assert start is not None
    visits.plan(visit, visits.Plan(lead_id=colleague.id, window_start=start), by=dispatcher)

    handed = handed_in(file_of(engineer, *a_day(visit)), dispatcher)

    assert outcomes(handed) == ["noted"] * 4
    assert UUID(handed[0].submission_id)
