"""What needs a person: one sentence each, the one action that settles it, and who did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from time_machine import Traveller
from werkzeug.test import TestResponse

from fieldapp import clock, outbox
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.customers.models import Contact, Customer
from fieldapp.extensions import db, operation, uuid7
from fieldapp.offline.models import Case, Device, Submission
from fieldapp.offline.operations import open_case, settle_case
from fieldapp.records import operations as records
from fieldapp.records.models import Photo, PhotoUpload
from fieldapp.records.photos import alert_missing_photos
from fieldapp.records.queries import record_of, revisions_of
from fieldapp.records.values import Given
from fieldapp.storage import blobs
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.dispatch.conftest import AFTERNOON, planned
from tests.dispatch.test_cost import statements, walks
from tests.records.samples import DRAWN, filled, signed
from tests.records.wholes import PHOTOS, backup, complete, form, named, queue, started_from, wall


def opened(kind: str, visit: Visit | None = None, by: User | None = None, **more: Any) -> Case:
    """A case of this kind, as the operations open it."""
    return open_case(
        kind,
        unique_for=f"{kind}:{uuid7()}",
        visit_id=visit.id if visit else None,
        user_id=by.id if by else None,
        **more,
    )


def page(desk: FlaskClient, path: str = "/exceptions") -> str:
    answer = desk.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def settle(desk: FlaskClient, case: Case, noun: str = "settlement", **fields: str) -> TestResponse:
    return desk.post(f"/exceptions/{case.id}/{noun}", data={"submission_id": str(uuid7()), **fields})


def again(case: Case) -> Case:
    """The case as the database has it now."""
    db.session.rollback()
    found = db.session.get(Case, case.id, populate_existing=True)
    assert found
    return found


# ---- the list ---------------------------------------------------------------------------------------


def test_nothing_open_says_so(desk: FlaskClient) -> None:
    html = page(desk)

    assert "Nothing needs a person." in html
    assert 'class="badge" data-tone="bad"' not in html


SENTENCES = {
    "quarantine": ("王磊 sent is kept, but could not be applied", "Read it and decide"),
    "despite_cancellation": ("王磊 did the work although the visit had been cancelled.", "Read and confirm"),
    "second_record": (
        "王磊 did work on a visit that was closed already. A record has not come so far.",
        "Look at both visits",
    ),
    "photos_missing": ("The record of 王磊 is signed, but 1 photo is still on the phone.", "See which ones"),
    "contact_suggestion": ("王磊 noted another telephone number", "Take it or leave it"),
    "conflict": ("王磊 and the office both changed 1 text of the record.", "Compare and choose"),
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_each_kind_is_one_sentence_with_its_people_and_its_one_action(
    desk: FlaskClient, visit: Visit, engineer: User, kind: str
) -> None:
    case = opened(kind, visit, engineer)
    sentence, action = SENTENCES[kind]

    html = page(desk)

    assert sentence in html
    assert "华东精密机械有限公司" in html
    assert "Today 15:10–15:40 · 王磊" in html
    link = re.search(rf'<a class="button quiet" href="/exceptions/{case.id}">([^<]+)<', html)
    assert link
    assert link[1] == action


def test_a_case_that_names_nobody_is_still_readable(desk: FlaskClient) -> None:
    case = opened("quarantine")

    assert "What An engineer sent is kept" in page(desk)
    assert "Nothing of it is kept here." in page(desk, f"/exceptions/{case.id}")


def test_the_newest_comes_first_and_a_long_list_has_pages(
    desk: FlaskClient, visit: Visit, engineer: User, afternoon: Traveller
) -> None:
    cases = []
    for _n in range(31):
        cases.append(opened("second_record", visit, engineer))
        afternoon.shift(timedelta(minutes=1))

    first = page(desk)
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = page(desk, following[1].replace("&amp;", "&"))

    order = re.findall(r'href="/exceptions/([0-9a-f-]{36})"', first)
    assert order == [str(case.id) for case in reversed(cases[1:])]
    assert re.findall(r'href="/exceptions/([0-9a-f-]{36})"', second) == [str(cases[0].id)]
    assert 'rel="prev"' in second


def test_cases_of_the_same_moment_are_all_on_one_page_or_the_next(
    desk: FlaskClient, visit: Visit, engineer: User
) -> None:
    cases = {str(opened("second_record", visit, engineer).id) for _n in range(35)}

    first = page(desk)
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = page(desk, following[1].replace("&amp;", "&"))

    seen = [key for html in (first, second) for key in re.findall(r'href="/exceptions/([0-9a-f-]{36})"', html)]
    assert len(seen) == 35
    assert set(seen) == cases


@pytest.mark.parametrize("before", ["nonsense", "~", "2026-11-18T06:40:00+00:00~no-id", "~" + "0" * 32])
def test_a_page_that_was_never_is_the_first(desk: FlaskClient, visit: Visit, engineer: User, before: str) -> None:
    case = opened("second_record", visit, engineer)

    assert str(case.id) in desk.get("/exceptions", query_string={"before": before}).text


def test_a_silent_phone_with_work_on_it_stands_in_the_list(desk: FlaskClient, engineer: User, colleague: User) -> None:
    phone(engineer, waiting=3, silent_for=timedelta(hours=26))
    phone(colleague, waiting=1, silent_for=timedelta(hours=5))

    html = page(desk)

    assert "3 things wait on this phone, and it has not spoken for 26 h." in html
    assert "1 thing waits on this phone, and it has not spoken for 5 h." in html
    assert html.index("王磊") < html.index("李婷")


def test_a_phone_that_has_nothing_or_spoke_lately_is_no_exception(desk: FlaskClient, engineer: User) -> None:
    phone(engineer, waiting=0, silent_for=timedelta(days=3))
    phone(engineer, waiting=5, silent_for=timedelta(hours=3, minutes=59))

    assert "Nothing needs a person." in page(desk)


def test_deliveries_that_were_held_lead_to_their_page(desk: FlaskClient, visit: Visit) -> None:
    hold(visit)

    html = page(desk)

    assert "1 delivery to the ticket store gave up" in html
    assert '<a class="button quiet" href="/deliveries">Look at the deliveries' in html


def test_the_number_stands_in_the_navigation_of_every_office_page(
    desk: FlaskClient, visit: Visit, engineer: User
) -> None:
    opened("conflict", visit, engineer)
    phone(engineer, waiting=1, silent_for=timedelta(hours=5))
    hold(visit)

    for path in ("/dispatch", "/exceptions", "/deliveries", "/desk", "/devices"):
        assert '<span class="badge" data-tone="bad">3<' in page(desk, path), path


def test_the_board_leads_to_them(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    assert "data-exceptions" not in page(desk, "/dispatch")
    before = desk.get("/dispatch/states").json
    opened("conflict", visit, engineer)
    phone(engineer, waiting=1, silent_for=timedelta(hours=5))

    html = page(desk, "/dispatch")

    assert '<li data-tone="bad" data-exceptions="2"><a href="/exceptions">' in html
    assert "2 exceptions wait for a decision" in html
    now = desk.get("/dispatch/states").json
    assert before
    assert now
    assert before["shape"] != now["shape"], "a board that stays open must learn of it"


def test_an_engineer_sees_neither_the_pages_nor_the_number(
    logged_in: Callable[[User], FlaskClient], engineer: User, visit: Visit
) -> None:
    case = opened("conflict", visit, engineer)
    browser = logged_in(engineer)

    assert browser.get("/exceptions").status_code == 403
    assert browser.get(f"/exceptions/{case.id}").status_code == 403
    assert settle(browser, case, note="x").status_code == 403
    assert "Exceptions" not in browser.get("/").text


def test_what_is_settled_leaves_the_list_and_is_found_among_the_settled(
    desk: FlaskClient, visit: Visit, engineer: User, dispatcher: User
) -> None:
    case = opened("second_record", visit, engineer)
    settle_case(case, by=dispatcher, decision="第二次上门已取消")

    assert str(case.id) not in page(desk)
    settled = page(desk, "/exceptions?state=settled")
    assert str(case.id) in settled
    assert "赵敏: 第二次上门已取消" in settled
    alone = page(desk, f"/exceptions/{case.id}")
    assert "Settled by 赵敏, Today 14:40" in alone
    assert "第二次上门已取消" in alone
    assert f'action="/exceptions/{case.id}' not in alone


def test_nothing_settled_so_far_says_so(desk: FlaskClient) -> None:
    assert "Nothing was settled yet." in page(desk, "/exceptions?state=settled")


def test_the_list_costs_the_same_however_long_it_is(
    desk: FlaskClient, visit: Visit, engineer: User, colleague: User, dispatcher: User
) -> None:
    def fill(times: int) -> None:
        for _n in range(times):
            for kind in SENTENCES:
                opened(kind, visit, engineer)
            settle_case(opened("conflict", visit, engineer), by=dispatcher, decision="ok")
            phone(engineer, waiting=2, silent_for=timedelta(hours=9))
            phone(colleague, waiting=0, silent_for=timedelta(hours=9))

    def cost() -> list[tuple[str, Any]]:
        with statements() as seen:
            for path in ("/exceptions", "/exceptions?state=settled", "/devices"):
                page(desk, path)
        return seen

    fill(1)
    few = cost()
    fill(8)
    db.session.expire_all()
    many = cost()

    assert len(many) == len(few)
    assert len(many) <= 3 * 8
    for statement, parameters in many:
        for step in walks(statement, parameters):
            assert step.split()[1].strip('"') not in ("office_case", "device", "visit", "submission", "outbox"), (
                statement
            )


# ---- deciding: what only has to be seen ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["despite_cancellation", "second_record", "photos_missing"])
def test_what_was_seen_is_settled_with_a_note(
    desk: FlaskClient, visit: Visit, engineer: User, dispatcher: User, kind: str
) -> None:
    case = opened(kind, visit, engineer)

    answer = settle(desk, case, note="已电话告知客户")

    assert answer.status_code == 303
    assert answer.location == "/exceptions"
    assert "Settled. Thank you." in page(desk)
    settled = again(case)
    assert (settled.settled_at, settled.settled_by_id) == (clock.now(), dispatcher.id)
    assert settled.decision == "已电话告知客户"
    entry = db.session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
    assert entry
    assert (entry.action, entry.subject_id, entry.by) == ("case.settled", str(case.id), dispatcher.id)
    assert "客户" not in str(entry.facts)


def test_a_note_may_stay_empty(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    case = opened("second_record", visit, engineer)

    settle(desk, case, note="  ")

    assert again(case).decision == "Seen."


def test_a_note_that_is_too_long_comes_back_with_what_was_typed(
    desk: FlaskClient, visit: Visit, engineer: User
) -> None:
    case = opened("photos_missing", visit, engineer)

    answer = settle(desk, case, note="长" * 1001)

    assert answer.status_code == 422
    assert "At most 1000 characters, please." in answer.text
    assert "长" * 1001 in answer.text
    assert again(case).settled_at is None


def test_the_second_of_two_is_told_who_settled_it(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], manager: User, visit: Visit, engineer: User
) -> None:
    case = opened("second_record", visit, engineer)
    settle(desk, case, note="看过了")

    answer = settle(logged_in(manager), case, note="我也看了")

    assert answer.status_code == 409
    assert "赵敏 settled this already, Today 14:40." in answer.text
    assert "看过了" in answer.text
    assert again(case).decision == "看过了"


def test_what_settled_itself_meanwhile_says_so(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    """Photos that come settle their case without anybody."""
    case = opened("photos_missing", visit, engineer)
    settle_by_itself(case.id, "The photos have arrived.")

    answer = settle(desk, case, note="x")

    assert answer.status_code == 409
    assert "This settled itself meanwhile: The photos have arrived." in answer.text
    assert "Settled by itself, Today 14:40" in answer.text
    assert '<p class="reason">The photos have arrived.</p>' in page(desk, "/exceptions?state=settled")


def test_the_same_click_twice_is_one_decision(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    case, once = opened("second_record", visit, engineer), str(uuid7())

    answers = [
        desk.post(f"/exceptions/{case.id}/settlement", data={"submission_id": once, "note": "ok"}) for _n in "12"
    ]

    assert [answer.status_code for answer in answers] == [303, 303]
    settled = select(AuditEntry).where(AuditEntry.action == "case.settled")
    assert len(db.session.scalars(settled).all()) == 1


def test_a_program_gets_the_receipt_or_the_error_as_json(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    case = opened("second_record", visit, engineer)
    asked = {"headers": {"Accept": "application/json"}, "data": {"note": "ok"}}

    first = desk.post(f"/exceptions/{case.id}/settlement", **asked)
    second = desk.post(f"/exceptions/{case.id}/settlement", **asked)

    assert first.json
    assert (first.status_code, first.json["case"]) == (200, str(case.id))
    assert second.json
    assert (second.status_code, second.json["error"]) == (409, "already_settled")


def test_a_case_that_never_was_is_not_found(desk: FlaskClient) -> None:
    for noun in ("", "/settlement", "/another-try"):
        answer = desk.open(f"/exceptions/{uuid7()}{noun}", method="POST" if noun else "GET")
        assert answer.status_code == 404


# ---- deciding: two versions ----------------------------------------------------------------------------


@pytest.fixture
def conflict(working: Visit, engineer: User) -> Case:
    """A signed record in which the phone's words stand, and what the office had written meanwhile."""
    signed(working, engineer, filled(content_text="更换电源", outcome="all_done", tools="螺丝刀"))
    record = record_of(working)
    assert record
    return opened(
        "conflict",
        working,
        engineer,
        record=str(record.id),
        fields={
            "content_text": {"before": "检查", "phone": "更换电源", "office": "更换主板"},
            "tools": {"before": "", "phone": "螺丝刀", "office": "万用表"},
            "service_type": {"before": "", "phone": "maintenance", "office": "implementation"},
        },
        values={},
    )


