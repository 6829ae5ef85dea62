"""``once``: the same submission twice is one effect and the same receipt; and what a request tells about itself."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from fieldapp import audit, clock
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.errors import InProgress, KeyReused
from fieldapp.extensions import db, uuid7
from fieldapp.offline.models import Submission
from fieldapp.offline.operations import Receipt, Told, new_told, once
from fieldapp.visits.models import Visit, VisitEvent


@pytest.fixture
def effects() -> list[int]:
    return []


def told_by(user: User, number: UUID, path: str = "/x", body: str = "body") -> Told:
    return new_told(user.id, path, submission_id=number, body_sha256=body)


def noting(effects: list[int]):  # type: ignore[no-untyped-def]
    def apply() -> Receipt:
        effects.append(1)
        audit.record("tested", "thing", "1", by=None)
        return {"effect": len(effects)}

    return apply


def test_the_second_time_gives_the_first_receipt(engineer: User, effects: list[int]) -> None:
    number = uuid7()

    first, replayed = once(told_by(engineer, number), noting(effects))
    again, again_replayed = once(told_by(engineer, number), noting(effects))

    assert (replayed, again_replayed) == (False, True)
    assert again == first
    assert first["outcome"] == "applied"
    assert (first["submission_id"], first["body_sha256"], first["effect"]) == (str(number), "body", 1)
    assert effects == [1]
    assert db.session.scalar(select(func.count()).select_from(AuditEntry)) == 1


@pytest.mark.parametrize("change", ["body", "path", "person"])
def test_the_same_number_for_something_else_is_refused_and_noted(
    engineer: User, colleague: User, effects: list[int], change: str
) -> None:
    number = uuid7()
    first, _replayed = once(told_by(engineer, number), noting(effects))
    other = {
        "body": told_by(engineer, number, body="other"),
        "path": told_by(engineer, number, path="/y"),
        "person": told_by(colleague, number),
    }[change]

    with pytest.raises(KeyReused):
        once(other, noting(effects))

    assert effects == [1]
    kept = db.session.get_one(Submission, number).receipt
    assert kept is not None
    assert kept.items() <= first.items()
    (entry,) = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "submission.key_reused"))
    assert (entry.subject_id, entry.by) == (str(number), other.user_id)


def test_what_fails_is_not_stored_and_may_come_again(engineer: User, effects: list[int]) -> None:
    number = uuid7()

    def fail() -> Receipt:
        audit.record("tested", "thing", "1", by=None)
        raise ValueError

    with pytest.raises(ValueError):
        once(told_by(engineer, number), fail)
    assert db.session.get(Submission, number) is None
    _receipt, replayed = once(told_by(engineer, number), noting(effects))

    assert not replayed


def test_another_rule_of_the_database_is_not_taken_for_a_repetition(engineer: User) -> None:
    def twice() -> Receipt:
        db.session.add(User(username=engineer.username, name="", role="engineer"))
        db.session.flush()
        return {}

    with pytest.raises(IntegrityError):
        once(told_by(engineer, uuid7()), twice)


def test_a_busy_database_says_in_progress_and_a_broken_one_is_an_error(engineer: User) -> None:
    def fail(sentence: str):  # type: ignore[no-untyped-def]
        def apply() -> Receipt:
            raise OperationalError("UPDATE", None, sqlite3.OperationalError(sentence))

        return apply

    with pytest.raises(InProgress):
        once(told_by(engineer, uuid7()), fail("database is locked"))
    with pytest.raises(OperationalError):
        once(told_by(engineer, uuid7()), fail("disk I/O error"))


@pytest.mark.parametrize("bodies", [("same", "same"), ("one", "other")])
def test_applied_beside_us_what_is_stored_decides(app: Flask, engineer: User, bodies: tuple[str, str]) -> None:
    """Both have looked and found nothing; the database lets one of them through."""
    number, key = uuid7(), engineer.id
    gate = threading.Barrier(2)

    def submit(body: str) -> object:
        with app.app_context():
            db.session.get(Submission, number)
            db.session.rollback()
            gate.wait()
            try:
                return once(new_told(key, "/x", submission_id=number, body_sha256=body), dict)
            except KeyReused as error:
                return error
            finally:
                db.session.remove()

    db.session.rollback()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(submit, bodies))

    receipts = [result for result in results if isinstance(result, tuple)]
    assert sum(not replayed for _receipt, replayed in receipts) == 1
    assert len(receipts) == (2 if bodies[0] == bodies[1] else 1)
    noted = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "submission.key_reused")
    assert db.session.scalar(noted) == 2 - len(receipts)


def test_the_phones_time_counts_when_it_gave_one() -> None:
    arrived = clock.now()
    drawn = arrived - timedelta(days=3)
    told = Told(submission_id=uuid7(), user_id=uuid7(), path="/", body_sha256="", received_at=arrived)

    assert told.at == arrived
    assert new_told(uuid7(), "/", submission_id=uuid7(), device_at=drawn).at == drawn


# ---- what a request tells ---------------------------------------------------------------------------


def accept(browser: FlaskClient, visit: Visit, data: dict[str, str] | None = None, **headers: str):  # type: ignore[no-untyped-def]
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.post(
        f"/visits/{visit.id}/acceptance", data=data or {}, headers={"Accept": "application/json", **given}
    )


def test_headers_of_a_phones_queue(visit: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    number, at = str(uuid7()), "2026-11-21T09:30:00+08:00"

    answer = accept(
        logged_in(engineer),
        visit,
        Idempotency_Key=f'"{number}"',
        X_Device="phone 1",
        X_Device_At=at,
        X_Sequence="7",
        X_Body_SHA256=hashlib.sha256(b"").hexdigest().upper(),
    )

    assert answer.status_code == 200
    assert answer.json["submission_id"] == number
    row = db.session.get_one(Submission, UUID(number))
    assert (row.device, row.sequence, row.device_at) == ("phone 1", 7, datetime(2026, 11, 21, 1, 30, tzinfo=UTC))
    event = db.session.scalars(select(VisitEvent).where(VisitEvent.type == "accepted")).one()
    assert (event.device_at, event.submission_id) == (row.device_at, row.id)


def test_fields_of_a_plain_form(visit: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    number = str(uuid7())
    fields = {"submission_id": number, "device": "phone 2", "device_at": "2026-11-21T01:30:00Z", "revision": "1"}

    browser = logged_in(engineer)
    first = browser.post(f"/visits/{visit.id}/acceptance", data=fields)
    again = browser.post(f"/visits/{visit.id}/acceptance", data=fields)

    assert (first.status_code, again.status_code) == (303, 303)
    row = db.session.get_one(Submission, UUID(number))
    assert (row.device, row.device_at) == ("phone 2", datetime(2026, 11, 21, 1, 30, tzinfo=UTC))
    assert db.session.scalar(select(func.count()).select_from(Submission)) == 1


def test_what_arrived_damaged_is_not_taken(visit: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    answer = accept(logged_in(engineer), visit, X_Body_SHA256="0" * 64)

    assert (answer.status_code, answer.json["error"]) == (422, "digest_mismatch")
    assert db.session.get_one(Visit, visit.id).status == "scheduled"


def test_a_number_that_is_none_is_refused(visit: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    answer = accept(logged_in(engineer), visit, Idempotency_Key="seven")

    assert (answer.status_code, answer.json["error"]) == (422, "invalid")


@pytest.mark.parametrize(
    "header", [{"X_Device_At": "yesterday"}, {"X_Device_At": "2026-11-21T09:30:00"}, {"X_Sequence": "-1"}]
)
def test_nonsense_beside_the_form_is_left_out(visit: Visit, engineer: User, logged_in, header) -> None:  # type: ignore[no-untyped-def]
    assert accept(logged_in(engineer), visit, **header).status_code == 200

    row = db.session.scalars(select(Submission)).one()
    assert (row.device_at, row.sequence) == (None, None)


def test_the_digest_is_of_what_was_sent_for_every_kind_of_form(working: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    """Also where the view reads the form before it asks for the digest."""
    body = b"content_text=hello&submission_id=" + str(uuid7()).encode()
    answer = logged_in(engineer).post(
        f"/visits/{working.id}/record",
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers={"Accept": "application/json"},
    )

    assert answer.json["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert db.session.scalar(text("SELECT content_text FROM service_record")) == "hello"


def test_a_repeated_submission_of_a_declined_visit_still_gets_its_receipt(
    visit: Visit,
    engineer: User,
    logged_in,  # type: ignore[no-untyped-def]
) -> None:
    browser, number = logged_in(engineer), str(uuid7())
    fields = {"submission_id": number, "reason": "病假"}
    path = f"/visits/{visit.id}/refusal"

    first = browser.post(path, data=fields, headers={"Accept": "application/json"})
    again = browser.post(path, data=fields, headers={"Accept": "application/json"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json == {**first.json, "replayed": True}
