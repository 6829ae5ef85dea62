"""``flask import-tickets``: years of tickets into the desk, each once, whatever is wrong or breaks on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select, update

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.customers.models import Asset, Customer
from fieldapp.extensions import db, operation
from fieldapp.outbox import Promise, promise
from fieldapp.storage import blobs
from fieldapp.sync.pull import pull
from fieldapp.tickets import commands, imports, moving
from fieldapp.tickets.desk.models import DeskNote, DeskTicket
from fieldapp.tickets.desk.queries import ticket_or_404
from fieldapp.tickets.mapping import StoreMapping
from fieldapp.tickets.models import Ticket, TicketNews
from fieldapp.tickets.operations import take_in
from fieldapp.tickets.store import Denied, Rejected, Retry, StoreError, StoreFile, StoreNote
from fieldapp.tickets.stores import STORES
from fieldapp.tickets.stores.embedded import EmbeddedStore
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from tests.conftest import SECRET
from tests.sync.telling import Telling, a_ticket

HEADINGS = "工单编号,主题,问题描述,状态,优先级,报修时间,更新时间,客户编号,序列号,联系人,联系人手机,受理人"
LINE = "OLD-1,服务器无法启动,开机后蓝屏,已关闭,紧急,2024-05-10 09:30,2024/5/12 16:00,C-1001,ZW3000-0001,陈晓,13900000001,赵敏"
NOTES = "工单编号,时间,作者,内容,附件\nOLD-1,2024-05-11 10:00,王磊,已更换电源,report.pdf\nOLD-1,2024-05-10 11:00,赵敏,已派单,\n"


@pytest.fixture
def run(app: Flask) -> Callable[..., Result]:
    def invoke(*arguments: object) -> Result:
        db.session.rollback()
        return app.test_cli_runner().invoke(args=["import-tickets", *map(str, arguments)])

    return invoke


@pytest.fixture
def files(tmp_path: Path, asset: Asset) -> Path:
    """A folder with tickets, their threads and a file."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "tickets.csv").write_text(f"{HEADINGS}\n{LINE}\n", "utf-8")
    (folder / "notes.csv").write_text(NOTES, "utf-8")
    (folder / "report.pdf").write_bytes(b"%PDF-1.7 old")
    return folder


def numbers() -> list[str]:
    return sorted(db.session.scalars(select(DeskTicket.number)))


# ---- from CSV -------------------------------------------------------------------------------------------


def test_a_ticket_keeps_number_dates_status_customer_thread_and_files(run: Callable[..., Result], files: Path) -> None:
    result = run(files / "tickets.csv", "--notes", files / "notes.csv")

    assert result.exit_code == 0, result.output
    assert "1 tickets read: 1 imported with 2 entries and 1 files, 0 here already" in result.output
    ticket = ticket_or_404("OLD-1")
    assert (ticket.status, ticket.priority, ticket.subject) == ("closed", "urgent", "服务器无法启动")
    assert (ticket.customer_number, ticket.asset_serial, ticket.contact_name) == ("C-1001", "ZW3000-0001", "陈晓")
    assert ticket.opened_at == datetime(2024, 5, 10, 1, 30, tzinfo=UTC)
    assert ticket.changed_at == datetime(2024, 5, 12, 8, 0, tzinfo=UTC)
    assert [(note.version, note.author, note.text) for note in ticket.notes] == [
        (2, "赵敏", "已派单"),
        (3, "王磊", "已更换电源"),
    ]
    file = ticket.notes[1].files[0]
    assert (file.name, file.media_type, blobs.get(file.sha256)) == ("report.pdf", "application/pdf", b"%PDF-1.7 old")


def test_our_copy_is_made_at_once_linked_and_without_news(run: Callable[..., Result], files: Path) -> None:
    run(files / "tickets.csv")

    copy = db.session.scalars(select(Ticket)).one()
    assert copy.customer is not None
    assert (copy.store, copy.ref, copy.customer.number, copy.asset and copy.asset.serial) == (
        "embedded",
        "OLD-1",
        "C-1001",
        "ZW3000-0001",
    )
    pull(EmbeddedStore())
    assert db.session.scalar(select(func.count()).select_from(TicketNews)) == 0