@pytest.mark.parametrize(
    ("phone", "office", "joined"),
    [
        ("更换电源", "更换主板", "更换电源\n更换主板"),
        ("更换电源、风扇", "更换电源", "更换电源、风扇"),
        ("", "更换主板", "更换主板"),
    ],
)
def test_ones_own_words_begin_with_both(
    desk: FlaskClient, working: Visit, engineer: User, phone: str, office: str, joined: str
) -> None:
    case = conflict_in(working, engineer, "content_text", before="检查", phone=phone, office=office)

    assert f">\n{joined}</textarea>" in page(desk, f"/exceptions/{case.id}")


DECIDED = {"choice-content_text": "phone", "choice-tools": "phone", "choice-service_type": "phone"}


def test_both_versions_stand_beside_what_was_there_before(desk: FlaskClient, conflict: Case) -> None:
    html = page(desk, f"/exceptions/{conflict.id}")

    assert "both changed 3 texts of the record" in html
    for words in ("检查", "更换电源", "更换主板", "螺丝刀", "万用表"):
        assert f'<p class="lines-kept">{words}</p>' in html
    assert "Service content" in html
    assert '<p class="lines-kept">Maintenance</p>' in html
    assert re.search(r'id="text-content_text"[^>]*>\n更换电源\n更换主板</textarea>', html)
    assert not re.search(r"<input[^>]* checked", html)
    assert 'value="own"' in html.split("Service content")[1]
    assert 'id="choice-service_type-own"' not in html


