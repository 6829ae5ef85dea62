"""Forms of older versions are applied. They were taken from browsers (in v2 the customer has another name since);
v1-unfinished.json was written by hand from the first version's pages. What nobody understands is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, uuid7
from fieldapp.offline import versions
from fieldapp.offline.models import Case, Submission
from fieldapp.outbox import Promise
from fieldapp.records.queries import record_of
from fieldapp.storage import blobs
from fieldapp.visits import operations
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from fieldapp.visits.queries import events_of
from tests.offline.queue import Item, receipt_of, step

LogIn = Callable[[User], FlaskClient]
STORED = Path(__file__).parent / "stored"
SUPERSEDED = versions.SUPERSEDED["1"]


@pytest.fixture
def phone(logged_in: LogIn, engineer: User) -> FlaskClient:
    return logged_in(engineer)


@dataclass(frozen=True)
class Journey:
    """One visit as a phone's browser sent it: (noun, content type, body, when it was tapped) in order. ``began_at``: when
    the first step was tapped; the bodies name times of that day."""

    version: str | None
    began_at: datetime
    sent: list[tuple[str, str, bytes, datetime]]

    def items(self, visit: Visit) -> list[Item]:
        """The same bytes for this visit, as a phone of that version would queue them."""
        return [
            Item(
                f"/visits/{visit.id}/{noun}",
                body,
                id=_number_in(body, kind),
                sequence=n + 1,
                at=at,
                version=self.version,
                type=kind,
            )
            for n, (noun, kind, body, at) in enumerate(self.sent)
        ]


def _number_in(body: bytes, kind: str) -> UUID:
    """The submission's number as the form carries it."""
    if kind.startswith("multipart/"):
        after = body.split(b'name="submission_id"\r\n\r\n', 1)[1]
        return UUID(after.split(b"\r\n", 1)[0].decode())
    return UUID(parse_qs(body.decode())["submission_id"][0])


def stored(name: str) -> Journey:
    given: dict[str, Any] = json.loads((STORED / name).read_text())
    began_at = datetime.fromisoformat(given["began_at"])
    sent = []
    for n, one in enumerate(given["sent"]):
        body = one["body"].encode() if "body" in one else base64.b64decode(one["body_b64"])
        at = datetime.fromisoformat(one["at"]) if "at" in one else began_at + timedelta(minutes=n)
        sent.append((one["noun"], one["type"], body, at))
    return Journey(given["form_version"], began_at, sent)


def nouns(journey: Journey) -> list[str]:
    return [noun for noun, *_rest in journey.sent]


def sent_all(phone: FlaskClient, items: list[Item], hours: int = 5) -> list[dict[str, Any]]:
    """Sent some hours after the first step was tapped; the receipts."""
    assert items[0].at is not None
    with time_machine.travel(items[0].at + timedelta(hours=hours), tick=False):
        return [receipt_of(item.sent(phone)) for item in items]


# ---- the first version ------------------------------------------------------------------------------


def test_the_stored_forms_are_every_way_of_the_first_version() -> None:
    seen = {noun for name in ("v1-drawn.json", "v1-refused.json", "v1-unfinished.json") for noun in nouns(stored(name))}

    assert seen == {
        "acceptance",
        "refusal",
        "departure",
        "arrival",
        "start",
        "pause",
        "resumption",
        "inability",
        "absence",
        "backup-acknowledgement",
        "photos",
        "record",
        "hand-over",
        "customer-signature",
        "completion",
    }


def test_a_visit_filled_in_with_the_first_version_is_applied_to_its_end(visit: Visit, phone: FlaskClient) -> None:
    items = stored("v1-drawn.json").items(visit)

    receipts = sent_all(phone, items)

    assert [(receipt["outcome"], receipt["sentence"]) for receipt in receipts] == [("applied", "")] * len(items)
    db.session.rollback()
    assert visit.status == "completed"
    assert visit.accepted_at == items[0].at
    record = record_of(visit)
    assert record is not None
    assert record.content_text.startswith("更换电源模块")
    assert {signature.role for signature in record.signatures} == {"backup_ack", "customer", "engineer"}
    assert {signature.method for signature in record.signatures} == {"drawn"}
    assert len([photo for photo in record.photos if photo.arrived_at]) == 1
    assert len(db.session.scalars(select(Promise).where(Promise.kind == "record_signed")).all()) == 1
    assert {row.form_version for row in db.session.scalars(select(Submission))} == {None}


