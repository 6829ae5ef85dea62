"""What every ticket store must do: the same questions to each adapter, on a real store.

To add a store, add its bench to ``tests/stores``.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

import pytest
from flask import Flask

from fieldapp.extensions import uuid7
from fieldapp.tickets.store import Change, Conflict, NewFile, NewTicket, Rejected
from fieldapp.tickets.stores import STORES
from tests.stores.bench import Bench

PDF = NewFile(name="SR-20261121-0007-v1-1a2b3c4d.pdf", media_type="application/pdf", content=b"%PDF-1.7 \x00\xff" * 500)


@pytest.fixture(params=sorted(STORES))
def bench(request: pytest.FixtureRequest, app: Flask) -> Bench:
    return importlib.import_module(f"tests.stores.{request.param}").bench(request)  # type: ignore[no-any-return]


def test_the_store_says_that_it_can_be_worked_with(bench: Bench) -> None:
    assert bench.store.check() == ()
    assert bench.store.name
    assert bench.store.caps.delta in ("cursor", "since", "scan")


# ---- one effect ------------------------------------------------------------------------------------------


def test_the_same_change_twice_stands_there_once(bench: Bench) -> None:
    ticket = bench.filed()
    change = Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", files=(PDF,), status="resolved")

    first = bench.store.push(change)
    second = bench.store.push(change)

    assert first == second
    assert len(bench.store.thread(ticket.ref)) == 1
    assert len(bench.ours(change)[0].files) == 1


def test_the_same_change_from_eight_threads_at_once_stands_there_once(bench: Bench) -> None:
    ticket = bench.filed()
    change = Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源", files=(PDF,), status="resolved")

    answers = bench.together([lambda: bench.store.push(change)] * 8)

    assert answers == [bench.store.find(change.uid, ticket.ref)] * 8
    assert len(bench.store.thread(ticket.ref)) == 1
    assert bench.now(ticket.ref).status == bench.told("resolved")


def test_different_changes_from_eight_threads_at_once_all_stand_there(bench: Bench) -> None:
    ticket = bench.filed()
    changes = [Change(uid=str(uuid7()), ticket=ticket.ref, note=f"第 {number} 条") for number in range(8)]

    bench.together([lambda change=change: bench.store.push(change) for change in changes])  # type: ignore[misc]

    assert sorted(note.text for note in bench.store.thread(ticket.ref)) == sorted(change.note for change in changes)


def test_a_replay_does_not_take_back_what_a_person_did_since(bench: Bench) -> None:
    ticket = bench.filed()
    change = bench.push(ticket, status="resolved")
    bench.push(ticket, "客户来电：仍然蓝屏", status="reopened")

    bench.store.push(change)

    assert bench.now(ticket.ref).status == bench.told("reopened")
    assert len(bench.store.thread(ticket.ref)) == 2


def test_what_was_pushed_is_found_under_its_marker(bench: Bench) -> None:
    ticket, other = bench.filed(), bench.filed()
    change = Change(uid=str(uuid7()), ticket=ticket.ref, note="已更换电源")
    assert bench.store.find(change.uid, ticket.ref) is None

    receipt = bench.store.push(change)

    assert bench.store.find(change.uid, ticket.ref) == receipt
    assert bench.store.find(change.uid, other.ref) is None
    assert bench.store.find(str(uuid7()), ticket.ref) is None


def test_a_complete_receipt_means_that_note_files_and_status_can_be_read_back(bench: Bench) -> None:
    ticket = bench.filed()
    photo = NewFile(name="铭牌.jpg", media_type="image/jpeg", content=b"\xff\xd8\xff" + bytes(range(256)))
    uid = str(uuid7())

    receipt = bench.store.push(
        Change(uid=uid, ticket=ticket.ref, note="已更换电源", author="王磊", files=(PDF, photo), status="in_progress")
    )

    (note,) = bench.store.thread(ticket.ref)
    assert receipt.complete
    assert (receipt.uid, receipt.ticket, receipt.ref) == (uid, ticket.ref, note.ref)
    assert (note.text, note.author, note.uid) == ("已更换电源", "王磊", uid)
    assert [(file.name, file.media_type) for file in note.files] == [
        (PDF.name, "application/pdf"),
        ("铭牌.jpg", "image/jpeg"),
    ]
    assert bench.hashes(note) == [hashlib.sha256(file.content).hexdigest() for file in (PDF, photo)]
    assert [file.size for file in note.files] == [len(PDF.content), len(photo.content)]
    assert bench.now(ticket.ref).status == bench.told("in_progress")


def test_two_files_of_the_same_name_are_both_kept(bench: Bench) -> None:
    ticket = bench.filed()
    files = tuple(NewFile(name="photo.jpg", media_type="image/jpeg", content=content) for content in (b"one", b"two"))

    change = bench.push(ticket, files=files)

    assert bench.hashes(bench.ours(change)[0]) == [hashlib.sha256(content).hexdigest() for content in (b"one", b"two")]


def test_a_long_chinese_text_arrives_to_the_letter(bench: Bench) -> None:
    ticket = bench.filed()
    text = "现场检查：电源模块风扇停转，已更换；𠮷野家分店账套已备份。\n第二行 <b>&amp;</b> {{7*7}} 😀\n" * 300

    change = bench.push(ticket, text.strip())

    assert bench.ours(change)[0].text == text.strip()


def test_what_no_text_can_hold_keeps_no_note_from_arriving(bench: Bench) -> None:
    ticket = bench.filed()
    typed = "已更换\x00电源\x07，\x1b[31m红色\x1b[0m\ud83d。\r\n第二行\uffff"

    change = bench.push(ticket, typed, author="王\x00磊")

    bench.store.push(change)
    (note,) = bench.store.thread(ticket.ref)
    assert note.text == "已更换\ufffd电源\ufffd，\ufffd[31m红色\ufffd[0m\ufffd。\n第二行\ufffd"
    assert (note.author, note.uid) == ("王\ufffd磊", change.uid)


def test_a_ticket_with_what_no_text_can_hold_is_filed_once(bench: Bench) -> None:
    new = NewTicket(uid=str(uuid7()), subject="打印\x00机", text="每天\x00早上", customer=bench.customer)

    first, second = bench.store.create(new), bench.store.create(new)

    assert first.ref == second.ref
    assert (first.subject, first.text) == ("打印\ufffd机", "每天\ufffd早上")


# ---- the guard -------------------------------------------------------------------------------------------


def test_a_fresh_base_lets_the_status_through(bench: Bench) -> None:
    ticket = bench.filed()

    bench.push(ticket, status="resolved", base=ticket.version)

    assert bench.now(ticket.ref).status == bench.told("resolved")


def test_a_stale_base_is_a_conflict_and_the_note_is_kept(bench: Bench) -> None:
    ticket = bench.filed()
    bench.push(ticket, "客户要求暂停", status="suspended")
    change = Change(
        uid=str(uuid7()), ticket=ticket.ref, note="已修好", files=(PDF,), status="resolved", base=ticket.version
    )

    with pytest.raises(Conflict) as caught:
        bench.store.push(change)

    assert caught.value.receipt is not None
    assert not caught.value.receipt.complete
    assert bench.now(ticket.ref).status == bench.told("suspended")
    assert [note.text for note in bench.ours(change)] == ["已修好"]
    assert len(bench.ours(change)[0].files) == 1
    with pytest.raises(Conflict):
        bench.store.push(change)
    assert len(bench.ours(change)) == 1


def test_a_stale_base_does_not_matter_when_the_status_is_left_alone(bench: Bench) -> None:
    ticket = bench.filed()
    bench.push(ticket, "客户补充：昨天停过电")

    change = bench.push(ticket, "已记录", base=ticket.version)

    assert len(bench.ours(change)) == 1


def test_an_unknown_ticket_is_rejected(bench: Bench) -> None:
    with pytest.raises(Rejected):
        bench.store.push(Change(uid=str(uuid7()), ticket=bench.unknown, note="?"))
    with pytest.raises(Rejected):
        bench.store.thread(bench.unknown)
    with pytest.raises(Rejected):
        bench.store.ticket(bench.unknown)


def test_an_unknown_status_is_rejected_and_nothing_is_written(bench: Bench) -> None:
    ticket = bench.filed()

    with pytest.raises(Rejected):
        bench.store.push(Change(uid=str(uuid7()), ticket=ticket.ref, note="?", status="vanished"))

    assert bench.store.thread(ticket.ref) == ()


def test_a_marker_that_stands_in_another_ticket_is_rejected(bench: Bench) -> None:
    if bench.store.caps.find == "scan":
        pytest.skip("this store cannot be asked for a marker but in the ticket that it should stand in")
    change = bench.push(bench.filed())
    other = bench.filed()

    with pytest.raises(Rejected):
        bench.store.push(Change(uid=change.uid, ticket=other.ref, note=change.note))

    assert bench.store.thread(other.ref) == ()


# ---- reading ---------------------------------------------------------------------------------------------


def test_the_feed_tells_every_ticket_across_pages_and_cursor_restarts(bench: Bench) -> None:
    refs = {bench.filed().ref for _ in range(7)}

    seen, cursor = bench.all_changes("")
    nothing, same = bench.all_changes(cursor)
    again, _ = bench.all_changes("")

    assert refs <= {ticket.ref for ticket in seen}
    assert {ticket.ref for ticket in nothing} <= {ticket.ref for ticket in seen}
    assert refs <= {ticket.ref for ticket in again}
    assert bench.all_changes(same)[1] == same


def test_a_change_comes_by_the_feed_with_another_version(bench: Bench) -> None:
    ticket = bench.filed()
    _seen, cursor = bench.all_changes("")

    bench.push(ticket, status="in_progress")

    changed = [each for each in bench.all_changes(cursor)[0] if each.ref == ticket.ref][-1]
    assert changed.version != ticket.version
    assert changed.updated >= ticket.updated
    assert changed.opened == ticket.opened
    assert changed == bench.store.ticket(ticket.ref)


def test_the_feed_misses_nothing_while_writes_go_on(bench: Bench) -> None:
    first = [bench.filed() for _ in range(5)]
    page = bench.store.changes("", 2)
    for ticket in first:
        bench.push(ticket, status="triaged")
    late = bench.filed()

    rest, _ = bench.all_changes(page.cursor)

    last_told = {ticket.ref: ticket.status for ticket in (*page.tickets, *rest)}
    assert {last_told[ticket.ref] for ticket in first} == {bench.told("triaged")}
    assert late.ref in last_told


def test_the_feed_misses_nothing_that_several_threads_write(bench: Bench) -> None:
    tickets = [bench.filed() for _ in range(8)]
    _seen, cursor = bench.all_changes("")

    bench.together([lambda ticket=ticket: bench.push(ticket, status="triaged") for ticket in tickets])  # type: ignore[misc]

    assert {ticket.ref for ticket in tickets} <= {ticket.ref for ticket in bench.all_changes(cursor)[0]}


def test_the_history_of_a_customer_is_newest_first_and_nobody_elses(bench: Bench) -> None:
    mine = [bench.filed(subject=f"第 {number} 次").ref for number in range(3)]
    bench.filed(customer="C-somebody-else")

    assert [ticket.ref for ticket in bench.history()] == mine[::-1]
    assert [ticket.ref for ticket in bench.history(2)] == mine[:0:-1]
    assert bench.store.history("C-nobody", 10) == ()


def test_a_thread_is_in_the_order_in_which_it_was_written(bench: Bench) -> None:
    ticket = bench.filed()
    texts = [f"第 {number} 条" for number in range(6)]
    for text in texts:
        bench.push(ticket, text)

    notes = bench.store.thread(ticket.ref)

    assert [note.text for note in notes] == texts
    assert [note.at for note in notes] == sorted(note.at for note in notes)
    assert len({note.ref for note in notes}) == 6


# ---- filing ----------------------------------------------------------------------------------------------


def test_the_same_ticket_filed_twice_is_one_ticket(bench: Bench) -> None:
    new = NewTicket(
        uid=str(uuid7()),
        subject="打印机卡纸",
        text="每天早上",
        customer=bench.customer,
        asset="ZW3000-0001",
        fields={"channel": "wechat", "type": "hardware", "priority": "high", "contact": "陈晓"},
    )

    answers = [bench.store.create(new) for _ in range(3)]

    assert len({each.ref for each in answers}) == 1
    (filed,) = bench.history()
    assert (filed.subject, filed.text, filed.customer, filed.asset) == (
        "打印机卡纸",
        "每天早上",
        bench.customer,
        "ZW3000-0001",
    )
    assert filed.status == bench.told("new")
    assert {name: filed.fields[name] for name in bench.keeps} == {name: new.fields[name] for name in bench.keeps}


def test_the_same_ticket_filed_from_four_threads_at_once_is_one_ticket(bench: Bench) -> None:
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer=bench.customer)

    answers: list[Any] = bench.together([lambda: bench.store.create(new)] * 4)

    assert {each.ref for each in answers} == {bench.store.create(new).ref}
    assert len(bench.history()) == 1


def test_a_ticket_without_a_subject_is_rejected(bench: Bench) -> None:
    with pytest.raises(Rejected):
        bench.store.create(NewTicket(uid=str(uuid7()), subject=" ", text="?"))