def test_the_phones_words_change_nothing_and_settle_it(desk: FlaskClient, conflict: Case, working: Visit) -> None:
    answer = settle(desk, conflict, **DECIDED)

    assert answer.status_code == 303
    assert again(conflict).settled_at is not None
    assert len(revisions_of(working)) == 1
    html = page(desk, f"/exceptions/{conflict.id}")
    assert "Service content: the phone&#39;s words" in html
    assert "更换主板" in html
    assert 'type="radio"' not in html


def test_the_offices_words_and_ones_own_are_a_new_revision_and_history_keeps_both(
    desk: FlaskClient, conflict: Case, working: Visit
) -> None:
    own = "更换电源\r\n更换主板"

    answer = settle(
        desk, conflict, **{**DECIDED, "choice-content_text": "own", "text-content_text": own, "choice-tools": "office"}
    )

    assert answer.status_code == 303
    first, second = revisions_of(working)
    assert (first.content_text, first.tools) == ("更换电源", "螺丝刀")
    assert second.content_text.splitlines() == ["更换电源", "更换主板"]
    assert second.tools == "万用表"
    decision = again(conflict).decision
    assert "Service content: words of one's own" in decision
    assert "Tools used: the office's words" in decision


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"choice-content_text": ""}, "choice-content_text", "Choose which words shall stand."),
        ({"choice-content_text": "before"}, "choice-content_text", "Choose which words shall stand."),
        ({"choice-service_type": "own"}, "choice-service_type", "Choose which words shall stand."),
        ({"choice-tools": "own", "text-tools": " "}, "text-tools", "Write the words that shall stand."),
        ({"choice-tools": "own", "text-tools": "长" * 4001}, "text-tools", "At most 4000 characters, please."),
        ({"choice-tools": "own", "text-tools": "长" * 501}, "text-tools", "Write at most 500 characters"),
    ],
)
def test_what_cannot_be_decided_so_comes_back_as_typed(
    desk: FlaskClient, conflict: Case, working: Visit, typed: dict[str, str], field: str, sentence: str
) -> None:
    given = {**DECIDED, "choice-content_text": "own", "text-content_text": "我的说法", **typed}

    answer = settle(desk, conflict, **given)

    assert answer.status_code == 422
    assert f'<a href="#{field}">{sentence}' in answer.text
    assert re.search(rf'id="{field}"', answer.text)
    assert "我的说法" in answer.text
    assert again(conflict).settled_at is None
    assert len(revisions_of(working)) == 1