def test_the_same_file_twice_imports_nothing_twice(run: Callable[..., Result], files: Path) -> None:
    run(files / "tickets.csv", "--notes", files / "notes.csv")

    result = run(files / "tickets.csv", "--notes", files / "notes.csv")

    assert "0 imported with 0 entries and 0 files, 1 here already" in result.output
    assert db.session.scalar(select(func.count()).select_from(DeskNote)) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_file_may_be_in_any_of_these_encodings(run: Callable[..., Result], files: Path, encoding: str) -> None:
    (files / "tickets.csv").write_bytes(f"{HEADINGS}\n{LINE}\n".encode(encoding))

    assert run(files / "tickets.csv").exit_code == 0
    assert ticket_or_404("OLD-1").subject == "服务器无法启动"


def test_a_dry_run_says_every_mistake_by_line_and_field_and_writes_nothing(
    run: Callable[..., Result], files: Path
) -> None:
    lines = [
        LINE,
        "OLD-1,重复,,,,,,,,,,",
        ",没有编号,,,,,,,,,,",
        "OLD-3,,,,,,,,,,,",
        "OLD-4,状态,,外星,,,,,,,,",
        "OLD-5,日期,,,,上周,,,,,,",
        "OLD-6,未来,,,,2099-01-01,,,,,,",
        "OLD-7,客户,,,,,,C-9999,,,,",
        "OLD-8,电话,,,,,,,,,abc,",
    ]
    (files / "tickets.csv").write_text("\n".join([HEADINGS + ",颜色", *(f"{line}," for line in lines)]), "utf-8")
    (files / "notes.csv").write_text(
        "工单编号,时间,作者,内容,附件\nOLD-9,2024-05-11,王磊,没有工单,\nOLD-1,2024-05-11,王磊,x,../secret;missing.pdf\n",
        "utf-8",
    )

    result = run(files / "tickets.csv", "--notes", files / "notes.csv", "--dry-run")

    assert result.exit_code == 1
    for words in (
        "tickets.csv row 3, 工单编号 (OLD-1): Row 2 has the same number",
        "tickets.csv row 4, 工单编号: This must not be empty.",
        "tickets.csv row 5, 主题: This must not be empty.",
        "tickets.csv row 6, 状态 (外星): We have no word for this.",
        "tickets.csv row 7, 报修时间 (上周): Write day and time as 2026-11-21 14:30.",
        "tickets.csv row 8, 报修时间 (2099-01-01): This day lies in the future",
        "tickets.csv row 10, 联系人手机 (abc): Write a phone number",
        "notes.csv row 2, 工单编号 (OLD-9): The file of tickets has no ticket of this number.",
        "notes.csv row 3, 附件 (../secret): Files must lie beside the file",
        "notes.csv row 3, 附件 (missing.pdf): There is no such file.",
        "The column '颜色' is not known and is left out.",
        "1 customer numbers are not in the customer file (import-customers brings them): C-9999",
        "2 tickets read: 2 would be imported",
        "10 wrong: left out.",
    ):
        assert words in result.output, result.output
    assert numbers() == []


def test_a_file_with_mistakes_imports_nothing_until_one_says_so(run: Callable[..., Result], files: Path) -> None:
    (files / "tickets.csv").write_text(f"{HEADINGS}\n{LINE}\nOLD-2,坏,,外星,,,,,,,,\n", "utf-8")

    refused = run(files / "tickets.csv")
    assert (refused.exit_code, numbers()) == (1, [])
    assert "Nothing was imported" in refused.output

    taken = run(files / "tickets.csv", "--leave-out-wrong")
    assert (taken.exit_code, numbers()) == (1, ["OLD-1"])


def test_statuses_are_mapped_by_the_other_systems_words(run: Callable[..., Result], files: Path) -> None:
    (files / "tickets.csv").write_text(
        "number,subject,status,priority\nA-1,x,Erledigt,P1\nA-2,x,resolved,low\n", "utf-8"
    )
    (files / "words.toml").write_text('[statuses.read]\n"erledigt" = "resolved"\n[priorities.read]\n"P1" = "urgent"\n')

    assert run(files / "tickets.csv", "--mapping", files / "words.toml").exit_code == 0

    assert (ticket_or_404("A-1").status, ticket_or_404("A-1").priority) == ("resolved", "urgent")
    assert (ticket_or_404("A-2").status, ticket_or_404("A-2").priority) == ("resolved", "low")
    (files / "words.toml").write_text("[statuses\n")
    assert "is not TOML" in run(files / "tickets.csv", "--mapping", files / "words.toml").output


