"""Webhooks from the ticket store: believed by their signature only, counted once, looked up by the worker, never answered
with a write."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask, has_app_context, request
from flask.testing import FlaskClient
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook
from werkzeug.test import TestResponse

from fieldapp import clock, create_app
from fieldapp.extensions import db
from fieldapp.outbox import Promise
from fieldapp.sync import hooks, worker
from fieldapp.sync.hooks import HeardHint, take
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.store import Change, Hint, NewTicket
from fieldapp.tickets.stores import named
from tests.conftest import settings_for
from tests.stores.serving import serving
from tests.stores.webhook import HOOK, SECRET, Bridge, served

Send = Callable[..., TestResponse]


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    """What the bridge was asked, in order."""
    return []


@pytest.fixture
def address(bridge: Bridge, asked: list[tuple[str, str]]) -> Iterator[str]:
    server = served(bridge)

    @server.after_request
    def note(response: Any) -> Any:
        asked.append((request.method, request.path))
        return response

    with serving(server) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def office(tmp_path: Path, migrated: Path, address: str) -> Iterator[Callable[..., Flask]]:
    """``office(**settings)`` is the app with the bridge for its ticket store; the first one's context is open."""
    apps = []

    def build(**changes: str) -> Flask:
        folder = tmp_path / str(len(apps))
        folder.mkdir()
        shutil.copyfile(migrated, folder / "fieldapp.db")
        given = {
            "ticket_store": "webhook",
            "store_url": address,
            "store_secret": SECRET,
            "store_hook_secret": HOOK,
            "store_networks": "127.0.0.0/8",
        }
        app = create_app(settings_for(folder, **{**given, **changes}), TESTING=True)
        context = app.app_context()
        context.push()
        apps.append((app, context))
        return app

    yield build
    for _app, context in reversed(apps):
        db.session.remove()
        db.engine.dispose()
        context.pop()


@pytest.fixture
def send(office: Callable[..., Flask]) -> Send:
    """``send(ticket)`` is a signed message of the bridge about it, as no browser would send it."""
    return sender(office())


def sender(app: Flask) -> Send:
    def post(
        ticket: object = "B-1", *, id: str = "msg_1", secret: str = HOOK, ago: int = 0, to: str = "webhook", **more: Any
    ) -> TestResponse:
        body = more.pop("body", None) or json.dumps({"type": "ticket.changed", "data": {"ticket": ticket}}).encode()
        moment = clock.now() - timedelta(seconds=ago)
        headers = {
            "Webhook-Id": id,
            "Webhook-Timestamp": str(int(moment.timestamp())),
            "Webhook-Signature": Webhook(secret).sign(id, moment, body.decode("utf-8", "replace")),
            **more.pop("headers", {}),
        }
        client = FlaskClient(app, app.response_class)
        if has_app_context():
            db.session.rollback()
        with app.app_context():
            return client.post(f"/hooks/{to}", data=body, headers=headers, content_type="application/json", **more)

    return post


def filed(uid: str = "new-1") -> str:
    """A ticket in the bridge that we have not read."""
    return named("webhook").create(NewTicket(uid=uid, subject="服务器无法启动", text="开机后蓝屏")).ref


def promises() -> list[Promise]:
    db.session.rollback()
    return list(db.session.scalars(select(Promise).order_by(Promise.id)))


def heard() -> int:
    return db.session.scalar(select(func.count()).select_from(HeardHint)) or 0


def work() -> None:
    while worker.run_once("tests"):
        db.session.rollback()


# ---- one hint, one look ----------------------------------------------------------------------------------


def test_a_hint_is_answered_at_once_and_the_worker_asks_for_the_ticket(send: Send, asked: list[Any]) -> None:
    ref = filed()
    asked.clear()

    answer = send(ref)

    assert (answer.status_code, answer.json) == (202, {"taken": 1})
    assert asked == []
    work()
    assert asked == [("GET", f"/tickets/{ref}")]
    ticket = db.session.scalars(select(Ticket)).one()
    assert (ticket.store, ticket.ref, ticket.subject) == ("webhook", ref, "服务器无法启动")
    assert [(each.kind, each.state, each.lane) for each in promises()] == [
        ("ticket_hinted", "delivered", f"hint:webhook:{ref}")
    ]


def test_what_we_take_in_makes_us_write_nothing(send: Send, asked: list[Any]) -> None:
    ref = filed()
    named("webhook").push(Change(uid="ours", ticket=ref, note="已更换电源", status="resolved"))
    asked.clear()
    send(ref)
    work()

    send(ref, id="msg_2")
    work()

    assert {method for method, _path in asked} == {"GET"}
    assert {each.kind for each in promises()} == {"ticket_hinted"}
    assert db.session.scalars(select(Ticket)).one().status == "resolved"


def test_a_message_that_comes_twice_counts_once(send: Send) -> None:
    assert send().json == {"taken": 1}
    work()

    assert send().json == {"taken": 0}
    assert (len(promises()), heard()) == (1, 1)