def conflict_in(visit: Visit, engineer: User, name: str, **sides: str) -> Case:
    """A signed record, and one field of it that phone and office have differently."""
    signed(visit, engineer)
    record = record_of(visit)
    assert record
    backwards = ["2026-11-18T06:40:00+00:00", "2026-11-18T05:40:00+00:00", ""]
    values = {"times": {"phone": backwards, "office": backwards}}
    return opened("conflict", visit, engineer, record=str(record.id), fields={name: sides}, values=values)


def test_what_makes_no_sense_in_the_record_is_said_where_it_was_chosen(
    desk: FlaskClient, working: Visit, engineer: User
) -> None:
    case = conflict_in(working, engineer, "times", before="", phone="09:00 – 10:00", office="14:40 – 13:40")

    answer = settle(desk, case, **{"choice-times": "office"})

    assert answer.status_code == 422
    assert re.search(r'<p class="error" id="choice-times-error">.*The end lies before the start.', answer.text, re.S)
    assert re.search(r'<input type="radio" id="choice-times-office"[^>]* checked>', answer.text)
    assert again(case).settled_at is None


def test_what_is_missing_elsewhere_in_the_record_is_said_above_the_form(
    desk: FlaskClient, working: Visit, engineer: User
) -> None:
    case = conflict_in(working, engineer, "outcome", before="", phone="all_done", office="remaining")

    answer = settle(desk, case, **{"choice-outcome": "office"})

    assert answer.status_code == 422
    assert '<a href="#settlement">Write what remains to be solved.</a>' in answer.text
    assert 'id="settlement"' in answer.text
    assert again(case).settled_at is None


def test_the_second_of_two_does_not_undo_the_firsts_choice(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], manager: User, conflict: Case, working: Visit
) -> None:
    settle(desk, conflict, **DECIDED)

    answer = settle(logged_in(manager), conflict, **{**DECIDED, "choice-tools": "office"})

    assert answer.status_code == 409
    assert "赵敏 settled this already" in answer.text
    assert len(revisions_of(working)) == 1


# ---- deciding: what could not be applied ---------------------------------------------------------------


def quarantined(engineer: User, body: bytes, **changes: Any) -> Case:
    """A submission that was kept, and its case, as the queue's door files them."""
    fields: dict[str, Any] = {
        "user_id": engineer.id,
        "path": f"/visits/{uuid7()}/completion",
        "body_sha256": "0" * 64,
        "received_at": clock.now(),
        "device_at": clock.now() - timedelta(hours=2),
        "outcome": "quarantined",
        "reason": "The end lies before the start.",
        "kept_sha256": blobs.put(body),
        "content_type": "application/x-www-form-urlencoded",
    }
    submission = Submission(**{**fields, **changes})
    add(submission)
    return open_case("quarantine", unique_for=f"q:{uuid7()}", submission_id=submission.id, user_id=engineer.id)


