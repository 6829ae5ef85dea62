"""What only Jira does: late search, workflows, moved and doubled issues, log-ins that fail quietly."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from fieldapp import clock
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.store import (
    Conflict,
    Denied,
    Rejected,
    Retry,
    StoreTicket,
    Unreachable,
)
from fieldapp.tickets.stores.jira import JiraStore
from tests.stores.changes import PDF, a_file, done, new, until_it_stands
from tests.stores.jira import API, HOOK, Double, connection, started
from tests.stores.lossy import before

COMMENT, FILE, STEP, FILING = (
    ("POST", "/comment"),
    ("POST", "/attachments"),
    ("POST", "/transitions"),
    ("POST", "/issue"),
)

pytestmark = pytest.mark.usefixtures("app")  # sentences are in the app's language


@pytest.fixture
def site(request: pytest.FixtureRequest) -> tuple[Double, int]:
    return started(request)


@pytest.fixture
def double(site: tuple[Double, int]) -> Double:
    return site[0]


@pytest.fixture
def store(site: tuple[Double, int]) -> JiraStore:
    return JiraStore(connection(site[1]))


@pytest.fixture
def ticket(store: JiraStore) -> StoreTicket:
    return store.create(new())


def names(double: Double, ticket: StoreTicket) -> list[str]:
    return [file["filename"] for file in double.issues[ticket.ref]["fields"]["attachment"]]


def said(text: str) -> dict[str, Any]:
    content = [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]
    return {"type": "doc", "version": 1, "content": content}


# ---- who may come in, and how often --------------------------------------------------------------------------


def test_a_wrong_token_is_denied(site: tuple[Double, int]) -> None:
    stranger = JiraStore(connection(site[1], secret="an old token"))

    with pytest.raises(Denied):
        stranger.check()


def test_a_wrong_token_is_denied_although_the_site_answers_as_it_answers_anybody(site: tuple[Double, int]) -> None:
    site[0].lax = True
    stranger = JiraStore(connection(site[1], secret="an old token"))

    with pytest.raises(Denied):
        stranger.ticket("10001")
    with pytest.raises(Denied):
        stranger.changes("", 10)


def test_a_rate_limit_is_waited_for_as_long_as_the_site_says(double: Double, store: JiraStore) -> None:
    double.limited = 1

    with pytest.raises(Retry) as caught:
        store.changes("", 10)

    assert caught.value.after == 7
    assert store.changes("", 10).tickets == ()


def test_an_upload_without_the_header_against_forgery_is_refused(store: JiraStore, ticket: StoreTicket) -> None:
    with pytest.raises(Denied):
        store.wire.ask("POST", f"{API}/issue/{ticket.ref}/attachments", files={"file": ("a", b"a", "text/plain")})


def test_a_file_beyond_the_sites_limit_is_rejected(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    double.upload_limit = 5

    with pytest.raises(Rejected):
        store.push(done(ticket))

    assert store.thread(ticket.ref) == ()


def test_a_note_beyond_the_sites_limit_is_rejected(store: JiraStore, ticket: StoreTicket) -> None:
    with pytest.raises(Rejected, match="CONTENT_LIMIT_EXCEEDED"):
        store.push(done(ticket, note="长" * 33000))


# ---- answers that are lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [FILE, COMMENT, STEP])
def test_a_lost_answer_is_found_and_not_written_again(
    double: Double, store: JiraStore, ticket: StoreTicket, lost: tuple[str, str]
) -> None:
    change = done(ticket)
    double.lost.append(lost)
    with pytest.raises(Unreachable):
        store.push(change)

    receipt = store.push(change)

    assert receipt.complete
    assert [note.uid for note in store.thread(ticket.ref)] == [change.uid]
    assert names(double, ticket) == [PDF.name]
    assert [item["toString"] for each in histories(double, ticket) for item in each["items"]] == ["Resolved"]


def histories(double: Double, ticket: StoreTicket) -> list[Any]:
    found: list[Any] = double.issues[ticket.ref]["changelog"]["histories"]
    return found


@pytest.mark.parametrize("seed", range(2))
def test_a_bad_wire_doubles_nothing_and_loses_nothing(site: tuple[Double, int], store: JiraStore, seed: int) -> None:
    double, port = site
    tickets = [store.create(new()) for _each in range(3)]
    changes = [done(ticket, files=(a_file(ticket, number),)) for number in range(2) for ticket in tickets]

    with before(port, lost_requests=0.1, lost_answers=0.5) as wire:
        wire.rng.seed(seed)
        far = JiraStore(connection(port, address=f"http://127.0.0.1:{wire.port}"))
        for change in changes:
            until_it_stands(far, change)

    for ticket in tickets:
        ours = [change for change in changes if change.ticket == ticket.ref]
        notes = store.thread(ticket.ref)
        assert [note.uid for note in notes] == [change.uid for change in ours]
        assert [[store.content(file) for file in note.files] for note in notes] == [
            [change.files[0].content] for change in ours
        ]
        assert len(names(double, ticket)) == 2
        assert store.ticket(ticket.ref).status == "resolved"
    assert wire.answers_lost >= 3


def test_a_file_of_the_same_name_and_size_but_other_content_is_not_taken_for_ours(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    other = replace(PDF, content=PDF.content[::-1])
    double.lost.append(COMMENT)
    with pytest.raises(Unreachable):
        store.push(done(ticket, files=(other,)))
    double.issues[ticket.ref]["comments"].clear()

    store.push(done(ticket))

    assert len(names(double, ticket)) == 2
    assert store.content(store.thread(ticket.ref)[0].files[0]) == PDF.content


def test_a_file_that_somebody_removed_is_put_there_again(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    change = done(ticket)
    store.push(change)
    double.issues[ticket.ref]["fields"]["attachment"].clear()
    found = store.find(change.uid, ticket.ref)

    receipt = store.push(change)

    assert found is not None
    assert not found.complete
    assert receipt.complete
    assert names(double, ticket) == [PDF.name]
    assert len(store.thread(ticket.ref)) == 1


# ---- status: only where the workflow leads ---------------------------------------------------------------------


def test_a_status_that_the_workflow_does_not_lead_to_is_left_to_a_person(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    double.set_status(double.issues[ticket.ref], "Closed", "李婷")
    change = done(ticket)

    with pytest.raises(Rejected, match=r"“Closed” to “Resolved”"):
        store.push(change)

    assert [note.text for note in store.thread(ticket.ref)] == ["已更换电源"]
    double.set_status(double.issues[ticket.ref], "Resolved", "李婷")
    assert store.push(change).complete
    assert len(store.thread(ticket.ref)) == 1


def test_a_step_that_asks_for_more_than_we_know_is_left_to_a_person(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    double.required = ["rootcause"]

    with pytest.raises(Rejected, match="Rootcause"):
        store.push(done(ticket))

    assert store.ticket(ticket.ref).status == "new"
    assert len(store.thread(ticket.ref)) == 1


def test_a_status_that_a_person_set_between_our_note_and_our_step_stays(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    change = done(ticket, base=ticket.version)
    double.required = ["rootcause"]
    with pytest.raises(Rejected):
        store.push(change)
    double.required = []
    double.set_status(double.issues[ticket.ref], "Canceled", "李婷")

    with pytest.raises(Conflict) as caught:
        store.push(change)

    assert caught.value.receipt is not None
    assert not caught.value.receipt.complete
    assert store.ticket(ticket.ref).status == "suspended"


def test_a_site_that_moves_a_resolved_ticket_on_by_itself_has_taken_our_status(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    change = done(ticket)
    store.push(change)
    double.set_status(double.issues[ticket.ref], "Closed", "Automation")

    assert store.push(change).complete
    assert store.ticket(ticket.ref).status == "closed"


# ---- the late search -------------------------------------------------------------------------------------------


def test_a_ticket_whose_answer_was_lost_is_not_filed_again_while_the_search_lags(
    double: Double, store: JiraStore
) -> None:
    wanted = new()
    double.lag()
    double.lost.append(FILING)
    with pytest.raises(Unreachable):
        store.create(wanted)

    with pytest.raises(Retry) as caught:
        store.create(wanted)

    assert 0 < caught.value.after <= 301
    assert len(double.issues) == 1
    double.catch_up()
    assert store.create(wanted).ref == next(iter(double.issues))
    assert len(double.issues) == 1


def test_a_ticket_that_never_arrived_is_filed_once_the_search_must_know(double: Double, store: JiraStore) -> None:
    wanted = new()
    announced = f"fieldapp.filing.{int(clock.now().timestamp())}.{wanted.uid}"
    double.user_properties[announced] = {}
    with pytest.raises(Retry):
        store.create(wanted)

    with time_machine.travel(clock.now() + timedelta(minutes=6)):
        filed = store.create(wanted)
        again = store.create(wanted)

    assert filed.ref == again.ref
    assert len(double.issues) == 1


def test_a_ticket_just_filed_is_known_before_the_search_knows_it(double: Double, store: JiraStore) -> None:
    wanted = new()
    double.lag()

    assert store.create(wanted).ref == store.create(wanted).ref
    assert len(double.issues) == 1


def test_announcements_of_last_week_are_swept_away(double: Double, store: JiraStore) -> None:
    store.create(new())
    kept = list(double.user_properties)
    double.user_properties["somebody.elses"] = {}

    with time_machine.travel(clock.now() + timedelta(days=8)):
        store.create(new())

    assert kept[0] not in double.user_properties
    assert "somebody.elses" in double.user_properties
    assert len(double.user_properties) == 2


def test_the_feed_misses_nothing_that_the_search_shows_minutes_late(double: Double, store: JiraStore) -> None:
    early, late = store.create(new()), store.create(new())
    start, before = store.changes("", 100).cursor, clock.now()
    with time_machine.travel(before + timedelta(minutes=20)):
        double.set_status(double.issues[late.ref], "In progress")
    with time_machine.travel(before + timedelta(minutes=24)):
        double.set_status(double.issues[early.ref], "Resolved")
        double.lag(hiding=late.ref)
        page = store.changes(start, 100)
        double.catch_up()
        after = store.changes(page.cursor, 100)

    assert [ticket.ref for ticket in page.tickets] == [early.ref]
    assert late.ref in [ticket.ref for ticket in after.tickets]


def test_a_change_behind_a_slow_walk_comes_with_the_next(double: Double, store: JiraStore) -> None:
    first, second, before = store.create(new()), store.create(new()), clock.now()
    page = store.changes("", 1)
    with time_machine.travel(before + timedelta(minutes=1)):
        double.set_status(double.issues[first.ref], "In progress")
    with time_machine.travel(before + timedelta(minutes=30)):
        double.set_status(double.issues[second.ref], "In progress")
        rest = store.changes(page.cursor, 1)
        after = store.changes(rest.cursor, 10)

    assert [ticket.ref for ticket in (*page.tickets, *rest.tickets)] == [first.ref, second.ref]
    assert rest.more
    assert {ticket.ref: ticket.status for ticket in after.tickets}[first.ref] == "in_progress"


def test_a_walk_goes_on_after_a_restart_in_its_midst(
    site: tuple[Double, int], double: Double, store: JiraStore
) -> None:
    refs = []
    for minute in range(6):
        with time_machine.travel(clock.now() + timedelta(minutes=minute)):
            refs.append(store.create(new()).ref)
    first = store.changes("", 2)
    second = store.changes(first.cursor, 2)

    restarted, seen, cursor = JiraStore(connection(site[1])), [], second.cursor
    while True:
        page = restarted.changes(cursor, 2)
        seen += [ticket.ref for ticket in page.tickets]
        cursor = page.cursor
        if not page.more:
            break

    assert [ticket.ref for ticket in (*first.tickets, *second.tickets)] == refs[:4]
    assert set(refs[4:]) <= set(seen)
    assert seen[0] == refs[3]  # it went on where it was, not from the beginning


def test_a_walk_goes_on_although_the_site_forgot_its_token(double: Double, store: JiraStore) -> None:
    refs = [store.create(new()).ref for _each in range(3)]
    first = store.changes("", 2)
    double._tokens.clear()
    with pytest.raises(Rejected, match="nextPageToken"):
        store.changes(first.cursor, 2)

    again = store.changes(first.cursor, 10)

    assert set(refs) <= {ticket.ref for ticket in (*first.tickets, *again.tickets)}


def test_a_cursor_that_is_not_ours_starts_from_the_beginning(store: JiraStore, ticket: StoreTicket) -> None:
    assert [each.ref for each in store.changes("2026-11-22", 10).tickets] == [ticket.ref]


def test_a_cursor_fits_into_its_column(store: JiraStore) -> None:
    for _each in range(3):
        store.create(new())

    assert len(store.changes("", 1).cursor) < 200


def test_a_customer_whose_number_begins_like_anothers_is_somebody_else(store: JiraStore) -> None:
    mine = store.create(new(customer="C-1"))
    store.create(new(customer="C-12"))

    assert [ticket.ref for ticket in store.history("C-1", 10)] == [mine.ref]


# ---- what people do in Jira ------------------------------------------------------------------------------------


def test_a_moved_issue_keeps_its_name_here(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    issue = double.issues[ticket.ref]
    issue["old"].append(issue["key"])
    issue["key"] = "OTHER-7"

    receipt = store.push(done(ticket))

    assert receipt.ticket == ticket.ref
    assert store.ticket(ticket.ref).fields["number"] == "OTHER-7"


def test_an_issue_closed_as_a_duplicate_names_the_one_it_became_a_part_of(
    double: Double, store: JiraStore, ticket: StoreTicket
) -> None:
    other = store.create(new())
    fields = double.issues[ticket.ref]["fields"]
    fields["issuelinks"] = [{"type": {"name": "Duplicate"}, "outwardIssue": {"id": other.ref, "key": "FS-2"}}]
    linked = store.ticket(ticket.ref)
    fields["resolution"] = {"name": "Duplicate"}

    assert linked.merged_into is None
    assert store.ticket(ticket.ref).merged_into == other.ref


def test_who_changed_a_ticket_last_is_told(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    double.set_status(double.issues[ticket.ref], "In progress", "李婷")

    assert store.ticket(ticket.ref).changed_by == "李婷"


def test_a_quotation_of_our_note_is_not_our_note(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    change = done(ticket, status=None)
    store.push(change)
    issue = double.issues[ticket.ref]
    double.comment(issue, issue["comments"][0]["body"], who="陈晓", properties=[])

    ours, quoted = store.thread(ticket.ref)

    assert (ours.uid, ours.author, ours.text) == (change.uid, "王磊", "已更换电源")
    assert (quoted.uid, quoted.author) == (None, "陈晓")
    assert store.push(change).ref == ours.ref


def test_what_people_write_is_read_as_plain_text(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    item = {"type": "listItem", "content": said("电源")["content"]}
    mention = {"type": "mention", "attrs": {"id": "1", "text": "@王磊"}}
    bold = {"type": "text", "text": " 请看", "marks": [{"type": "strong"}]}
    body = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [mention, bold]}]}
    body["content"] += [{"type": "bulletList", "content": [item]}, {"type": "rule"}]  # type: ignore[operator]
    double.comment(double.issues[ticket.ref], body, who="陈晓", properties=[])

    (note,) = store.thread(ticket.ref)

    assert note.text.strip() == "@王磊 请看\n电源"


def test_a_thread_longer_than_a_page_is_read_to_its_end(double: Double, store: JiraStore, ticket: StoreTicket) -> None:
    for number in range(105):
        double.comment(double.issues[ticket.ref], said(f"第 {number} 条"), who="陈晓", properties=[])

    assert [note.text for note in store.thread(ticket.ref)] == [f"第 {number} 条" for number in range(105)]


@pytest.mark.parametrize(("visible", "internal"), [("agents", True), ("customers", False)])
def test_a_note_is_shown_to_customers_only_where_the_mapping_says_so(
    site: tuple[Double, int], visible: str, internal: bool
) -> None:
    words = StoreMapping(place="FS", options={"visible": visible})
    store = JiraStore(connection(site[1], words=words))
    ticket = store.create(new())

    store.push(done(ticket))

    properties = {each["key"]: each["value"] for each in site[0].issues[ticket.ref]["comments"][0]["properties"]}
    assert properties["sd.public.comment"] == {"internal": internal}


# ---- filing ------------------------------------------------------------------------------------------------------


def test_a_custom_field_that_is_missing_is_named_and_nothing_is_filed(double: Double, store: JiraStore) -> None:
    double.fields.remove("CustomerId")

    with pytest.raises(Rejected, match="CustomerId"):
        store.create(new())

    assert not double.issues
    assert not double.user_properties
    double.fields.append("CustomerId")
    assert store.create(new()).customer == "C-1001"


def test_a_field_that_is_not_on_the_screen_is_rejected_by_the_site(double: Double, store: JiraStore) -> None:
    store.create(new())  # now the fields' numbers are known
    double.fields.remove("ContactPhone")

    with pytest.raises(Rejected, match="cannot be set"):
        store.create(new(fields={"contact_phone": "13900000001"}))


def test_a_subject_of_several_lines_becomes_one(store: JiraStore) -> None:
    assert store.create(new(subject="服务器\n无法启动")).subject == "服务器 无法启动"


def test_words_of_the_mapping_are_written_and_read_back(site: tuple[Double, int]) -> None:
    words = StoreMapping(place="FS", channels=Words(read={"公众号": "wechat"}, write={"wechat": "公众号"}))
    store = JiraStore(connection(site[1], words=words))

    filed = store.create(new(fields={"channel": "wechat", "priority": "urgent"}))

    assert (filed.fields["channel"], filed.fields["priority"]) == ("wechat", "urgent")
    assert "公众号" in site[0].issues[filed.ref]["fields"].values()


# ---- being looked at ---------------------------------------------------------------------------------------------


def flaws(store: JiraStore) -> list[str]:
    found = store.check()
    assert all(flaw.mend for flaw in found)
    return [flaw.says for flaw in found]


def test_missing_and_doubled_custom_fields_are_named(double: Double, store: JiraStore) -> None:
    double.fields.remove("ServiceRecordId")
    double.fields.append("CustomerId")

    assert flaws(store) == [
        "The custom field “ServiceRecordId” is missing.",
        "There are 2 custom fields named “CustomerId”.",
    ]


def test_a_status_word_that_does_not_exist_is_named(double: Double, store: JiraStore) -> None:
    double.statuses.remove("Canceled")

    assert flaws(store) == ["The status “Canceled”, our “suspended”, does not exist."]


def test_a_missing_permission_is_named(double: Double, store: JiraStore) -> None:
    double.permissions["ADD_COMMENTS"] = False

    assert flaws(store) == ["Our user lacks the permission “ADD_COMMENTS” in the project."]


@pytest.mark.parametrize("place", ["", "NOPE"])
def test_a_project_that_is_not_there_is_named(site: tuple[Double, int], place: str) -> None:
    assert flaws(JiraStore(connection(site[1], words=StoreMapping(place=place)))) == [
        f"There is no project “{place}” that we may see."
    ]


def test_an_issue_type_that_is_not_there_is_named(site: tuple[Double, int]) -> None:
    words = StoreMapping(place="FS", options={"issue_type": "Incident"})

    assert flaws(JiraStore(connection(site[1], words=words))) == ["The project has no issue type “Incident”."]


def test_attachments_that_are_off_or_too_small_are_named(double: Double, store: JiraStore) -> None:
    double.upload_limit = 2 * 1024 * 1024
    small = flaws(store)
    double.attachments_enabled = False

    assert small == ["Attachments may have 2 MB at most."]
    assert flaws(store) == ["Attachments are switched off."]


# ---- webhooks ------------------------------------------------------------------------------------------------------


def signed(body: bytes, secret: str = HOOK) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature": f"sha256={mac}", "X-Atlassian-Webhook-Identifier": "hook-1"}


MESSAGE = json.dumps({"webhookEvent": "jira:issue_updated", "issue": {"id": "10002", "key": "FS-1"}}).encode()


def test_a_signed_webhook_names_its_ticket_and_counts_once(store: JiraStore) -> None:
    (hint,) = store.heard(signed(MESSAGE), MESSAGE)

    assert (hint.id, hint.ticket) == ("hook-1", "10002")


def test_a_webhook_with_another_secret_or_another_body_is_denied(store: JiraStore) -> None:
    with pytest.raises(Denied):
        store.heard(signed(MESSAGE, "guessed"), MESSAGE)
    with pytest.raises(Denied):
        store.heard(signed(MESSAGE), MESSAGE + b" ")
    with pytest.raises(Denied):
        store.heard({}, MESSAGE)


def test_no_webhook_is_taken_while_no_secret_is_set(site: tuple[Double, int]) -> None:
    store = JiraStore(connection(site[1], hook_secret=""))

    with pytest.raises(Denied):
        store.heard(signed(MESSAGE, ""), MESSAGE)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"issue": null}', b'{"webhookEvent": "user_created"}'])
def test_a_webhook_that_names_no_ticket_is_rejected(store: JiraStore, body: bytes) -> None:
    with pytest.raises(Rejected):
        store.heard(signed(body), body)
