"""What only Redmine does, on a live one: what it leaves out without a word, tells only half, and whom it refuses."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, Response
from flask import request as asked
from sqlalchemy import select

from fieldapp.extensions import db, uuid7
from fieldapp.storage import blobs
from fieldapp.sync.pull import pull
from fieldapp.tickets import marks
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.mapping import Words
from fieldapp.tickets.models import TicketNews
from fieldapp.tickets.store import (
    Change,
    Denied,
    NewFile,
    NewTicket,
    Rejected,
    Retry,
    StoreTicket,
    TooBig,
    Unreachable,
)
from fieldapp.tickets.stores.redmine import RedmineStore
from tests.stores.bench import Bench
from tests.stores.moves import Move
from tests.stores.passes import after_the_slow_pass
from tests.stores.redmine import ask, bench, project, server, store
from tests.stores.redmine_server import Redmine
from tests.stores.serving import serving

PDF = NewFile(name="SR-20261121-0007-v1-1a2b3c4d.pdf", media_type="application/pdf", content=b"%PDF-1.7 \x00\xff" * 500)


@pytest.fixture(name="redmine")
def a_redmine(request: pytest.FixtureRequest) -> Redmine:
    return server(request)


@pytest.fixture(name="desk")
def a_bench(request: pytest.FixtureRequest, app: Flask) -> Bench:
    return bench(request)


@pytest.fixture
def ticket(desk: Bench) -> StoreTicket:
    return desk.filed()


def change_of(ticket: StoreTicket, note: str = "已更换电源", **more: Any) -> Change:
    return Change(uid=str(uuid7()), ticket=ticket.ref, note=note, **more)


def told(redmine: Redmine, ref: str) -> dict[str, Any]:
    """The issue as an administrator sees it."""
    issue: dict[str, Any] = ask(redmine, "GET", f"/issues/{ref}.json?include=journals,attachments")["issue"]
    return issue


def as_user(redmine: Redmine, desk: Bench, user: str) -> RedmineStore:
    """The adapter at the same project, with the key of another user."""
    assert isinstance(desk.store, RedmineStore)
    return store(redmine, desk.store.words.place, user=user)


# ---- whom it refuses -------------------------------------------------------------------------------------------


def test_a_wrong_key_is_denied(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    stranger = RedmineStore(Connection(address=redmine.address, secret="no such key", networks=("127.0.0.0/8",)))
    stranger._field_ids = dict(redmine.fields)

    for call in (
        stranger.check,
        lambda: stranger.ticket(ticket.ref),
        lambda: stranger.changes("", 10),
        lambda: stranger.history(desk.customer, 10),
        lambda: stranger.push(change_of(ticket)),
    ):
        with pytest.raises(Denied, match="does not accept our key"):
            call()

    assert desk.store.thread(ticket.ref) == ()


def test_a_redmine_whose_interface_is_off_says_where_to_switch_it_on(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    with redmine.setting("rest_api_enabled", "0"):
        with pytest.raises(Denied, match="Settings → API"):
            desk.store.check()
        with pytest.raises(Denied, match="Settings → API"):
            desk.store.push(change_of(ticket))

    assert desk.store.check() == ()


def test_a_user_who_may_only_read_writes_nothing(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    reader = as_user(redmine, desk, "readonly")

    with pytest.raises(Rejected, match="does not allow our user to write into ticket"):
        reader.push(change_of(ticket, files=(PDF,), status="resolved"))
    with pytest.raises(Rejected, match="Add issues"):
        reader.create(NewTicket(uid=str(uuid7()), subject="?", text="?"))

    issue = told(redmine, ticket.ref)
    assert (issue["journals"], issue["attachments"], issue["status"]["name"]) == ([], [], "New")
    assert [flaw.says for flaw in reader.check()] == [
        f"Our user lacks the right “{right}” in Redmine's project."
        for right in ("Add issues", "Edit issues", "Add notes")
    ]


def test_a_note_that_the_role_may_not_write_is_noticed(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    mute, change = as_user(redmine, desk, "mute"), change_of(ticket, files=(PDF,))

    for _try in range(2):
        with pytest.raises(Rejected, match="“Add notes”"):
            mute.push(change)
    desk.store.push(change)

    assert len(told(redmine, ticket.ref)["attachments"]) == 1
    assert [len(note.files) for note in desk.store.thread(ticket.ref)] == [1]


def test_a_ticket_in_a_project_that_is_not_ours_is_none(redmine: Redmine, desk: Bench) -> None:
    with pytest.raises(Rejected, match="There is no ticket"):
        desk.store.ticket("not-a-number")
    asked_for = {"name": "Secret", "identifier": f"s-{uuid7()}", "is_public": False, "tracker_ids": [1]}
    place = ask(redmine, "POST", "/projects.json", {"project": asked_for})["project"]["id"]
    body = {"issue": {"project_id": place, "subject": "Not yours"}}
    hidden = ask(redmine, "POST", "/issues.json", body)["issue"]["id"]

    with pytest.raises(Rejected, match="There is no ticket"):
        desk.store.ticket(str(hidden))


# ---- what it leaves out without a word ---------------------------------------------------------------------------


def test_a_status_that_the_workflow_forbids_is_said_and_set_once_it_is_allowed(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    stuck, change = as_user(redmine, desk, "stuck"), change_of(ticket, files=(PDF,), status="resolved")

    with pytest.raises(Rejected, match="workflow does not let our user set the status “Resolved”"):
        stuck.push(change)
    assert [len(note.files) for note in desk.store.thread(ticket.ref)] == [1]
    with pytest.raises(Rejected, match="workflow"):
        stuck.push(change)
    receipt = desk.store.push(change)

    assert receipt.complete
    assert desk.now(ticket.ref).status == "resolved"
    assert [len(note.files) for note in desk.store.thread(ticket.ref)] == [1]
    assert desk.store.push(change) == receipt


def test_a_status_that_redmine_does_not_have_is_rejected_before_anything_is_written(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    assert isinstance(desk.store, RedmineStore)
    renamed = store(redmine, desk.store.words.place, statuses=Words(write={"resolved": "Mended"}))

    with pytest.raises(Rejected, match="no status “Mended”"):
        renamed.push(change_of(ticket, files=(PDF,), status="resolved"))

    assert told(redmine, ticket.ref)["journals"] == []
    assert [flaw.says for flaw in renamed.check()] == ["Redmine has no status “Mended”."]


def test_a_search_that_redmine_does_not_heed_is_not_believed(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    assert isinstance(desk.store, RedmineStore)
    unsearched = store(redmine, desk.store.words.place, fields={"customer": "Region"})

    with pytest.raises(Rejected, match="“Used as a filter”"):
        unsearched.history("华东", 10)

    assert [flaw.says for flaw in unsearched.check()] == ["Redmine does not search the custom field “Region”."]


def test_a_customer_whose_number_looks_like_an_operator_is_searched_to_the_letter(desk: Bench) -> None:
    filed = [desk.filed(customer=number).ref for number in ("!*", "C-1|C-2", "~C", "C-1")]

    found = [[each.ref for each in desk.store.history(number, 10)] for number in ("!*", "C-1|C-2", "~C")]

    assert [refs[0] for refs in found] == filed[:3]


def test_a_missing_custom_field_is_a_flaw_with_the_way_to_create_it(redmine: Redmine, app: Flask) -> None:
    bare = store(redmine, project(redmine, fields=False))

    flaws = {flaw.says: flaw.mend for flaw in bare.check()}

    assert len(flaws) == 7
    assert "“ServiceRecordId”" in flaws["The custom field “ServiceRecordId” is missing."]
    assert "Custom fields → New custom field → Issues" in flaws["The custom field “ServiceRecordId” is missing."]
    with pytest.raises(Rejected, match="no custom field for the customer's number"):
        bare.history("C-1", 10)


def test_a_project_without_our_fields_takes_tickets_notes_and_files_all_the_same(redmine: Redmine, app: Flask) -> None:
    bare = store(redmine, project(redmine, fields=False))
    ticket = bare.create(NewTicket(uid=str(uuid7()), subject="打印机卡纸", text="每天早上", customer="C-1"))

    receipt = bare.push(change_of(ticket, files=(PDF,), status="resolved"))

    assert receipt.complete
    assert bare.ticket(ticket.ref).customer is None


def test_a_field_for_all_projects_is_known_once_there_is_a_ticket(redmine: Redmine, app: Flask) -> None:
    regional = store(redmine, project(redmine), fields={"asset": "Region"})

    filed = [regional.create(NewTicket(uid=str(uuid7()), subject="?", text="?", asset="ZW-1")).asset for _ in range(2)]

    assert filed == ["ZW-1", "ZW-1"]
    assert regional.check() == ()


def test_a_project_that_is_not_there_is_a_flaw(redmine: Redmine, app: Flask) -> None:
    assert [flaw.says for flaw in store(redmine, "nowhere").check()] == [
        "Redmine has no project “nowhere” that our user may see."
    ]
    assert len(store(redmine, "").check()) == 1
    with pytest.raises(Rejected, match="no project “nowhere”"):
        store(redmine, "nowhere").create(NewTicket(uid=str(uuid7()), subject="?", text="?"))


def test_a_word_that_redmine_or_the_mapping_lacks_is_a_flaw(redmine: Redmine, desk: Bench) -> None:
    assert isinstance(desk.store, RedmineStore)
    place = desk.store.words.place
    other = store(redmine, place, priorities=Words(write={"urgent": "Burning"}), options={"tracker": "Visit"})
    silent = store(redmine, place)
    silent.words = replace(silent.words, statuses=Words({"New": "new"}, silent.words.statuses.write))

    assert [flaw.says for flaw in other.check()] == [
        "Redmine has no priority “Burning”.",
        "Redmine's project has no tracker “Visit”.",
    ]
    assert "Nobody has said what Redmine's status “Feedback” means to us." in [flaw.says for flaw in silent.check()]
    with pytest.raises(Rejected, match="no tracker “Visit”"):
        other.create(NewTicket(uid=str(uuid7()), subject="?", text="?"))


def test_the_tracker_of_the_mapping_is_used(redmine: Redmine, desk: Bench) -> None:
    assert isinstance(desk.store, RedmineStore)
    supporting = store(redmine, desk.store.words.place, options={"tracker": "support"})

    ref = supporting.create(NewTicket(uid=str(uuid7()), subject="?", text="?")).ref

    assert told(redmine, ref)["tracker"]["name"] == "Support"


# ---- one effect --------------------------------------------------------------------------------------------------


@contextmanager
def before(redmine: Redmine, write: Callable[[Callable[[], Response]], Response]) -> Iterator[str]:
    """A wire before Redmine where ``write`` decides what becomes of each PUT; the address."""
    wire = Flask("wire before Redmine")

    @wire.route("/<path:path>", methods=["GET", "POST", "PUT"])
    def passing(path: str) -> Response:
        headers = {name: value for name, value in asked.headers.items() if name not in ("Host", "Connection")}
        given: dict[str, Any] = {
            "params": list(asked.args.items(multi=True)),
            "data": asked.get_data(),
            "headers": headers,
        }
        method = asked.method

        def go() -> Response:
            answer = requests.request(method, f"{redmine.address}/{path}", timeout=60, **given)
            return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))

        return write(go) if method == "PUT" else go()

    with serving(wire) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_lost_answer_is_found_and_not_written_again(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    def lost(go: Callable[[], Response]) -> Response:
        go()
        return Response("<html>Bad Gateway</html>", 502)

    assert desk.at is not None
    change = change_of(ticket, files=(PDF,), status="resolved")
    with before(redmine, lost) as address, pytest.raises(Unreachable):
        desk.at(address).push(change)

    receipt = desk.store.push(change)

    assert receipt.complete
    issue = told(redmine, ticket.ref)
    assert (len(issue["journals"]), len(issue["attachments"])) == (1, 1)


def test_a_request_that_arrives_after_all_makes_the_second_one_useless(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    held: list[Callable[[], Response]] = []

    def late(go: Callable[[], Response]) -> Response:
        held.append(go)
        if len(held) == 1:
            return Response("<html>Gateway Timeout</html>", 504)
        held[0]()  # at the worst moment: the second try has already looked
        return go()

    assert desk.at is not None
    change = change_of(ticket, files=(PDF,), status="resolved")
    with before(redmine, late) as address:
        impatient = desk.at(address)
        with pytest.raises(Unreachable):
            impatient.push(change)
        with pytest.raises(Retry):
            impatient.push(change)
        receipt = impatient.push(change)

    assert receipt.complete
    assert len(held) == 2
    issue = told(redmine, ticket.ref)
    assert (len(issue["journals"]), len(issue["attachments"])) == (1, 1)


def test_somebody_who_writes_at_the_same_moment_makes_us_try_again(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    def busy(_go: Callable[[], Response]) -> Response:
        return Response('{"errors":[]}', 422, content_type="application/json")

    assert desk.at is not None
    with before(redmine, busy) as address, pytest.raises(Retry, match="looked for again"):
        desk.at(address).push(change_of(ticket))


def test_what_redmine_refuses_is_said_in_its_own_words(redmine: Redmine, desk: Bench) -> None:
    with pytest.raises(Rejected, match="Redmine refuses: .*255"):
        desk.store.create(NewTicket(uid=str(uuid7()), subject="长" * 300, text="?"))


def test_a_file_that_a_person_took_away_is_put_back_without_a_second_note(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    change = desk.push(ticket, files=(PDF,))
    (file,) = desk.ours(change)[0].files
    ask(redmine, "DELETE", f"/attachments/{file.ref}.json")
    found = desk.store.find(change.uid, ticket.ref)
    assert found is not None
    assert not found.complete

    receipt = desk.store.push(change)

    assert receipt.complete
    (note,) = desk.store.thread(ticket.ref)
    assert desk.hashes(note) == [hashlib.sha256(PDF.content).hexdigest()]
    assert desk.store.push(change) == receipt


def test_a_file_that_is_too_large_is_said_and_the_limit_learnt(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    large = NewFile(name="report.pdf", media_type="application/pdf", content=b"x" * 20_001)
    with redmine.setting("attachment_max_size", "10"):
        with pytest.raises(TooBig, match="report.pdf"):
            desk.store.push(change_of(ticket, files=(large,)))

        assert desk.store.caps.max_file == 10 * 1024
        with pytest.raises(TooBig):
            desk.store.push(change_of(ticket, files=(large,)))

    assert told(redmine, ticket.ref)["journals"] == []


def test_the_limit_of_the_mapping_is_kept_without_asking(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    assert isinstance(desk.store, RedmineStore)
    small = store(redmine, desk.store.words.place, options={"attachment_max_kb": "1"})

    with pytest.raises(TooBig):
        small.push(change_of(ticket, files=(PDF,)))

    assert small.caps.max_file == 1024


def test_an_extension_that_redmine_forbids_is_rejected(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    with (
        redmine.setting("attachment_extensions_denied", "pdf"),
        pytest.raises(Rejected, match="Redmine refuses") as caught,
    ):
        desk.store.push(change_of(ticket, files=(PDF,)))

    assert not isinstance(caught.value, TooBig)
    assert told(redmine, ticket.ref)["journals"] == []


@pytest.mark.parametrize("name", ["报告: 1/2?.pdf", "C:\\temp\\a<b>|c.pdf", "with space & 'quote'.pdf"])
def test_a_file_name_that_redmine_changes_is_known_again(desk: Bench, ticket: StoreTicket, name: str) -> None:
    change = change_of(ticket, files=(replace(PDF, name=name),))

    assert desk.store.push(change).complete
    assert desk.store.push(change).complete

    assert len(desk.ours(change)[0].files) == 1


# ---- what it tells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '* eins\n# zwei\n<pre>{{toc}}</pre> @admin #1 r2 "link":http://it.example !bild!',
        "  eingerückt\n\n\n\tTabulator\n> — somebody · fieldapp:0193",
        "_x_ -y- +z+ |a|b| `code` ~~~\n---\nh1. Titel",
    ],
)
def test_neither_textile_nor_markdown_garbles_a_note(desk: Bench, ticket: StoreTicket, text: str) -> None:
    change = desk.push(ticket, text, author="王磊")

    (note,) = desk.ours(change)

    assert (note.text, note.author) == (text, "王磊")


def test_what_a_person_writes_is_a_note_and_what_a_person_changes_is_none(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    path = f"/issues/{ticket.ref}.json"
    headers = {"X-Redmine-API-Key": redmine.keys["agent"], "Content-Type": "application/octet-stream"}
    photo = requests.post(f"{redmine.address}/uploads.json?filename=a.jpg", b"jpeg", headers=headers, timeout=60).json()
    upload = {"token": photo["upload"]["token"], "filename": "a.jpg", "content_type": "image/jpeg"}
    ask(redmine, "PUT", path, {"issue": {"notes": "客户来电\r\n仍然蓝屏"}}, user="agent")
    ask(redmine, "PUT", path, {"issue": {"status_id": 4}}, user="agent")
    ask(redmine, "PUT", path, {"issue": {"uploads": [upload]}}, user="agent")

    notes = desk.store.thread(ticket.ref)

    assert [(note.text, note.author, note.uid, len(note.files)) for note in notes] == [
        ("客户来电\n仍然蓝屏", "Agent Example", None, 0),
        ("", "Agent Example", None, 1),
    ]
    assert desk.store.content(notes[1].files[0]) == b"jpeg"
    now = desk.now(ticket.ref)
    assert (now.status, now.changed_by) == ("waiting_customer", "Agent Example")


def test_two_changes_in_one_second_are_two_versions(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    seen = []
    for _change in range(2):
        desk.push(ticket)
        redmine.rows("UPDATE issues SET updated_on = '2026-11-22 10:00:00' WHERE id = ?", ticket.ref)
        seen.append(desk.store.ticket(ticket.ref))

    assert seen[0].updated == seen[1].updated
    assert seen[0].version != seen[1].version


def test_a_closed_ticket_comes_by_the_feed(desk: Bench, ticket: StoreTicket) -> None:
    _seen, cursor = desk.all_changes("")

    desk.push(ticket, status="closed")

    assert [each.status for each in desk.all_changes(cursor)[0] if each.ref == ticket.ref] == ["closed"]


def test_a_ticket_that_was_closed_as_a_duplicate_says_of_which(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    kept = desk.filed()
    relation = {"relation": {"issue_to_id": int(kept.ref), "relation_type": "duplicates"}}
    ask(redmine, "POST", f"/issues/{ticket.ref}/relations.json", relation)
    assert desk.store.ticket(ticket.ref).merged_into is None

    desk.push(ticket, "Doppelt gemeldet", status="closed")

    now = desk.now(ticket.ref)
    assert (now.merged_into, desk.now(kept.ref).merged_into) == (kept.ref, None)
    assert now.version != ticket.version


def test_what_ended_is_told_by_whom_and_what_is_hidden_or_deleted_is_noticed_by_the_slow_pass(
    redmine: Redmine, desk: Bench
) -> None:
    deleted, closed, merged, remains, hidden, stays = (desk.filed() for _number in range(6))
    pull(desk.store)
    statuses = {row["name"]: row["id"] for row in ask(redmine, "GET", "/issue_statuses.json")["issue_statuses"]}
    shut = {"issue": {"status_id": statuses["Closed"]}}
    ask(redmine, "DELETE", f"/issues/{deleted.ref}.json")
    ask(redmine, "PUT", f"/issues/{closed.ref}.json", shut, user="agent")
    relation = {"issue_to_id": int(remains.ref), "relation_type": "duplicates"}
    ask(redmine, "POST", f"/issues/{merged.ref}/relations.json", {"relation": relation})
    ask(redmine, "PUT", f"/issues/{merged.ref}.json", shut, user="agent")
    ask(redmine, "PUT", f"/issues/{hidden.ref}.json", {"issue": {"project_id": not_ours(redmine)}})

    tickets = after_the_slow_pass(desk)
    assert {ref: ticket.ended for ref, ticket in tickets.items()} == {
        deleted.ref: "gone",
        closed.ref: "closed",
        merged.ref: "merged",
        remains.ref: None,
        hidden.ref: "gone",
        stays.ref: None,
    }
    assert tickets[merged.ref].merged_into == remains.ref
    news = {(line.ticket.ref, line.kind): line.by for line in db.session.scalars(select(TicketNews))}
    assert news[closed.ref, "changed"] == news[merged.ref, "merged"] == "Agent Example"
    assert {ref for ref, kind in news if kind == "gone"} == {deleted.ref, hidden.ref}
    assert stays.ref not in {ref for ref, _kind in news}


def not_ours(redmine: Redmine) -> int:
    """The number of a project that our user may not see."""
    name = f"p-{secrets.token_hex(4)}"
    asked = {"name": name, "identifier": name, "is_public": False, "tracker_ids": [1, 2, 3]}
    return int(ask(redmine, "POST", "/projects.json", {"project": asked})["project"]["id"])


@pytest.mark.crash
def test_a_move_out_of_redmine_that_is_killed_goes_on_and_brings_everything_once(
    redmine: Redmine, desk: Bench, tmp_path: Path
) -> None:
    filed = [desk.filed() for _number in range(5)]
    change = change_of(filed[1], files=(PDF,), status="resolved")
    desk.store.push(change)
    place, secret = desk.store.words.place, redmine.keys["fieldapp"]  # type: ignore[attr-defined]
    move = Move(folder=tmp_path, name="redmine", address=redmine.address, secret=secret, place=place)

    dry = move.run("--dry-run")
    assert "5 would be imported with 1 entries and 1 files" in dry.stdout, dry.stderr
    assert move.arrived() == 0
    killed = move.run(crash_at="in_import:2")
    assert (killed.returncode, move.arrived()) == (-signal.SIGKILL, 2)
    resumed = move.run()

    assert "3 imported" in resumed.stdout, resumed.stderr
    there = {ticket.number: ticket for ticket in db.session.scalars(select(DeskTicket))}
    assert there.keys() == {ticket.ref for ticket in filed}
    (note,) = there[filed[1].ref].notes
    assert (note.uid, there[filed[1].ref].status) == (change.uid, "resolved")
    assert blobs.get(note.files[0].sha256) == PDF.content


def test_the_record_is_written_where_people_can_filter_for_it(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    change = desk.push(ticket)
    later = Change(uid=f"{change.uid}:status", ticket=ticket.ref, note="?", status="resolved")

    desk.store.push(later)

    fields = {field["name"]: field["value"] for field in told(redmine, ticket.ref)["custom_fields"]}
    assert fields["ServiceRecordId"] == change.uid


def test_a_ticket_filed_by_a_person_is_told_in_our_words(redmine: Redmine, desk: Bench) -> None:
    assert isinstance(desk.store, RedmineStore)
    values = [
        {"id": redmine.fields["CustomerId"], "value": "C-7"},
        {"id": redmine.fields["Channel"], "value": "Telephone"},
    ]
    body = {"project_id": desk.store.words.place, "subject": "?", "priority_id": 5, "custom_fields": values}
    issue = ask(redmine, "POST", "/issues.json", {"issue": {**body, "description": "a\nb"}}, user="agent")["issue"]
    mapped = store(redmine, desk.store.words.place, channels=Words({"telephone": "hotline"}))

    ticket = mapped.ticket(str(issue["id"]))

    assert (ticket.customer, ticket.text, ticket.changed_by) == ("C-7", "a\nb", "Agent Example")
    assert ticket.fields == {"number": ticket.ref, "priority": "urgent", "channel": "hotline"}


def test_an_issue_that_vanishes_while_it_is_read_is_left_out(
    redmine: Redmine, desk: Bench, ticket: StoreTicket
) -> None:
    gone = desk.filed()
    assert isinstance(desk.store, RedmineStore)
    rows = [{"id": int(ref)} for ref in (gone.ref, ticket.ref)]
    ask(redmine, "DELETE", f"/issues/{gone.ref}.json")

    assert [each.ref for each in desk.store._whole(rows)] == [ticket.ref]


def test_a_cursor_that_is_none_of_ours_starts_from_the_beginning(desk: Bench, ticket: StoreTicket) -> None:
    assert [each.ref for each in desk.store.changes("17", 10).tickets] == [ticket.ref]


def test_an_empty_project_has_an_empty_feed_that_settles(desk: Bench) -> None:
    page = desk.store.changes("", 10)

    assert (page.tickets, page.more) == ((), False)
    assert desk.store.changes(page.cursor, 10) == page


# ---- messages from Redmine -----------------------------------------------------------------------------------------

SECRET = "a secret that Redmine knows"
# Redmine 7, app/models/webhook_payload.rb: `type`, `timestamp`, `data.issue`, `data.journal`
OWN = {
    "type": "issue.updated",
    "timestamp": "2026-11-22T10:00:00Z",
    "data": {"issue": {"id": 17}, "journal": {"id": 3}},
}
# Plug-in redmine_webhook (github.com/suer/redmine_webhook), README "Post Data Example"
PLUGIN = {
    "payload": {
        "action": "updated",
        "issue": {"id": 17, "subject": "?"},
        "journal": {"id": 3},
        "url": "https://it.example",
    }
}
# Plug-in redmine-http-integration (github.com/petoc/redmine-http-integration), lib/http_integration.rb
OTHER = {"type": "issue", "issue": {"issue": {"id": 17}}, "journal": {"journal": {"id": 3}}}


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Redmine-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.fixture
def listener(app: Flask) -> RedmineStore:
    return RedmineStore(Connection(address="https://redmine.it.example", secret="k", hook_secret=SECRET))


@pytest.mark.parametrize("message", [OWN, PLUGIN, OTHER])
def test_a_message_that_proves_itself_is_a_hint(listener: RedmineStore, message: object) -> None:
    body = json.dumps(message).encode()

    by_signature = listener.heard(signed(body), body)
    by_secret = listener.heard({"x-fieldapp-secret": SECRET}, body)

    assert [hint.ticket for hint in by_signature] == ["17"]
    assert by_signature == by_secret
    assert by_signature != listener.heard(signed(body + b" "), body + b" ")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Fieldapp-Secret": "another"},
        {"X-Fieldapp-Secret": ""},
        {"X-Redmine-Signature-256": "sha256="},
        signed(b"another body"),
        signed(json.dumps(OWN).encode(), "another"),
        {**signed(json.dumps(OWN).encode()), "X-Fieldapp-Secret": "另一个"},
    ],
)
def test_a_message_that_proves_nothing_is_denied(listener: RedmineStore, headers: dict[str, str]) -> None:
    with pytest.raises(Denied):
        listener.heard(headers, json.dumps(OWN).encode())


def test_without_a_secret_of_ours_no_message_is_believed(app: Flask) -> None:
    deaf, body = RedmineStore(Connection(address="https://redmine.it.example")), json.dumps(OWN).encode()

    for headers in ({}, {"X-Fieldapp-Secret": ""}, signed(body, "")):
        with pytest.raises(Denied):
            deaf.heard(headers, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[1]",
        b'{"type": "wiki_page.created", "data": {"wiki_page": {"id": 1}}}',
        b'{"issue": {"id": true}}',
    ],
)
def test_a_message_about_no_ticket_is_rejected(listener: RedmineStore, body: bytes) -> None:
    with pytest.raises(Rejected, match="about no ticket"):
        listener.heard(signed(body), body)


def test_our_mark_is_the_last_line_that_people_see(redmine: Redmine, desk: Bench, ticket: StoreTicket) -> None:
    change = desk.push(ticket, "已更换电源", author="王磊")

    (journal,) = told(redmine, ticket.ref)["journals"]

    assert journal["notes"] == marks.mark("已更换电源", author="王磊", uid=change.uid)
    assert journal["notes"].splitlines()[-1].startswith("— 王磊 · ")