def test_everything_that_was_sent_can_be_read(desk: FlaskClient, engineer: User) -> None:
    photos = [{"sha256": "ab", "caption": "铭牌"}, {"sha256": "cd", "caption": ""}, "nonsense"]
    body = urlencode(
        {
            "content_text": "更换主板<b>",
            "outcome": "all_done",
            "skill_rating": "good",
            "started_at": "2026-11-18T14:00",
            "parts-0-name": "电源",
            "open_items-1-text": "等备件",
            "customer_strokes": DRAWN,
            "engineer_strokes": "{damaged",
            "photos": json.dumps(photos),
            "remark": "",
            "something_new": "later",
            "base": '{"revision": 1}',
        }
    )
    case = quarantined(engineer, body.encode())

    html = page(desk, f"/exceptions/{case.id}")

    assert "could not be applied: The end lies before the start." in html
    assert "Finished the service record" in html
    said = dict(re.findall(r'<dt>([^<]+)</dt><dd><span class="lines-kept">([^<]*)</span></dd>', html))
    assert said["Service content"] == "更换主板&lt;b&gt;"
    assert said["Outcome of this service"] == "All done"
    assert said["Technical skill"] == "Good"
    assert said["Start"] == "2026-11-18 14:00"
    assert said["Part 1: Part"] == "电源"
    assert said["Open item 2: What remains"] == "等备件"
    assert said["Customer signature"] == "Signature drawn, 2 strokes"
    assert said["Engineer&#39;s signature"] == "A drawing that cannot be read, 8 characters"
    assert said["Photos"] == "3 photos: 铭牌"
    assert said["something_new"] == "later"
    assert "Remarks" not in said
    assert said["base"] == "{&#34;revision&#34;: 1}"
    assert html.index("Technical fields") < html.index("<dt>base</dt>")
    assert DRAWN[:40] not in html


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("photos", r'[{"sha256": "ab", "caption": "铭牌\ud83d"}]', "1 photo: 铭牌?"),
        ("photos", "[" * 100_000, "[[["),
        ("customer_strokes", "[" * 100_000, "A drawing that cannot be read, 100000 characters"),
    ],
)
def test_whatever_a_phone_wrote_can_be_looked_at(
    desk: FlaskClient, engineer: User, name: str, value: str, said: str
) -> None:
    """A caption that was cut within an emoji, and what no phone writes: the case must open, or nobody can settle it."""
    case = quarantined(engineer, urlencode({name: value}).encode())

    assert said in page(desk, f"/exceptions/{case.id}")


def test_a_form_with_files_can_be_read(desk: FlaskClient, engineer: User) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="reason"\r\n\r\nbreak\r\n'
        b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n12345\r\n--x--\r\n'
    )
    case = quarantined(engineer, body, content_type="multipart/form-data; boundary=x", path="/visits/1/pause")

    html = page(desk, f"/exceptions/{case.id}")

    assert "<strong>Paused</strong>" in html
    assert "break" in html
    assert "File a.jpg, 5 bytes" in html


@pytest.mark.parametrize(
    ("body", "changes", "sentence"),
    [
        (b"\xff\xfe\x00", {}, "3 bytes that are no form are kept."),
        (b"no form at all", {}, "14 bytes that are no form are kept."),
        (b"", {}, "0 bytes that are no form are kept."),
        (b"--x", {"content_type": "multipart/form-data"}, "3 bytes that are no form are kept."),
        (b"a=1&" * 501, {}, "2004 bytes that are no form are kept."),
        (b"a=1", {"kept_sha256": None}, "Only the receipt of this submission is kept, not its text."),
        (b"a=1", {"kept_sha256": "0" * 64}, "This file is not in the storage."),
    ],
)
def test_what_cannot_be_read_is_said_and_can_only_be_left(
    desk: FlaskClient, engineer: User, body: bytes, changes: dict[str, Any], sentence: str
) -> None:
    case = quarantined(engineer, body, **changes)

    html = page(desk, f"/exceptions/{case.id}")

    assert sentence in html
    assert "another-try" not in html
    assert 'name="note"' in html


def test_it_is_left_only_with_a_reason_and_stays_kept(desk: FlaskClient, engineer: User) -> None:
    case = quarantined(engineer, b"content_text=x")

    without = settle(desk, case, note=" ")
    left = settle(desk, case, note="已电话确认，重复提交")

    assert without.status_code == 422
    assert "Please write the reason." in without.text
    assert left.status_code == 303
    assert again(case).decision == "已电话确认，重复提交"
    submission = db.session.get(Submission, case.submission_id)
    assert submission
    assert blobs.get(submission.kept_sha256 or "") == b"content_text=x"


# ---- deciding: another telephone number ----------------------------------------------------------------


@pytest.fixture
def suggestion(visit: Visit, engineer: User, customer: Customer) -> Case:
    contact = customer.contacts[0]
    told = {"name": contact.name, "before": "13800000000", "phone": "13711112222", "office": contact.mobile}
    return opened("contact_suggestion", visit, engineer, contact=str(contact.id), **told)


def answer_suggestion(desk: FlaskClient, case: Case, choice: str) -> TestResponse:
    html = page(desk, f"/exceptions/{case.id}")
    revision = re.search(r'name="revision" value="(\d+)"', html)
    assert revision
    return settle(desk, case, choice=choice, revision=revision[1])


def test_the_engineers_number_goes_into_the_customer_file(
    desk: FlaskClient, suggestion: Case, customer: Customer, dispatcher: User
) -> None:
    assert "Noted by the engineer: 13711112222" in page(desk, f"/exceptions/{suggestion.id}")
    assert "In the customer file: 13900000001" in page(desk, f"/exceptions/{suggestion.id}")

    answer = answer_suggestion(desk, suggestion, "take")

    assert answer.status_code == 303
    assert again(suggestion).decision == "The engineer's number was taken."
    assert customer.contacts[0].mobile == "13711112222"
    changed = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "contact.changed")).one()
    assert (changed.by, changed.facts) == (dispatcher.id, {"fields": "mobile"})


def test_a_contact_with_only_a_desk_phone_keeps_it_in_its_place(
    desk: FlaskClient, suggestion: Case, customer: Customer
) -> None:
    move_to_desk_phone(customer.contacts[0])

    answer_suggestion(desk, suggestion, "take")

    db.session.rollback()
    assert (customer.contacts[0].mobile, customer.contacts[0].phone) == ("", "13711112222")