def test_a_message_that_comes_eight_times_at_once_counts_once(send: Send) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _n: send(), range(8)))

    assert sorted(answer.json["taken"] for answer in answers) == [0] * 7 + [1]
    assert (len(promises()), heard()) == (1, 1)


def test_many_messages_about_one_ticket_are_one_look(send: Send, bridge: Bridge, asked: list[Any]) -> None:
    ref = filed()
    asked.clear()
    for number in range(5):
        assert send(ref, id=f"msg_{number}").json == {"taken": 1}

    work()

    assert asked == [("GET", f"/tickets/{ref}")]
    send(ref, id="msg_5")
    work()
    assert len(asked) == 2


def test_each_ticket_has_a_lane_of_its_own(send: Send) -> None:
    for number in range(3):
        send(f"B-{number}", id="one message")

    assert len({each.lane for each in promises()}) == 3


def test_a_bridge_that_is_away_is_asked_again_later(send: Send, bridge: Bridge) -> None:
    ref = filed()
    send(ref)
    bridge.requests_left = 0

    worker.run_once("tests")

    (promise,) = promises()
    assert promise.open
    assert not promise.needs_person
    assert db.session.scalars(select(Ticket)).all() == []


def test_a_ticket_that_is_not_there_is_let_go_with_a_line_in_the_log(
    send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    send("B-404")

    with caplog.at_level(logging.INFO, logger=hooks.__name__):
        work()

    assert [each.state for each in promises()] == ["delivered"]
    assert any("hint at a ticket that is not there" in record.message for record in caplog.records)
    assert db.session.scalars(select(Ticket)).all() == []


def test_a_hint_from_the_store_before_is_let_go(send: Send, office: Callable[..., Flask], asked: list[Any]) -> None:
    office(ticket_store="embedded", store_url="")
    take("webhook", (Hint(id="1", ticket="B-1"),))

    work()

    assert [each.state for each in promises()] == ["delivered"]
    assert asked == []


# ---- what is not believed --------------------------------------------------------------------------------


REFUSED: dict[str, dict[str, Any]] = {
    "another secret": {"secret": SECRET},
    "too old": {"ago": 3600},
    "from the future": {"ago": -3600},
    "no signature": {"headers": {"Webhook-Signature": ""}},
    "another message's signature": {"headers": {"Webhook-Id": "msg_2"}},
    "mangled": {"headers": {"Webhook-Signature": "v1"}},
}


@pytest.mark.parametrize("forged", REFUSED.values(), ids=REFUSED)
def test_what_is_forged_or_old_is_refused_and_nothing_is_written(send: Send, forged: dict[str, Any]) -> None:
    answer = send(**forged)

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error"] == "unproven"
    assert (promises(), heard()) == ([], 0)


def test_without_a_secret_nothing_is_taken(office: Callable[..., Flask]) -> None:
    send = sender(office(store_hook_secret=""))

    assert send().status_code == 401
    assert heard() == 0


def test_only_the_configured_store_may_speak(send: Send, office: Callable[..., Flask]) -> None:
    assert send(to="zammad").status_code == 404
    assert send(to="embedded").status_code == 404
    assert sender(office(ticket_store="embedded"))(to="webhook").status_code == 404
    assert heard() == 0


def test_the_embedded_store_hears_nobody(office: Callable[..., Flask]) -> None:
    send = sender(office(ticket_store="embedded", store_hook_secret=""))

    assert send(to="embedded").status_code == 401


def test_a_message_beyond_a_megabyte_is_not_read(send: Send) -> None:
    body = json.dumps({"data": {"ticket": "B-1"}, "more": "x" * 1_100_000}).encode()

    assert send(body=body).status_code == 413
    assert heard() == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": {}}'])
def test_a_signed_message_that_says_nothing_to_us_is_no_error(send: Send, body: bytes) -> None:
    answer = send(body=body)

    assert (answer.status_code, answer.json) == (202, {"taken": 0})
    assert promises() == []


def test_a_name_that_no_ticket_can_have_is_no_promise(send: Send) -> None:
    assert send("B" * 61).json == {"taken": 0}
    assert (promises(), heard()) == ([], 1)


def test_only_a_post_is_heard_and_no_log_in_counts(send: Send, office: Callable[..., Flask]) -> None:
    client = FlaskClient(office(), Flask.response_class)

    assert client.get("/hooks/webhook").status_code == 405
    assert send(headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}).status_code == 202


# ---- what is forgotten -----------------------------------------------------------------------------------


def test_what_was_heard_is_forgotten_after_thirty_days(send: Send) -> None:
    send()

    with time_machine.travel(clock.now() + timedelta(days=29)):
        send(id="msg_2")
        assert heard() == 2
    with time_machine.travel(clock.now() + timedelta(days=31)):
        send(id="msg_3")
        assert heard() == 2
