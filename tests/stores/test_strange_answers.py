"""A store, or what stands before it, answers something that is not of its form: each adapter says so in its own errors.

An answer that is not understood is neither a crash nor "there is nothing": the next thing would be to write it again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from fieldapp.extensions import uuid7
from fieldapp.tickets.store import (
    Change,
    NewFile,
    NewTicket,
    StoreError,
    TicketStore,
    Unreachable,
)
from fieldapp.tickets.stores import STORES
from tests.stores import lossy
from tests.stores.bench import Bench
from tests.stores.twisted import TWISTS, UNREADABLE, Twister

REMOTE = sorted(set(STORES) - {"embedded"})  # the other lies in our own database
PDF = NewFile(name="SR-1.pdf", media_type="application/pdf", content=b"%PDF-1.7 report")
MOST_REQUESTS = 60  # of one question; more is a walk in a circle
Ask = Callable[[TicketStore], object]


@pytest.fixture(params=REMOTE)
def bench(request: pytest.FixtureRequest, app: Flask) -> Bench:
    return importlib.import_module(f"tests.stores.{request.param}").bench(request)  # type: ignore[no-any-return]


def test_whatever_is_answered_is_told_in_our_own_errors(bench: Bench) -> None:
    ticket = bench.filed()
    change = bench.push(ticket, files=(PDF,), status="in_progress")
    (note,) = bench.ours(change)
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer=bench.customer)
    asks: dict[str, Ask] = {
        "check": lambda store: store.check(),
        "changes": lambda store: store.changes("", 10),
        "ticket": lambda store: store.ticket(ticket.ref),
        "history": lambda store: store.history(bench.customer, 10),
        "thread": lambda store: store.thread(ticket.ref),
        "content": lambda store: store.content(note.files[0]),
        "create": lambda store: store.create(new),
    }

    with twisting(bench) as twister:
        for ask in asks.values():
            for _twist in twister.at_each_answer(TWISTS):
                asked(ask, twister)


def test_an_answer_that_cannot_be_read_is_never_taken_for_nothing_there(bench: Bench) -> None:
    ticket = bench.filed()
    change = bench.push(ticket, files=(PDF,), status="in_progress")
    receipt = bench.store.find(change.uid, ticket.ref)
    asks: tuple[Ask, ...] = (lambda store: store.find(change.uid, ticket.ref), lambda store: store.push(change))

    with twisting(bench) as twister:
        for ask in asks:
            for _twist in twister.at_each_answer(UNREADABLE):
                answer = asked(ask, twister)
                assert answer == receipt or isinstance(answer, StoreError)

    assert [file.name for note in bench.ours(change) for file in note.files] == [PDF.name]
    assert len(bench.store.thread(ticket.ref)) == 1


def test_a_push_that_was_answered_with_rubbish_is_completed_by_the_next(bench: Bench) -> None:
    with twisting(bench) as twister:
        for _twist in twister.at_each_answer(UNREADABLE):
            ticket = bench.filed()
            change = Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", files=(PDF,), status="resolved")
            asked(lambda store, change=change: store.push(change), twister)  # type: ignore[misc]

            assert bench.store.push(change).complete
            (note,) = bench.store.thread(ticket.ref)
            assert (note.uid, [file.name for file in note.files]) == (change.uid, [PDF.name])
            assert bench.store.ticket(ticket.ref).status == bench.told("resolved")


def test_one_ticket_that_cannot_be_read_does_not_speak_against_the_whole_store(bench: Bench) -> None:
    ticket = bench.filed()

    with twisting(bench) as twister:
        for _twist in twister.at_each_answer(("objects without fields", "every value missing")):
            assert not isinstance(asked(lambda store: store.ticket(ticket.ref), twister), Unreachable)


def asked(ask: Ask, twister: Twister) -> object:
    """What an adapter of its own gives, or the error of ours that it raises."""
    try:
        return ask(twister.store)
    except StoreError as error:
        return error
    finally:
        assert twister.seen < MOST_REQUESTS


@contextmanager
def twisting(bench: Bench) -> Iterator[Twister]:
    """A wire that twists, before the store."""
    assert bench.port is not None
    assert bench.at is not None
    twister = Twister(bench.at)
    with lossy.before(bench.port, lost_requests=0, lost_answers=0, twist=twister.heard) as wire:
        twister.address = f"http://127.0.0.1:{wire.port}"
        yield twister
