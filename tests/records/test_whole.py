"""A record in one submission: what it becomes, what it is bound to, and what happens when the office wrote, too."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pypdf
import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation, settings
from fieldapp.offline.models import Case, Submission
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records.models import ServiceRecord
from fieldapp.records.queries import record_of
from fieldapp.records.values import Given, OpenLine
from fieldapp.reports import operations as reports
from fieldapp.storage import blobs
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.records.samples import NOT_NEEDED, filled
from tests.records.wholes import (
    CUSTOMER_INK,
    ENGINEER_INK,
    PHONE,
    PHOTOS,
    TABLET,
    backup,
    complete,
    digest,
    form,
    named,
    queue,
    signatures,
    started_from,
    wall,
    whole,
)

LogIn = Callable[[User], FlaskClient]


def words(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def cases(kind: str) -> list[Case]:
    return list(db.session.scalars(select(Case).where(Case.kind == kind).order_by(Case.id)))


def the_record(visit: Visit) -> ServiceRecord:
    record = record_of(visit)
    assert record is not None
    return record


def test_a_record_is_finished_in_one_submission(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    answer = complete(browser, working)

    assert (answer.status_code, answer.json["outcome"], answer.json["sentence"]) == (200, "applied", "")
    assert (answer.json["visit"], answer.json["status"]) == (str(working.id), "completed")
    record = the_record(working)
    assert record.signed
    assert record.frozen_content["content"] == "更换主板,测试正常"
    assert record.frozen_content["attitude_rating"] == "fair"
    assert record.started_at == working.started_at
    assert [promise.kind for promise in db.session.scalars(select(Promise))] == ["record_signed"]


def test_what_the_phone_bound_to_the_signatures_is_kept(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    body = whole(working)

    queue(browser, f"/visits/{working.id}/completion", body)

    record = the_record(working)
    customer, signed = record.signature("customer"), record.signature("engineer")
    assert (customer.strokes, signed.strokes) == (CUSTOMER_INK, ENGINEER_INK), "bit for bit"
    assert customer.name == "陈晓"
    assert customer.content_hash == signed.content_hash == record.content_hash
    for each, at in ((customer, body["customer_at"]), (signed, body["engineer_at"])):
        assert each.signed_at.isoformat() == at
        assert each.device_at.isoformat() == at
        assert each.evidence["shown_sha256"] == digest(body["shown"].encode())
        assert each.evidence["shown_matches"] is True
        assert each.evidence["device"] == PHONE
    assert blobs.get(customer.evidence["shown_sha256"]).decode() == body["shown"]


@pytest.mark.parametrize(
    "change",
    [
        {"content_text": "更换主板"},
        {"signer_name": "王经理"},
        {"skill_rating": "poor"},
        {"parts-0-name": "PSU-800"},
        {"solved": "01a2042f-0000-7000-8000-000000000000"},
        {"shown_sha256": "0" * 64},
        {"shown": "{"},
        {"shown": "[]"},
    ],
)
def test_what_was_shown_and_is_not_what_came_is_said_in_the_evidence(
    working: Visit, engineer: User, logged_in: LogIn, change: dict[str, str]
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    answer = queue(browser, f"/visits/{working.id}/completion", {**whole(working), **change})

    assert answer.json["outcome"] == "applied", "the office has it all the same"
    assert the_record(working).signature("customer").evidence["shown_matches"] is False


def test_rows_and_line_ends_count_as_shown(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    rows = {"parts-0-name": "PSU-800", "parts-0-quantity": "2", "parts-3-name": "风扇", "open_items-1-text": " "}
    fields = {**whole(working, content_text="一\r\n二"), **rows}
    said = json.loads(fields["shown"])
    said["content_text"] = "一\n二"
    said["parts"] = [
        {"name": "PSU-800", "quantity": "2", "serial": "", "old_serial": ""},
        {"name": "风扇", "quantity": "", "serial": "", "old_serial": ""},
    ]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    queue(browser, f"/visits/{working.id}/completion", {**fields, "shown": text, "shown_sha256": digest(text.encode())})

    assert the_record(working).signature("customer").evidence["shown_matches"] is True
    assert [part.name for part in the_record(working).parts] == ["PSU-800", "风扇"]


def test_without_what_was_shown_nothing_is_claimed(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    queue(browser, f"/visits/{working.id}/completion", {**whole(working), "shown": ""})

    assert "shown_matches" not in the_record(working).signature("customer").evidence


def test_a_customer_who_refused_or_was_absent(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    answer = complete(browser, working, customer_method="refused", customer_strokes="", customer_reason="等领导确认")

    assert answer.json["status"] == "completed"
    assert the_record(working).signature("customer").reason == "等领导确认"


def test_sent_twice_it_is_one_record(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    body = {**whole(working), "submission_id": "01a20430-0000-7000-8000-000000000001"}

    answers = [queue(browser, f"/visits/{working.id}/completion", body) for _n in range(3)]

    assert [answer.json["replayed"] for answer in answers] == [False, True, True]
    assert len({answer.json["content_hash"] for answer in answers}) == 1
    assert db.session.scalar(select(func.count()).select_from(ServiceRecord)) == 1


def test_a_json_caller_that_is_no_queue_is_refused_what_is_not_complete(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)

    answer = browser.post(
        f"/visits/{working.id}/completion", data=whole(working), headers={"Accept": "application/json"}
    )

    assert answer.status_code == 422
    assert "backup" in answer.json["fields"]
    assert record_of(working) is None, "all or nothing"
    db.session.refresh(working)
    assert working.status == "working"


def test_a_page_that_is_refused_comes_back_with_what_was_typed(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    answer = logged_in(engineer).post(f"/visits/{working.id}/completion", data=whole(working, remark="莫丢失"))

    assert answer.status_code == 422
    assert "莫丢失" in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"content_text": ""},
        {"customer_strokes": "", "customer_typed": ""},
        {"engineer_strokes": "{}"},
        {"photos": "{"},
        {"photos": "{}"},
        {"photos": "[1]"},
        {"photos": json.dumps([{"sha256": "a" * 64, "size": 0, "kind": "after"}])},
        {"photos": json.dumps([{"sha256": "A" * 64, "size": 9, "kind": "after"}])},
        {"photos": json.dumps([{"sha256": "a" * 64, "size": 9, "kind": "selfie"}])},
        {"photos": json.dumps([{"sha256": "a" * 64, "size": 16 * 1024 * 1024, "kind": "after"}])},
        {"photos": json.dumps([{"sha256": f"{n:064x}", "size": 9, "kind": "after"} for n in range(21)])},
    ],
)
def test_what_cannot_be_a_record_is_quarantined_and_changes_nothing(
    working: Visit, engineer: User, logged_in: LogIn, change: dict[str, str]
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    answer = queue(browser, f"/visits/{working.id}/completion", {**whole(working), **change})

    assert (answer.status_code, answer.json["outcome"]) == (200, "quarantined")
    assert answer.json["sentence"]
    db.session.refresh(working)
    assert working.status == "working"
    assert [each.role for each in the_record(working).signatures] == ["backup_ack"]
    kept = db.session.scalars(select(Submission).where(Submission.outcome == "quarantined")).one()
    assert b"whole=1" in blobs.get(kept.kept_sha256)


def test_a_broken_base_is_none(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    for base in ("{", "[]", '{"revision": "x", "fields": []}', '{"fields": {"started_at": ["gestern"]}}', ""):
        db.session.rollback()
        backup(browser, working)
        answer = queue(browser, f"/visits/{working.id}/record", {**form(), "base": base}, device=f"phone {base}")
        assert answer.status_code == 200, base
        assert answer.json["outcome"] in ("applied", "merged", "conflict"), base


# ---- the office wrote, too --------------------------------------------------------------------------


def office_writes(visit: Visit, by: User, **changes: Any) -> None:
    """A draft written elsewhere meanwhile; no phone of the tests wrote it."""
    db.session.rollback()
    records.save(visit, filled(**{"content_text": "", "cause": "", "solution": "", "outcome": None, **changes}), by=by)


def test_x11_different_fields_are_brought_together(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, remark="客户要求周末停机", contact_phone="13900000001")

    answer = complete(browser, working)

    assert answer.json["outcome"] == "merged"
    said = the_record(working).frozen_content
    assert (said["content"], said["remark"]) == ("更换主板,测试正常", "客户要求周末停机")
    assert cases("conflict") == []
    assert the_record(working).signature("customer").evidence["from_office"] == ["remark"]


def test_x12_the_same_text_keeps_both_and_asks_the_office(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, content_text="办公室写的", contact_phone="13900000001")

    answer = complete(browser, working)

    assert (answer.status_code, answer.json["outcome"]) == (200, "conflict")
    assert answer.json["sentence"]
    assert the_record(working).frozen_content["content"] == "更换主板,测试正常", "it is what was signed"
    (case,) = cases("conflict")
    assert case.visit_id == working.id
    assert case.facts["record"] == str(the_record(working).id)
    assert case.facts["fields"] == {
        "content_text": {"before": "", "phone": "更换主板,测试正常", "office": "办公室写的"}
    }


def test_the_phone_that_wrote_the_draft_last_needs_no_merge(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    draft = browser.post(
        f"/visits/{working.id}/record/draft",
        data=form(content_text="halb"),
        headers={"Accept": "application/json", "X-Device": PHONE},
    )
    assert draft.status_code == 200

    answer = complete(browser, working)

    assert answer.json["outcome"] == "applied"


def test_the_other_phone_that_wrote_since_is_merged(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    browser.post(
        f"/visits/{working.id}/record/draft",
        data=form(content_text="auf dem Tablet"),
        headers={"Accept": "application/json", "X-Device": TABLET},
    )

    assert complete(browser, working).json["outcome"] == "conflict"


def test_the_draft_that_the_page_saw_needs_no_merge(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, content_text="vorher")
    revision = the_record(working).draft_revision

    answer = complete(browser, working, base=started_from(revision, content_text="vorher"))

    assert answer.json["outcome"] == "applied"
    assert the_record(working).content_text == "更换主板,测试正常"


def test_a_merge_that_makes_no_sense_leaves_the_phones_record_whole(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    """The phone says that all is done, the office had written down what remains."""
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, open_items=(OpenLine(text="风扇", part="FAN"),), remark="周末", contact_phone="1")

    answer = complete(browser, working)

    assert (answer.json["outcome"], answer.json["status"]) == ("conflict", "completed")
    record = the_record(working)
    assert (record.outcome, record.open_items, record.remark) == ("all_done", [], "")
    (case,) = cases("conflict")
    assert case.facts["fields"]["open_items"]["office"] == "风扇 · FAN"
    assert case.facts["fields"]["remark"]["office"] == "周末"


def test_what_no_side_can_complete_is_quarantined(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, remark="周末")

    assert complete(browser, working, content_text="").json["outcome"] == "quarantined"
    assert the_record(working).remark == "周末"
    assert cases("conflict") == []


def test_a_saved_form_from_the_queue_is_merged_too(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    office_writes(working, engineer, remark="办公室", cause="办公室")
    base = started_from(None, remark="")

    answer = queue(browser, f"/visits/{working.id}/record", {**form(remark="手机", cause=""), "base": base})

    assert answer.json["outcome"] == "conflict"
    record = the_record(working)
    assert (record.remark, record.cause, record.draft_device) == ("手机", "办公室", PHONE)
    assert set(cases("conflict")[0].facts["fields"]) == {"remark"}


def test_autosave_refuses_what_is_older_than_the_draft_of_another_phone(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)

    def autosave(device: str, revision: int | str, text: str) -> int:
        answer = browser.post(
            f"/visits/{working.id}/record/draft",
            data={**form(content_text=text), "revision": str(revision)},
            headers={"Accept": "application/json", "X-Device": device, "X-Sequence": "1"},
        )
        return answer.status_code

    assert autosave(PHONE, "", "eins") == 200
    assert autosave(PHONE, 1, "zwei") == 200
    assert autosave(PHONE, 1, "drei") == 200, "the same phone, whose answer was lost"
    assert autosave(TABLET, 1, "vier") == 409
    assert the_record(working).content_text == "drei"


# ---- the office decides -----------------------------------------------------------------------------


@pytest.fixture
def conflict(working: Visit, engineer: User, logged_in: LogIn) -> Case:
    """A signed record, of which the office had written two fields and the times otherwise."""
    browser = logged_in(engineer)
    backup(browser, working)
    start = clock.now() - timedelta(hours=2)
    office_writes(
        working,
        engineer,
        content_text="办公室写的",
        remark="办公室",
        started_at=start,
        ended_at=start + timedelta(hours=1),
        times_reason="提前到",
        contact_phone="13900000001",
    )
    end = clock.now()
    base = started_from(None, started_at=wall(working.started_at))
    complete(browser, working, remark="手机", started_at=wall(end), ended_at=wall(end), base=base)
    (case,) = cases("conflict")
    assert set(case.facts["fields"]) == {"content_text", "remark", "times"}
    return case


def test_x12_a_decision_on_a_signed_record_is_a_correction(working: Visit, conflict: Case, manager: User) -> None:
    facts = conflict.facts["fields"]

    records.resolve_conflict(
        conflict, {"content_text": "双方合写", "remark": "手机", "times": facts["times"]["office"]}, by=manager
    )

    record = the_record(working)
    assert (record.revision, record.is_correction, record.signed) == (2, True, True)
    assert record.frozen_content["content"] == "双方合写"
    assert record.ended_at - record.started_at == timedelta(hours=1)
    assert record.signature("customer").method == "absent"
    assert record.signature("engineer").name == manager.name
    assert record.corrects.frozen_content["content"] == "更换主板,测试正常", "what was signed stays"
    assert (conflict.settled_by_id, conflict.settled_at is not None) == (manager.id, True)
    assert "双方合写" in conflict.decision
    assert conflict.facts["fields"]["content_text"]["office"] == "办公室写的", "history keeps both"


def test_the_signed_text_chosen_changes_nothing(working: Visit, conflict: Case, manager: User) -> None:
    records.resolve_conflict(conflict, {}, by=manager)

    assert the_record(working).revision == 1
    assert conflict.settled_at is not None


@pytest.mark.parametrize(
    ("chosen", "field"), [({"times": "heute"}, "times"), ({"content_text": "x" * 4001}, "content_text")]
)
def test_a_decision_that_cannot_be_is_refused_and_the_case_stays_open(
    working: Visit, conflict: Case, manager: User, chosen: dict[str, str], field: str
) -> None:
    with pytest.raises(records.Invalid) as caught:
        records.resolve_conflict(conflict, chosen, by=manager)

    assert field in caught.value.fields
    db.session.refresh(conflict)
    assert conflict.settled_at is None


def test_a_case_is_decided_once(conflict: Case, manager: User) -> None:
    records.resolve_conflict(conflict, {}, by=manager)

    with pytest.raises(records.NotAllowedNow):
        records.resolve_conflict(conflict, {"remark": "x"}, by=manager)


def test_rows_are_decided_for_one_side(working: Visit, engineer: User, manager: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    day = clock.now().date() + timedelta(days=3)
    office_writes(working, engineer, open_items=(OpenLine(text="风扇", promised_by=day),), contact_phone="1")
    complete(browser, working)
    (case,) = cases("conflict")
    chosen = {"open_items": case.facts["fields"]["open_items"]["office"].replace("\n", "\r\n"), "outcome": "remaining"}

    with pytest.raises(records.Invalid):
        records.resolve_conflict(case, chosen, by=manager)  # all is done, and yet something remains

    assert the_record(working).revision == 1
    db.session.refresh(case)
    assert case.settled_at is None


def test_a_decision_on_a_draft_is_its_next_revision(
    working: Visit, engineer: User, manager: User, logged_in: LogIn
) -> None:
    office_writes(working, engineer, remark="办公室")
    queue(logged_in(engineer), f"/visits/{working.id}/record", {**form(remark="手机"), "base": started_from()})
    before = the_record(working).draft_revision
    (case,) = cases("conflict")

    records.resolve_conflict(case, {"remark": "办公室"}, by=manager)

    record = the_record(working)
    assert (record.remark, record.signed, record.draft_device) == ("办公室", False, None)
    assert record.draft_revision > before


def test_no_decision_while_the_customer_signs(working: Visit, engineer: User, manager: User, logged_in: LogIn) -> None:
    office_writes(working, engineer, remark="办公室")
    queue(logged_in(engineer), f"/visits/{working.id}/record", {**form(remark="手机"), "base": started_from()})
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    (case,) = cases("conflict")

    with pytest.raises(records.NotAllowedNow):
        records.resolve_conflict(case, {"remark": "办公室"}, by=manager)


# ---- the plan changed meanwhile ---------------------------------------------------------------------


def test_x13_a_cancelled_visit_is_completed_all_the_same(
    visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    visits.cancel(visit, "客户自行解决", by=dispatcher)

    assert backup(browser, visit).status_code == 200
    db.session.refresh(visit)
    assert visit.status == "canceled", "a reminder alone revives nothing"
    answer = complete(browser, visit, started_at=wall(clock.now()))

    assert (answer.status_code, answer.json.get("status")) == (200, "completed"), answer.json
    assert the_record(visit).signed
    assert len(cases("despite_cancellation")) == 1
    kinds = [promise.kind for promise in db.session.scalars(select(Promise).order_by(Promise.lane_seq))]
    assert "done_despite_cancellation" in kinds


def test_x14_given_to_a_colleague_both_records_stand(
    visit: Visit, engineer: User, colleague: User, dispatcher: User, logged_in: LogIn
) -> None:
    visits.accept(visit, by=engineer)
    start = clock.now() + timedelta(hours=5)
    visits.plan(visit, Plan(lead_id=colleague.id, window_start=start), by=dispatcher)
    for phone, who in ((PHONE, engineer), (TABLET, colleague)):
        browser = logged_in(who)
        assert backup(browser, visit, device=phone).json["outcome"] != "quarantined"
        mine = {"content_text": f"von {who.username}", "started_at": wall(clock.now())}
        answer = complete(browser, visit, device=phone, **mine)
        assert (answer.status_code, answer.json.get("status")) == (200, "completed"), answer.json

    assert the_record(visit).content_text == "von liting"
    second = db.session.scalars(select(Visit).where(Visit.parent_id == visit.id)).one()
    assert (second.lead_id, second.status) == (engineer.id, "completed")
    assert the_record(second).content_text == "von wanglei"
    assert len(cases("second_record")) == 1


def test_the_reminder_answered_before_the_visit_was_given_away_counts_for_the_record_beside(
    working: Visit, engineer: User, colleague: User, dispatcher: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    queue(
        browser,
        f"/visits/{working.id}/backup-acknowledgement",
        {"backup_ack_method": "refused", "backup_ack_reason": "没有数据"},
    )
    take_away(working, colleague)

    answer = complete(browser, working)

    assert answer.json["status"] == "completed"
    second = db.session.scalars(select(Visit).where(Visit.parent_id == working.id)).one()
    reminder = the_record(second).signature("backup_ack")
    assert (reminder.reason, reminder.evidence["given_on"]) == ("没有数据", str(working.id))
    assert the_record(working).signature("backup_ack").reason == "没有数据"


@operation
def take_away(visit: Visit, by: User) -> None:
    visit.lead_id = by.id


def test_a_colleagues_reminder_does_not_count(
    visit: Visit, engineer: User, colleague: User, dispatcher: User, logged_in: LogIn
) -> None:
    visits.accept(visit, by=engineer)
    visits.plan(visit, Plan(lead_id=colleague.id, window_start=clock.now() + timedelta(hours=5)), by=dispatcher)
    backup(logged_in(colleague), visit, device=TABLET)

    assert complete(logged_in(engineer), visit).json["outcome"] == "quarantined"


def test_a_second_record_after_the_first_was_signed_elsewhere(working: Visit, engineer: User, logged_in: LogIn) -> None:
    """The same engineer finished on one phone; an older phone wakes up with its own."""
    browser = logged_in(engineer)
    backup(browser, working)
    complete(browser, working)
    before = the_record(working).content

    answer = complete(browser, working, device=TABLET, content_text="vom alten Telefon")

    assert (answer.status_code, answer.json["status"]) == (200, "completed")
    assert answer.json["visit"] != str(working.id)
    assert the_record(working).content == before
    assert len(cases("second_record")) == 1


def test_signatures_begun_on_the_old_pages_are_void_for_the_record_that_comes_whole(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    records.customer_sign(working, records.Evaluation(), Given(method="absent", reason="下班"), by=engineer)

    answer = complete(logged_in(engineer), working)

    assert answer.json["status"] == "completed", answer.json
    record = the_record(working)
    assert record.signature("customer").name == "陈晓"
    assert [each.method for each in record.signatures if each.voided_at] == ["absent"]


def test_an_engineer_who_never_had_the_visit_gets_404(working: Visit, colleague: User, logged_in: LogIn) -> None:
    for noun in ("completion", "record", "backup-acknowledgement", "hand-over", "reopening", "correction", "photos"):
        answer = queue(logged_in(colleague), f"/visits/{working.id}/{noun}", whole(working))
        assert answer.status_code == 404, noun


@pytest.mark.parametrize("noun", ["record", "hand-over", "reopening", "customer-signature", "completion", "correction"])
def test_what_a_former_engineers_queue_brings_is_filed(
    working: Visit, engineer: User, colleague: User, logged_in: LogIn, noun: str
) -> None:
    take_away(working, colleague)

    answer = queue(logged_in(engineer), f"/visits/{working.id}/{noun}", {**form(), "engineer_typed": "王磊"})

    assert (answer.status_code, answer.json["outcome"]) == (200, "quarantined")
    assert record_of(working) is None


# ---- clocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(hours=2), -timedelta(days=365 * 56)])
def test_x21_a_wrong_clock_loses_no_record(visit: Visit, engineer: User, logged_in: LogIn, skew: timedelta) -> None:
    browser = logged_in(engineer)
    wrong = clock.now() + skew
    sent = {"X-Sent-At": wrong.isoformat()}
    for noun in ("acceptance", "departure", "arrival", "start"):
        queue(browser, f"/visits/{visit.id}/{noun}", {}, at=wrong, **sent)
    backup(browser, visit, at=wrong, **sent)
    times = {"started_at": wall(wrong), "ended_at": wall(wrong), "customer_at": wrong.isoformat()}

    answer = queue(
        browser,
        f"/visits/{visit.id}/completion",
        whole(visit, **times, engineer_at=wrong.isoformat()),
        at=wrong,
        **sent,
    )

    assert (answer.json["outcome"], answer.json["status"]) == ("applied", "completed"), answer.json
    record = the_record(visit)
    for role in ("customer", "engineer"):
        assert abs(record.signature(role).signed_at - clock.now()) < timedelta(minutes=3)
        assert record.signature(role).device_at == wrong
    report = reports.issue(record.id, edition="signed")
    said = "".join(words(blobs.get(report.sha256)).split())
    assert ("aheadoftheserver" if skew > timedelta() else "behindtheserver") in said
    received = clock.local(record.signature("engineer").received_at, settings.zone)
    assert f"Receivedbytheserver:{received:%Y-%m-%d%H:%M}." in said


def test_x21_hours_that_cannot_be_give_way_to_ours_and_the_evidence_says_so(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    wrong = clock.now() - timedelta(days=1)
    times = {"started_at": wall(clock.now()), "ended_at": wall(wrong)}

    answer = queue(
        browser,
        f"/visits/{working.id}/completion",
        whole(working, **times),
        at=wrong,
        **{"X-Sent-At": wrong.isoformat()},
    )

    assert answer.json["outcome"] == "applied"
    record = the_record(working)
    assert record.started_at == working.started_at
    assert record.signature("customer").evidence["times_by_server"] is True


def test_hours_that_cannot_be_by_a_right_clock_are_looked_at(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    times = {"started_at": wall(clock.now()), "ended_at": wall(clock.now() - timedelta(days=1))}

    assert complete(browser, working, **times).json["outcome"] == "quarantined"


# ---- the customer's telephone number ----------------------------------------------------------------


def test_the_contacts_new_number_goes_into_the_customer_file(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    complete(browser, working, contact_phone="13911112222")

    db.session.refresh(working.contact)
    assert working.contact.mobile == "13911112222"
    assert cases("contact_suggestion") == []


def test_a_number_that_the_office_changed_meanwhile_is_a_suggestion(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    set_mobile(working, "13933334444")

    complete(browser, working, contact_phone="13911112222")

    db.session.refresh(working.contact)
    assert working.contact.mobile == "13933334444"
    (case,) = cases("contact_suggestion")
    assert case.facts == {
        "contact": str(working.contact_id),
        "name": "陈晓",
        "before": "13900000001",
        "phone": "13911112222",
        "office": "13933334444",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"contact_phone": "13911112222", "signer_name": "王经理"},
        {"contact_phone": "13911112222", "base": ""},
        {"contact_phone": "13933334444"},
        {"contact_phone": ""},
        {},
    ],
)
def test_any_other_number_changes_no_contact(
    working: Visit, engineer: User, logged_in: LogIn, change: dict[str, str]
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    set_mobile(working, "13933334444")

    complete(browser, working, **change)

    db.session.refresh(working.contact)
    assert working.contact.mobile == "13933334444"
    assert cases("contact_suggestion") == []


def test_a_landline_stays_one(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    set_mobile(working, "", phone="021-1")

    complete(browser, working, contact_phone="021-2", base=started_from(contact_phone="021-1"))

    db.session.refresh(working.contact)
    assert (working.contact.mobile, working.contact.phone) == ("", "021-2")


@operation
def set_mobile(visit: Visit, mobile: str, phone: str = "") -> None:
    visit.contact.mobile, visit.contact.phone = mobile, phone


# ---- photos are named -------------------------------------------------------------------------------


def test_photos_are_named_in_what_is_signed_by_the_phones_own_hash(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    complete(browser, working, photos=named(*PHOTOS, caption="a\0b\ud800"))

    record = the_record(working)
    assert [photo["sha256"] for photo in record.frozen_content["photos"]] == [digest(each) for each in PHOTOS]
    assert {photo["print_sha256"] for photo in record.frozen_content["photos"]} == {""}
    assert [photo.arrived_at for photo in record.photos] == [None] * 3
    assert record.photos[0].caption == "ab?"


def test_a_photo_named_twice_is_one(working: Visit, engineer: User, logged_in: LogIn) -> None:
    browser = logged_in(engineer)
    backup(browser, working)

    complete(browser, working, photos=named(PHOTOS[0], PHOTOS[0]))

    assert len(the_record(working).photos) == 1


def test_signatures_are_those_of_the_samples() -> None:
    assert signatures()["customer_strokes"] == CUSTOMER_INK
