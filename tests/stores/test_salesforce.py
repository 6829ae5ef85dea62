"""What only Salesforce does: log-ins that end, limits that look like refusals, all or nothing, merged cases, its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, Response, request

from fieldapp.extensions import uuid7
from fieldapp.tickets import mapping
from fieldapp.tickets.store import (
    Change,
    Conflict,
    Denied,
    NewFile,
    NewTicket,
    Rejected,
    Retry,
    StoreTicket,
    Throttled,
    Unreachable,
)
from fieldapp.tickets.stores.salesforce import SalesforceStore
from fieldapp.tickets.wire import kept
from tests.stores.salesforce import API, HOOK, SECRET, Platform, Refusal, connection, served
from tests.stores.serving import serving

pytestmark = pytest.mark.usefixtures("app")
PDF = NewFile(name="SR-1.pdf", media_type="application/pdf", content=b"%PDF-1.7 ...")
PHOTO = NewFile(name="铭牌.jpg", media_type="image/jpeg", content=b"\xff\xd8\xff")
LONG_AGO = "2026-01-05T08:00:00.000+0000"


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def server(platform: Platform) -> Flask:
    """The platform's web server, before it answers its first request."""
    return served(platform)


@pytest.fixture
def address(server: Flask) -> Iterator[str]:
    with serving(server) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def store(address: str) -> SalesforceStore:
    return SalesforceStore(connection(address))


def filed(store: SalesforceStore, **more: Any) -> StoreTicket:
    return store.create(NewTicket(uid=str(uuid7()), subject="服务器无法启动", text="开机后蓝屏", **more))


def change(ticket: StoreTicket, **more: Any) -> Change:
    return Change(uid=f"report_issued:{uuid7()}", ticket=ticket.ref, note="已更换电源", author="王磊", **more)


def rows(platform: Platform) -> dict[str, int]:
    return {name: len(there) for name, there in platform.rows.items()}


# ---- the log-in ------------------------------------------------------------------------------------------