def test_the_offices_number_can_stay(desk: FlaskClient, suggestion: Case, customer: Customer) -> None:
    answer_suggestion(desk, suggestion, "leave")

    assert again(suggestion).decision == "The office's number stays."
    assert customer.contacts[0].mobile == "13900000001"


def test_a_number_that_changed_while_one_looked_is_not_overwritten(
    desk: FlaskClient, suggestion: Case, customer: Customer
) -> None:
    revision = str(customer.contacts[0].revision)
    move_to_desk_phone(customer.contacts[0])

    answer = settle(desk, suggestion, choice="take", revision=revision)

    assert answer.status_code == 409
    assert "This was saved while you were typing." in answer.text
    assert "In the customer file: 021-5550" in answer.text
    assert again(suggestion).settled_at is None


def test_one_of_the_two_numbers_must_be_chosen(desk: FlaskClient, suggestion: Case) -> None:
    answer = answer_suggestion(desk, suggestion, "")

    assert answer.status_code == 422
    assert "Choose one of the two numbers." in answer.text


def test_a_contact_that_is_gone_can_only_be_left(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    case = opened("contact_suggestion", visit, engineer, contact=str(uuid7()), phone="13711112222")

    html = page(desk, f"/exceptions/{case.id}")

    assert "The contact is not in the customer file any more. The engineer noted: 13711112222" in html
    assert settle(desk, case, choice="take").status_code == 404
    assert settle(desk, case, choice="leave").status_code == 303


@operation
def move_to_desk_phone(contact: Contact) -> None:
    contact.mobile, contact.phone = "", "021-5550"
    db.session.add(contact)


# ---- from the phone's queue to the office's decision ----------------------------------------------------


def test_what_the_queue_brings_can_be_decided_on_the_page(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], working: Visit, engineer: User
) -> None:
    """X12 on the page: the phone's signed words and times, the office's draft, one decision for each."""
    browser = logged_in(engineer)
    backup(browser, working)
    start = clock.now() - timedelta(hours=2)
    times = {"started_at": start, "ended_at": start + timedelta(hours=1), "times_reason": "提前到"}
    office_writes(working, engineer, content_text="办公室写的", **times)
    base = started_from(None, started_at=wall(clock.now()))
    now = wall(clock.now())
    complete(browser, working, started_at=now, ended_at=now, base=base)
    case = db.session.scalars(select(Case)).one()
    assert "both changed 2 texts of the record" in page(desk, f"/exceptions/{case.id}")

    given = {"choice-content_text": "own", "text-content_text": "两边合写", "choice-times": "office"}
    answer = settle(desk, case, **given)

    assert answer.status_code == 303, answer.text
    first, second = revisions_of(working)
    assert first.content_text == "更换主板,测试正常"
    assert second.content_text == "两边合写"
    assert (second.started_at, second.ended_at) == (start, start + timedelta(hours=1))
    assert again(case).settled_at is not None


@pytest.mark.parametrize(
    ("language", "sentence", "field"),
    [
        ("en", "Some fields need your attention.", "The end lies before the start."),
        ("zh_CN", "有些内容需要检查。", "结束时间早于开始时间。"),
        ("zh_TW", "有些內容需要檢查。", "結束時間早於開始時間。"),
    ],
)
def test_why_it_could_not_be_applied_is_said_in_the_readers_language(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    working: Visit,
    engineer: User,
    language: str,
    sentence: str,
    field: str,
) -> None:
    """The engineer reads Traditional Chinese, and so the receipt was; the office reads what it likes."""
    accounts.change_account(engineer.id, name="王磊", phone="", locale="zh_TW", map_app="")
    browser = logged_in(engineer)
    backup(browser, working)
    end = wall(clock.now() - timedelta(days=1))
    receipt = complete(browser, working, ended_at=end).json
    assert receipt
    assert receipt["fields"] == {"ended_at": "結束時間早於開始時間。"}
    case = db.session.scalars(select(Case)).one()

    html = page(desk, f"/exceptions/{case.id}?lang={language}")

    assert sentence in html
    assert f"<dd>{field}</dd>" in html
    tried = desk.post(f"/exceptions/{case.id}/another-try?lang={language}")
    assert sentence in tried.text


def seen_on(html: str) -> str:
    """Which state of the record the page was made from."""
    found = re.search(r'name="seen" value="([^"]+)"', html)
    assert found
    return found[1]


def test_words_can_be_decided_on_a_record_whose_hours_were_signed_by_a_wrong_clock(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], working: Visit, engineer: User
) -> None:
    """The hours are signed, the report says what is wrong with them; nobody asked the office about them."""
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, content_text="办公室写的")
    yesterday = clock.now() - timedelta(days=1)
    hours = {"started_at": wall(yesterday), "ended_at": wall(yesterday + timedelta(minutes=30))}
    assert complete(browser, working, **hours).json["outcome"] == "conflict"  # type: ignore[index]
    case = db.session.scalars(select(Case)).one()

    answer = settle(desk, case, **{"choice-content_text": "office"})

    assert answer.status_code == 303, answer.text
    assert [each.content_text for each in revisions_of(working)] == ["更换主板,测试正常", "办公室写的"]


