"""What only the signed webhook does: signatures both ways, a bridge that answers wrongly, its words."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, Response, request
from standardwebhooks.webhooks import Webhook

from fieldapp import clock
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
    TooBig,
    Unreachable,
)
from fieldapp.tickets.stores.webhook import WebhookStore
from fieldapp.tickets.wire import kept
from tests.stores.serving import serving
from tests.stores.webhook import HOOK, SECRET, Bridge, connection, served

pytestmark = pytest.mark.usefixtures("app")
PDF = NewFile(name="SR-1.pdf", media_type="application/pdf", content=b"%PDF-1.7 ...")
OTHER = "whsec_" + base64.b64encode(b"somebody else's secret, 24 bytes+").decode()


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
def server(bridge: Bridge) -> Flask:
    """The bridge's web server, before it answers its first request."""
    return served(bridge)


@pytest.fixture
def address(server: Flask) -> Iterator[str]:
    with serving(server) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def store(address: str) -> WebhookStore:
    return WebhookStore(connection(address))


def filed(store: WebhookStore, **more: Any) -> StoreTicket:
    return store.create(NewTicket(uid=str(uuid7()), subject="服务器无法启动", text="开机后蓝屏", **more))


def change(ticket: StoreTicket, **more: Any) -> Change:
    return Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", author="王磊", **more)


# ---- what we send ----------------------------------------------------------------------------------------


def test_a_message_is_signed_and_says_everything(store: WebhookStore, server: Flask) -> None:
    sent: list[dict[str, Any]] = []
    server.before_request(lambda: sent.append(request.get_json()) if request.method == "POST" else None)
    ticket = filed(store)
    written = change(ticket, files=(PDF,), status="resolved", base=ticket.version)

    store.push(written)

    assert sent[-1]["type"] == "change"
    assert sent[-1]["data"] == {
        "ticket": ticket.ref,
        "note": "已更换电源",
        "author": "王磊",
        "status": "resolved",
        "base": ticket.version,
        "files": [
            {
                "name": "SR-1.pdf",
                "media_type": "application/pdf",
                "size": len(PDF.content),
                "sha256": hashlib.sha256(PDF.content).hexdigest(),
                "content": base64.b64encode(PDF.content).decode(),
            }
        ],
    }


def test_another_secret_is_denied_and_writes_nothing(address: str, bridge: Bridge) -> None:
    other = WebhookStore(replace(connection(address), secret=OTHER))

    with pytest.raises(Denied):
        filed(other)
    with pytest.raises(Denied):
        other.changes("", 10)

    assert bridge.tickets == {}