def test_refusals_of_the_first_version_are_applied_too(visit: Visit, phone: FlaskClient) -> None:
    items = stored("v1-refused.json").items(visit)

    receipts = sent_all(phone, items)

    assert {(receipt["outcome"], receipt["sentence"]) for receipt in receipts} == {("applied", "")}
    db.session.rollback()
    assert visit.status == "completed"
    record = record_of(visit)
    assert record is not None
    methods = {signature.role: signature.method for signature in record.signatures}
    assert methods == {"backup_ack": "refused", "customer": "refused", "engineer": "drawn"}
    assert record.remark == "下周来电确认"


def test_the_ways_of_the_first_version_that_end_without_a_record(visit: Visit, phone: FlaskClient) -> None:
    items = stored("v1-unfinished.json").items(visit)

    names = nouns(stored("v1-unfinished.json"))

    receipts = dict(zip(names, sent_all(phone, items)))

    assert receipts["inability"]["outcome"] == "applied"
    assert receipts["refusal"]["outcome"] == receipts["absence"]["outcome"] == "noted"  # of a page that stood open
    db.session.rollback()
    assert visit.status == "cannot_complete"
    assert {"paused", "resumed", "cannot_complete"} <= {event.type for event in events_of(visit)}


def test_the_queue_goes_on_after_a_hand_over(visit: Visit, phone: FlaskClient) -> None:
    """A queued hand-over must not hand over the session that sends it: what follows is still waiting there."""
    items = stored("v1-drawn.json").items(visit)
    until = nouns(stored("v1-drawn.json")).index("hand-over") + 1

    sent_all(phone, items[:until])

    with time_machine.travel(items[0].at + timedelta(hours=5), tick=False):  # type: ignore[operator]
        assert phone.get("/").status_code == 200


def test_months_later_the_first_version_is_still_applied(visit: Visit, engineer: User, logged_in: LogIn) -> None:
    assert SUPERSEDED is not None
    last_day = datetime.combine(versions.a_year_after(SUPERSEDED), datetime.min.time(), UTC) - timedelta(minutes=1)
    items = stored("v1-drawn.json").items(visit)

    with time_machine.travel(last_day, tick=False):
        phone = logged_in(engineer)
        receipts = [receipt_of(item.sent(phone)) for item in items]

    assert {(receipt["outcome"], receipt["sentence"]) for receipt in receipts} == {("applied", "")}


# ---- the second version -----------------------------------------------------------------------------


def test_a_visit_of_the_second_version_is_applied_to_its_end(visit: Visit, phone: FlaskClient) -> None:
    receipts = sent_all(phone, stored("v2-whole.json").items(visit))

    assert [(receipt["outcome"], receipt["sentence"]) for receipt in receipts] == [("applied", "")] * 6
    db.session.rollback()
    assert visit.status == "completed"
    record = record_of(visit)
    assert record is not None
    assert {signature.role: signature.method for signature in record.signatures} == dict.fromkeys(
        ("backup_ack", "customer", "engineer"), "drawn"
    )


def test_x13_a_whole_day_on_a_visit_that_was_cancelled_is_stored_and_the_ticket_is_told(
    visit: Visit, dispatcher: User, phone: FlaskClient
) -> None:
    operations.cancel(visit, "客户取消", by=dispatcher)
    journey = stored("v2-whole.json")

    receipts = sent_all(phone, journey.items(visit))

    assert [receipt["outcome"] for receipt in receipts[:4]] == ["noted"] * 4
    assert receipts[-1]["outcome"] in ("applied", "noted")
    db.session.rollback()
    assert visit.status == "completed"
    assert visit.arrived_at == journey.sent[2][3]
    assert [case.kind for case in db.session.scalars(select(Case))] == ["despite_cancellation"]
    promised = db.session.scalars(select(Promise.kind).order_by(Promise.lane_seq)).all()
    assert promised[0] == "done_despite_cancellation"
    assert "record_signed" in promised