def test_what_was_corrected_since_is_shown_and_not_undone(
    desk: FlaskClient, conflict: Case, working: Visit, engineer: User
) -> None:
    before = page(desk, f"/exceptions/{conflict.id}")
    assert "In the record by now" not in before
    told = Given(method="remote", name="陈晓", reason="电话确认")
    better = filled(content_text="更换电源和风扇", outcome="all_done", tools="螺丝刀")
    records.correct(working, better, reason="漏写", acknowledged=told, by=engineer)

    stale = settle(desk, conflict, **DECIDED, seen=seen_on(before))

    assert stale.status_code == 422
    assert "This record was changed elsewhere meanwhile." in stale.text
    assert re.search(r"In the record by now</label>\s*<p class=\"lines-kept\">更换电源和风扇</p>", stale.text)
    assert len(revisions_of(working)) == 2
    as_it_is = {**DECIDED, "choice-content_text": "now", "choice-tools": "office", "seen": seen_on(stale.text)}
    assert settle(desk, conflict, **as_it_is).status_code == 303
    assert [(each.content_text, each.tools) for each in revisions_of(working)][1:] == [
        ("更换电源和风扇", "螺丝刀"),
        ("更换电源和风扇", "万用表"),
    ]
    assert "Service content: as the record says by now" in again(conflict).decision


def test_what_the_phone_saved_since_is_not_overwritten_unseen(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], working: Visit, engineer: User
) -> None:
    browser = logged_in(engineer)
    office_writes(working, engineer, content_text="办公室写的")
    about = f"/visits/{working.id}/record"
    queue(browser, about, {**form(content_text="更换主板"), "base": started_from()})
    case = db.session.scalars(select(Case)).one()
    before = page(desk, f"/exceptions/{case.id}")
    queue(browser, about, {**form(content_text="更换主板和电源"), "base": started_from()})
    chosen = {f"choice-{name}": "phone" for name in case.facts["fields"]}

    stale = settle(desk, case, **chosen, seen=seen_on(before))

    assert stale.status_code == 422
    assert "更换主板和电源" in stale.text
    record = record_of(working)
    assert record
    assert record.content_text == "更换主板和电源"


def test_the_record_by_now_can_be_chosen_only_where_it_is_shown(desk: FlaskClient, conflict: Case) -> None:
    answer = settle(desk, conflict, **{**DECIDED, "choice-tools": "now"})

    assert answer.status_code == 422
    assert '<a href="#choice-tools">Choose which words shall stand.' in answer.text


def test_a_record_that_cannot_be_is_read_as_it_was_sent(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], working: Visit, engineer: User
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    end = wall(clock.now() - timedelta(days=1))
    assert complete(browser, working, ended_at=end).json["outcome"] == "quarantined"  # type: ignore[index]
    case = db.session.scalars(select(Case)).one()

    html = page(desk, f"/exceptions/{case.id}")

    said = dict(re.findall(r'<dt>([^<]+)</dt><dd><span class="lines-kept">([^<]*)</span></dd>', html))
    assert said["Customer name"] == "华东精密机械有限公司"
    assert said["Name of who signed"] == "陈晓"
    assert said["Customer signature"] == "Signature drawn, 2 strokes"
    assert said["End"] == end.replace("T", " ")
    assert "could not be applied: Some fields need your attention." in html
    assert "<dt>End</dt><dd>The end lies before the start.</dd>" in html, "and which"
    tried = settle(desk, case, "another-try")
    assert tried.status_code == 409
    assert "It still cannot be applied" in tried.text


def test_what_the_phone_began_with_may_hold_anything(
    desk: FlaskClient, logged_in: Callable[[User], FlaskClient], working: Visit, engineer: User
) -> None:
    browser = logged_in(engineer)
    backup(browser, working)
    office_writes(working, engineer, content_text="办公室写的")
    base = '{"revision": 1, "fields": {"content_text": ["\\ud83d 检查"]}}'
    assert complete(browser, working, base=base).json["outcome"] == "conflict"  # type: ignore[index]
    case = db.session.scalars(select(Case)).one()

    html = page(desk, f"/exceptions/{case.id}")

    assert "? 检查" in html
    assert settle(desk, case, **{f"choice-{name}": "phone" for name in case.facts["fields"]}).status_code == 303


# ---- what the pages explain ----------------------------------------------------------------------------


def test_the_page_says_who_cancelled_and_what_was_done_all_the_same(
    desk: FlaskClient, visit: Visit, engineer: User, dispatcher: User, afternoon: Traveller
) -> None:
    visits.accept(visit, by=engineer)
    afternoon.shift(timedelta(minutes=10))
    visits.cancel(visit, "客户电话取消", by=dispatcher)
    case = opened("despite_cancellation", visit, engineer)

    html = page(desk, f"/exceptions/{case.id}")

    assert "Cancelled by 赵敏, Today 14:50." in html
    assert "客户电话取消" in html
    assert "Today 14:40" in html[html.index("timeline") :]
    assert f'href="/visits/{visit.id}"' in html
    assert "王磊 set off or was there although the visit had been cancelled. A record has not come so far." in html
    assert "If a record of it comes, it counts" in html
    assert "The ticket carries a note" not in html, "nothing was written there yet"


def test_both_visits_can_be_looked_at_and_the_one_without_a_record_cancelled(
    desk: FlaskClient, working: Visit, ticket: Ticket, engineer: User, colleague: User, dispatcher: User
) -> None:
    signed(working, engineer)
    other = planned(ticket, colleague, dispatcher, AFTERNOON + timedelta(hours=3))
    case = opened("second_record", other, engineer, second=str(working.id), why="reassigned")

    html = page(desk, f"/exceptions/{case.id}")

    assert "王磊 did work on a visit that had been given to somebody else." in html
    assert "The record stands beside, as a visit of its own." in html
    assert f'<a href="/visits/{working.id}">王磊' in html
    assert f'<a href="/visits/{other.id}">李婷' in html
    assert re.search(r"Record SR-20261118-0001 · signed Today 14:40", html)
    assert "No record so far" in html
    assert f'href="/dispatch/visits/{other.id}/plan"' in html
    assert f'href="/dispatch/visits/{working.id}/plan"' not in html