def test_a_number_that_the_desk_uses_already_is_not_taken_from_it(
    run: Callable[..., Result], files: Path, store: EmbeddedStore
) -> None:
    run(files / "tickets.csv")
    db.session.execute(update(DeskTicket).values(uid="somebody's"))
    db.session.commit()

    result = run(files / "tickets.csv")

    assert "OLD-1): The number OLD-1 is used by another ticket already." in result.output


@pytest.fixture
def store(app: Flask) -> EmbeddedStore:
    return EmbeddedStore()


def test_files_of_the_ticket_itself_are_its_first_entry(run: Callable[..., Result], files: Path) -> None:
    (files / "tickets.csv").write_text("number,subject,opened,files\nA-1,x,2024-05-10,report.pdf\n", "utf-8")

    run(files / "tickets.csv")

    assert [note.files[0].name for note in ticket_or_404("A-1").notes] == ["report.pdf"]


@pytest.mark.crash
def test_an_import_that_is_killed_half_way_goes_on_and_doubles_nothing(
    run: Callable[..., Result], files: Path, tmp_path: Path
) -> None:
    rows = [f"N-{number:03d},问题 {number}" for number in range(140)]
    (files / "tickets.csv").write_text("\n".join(["number,subject", *rows]), "utf-8")
    db.session.rollback()
    environment = {
        **os.environ,
        "FIELDAPP_DATA_DIR": str(tmp_path),
        "FIELDAPP_SECRET_KEY": SECRET,
        "FIELDAPP_CRASH_AT": "in_import:2",
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "import-tickets", str(files / "tickets.csv")]

    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert len(numbers()) == 50
    assert "90 imported with 0 entries and 0 files, 50 here already" in run(files / "tickets.csv").output
    assert len(numbers()) == len(set(numbers())) == 140
    changes = db.session.scalars(select(DeskTicket.change).order_by(DeskTicket.change)).all()
    assert list(changes) == list(range(1, 141))


# ---- from JSON ------------------------------------------------------------------------------------------


def test_json_holds_threads_and_files_in_the_ticket(run: Callable[..., Result], files: Path) -> None:
    told = {
        "number": 17,
        "subject": "打印机卡纸",
        "status": "resolved",
        "opened_at": "2024-05-10T09:30:00+08:00",
        "notes": [{"at": "2024-05-11T10:00:00Z", "author": "王磊", "text": "已处理", "files": ["report.pdf"]}],
    }
    (files / "tickets.json").write_bytes(json.dumps({"tickets": [told]}, ensure_ascii=False).encode("gb18030"))

    result = run(files / "tickets.json")

    assert result.exit_code == 0, result.output
    ticket = ticket_or_404("17")
    assert (ticket.status, ticket.opened_at) == ("resolved", datetime(2024, 5, 10, 1, 30, tzinfo=UTC))
    assert ticket.changed_at == datetime(2024, 5, 11, 10, tzinfo=UTC)
    assert blobs.get(ticket.notes[0].files[0].sha256) == b"%PDF-1.7 old"


