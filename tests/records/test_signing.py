"""From a filled draft to a signed record: what is demanded, what is bound, what follows."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.operations import new_told
from fieldapp.outbox import Promise
from fieldapp.records import content
from fieldapp.records import operations as records
from fieldapp.records.models import ServiceRecord
from fieldapp.records.queries import open_items_for, record_of, revisions_of
from fieldapp.records.values import Evaluation, Filled, Given, OpenLine, PartLine
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.records.samples import DRAWN, NOT_NEEDED, filled, signed


def test_a_visit_is_carried_from_work_to_signed_record(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, Given(method="drawn", name="陈晓", strokes=DRAWN), by=engineer)
    records.finish(working, by=engineer)
    assert working.status == "awaiting_sign"

    records.customer_sign(
        working,
        Evaluation(skill_rating="good", attitude_rating="fair", contact_phone="13900000001"),
        Given(method="drawn", name="陈晓", strokes=DRAWN),
        by=engineer,
    )
    records.complete(working, Given(method="drawn", strokes=DRAWN), by=engineer)

    record = record_of(working)
    assert record is not None
    assert working.status == "completed"
    assert record.content_hash == content.sha256((record.content or "").encode())
    assert json.loads(record.content or "")["skill_rating"] == "good"
    assert record.signature("customer").content_hash == record.content_hash
    assert record.signature("engineer").content_hash == record.content_hash
    assert record.signature("backup_ack").content_hash == content.sha256(content.canonical_backup(record))
    assert [promise.kind for promise in db.session.scalars(select(Promise))] == ["record_signed"]


def test_what_remains_drafts_a_follow_up_and_heads_the_next_visit(working: Visit, engineer: User) -> None:
    left = OpenLine(text="更换电源模块", cause="备件缺货", part="PSU-800")

    signed(working, engineer, filled(outcome="remaining", open_items=(left,)))

    follow_up = db.session.scalar(select(Visit).where(Visit.parent_id == working.id))
    assert working.status == "partial"
    assert follow_up is not None
    assert (follow_up.status, follow_up.note) == ("draft", "更换电源模块")
    assert [item.text for item in open_items_for(follow_up)] == ["更换电源模块"]


def test_an_open_item_that_was_solved_is_closed_by_the_visit_that_solved_it(
    working: Visit, engineer: User, dispatcher: User
) -> None:
    signed(working, engineer, filled(outcome="remaining", open_items=(OpenLine(text="更换电源模块"),)))
    second = db.session.scalar(select(Visit).where(Visit.parent_id == working.id))
    visits.plan(second, Plan(lead_id=engineer.id, window_start=clock.now() + timedelta(days=1)), by=dispatcher)
    for step in (visits.accept, visits.depart, visits.arrive, visits.start):
        step(second, by=engineer)
    item = open_items_for(second)[0]

    signed(second, engineer, filled(solved_item_ids=(item.id,)))

    db.session.refresh(item)
    assert item.closed_by_visit_id == second.id
    assert open_items_for(second) == []
    assert record_of(second).frozen_content["solved_items"] == ["更换电源模块"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service_type": None}, "service_type"),
        ({"content_text": "  "}, "content_text"),
        ({"outcome": None}, "outcome"),
        ({"outcome": "remaining"}, "open_items"),
        ({"open_items": (OpenLine(text="还有一事"),)}, "outcome"),
        ({"started_at": clock.now() - timedelta(hours=5)}, "times_reason"),
        ({"ended_at": clock.now() + timedelta(hours=5)}, "ended_at"),
        ({"ended_at": clock.now() - timedelta(days=3)}, "ended_at"),
        ({"started_at": clock.now() - timedelta(days=30), "times_reason": "忘记"}, "started_at"),
    ],
)
def test_a_record_is_not_frozen_while_a_field_is_wrong(
    working: Visit, engineer: User, changes: dict[str, object], field: str
) -> None:
    records.save(working, filled(**changes), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)

    with pytest.raises(Invalid) as caught:
        records.finish(working, by=engineer)

    assert field in caught.value.fields
    assert working.status == "working"
    assert record_of(working).frozen_at is None


def test_the_backup_reminder_must_be_settled(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)

    with pytest.raises(Invalid) as caught:
        records.finish(working, by=engineer)

    assert "backup" in caught.value.fields


def test_a_refused_backup_needs_its_reason(working: Visit, engineer: User) -> None:
    with pytest.raises(Invalid) as caught:
        records.acknowledge_backup(working, Given(method="refused"), by=engineer)

    assert "backup_ack_reason" in caught.value.fields


@pytest.mark.parametrize("method", ["refused", "absent"])
def test_a_customer_who_does_not_sign_is_a_lawful_end_with_a_reason(
    working: Visit, engineer: User, method: str
) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)

    with pytest.raises(Invalid):
        records.customer_sign(working, Evaluation(), Given(method=method), by=engineer)
    records.customer_sign(working, Evaluation(), Given(method=method, reason="负责人已下班"), by=engineer)
    records.complete(working, Given(method="typed", name=engineer.name), by=engineer)

    assert working.status == "completed"
    assert record_of(working).signature("customer").reason == "负责人已下班"


def test_a_dot_is_no_signature(working: Visit, engineer: User) -> None:
    dot = json.dumps({"v": 1, "strokes": [[[5000, 2500, 0], [5010, 2510, 20]]]})

    with pytest.raises(Invalid) as caught:
        records.acknowledge_backup(working, Given(method="drawn", name="陈晓", strokes=dot), by=engineer)

    assert "backup_ack_strokes" in caught.value.fields


def test_the_engineer_cannot_end_a_visit_that_the_customer_did_not_answer(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)

    with pytest.raises(Invalid):
        records.complete(working, Given(method="drawn", strokes=DRAWN), by=engineer)

    assert working.status == "awaiting_sign"


def test_going_back_to_work_voids_signatures_and_keeps_them(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    records.customer_sign(working, Evaluation(), Given(method="drawn", name="陈晓", strokes=DRAWN), by=engineer)

    records.reopen(working, by=engineer)

    record = record_of(working)
    assert working.status == "working"
    assert record.signature("customer") is None
    assert [each.role for each in record.signatures if each.voided_at] == ["customer"]
    assert record.signature("backup_ack") is not None


def test_a_signed_record_cannot_be_changed(working: Visit, engineer: User) -> None:
    signed(working, engineer)

    for change in (
        lambda: records.save(working, filled(), by=engineer),
        lambda: records.acknowledge_backup(working, NOT_NEEDED, by=engineer),
        lambda: records.finish(working, by=engineer),
        lambda: records.reopen(working, by=engineer),
        lambda: records.complete(working, Given(method="typed", name=engineer.name), by=engineer),
    ):
        with pytest.raises(NotAllowedNow):
            change()


def test_the_manager_signs_later_and_the_report_is_issued_anew(working: Visit, engineer: User, manager: User) -> None:
    signed(working, engineer)
    before = record_of(working).content_hash

    records.review(working, Given(method="typed", name=manager.name), by=manager)

    record = record_of(working)
    assert working.status == "reviewed"
    assert record.content_hash == before
    assert record.signature("manager").name == manager.name
    assert db.session.scalar(select(func.count()).select_from(Promise)) == 2


def test_a_correction_is_a_new_revision_with_reason_and_acknowledgement(working: Visit, engineer: User) -> None:
    signed(working, engineer)
    first = record_of(working)
    kept = first.content

    records.correct(
        working,
        filled(content_text="更换主板,重装系统", contact_phone="13900000001"),
        reason="漏写重装系统",
        acknowledged=Given(method="remote", name="陈晓", reason="电话确认"),
        by=engineer,
    )

    old, new = revisions_of(working)
    assert (old.content, old.signed) == (kept, True)
    assert (new.revision, new.printed_number) == (2, f"{old.number}-C1")
    assert new.frozen_content["correction"]["corrects_hash"] == old.content_hash
    changed = content.changes(old.frozen_content, new.frozen_content)
    assert [name for name, _before, _after in changed] == ["content"]
    assert new.signature("customer").method == "remote"


def test_a_correction_without_reason_or_change_is_refused(working: Visit, engineer: User) -> None:
    signed(working, engineer)
    seen = Given(method="typed", name="陈晓")

    with pytest.raises(Invalid):
        records.correct(working, filled(content_text="另一内容"), reason=" ", acknowledged=seen, by=engineer)
    with pytest.raises(Invalid):
        records.correct(working, filled(contact_phone="13900000001"), reason="无", acknowledged=seen, by=engineer)

    assert len(revisions_of(working)) == 1


def test_a_draft_changed_elsewhere_is_not_overwritten(working: Visit, engineer: User) -> None:
    first = records.save(working, filled(), by=engineer)
    records.save(working, filled(remark="第二个窗口"), by=engineer)
    stale = new_told(engineer.id, "/", submission_id=uuid7(), base_revision=first["revision"])

    with pytest.raises(NotAllowedNow):
        records.save(working, filled(remark="第一个窗口"), by=engineer, told=stale)

    assert record_of(working).remark == "第二个窗口"


def test_parts_and_numbers_are_kept(working: Visit, engineer: User) -> None:
    part = PartLine(name="主板", serial="MB-9", quantity=1, old_serial="MB-1")

    records.save(working, filled(parts=(part,)), by=engineer)

    record = record_of(working)
    assert [(each.name, each.serial, each.old_serial) for each in record.parts] == [("主板", "MB-9", "MB-1")]
    assert record.number.startswith("SR-")


def test_numbers_count_within_a_day(working: Visit, engineer: User) -> None:
    records.save(working, Filled(), by=engineer)

    numbers = list(db.session.scalars(select(ServiceRecord.number)))
    assert [number[-4:] for number in numbers] == ["0001"]


# ---- what a hurried or a wrong hand sends ---------------------------------------------------------------


def frozen(visit: Visit, engineer: User, form: Filled | None = None) -> None:
    """Carry a visit at work to where it waits for signatures."""
    records.save(visit, form or filled(), by=engineer)
    records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)
    records.finish(visit, by=engineer)


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(out, "JPEG")
    return out.getvalue()


def test_nothing_is_filled_in_before_arrival(visit: Visit, engineer: User) -> None:
    with pytest.raises(NotAllowedNow, match="from arrival on"):
        records.save(visit, filled(), by=engineer)


def test_what_waits_for_signatures_is_not_changed(working: Visit, engineer: User) -> None:
    frozen(working, engineer)

    with pytest.raises(NotAllowedNow, match="Go back to work"):
        records.save(working, filled(remark="还有一事"), by=engineer)


def test_a_service_that_never_started_does_not_end(visit: Visit, engineer: User) -> None:
    for step in (visits.accept, visits.depart, visits.arrive):
        step(visit, by=engineer)
    records.save(visit, filled(), by=engineer)
    records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)

    with pytest.raises(Invalid) as caught:
        records.finish(visit, by=engineer)

    assert caught.value.fields == {"started_at": "When did the service start?"}


@pytest.mark.parametrize("changes", [{"service_type": "repair"}, {"outcome": "perhaps"}])
def test_an_answer_that_the_form_does_not_offer_is_refused(
    working: Visit, engineer: User, changes: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as caught:
        records.save(working, filled(**changes), by=engineer)

    assert list(caught.value.fields) == list(changes)


@pytest.mark.parametrize("name", ["skill_rating", "attitude_rating"])
def test_a_rating_that_the_form_does_not_offer_is_refused(working: Visit, engineer: User, name: str) -> None:
    frozen(working, engineer)
    drawn = Given(method="drawn", name="陈晓", strokes=DRAWN)

    with pytest.raises(Invalid) as caught:
        records.customer_sign(working, Evaluation(**{name: "superb"}), drawn, by=engineer)

    assert list(caught.value.fields) == [name]
    assert record_of(working).signature("customer") is None


@pytest.mark.parametrize(("method", "name"), [("stamped", "陈晓"), ("typed", " "), ("drawn", "陈")])
def test_a_signature_of_an_unknown_kind_or_of_nobody_is_refused(
    working: Visit, engineer: User, method: str, name: str
) -> None:
    frozen(working, engineer)
    given = Given(method=method, name=name, strokes=DRAWN)

    with pytest.raises(Invalid) as caught:
        records.customer_sign(working, Evaluation(), given, by=engineer)

    assert list(caught.value.fields) == ["customer_method" if method == "stamped" else "customer_name"]


def test_customer_and_engineer_may_come_in_one_submission(working: Visit, engineer: User) -> None:
    frozen(working, engineer)
    told = new_told(engineer.id, "/", submission_id=uuid7(), device="phone-7")
    absent = Given(method="absent", reason="门卫代收", evidence={"address_at_upload": "192.0.2.7"})

    records.complete(working, Given(method="drawn", strokes=DRAWN), customer=absent, by=engineer, told=told)

    record = record_of(working)
    assert working.status == "completed"
    assert record.signature("customer").evidence == {"address_at_upload": "192.0.2.7", "device": "phone-7"}
    assert record.signature("engineer").evidence["strokes"] == 2
    assert record.signature("engineer").submission_id == told.submission_id


def test_only_a_signed_record_is_reviewed_or_corrected(working: Visit, engineer: User, manager: User) -> None:
    hand = Given(method="typed", name="钱军")

    def attempts() -> None:
        with pytest.raises(NotAllowedNow):
            records.review(working, hand, by=manager)
        with pytest.raises(NotAllowedNow):
            records.correct(working, filled(), reason="漏写", acknowledged=hand, by=engineer)

    attempts()
    frozen(working, engineer)
    attempts()


def test_a_correction_settles_what_the_first_record_left_open(working: Visit, engineer: User) -> None:
    signed(
        working, engineer, filled(outcome="remaining", open_items=(OpenLine(text="更换电源"), OpenLine(text="复测")))
    )
    seen = Given(method="remote", name="陈晓", reason="微信确认")

    records.correct(
        working,
        filled(outcome="remaining", open_items=(OpenLine(text="复测", cause="缺仪器"),)),
        reason="电源已更换",
        acknowledged=seen,
        by=engineer,
    )

    old, new = revisions_of(working)
    assert all(item.closed_at for item in old.open_items)
    assert [item.closed_at for item in new.open_items] == [None]
    changed = {name: (before, after) for name, before, after in content.changes(old.frozen_content, new.frozen_content)}
    assert changed["open_items"] == ("更换电源; 复测", "复测 · 缺仪器")


def test_the_same_photo_twice_is_one_photo_and_a_removed_one_comes_back(working: Visit, engineer: User) -> None:
    first = records.add_photo(working, picture("teal"), kind="before", by=engineer)
    records.add_photo(working, picture("teal"), kind="after", caption=" 处理后 ", by=engineer)
    (photo,) = record_of(working).photos
    assert (photo.kind, photo.caption) == ("after", "处理后")

    records.remove_photo(working, UUID(first["photo"]), by=engineer)
    removed_at = photo.removed_at
    records.remove_photo(working, photo.id, by=engineer)
    records.remove_photo(working, uuid7(), by=engineer)
    assert photo.removed_at == removed_at is not None
    assert content.content_of(record_of(working))["photos"] == []

    records.add_photo(working, picture("teal"), kind="label", by=engineer)
    assert [each["kind"] for each in content.content_of(record_of(working))["photos"]] == ["label"]


def test_a_photo_needs_its_kind_and_a_record_has_room_for_twenty(working: Visit, engineer: User) -> None:
    with pytest.raises(Invalid, match="before or after"):
        records.add_photo(working, picture("teal"), kind="selfie", by=engineer)
    for shade in range(records.MOST_PHOTOS):
        records.add_photo(working, picture(f"rgb({shade * 12}, 80, 80)"), kind="before", by=engineer)

    with pytest.raises(Invalid, match="at most 20 photos"):
        records.add_photo(working, picture("white"), kind="before", by=engineer)


def test_a_draft_says_that_the_backup_reminder_is_open(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)

    assert content.content_of(record_of(working))["backup"] == {"state": "open", "reason": ""}
    with pytest.raises(RuntimeError, match="only after it was frozen"):
        assert record_of(working).frozen_hash


def test_a_visit_without_contact_place_or_device_is_recorded_as_well(working: Visit, engineer: User) -> None:
    @operation
    def forget() -> None:
        working.contact_id = working.site_id = working.asset_id = None

    forget()
    db.session.expire_all()

    signed(working, engineer, filled(outcome="remaining", open_items=(OpenLine(text="补登设备"),)))

    said = record_of(working).frozen_content
    assert (said["visit"]["site"], said["visit"]["asset"], said["customer"]["contact"]) == (None, None, "")
    follow_up = db.session.scalar(select(Visit).where(Visit.parent_id == working.id))
    assert [item.text for item in open_items_for(follow_up)] == ["补登设备"]


def test_going_back_to_work_forgets_an_end_that_nobody_said(working: Visit, engineer: User) -> None:
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    first_end = record_of(working).ended_at

    records.reopen(working, by=engineer)
    assert record_of(working).ended_at is None
    records.finish(working, by=engineer)

    assert record_of(working).ended_at > first_end


def test_going_back_to_work_keeps_an_end_that_was_typed(working: Visit, engineer: User) -> None:
    typed = clock.now()
    records.save(working, filled(ended_at=typed), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)

    records.reopen(working, by=engineer)

    assert record_of(working).ended_at == typed
