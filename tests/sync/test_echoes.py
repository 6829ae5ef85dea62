"""Loop guard: our own writing that comes back is no news, and hides nobody's."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from fieldapp import clock
from fieldapp.customers.models import Asset
from fieldapp.extensions import db
from fieldapp.sync import echoes
from fieldapp.sync.pull import pull, scan
from fieldapp.tickets.models import TicketNews
from fieldapp.tickets.operations import expect_back
from fieldapp.tickets.store import Change, Rejected, StoreNote
from tests.sync.telling import Telling, a_ticket


@pytest.fixture
def store(app: Flask, asset: Asset) -> Telling:
    """A store whose ticket R-1 we know already."""
    store = Telling(a_ticket("R-1"))
    pull(store)
    return store


def deliver(store: Telling) -> None:
    """The report of 王磊 is written, as a worker does it."""
    expect_back("redmine", "R-1", "resolved")
    change = Change(uid="report_issued:1", ticket="R-1", note="已更换电源", author="王磊", status="resolved")
    store.push(change)


def says(store: Telling, text: str, *, at: datetime | None = None, by: str = "客服小李") -> None:
    """A person writes into the ticket."""
    at = at or clock.now()
    store.notes.setdefault("R-1", []).append(StoreNote(ref=text, at=at, author=by, text=text))
    store.change("R-1", at=max(at, store.tickets["R-1"].updated), by=by)


def told() -> list[tuple[str, str, list[dict[str, str]]]]:
    return [(line.kind, line.by, line.changes) for line in db.session.scalars(select(TicketNews))]


def test_our_own_report_is_no_news(store: Telling) -> None:
    deliver(store)

    pull(store)

    assert told() == []


def test_what_a_person_writes_in_the_second_of_our_report_is_news(store: Telling) -> None:
    deliver(store)
    says(store, "客户要求改期", at=store.tickets["R-1"].updated)

    pull(store)

    assert told() == [("changed", "客服小李", [])]


def test_what_a_person_wrote_just_before_our_report_is_news_though_we_changed_the_ticket_last(store: Telling) -> None:
    says(store, "客户要求改期")
    deliver(store)

    echoes.take_in(store, store.ticket("R-1"))  # as the worker does once it has delivered
    pull(store)

    assert told() == [("changed", "客服小李", [])]


def test_what_a_person_writes_after_we_have_read_our_report_again_is_news_and_only_once(store: Telling) -> None:
    deliver(store)
    echoes.take_in(store, store.ticket("R-1"))
    says(store, "还是蓝屏", at=clock.now() + timedelta(seconds=30))

    pull(store)
    pull(store)

    assert told() == [("changed", "客服小李", [])]


def test_what_was_told_before_our_report_is_not_told_again(store: Telling) -> None:
    says(store, "客户要求改期", at=clock.now() - timedelta(seconds=5))
    pull(store)
    store.change("R-1", by="客服小李", at=clock.now() - timedelta(seconds=3))
    pull(store)
    before = told()
    deliver(store)

    pull(store)

    assert told() == before


def test_a_report_into_a_ticket_whose_thread_is_refused_is_no_news(store: Telling) -> None:
    def refuse(_ticket: str) -> None:
        raise Rejected("There is no ticket R-1.")

    deliver(store)
    store.before_thread = refuse

    pull(store)

    assert told() == []


def test_the_slow_pass_does_not_hide_it_either(store: Telling) -> None:
    deliver(store)
    says(store, "客户要求改期", at=store.tickets["R-1"].updated)

    scan(store, now=True)

    assert told() == [("changed", "客服小李", [])]
