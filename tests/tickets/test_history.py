"""A customer's tickets as the store tells them: asked in a few seconds, kept with their time, shown when it is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask, Response
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer
from fieldapp.extensions import db
from fieldapp.sync import slowly, worker
from fieldapp.tickets import history
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.models import CustomerHistory
from fieldapp.tickets.store import StoreFile, StoreNote, StoreTicket, Unreachable
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.wire import Wire
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.stores.serving import serving
from tests.sync.telling import Telling, a_ticket
from tests.today.conftest import GiveVisit, give  # noqa: F401 - a fixture

LATER = history.AGAIN_AFTER + timedelta(seconds=1)


class Known(Telling):
    """A store that stands in for the embedded one, so that the pages read what it said."""

    name = "embedded"


@pytest.fixture
def store(app: Flask, asset: Asset) -> Known:
    store = Known(
        a_ticket("R-1", subject="打印机卡纸", status="closed", text="x" * 900),
        a_ticket("R-2", subject="更换硬盘", status="in_progress", opened=clock.now()),
    )
    file = StoreFile(name="报告.pdf", media_type="application/pdf", size=1, sha256=None)
    store.notes["R-1"] = [
        StoreNote(ref=str(n), at=clock.now(), author="客服小李", text=f"第 {n} 条", files=(file,)) for n in range(9)
    ]
    return store


def test_tickets_and_the_newest_notes_are_kept_newest_first_and_short(store: Known, customer: Customer) -> None:
    assert history.ask(store, customer)

    kept = history.kept(customer.id)
    assert [ticket.number for ticket in kept.tickets] == ["R-2", "R-1"]
    older = kept.tickets[1]
    assert older.notes is not None
    assert [note.text for note in older.notes] == [f"第 {n} 条" for n in range(4, 9)]
    assert older.notes[0].files == ("报告.pdf",)
    assert len(older.text) == history.LONGEST_TEXT


def test_a_store_that_is_down_leaves_what_was_kept_with_its_time(store: Known, customer: Customer) -> None:
    history.ask(store, customer)
    asked_at = history.kept(customer.id).asked_at

    def break_line(_cursor: str) -> None:
        raise Unreachable("The line is down.")

    store.before_page = break_line
    with time_machine.travel(clock.now() + LATER):
        assert not history.ask(store, customer)

    kept = history.kept(customer.id)
    assert (kept.error, kept.asked_at, len(kept.tickets)) == ("The line is down.", asked_at, 2)


def test_a_thread_that_cannot_be_read_costs_only_itself(store: Known, customer: Customer) -> None:
    def refuse(ticket: str) -> None:
        if ticket == "R-1":
            raise Unreachable("too slow")

    store.before_thread = refuse

    assert history.ask(store, customer)

    assert [ticket.notes for ticket in history.kept(customer.id).tickets] == [(), None]


def test_a_second_click_asks_nobody(store: Known, customer: Customer) -> None:
    history.ask(store, customer)
    assert history.ask(store, customer)

    assert store.told == 1


def test_a_store_that_does_not_answer_keeps_nobody_waiting(customer: Customer, asset: Asset) -> None:
    double, over = Flask("double"), threading.Event()

    @double.get("/tickets")
    def silence() -> Response:
        over.wait(60)
        return Response("[]")

    with serving(double) as port:

        class Silent(Known):
            def history(self, customer: str, limit: int) -> tuple[StoreTicket, ...]:
                connection = Connection(address=f"http://127.0.0.1:{port}", networks=("127.0.0.0/8",))
                Wire(connection).ask("GET", "tickets")
                return ()

        began = time.monotonic()
        answered = history.ask(Silent(), customer, seconds=0.3)
        took = time.monotonic() - began
        over.set()

    assert not answered
    assert took < 30
    assert history.kept(customer.id).error


# ---- by the worker, for the pack ------------------------------------------------------------------------


def rows() -> int:
    return db.session.scalar(select(func.count()).select_from(CustomerHistory)) or 0


def test_the_worker_asks_for_whom_somebody_visits_soon_and_again_after_hours(store: Known, visit: Visit) -> None:
    add(Customer(number="C-2002", name="另一家公司"))

    assert slowly.refresh_histories(store) == 1
    assert slowly.refresh_histories(store) == 0
    with time_machine.travel(clock.now() + slowly.FRESH_FOR + timedelta(minutes=1)):
        assert slowly.refresh_histories(store) == 1
    assert rows() == 1


def test_a_store_that_is_down_is_not_asked_for_the_same_customer_at_once_again(store: Known, visit: Visit) -> None:
    def break_line(_cursor: str) -> None:
        raise Unreachable("The line is down.")

    store.before_page = break_line

    assert slowly.refresh_histories(store) == 1
    assert slowly.refresh_histories(store) == 0
    with time_machine.travel(clock.now() + slowly.AGAIN_AFTER + timedelta(minutes=1)):
        assert slowly.refresh_histories(store) == 1


def test_a_visit_far_ahead_asks_for_nothing_yet(store: Known, give: GiveVisit) -> None:  # noqa: F811
    give(clock.now() + timedelta(days=9))

    assert slowly.refresh_histories(store) == 0


def test_the_worker_does_it_in_its_turn_and_outlives_a_store_that_is_down(
    store: Known, visit: Visit, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    monkeypatch.setitem(STORES, "embedded", lambda _connection: store)
    worker.pull_now()

    def break_line(_cursor: str) -> None:
        raise Unreachable("The line is down.")

    worker.read_slowly()
    assert rows() == 1
    store.before_page = break_line
    with time_machine.travel(clock.now() + timedelta(days=2)):
        worker.read_slowly()


# ---- the page -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(store: Known, monkeypatch: pytest.MonkeyPatch, app: Flask) -> Known:
    """The app's own store is this one."""
    monkeypatch.setitem(STORES, "embedded", lambda _connection: store)
    return store