def test_mistakes_in_json_are_named_by_ticket_and_place(run: Callable[..., Result], files: Path) -> None:
    told: list[Any] = [
        "text",
        {"number": "A-1", "subject": {"a": 1}, "colour": "red"},
        {"number": "A-2", "subject": "x", "notes": "none"},
        {"number": "A-3", "subject": "x", "notes": [{"at": "2024-05-10", "text": "ok"}, {"text": "no time"}, 7]},
        {"number": "A-4", "subject": "x", "notes": [{"at": "2024-05-10", "files": [7, *["x"] * 30]}]},
        {"number": "A-5", "subject": "x", "files": ["a\x00b", "\ud83d.pdf"]},
        {"number": "A-6", "subject": "half an emoji \ud83d"},
    ]
    (files / "tickets.json").write_text(json.dumps(told), "utf-8")

    result = run(files / "tickets.json", "--dry-run")

    for words in (
        "tickets.json row 1 (text): This must be an object",
        "tickets.json row 2, 主题: This must be a text.",
        "tickets.json row 3, notes (none): This must be a list.",
        "tickets.json row 4, notes[2].at: This must not be empty.",
        "tickets.json row 4, notes[3] (7): This must be an object",
        "tickets.json row 5, 附件 (31): At most 20 files at a time.",
        "tickets.json row 6, 附件 (a\x00b): This must be a text.",
        "tickets.json row 6, 附件 (?.pdf): This must be a text.",
        "tickets.json row 7, 主题 (half an emoji ?): There are unreadable characters",
        "The column 'colour' is not known",
    ):
        assert words in result.output, result.output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "This is not JSON"),
        (b'{"tickets": 3}', "must hold a list of tickets"),
        (b"\xff\xff\xff", "characters of this file cannot be read"),
        (b"[" * 100_000, "This is not JSON"),
    ],
)
def test_a_json_file_that_is_none_gets_a_sentence(
    run: Callable[..., Result], files: Path, content: bytes, sentence: str
) -> None:
    (files / "tickets.json").write_bytes(content)

    result = run(files / "tickets.json")

    assert (result.exit_code, sentence in result.output) == (1, True), result.output


def test_what_is_too_large_gets_a_sentence(
    run: Callable[..., Result], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "tickets.json").write_text(json.dumps([{"number": "1", "subject": "x", "files": ["report.pdf"]}] * 3))
    for name, most, sentence in (
        ("MOST_TICKETS", 2, "more than 2 rows"),
        ("LARGEST_FILE", 3, "This file is larger than"),
        ("LARGEST_JSON", 3, "The file is larger than"),
    ):
        monkeypatch.setattr(imports, name, most)
        assert sentence in run(files / "tickets.json", "--dry-run").output
        monkeypatch.undo()


def test_the_help_names_every_column(run: Callable[..., Result]) -> None:
    said = run("--help").output

    for column in (*imports.columns(StoreMapping()), *imports.note_columns()):
        assert column.name in said
        assert column.headings[0] in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name either a FILE or --from-store."),
        (["report.pdf"], "FILE must end in .csv or .json."),
        (["empty.json", "--notes", "notes.csv"], "--notes goes with a CSV file"),
        (["empty.csv"], "The file is empty."),
        (["--from-store", "redmine"], "FIELDAPP_STORE_URL must be the address"),
    ],
)
def test_what_makes_no_sense_gets_a_sentence(
    run: Callable[..., Result], files: Path, arguments: list[str], sentence: str
) -> None:
    (files / "empty.json").write_text("[]")
    (files / "empty.csv").write_text("")
    given = [files / each if "." in each else each for each in arguments]

    result = run(*given)

    assert result.exit_code != 0
    assert sentence in result.output


# ---- from a store ----------------------------------------------------------------------------------------


class Other(Telling):
    """A company's store with a thread, a file and a ticket of ours."""


@pytest.fixture
def other(app: Flask, asset: Asset) -> Other:
    store = Other(
        *(a_ticket(str(number), status="closed", fields={"number": f"OLD-{number}"}) for number in range(1, 8))
    )
    file = StoreFile(name="报告.pdf", media_type="application/pdf", size=3, sha256=None, ref="f1")
    store.files["f1"] = b"pdf"
    at = clock.now() - timedelta(minutes=30)
    store.notes["1"] = [
        StoreNote(ref="n1", at=at, author="客服小李", text="已电话联系", files=(file,)),
        StoreNote(ref="n2", at=at, author="王磊", text="我们的记录", uid="record:1"),
    ]
    return store


def moved(store: Telling, **more: Any) -> moving.Summary:
    db.session.rollback()
    return moving.from_store(store, **{"dry_run": False, "say": lambda _sentence: None, **more})