def test_one_log_in_serves_many_requests(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    store.push(change(ticket))

    assert platform.logins == 1


def test_a_log_in_that_has_ended_is_replaced_once(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    platform.tokens.clear()

    store.push(change(ticket, status="in_progress"))

    assert platform.logins == 2
    assert len(store.thread(ticket.ref)) == 1


def test_a_log_in_that_is_never_accepted_is_denied_after_one_more(
    store: SalesforceStore, platform: Platform, server: Flask
) -> None:
    broken: list[bool] = []

    @server.after_request
    def forget(response: Response) -> Response:
        if broken:
            platform.tokens.clear()
        return response

    filed(store)
    broken.append(True)
    platform.tokens.clear()
    before = platform.logins

    with pytest.raises(Denied, match="INVALID_SESSION_ID"):
        store.changes("", 10)

    assert platform.logins == before + 1


def test_wrong_credentials_are_denied_with_the_platforms_reason(address: str) -> None:
    with pytest.raises(Denied, match="invalid_client: invalid client credentials"):
        SalesforceStore(connection(address, secret="another")).changes("", 10)


def test_too_many_log_ins_wait(store: SalesforceStore, server: Flask) -> None:
    refusal = json.dumps({"error": "invalid_grant", "error_description": "login rate exceeded"})
    server.view_functions["token"] = lambda: Response(refusal, 400, mimetype="application/json")

    with pytest.raises(Throttled):
        store.check()


def test_a_token_for_another_host_is_not_used(store: SalesforceStore, platform: Platform) -> None:
    platform.instance = "https://evil.example"

    with pytest.raises(
        Denied, match=r"FIELDAPP_STORE_URL must be the address of your own domain: https://evil\.example"
    ):
        store.changes("", 10)
    assert platform.requests == 0


def test_the_log_keeps_neither_token_nor_secret(store: SalesforceStore) -> None:
    with kept() as exchanges:
        filed(store)

    shown = repr(exchanges)
    assert exchanges[0].path == "/services/oauth2/token"
    assert exchanges[0].excerpt == "•••"
    assert "token.1" not in shown
    assert SECRET not in shown


# ---- limits and trouble ----------------------------------------------------------------------------------


def test_a_limit_of_requests_is_no_refusal(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    platform.fail = [Refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")]

    with pytest.raises(Throttled) as caught:
        store.push(change(ticket))

    assert caught.value.after == 300


def test_a_right_that_is_missing_is_denied(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    platform.fail = [Refusal(403, "INSUFFICIENT_ACCESS", "insufficient access rights")]

    with pytest.raises(Denied, match="INSUFFICIENT_ACCESS"):
        store.thread(ticket.ref)


def test_a_platform_under_maintenance_is_asked_again(store: SalesforceStore, platform: Platform) -> None:
    filed(store)
    platform.fail = [Refusal(503, "SERVER_UNAVAILABLE", "We are down for maintenance")]

    with pytest.raises(Unreachable):
        store.changes("", 10)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("UNABLE_TO_LOCK_ROW", Unreachable),
        ("REQUEST_LIMIT_EXCEEDED", Throttled),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", Rejected),
    ],
)
def test_trouble_inside_a_request_that_succeeds_is_told_and_nothing_stays(
    store: SalesforceStore, platform: Platform, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception]
) -> None:
    ticket = filed(store)
    before = rows(platform)
    real = platform.update

    def refuse(*_given: Any) -> None:
        raise Refusal(400, code, "not now")

    monkeypatch.setattr(platform, "update", refuse)
    written = change(ticket, files=(PDF,), status="resolved")
    with pytest.raises(error):
        store.push(written)
    assert rows(platform) == before

    monkeypatch.setattr(platform, "update", real)
    assert store.push(written).complete


@pytest.mark.parametrize("body", ["[]", "{}", '{"records": 7}', '"?"', "<html>"])
def test_an_answer_of_another_form_is_not_the_platforms(store: SalesforceStore, server: Flask, body: str) -> None:
    server.view_functions["all"] = lambda: Response(body, mimetype="application/json")

    with pytest.raises(Retry):
        store.changes("", 10)


# ---- all or nothing --------------------------------------------------------------------------------------


def test_a_lost_answer_is_found_and_not_written_again(
    store: SalesforceStore, platform: Platform, server: Flask
) -> None:
    ticket = filed(store)
    written = change(ticket, files=(PDF, PHOTO), status="resolved")
    take = server.view_functions["composite"]

    def take_and_fail() -> Response:
        take()
        return Response("<h1>Gateway Timeout</h1>", 504)

    server.view_functions["composite"] = take_and_fail
    with pytest.raises(Unreachable):
        store.push(written)
    server.view_functions["composite"] = lambda: pytest.fail("written again")

    assert store.push(written).complete
    assert rows(platform)["ContentVersion"] == 2


def test_a_note_that_comes_in_between_leaves_no_second_file(
    store: SalesforceStore, platform: Platform, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, other = filed(store), SalesforceStore(connection(address))
    written = change(ticket, files=(PDF,), status="resolved")
    real = other._write

    def late(*given: Any) -> None:
        store.push(written)
        real(*given)

    monkeypatch.setattr(other, "_write", late)

    assert other.push(written) == store.find(written.uid, ticket.ref)
    assert (rows(platform)["ServiceNote__c"], rows(platform)["ContentVersion"]) == (1, 1)


def test_a_file_that_is_gone_is_brought_again_without_a_second_note(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    written = change(ticket, files=(PDF, PHOTO))
    first = store.push(written)
    platform.rows["ContentVersion"].popitem()
    assert not store.find(written.uid, ticket.ref).complete  # type: ignore[union-attr]

    again = store.push(written)

    assert again == first
    assert [file.name for file in store.thread(ticket.ref)[0].files] == ["SR-1.pdf", "铭牌.jpg"]


def test_a_note_that_somebody_deleted_comes_back_without_second_files(
    store: SalesforceStore, platform: Platform
) -> None:
    ticket = filed(store)
    written = change(ticket, files=(PDF, PHOTO))
    store.push(written)
    platform.rows["ServiceNote__c"].clear()

    assert store.push(written).complete
    assert (rows(platform)["ServiceNote__c"], rows(platform)["ContentVersion"]) == (1, 2)


def test_a_duplicate_of_something_else_is_told(
    store: SalesforceStore, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = filed(store)

    def refuse(*_given: Any) -> None:
        raise Refusal(400, "DUPLICATE_VALUE", "duplicate value found: Their_Number__c duplicates value on record 500")

    monkeypatch.setattr(platform, "insert", refuse)

    with pytest.raises(Rejected, match="Their_Number__c"):
        store.push(change(ticket))


def test_a_file_that_stands_there_otherwise_is_not_complete(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    written = change(ticket, files=(PDF,))
    store.push(written)
    next(iter(platform.rows["ContentVersion"].values()))["Checksum"] = "0" * 32

    with pytest.raises(Retry, match="not complete yet"):
        store.push(written)


def test_a_status_that_was_not_taken_is_asked_for_again(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    written = change(ticket, status="resolved")
    store.push(written)
    case = platform.rows["Case"][ticket.ref]
    case |= {"Status": "New", "SystemModstamp": LONG_AGO}
    assert not store.find(written.uid, ticket.ref).complete  # type: ignore[union-attr]

    assert store.push(written).complete
    assert platform.rows["Case"][ticket.ref]["Status"] == "Closed"
    assert len(store.thread(ticket.ref)) == 1


def test_a_key_that_is_not_unique_is_told(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    platform.unique.clear()
    written = change(ticket)
    store.push(written)
    platform.insert("ServiceNote__c", {"FieldAppId__c": written.uid, "Case__c": ticket.ref})

    with pytest.raises(Rejected, match="more than once: make the field unique"):
        store.push(written)


# ---- the guard -------------------------------------------------------------------------------------------


def test_a_change_between_our_look_and_our_write_leaves_the_status(
    store: SalesforceStore, platform: Platform, server: Flask
) -> None:
    touched: list[str] = []

    @server.before_request
    def meanwhile() -> None:
        if request.path == f"{API}/composite":
            for ref in touched:
                platform.touch(platform.rows["Case"][ref], by="赵敏")

    ticket = filed(store)
    platform.rows["Case"][ticket.ref] |= {"LastModifiedDate": LONG_AGO, "SystemModstamp": LONG_AGO}
    fresh = store.ticket(ticket.ref)
    touched.append(ticket.ref)
    written = change(ticket, status="resolved", files=(PDF,), base=fresh.version)

    with pytest.raises(Conflict) as caught:
        store.push(written)

    assert caught.value.receipt is not None
    assert platform.rows["Case"][ticket.ref]["Status"] == "New"
    (note,) = store.thread(ticket.ref)
    assert (note.uid, len(note.files)) == (written.uid, 1)
    with pytest.raises(Conflict):
        store.push(written)
    assert rows(platform)["ServiceNote__c"] == 1


def test_two_changes_within_one_second_have_two_versions(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    case = platform.rows["Case"][ticket.ref]
    case |= {"SystemModstamp": LONG_AGO, "LastModifiedDate": LONG_AGO}
    before = store.ticket(ticket.ref)
    case["Priority"] = "Low"

    assert store.ticket(ticket.ref).updated == before.updated
    assert store.ticket(ticket.ref).version != before.version


# ---- reading ---------------------------------------------------------------------------------------------


def test_rows_that_come_in_small_batches_all_come(store: SalesforceStore, platform: Platform) -> None:
    refs = [filed(store).ref for _ in range(7)]
    platform.batch = 2

    assert [ticket.ref for ticket in store.changes("", 100).tickets] == refs


def test_a_next_page_on_another_host_is_not_followed(store: SalesforceStore, server: Flask) -> None:
    page = json.dumps({"records": [], "done": False, "nextRecordsUrl": "https://evil.example/services/data/query/1"})
    server.view_functions["all"] = lambda: Response(page, mimetype="application/json")

    with pytest.raises(Rejected, match="points to another address"):
        store.changes("", 10)


def test_a_full_last_page_steps_back_too(store: SalesforceStore) -> None:
    for _ in range(4):
        filed(store)

    first = store.changes("", 4)
    second = store.changes(first.cursor, 4)

    assert (first.more, second.more, second.tickets) == (True, True, ())
    third = store.changes(second.cursor, 100)
    assert (len(third.tickets), third.more) == (4, False)
    assert store.changes(third.cursor, 100) == third


def test_a_store_without_a_case_has_no_changes(store: SalesforceStore) -> None:
    page = store.changes("", 10)

    assert (page.tickets, page.cursor, page.more) == ((), "", False)


def test_a_merged_case_says_into_which_and_a_deleted_one_is_not_there(
    store: SalesforceStore, platform: Platform
) -> None:
    kept_one, merged, deleted = filed(store), filed(store), filed(store)
    platform.rows["Case"][merged.ref] |= {"IsDeleted": True, "MasterRecordId": kept_one.ref}
    platform.rows["Case"][deleted.ref] |= {"IsDeleted": True}

    told = {ticket.ref: ticket for ticket in store.changes("", 10).tickets}

    assert told[merged.ref].merged_into == kept_one.ref
    assert deleted.ref not in told
    with pytest.raises(Rejected, match="There is no ticket"):
        store.ticket(deleted.ref)
    with pytest.raises(Rejected, match="became a part of another one"):
        store.push(change(merged))
    assert store.history("", 10) == ()


def test_peoples_comments_stand_among_our_notes(store: SalesforceStore, platform: Platform) -> None:
    ticket = filed(store)
    ref = platform.insert("CaseComment", {"ParentId": ticket.ref, "CommentBody": "客户来电"})
    platform.rows["CaseComment"][ref] |= {"CreatedDate": LONG_AGO, "CreatedBy": {"Name": "赵敏"}}
    store.push(change(ticket))

    comment, note = store.thread(ticket.ref)

    assert (comment.text, comment.author, comment.uid) == ("客户来电", "赵敏", None)
    assert (note.text, note.author) == ("已更换电源", "王磊")


def test_names_cannot_break_out_of_a_query(store: SalesforceStore) -> None:
    mine = filed(store, customer="O'Brien \\ Sons")
    filed(store, customer="somebody else")

    assert [ticket.ref for ticket in store.history("O'Brien \\ Sons", 10)] == [mine.ref]
    assert store.history("x' OR Id > '", 10) == ()
    assert store.find("x' OR Id > '", mine.ref) is None
    with pytest.raises(Rejected, match="There is no ticket"):
        store.ticket("x' OR Id > '")


# ---- words and fields ------------------------------------------------------------------------------------


def test_fields_go_by_the_names_of_the_mapping(address: str, platform: Platform) -> None:
    words = mapping.of(
        {
            "fields": {"site": "Site__c", "customer": "", "contact_email": "Contact.Email"},
            "channels": {"write": {"wechat": "WeChat"}, "read": {"WeChat": "wechat"}},
        },
        where="here",
    )
    platform.fields["Case"] += ["Site__c", "Contact"]
    store = SalesforceStore(connection(address, words=words))

    given = {"channel": "wechat", "site": "一号厂房", "contact_email": "a@b.example", "type": "doa"}
    ticket = filed(store, customer="C-1", fields=given)

    assert (ticket.fields["channel"], ticket.fields["site"]) == ("wechat", "一号厂房")
    assert "contact_email" not in ticket.fields
    assert ticket.customer is None
    assert store.history("C-1", 10) == ()


def test_a_status_without_a_word_is_rejected(address: str) -> None:
    words = mapping.of({"statuses": {"write": {"suspended": ""}}}, where="here")
    store = SalesforceStore(connection(address, words=words))
    ticket = filed(store)

    with pytest.raises(Rejected, match="no word for the status “suspended”"):
        store.push(change(ticket, status="suspended"))


def test_what_does_not_fit_is_said_with_what_to_do(store: SalesforceStore, platform: Platform) -> None:
    platform.statuses.remove("On Hold")
    platform.fields["Case"].remove("AssetSerial__c")
    platform.fields["ServiceNote__c"].remove("StatusLeft__c")
    platform.unique.remove("ContentVersion")

    assert [flaw.says for flaw in store.check()] == [
        "The field “AssetSerial__c” of Case is missing, or our user may not see it.",
        "The field “StatusLeft__c” of ServiceNote__c is missing, or our user may not see it.",
        "ContentVersion has no unique field “FieldAppId__c”.",
        "Cases have no status “On Hold”.",
    ]

    del platform.fields["ServiceNote__c"]
    (flaw,) = store.check()
    assert flaw.says == "The custom object “ServiceNote__c” is missing."


# ---- what we hear ----------------------------------------------------------------------------------------

BODY = b'{"ticket": "5005g0000000001AAA", "version": "2026-11-22T10:00:00Z"}'


@pytest.fixture
def hearing() -> SalesforceStore:
    return SalesforceStore(connection("https://acme.my.salesforce.example"))


def test_a_flow_that_knows_the_secret_is_believed(hearing: SalesforceStore) -> None:
    (hint,) = hearing.heard({"authorization": f"Bearer {HOOK}"}, BODY)

    assert hint.ticket == "5005g0000000001AAA"
    assert hint.id == "5005g0000000001AAA@2026-11-22T10:00:00Z"


def test_a_hint_without_a_version_counts_each_time(hearing: SalesforceStore) -> None:
    body = b'{"ticket": "5005g0000000001AAA"}'
    first, second = (hearing.heard({"Authorization": f"Bearer {HOOK}"}, body)[0] for _ in range(2))

    assert first.id != second.id


@pytest.mark.parametrize("given", ["", HOOK, "Bearer ", f"Bearer {HOOK}x", "Bearer 钥匙"])
def test_whoever_does_not_know_the_secret_is_denied(hearing: SalesforceStore, given: str) -> None:
    with pytest.raises(Denied):
        hearing.heard({"Authorization": given}, BODY)
    with pytest.raises(Denied):
        SalesforceStore(replace(hearing.connection, hook_secret="")).heard({"Authorization": "Bearer "}, BODY)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"ticket": 5}', b'{"ticket": "B-1"}', b"[" * 99999, b"\xff"])
def test_a_message_that_names_no_case_is_rejected(hearing: SalesforceStore, body: bytes) -> None:
    with pytest.raises(Rejected, match="names no ticket"):
        hearing.heard({"Authorization": f"Bearer {HOOK}"}, body)