@pytest.mark.parametrize("secret", ["", "a password", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", f"{SECRET}钥匙"])
def test_a_signing_secret_that_is_none_is_answered_with_what_to_write(address: str, secret: str) -> None:
    with pytest.raises(Denied, match="whsec_ and the base64 of 24 to 64 random bytes"):
        WebhookStore(replace(connection(address), secret=secret)).check()


def test_the_log_keeps_no_signature(store: WebhookStore) -> None:
    ticket = filed(store)

    with kept() as exchanges:
        store.push(change(ticket))

    assert [(each.method, each.path.split("/")[1]) for each in exchanges] == [
        ("GET", "receipts"),
        ("POST", "changes"),
        ("GET", "receipts"),
    ]
    assert not any("v1," in f"{each}" for each in exchanges)


def test_names_with_strange_letters_are_quoted(store: WebhookStore, bridge: Bridge) -> None:
    first = filed(store)
    for ref in ("A/1", "工单 7", "a?b#c%20"):
        bridge.tickets[ref] = {**bridge.tickets[first.ref], "ref": ref}
        bridge.notes[ref] = []

        assert store.ticket(ref).ref == ref
        assert store.thread(ref) == ()


def test_too_many_messages_wait_as_long_as_the_bridge_says(store: WebhookStore, bridge: Bridge) -> None:
    bridge.requests_left = 1

    with pytest.raises(Throttled) as caught:
        filed(store)

    assert caught.value.after == 7


def test_a_file_that_the_bridge_does_not_take_is_too_big(store: WebhookStore, bridge: Bridge) -> None:
    ticket = filed(store)
    bridge.largest = 100

    with pytest.raises(TooBig):
        store.push(change(ticket, files=(PDF,)))
    assert store.thread(ticket.ref) == ()


@pytest.mark.parametrize(("told", "most"), [("20", 20 * 1024 * 1024), ("1", 1024 * 1024), ("", None), ("any", None)])
def test_how_large_a_file_may_be_stands_in_the_mapping(told: str, most: int | None) -> None:
    words = mapping.of({"options": {"max_file_mb": told}}, where="here")

    assert WebhookStore(replace(connection("http://bridge.example"), words=words)).caps.max_file == most


# ---- what is read back -----------------------------------------------------------------------------------


def test_a_success_without_an_effect_is_no_success(store: WebhookStore, server: Flask, bridge: Bridge) -> None:
    ticket = filed(store)
    server.view_functions["take"] = lambda: ("", 202)

    with pytest.raises(Retry, match="has not taken the entry yet"):
        store.push(change(ticket))
    server.view_functions["file"] = lambda: ("", 202)
    with pytest.raises(Retry, match="has not filed the ticket yet"):
        filed(store)

    assert store.thread(ticket.ref) == ()
    assert len(bridge.tickets) == 1


def test_a_failure_with_an_effect_is_found_and_not_sent_again(store: WebhookStore, server: Flask) -> None:
    ticket, take = filed(store), server.view_functions["take"]
    taken: list[str] = []

    def take_and_fail() -> Response:
        taken.append(request.headers["webhook-id"])
        take()
        return Response("<h1>Bad Gateway</h1>", 502)

    server.view_functions["take"] = take_and_fail
    written = change(ticket, files=(PDF,), status="resolved")

    with pytest.raises(Unreachable):
        store.push(written)
    receipt = store.push(written)

    assert receipt.complete
    assert taken == [written.uid]
    assert len(store.thread(ticket.ref)) == 1


def test_an_entry_that_is_not_complete_is_sent_again_until_it_is(
    store: WebhookStore, bridge: Bridge, server: Flask
) -> None:
    ticket = filed(store)
    written = change(ticket)
    store.push(written)
    bridge.receipts[written.uid]["complete"] = False

    with pytest.raises(Retry, match="not complete yet"):
        store.push(written)
    server.view_functions["take"] = lambda: bridge.receipts[written.uid].update(complete=True) or ("", 204)

    assert store.push(written).complete
    assert len(store.thread(ticket.ref)) == 1


def test_a_file_that_arrived_otherwise_is_not_complete(store: WebhookStore, bridge: Bridge) -> None:
    ticket = filed(store)
    written = change(ticket, files=(PDF,))
    store.push(written)
    bridge.receipts[written.uid]["files"] = [{"sha256": "0" * 64}]

    with pytest.raises(Retry, match="not complete yet"):
        store.push(written)


def test_a_receipt_of_another_message_is_not_ours(store: WebhookStore, bridge: Bridge) -> None:
    ticket = filed(store)
    written = change(ticket)
    store.push(written)
    bridge.receipts[written.uid]["uid"] = "another"

    with pytest.raises(Retry, match="uid"):
        store.find(written.uid, ticket.ref)


def test_a_status_that_was_left_says_so_and_is_not_sent_again(store: WebhookStore, server: Flask) -> None:
    ticket = filed(store)
    store.push(change(ticket, status="suspended"))
    written = change(ticket, status="resolved", base=ticket.version)
    with pytest.raises(Conflict):
        store.push(written)
    server.view_functions["take"] = lambda: pytest.fail("sent again")

    with pytest.raises(Conflict, match="its status was left alone"):
        store.push(written)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no version": lambda ticket: ticket.pop("version"),
    "a number for a version": lambda ticket: ticket.update(version=7),
    "no time zone": lambda ticket: ticket.update(updated="2026-11-22T10:00:00"),
    "no time": lambda ticket: ticket.update(opened="yesterday"),
    "fields that are none": lambda ticket: ticket.update(fields=["channel"]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_lacks_something_is_told_by_its_name(
    store: WebhookStore, bridge: Bridge, broken: Callable[[dict[str, Any]], Any]
) -> None:
    ticket = filed(store)
    broken(bridge.tickets[ticket.ref])

    with pytest.raises(Retry, match="lacks something, or has it wrong"):
        store.ticket(ticket.ref)
    with pytest.raises(Retry, match="lacks something, or has it wrong"):
        store.changes("", 10)


def test_an_answer_that_is_a_list_is_not_understood(store: WebhookStore, server: Flask) -> None:
    server.view_functions["tickets"] = lambda: Response("[]", mimetype="application/json")

    with pytest.raises(Retry):
        store.changes("", 10)


# ---- words -----------------------------------------------------------------------------------------------


def test_the_bridge_may_speak_words_of_its_own(address: str, bridge: Bridge) -> None:
    bridge.statuses = ["neu", "fertig"]
    words = mapping.of(
        {
            "statuses": {"read": {"neu": "new", "Fertig": "resolved"}, "write": {"new": "neu", "resolved": "fertig"}},
            "channels": {"read": {"Telefon": "hotline"}, "write": {"hotline": "Telefon"}},
        },
        where="here",
    )
    store = WebhookStore(replace(connection(address), words=words))

    ticket = filed(store, fields={"channel": "hotline", "contact": "陈晓"})
    store.push(change(ticket, status="resolved"))

    assert ticket.fields == {"channel": "hotline", "contact": "陈晓"}
    assert bridge.tickets[ticket.ref]["fields"] == {"channel": "Telefon", "contact": "陈晓"}
    assert bridge.tickets[ticket.ref]["status"] == "fertig"
    assert store.ticket(ticket.ref).status == "resolved"


def test_who_changed_a_ticket_and_what_it_became_a_part_of_comes_along(store: WebhookStore, bridge: Bridge) -> None:
    ticket = filed(store)
    bridge.tickets[ticket.ref] |= {"changed_by": "赵敏", "merged_into": "B-7", "status": "something new"}

    told = store.ticket(ticket.ref)

    assert (told.changed_by, told.merged_into, told.status) == ("赵敏", "B-7", "in_progress")


def test_what_does_not_fit_is_said_with_what_to_do(store: WebhookStore, bridge: Bridge) -> None:
    bridge.statuses.remove("suspended")
    (flaw,) = store.check()
    assert flaw.says == "The bridge does not know the status “suspended”."
    assert "[statuses.write]" in flaw.mend

    bridge.protocol = 2
    (flaw,) = store.check()
    assert flaw.says == "The bridge speaks version 2 of the protocol, not 1."


# ---- what we hear ----------------------------------------------------------------------------------------

BODY = json.dumps({"type": "ticket.changed", "data": {"ticket": "B-1"}}).encode()


def signed(body: bytes = BODY, *, secret: str = HOOK, ago: int = 0) -> dict[str, str]:
    moment = clock.now() - timedelta(seconds=ago)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("msg_1", moment, body.decode()),
    }


@pytest.fixture
def hearing() -> WebhookStore:
    return WebhookStore(connection("http://bridge.example"))


def test_a_signed_message_is_a_hint(hearing: WebhookStore) -> None:
    (hint,) = hearing.heard(signed(ago=290), BODY)

    assert (hint.id, hint.ticket) == ("msg_1", "B-1")


def test_one_good_signature_among_several_is_enough(hearing: WebhookStore) -> None:
    headers = signed()
    headers["Webhook-Signature"] = (
        f"{signed(secret=OTHER)['Webhook-Signature']} v1a,AAAA {headers['Webhook-Signature']}"
    )

    assert len(hearing.heard(headers, BODY)) == 1


FORGED: dict[str, tuple[dict[str, str], bytes]] = {
    "another body": (signed(), BODY.replace(b"B-1", b"B-2")),
    "another secret": (signed(secret=OTHER), BODY),
    "our own secret": (signed(secret=SECRET), BODY),
    "too old": (signed(ago=3600), BODY),
    "from the future": (signed(ago=-3600), BODY),
    "another id": ({**signed(), "Webhook-Id": "msg_2"}, BODY),
    "another time": ({**signed(), "Webhook-Timestamp": str(int(clock.now().timestamp()) - 60)}, BODY),
    "no time": ({**signed(), "Webhook-Timestamp": "now"}, BODY),
    "endless time": ({**signed(), "Webhook-Timestamp": "nan"}, BODY),
    "a mangled signature": ({**signed(), "Webhook-Signature": "v1"}, BODY),
    "half a signature": ({**signed(), "Webhook-Signature": "v1,AAA"}, BODY),
    "a signature of strange letters": ({**signed(), "Webhook-Signature": "v1,钥匙"}, BODY),
    "a body that is no text": (signed(), b"\xff\xfe"),
    "nothing": ({}, BODY),
}


@pytest.mark.parametrize(("headers", "body"), FORGED.values(), ids=FORGED)
def test_what_does_not_prove_where_it_comes_from_is_denied(
    hearing: WebhookStore, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(Denied):
        hearing.heard(headers, body)


def test_without_a_secret_nothing_is_believed() -> None:
    with pytest.raises(Denied):
        WebhookStore(replace(connection("http://bridge.example"), hook_secret="")).heard(signed(), BODY)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"data": {"ticket": 7}}', b'{"data": {"ticket": ""}}', b"[" * 99999]
)
def test_a_signed_message_that_names_no_ticket_is_rejected(hearing: WebhookStore, body: bytes) -> None:
    with pytest.raises(Rejected, match="names no ticket"):
        hearing.heard(signed(body), body)
