"""What was done for a ticket that was merged, deleted or closed in the store meanwhile: it arrives once, or is held."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import func, select

from fieldapp import clock, outbox
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset
from fieldapp.extensions import db, operation
from fieldapp.offline.models import Case
from fieldapp.outbox import Promise, promise
from fieldapp.sync import operations, worker
from fieldapp.sync.pull import pull, scan
from fieldapp.tickets.models import Ticket, TicketNews
from fieldapp.tickets.store import Change, Receipt, Rejected, StoreNote, StoreTicket, Unreachable
from fieldapp.tickets.stores import STORES
from fieldapp.visits import operations as visits
from tests.sync.telling import Telling, a_ticket


class Refusing(Telling):
    """A store that takes nothing for a ticket that is a part of another one, as hosted ones do.

    Nobody may hold a transaction open while it is asked: it could take its time, and all that is saved here would wait.
    """

    def find(self, uid: str, ticket: str) -> Receipt | None:
        assert not db.session().in_transaction()
        return super().find(uid, ticket)

    def ticket(self, ref: str) -> StoreTicket:
        assert not db.session().in_transaction()
        return super().ticket(ref)

    def push(self, change: Change) -> Receipt:
        if self.ticket(change.ticket).merged_into:
            raise Rejected("This ticket is closed.")
        return super().push(change)


@pytest.fixture
def store(app: Flask, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> Telling:
    """Tickets R-1 and R-2, both known here."""
    store = Refusing(a_ticket("R-1"), a_ticket("R-2"))
    monkeypatch.setitem(STORES, "redmine", lambda _connection: store)
    pull(store)
    return store


@pytest.fixture
def promised(store: Telling, on_site: Callable[[Ticket], object], engineer: User) -> Promise:
    """A visit to R-1 that ended without success, to be told to the store."""
    ticket = db.session.scalars(select(Ticket).where(Ticket.ref == "R-1")).one()
    visit = on_site(ticket)
    visits.cannot_complete(visit, "缺少电源模块", by=engineer)  # type: ignore[arg-type]
    return db.session.scalars(select(Promise)).one()


def outcome(promised: Promise) -> tuple[str, str]:
    worker.run_until_idle("w")
    db.session.refresh(promised)
    return promised.state, promised.last_error or ""


def written(store: Telling) -> dict[str, int]:
    return {ref: len(notes) for ref, notes in store.notes.items() if notes}


def test_what_we_write_comes_back_as_no_news(store: Telling, promised: Promise) -> None:
    assert outcome(promised) == ("delivered", "")

    pull(store)

    assert written(store) == {"R-1": 1}
    assert db.session.scalars(select(Ticket.status).where(Ticket.ref == "R-1")).one() == "in_progress"
    assert db.session.scalar(select(func.count()).select_from(TicketNews)) == 0


def test_the_work_for_a_merged_ticket_goes_to_the_survivor_in_its_lane(store: Telling, promised: Promise) -> None:
    store.change("R-1", status="closed", merged_into="R-2")
    pull(store)
    assert promised.lane == "redmine:R-2"

    assert outcome(promised) == ("delivered", "")

    assert written(store) == {"R-2": 1}
    assert store.tickets["R-2"].status == "in_progress"


def test_a_merge_that_we_did_not_know_of_is_found_when_the_store_refuses(store: Telling, promised: Promise) -> None:
    store.change("R-1", status="closed", merged_into="R-2")

    assert outcome(promised) == ("delivered", "")

    assert written(store) == {"R-2": 1}


def test_a_merge_found_while_the_first_is_sent_keeps_the_order(
    store: Telling, promised: Promise, monkeypatch: pytest.MonkeyPatch
) -> None:
    @operation
    def second() -> Promise:
        return promise("visit_unfinished", dict(promised.payload), lane=promised.lane, uid="second", store="redmine")

    later = second()
    store.change("R-1", status="closed", merged_into="R-2")
    refuse = store.push

    def push(change: Change) -> Receipt:
        if change.ticket == "R-2":
            raise Unreachable("The line is down.")
        return refuse(change)

    monkeypatch.setattr(store, "push", push)
    worker.run_once("w")

    db.session.refresh(promised)
    db.session.refresh(later)
    assert (promised.state, later.state) == ("retry_wait", "pending")
    assert (promised.lane, later.lane) == ("redmine:R-2", "redmine:R-2")
    assert promised.lane_seq < later.lane_seq
    assert outbox.claim("w") is None


def test_what_stood_in_the_ticket_before_it_was_merged_is_not_written_again(store: Telling, promised: Promise) -> None:
    note = StoreNote(ref="R-1#1", at=clock.now(), author="王磊", text="无法完成", uid=promised.uid)
    store.notes["R-1"] = [note]
    store.change("R-1", merged_into="R-2")
    pull(store)

    assert outcome(promised) == ("delivered", "")

    assert written(store) == {"R-1": 1}
    assert promised.remote_ref == "R-1#1"


def test_a_survivor_that_we_never_saw_is_asked_for(store: Telling, promised: Promise) -> None:
    store.tickets["R-9"] = a_ticket("R-9")
    store.change("R-1", merged_into="R-9")
    pull(store)

    assert outcome(promised) == ("delivered", "")

    assert written(store) == {"R-9": 1}


@pytest.mark.parametrize("into", ["R-8", "R-1>R-2>R-1"])
def test_a_survivor_that_cannot_be_found_holds_the_delivery_with_a_sentence(
    store: Telling, promised: Promise, into: str
) -> None:
    store.change("R-1", merged_into="R-8")
    pull(store)
    if ">" in into:  # the store leads in a circle
        store.tickets["R-8"] = a_ticket("R-8", merged_into="R-1")

    state, sentence = outcome(promised)

    assert state == "held"
    assert "was merged into" in sentence
    assert "cannot be found" in sentence


def test_a_ticket_that_is_gone_holds_the_delivery_and_says_what_to_do(store: Telling, promised: Promise) -> None:
    store.delete("R-1")

    state, sentence = outcome(promised)

    assert state == "held"
    assert "is not in the ticket store any more. File a new one there" in sentence
    assert [line.kind for line in db.session.scalars(select(TicketNews))] == ["gone"]


def test_a_refusal_for_another_reason_stays_as_the_store_said_it(
    store: Telling, promised: Promise, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_change: Change) -> Receipt:
        raise Rejected("The field “Region” is required.")

    def silent(_ref: str) -> None:
        raise Unreachable("The line is down.")

    monkeypatch.setattr(store, "push", refuse)
    assert outcome(promised) == ("held", "The field “Region” is required.")
    monkeypatch.setattr(store, "ticket", silent)
    operations.try_again(promised.id, by=db.session.scalars(select(User).limit(1)).one())
    assert outcome(promised) == ("held", "The field “Region” is required.")


def test_a_scan_that_finds_a_ticket_gone_asks_the_office_about_its_visit(
    store: Telling, on_site: Callable[[Ticket], object]
) -> None:
    on_site(db.session.scalars(select(Ticket).where(Ticket.ref == "R-1")).one())
    store.delete("R-1")

    scan(store, now=True)
    scan(store)

    assert [case.facts["how"] for case in db.session.scalars(select(Case))] == ["gone"]
