"""What is new in tickets: old and new in our words, by whom; nothing of what we did ourselves; never too much."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer
from fieldapp.errors import NotFound
from fieldapp.extensions import db, operation, uuid7
from fieldapp.outbox import Promise, promise
from fieldapp.tickets import news
from fieldapp.tickets.models import Ticket, TicketNews
from fieldapp.tickets.operations import expect_back, take_in, take_in_all
from tests.conftest import add
from tests.sync.telling import Telling, a_ticket


@pytest.fixture
def store(app: Flask, asset: Asset) -> Telling:
    """A store whose ticket R-1 we know already."""
    store = Telling(a_ticket("R-1"))
    take_in(store.tickets["R-1"], store="redmine", quiet=True)
    return store


def told(store: Telling, ref: str = "R-1", **changes: Any) -> list[TicketNews]:
    """What is new after this change was read."""
    take_in(store.change(ref, **changes), store="redmine")
    return lines()


def lines() -> list[TicketNews]:
    return list(db.session.scalars(select(TicketNews).order_by(TicketNews.id)))


def changed(line: TicketNews) -> list[tuple[str, str, str]]:
    return [(each["field"], each["before"], each["after"]) for each in line.changes]


# ---- what is told ---------------------------------------------------------------------------------------


def test_each_change_is_told_with_old_and_new_and_who_it_was(store: Telling) -> None:
    add(Customer(number="C-2002", name="另一家公司"))

    line = told(
        store,
        status="waiting_customer",
        subject="换硬盘",
        text="客户补充",
        customer="C-2002",
        fields={"priority": "urgent"},
    )[0]

    assert (line.kind, line.by, line.seen_at) == ("changed", "客服小李", None)
    assert changed(line) == [
        ("status", "new", "waiting_customer"),
        ("priority", "normal", "urgent"),
        ("subject", "问题 R-1", "换硬盘"),
        ("customer", "华东精密机械有限公司", "另一家公司"),
        ("text", "", ""),
    ]


def test_a_note_of_somebody_is_told_although_no_field_changed(store: Telling) -> None:
    line = told(store)[0]

    assert (line.kind, line.changes) == ("changed", [])


def test_what_is_written_into_an_ended_ticket_is_no_news(store: Telling) -> None:
    told(store, status="closed")

    assert len(told(store)) == 1


def test_a_new_ticket_is_told_and_one_that_is_over_already_is_not(store: Telling) -> None:
    take_in(a_ticket("R-2", changed_by="电话中心"), store="redmine")
    take_in(a_ticket("R-3", status="closed"), store="redmine")

    assert [(line.kind, line.ticket.ref, line.by) for line in lines()] == [("new", "R-2", "电话中心")]


def test_the_same_version_told_again_is_no_second_line(store: Telling) -> None:
    told(store, status="in_progress")

    take_in(store.tickets["R-1"], store="redmine")

    assert len(lines()) == 1


# ---- not what we did ourselves ---------------------------------------------------------------------------


def test_our_own_status_and_note_make_no_news(store: Telling) -> None:
    expect_back("redmine", "R-1", "resolved")

    assert told(store, status="resolved") == []
    assert told(store) == []
    ticket = db.session.scalars(select(Ticket)).one()
    assert (ticket.status, ticket.ended) == ("resolved", None)


def test_our_note_does_not_forget_the_status_that_we_wrote_before(store: Telling) -> None:
    expect_back("redmine", "R-1", "resolved")
    expect_back("redmine", "R-1", None)

    assert told(store, status="resolved") == []


def test_another_status_than_ours_is_news_even_while_we_write(store: Telling) -> None:
    expect_back("redmine", "R-1", "resolved")

    line = told(store, status="suspended")[0]

    assert changed(line) == [("status", "new", "suspended")]
    assert line.ticket.ended == "suspended"


def test_what_others_change_beside_our_status_is_told_without_ours(store: Telling) -> None:
    expect_back("redmine", "R-1", "resolved")

    assert changed(told(store, status="resolved", subject="已处理")[0]) == [("subject", "问题 R-1", "已处理")]


def test_the_same_status_set_by_somebody_much_later_is_news(store: Telling) -> None:
    expect_back("redmine", "R-1", "resolved")
    told(store, status="resolved")
    told(store, status="reopened", at=clock.now() + timedelta(hours=1))

    line = told(store, status="resolved", at=clock.now() + timedelta(hours=2))[-1]

    assert changed(line) == [("status", "reopened", "resolved")]
    assert line.ticket.ended == "resolved"


# ---- ended there -----------------------------------------------------------------------------------------


def test_a_ticket_that_was_merged_says_into_which(store: Telling) -> None:
    line = told(store, status="closed", merged_into="R-9")[0]

    assert (line.kind, line.ticket.ended, line.ticket.merged_into) == ("merged", "merged", "R-9")
    assert line.ticket.lane == "redmine:R-9"


def test_a_chain_of_merged_tickets_leads_to_its_end_and_never_in_a_circle(store: Telling) -> None:
    take_in(a_ticket("R-2"), store="redmine", quiet=True)
    told(store, merged_into="R-2")
    take_in(a_ticket("R-2", version="2", updated=clock.now(), merged_into="R-3"), store="redmine")
    assert lane_of("R-1") == lane_of("R-2") == "redmine:R-3"

    take_in(a_ticket("R-3", merged_into="R-1"), store="redmine")

    assert db.session.scalar(select(func.count()).where(Ticket.merged_into == Ticket.ref)) == 0


def test_merged_into_itself_is_not_merged(store: Telling) -> None:
    assert told(store, merged_into="R-1")[0].ticket.ended is None


def test_what_waits_goes_on_at_the_end_of_the_survivors_lane(store: Telling) -> None:
    @operation
    def promise_three() -> None:
        promise("a", {}, lane="redmine:R-9", uid="theirs")
        promise("a", {}, lane="redmine:R-1", uid="first")
        promise("a", {}, lane="redmine:R-1", uid="second")
        promise("a", {}, lane="redmine:R-1", uid="under way").state = "leased"

    promise_three()

    told(store, merged_into="R-9")

    rows = db.session.execute(select(Promise.uid, Promise.lane, Promise.lane_seq).order_by(Promise.lane_seq)).all()
    moved = [uid for uid, lane, _seq in rows if lane == "redmine:R-9"]
    assert moved == ["theirs", "first", "second", "under way"]  # that one too: what follows must still wait behind it
    assert len(rows) == 4


def test_two_tickets_of_one_page_that_become_part_of_a_third_keep_their_order(store: Telling) -> None:
    take_in(a_ticket("R-2"), store="redmine", quiet=True)

    @operation
    def promise_two() -> None:
        promise("a", {}, lane="redmine:R-1", uid="first")
        promise("a", {}, lane="redmine:R-2", uid="second")

    promise_two()
    both = [store.change("R-1", merged_into="R-9"), a_ticket("R-2", version="2", merged_into="R-9")]

    take_in_all(both, store="redmine")

    rows = db.session.execute(select(Promise.uid, Promise.lane, Promise.lane_seq).order_by(Promise.lane_seq)).all()
    assert [tuple(row) for row in rows] == [("first", "redmine:R-9", 1), ("second", "redmine:R-9", 2)]


def test_a_merge_that_is_undone_leaves_nothing_behind(store: Telling) -> None:
    told(store, merged_into="R-9", status="closed")

    line = told(store, merged_into=None, status="new")[-1]

    assert (line.ticket.ended, line.ticket.merged_into, line.ticket.lane) == (None, None, "redmine:R-1")


def lane_of(ref: str) -> str:
    return db.session.scalars(select(Ticket).where(Ticket.ref == ref)).one().lane


# ---- seen ------------------------------------------------------------------------------------------------


def test_seen_once_is_seen_by_all_and_who_was_first_stays(store: Telling, dispatcher: User, manager: User) -> None:
    line = told(store, status="in_progress")[0]

    news.see(line.id, by=dispatcher)
    news.see(line.id, by=manager)

    assert news.brief(manager).count == 0
    assert line.seen_by == dispatcher
    assert [each.id for each in news.listing(manager, seen=True).lines] == [line.id]
    with pytest.raises(NotFound):
        news.see(uuid7(), by=dispatcher)


def test_all_seen_ends_at_what_the_page_had_shown(store: Telling, dispatcher: User) -> None:
    shown = told(store, status="in_progress")[0]
    told(store, status="waiting_customer")

    assert news.see_all(shown.id, by=dispatcher) == {"seen": 1}

    assert news.brief(dispatcher).count == 1


def test_what_one_did_oneself_is_news_for_the_others_only(store: Telling, dispatcher: User, manager: User) -> None:
    told(store, status="in_progress", by=dispatcher.name)

    assert (news.brief(dispatcher).count, news.brief(manager).count) == (0, 1)


def test_news_is_kept_for_thirty_days_and_never_more_than_two_thousand_lines(
    store: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "MOST_KEPT", 3)
    for word in ("in_progress", "waiting_customer", "triaged", "reopened", "in_progress"):
        told(store, status=word)

    news.prune()
    assert [changed(line)[0][2] for line in lines()] == ["triaged", "reopened", "in_progress"]

    with time_machine.travel(clock.now() + timedelta(days=31)):
        news.prune()
    assert lines() == []


def test_a_long_list_comes_in_pages(store: Telling, dispatcher: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "PAGE", 2)
    for word in ("in_progress", "waiting_customer", "triaged"):
        told(store, status=word)

    first = news.listing(dispatcher, seen=False)
    second = news.listing(dispatcher, seen=False, before=first.next)

    assert [len(first.lines), len(second.lines)] == [2, 1]
    assert (first.next, second.next) == (first.lines[-1].id, None)
    assert news.brief(dispatcher).count == 3


def test_a_subject_with_a_nul_is_taken_in_without_it(store: Telling) -> None:
    assert told(store, subject="a\x00b", text="c\x00d")[0].ticket.subject == "ab"
    assert db.session.scalars(update(Ticket).values(text=Ticket.text).returning(Ticket.text)).all() == ["cd"]
