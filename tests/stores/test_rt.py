"""What only Request Tracker does, tried against a live one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import time_machine
from flask import Flask, Response, request
from sqlalchemy import select

from fieldapp import clock
from fieldapp.extensions import db, uuid7
from fieldapp.storage import blobs
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.models import TicketNews
from fieldapp.tickets.store import (
    Change,
    Conflict,
    Denied,
    NewFile,
    NewTicket,
    Rejected,
    StoreTicket,
    TooBig,
    Unreachable,
)
from fieldapp.tickets.stores import rt as adapter
from fieldapp.tickets.stores.rt import RequestTrackerStore
from fieldapp.tickets.wire import kept
from tests.ports import free_port
from tests.stores import lossy, rt, rt_server
from tests.stores.bench import Bench
from tests.stores.moves import Move
from tests.stores.passes import after_the_slow_pass
from tests.stores.rt_server import MAX_FILE, RequestTracker
from tests.stores.serving import serving

PDF = NewFile(name="SR-20261121-0007-v1-1a2b3c4d.pdf", media_type="application/pdf", content=b"%PDF-1.7 \x00\xff" * 500)


@pytest.fixture
def tracker(request: pytest.FixtureRequest) -> RequestTracker:
    return rt.server(request)


@pytest.fixture
def desk(request: pytest.FixtureRequest, app: Flask) -> Bench:
    return rt.bench(request)


@pytest.fixture
def queue(desk: Bench) -> str:
    assert isinstance(desk.store, RequestTrackerStore)
    return desk.store.words.place


def a_change(ticket: StoreTicket, **more: object) -> Change:
    given: dict[str, object] = {"uid": str(uuid7()), "note": "已更换电源", "author": "王磊", "files": (PDF,), **more}
    return Change(ticket=ticket.ref, **given)  # type: ignore[arg-type]


# ---- one effect ------------------------------------------------------------------------------------------


def test_a_lost_answer_is_found_and_not_written_again(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved", base=ticket.version)
    with lossy.before(tracker.port, lost_requests=0, lost_answers=1) as wire, pytest.raises(Unreachable):
        at(desk, f"http://127.0.0.1:{wire.port}").push(change)
    assert [note.text for note in desk.store.thread(ticket.ref)] == ["已更换电源"]

    receipt = desk.store.push(change)

    assert receipt.complete
    assert len(desk.store.thread(ticket.ref)) == 1
    assert desk.store.ticket(ticket.ref).status == "resolved"


def test_a_lost_answer_while_filing_leaves_one_ticket(tracker: RequestTracker, desk: Bench) -> None:
    new = NewTicket(uid=str(uuid7()), subject="It's “jammed”", text="每天早上", customer=desk.customer)
    with lossy.before(tracker.port, lost_requests=0, lost_answers=1) as wire, pytest.raises(Unreachable):
        at(desk, f"http://127.0.0.1:{wire.port}").create(new)

    filed = desk.store.create(new)

    assert [ticket.ref for ticket in desk.history()] == [filed.ref]


def test_a_mark_that_rt_has_not_kept_is_found_in_the_text(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved")
    unmarked = rt.store_of(tracker, queue, user="unmarked")

    first = unmarked.push(change)
    second = desk.store.push(change)

    assert first == second == desk.store.find(change.uid, ticket.ref)
    (note,) = desk.store.thread(ticket.ref)
    assert (note.uid, note.author, note.text) == (change.uid, "王磊", "已更换电源")


def test_a_ticket_whose_mark_rt_has_not_kept_is_filed_once(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    new = NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上")
    unmarked = rt.store_of(tracker, queue, user="unmarked")

    answers = {store.create(new).ref for store in (unmarked, unmarked, desk.store)}

    assert len(answers) == 1
    assert desk.store.ticket(answers.pop()).text == "每天早上"


def test_a_status_that_never_arrived_is_set_by_the_next_try(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved", base=ticket.version)
    with between(tracker, "PUT", cut) as address, pytest.raises(Unreachable):
        at(desk, address).push(change)
    assert desk.store.ticket(ticket.ref).status == "new"

    desk.store.push(change)

    assert desk.store.ticket(ticket.ref).status == "resolved"
    assert len(desk.store.thread(ticket.ref)) == 1


def test_a_status_that_never_arrived_is_left_when_somebody_wrote_since(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved", base=ticket.version)
    with between(tracker, "PUT", cut) as address, pytest.raises(Unreachable):
        at(desk, address).push(change)
    comment(tracker, ticket, "Please wait for the customer")
    while desk.store.thread(ticket.ref)[-1].at <= ticket.updated:  # the guard has RT's grain, a second
        comment(tracker, ticket, "He does not answer")

    with pytest.raises(Conflict):
        desk.store.push(change)

    assert desk.store.ticket(ticket.ref).status == "new"


def test_a_status_that_a_person_chose_after_our_note_is_left(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved")
    with between(tracker, "PUT", cut) as address, pytest.raises(Unreachable):
        at(desk, address).push(change)
    tracker.ask("PUT", f"/ticket/{ticket.ref}", {"Status": "stalled"})

    with pytest.raises(Conflict):
        desk.store.push(change)

    assert desk.store.ticket(ticket.ref).status == "waiting_customer"


def test_a_change_in_the_very_moment_is_not_written_over(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved", base=ticket.version)

    def stall() -> None:
        tracker.ask("PUT", f"/ticket/{ticket.ref}", {"Status": "stalled"})

    with between(tracker, "PUT", stall) as address, pytest.raises(Conflict) as caught:
        at(desk, address).push(change)

    assert caught.value.receipt is not None
    assert desk.store.ticket(ticket.ref).status == "waiting_customer"
    assert len(desk.ours(change)) == 1


# ---- what RT refuses with 200, 201, 302 and 400 ----------------------------------------------------------


@pytest.mark.parametrize("token", ["1-1-of-nobody", ""])
def test_a_wrong_token_is_denied(tracker: RequestTracker, desk: Bench, token: str, queue: str) -> None:
    wrong = rt.store_of(replace(tracker, tokens={"fieldapp": token}), queue)

    for question in (wrong.check, lambda: wrong.changes("", 10), lambda: wrong.ticket("1")):
        with pytest.raises(Denied):
            question()


def test_who_may_only_read_writes_nothing_and_is_told_so(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    readonly = rt.store_of(tracker, queue, user="readonly")

    with pytest.raises(Rejected, match="Permission Denied"):
        readonly.push(a_change(ticket, status="resolved"))
    with pytest.raises(Rejected, match="No permission to create"):
        readonly.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?"))

    assert desk.store.thread(ticket.ref) == ()
    assert desk.store.ticket(ticket.ref) == ticket
    assert rights_lacking(readonly) == {"CreateTicket", "CommentOnTicket", "ModifyTicket"}


def test_a_note_that_our_user_may_not_see_stands_there_once(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved")

    with pytest.raises(Rejected, match="ShowTicketComments"):
        rt.store_of(tracker, queue, user="blind").push(change)
    desk.store.push(change)  # the right was given, and a person tried again

    assert len(desk.ours(change)) == 1
    assert desk.store.ticket(ticket.ref).status == "resolved"


def test_a_refused_status_is_told_though_rt_answers_200(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    change = a_change(ticket, status="resolved")
    commenter = rt.store_of(tracker, queue, user="commenter")

    for _try in range(2):
        with pytest.raises(Rejected, match="The note is in"):
            commenter.push(change)

    assert len(desk.ours(change)) == 1
    assert desk.store.ticket(ticket.ref).status == "new"
    assert rights_lacking(commenter) == {"ModifyTicket"}


def test_a_status_that_this_queue_does_not_have_is_told(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    words = StoreMapping(statuses=Words({}, {"resolved": "vanished"}))

    with pytest.raises(Rejected, match="vanished"):
        rt.store_of(tracker, queue, words=words).push(a_change(ticket, status="resolved"))

    assert len(desk.store.thread(ticket.ref)) == 1


def test_a_file_that_rt_drops_is_told(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    large = NewFile(name="scan.pdf", media_type="application/pdf", content=b"%PDF\x00" * (MAX_FILE // 5 + 1))

    with pytest.raises(Rejected, match=r"scan\.pdf"):
        desk.store.push(a_change(ticket, files=(PDF, large)))

    assert len(desk.store.thread(ticket.ref)) == 1


def test_a_file_beyond_the_limit_is_not_even_sent(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    store = rt.store_of(tracker, queue, words=StoreMapping(options={"max_file": "1000"}))

    with pytest.raises(TooBig):
        store.push(a_change(ticket))

    assert desk.store.thread(ticket.ref) == ()


# ---- what does not fit -----------------------------------------------------------------------------------


def test_a_missing_custom_field_is_named_with_how_to_create_it(tracker: RequestTracker, queue: str, app: Flask) -> None:
    fields = {"customer": "KundenNr", "note": "BerichtNr"}

    flaws = rt.store_of(tracker, queue, words=StoreMapping(fields=fields)).check()

    assert [flaw.says for flaw in flaws] == [
        "The custom field “BerichtNr” is missing.",
        "The custom field “KundenNr” is missing.",
    ]
    assert "Ticket Transactions" in flaws[0].mend
    assert queue in flaws[1].mend


def test_without_its_field_nothing_is_filed(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    store = rt.store_of(tracker, queue, words=StoreMapping(fields={"record": "Nowhere"}))

    with pytest.raises(Rejected, match="Nowhere"):
        store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?", customer=desk.customer))

    assert desk.history() == ()


def test_a_note_whose_field_is_missing_stands_there_once(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    ticket = desk.filed()
    store = rt.store_of(tracker, queue, words=StoreMapping(fields={"note": "Nowhere"}))
    change = a_change(ticket)

    assert store.push(change) == store.push(change)

    assert len(desk.store.thread(ticket.ref)) == 1


def test_a_queue_that_is_not_there_is_a_flaw(tracker: RequestTracker, app: Flask) -> None:
    store = rt.store_of(tracker, "Nowhere")

    (flaw,) = store.check()

    assert "Nowhere" in flaw.says
    with pytest.raises(Rejected, match="Nowhere"):
        store.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="?"))


@pytest.mark.parametrize("empty", [True, False])
def test_a_user_in_another_time_zone_is_a_flaw_and_reads_nothing(
    tracker: RequestTracker, desk: Bench, queue: str, empty: bool
) -> None:
    if not empty:
        desk.filed()
    shanghai = rt.store_of(tracker, queue, user="shanghai")

    (flaw,) = shanghai.check()

    assert "UTC" in flaw.says
    with pytest.raises(Rejected, match="UTC"):
        shanghai.changes("2026-11-22T10:00:00Z 0", 10)


# ---- merged, and what people write -----------------------------------------------------------------------


def test_a_merge_is_told_though_rt_shows_it_nowhere(tracker: RequestTracker, desk: Bench) -> None:
    gone, remains = desk.filed(), desk.filed()
    _seen, cursor = desk.all_changes("")
    tracker.ask("PUT", f"/ticket/{gone.ref}", {"MergeInto": remains.ref})

    told = {ticket.ref: ticket for ticket in desk.all_changes(cursor)[0]}

    assert told[gone.ref].merged_into == remains.ref
    assert told[gone.ref].status == "closed"
    assert told[gone.ref].version != gone.version
    assert told[gone.ref] == desk.store.ticket(gone.ref)
    assert told[remains.ref].merged_into is None


def test_what_ended_is_told_by_whom_and_what_was_deleted_is_noticed_by_the_slow_pass(
    tracker: RequestTracker, desk: Bench
) -> None:
    deleted, closed, merged, remains, moved, stays = (desk.filed() for _number in range(6))
    pull(desk.store)
    tracker.ask("PUT", f"/ticket/{deleted.ref}", {"Status": "deleted"})
    tracker.ask("PUT", f"/ticket/{closed.ref}", {"Status": "resolved"})
    tracker.ask("PUT", f"/ticket/{merged.ref}", {"MergeInto": remains.ref}, user="root")
    tracker.ask("PUT", f"/ticket/{moved.ref}", {"Queue": rt.new_queue(tracker)}, user="root")

    tickets = after_the_slow_pass(desk)
    assert {ref: ticket.ended for ref, ticket in tickets.items()} == {
        deleted.ref: "gone",
        closed.ref: "resolved",
        merged.ref: "merged",
        remains.ref: None,
        moved.ref: None,
        stays.ref: None,
    }
    assert tickets[merged.ref].merged_into == remains.ref
    news = {(line.ticket.ref, line.kind): line for line in db.session.scalars(select(TicketNews))}
    assert news[closed.ref, "changed"].by == "agent"
    assert news[merged.ref, "merged"].by == "Enoch Root"
    assert news[merged.ref, "merged"].at == tickets[remains.ref].changed_at
    assert news[moved.ref, "changed"].by == "Enoch Root"
    assert {ref for ref, kind in news if kind == "gone"} == {deleted.ref}
    assert stays.ref not in {ref for ref, _kind in news}


@pytest.mark.crash
def test_a_move_out_of_rt_that_is_killed_goes_on_and_brings_everything_once(
    tracker: RequestTracker, desk: Bench, queue: str, tmp_path: Path
) -> None:
    filed = [desk.filed() for _number in range(5)]
    tracker.ask("POST", f"/ticket/{filed[0].ref}/comment", {"Content": "已电话联系", "ContentType": "text/plain"})
    change = a_change(filed[1], status="resolved")
    desk.store.push(change)
    tracker.ask("PUT", f"/ticket/{filed[0].ref}", {"MergeInto": filed[4].ref})
    move = Move(folder=tmp_path, name="rt", address=tracker.address, secret=tracker.tokens["fieldapp"], place=queue)

    dry = move.run("--dry-run")
    assert "5 would be imported with 3 entries and 1 files" in dry.stdout, dry.stderr
    assert move.arrived() == 0
    killed = move.run(crash_at="in_import:2")
    assert (killed.returncode, move.arrived()) == (-signal.SIGKILL, 2)
    resumed = move.run()

    assert "3 imported" in resumed.stdout, resumed.stderr
    assert "tickets read" in resumed.stderr
    there = {ticket.number: ticket for ticket in db.session.scalars(select(DeskTicket))}
    assert there.keys() == {ticket.ref for ticket in filed}
    assert [note.text for note in there[filed[0].ref].notes] == [f"Merged into ticket {filed[4].ref}."]
    assert [note.text for note in there[filed[4].ref].notes] == ["已电话联系"]
    (note,) = there[filed[1].ref].notes
    assert (note.uid, there[filed[1].ref].status) == (change.uid, "resolved")
    assert blobs.get(note.files[0].sha256) == PDF.content


def test_a_report_for_a_merged_ticket_goes_to_the_one_that_remains(tracker: RequestTracker, desk: Bench) -> None:
    gone, remains = desk.filed(), desk.filed()
    before = desk.push(gone, "已预约")
    tracker.ask("PUT", f"/ticket/{gone.ref}", {"MergeInto": remains.ref})
    change = a_change(gone, status="resolved", base=gone.version)

    for _try in range(2):
        with pytest.raises(Conflict):
            desk.store.push(change)

    assert [note.uid for note in desk.store.thread(remains.ref)] == [before.uid, change.uid]
    assert desk.store.find(before.uid, gone.ref) == desk.store.push(before)
    assert desk.store.ticket(remains.ref).status == "new"


def test_what_people_write_is_read_as_text(tracker: RequestTracker, desk: Bench) -> None:
    ticket = desk.filed()
    html = "<p>Bitte &amp; danke</p><div>12 Uhr</div>"
    tracker.ask("POST", f"/ticket/{ticket.ref}/correspond", {"Content": html, "ContentType": "text/html"})

    (note,) = desk.store.thread(ticket.ref)

    assert (note.text, note.author, note.uid) == ("Bitte & danke\n12 Uhr", "agent", None)
    assert desk.store.ticket(ticket.ref).changed_by == "agent"


def test_who_asks_is_the_contact_where_no_field_says_it(tracker: RequestTracker, desk: Bench, queue: str) -> None:
    told = {"Queue": queue, "Subject": "Printer", "Requestor": "chen@customer.example", "Priority": 70}
    ref = tracker.ask("POST", "/ticket", told)["id"]

    ticket = desk.store.ticket(ref)

    assert ticket.fields["contact_email"] == "chen@customer.example"
    assert ticket.fields["priority"] == "normal"
    assert (ticket.text, ticket.customer, ticket.asset) == ("", None, None)


def test_a_thread_of_several_pages_is_read_to_its_end(
    tracker: RequestTracker, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PER_PAGE", 2)
    ticket = desk.filed()
    texts = [f"Entry {number}" for number in range(5)]
    for text in texts:
        comment(tracker, ticket, text)
    change = desk.push(ticket, files=(PDF, PDF))

    notes = desk.store.thread(ticket.ref)

    assert [note.text for note in notes] == [*texts, change.note]
    assert len(notes[-1].files) == 2


def test_a_session_that_could_not_be_opened_is_tried_again(tracker: RequestTracker, desk: Bench) -> None:
    with between(tracker, "GET", cut) as address, kept() as exchanges:
        store = at(desk, address)
        with pytest.raises(Unreachable):
            store.history("C-nobody", 1)
        store.history("C-nobody", 1)

    asked = [(exchange.path, exchange.status) for exchange in exchanges]
    assert asked == [
        ("/Helpers/Autocomplete/Users", 502),
        ("/Helpers/Autocomplete/Users", 200),
        ("/REST/2.0/tickets", 200),
    ]


def test_a_session_spares_the_slow_hash_of_each_request(tracker: RequestTracker, desk: Bench) -> None:
    cookies: list[str] = []

    def look() -> None:
        cookies.append(request.headers.get("Cookie", ""))

    with between(tracker, "GET", look, once=False) as address, kept() as exchanges:
        store = at(desk, address)
        store.history("C-nobody", 1)
        store.history("C-nobody", 1)

    assert [exchange.path for exchange in exchanges] == ["/Helpers/Autocomplete/Users", *["/REST/2.0/tickets"] * 2]
    assert cookies[0] == ""
    assert all(cookie.startswith("RT_SID") for cookie in cookies[1:])


# ---- the scrip -------------------------------------------------------------------------------------------


def test_the_scrip_tells_of_a_change_and_is_believed(
    tracker: RequestTracker, desk: Bench, heard: list[tuple[Mapping[str, str], bytes]]
) -> None:
    ticket = desk.filed()

    hints = [hint for headers, body in heard for hint in desk.store.heard(headers, body)]

    assert {hint.ticket for hint in hints} == {ticket.ref}
    assert len({hint.id for hint in hints}) == len(heard) > 0


def test_a_message_that_was_changed_or_is_old_is_denied(
    desk: Bench, heard: list[tuple[Mapping[str, str], bytes]]
) -> None:
    desk.filed()
    headers, body = heard[0]
    signature = next(name for name in headers if name.lower() == "webhook-signature")

    forged = [(headers, b'{"ticket": "1234567"}'), ({**headers, signature: "v1,AAAA"}, body), ({}, body)]
    for told, content in forged:
        with pytest.raises(Denied):
            desk.store.heard(told, content)
    with time_machine.travel(clock.now() + timedelta(minutes=6)), pytest.raises(Denied):
        desk.store.heard(headers, body)


# ---- the server ------------------------------------------------------------------------------------------


@pytest.mark.crash
def test_the_server_ends_when_the_test_process_is_killed(tmp_path: Path) -> None:
    if reason := rt_server.missing():
        pytest.skip(reason)
    port = free_port()
    command = [sys.executable, "-m", "tests.stores.rt_server", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        assert process.stdout
        assert process.stdout.readline()

        process.send_signal(signal.SIGKILL)

    assert ended(port)


def ended(port: int) -> bool:
    """Whether nobody listens there any more, within the time that its workers need to end."""
    for _ in range(600):
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.1)
    return False


# ---- helpers ---------------------------------------------------------------------------------------------


@pytest.fixture
def heard(request: pytest.FixtureRequest, tracker: RequestTracker) -> list[tuple[Mapping[str, str], bytes]]:
    """What the scrip has told since the test began."""
    told = request.config.stash[rt.HEARD]
    told.clear()
    return told


def comment(tracker: RequestTracker, ticket: StoreTicket, text: str) -> None:
    """Somebody at the desk writes."""
    tracker.ask("POST", f"/ticket/{ticket.ref}/comment", {"Content": text, "ContentType": "text/plain"})


def at(desk: Bench, address: str) -> RequestTrackerStore:
    assert desk.at
    store = desk.at(address)
    assert isinstance(store, RequestTrackerStore)
    return store


def rights_lacking(store: RequestTrackerStore) -> set[str]:
    return {flaw.says.removeprefix("Our user lacks the right ").rstrip(".") for flaw in store.check()}


def cut() -> None:
    """The wire breaks before the request arrives."""
    raise ConnectionError


@contextmanager
def between(tracker: RequestTracker, method: str, act: Callable[[], None], *, once: bool = True) -> Iterator[str]:
    """The address of a proxy before RT that does something just before a request of this kind passes."""
    app = Flask("between")
    left = [1] if once else [1_000_000]

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT"])
    def pass_on(path: str) -> Response:
        if request.method == method and left[0]:
            left[0] -= 1
            try:
                act()
            except ConnectionError:
                return Response("gone", 502)
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        url = f"{tracker.address}{request.full_path}"
        answer = requests.request(
            request.method, url, headers=headers, data=request.get_data(), allow_redirects=False, timeout=60
        )
        named = {
            name: value for name, value in answer.headers.items() if name in ("ETag", "Content-Type", "Set-Cookie")
        }
        return Response(answer.content, answer.status_code, named)

    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"
