"""What a phone could not send itself: its file is taken in, once, and what was filed can be applied after all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from time_machine import Traveller
from werkzeug.test import TestResponse

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.dispatch.devices import views as devices
from fieldapp.extensions import db, uuid7
from fieldapp.offline import rescue, versions
from fieldapp.offline.models import Case, Device, Submission
from fieldapp.visits.models import Visit, VisitEvent
from tests.conftest import add
from tests.dispatch.conftest import AFTERNOON
from tests.records.wholes import whole
from tests.security.world import picture


def item(path: str, sequence: int = 1, **fields: str) -> dict[str, Any]:
    """One item of a phone's queue, as its file holds it."""
    number = str(uuid7())
    body = "&".join(f"{name}={value}" for name, value in {"submission_id": number, **fields}.items()).encode()
    return {
        "sequence": sequence,
        "id": number,
        "path": path,
        "body_b64": base64.b64encode(body).decode(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "type": "application/x-www-form-urlencoded",
        "device_at": (clock.now() - timedelta(hours=3)).isoformat(),
        "zone": "Asia/Shanghai",
        "form_version": "2",
    }


def encoded(path: str, sequence: int, fields: dict[str, Any]) -> dict[str, Any]:
    """The same with a whole form, sent a moment ago."""
    body = urlencode(fields, doseq=True).encode()
    sealed = {"body_b64": base64.b64encode(body).decode(), "sha256": hashlib.sha256(body).hexdigest()}
    return {**item(path, sequence), **sealed, "device_at": clock.now().isoformat()}


def photo(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes_b64": base64.b64encode(content).decode()}


def package(engineer: User, *items: dict[str, Any], **changes: Any) -> bytes:
    """The file."""
    made: dict[str, Any] = {
        "format": "fieldapp-rescue",
        "version": 1,
        "user": str(engineer.id),
        "device": "phone-1",
        "made_at": clock.now().isoformat(),
        "items": list(items),
        "photos": [],
    }
    return json.dumps({**made, **changes}).encode()


def take_in(desk: FlaskClient, content: bytes) -> TestResponse:
    return desk.post("/devices/rescue", data={"package": (io.BytesIO(content), "fieldapp.json")})


def outcomes(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.text
    return re.findall(r'data-outcome="(\w+)"', answer.text)


# ---- the file of a phone -------------------------------------------------------------------------------


def test_every_item_is_taken_in_as_if_the_phone_had_sent_it(
    desk: FlaskClient, visit: Visit, engineer: User, dispatcher: User
) -> None:
    first, second = item(f"/visits/{visit.id}/acceptance"), item(f"/visits/{visit.id}/departure", 2)

    answer = take_in(desk, package(engineer, second, first))

    assert outcomes(answer) == ["applied", "applied"]
    assert "Taken over: 2" in answer.text
    assert "File of 王磊's phone." in answer.text
    assert answer.text.index("Accepted the visit") < answer.text.index("Set off")
    assert f'<a href="/visits/{visit.id}">华东精密机械有限公司</a>' in answer.text
    assert visit.status == "traveling"
    departed = db.session.scalars(select(VisitEvent).where(VisitEvent.type == "departed")).one()
    assert (departed.actor_id, departed.at) == (engineer.id, clock.now() - timedelta(hours=3))
    handed = select(AuditEntry).where(AuditEntry.action == "rescue.handed_in")
    assert db.session.scalars(handed).one().by == dispatcher.id


def test_the_same_file_twice_does_nothing_twice_and_says_so(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    content = package(engineer, item(f"/visits/{visit.id}/acceptance"))
    take_in(desk, content)

    answer = take_in(desk, content)

    assert outcomes(answer) == ["replayed"]
    assert "Everything in this file was here already. Nothing was done twice." in answer.text
    assert db.session.scalar(select(func.count()).where(VisitEvent.type == "accepted")) == 1


def test_photos_come_with_it(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    answer = take_in(desk, package(engineer, photos=[photo(picture())]))

    assert outcomes(answer) == ["arrived"]
    assert re.search(r"Photo [0-9a-f]{8}", answer.text)


def test_one_file_of_several_asks_for_the_others(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    first = package(engineer, item(f"/visits/{visit.id}/acceptance"), part=1, parts=2)
    second = package(engineer, photos=[photo(picture())], part=2, parts=2)

    answers = [take_in(desk, second), take_in(desk, first)]

    assert [outcomes(answer) for answer in answers] == [["arrived"], ["applied"]]
    assert "This was file 2 of 2." in answers[0].text
    assert "This was file 1 of 2." in answers[1].text
    assert "This was file" not in take_in(desk, package(engineer)).text


def test_what_needs_a_decision_leads_to_the_exceptions(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    broken = {**item(f"/visits/{visit.id}/arrival", 3), "sha256": "0" * 64}
    strange = item("/people", 4)
    refused = item(f"/visits/{visit.id}/pause", 2, reason="no-such-reason")

    answer = take_in(desk, package(engineer, item(f"/visits/{visit.id}/acceptance"), refused, broken, strange))

    assert outcomes(answer)[0] == "applied"
    assert set(outcomes(answer)[1:]) == {"quarantined", "damaged", "refused"}
    assert '<a href="/exceptions">Look at the exceptions</a>' in answer.text
    assert "it is not what the phone had kept" in answer.text
    assert db.session.scalar(select(func.count(Case.id))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/visits/\ud800/arrival"},
        {"path": 5},
        {"path": "/visits/\0/arrival"},
        {"id": "\ud800"},
        {"id": 5},
        {"sequence": -1},
        {"sequence": 1e400},
        {"type": "\ud800\r\nX-User: x"},
        {"device_at": {"a": 1}, "zone": "\ud800\n", "form_version": [1]},
        {"body_b64": "\ud800"},
        {"sha256": "\ud800"},
    ],
)
def test_one_item_that_somebody_tampered_with_does_not_keep_the_others_out(
    desk: FlaskClient, visit: Visit, engineer: User, change: dict[str, Any]
) -> None:
    tampered = {**item(f"/visits/{visit.id}/departure", 2), **change}
    photos = [{"sha256": "\ud800", "bytes_b64": ""}, {"sha256": 5}, {}]
    content = package(engineer, tampered, item(f"/visits/{visit.id}/acceptance"), photos=photos, made_at="\ud800")

    answer = take_in(desk, content)

    assert "applied" in outcomes(answer)
    assert outcomes(answer)[-3:] == ["damaged"] * 3
    assert visit.accepted_at is not None


def test_an_empty_file_says_that_nothing_was_waiting(desk: FlaskClient, engineer: User) -> None:
    answer = take_in(desk, package(engineer))

    assert "The file is whole, but nothing was waiting on this phone." in answer.text


def test_a_file_is_no_sign_of_life_of_the_phone(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    before = clock.now() - timedelta(hours=30)
    add(Device(user_id=engineer.id, device="phone-1", waiting=2, seen_at=before, agent="Android Chrome/1"))

    take_in(desk, package(engineer, item(f"/visits/{visit.id}/acceptance")))

    phone = db.session.scalars(select(Device)).one()
    assert (phone.seen_at, phone.agent, phone.waiting) == (before, "Android Chrome/1", 2)


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 422, "This file is damaged, or it is no rescue file."),
        (b'{"format": "fieldapp-rescue", "items": [', 422, "This file is damaged, or it is no rescue file."),
        (b"\x89PNG\r\n", 422, "This file is damaged, or it is no rescue file."),
        (b'{"format": "another app"}', 422, "This is no rescue file of a phone."),
        (b'{"format": "fieldapp-rescue", "version": 99}', 422, "made by a newer version of the app"),
        (b'{"format": "fieldapp-rescue", "version": 1, "user": "x"}', 422, "This rescue file is not complete."),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_at_the_field(
    desk: FlaskClient, content: bytes, status: int, sentence: str
) -> None:
    answer = take_in(desk, content)

    assert answer.status_code == status
    error = re.search(r'<p class="error" id="package-error">.*?</p>', answer.text, re.S)
    assert error
    assert sentence in error[0]
    assert db.session.scalar(select(func.count(Submission.id))) == 0


def test_the_file_of_somebody_who_is_not_known_here_is_refused(desk: FlaskClient, dispatcher: User) -> None:
    answer = take_in(desk, package(dispatcher))

    assert answer.status_code == 422
    assert "of an engineer who is not known here" in answer.text


def test_no_file_is_said_at_the_field(desk: FlaskClient) -> None:
    for data in ({}, {"package": (io.BytesIO(b""), "")}):
        answer = desk.post("/devices/rescue", data=data)

        assert answer.status_code == 422
        assert "Choose the file that the phone made." in answer.text


def test_a_file_larger_than_other_pages_take_is_read(
    desk: FlaskClient, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = package(engineer, padding="x" * (17 * 1024 * 1024))
    head = b'--x\r\nContent-Disposition: form-data; name="package"; filename="fieldapp.json"\r\n\r\n'
    asked = {"data": head + large + b"\r\n--x--\r\n", "content_type": "multipart/form-data; boundary=x"}

    assert desk.post("/devices/rescue", **asked).status_code == 200
    monkeypatch.setattr(devices, "LARGEST_REQUEST", 1024 * 1024)
    assert desk.post("/devices/rescue", **asked).status_code == 413


def test_only_the_office_takes_files_in(logged_in: Callable[[User], FlaskClient], engineer: User) -> None:
    browser = logged_in(engineer)

    assert browser.get("/devices/rescue").status_code == 403
    assert take_in(browser, package(engineer)).status_code == 403


def test_the_record_of_somebody_who_is_at_the_desk_by_now_is_taken_in(
    desk: FlaskClient, working: Visit, engineer: User, admin: User
) -> None:
    """Work that was done as an engineer counts, signed record and all, whatever they do today."""
    about = f"/visits/{working.id}"
    reminder = encoded(f"{about}/backup-acknowledgement", 1, {"backup_ack_method": "not_applicable"})
    finished = encoded(f"{about}/completion", 2, whole(working))
    accounts.change_role(engineer.id, "dispatcher", by=admin.id)

    answer = take_in(desk, package(engineer, reminder, finished))

    assert outcomes(answer) == ["applied", "applied"]
    assert working.status == "completed"


# ---- another try ------------------------------------------------------------------------------------


@pytest.fixture
def filed(logged_in: Callable[[User], FlaskClient], visit: Visit, engineer: User) -> Case:
    """A step that the phone sent and that could not be applied: its form was of a version nobody knows (yet)."""
    answer = send(logged_in(engineer), f"/visits/{visit.id}/acceptance", version="3")
    assert answer.json
    assert answer.json["outcome"] == "quarantined"
    return db.session.scalars(select(Case)).one()


def send(
    browser: FlaskClient,
    path: str,
    *,
    version: str = "2",
    at: datetime | None = None,
    sent_at: datetime | None = None,
) -> TestResponse:
    """One item of the phone's queue, by its clock."""
    number = str(uuid7())
    headers = {
        "Accept": "application/json",
        "Idempotency-Key": number,
        "X-Device": "phone-1",
        "X-Sequence": "1",
        "X-Form-Version": version,
        "X-Device-At": (at or clock.now() - timedelta(hours=3)).isoformat(),
        "X-Sent-At": (sent_at or clock.now()).isoformat(),
    }
    return browser.post(path, data={"submission_id": number}, headers=headers)


def try_again(desk: FlaskClient, case: Case) -> TestResponse:
    return desk.post(f"/exceptions/{case.id}/another-try", data={"submission_id": str(uuid7())})


def test_what_still_cannot_be_applied_says_why_and_stays_open(desk: FlaskClient, filed: Case) -> None:
    answer = try_again(desk, filed)

    assert answer.status_code == 409
    assert "It still cannot be applied: This was filled in with a version of the app" in answer.text
    assert db.session.scalars(select(Case)).one().settled_at is None
    assert (
        db.session.scalars(select(Submission).where(Submission.id == filed.submission_id)).one().outcome
        == "quarantined"
    )


def test_once_nothing_stands_in_its_way_it_is_applied_as_it_was_sent(
    desk: FlaskClient,
    filed: Case,
    visit: Visit,
    engineer: User,
    dispatcher: User,
    afternoon: Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    understand(monkeypatch, "3")
    afternoon.shift(timedelta(hours=1))

    answer = try_again(desk, filed)

    assert answer.status_code == 303
    assert "It is applied now." in desk.get("/exceptions").text
    case = db.session.scalars(select(Case)).one()
    assert (case.decision, case.settled_by_id) == ("It was applied after all.", dispatcher.id)
    assert visit.status == "accepted"
    accepted = db.session.scalars(select(VisitEvent).where(VisitEvent.type == "accepted")).one()
    assert (accepted.actor_id, accepted.at) == (engineer.id, clock.now() - timedelta(hours=4))
    submission = db.session.get(Submission, case.submission_id)
    assert submission
    assert (submission.outcome, submission.receipt["outcome"]) == ("applied", "applied")  # type: ignore[index]
    assert (
        db.session.scalar(select(AuditEntry.by).where(AuditEntry.action == "submission.tried_again")) == dispatcher.id
    )


@pytest.mark.parametrize(
    "wrong_by", [timedelta(hours=2), timedelta(days=-1), datetime(1970, 1, 2, tzinfo=UTC) - AFTERNOON]
)
def test_x21_what_a_wrong_clock_had_sent_happened_when_it_came_not_when_it_is_tried_again(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    visit: Visit,
    engineer: User,
    afternoon: Traveller,
    monkeypatch: pytest.MonkeyPatch,
    wrong_by: timedelta,
) -> None:
    there = clock.now() + wrong_by
    send(logged_in(engineer), f"/visits/{visit.id}/acceptance", version="3", at=there, sent_at=there)
    came, filed = clock.now(), db.session.scalars(select(Case)).one()
    understand(monkeypatch, "3")
    afternoon.shift(timedelta(hours=9))

    assert try_again(desk, filed).status_code == 303

    accepted = db.session.scalars(select(VisitEvent).where(VisitEvent.type == "accepted")).one()
    assert (accepted.at, accepted.skew_s) == (came, int(wrong_by.total_seconds()))
    assert visit.accepted_at == came
    receipt = db.session.get_one(Submission, filed.submission_id).receipt
    assert receipt
    assert receipt["received_at"] == came.isoformat(), "as the phone was told"


def test_two_who_try_at_once_apply_it_once_and_the_second_is_told(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    manager: User,
    filed: Case,
    visit: Visit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    understand(monkeypatch, "3")
    try_again(desk, filed)

    answer = try_again(logged_in(manager), filed)

    assert answer.status_code == 409
    assert "赵敏 settled this already" in answer.text
    assert db.session.scalar(select(func.count()).where(VisitEvent.type == "accepted")) == 1


def test_what_was_applied_but_not_yet_settled_is_settled_by_the_next_try(
    desk: FlaskClient, filed: Case, visit: Visit, dispatcher: User, monkeypatch: pytest.MonkeyPatch
) -> None:

    understand(monkeypatch, "3")
    submission = db.session.get(Submission, filed.submission_id)
    assert submission
    assert rescue.apply_again(submission, by=dispatcher.id).outcome == "applied"

    answer = try_again(desk, filed)

    assert answer.status_code == 303
    assert db.session.scalars(select(Case)).one().settled_at is not None
    assert db.session.scalar(select(func.count()).where(VisitEvent.type == "accepted")) == 1


def test_the_phone_that_asks_again_hears_that_it_is_applied(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    filed: Case,
    visit: Visit,
    engineer: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    understand(monkeypatch, "3")
    try_again(desk, filed)

    headers = {"Accept": "application/json", "Idempotency-Key": str(filed.submission_id), "X-Form-Version": "3"}
    body = {"submission_id": str(filed.submission_id)}
    again = logged_in(engineer).post(
        f"/visits/{visit.id}/acceptance", data=body, headers={**headers, "X-Device": "phone-1", "X-Sequence": "1"}
    )

    assert again.json
    assert (again.status_code, again.json["replayed"], again.json["outcome"]) == (200, True, "applied")


def test_the_office_cannot_be_impersonated_over_the_network(
    logged_in: Callable[[User], FlaskClient], filed: Case, visit: Visit, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this process can ask for another try: a phone that sends the same again gets the receipt it had."""
    understand(monkeypatch, "3")
    headers = {
        "Accept": "application/json",
        "Idempotency-Key": str(filed.submission_id),
        "X-Device": "phone-1",
        "X-Sequence": "1",
        "X-Form-Version": "3",
        "AGAIN": "1",
    }

    answer = logged_in(engineer).post(
        f"/visits/{visit.id}/acceptance", data={"submission_id": str(filed.submission_id)}, headers=headers
    )

    assert answer.json
    assert (answer.json["replayed"], answer.json["outcome"]) == (True, "quarantined")


def test_a_program_is_answered_as_a_program(desk: FlaskClient, filed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"headers": {"Accept": "application/json"}}

    refused = desk.post(f"/exceptions/{filed.id}/another-try", **asked)
    understand(monkeypatch, "3")
    done = desk.post(f"/exceptions/{filed.id}/another-try", **asked)

    assert refused.json
    assert (refused.status_code, refused.json["error"]) == (409, "not_allowed_now")
    assert done.json
    assert (done.status_code, done.json["case"]) == (200, str(filed.id))


def test_a_case_without_anything_kept_cannot_be_tried(desk: FlaskClient, engineer: User, filed: Case) -> None:
    add(bare := Case(kind="quarantine", unique_for="bare", user_id=engineer.id))

    assert try_again(desk, bare).status_code == 404


def understand(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """As after an update of the app: this version of the form is known now."""

    monkeypatch.setitem(versions.SUPERSEDED, version, None)
