"""What only ServiceNow does: it drops what it does not know, keeps rows from us, and lets rules refuse an update."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64encode
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
from fieldapp.tickets.stores.servicenow import ServiceNowStore
from tests.stores.changes import a_file, done, new, until_it_stands
from tests.stores.lossy import before
from tests.stores.servicenow import HOOK, Double, connection, started

UPDATE, FILE, FILING = ("PATCH", "/incident/[0-9a-f]+"), ("POST", "/file"), ("POST", "/incident")

pytestmark = pytest.mark.usefixtures("app")  # sentences are in the app's language


@pytest.fixture
def site(request: pytest.FixtureRequest) -> tuple[Double, int]:
    return started(request)


@pytest.fixture
def double(site: tuple[Double, int]) -> Double:
    return site[0]


@pytest.fixture
def store(site: tuple[Double, int]) -> ServiceNowStore:
    return ServiceNowStore(connection(site[1]))


@pytest.fixture
def ticket(store: ServiceNowStore) -> StoreTicket:
    return store.create(new())


def texts(store: ServiceNowStore, ticket: StoreTicket) -> list[str]:
    return [note.text for note in store.thread(ticket.ref)]


# ---- who may come in, and how often --------------------------------------------------------------------------


def test_a_wrong_password_is_denied(site: tuple[Double, int]) -> None:
    with pytest.raises(Denied):
        ServiceNowStore(connection(site[1], secret="an old password")).check()


def test_a_rate_limit_is_waited_for_as_long_as_the_instance_says(double: Double, store: ServiceNowStore) -> None:
    double.limited = 1

    with pytest.raises(Retry) as caught:
        store.changes("", 10)

    assert caught.value.after == 9


def test_a_sleeping_instance_is_not_believed(double: Double, store: ServiceNowStore, ticket: StoreTicket) -> None:
    double.asleep = True

    with pytest.raises(Unreachable):
        store.push(done(ticket))
    with pytest.raises(Unreachable):
        store.changes("", 10)


def test_a_file_beyond_the_instances_limit_is_rejected_and_nothing_is_noted(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.largest = 5

    with pytest.raises(Rejected, match="max_size"):
        store.push(done(ticket))

    assert texts(store, ticket) == []


# ---- answers that are lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [FILE, UPDATE])
def test_a_lost_answer_is_found_and_not_written_again(
    double: Double, store: ServiceNowStore, ticket: StoreTicket, lost: tuple[str, str]
) -> None:
    change = done(ticket)
    double.lost.append(lost)
    with pytest.raises(Unreachable):
        store.push(change)

    receipt = store.push(change)

    assert receipt.complete
    assert texts(store, ticket) == ["已更换电源"]
    assert len(double.attachments) == 1
    assert store.ticket(ticket.ref).status == "resolved"


@pytest.mark.parametrize("seed", range(2))
def test_a_bad_wire_doubles_nothing_and_loses_nothing(
    site: tuple[Double, int], store: ServiceNowStore, seed: int
) -> None:
    double, port = site
    tickets = [store.create(new()) for _each in range(3)]
    changes = [done(ticket, files=(a_file(ticket, number),)) for number in range(2) for ticket in tickets]

    with before(port, lost_requests=0.1, lost_answers=0.5) as wire:
        wire.rng.seed(seed)
        far = ServiceNowStore(connection(port, address=f"http://127.0.0.1:{wire.port}"))
        for change in changes:
            until_it_stands(far, change)

    for ticket in tickets:
        ours = [change for change in changes if change.ticket == ticket.ref]
        notes = store.thread(ticket.ref)
        assert [note.uid for note in notes] == [change.uid for change in ours]
        assert [[store.content(file) for file in note.files] for note in notes] == [
            [change.files[0].content] for change in ours
        ]
        assert store.ticket(ticket.ref).status == "resolved"
    assert len(double.attachments) == 6
    assert wire.answers_lost >= 3


def test_a_ticket_whose_answer_was_lost_is_not_filed_again(double: Double, store: ServiceNowStore) -> None:
    wanted = new()
    double.lost.append(FILING)
    with pytest.raises(Unreachable):
        store.create(wanted)

    filed = store.create(wanted)

    assert list(double.incidents) == [filed.ref]


def test_a_file_that_somebody_removed_is_put_there_again(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    change = done(ticket)
    store.push(change)
    double.attachments.clear()
    found = store.find(change.uid, ticket.ref)

    receipt = store.push(change)

    assert found is not None
    assert not found.complete
    assert receipt.complete
    assert len(double.attachments) == 1
    assert texts(store, ticket) == ["已更换电源"]


def test_a_record_with_more_files_than_a_page_has_ours_once(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    for number in range(600):
        told = {"table_name": "incident", "table_sys_id": ticket.ref, "sys_created_on": "2020-01-01 00:00:00"}
        told |= {"sys_id": f"{number:032}", "file_name": f"{number}.log", "content_type": "text/plain"}
        double.attachments[told["sys_id"]] = {**told, "size_bytes": "1", "hash": f"{number:064}"}
    change = done(ticket)

    first, second = store.push(change), store.push(change)

    assert first == second
    assert len(double.attachments) == 601
    assert [file.name for file in store.thread(ticket.ref)[0].files] == ["SR-1.pdf"]


def test_a_thread_of_three_thousand_notes_is_read_to_its_end(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    change = done(ticket)
    store.push(change)
    for number in range(3000):
        double.note(double.incidents[ticket.ref], "comments", f"{number}", "li.ting")

    assert store.push(change).complete
    assert len(store.thread(ticket.ref)) == 3001


def test_a_note_is_shown_as_it_was_written_and_never_as_html(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    text = "[code]<img src=x onerror=alert(1)>[/CODE] [codes]"

    store.push(done(ticket, note=text))

    assert not re.search(r"\[/?code\]", double.journal[0]["value"], re.IGNORECASE)
    assert texts(store, ticket) == [text]


def test_a_customers_number_is_compared_and_never_run(double: Double, store: ServiceNowStore) -> None:
    store.create(new())

    assert store.history("javascript:gs.getUserID()", 10) == ()
    assert double.ran == []


def test_a_customers_number_with_the_sign_that_separates_conditions_is_found(store: ServiceNowStore) -> None:
    number = "C^NQactive=true^ORDERBYnumber"
    mine, _other = store.create(new(customer=number)), store.create(new(customer="C"))

    assert [ticket.ref for ticket in store.history(number, 10)] == [mine.ref]


def test_a_file_without_a_hash_is_known_by_its_content(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    change = done(ticket)
    store.push(change)
    for told in double.attachments.values():
        told["hash"] = ""

    receipt = store.push(change)

    assert receipt.complete
    assert len(double.attachments) == 1


# ---- an update that a rule refuses ----------------------------------------------------------------------------


def test_a_status_that_a_business_rule_refuses_is_left_to_a_person_and_the_note_is_in(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.rule = "Only managers resolve"
    change = done(ticket)

    with pytest.raises(Rejected, match="Only managers resolve"):
        store.push(change)

    assert texts(store, ticket) == ["已更换电源"]
    assert store.ticket(ticket.ref).status == "new"
    with pytest.raises(Conflict):
        store.push(change)
    assert texts(store, ticket) == ["已更换电源"]


def test_a_resolution_brings_what_the_data_policy_asks_for(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    store.push(done(ticket))

    record = double.incidents[ticket.ref]
    assert (record["close_code"], record["close_notes"]) == ("Solution provided", "已更换电源")


def test_a_data_policy_that_asks_for_more_is_told_to_a_person(site: tuple[Double, int]) -> None:
    words = StoreMapping(options={"close_code": ""})
    store = ServiceNowStore(connection(site[1], words=words))
    ticket = store.create(new())

    with pytest.raises(Rejected, match="close_code"):
        store.push(done(ticket))

    assert texts(store, ticket) == ["已更换电源"]


def test_a_ticket_on_hold_says_why(double: Double, store: ServiceNowStore, ticket: StoreTicket) -> None:
    store.push(done(ticket, status="waiting_customer"))

    assert double.incidents[ticket.ref]["hold_reason"] == "1"


def test_a_status_that_is_dropped_without_a_word_is_noticed(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.unwritable.add("state")
    change = done(ticket)

    for _try in range(2):
        with pytest.raises(Rejected, match="may not write the field “state”"):
            store.push(change)

    assert texts(store, ticket) == ["已更换电源"]
    double.person(ticket.ref, state="6", close_code="Solution provided", close_notes="ok")
    assert store.push(change).complete


def test_a_status_that_is_dropped_is_noticed_although_another_rule_touches_the_record(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.unwritable.add("state")
    double.busy = True

    with pytest.raises(Rejected, match="may not write the field “state”"):
        store.push(done(ticket))


# ---- rows and fields that are kept from us ----------------------------------------------------------------------


def test_a_note_that_we_may_not_read_back_is_written_once_at_most(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.hidden.add("sys_journal_field")
    change = done(ticket)

    for _try in range(3):
        with pytest.raises(Denied, match="sys_journal_field"):
            store.push(change)

    assert len(double.journal) == 1
    double.hidden.clear()
    assert store.push(change).complete
    assert len(double.journal) == 1


def test_nothing_is_written_where_we_may_not_see_the_journal_at_all(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.hidden |= {"sys_journal_field", "work_notes"}

    with pytest.raises(Denied, match="work_notes"):
        store.push(done(ticket))

    assert not double.journal
    assert not double.attachments


def test_a_note_that_is_dropped_without_a_word_stops_the_deliveries(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.unwritable.add("work_notes")
    change = done(ticket, status=None)

    with pytest.raises(Denied, match="did not keep our note"):
        store.push(change)

    double.unwritable.clear()
    assert store.push(change).complete
    assert len(double.attachments) == 1


def test_a_customer_field_that_is_missing_does_not_give_everybodys_tickets(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.columns.remove("u_customer_number")

    with pytest.raises(Rejected, match="u_customer_number"):
        store.history("C-1001", 10)


def test_a_key_field_that_is_missing_does_not_give_somebody_elses_ticket(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.columns.remove("correlation_id")

    with pytest.raises(Rejected, match="correlation_id"):
        store.create(new())

    assert list(double.incidents) == [ticket.ref]


def test_a_field_that_was_not_kept_is_named(double: Double, store: ServiceNowStore) -> None:
    double.unwritable.add("u_customer_number")

    with pytest.raises(Rejected, match="u_customer_number"):
        store.create(new())

    assert len(double.incidents) == 1


def test_a_feed_of_which_we_see_a_part_only_is_not_taken_for_the_whole(double: Double, store: ServiceNowStore) -> None:
    for _each in range(3):
        store.create(new())
    double.hidden.add("incident")

    with pytest.raises(Denied):
        store.changes("", 2)


# ---- the feed ----------------------------------------------------------------------------------------------------


def test_a_change_behind_a_slow_walk_comes_with_the_next(double: Double, store: ServiceNowStore) -> None:
    store.create(new())
    store.create(new())
    first, second = sorted(double.incidents)
    before = clock.now()
    page = store.changes("", 1)
    with time_machine.travel(before + timedelta(seconds=30)):
        double.person(first, state="2")
    with time_machine.travel(before + timedelta(minutes=10)):
        double.person(second, state="2")
        rest = store.changes(page.cursor, 1)
        after = store.changes(rest.cursor, 10)

    assert [ticket.ref for ticket in (*page.tickets, *rest.tickets)] == [first, second]
    assert rest.more
    assert {ticket.ref: ticket.status for ticket in after.tickets}[first] == "in_progress"


def test_a_change_that_was_committed_late_comes_with_the_next_walk(double: Double, store: ServiceNowStore) -> None:
    early, late = store.create(new()), store.create(new())
    before = clock.now()
    start = store.changes("", 10).cursor
    with time_machine.travel(before + timedelta(minutes=5)):
        double.person(early.ref, state="2")
        next_one = store.changes(start, 10)
    with time_machine.travel(before + timedelta(minutes=5, seconds=-8)):
        double.person(late.ref, state="2")

    after = store.changes(next_one.cursor, 10)

    assert late.ref in [ticket.ref for ticket in after.tickets]


@pytest.mark.parametrize("cursor", ["2026-11-22", "a|b|c|d|e", "1|2|3|4"])
def test_a_cursor_that_is_not_ours_starts_from_the_beginning(
    store: ServiceNowStore, ticket: StoreTicket, cursor: str
) -> None:
    assert [each.ref for each in store.changes(cursor, 10).tickets] == [ticket.ref]


def test_only_what_the_mapping_asks_for_is_told(site: tuple[Double, int], double: Double) -> None:
    words = StoreMapping(options={"only": "assignment_group=field", "set.assignment_group": "field"})
    mine = ServiceNowStore(connection(site[1], words=words)).create(new())
    ServiceNowStore(connection(site[1])).create(new())

    told = ServiceNowStore(connection(site[1], words=words)).changes("", 10).tickets

    assert [ticket.ref for ticket in told] == [mine.ref]


def test_a_customers_number_cannot_bend_the_query(store: ServiceNowStore, ticket: StoreTicket) -> None:
    assert store.history("C-1001^state=1", 10) == ()


def test_who_changed_a_ticket_last_is_told(double: Double, store: ServiceNowStore, ticket: StoreTicket) -> None:
    double.person(ticket.ref, state="2")

    assert store.ticket(ticket.ref).changed_by == "li.ting"


# ---- the thread ----------------------------------------------------------------------------------------------------


def test_what_people_write_stands_in_the_thread_under_their_names(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    double.person(ticket.ref, comments="客户来电\r\n催办")

    (note,) = store.thread(ticket.ref)

    assert (note.author, note.text, note.uid) == ("li.ting", "客户来电\n催办", None)


def test_a_reply_that_quotes_our_note_is_not_our_note(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    change = done(ticket)
    receipt = store.push(change)
    double.person(ticket.ref, comments=double.journal[0]["value"])

    assert [note.uid for note in store.thread(ticket.ref) if note.uid] == [change.uid]
    assert store.push(change) == receipt


@pytest.mark.parametrize("status", [None, "in_progress"])
def test_a_note_that_ends_like_our_own_line_reads_back_to_the_letter(
    store: ServiceNowStore, ticket: StoreTicket, status: str | None
) -> None:
    text = "第一行\n\n[fieldapp state=left]"

    store.push(done(ticket, note=text, files=(), status=status))

    assert texts(store, ticket) == [text]


def test_a_thread_longer_than_a_page_is_read_to_its_end(
    double: Double, store: ServiceNowStore, ticket: StoreTicket
) -> None:
    for number in range(505):
        double.note(double.incidents[ticket.ref], "work_notes", f"第 {number} 条", "li.ting")

    assert len(store.thread(ticket.ref)) == 505


# ---- being looked at ---------------------------------------------------------------------------------------------


def flaws(store: ServiceNowStore) -> list[str]:
    found = store.check()
    assert all(flaw.mend for flaw in found)
    return [flaw.says for flaw in found]


def test_a_missing_custom_field_is_named(double: Double, store: ServiceNowStore, ticket: StoreTicket) -> None:
    double.columns.remove("u_asset_serial")

    assert flaws(store) == ["The custom field “u_asset_serial” is missing."]


def test_a_table_that_is_not_there_is_named(site: tuple[Double, int]) -> None:
    assert flaws(ServiceNowStore(connection(site[1], words=StoreMapping(place="sn_case")))) == [
        "There is no table “sn_case” that we may read."
    ]


def test_a_status_word_that_does_not_exist_is_named(site: tuple[Double, int]) -> None:
    words = StoreMapping(statuses=Words(write={"resolved": "66"}))

    assert flaws(ServiceNowStore(connection(site[1], words=words))) == [
        "The status “66”, our “resolved”, does not exist."
    ]


def test_tables_that_are_kept_from_us_are_named(double: Double, store: ServiceNowStore, ticket: StoreTicket) -> None:
    store.push(done(ticket))
    double.hidden |= {"sys_journal_field", "sys_choice", "sys_attachment"}

    assert flaws(store) == [
        "Our user may not read the table sys_journal_field of the ticket store.",
        "Our user may not read the table sys_choice: the words for a status cannot be checked.",
        "Our user may not read attachments.",
    ]


@pytest.mark.parametrize("hours", [8, -5])
def test_a_user_in_another_time_zone_is_noticed(
    double: Double, store: ServiceNowStore, ticket: StoreTicket, hours: int
) -> None:
    double.zone = timedelta(hours=hours)

    assert flaws(store) == ["The ticket store reads our times in another time zone than it writes them."]


# ---- webhooks ------------------------------------------------------------------------------------------------------


def message(**changes: Any) -> bytes:
    given = {"id": "m-1", "table": "incident", "sys_id": "ab" * 16, "at": int(clock.now().timestamp())}
    return json.dumps({**given, **changes}).encode()


def signed(body: bytes, secret: str = HOOK) -> dict[str, str]:
    return {"X-Fieldapp-Signature": b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()}


def test_a_signed_webhook_names_its_ticket_and_counts_once(store: ServiceNowStore) -> None:
    body = message()

    (hint,) = store.heard(signed(body), body)

    assert (hint.id, hint.ticket) == ("m-1", "ab" * 16)


def test_a_webhook_with_another_secret_or_another_body_is_denied(store: ServiceNowStore) -> None:
    body = message()
    with pytest.raises(Denied):
        store.heard(signed(body, "guessed"), body)
    with pytest.raises(Denied):
        store.heard(signed(body), message(id="m-2"))
    with pytest.raises(Denied):
        store.heard({}, body)


def test_an_old_webhook_is_denied(store: ServiceNowStore) -> None:
    body = message(at=int(clock.now().timestamp()) - 600)

    with pytest.raises(Denied, match="too old"):
        store.heard(signed(body), body)


def test_no_webhook_is_taken_while_no_secret_is_set(site: tuple[Double, int]) -> None:
    body = message()

    with pytest.raises(Denied):
        ServiceNowStore(connection(site[1], hook_secret="")).heard(signed(body, ""), body)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"id": "m-1"}', b'{"id": "m", "sys_id": "a", "at": "soon"}'])
def test_a_webhook_that_names_no_ticket_is_rejected(store: ServiceNowStore, body: bytes) -> None:
    with pytest.raises(Rejected):
        store.heard(signed(body), body)