def test_a_stores_tickets_come_with_thread_files_and_our_own_marks(other: Other) -> None:
    summary = moved(other)

    assert (summary.read, summary.new, summary.notes, summary.files, summary.problems) == (7, 7, 2, 1, [])
    ticket = ticket_or_404("OLD-1")
    assert [(note.author, note.uid == "record:1") for note in ticket.notes] == [("客服小李", False), ("王磊", True)]
    assert blobs.get(ticket.notes[0].files[0].sha256) == b"pdf"
    assert moved(other).new == 0


def test_a_note_of_ours_that_stands_there_twice_comes_twice_and_the_second_is_nobodys_mark(other: Other) -> None:
    first = other.notes["1"][1]
    other.notes["1"].append(replace(first, ref="n3"))
    other.notes["2"] = [first]

    assert moved(other).problems == []

    marks = db.session.scalars(select(DeskNote.uid).order_by(DeskNote.id)).all()
    assert (len(marks), marks.count("record:1")) == (4, 1)


def test_a_merged_ticket_says_into_which_and_brings_only_what_is_its_own(other: Other) -> None:
    own = StoreNote(ref="own", at=clock.now(), author="客服小李", text="重复报修")
    other.notes["2"] = [*other.notes["1"], own]
    for ref, into in (("2", "1"), ("3", "99")):
        other.tickets[ref] = replace(other.tickets[ref], merged_into=into, changed_by="客服小张")

    assert moved(other).files == 1

    texts = [[(note.author, note.text) for note in ticket_or_404(f"OLD-{number}").notes] for number in (2, 3)]
    assert texts == [
        [("客服小李", "重复报修"), ("客服小张", "Merged into ticket OLD-1.")],
        [("客服小张", "Merged into ticket 99.")],
    ]


def test_our_copy_goes_over_with_its_visit_and_what_waits_to_be_delivered(
    other: Other, dispatcher: User, engineer: User
) -> None:
    other.tickets["2"] = replace(other.tickets["2"], status="in_progress")
    copy = take_in(other.tickets["2"], store="redmine")
    visit = visits.draft(copy, by=dispatcher)

    @operation
    def waiting() -> None:
        promise("visit_unfinished", {}, lane=copy.lane, uid="waits", store="redmine")
        promise("record_signed", {}, lane=copy.lane, uid="inside")

    waiting()
    key = visit.id

    moved(other)

    there = db.session.get_one(Visit, key).ticket
    assert (there.store, there.ref, there.number) == ("embedded", "OLD-2", "OLD-2")
    rows = db.session.execute(select(Promise.uid, Promise.lane, Promise.store).order_by(Promise.lane_seq)).all()
    assert [tuple(row) for row in rows] == [
        ("waits", "embedded:OLD-2", "embedded"),
        ("inside", "embedded:OLD-2", None),
    ]
    assert db.session.scalar(select(func.count()).select_from(Ticket)) == 7


