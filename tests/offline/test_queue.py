"""What a phone's queue sends is never refused to its engineer: applied, noted or filed, it has a receipt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlencode
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import LoginSession, User
from fieldapp.audit import AuditEntry
from fieldapp.errors import Busy, InProgress, Invalid, KeyReused, NotAllowedNow, NotFound, Refused, TooLarge, TryLater
from fieldapp.extensions import db, uuid7
from fieldapp.offline import operations
from fieldapp.offline.models import CASE_KINDS, Case, Device, Submission
from fieldapp.offline.operations import NoLongerYours, Receipt, Told, identity, new_told, once, once_or_filed
from fieldapp.storage import blobs
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit, VisitEvent
from tests.conftest import Browser
from tests.offline.queue import Item, receipt_of, step

LogIn = Callable[[User], FlaskClient]


@pytest.fixture
def phone(logged_in: LogIn, engineer: User) -> FlaskClient:
    return logged_in(engineer)


def rows(model: type) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(model)) or 0


# ---- applied ----------------------------------------------------------------------------------------


def test_the_receipt_says_what_was_received_by_whom_and_that_all_is_well(visit: Visit, phone: FlaskClient) -> None:
    item = step(visit.id, "acceptance")

    receipt = receipt_of(item.sent(phone))

    assert receipt["submission_id"] == str(item.id)
    assert (receipt["outcome"], receipt["sentence"], receipt["replayed"]) == ("applied", "", False)
    assert (receipt["server"], receipt["epoch"]) == (str(identity().server), 1)
    row = db.session.get_one(Submission, item.id)
    assert (row.outcome, row.reason, row.form_version, row.kept_sha256) == ("applied", "", "2", None)
    assert row.body_sha256 == receipt["body_sha256"]


def test_x7_twenty_at_once_are_one_effect(app: Flask, visit: Visit, engineer: User) -> None:
    token = accounts.open_session(engineer, user_agent="tests", address="127.0.0.1")
    key, item = visit.id, step(visit.id, "acceptance")
    db.session.rollback()

    def send(_turn: int) -> tuple[int, object]:
        app.test_client_class = Browser
        browser = app.test_client()
        browser.set_cookie(accounts.COOKIE, token)
        with app.app_context():
            answer = item.sent(browser)
        assert answer.json is not None
        return answer.status_code, answer.json.get("error", answer.json.get("replayed"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(20)))

    assert answers.count((200, False)) == 1
    assert set(answers) <= {(200, False), (200, True), (409, "in_progress")}
    assert rows(Submission) == rows(Device) == 1
    told = select(VisitEvent.type).where(VisitEvent.visit_id == key)
    assert list(db.session.scalars(told)).count("accepted") == 1


# ---- filed ------------------------------------------------------------------------------------------


def test_what_cannot_be_applied_is_filed_with_its_body_a_case_and_a_receipt(
    working: Visit, engineer: User, phone: FlaskClient
) -> None:
    item = step(working.id, "pause", reason="lunch")

    receipt = receipt_of(item.sent(phone))

    assert (receipt["outcome"], receipt["sentence"]) == ("quarantined", "Please say why you pause.")
    row = db.session.get_one(Submission, item.id)
    assert (row.outcome, row.reason) == ("quarantined", "Please say why you pause.")
    assert row.kept_sha256 is not None
    assert blobs.get(row.kept_sha256) == item.body
    assert row.content_type == "application/x-www-form-urlencoded"
    (case,) = db.session.scalars(select(Case))
    assert (case.kind, case.visit_id, case.submission_id, case.user_id) == (
        "quarantine",
        working.id,
        item.id,
        engineer.id,
    )
    assert case.facts["path"] == item.path
    assert case.facts["sentence"] == "Please say why you pause."
    assert list(case.facts["fields"]) == ["reason"]
    assert db.session.get_one(Visit, working.id).status == "working"
    actions = set(db.session.scalars(select(AuditEntry.action)))
    assert {"submission.quarantined", "case.opened"} <= actions


def test_nul_in_what_was_typed_is_left_out_and_the_rest_is_taken(working: Visit, phone: FlaskClient) -> None:
    """No person types it, and no database keeps it; refused, it would lie on the phone for ever."""
    for cause in (b"fan+%00broken%00", b"fan+\0broken"):
        item = replace(step(working.id, "inability"), body=b"cause=" + cause)

        receipt = receipt_of(item.sent(phone))

        assert receipt["outcome"] in ("applied", "noted")
        assert receipt["body_sha256"] == hashlib.sha256(item.body).hexdigest(), "what was sent"
    told = select(VisitEvent.payload).where(VisitEvent.type == "cannot_complete")
    assert {payload["cause"] for payload in db.session.scalars(told)} == {"fan broken"}


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1", "x"])
def test_a_row_that_no_form_has_is_filed(working: Visit, phone: FlaskClient, number: str) -> None:
    for noun in ("record", "hand-over", "completion"):
        fields = {"content_text": "更换主板", f"parts-{number}-name": "风扇", "whole": "1"}
        item = Item(f"/visits/{working.id}/{noun}", urlencode(fields).encode(), sequence=1)

        receipt = receipt_of(item.sent(phone))

        assert receipt["outcome"] == "quarantined"
        assert blobs.get(db.session.get_one(Submission, item.id).kept_sha256 or "") == item.body


def test_nothing_of_the_failed_attempt_stays(working: Visit, engineer: User) -> None:
    def apply() -> Receipt:
        visits.note_event(working, "half_done", by=engineer)
        db.session.flush()
        raise NotAllowedNow("not now")

    told = replace(new_told(engineer.id, "/x", submission_id=uuid7()), queued=True, device="a", sequence=1)
    receipt, _replayed = once_or_filed(told, apply)

    assert receipt["outcome"] == "quarantined"
    assert "half_done" not in list(db.session.scalars(select(VisitEvent.type)))


def test_a_filed_item_sent_again_gets_the_same_receipt_and_one_case(working: Visit, phone: FlaskClient) -> None:
    item = step(working.id, "pause", reason="lunch")

    first = receipt_of(item.sent(phone))
    again = receipt_of(item.sent(phone))

    assert again == {**first, "replayed": True}
    assert rows(Case) == rows(Submission) == 1


def test_x8_a_filed_item_with_another_body_is_refused_and_the_first_stays(working: Visit, phone: FlaskClient) -> None:
    item = step(working.id, "pause", reason="lunch")
    first = receipt_of(item.sent(phone))

    other = replace(item, body=item.body.replace(b"lunch", b"break")).sent(phone)

    assert (other.status_code, other.json["error"]) == (422, "key_reused")  # type: ignore[index]
    row = db.session.get_one(Submission, item.id)
    assert (row.body_sha256, row.outcome) == (first["body_sha256"], "quarantined")
    assert db.session.scalar(select(AuditEntry).where(AuditEntry.action == "submission.key_reused"))


@pytest.mark.parametrize("error", [NotAllowedNow("no"), Invalid("no"), NoLongerYours("no")])
def test_these_refusals_are_filed(engineer: User, error: Exception) -> None:
    receipt, _replayed = once_or_filed(queued(engineer), failing(error))

    assert (receipt["outcome"], receipt["sentence"]) == ("quarantined", "no")


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no"),
        Refused("no"),
        TooLarge("no"),
        InProgress("no"),
        KeyReused("no"),
        TryLater("no", retry_after=1),
        Busy("no", retry_after=1),
        RuntimeError("no"),
    ],
)
def test_these_never_become_a_quarantine(engineer: User, error: Exception) -> None:
    with pytest.raises(type(error)):
        once_or_filed(queued(engineer), failing(error))

    assert rows(Submission) == rows(Case) == 0


@pytest.mark.parametrize("without", ["X_Device", "X_Sequence", "Accept"])
def test_only_a_queue_is_filed_everybody_else_is_told_at_once(working: Visit, phone: FlaskClient, without: str) -> None:
    answer = step(working.id, "pause", reason="lunch").sent(phone, **{without: ""})

    assert answer.status_code == 422
    assert rows(Submission) == rows(Case) == 0


def test_the_offices_refusals_are_not_filed(working: Visit, dispatcher: User, logged_in: LogIn) -> None:
    answer = step(working.id, "cancellation", reason="x").sent(logged_in(dispatcher))

    assert answer.status_code == 409
    assert rows(Case) == 0


def test_a_stranger_to_the_visit_gets_404_and_leaves_nothing(visit: Visit, colleague: User, logged_in: LogIn) -> None:
    answer = step(visit.id, "acceptance").sent(logged_in(colleague))

    assert (answer.status_code, answer.json["error"]) == (404, "not_found")  # type: ignore[index]
    assert rows(Submission) == rows(Case) == rows(Device) == 0


def test_what_arrived_damaged_is_asked_for_again_not_filed(visit: Visit, phone: FlaskClient) -> None:
    item = step(visit.id, "acceptance")

    damaged = item.sent(phone, X_Body_SHA256="0" * 64)
    whole = receipt_of(item.sent(phone))

    assert (damaged.status_code, damaged.json["error"]) == (422, "digest_mismatch")  # type: ignore[index]
    assert whole["outcome"] == "applied"


def test_x6_an_expired_session_is_401_json_and_the_item_is_taken_after_the_log_in(
    app: Flask, visit: Visit, engineer: User, phone: FlaskClient, client: FlaskClient
) -> None:
    item = step(visit.id, "acceptance")

    answer = item.sent(client)
    bare = client.post("/offline/contact", data={"device": "x"}, headers={"Accept": "*/*"})

    for refused in (answer, bare):
        assert (refused.status_code, refused.json["error"]) == (401, "login_needed")  # type: ignore[index]
        assert refused.location is None
    assert rows(Submission) == 0
    assert receipt_of(item.sent(phone))["outcome"] == "applied"


def test_while_the_customer_has_the_phone_the_queue_is_asked_to_wait_not_refused(
    app: Flask, visit: Visit, engineer: User, phone: FlaskClient
) -> None:
    """A 409 or 422 would put the item aside for a person to look at."""
    item = step(visit.id, "acceptance")
    session = db.session.scalars(select(LoginSession)).one()
    accounts.hand_over(session.id, uuid7())

    later = item.sent(phone)

    assert (later.status_code, later.headers["Retry-After"]) == (429, "60")
    assert rows(Submission) == 0
    accounts.hand_over(session.id, visit.id)
    assert item.sent(phone).status_code == 429


# ---- what an operation says of itself ---------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "kept"), [("noted", False), ("merged", True), ("conflict", True)])
def test_an_outcome_of_the_operation_is_kept_and_told(engineer: User, outcome: str, kept: bool) -> None:
    told = queued(engineer)

    receipt, _replayed = once(told, lambda: {"outcome": outcome, "sentence": "So it was."})
    again, _replayed = once(told, dict)

    assert receipt == again
    assert (receipt["outcome"], receipt["sentence"]) == (outcome, "So it was.")
    row = db.session.get_one(Submission, told.submission_id)
    assert (row.outcome, row.reason) == (outcome, "So it was.")
    assert bool(row.kept_sha256) == kept
    if row.kept_sha256:
        assert blobs.get(row.kept_sha256) == told.body


def test_an_outcome_that_nobody_knows_is_a_mistake_of_ours(engineer: User) -> None:
    with pytest.raises(ValueError, match="perhaps"):
        once(queued(engineer), lambda: {"outcome": "perhaps"})

    assert rows(Submission) == 0


# ---- cases ------------------------------------------------------------------------------------------


def test_the_same_cause_is_one_case(engineer: User, visit: Visit) -> None:
    first = operations.open_case("conflict", unique_for="a", visit_id=visit.id, user_id=engineer.id, field="cause")
    again = operations.open_case("conflict", unique_for="a", visit_id=visit.id, user_id=engineer.id, field="other")

    assert first.id == again.id
    assert again.facts == {"field": "cause"}
    assert rows(Case) == 1


def test_a_case_about_what_is_not_there_says_so_by_saying_nothing(engineer: User) -> None:
    case = operations.open_case("quarantine", unique_for="a", visit_id=uuid7(), submission_id=uuid7())

    assert (case.visit_id, case.submission_id) == (None, None)


def test_a_case_has_a_known_kind(app: Flask) -> None:
    with pytest.raises(ValueError, match="worry"):
        operations.open_case("worry", unique_for="a")
    assert "quarantine" in CASE_KINDS


def test_settling_a_case_keeps_who_and_how_and_happens_once(dispatcher: User) -> None:
    case = operations.open_case("conflict", unique_for="a")

    with pytest.raises(Invalid):
        operations.settle_case(case, by=dispatcher, decision="  ")
    operations.settle_case(case, by=dispatcher, decision=" the phone's text ")
    with pytest.raises(NotAllowedNow):
        operations.settle_case(case, by=dispatcher, decision="again")

    assert (case.settled_by_id, case.decision) == (dispatcher.id, "the phone's text")
    assert case.settled_at is not None
    assert db.session.scalar(select(AuditEntry).where(AuditEntry.action == "case.settled"))


# ---- after a restore --------------------------------------------------------------------------------


def test_after_a_restore_every_receipt_says_the_new_epoch_also_an_old_one(
    app: Flask, visit: Visit, phone: FlaskClient
) -> None:
    item = step(visit.id, "acceptance")
    before = receipt_of(item.sent(phone))

    told = app.test_cli_runner().invoke(args=["restored"])
    after = receipt_of(item.sent(phone))

    epoch = identity().epoch
    assert f"epoch {epoch}" in told.output
    assert epoch > before["epoch"]
    assert after == {**before, "epoch": epoch, "replayed": True}
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "server.restored")).one()
    assert entry.subject_id == before["server"]


def queued(user: User) -> Told:
    told = new_told(user.id, "/x", submission_id=uuid7(), body=b"a=1", content_type="text/plain")
    return replace(told, queued=True, device="phone", sequence=1)


def failing(error: Exception) -> Callable[[], Receipt]:
    def apply() -> Receipt:
        raise error

    return apply


def test_a_sequence_that_no_column_holds_makes_it_no_item_of_a_queue(visit: Visit, phone: FlaskClient) -> None:
    answer = step(visit.id, "acceptance").sent(phone, X_Sequence="9" * 15)

    assert answer.status_code == 200
    assert db.session.scalars(select(Submission.sequence)).one() is None


def test_an_item_may_name_its_number_in_the_header_alone(visit: Visit, phone: FlaskClient) -> None:
    item = Item(f"/visits/{visit.id}/acceptance")

    assert UUID(receipt_of(item.sent(phone))["submission_id"]) == item.id
    assert clock.now() >= db.session.get_one(Submission, item.id).received_at