def test_x14_a_whole_day_on_a_visit_of_somebody_else_by_now_stands_beside_theirs(
    visit: Visit, engineer: User, colleague: User, dispatcher: User, phone: FlaskClient, logged_in: LogIn
) -> None:
    journey = stored("v2-whole.json")
    operations.plan(visit, Plan(lead_id=colleague.id, window_start=clock.now() + timedelta(hours=9)), by=dispatcher)

    mine = sent_all(phone, journey.items(visit))
    others = [replace(item, id=uuid7(), device="another") for item in journey.items(visit)]
    theirs = sent_all(logged_in(colleague), others)

    assert mine[-1]["outcome"] != "quarantined"
    assert theirs[-1]["outcome"] == "applied"
    db.session.rollback()
    (second,) = db.session.scalars(select(Visit).where(Visit.parent_id == visit.id))
    assert (visit.status, visit.lead_id) == ("completed", colleague.id)
    assert (second.status, second.lead_id) == ("completed", engineer.id)
    first_record, second_record = record_of(visit), record_of(second)
    assert first_record is not None
    assert second_record is not None
    assert (first_record.author_id, second_record.author_id) == (colleague.id, engineer.id)
    (case,) = db.session.scalars(select(Case))
    assert (case.kind, case.visit_id, case.facts["second"]) == ("second_record", visit.id, str(second.id))


# ---- which are understood ---------------------------------------------------------------------------


def test_a_year_after_it_was_superseded_a_version_is_kept_for_the_office(
    visit: Visit, engineer: User, logged_in: LogIn
) -> None:
    assert SUPERSEDED is not None
    too_late = datetime.combine(versions.a_year_after(SUPERSEDED), datetime.min.time(), UTC)
    item = replace(step(visit.id, "acceptance"), version="1")

    with time_machine.travel(too_late, tick=False):
        receipt = receipt_of(item.sent(logged_in(engineer)))

    assert receipt["outcome"] == "quarantined"
    assert "no longer understood" in receipt["sentence"]


@pytest.mark.parametrize("version", ["0", "3", "two", "-1", "2.0"])
def test_a_version_that_nobody_knows_is_kept_whole_and_nothing_is_guessed(
    visit: Visit, phone: FlaskClient, version: str
) -> None:
    item = replace(step(visit.id, "acceptance"), version=version)

    receipt = receipt_of(item.sent(phone))

    assert receipt["outcome"] == "quarantined"
    db.session.rollback()
    assert visit.status == "scheduled"
    row = db.session.get_one(Submission, item.id)
    assert (row.form_version, blobs.get(row.kept_sha256 or "")) == (version, item.body)
    case = db.session.scalars(select(Case)).one()
    assert (case.kind, case.visit_id, case.facts["code"]) == ("quarantine", visit.id, "form_version")


def test_a_version_may_stand_in_the_form(visit: Visit, phone: FlaskClient) -> None:
    item = replace(step(visit.id, "acceptance", form_version="9"), version=None)

    assert receipt_of(item.sent(phone))["outcome"] == "quarantined"


def test_a_page_without_a_queue_is_not_asked_for_its_version(visit: Visit, phone: FlaskClient) -> None:
    assert phone.post(f"/visits/{visit.id}/acceptance", data={"form_version": "9"}).status_code == 303


def test_one_version_is_the_present_one_and_leap_days_have_a_year_too() -> None:
    assert [version for version, day in versions.SUPERSEDED.items() if day is None] == ["2"]
    assert versions.a_year_after(date(2028, 2, 29)) == date(2029, 3, 1)
    assert versions.a_year_after(date(2026, 11, 22)) == date(2027, 11, 22)
    assert versions.understood(None)
