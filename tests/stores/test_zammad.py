"""What only Zammad does, and what it refuses."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from flask import Flask

from fieldapp.extensions import uuid7
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.store import (
    Change,
    Conflict,
    Denied,
    NewFile,
    NewTicket,
    Rejected,
    Retry,
    StoreFile,
    Unreachable,
)
from fieldapp.tickets.stores.zammad import DEFAULTS
from tests.stores.bench import Bench
from tests.stores.changes import until_it_stands
from tests.stores.lossy import before
from tests.stores.zammad import HOOK, PRIORITIES, STATES, Zammad, at, bench

PDF = NewFile(name="SR-20261121-0007-v1-1a2b3c4d.pdf", media_type="application/pdf", content=b"%PDF-1.7 \x00\xff" * 500)


@pytest.fixture
def zammad() -> Zammad:
    return Zammad()


@pytest.fixture
def zammads(request: pytest.FixtureRequest, app: Flask, zammad: Zammad) -> Bench:
    return bench(request, zammad)


def a_change(ticket: str, **more: object) -> Change:
    return Change(uid=str(uuid7()), ticket=ticket, note="已更换电源", author="王磊", files=(PDF,), **more)  # type: ignore[arg-type]


# ---- one effect ------------------------------------------------------------------------------------------


def test_note_file_and_state_go_in_by_one_request(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.asked.clear()

    zammads.store.push(a_change(ticket.ref, status="resolved"))

    writes = [asked for asked in zammad.asked if not asked.startswith("GET")]
    assert writes == [f"PUT /api/v1/tickets/{ticket.ref}"]


def test_a_lost_answer_is_found_and_not_written_again(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    change = a_change(ticket.ref, status="resolved", base=ticket.version)
    zammad.lost = 1

    with pytest.raises(Unreachable):
        zammads.store.push(change)
    receipt = zammads.store.push(change)

    assert receipt.complete
    assert len(zammads.ours(change)) == 1


def test_a_lost_answer_to_a_filing_is_found_and_not_filed_again(zammads: Bench, zammad: Zammad) -> None:
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer=zammads.customer)
    zammad.lost = 1

    with pytest.raises(Unreachable):
        zammads.store.create(new)
    filed = zammads.store.create(new)

    assert [ticket.ref for ticket in zammads.history()] == [filed.ref]


def test_a_note_whose_file_somebody_took_away_is_told_and_not_sent_again(zammads: Bench, zammad: Zammad) -> None:
    change = a_change(zammads.filed().ref)
    receipt = zammads.store.push(change)
    zammad.articles[int(receipt.ref)]["attachments"].clear()

    with pytest.raises(Rejected, match=PDF.name):
        zammads.store.push(change)

    assert len(zammads.ours(change)) == 1


def test_a_file_that_came_in_cut_short_is_not_a_complete_receipt(zammads: Bench, zammad: Zammad) -> None:
    zammad.cut_short = True

    with pytest.raises(Retry):
        zammads.store.push(a_change(zammads.filed().ref))


def test_through_a_wire_that_loses_half_of_the_answers_each_change_stands_there_once(zammads: Bench) -> None:
    assert zammads.port
    assert zammads.at
    tickets = [zammads.filed() for _ in range(6)]
    changes = [a_change(ticket.ref, status="resolved", base=ticket.version) for ticket in tickets]

    with before(zammads.port) as wire:
        store = zammads.at(f"http://127.0.0.1:{wire.port}")
        receipts = [until_it_stands(store, change) for change in changes]

    assert wire.answers_lost > 2
    assert all(receipt.complete for receipt in receipts)
    for change in changes:
        (note,) = zammads.ours(change)
        assert zammads.hashes(note) == [hashlib.sha256(PDF.content).hexdigest()]


# ---- states ----------------------------------------------------------------------------------------------


def test_a_pending_state_is_set_with_the_moment_at_which_it_ends(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()

    zammads.store.push(a_change(ticket.ref, status="waiting_customer"))

    row = zammad.tickets[int(ticket.ref)]
    assert row["state"] == "pending reminder"
    assert row["pending_time"] > zammad.stamp()


def test_a_state_that_a_workflow_refuses_leaves_the_note_in(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.mandatory["closed"] = "service_site"
    change = a_change(ticket.ref, status="resolved")

    with pytest.raises(Rejected, match="service_site"):
        zammads.store.push(change)

    (note,) = zammads.ours(change)
    found = zammads.store.find(change.uid, ticket.ref)
    assert [file.name for file in note.files] == [PDF.name]
    assert found is not None
    assert not found.complete


def test_a_state_that_was_refused_is_set_when_the_workflow_lets_it_through(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.mandatory["closed"] = "service_site"
    change = a_change(ticket.ref, status="resolved")
    with pytest.raises(Rejected):
        zammads.store.push(change)
    zammad.tickets[int(ticket.ref)]["service_site"] = "二号楼"

    receipt = zammads.store.push(change)

    assert receipt.complete
    assert zammads.store.ticket(ticket.ref).status == "closed"
    assert len(zammads.ours(change)) == 1


def test_a_note_of_somebody_else_makes_the_base_stale(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.answered(int(ticket.ref), "请先不要关闭")

    with pytest.raises(Conflict) as caught:
        zammads.store.push(a_change(ticket.ref, status="resolved", base=ticket.version))

    assert caught.value.receipt is not None
    assert zammads.store.ticket(ticket.ref).status == "new"


# ---- reading ---------------------------------------------------------------------------------------------


def test_what_others_write_is_read_as_plain_text_with_its_author(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.answered(int(ticket.ref), "<div>昨天停过电</div><div>&lt;又停了&gt;</div>", content_type="text/html")
    zammad.answered(int(ticket.ref), "自动回复", sender="System")

    (note,) = zammads.store.thread(ticket.ref)

    assert (note.text, note.author, note.uid) == ("昨天停过电\n<又停了>", "陈晓 <chen@example.com>", None)


def test_a_note_of_ours_in_a_ticket_that_a_program_filed_without_a_text_is_found(
    zammads: Bench, zammad: Zammad
) -> None:
    ticket = zammads.filed()
    zammad.articles.clear()

    change = zammads.push(ticket, status="resolved")

    assert zammads.store.push(change).complete
    assert [note.uid for note in zammads.store.thread(ticket.ref)] == [change.uid]
    assert zammads.store.ticket(ticket.ref).status == zammads.told("resolved")


def test_a_merged_ticket_names_the_one_that_it_became_a_part_of(zammads: Bench, zammad: Zammad) -> None:
    target, source = zammads.filed(), zammads.filed()

    zammad.merge(int(source.ref), int(target.ref))

    told = zammads.store.ticket(source.ref)
    assert (told.merged_into, told.status, told.text) == (target.ref, "closed", "")
    assert zammads.store.ticket(target.ref).merged_into is None


def test_a_ticket_that_was_merged_twice_leads_to_the_last_one(zammads: Bench, zammad: Zammad) -> None:
    first, second, third = zammads.filed(), zammads.filed(), zammads.filed()
    change = a_change(first.ref)
    zammads.store.push(change)

    zammad.merge(int(first.ref), int(second.ref))
    zammad.merge(int(second.ref), int(third.ref))

    assert zammads.store.ticket(first.ref).merged_into == third.ref
    assert zammads.store.find(change.uid, first.ref) is not None


def test_a_note_that_moved_with_a_merge_is_found_and_not_written_again(zammads: Bench, zammad: Zammad) -> None:
    target, source = zammads.filed(), zammads.filed()
    change = a_change(source.ref, status="in_progress")
    receipt = zammads.store.push(change)

    zammad.merge(int(source.ref), int(target.ref))

    assert zammads.store.find(change.uid, source.ref) == receipt
    assert zammads.store.push(change) == receipt
    assert [note.uid for note in zammads.store.thread(target.ref)].count(change.uid) == 1


def test_a_merged_ticket_takes_nothing_more_and_names_the_other(zammads: Bench, zammad: Zammad) -> None:
    target, source = zammads.filed(), zammads.filed()
    zammad.merge(int(source.ref), int(target.ref))

    with pytest.raises(Rejected, match=target.fields["number"]):
        zammads.store.push(a_change(source.ref, status="resolved"))

    assert zammad.tickets[int(source.ref)]["state"] == "merged"


def test_the_cursor_stays_behind_what_may_still_be_written(zammads: Bench, zammad: Zammad) -> None:
    """A transaction that began before ends after us: its change has an earlier time than what we read."""
    early, late = zammads.filed(), zammads.filed()
    behind = zammad.tickets.pop(int(early.ref))

    page = zammads.store.changes("", 10)
    zammad.tickets[int(early.ref)] = behind

    assert [ticket.ref for ticket in page.tickets] == [late.ref]
    assert early.ref in {ticket.ref for ticket in zammads.store.changes(page.cursor, 10).tickets}


def test_many_tickets_of_one_moment_are_all_told(zammads: Bench, zammad: Zammad) -> None:
    refs = {zammads.filed().ref for _ in range(7)}
    stamp = zammad.stamp()
    for row in zammad.tickets.values():
        row["updated_at"] = stamp

    seen, _cursor = zammads.all_changes("")

    assert {ticket.ref for ticket in seen} == refs


# ---- refusals --------------------------------------------------------------------------------------------


def test_a_wrong_token_is_denied(zammads: Bench) -> None:
    with pytest.raises(Denied):
        at(f"http://127.0.0.1:{zammads.port}", secret="somebody-elses").check()


def test_a_user_who_is_no_agent_is_denied(zammads: Bench, zammad: Zammad) -> None:
    zammad.rights.clear()

    with pytest.raises(Denied):
        zammads.store.changes("", 10)


def test_a_web_server_that_asks_to_wait_is_waited_for(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.wait_s = 17

    with pytest.raises(Retry) as caught:
        zammads.store.push(a_change(ticket.ref))

    assert caught.value.after == 17


def test_a_note_that_is_too_large_is_rejected(zammads: Bench, zammad: Zammad) -> None:
    ticket = zammads.filed()
    zammad.most_bytes = 2000

    with pytest.raises(Rejected):
        zammads.store.push(a_change(ticket.ref))

    assert zammads.store.thread(ticket.ref) == ()


def test_a_field_that_does_not_exist_lets_nothing_be_filed(zammads: Bench, zammad: Zammad) -> None:
    zammad.attributes.remove("fieldapp_uid")

    with pytest.raises(Rejected):
        zammads.store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?"))

    assert zammad.tickets == {}


def test_an_attachment_of_another_ticket_is_not_given(zammads: Bench) -> None:
    change = a_change(zammads.filed().ref)
    zammads.store.push(change)
    (file,) = zammads.ours(change)[0].files
    _ticket, article, ref = file.ref.split("/")
    other = zammads.filed()

    with pytest.raises(Denied):
        zammads.store.content(
            StoreFile(name="x", media_type="application/pdf", size=1, sha256=None, ref=f"{other.ref}/{article}/{ref}")
        )


# ---- does it fit? ----------------------------------------------------------------------------------------


def test_a_missing_field_is_named_with_how_to_create_it(zammads: Bench, zammad: Zammad) -> None:
    zammads.filed()
    for row in zammad.tickets.values():
        del row["customer_number"]

    (flaw,) = zammads.store.check()

    assert "customer_number" in flaw.says
    assert "Objects" in flaw.mend


def test_a_group_that_the_user_may_not_work_in_is_named(zammads: Bench, zammad: Zammad) -> None:
    zammad.groups = {"Users": ["read"]}

    (flaw,) = zammads.store.check()

    assert "Users" in flaw.says


def test_a_state_that_the_store_does_not_know_is_named_with_those_that_it_knows(zammads: Bench) -> None:
    words = StoreMapping(statuses=Words(write={"resolved": "erledigt"}))

    (flaw,) = at(f"http://127.0.0.1:{zammads.port}", words=words).check()

    assert "erledigt" in flaw.says
    assert "pending reminder" in flaw.mend


def test_a_search_that_does_not_look_at_its_conditions_is_a_flaw(zammads: Bench, zammad: Zammad) -> None:
    zammads.filed(), zammads.filed()
    zammad.honours_conditions = False

    (flaw,) = zammads.store.check()

    assert "search" in flaw.says


def test_a_search_that_does_not_look_at_its_conditions_is_not_believed(zammads: Bench, zammad: Zammad) -> None:
    zammads.filed(customer="C-somebody-else")
    zammad.honours_conditions = False

    assert zammads.history() == ()
    with pytest.raises(Rejected, match="does not look at what it is asked for"):
        zammads.store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上"))
    assert len(zammad.tickets) == 1


# ---- webhooks --------------------------------------------------------------------------------------------


def test_a_signed_webhook_names_the_ticket_and_itself(zammads: Bench, zammad: Zammad) -> None:
    headers, body = zammad.hook(42)

    (hint,) = zammads.store.heard(headers, body)

    assert (hint.id, hint.ticket) == (headers["X-Zammad-Delivery"], "42")


def test_a_webhook_whose_body_was_changed_is_denied(zammads: Bench, zammad: Zammad) -> None:
    headers, body = zammad.hook(42)

    with pytest.raises(Denied):
        zammads.store.heard(headers, body.replace(b"42", b"43"))


def test_a_webhook_without_a_signature_is_denied(zammads: Bench, zammad: Zammad) -> None:
    headers, body = zammad.hook(42)
    del headers["X-Hub-Signature"]

    with pytest.raises(Denied):
        zammads.store.heard(headers, body)


def test_no_webhook_is_taken_while_no_secret_is_set(zammads: Bench, zammad: Zammad) -> None:
    store = at(f"http://127.0.0.1:{zammads.port}", hook_secret="")

    with pytest.raises(Denied):
        store.heard(*zammad.hook(42))


def test_a_signed_message_that_names_no_ticket_is_rejected(zammads: Bench) -> None:
    body = b'{"article": {}}'
    signed = hmac.new(HOOK.encode(), body, hashlib.sha1).hexdigest()

    with pytest.raises(Rejected):
        zammads.store.heard({"X-Hub-Signature": f"sha1={signed}"}, body)


def test_every_word_that_is_written_is_one_of_a_fresh_installation() -> None:
    assert set(DEFAULTS.statuses.write.values()) <= set(STATES)
    assert set(DEFAULTS.priorities.write.values()) <= set(PRIORITIES)