def test_a_move_that_breaks_goes_on_after_the_last_page(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PAGE", 2)
    asked: list[str] = []

    def breaks(cursor: str) -> None:
        asked.append(cursor)
        if cursor == "4" and asked.count("4") == 1:
            raise Denied("The key was revoked.")

    other.before_page = breaks
    with pytest.raises(Denied):
        moved(other)
    assert len(numbers()) == 4

    summary = moved(other)

    assert (summary.new, len(numbers())) == (3, 7)
    assert asked == ["", "2", "4", "4", "6"]
    assert moved(other).here == 7


def test_a_store_that_asks_to_wait_is_waited_for(other: Other) -> None:
    answers = iter([Retry("Too many requests.", after=7), Retry("Too many requests.")])

    def refuses(_cursor: str) -> None:
        if error := next(answers, None):
            raise error

    other.before_page, waited = refuses, list[float]()

    assert moved(other, pause=waited.append).new == 7
    assert waited == [7, 2]


def test_a_store_that_never_answers_is_given_up(other: Other) -> None:
    def refuses(_cursor: str) -> None:
        raise Retry("Too many requests.")

    other.before_page, waited = refuses, list[float]()

    with pytest.raises(Retry):
        moved(other, pause=waited.append)
    assert len(waited) == moving.TRIES - 1


def test_a_file_that_cannot_be_read_is_said_and_the_rest_comes(other: Other) -> None:
    class Refusing(Other):
        def content(self, file: StoreFile) -> bytes:
            raise Rejected("It was deleted.")

    refusing = Refusing(*other.log)
    refusing.notes = other.notes

    summary = moved(refusing)

    assert summary.problems == ["1: The file “报告.pdf” could not be read: It was deleted."]
    assert [len(note.files) for note in ticket_or_404("OLD-1").notes] == [0, 0]


def test_a_ticket_that_is_deleted_while_it_is_read_is_left_out_and_the_rest_comes(other: Other) -> None:
    def deleted(ref: str) -> None:
        if ref == "3":
            raise Rejected("There is no ticket 3.")

    other.before_thread = deleted

    summary = moved(other)

    assert (summary.read, summary.new, summary.left) == (7, 6, 1)
    assert summary.problems == ["3: Its entries could not be read, so it was left out: There is no ticket 3."]
    assert "OLD-3" not in numbers()

    other.before_thread = lambda _ref: None
    assert (moved(other).new, len(numbers())) == (1, 7)


def test_a_number_that_is_used_or_too_long_is_left_out_and_said(other: Other) -> None:
    more = [a_ticket("8", fields={"number": "OLD-1"}), a_ticket("9", fields={"number": "x" * 41})]
    crowded = Other(*other.log, *more)

    summary = moved(crowded)

    assert (summary.new, summary.left) == (7, 2)
    assert summary.problems == [
        "8: The number OLD-1 is used by another ticket already.",
        "9: The number is longer than 40 characters.",
    ]


def test_a_long_subject_is_cut_and_stands_whole_in_the_text(other: Other) -> None:
    long = Other(a_ticket("1", subject="长" * 300, text="描述", status="odd", fields={"channel": "fax", "type": "doa"}))

    moved(long)

    ticket = ticket_or_404("1")
    assert (len(ticket.subject), ticket.text) == (200, "长" * 300 + "\n\n描述")
    assert (ticket.status, ticket.channel, ticket.type) == ("in_progress", "hotline", "doa")


def test_a_store_that_leads_in_a_circle_ends_with_a_sentence(other: Other) -> None:
    class Stuck(Other):
        def changes(self, cursor: str, limit: int) -> Any:
            return replace(super().changes("", limit), cursor="1", more=True)

    with pytest.raises(StoreError, match="again and again"):
        moved(Stuck(*other.log))
    assert len(numbers()) == 7


def test_a_dry_run_over_a_store_writes_nothing(other: Other) -> None:
    summary = moved(other, dry_run=True)

    assert (summary.new, summary.files, numbers()) == (7, 1, [])


def test_the_command_moves_out_of_the_installations_store(
    run: Callable[..., Result], app: Flask, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(app.extensions["settings"], store_url="https://tickets.example")
    monkeypatch.setitem(app.extensions, "settings", there)
    monkeypatch.setitem(STORES, "redmine", lambda _connection: other)

    assert "7 would be imported" in run("--from-store", "redmine", "--dry-run").output
    result = run("--from-store", "redmine")
    assert (result.exit_code, "7 imported" in result.output) == (0, True), result.output

    def breaks(_cursor: str) -> None:
        raise Denied("The key was revoked.")

    other.before_page = breaks
    assert "it goes on where it stopped" in run("--from-store", "redmine").output
    monkeypatch.setitem(app.extensions, "settings", replace(there, ticket_store="redmine"))
    assert "New tickets are still filed in redmine" in run("--from-store", "redmine").output


def test_many_mistakes_are_not_all_said(
    run: Callable[..., Result], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_SAID", 2)
    (files / "tickets.csv").write_text("number,subject\n" + "A,\n" * 5, "utf-8")

    assert "… and 3 more" in run(files / "tickets.csv").output


def test_strangers_are_counted_and_the_first_ten_named(run: Callable[..., Result], files: Path) -> None:
    rows = "".join(f"A-{n},x,C-{n}\n" for n in range(20, 40))
    (files / "tickets.csv").write_text(f"number,subject,customer number\n{rows}", "utf-8")

    assert "20 customer numbers" in (said := run(files / "tickets.csv").output)
    assert " …" in said
    assert db.session.scalar(select(func.count()).select_from(Customer)) == 1
