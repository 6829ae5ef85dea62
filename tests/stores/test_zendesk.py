"""What only Zendesk does, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

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
    Unreachable,
)
from fieldapp.tickets.stores.zendesk import DEFAULTS
from fieldapp.tickets.wire import kept
from tests.stores.bench import Bench
from tests.stores.changes import until_it_stands
from tests.stores.lossy import before
from tests.stores.zendesk import (
    CLIENT,
    HOOK,
    PRIORITIES,
    SECRET,
    STATUSES,
    TOKEN,
    TOKENS_LAST,
    USER,
    Zendesk,
    at,
    bench,
)

PDF = NewFile(name="SR-20261121-0007-v1-1a2b3c4d.pdf", media_type="application/pdf", content=b"%PDF-1.7 \x00\xff" * 500)


@pytest.fixture
def zendesk() -> Zendesk:
    return Zendesk()


@pytest.fixture
def zendesks(request: pytest.FixtureRequest, app: Flask, zendesk: Zendesk) -> Bench:
    return bench(request, zendesk)


def a_change(ticket: str, **more: object) -> Change:
    return Change(uid=str(uuid7()), ticket=ticket, note="已更换电源", author="王磊", files=(PDF,), **more)  # type: ignore[arg-type]


# ---- one effect ------------------------------------------------------------------------------------------


def test_note_file_and_status_go_in_by_one_update(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.asked.clear()

    zendesks.store.push(a_change(ticket.ref, status="resolved"))

    writes = [asked for asked in zendesk.asked if not asked.startswith("GET")]
    assert writes == ["POST /api/v2/uploads", f"PUT /api/v2/tickets/{ticket.ref}"]


def test_a_lost_answer_is_found_and_not_written_again(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    change = Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", status="resolved", base=ticket.version)
    zendesk.lost = 1

    with pytest.raises(Unreachable):
        zendesks.store.push(change)
    receipt = zendesks.store.push(change)

    assert receipt.complete
    assert len(zendesks.ours(change)) == 1


def test_a_lost_answer_to_an_upload_leaves_one_file_in_the_note(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref)
    zendesk.lost = 1

    with pytest.raises(Unreachable):
        zendesks.store.push(change)
    zendesks.store.push(change)

    assert [file.name for note in zendesks.ours(change) for file in note.files] == [PDF.name]


def test_a_lost_answer_to_a_filing_is_found_at_once_and_not_filed_again(zendesks: Bench, zendesk: Zendesk) -> None:
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer=zendesks.customer)
    zendesk.lost = 1

    with pytest.raises(Unreachable):
        zendesks.store.create(new)
    filed = zendesks.store.create(new)

    assert list(zendesk.tickets) == [int(filed.ref)]


def test_two_filings_that_do_not_see_each_other_are_one_by_their_key(zendesks: Bench, zendesk: Zendesk) -> None:
    """The look-up and the filing are two requests; between them the first filing of two may come through."""
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer=zendesks.customer)
    first = zendesks.store.create(new)
    zendesk.tickets[int(first.ref)]["external_id"] = None

    second = zendesks.store.create(new)

    assert second.ref == first.ref
    assert len(zendesk.tickets) == 1


def test_a_note_whose_file_somebody_redacted_is_told_and_not_sent_again(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref)
    zendesks.store.push(change)
    zendesk.comments[int(change.ticket)][-1]["attachments"][0]["deleted"] = True

    with pytest.raises(Rejected, match=PDF.name):
        zendesks.store.push(change)

    assert len(zendesks.ours(change)) == 1


def test_words_in_braces_are_not_read_as_placeholders(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()

    change = zendesks.push(ticket, "型号 {{ticket.requester.email}} {% if %} {x}")

    assert zendesks.ours(change)[0].text == "型号 {{ticket.requester.email}} {% if %} {x}"


def test_through_a_wire_that_loses_half_of_the_answers_each_change_stands_there_once(zendesks: Bench) -> None:
    assert zendesks.port
    assert zendesks.at
    tickets = [zendesks.filed() for _ in range(6)]
    changes = [a_change(ticket.ref, status="resolved", base=ticket.version) for ticket in tickets]

    with before(zendesks.port) as wire:
        store = zendesks.at(f"http://127.0.0.1:{wire.port}")
        receipts = [until_it_stands(store, change) for change in changes]

    assert wire.answers_lost > 2
    assert all(receipt.complete for receipt in receipts)
    for change in changes:
        (note,) = zendesks.ours(change)
        assert zendesks.hashes(note) == [hashlib.sha256(PDF.content).hexdigest()]


# ---- the guard -------------------------------------------------------------------------------------------


def test_a_write_between_our_look_and_our_write_is_a_conflict(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    change = a_change(ticket.ref, status="resolved", base=ticket.version)
    zendesk.quicker = "请先不要关闭"

    with pytest.raises(Conflict) as caught:
        zendesks.store.push(change)

    assert caught.value.receipt is not None
    assert not caught.value.receipt.complete
    assert [file.name for file in zendesks.ours(change)[0].files] == [PDF.name]
    assert zendesks.store.ticket(ticket.ref).status == "new"


def test_two_changes_in_one_second_have_two_versions(zendesks: Bench, zendesk: Zendesk) -> None:
    before = zendesks.filed()
    zendesk.tickets[int(before.ref)]["assignee_id"] = 8

    assert zendesks.store.ticket(before.ref).version != before.version


def test_a_collision_in_their_database_is_tried_again(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref, status="resolved")
    zendesk.busy = 1

    with pytest.raises(Retry):
        zendesks.store.push(change)
    receipt = zendesks.store.push(change)

    assert receipt.complete
    assert len(zendesks.ours(change)) == 1


# ---- statuses --------------------------------------------------------------------------------------------


def test_a_closed_ticket_takes_nothing_more_and_says_what_to_do(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.close(int(ticket.ref))

    with pytest.raises(Rejected, match="follow-up"):
        zendesks.store.push(a_change(ticket.ref, status="resolved"))

    assert zendesks.store.thread(ticket.ref) == ()


def test_a_status_that_is_refused_leaves_the_note_in(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.needs_assignee = True
    change = a_change(ticket.ref, status="resolved")

    with pytest.raises(Rejected, match="Assignee"):
        zendesks.store.push(change)

    (note,) = zendesks.ours(change)
    found = zendesks.store.find(change.uid, ticket.ref)
    assert [file.name for file in note.files] == [PDF.name]
    assert found is not None
    assert not found.complete


def test_a_status_that_was_refused_is_set_once_and_not_taken_back_again(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.needs_assignee = True
    change = a_change(ticket.ref, status="resolved")
    with pytest.raises(Rejected):
        zendesks.store.push(change)
    zendesk.tickets[int(ticket.ref)]["assignee_id"] = 8

    receipt = zendesks.store.push(change)
    solved = zendesks.store.ticket(ticket.ref).status
    zendesk.tickets[int(ticket.ref)]["status"] = "open"
    zendesks.store.push(change)

    assert receipt.complete
    assert solved == "resolved"
    assert zendesks.store.ticket(ticket.ref).status == "in_progress"
    assert len(zendesks.ours(change)) == 1


# ---- reading ---------------------------------------------------------------------------------------------


def test_the_last_minute_is_told_when_it_has_passed(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()

    early = zendesks.store.changes("", 10)
    zendesks.later()
    late = zendesks.store.changes(early.cursor, 10)

    assert early.tickets == ()
    assert [told.ref for told in late.tickets] == [ticket.ref]


def test_an_eleventh_export_in_a_minute_waits(zendesks: Bench, zendesk: Zendesk) -> None:
    for _ in range(10):
        zendesks.store.changes("", 10)

    with pytest.raises(Retry) as caught:
        zendesks.store.changes("", 10)

    assert 0 < caught.value.after <= 60


def test_a_long_thread_is_read_to_its_end(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    for number in range(150):
        zendesk.answered(int(ticket.ref), f"第 {number} 条")

    notes = zendesks.store.thread(ticket.ref)

    assert [note.text for note in notes] == [f"第 {number} 条" for number in range(150)]
    assert {note.author for note in notes} == {"陈晓"}


def test_a_merged_ticket_names_the_one_that_it_became_a_part_of(zendesks: Bench, zendesk: Zendesk) -> None:
    target, source = zendesks.filed(), zendesks.filed()

    zendesk.merge(int(source.ref), int(target.ref))

    told = zendesks.store.ticket(source.ref)
    assert (told.merged_into, told.status) == (target.ref, "closed")


# ---- files -----------------------------------------------------------------------------------------------


def test_the_host_that_gives_the_bytes_is_not_given_our_credentials(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref)
    zendesks.store.push(change)
    (file,) = zendesks.ours(change)[0].files

    content = zendesks.store.content(file)

    (sent,) = zendesk.seen_elsewhere
    assert content == PDF.content
    assert "Authorization" not in sent
    assert not any(secret in str(sent) for secret in (SECRET, *zendesk.tokens))


def test_a_host_that_the_settings_do_not_name_is_not_asked(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref)
    zendesks.store.push(change)
    (file,) = zendesks.ours(change)[0].files
    plain = at(f"http://127.0.0.1:{zendesks.port}")

    with pytest.raises(Rejected, match=zendesk.file_host):
        plain.content(file)

    assert zendesk.seen_elsewhere == []


def test_a_name_that_only_ends_like_the_known_host_is_not_asked(zendesks: Bench, zendesk: Zendesk) -> None:
    change = a_change(zendesks.filed().ref)
    zendesks.store.push(change)
    (file,) = zendesks.ours(change)[0].files
    zendesk.file_host = "evilzdusercontent.com"

    with pytest.raises(Rejected, match="evilzdusercontent"):
        at(f"http://127.0.0.1:{zendesks.port}").content(file)


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [CLIENT, USER])
def test_a_wrong_secret_is_denied(zendesks: Bench, user: str) -> None:
    with pytest.raises(Denied) as caught:
        at(f"http://127.0.0.1:{zendesks.port}", user=user, secret="somebody-elses").check()

    assert "somebody-elses" not in str(caught.value)


def test_one_log_in_serves_until_it_ends_and_is_then_replaced_once(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesks.push(ticket, "上午")
    assert len(zendesk.tokens) == 1
    zendesk.ahead += TOKENS_LAST

    zendesks.push(ticket, "下午")

    assert len(zendesk.tokens) == 2
    assert [note.text for note in zendesks.store.thread(ticket.ref)] == ["上午", "下午"]


def test_a_token_that_is_never_accepted_is_denied_after_one_more(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.forgetful = True

    with pytest.raises(Denied):
        zendesks.store.ticket(ticket.ref)

    assert len(zendesk.tokens) == 2


def test_of_a_log_in_nothing_is_kept_that_opens_the_store(zendesks: Bench, zendesk: Zendesk) -> None:
    store = at(f"http://127.0.0.1:{zendesks.port}")

    with kept() as exchanges:
        store.check()

    assert exchanges[0].path == "/oauth/tokens"
    assert not any(secret in str(exchanges) for secret in (SECRET, *zendesk.tokens))


def test_an_api_token_works_while_there_are_any_and_its_end_is_told(zendesks: Bench, zendesk: Zendesk) -> None:
    store = at(f"http://127.0.0.1:{zendesks.port}", user=USER, secret=TOKEN)
    ticket = zendesks.filed()

    store.push(a_change(ticket.ref))

    (flaw,) = store.check()
    assert "30 April 2027" in flaw.says
    assert "OAuth" in flaw.mend
    assert len(store.thread(ticket.ref)) == 1


def test_a_rate_limit_is_waited_for(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.wait_s = 93

    with pytest.raises(Retry) as caught:
        zendesks.store.push(a_change(ticket.ref))

    assert caught.value.after == 93


def test_a_file_that_is_too_large_is_rejected_and_nothing_is_written(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.most_bytes = 100

    with pytest.raises(Rejected):
        zendesks.store.push(a_change(ticket.ref))

    assert zendesks.store.thread(ticket.ref) == ()


def test_a_note_that_is_too_long_is_rejected(zendesks: Bench) -> None:
    ticket = zendesks.filed()

    with pytest.raises(Rejected, match="too long"):
        zendesks.push(ticket, "长" * 65_536)


def test_an_upload_that_waited_for_more_than_an_hour_is_refused(zendesks: Bench, zendesk: Zendesk) -> None:
    ticket = zendesks.filed()
    zendesk.upload_takes = timedelta(minutes=61)

    with pytest.raises(Rejected, match="token"):
        zendesks.store.push(a_change(ticket.ref))


def test_a_field_that_does_not_exist_lets_nothing_be_filed(zendesks: Bench, zendesk: Zendesk) -> None:
    zendesk.fields = {number: title for number, title in zendesk.fields.items() if title != "Asset serial"}

    with pytest.raises(Rejected, match="Asset serial"):
        zendesks.store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?", asset="ZW3000-0001"))

    assert zendesk.tickets == {}


# ---- does it fit? ----------------------------------------------------------------------------------------


def test_a_missing_field_is_named_with_how_to_create_it(zendesks: Bench, zendesk: Zendesk) -> None:
    zendesk.fields = {number: title for number, title in zendesk.fields.items() if title != "Asset serial"}

    (flaw,) = zendesks.store.check()

    assert "Asset serial" in flaw.says
    assert "Admin Center" in flaw.mend


def test_a_field_that_was_created_meanwhile_is_seen_by_the_next_check(zendesks: Bench, zendesk: Zendesk) -> None:
    title = zendesk.fields.pop(360001)
    before = zendesks.store.check()
    zendesk.fields[360099] = title

    assert len(before) == 1
    assert zendesks.store.check() == ()


def test_a_field_can_be_named_by_its_number(zendesks: Bench, zendesk: Zendesk) -> None:
    zendesk.fields[360001] = "Kundennummer"
    words = StoreMapping(fields={"customer": "360001"})

    assert at(f"http://127.0.0.1:{zendesks.port}", words=words).check() == ()
    assert len(zendesks.store.check()) == 1


def test_an_agent_who_is_no_administrator_is_named(zendesks: Bench, zendesk: Zendesk) -> None:
    zendesk.role = "agent"

    (flaw,) = zendesks.store.check()

    assert "fieldapp@example.com" in flaw.says
    with pytest.raises(Denied):
        zendesks.store.changes("", 10)


def test_a_status_that_is_switched_off_is_named_with_those_that_there_are(zendesks: Bench, zendesk: Zendesk) -> None:
    zendesk.hold = False

    (flaw,) = zendesks.store.check()

    assert "hold" in flaw.says
    assert "pending" in flaw.mend


def test_a_group_that_does_not_exist_is_named(zendesks: Bench) -> None:
    words = StoreMapping(place="Field Service")

    (flaw,) = at(f"http://127.0.0.1:{zendesks.port}", words=words).check()

    assert "Field Service" in flaw.says


def test_tickets_are_filed_in_the_group_that_the_mapping_names(zendesks: Bench, zendesk: Zendesk) -> None:
    store = at(f"http://127.0.0.1:{zendesks.port}", words=StoreMapping(place="Support", priorities=Words()))

    filed = store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?"))

    assert zendesk.tickets[int(filed.ref)]["group_id"] == 501


def test_every_word_that_is_written_is_one_of_a_fresh_installation() -> None:
    assert set(DEFAULTS.statuses.write.values()) <= set(STATUSES)
    assert set(DEFAULTS.priorities.write.values()) <= set(PRIORITIES)


# ---- webhooks --------------------------------------------------------------------------------------------


def test_a_signed_webhook_names_the_ticket_and_itself(zendesks: Bench, zendesk: Zendesk) -> None:
    (hint,) = zendesks.store.heard(*zendesk.hook(42))

    assert (hint.id, hint.ticket) == ("8350205582", "42")


def test_a_webhook_whose_body_or_time_was_changed_is_denied(zendesks: Bench, zendesk: Zendesk) -> None:
    headers, body = zendesk.hook(42)
    later = {**headers, "x-zendesk-webhook-signature-timestamp": "2026-11-22T10:00:00Z"}

    with pytest.raises(Denied):
        zendesks.store.heard(headers, body.replace(b"42", b"43"))
    with pytest.raises(Denied):
        zendesks.store.heard(later, body)


def test_a_webhook_that_is_played_again_later_is_denied(zendesks: Bench, zendesk: Zendesk) -> None:
    with pytest.raises(Denied, match="too old"):
        zendesks.store.heard(*zendesk.hook(42, at=datetime.now(UTC) - timedelta(minutes=6)))


def test_no_webhook_is_taken_while_no_secret_is_set(zendesks: Bench, zendesk: Zendesk) -> None:
    store = at(f"http://127.0.0.1:{zendesks.port}", hook_secret="")

    with pytest.raises(Denied):
        store.heard(*zendesk.hook(42))


@pytest.mark.parametrize(
    ("body", "ticket"),
    [(b'{"detail": {"id": "35436"}, "type": "zen:event-type:ticket.created"}', "35436"), (b"{}", None)],
)
def test_an_event_of_zendesk_itself_is_understood_and_anything_else_rejected(
    zendesks: Bench, body: bytes, ticket: str | None
) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    signed = base64.b64encode(hmac.new(HOOK.encode(), stamp.encode() + body, hashlib.sha256).digest()).decode()
    headers = {"X-Zendesk-Webhook-Signature": signed, "X-Zendesk-Webhook-Signature-Timestamp": stamp}

    if ticket is None:
        with pytest.raises(Rejected):
            zendesks.store.heard(headers, body)
    else:
        assert [hint.ticket for hint in zendesks.store.heard(headers, body)] == [ticket]