@pytest.mark.parametrize(("why", "words"), [("taken_back", "had been taken back"), ("closed", "was closed already")])
def test_why_there_are_two_records_is_said(
    desk: FlaskClient, visit: Visit, engineer: User, why: str, words: str
) -> None:
    opened("second_record", visit, engineer, why=why)

    assert words in page(desk)


def test_the_page_names_the_photos_that_are_missing_and_the_phone_they_are_on(
    desk: FlaskClient, working: Visit, engineer: User
) -> None:
    signed(working, engineer)
    record = record_of(working)
    assert record
    common = {"record_id": record.id, "size": 9, "taken_at": clock.now(), "uploaded_by_id": engineer.id}
    add(
        Photo(**common, kind="before", caption="铭牌", source_sha256="a" * 64, arrived_at=None),
        Photo(**common, kind="after", source_sha256="b" * 64, arrived_at=None),
        Photo(**common, kind="label", caption="在此", sha256="c" * 64),
        Photo(**common, kind="label", caption="删了", source_sha256="d" * 64, arrived_at=None, removed_at=clock.now()),
        PhotoUpload(user_id=engineer.id, sha256="a" * 64, length=200, received=50),
    )
    phone(engineer, waiting=2, silent_for=timedelta(hours=25))
    case = opened("photos_missing", working, engineer, missing=2)

    html = page(desk, f"/exceptions/{case.id}")

    assert "but 2 photos are still on the phone." in html
    assert "铭牌" in html
    assert "25 % has arrived" in html
    assert html.count("<li>Before") + html.count("<li>After") == 2
    assert "在此" not in html
    assert "删了" not in html
    assert "last contact Yesterday 13:40" in html
    assert "2 waiting, silent for 25 h" in html


@pytest.mark.parametrize("seen_before", [False, True])
def test_when_the_phone_is_lost_the_office_has_the_report_issued_without_its_photos(
    desk: FlaskClient,
    logged_in: Callable[[User], FlaskClient],
    working: Visit,
    engineer: User,
    dispatcher: User,
    afternoon: Traveller,
    seen_before: bool,
) -> None:
    """Signed, received, and the phone fell into a lake: the customer still gets the report, also when somebody had only
    noted the case while there was hope."""
    browser = logged_in(engineer)
    backup(browser, working)
    assert complete(browser, working, photos=named(*PHOTOS)).json["outcome"] == "applied"  # type: ignore[index]
    afternoon.shift(timedelta(hours=25))
    alert_missing_photos()
    case, desk = db.session.scalars(select(Case)).one(), logged_in(dispatcher)
    if seen_before:
        settle(desk, case, note="王磊明天有信号")

    without = settle(desk, case, "report-without-photos", reason=" ")
    issued = settle(desk, case, "report-without-photos", reason="手机掉进湖里")
    twice = settle(desk, case, "report-without-photos", reason="手机掉进湖里")

    assert (without.status_code, issued.status_code, twice.status_code) == (422, 303, 409), issued.text
    assert '<a href="#reason">Please write the reason.</a>' in without.text
    assert "手机掉进湖里" in again(case).decision
    assert ("王磊明天有信号" in again(case).decision) == seen_before
    promised = db.session.scalars(select(outbox.Promise.kind)).all()
    assert promised.count("record_signed") == 1
    assert "3 photos did not come from the phone" in page(desk, f"/exceptions/{case.id}")
    given_up = select(AuditEntry.by).where(AuditEntry.action == "photo.given_up")
    assert set(db.session.scalars(given_up)) == {dispatcher.id}


def test_only_missing_photos_can_be_given_up(desk: FlaskClient, visit: Visit, engineer: User) -> None:
    case = opened("second_record", visit, engineer)

    assert settle(desk, case, "report-without-photos", reason="x").status_code == 404


def test_photos_that_came_meanwhile_are_no_longer_missed(desk: FlaskClient, working: Visit, engineer: User) -> None:
    case = opened("photos_missing", working, engineer)

    html = page(desk, f"/exceptions/{case.id}")

    assert "All photos have arrived meanwhile." in html
    assert "No phone of this engineer has spoken so far." in html


def office_writes(visit: Visit, by: User, **changes: Any) -> None:
    """A draft written elsewhere meanwhile; no phone of the tests wrote it."""
    db.session.rollback()
    empty = {"content_text": "", "cause": "", "solution": "", "outcome": None, "contact_phone": "13900000001"}
    records.save(visit, filled(**{**empty, **changes}), by=by)


# ---- people and phones ------------------------------------------------------------------------------


def phone(owner: User, *, waiting: int, silent_for: timedelta, **more: Any) -> Device:
    """A phone that said this when it last spoke."""
    device = Device(user_id=owner.id, device=str(uuid7()), waiting=waiting, seen_at=clock.now() - silent_for, **more)
    add(device)
    return device


@operation
def settle_by_itself(key: UUID, why: str) -> None:
    case = db.session.get_one(Case, key)
    case.settled_at, case.decision = clock.now(), why


@operation
def hold(visit: Visit) -> None:
    """A delivery of the visit's ticket that the store refused."""
    promise = outbox.promise("visit_unfinished", {"visit": str(visit.id)}, lane=visit.ticket.lane)
    promise.state = "held"