def test_the_button_reads_and_the_page_shows_tickets_notes_and_time(
    asked: Known, logged_in: Callable[[User], FlaskClient], engineer: User, visit: Visit
) -> None:
    phone, address = logged_in(engineer), f"/customers/{visit.customer_id}/tickets"
    assert address in phone.get(f"/visits/{visit.id}").text
    assert "Nobody has asked the ticket store so far." in phone.get(address).text

    answer = phone.post(address)

    assert (answer.status_code, answer.location) == (303, address)
    html = phone.get(address).text
    for words in ("打印机卡纸", "第 8 条", "报告.pdf", "As the ticket store said: Today"):
        assert words in html


def test_the_page_says_how_old_it_is_when_the_store_is_down(
    asked: Known, logged_in: Callable[[User], FlaskClient], dispatcher: User, customer: Customer
) -> None:
    desk, address = logged_in(dispatcher), f"/customers/{customer.id}/tickets"
    desk.post(address)

    def break_line(_cursor: str) -> None:
        raise Unreachable("The line is down.")

    asked.before_page = break_line
    with time_machine.travel(clock.now() + LATER):
        desk.post(address)

    html = desk.get(address).text
    assert "The line is down." in html
    assert "What stands here is from Today" in html
    assert "更换硬盘" in html


def test_a_customer_without_tickets_is_said_so(
    asked: Known, logged_in: Callable[[User], FlaskClient], dispatcher: User
) -> None:
    other = Customer(number="C-2002", name="另一家公司")
    add(other)
    desk = logged_in(dispatcher)

    desk.post(f"/customers/{other.id}/tickets")

    assert "knows no ticket of this customer" in desk.get(f"/customers/{other.id}/tickets").text


def test_a_stranger_to_the_customer_sees_nothing_and_asks_nothing(
    asked: Known, logged_in: Callable[[User], FlaskClient], colleague: User, visit: Visit
) -> None:
    phone, address = logged_in(colleague), f"/customers/{visit.customer_id}/tickets"

    assert (phone.get(address).status_code, phone.post(address).status_code) == (404, 404)
    assert asked.told == 0


def test_the_pack_carries_it_for_the_next_days_and_fetches_it_when_it_changed(
    asked: Known,
    logged_in: Callable[[User], FlaskClient],
    engineer: User,
    visit: Visit,
) -> None:
    phone, address = logged_in(engineer), f"/customers/{visit.customer_id}/tickets"

    def pack() -> dict[str, str]:
        told = phone.get("/offline/pack", headers={"Accept": "application/json"}).json
        return {page["url"]: page["digest"] for page in told["pages"]}  # type: ignore[index]

    before = pack()
    phone.post(address)
    after = pack()

    assert before[address] != after[address]
    assert {url for url in after if before.get(url) != after[url]} == {address}
