"""Tickets of a CSV or JSON file, read and checked: what can be filed, and everything that is wrong, by line and field.

CSV: one line for each ticket; its thread in a second file (``--notes``), a line for each entry, named by the ticket's number.
JSON: a list of tickets (or ``{"tickets": [...]}``), the same names, each with ``notes: [{at, author, text, files: [...]}]``.
``files`` are paths beside the file, in CSV separated by ``;``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from flask_babel import force_locale

from fieldapp import clock
from fieldapp.customers.models import Customer, is_email, is_phone
from fieldapp.customers.sheets import UNREADABLE, BadCell, Column, Row, Sheet, Wrong, read
from fieldapp.errors import Invalid, TooLarge
from fieldapp.extensions import settings
from fieldapp.i18n import LOCALES, _
from fieldapp.storage import blobs
from fieldapp.tickets import labels
from fieldapp.tickets.desk import incoming
from fieldapp.tickets.desk.incoming import WORDS, Incoming, IncomingNote
from fieldapp.tickets.desk.operations import KeptFile
from fieldapp.tickets.desk.uploads import ANYTHING, BEGINNINGS, clean_name
from fieldapp.tickets.mapping import StoreMapping

SOURCE = "file"
LARGEST_FILE = 25 * 1024 * 1024
LARGEST_JSON = 100 * 1024 * 1024
MOST_TICKETS = 20_000
MOST_FILES = 20  # of one entry
OLDEST = 1990
LABELS = {
    "statuses": labels.STATUSES,
    "priorities": labels.PRIORITIES,
    "types": labels.TYPES,
    "channels": labels.CHANNELS,
}
DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]*(.*))?")


@dataclass(frozen=True)
class Read:
    """What a file holds. ``unknown``: headings that nobody knows, and are left out; ``strangers``: customers' numbers that
    the customer file does not have (their tickets are filed without a link)."""

    tickets: list[Incoming] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def of_csv(path: Path, notes: Path | None, words: StoreMapping) -> Read:
    """The tickets of a CSV file, with the threads of another one."""
    sheet = read(path.name, path.read_bytes(), columns(words))
    threads = read(notes.name, notes.read_bytes(), note_columns()) if notes else Sheet("", ())
    beside = path.parent.resolve()
    by_number: dict[str, list[IncomingNote]] = {}
    for row in threads.rows:
        by_number.setdefault(row.values["number"], []).append(_entry(threads, row, beside))
    known = {row.values.get("number") for row in (*sheet.rows, *sheet.refused)}
    for row in threads.rows:
        if row.values["number"] not in known and sheet.row_count:
            sentence = _("The file of tickets has no ticket of this number.")
            threads.complain(row.number, "number", row.values["number"], sentence)
    tickets = [_ticket(sheet, row, by_number.get(row.values["number"], []), beside) for row in sheet.rows]
    return _judged(sheet, tickets, [*sheet.wrong, *threads.wrong], [*sheet.unknown, *threads.unknown])


def of_json(path: Path, words: StoreMapping) -> Read:
    """The tickets of a JSON file."""
    sheet = Sheet(path.name, columns(words))
    try:
        told = _json(path)
    except (Invalid, TooLarge) as error:
        sheet.complain(0, "", "", error.sentence)
        return Read(wrong=sheet.wrong)
    beside, tickets, seen = path.parent.resolve(), [], set[str]()
    for number, each in enumerate(told, start=1):
        before = len(sheet.wrong)
        row = _row(sheet, number, each, sheet.columns, seen, but=("notes",))
        notes = _thread(sheet, number, each, beside)
        if len(sheet.wrong) == before:
            tickets.append(_ticket(sheet, row, notes, beside))
            sheet.rows.append(row)
    return _judged(sheet, tickets, sheet.wrong, sorted(seen))


# ---- columns ----------------------------------------------------------------------------------------------


def columns(words: StoreMapping) -> tuple[Column, ...]:
    """What a ticket's line holds; ``words`` of another system count beside ours."""
    return (
        Column("number", ("工单编号", "ticket number", "工单号", "id"), required=True, most=40, example="T-20240510-0003"),
        Column("subject", ("主题", "subject", "标题", "title"), required=True, most=200, example="服务器无法启动"),
        Column("text", ("问题描述", "description", "描述", "text"), most=10_000, example="开机后蓝屏"),
        Column("status", ("状态", "status"), partial(_word, "statuses", words), example="已关闭"),
        Column("priority", ("优先级", "priority"), partial(_word, "priorities", words), example="紧急"),
        Column("type", ("类型", "type", "工单类型"), partial(_word, "types", words), example="硬件故障"),
        Column("channel", ("来源", "channel", "渠道"), partial(_word, "channels", words), example="电话"),
        Column("opened_at", ("报修时间", "opened", "创建时间", "created"), _moment, example="2024-05-10 09:30"),
        Column("changed_at", ("更新时间", "changed", "修改时间", "updated"), _moment, example="2024-05-12 16:00"),
        Column("opened_by", ("受理人", "opened by", "创建人"), most=80, example="赵敏"),
        Column("customer_number", ("客户编号", "customer number"), most=40, example="C-1001"),
        Column("customer_name", ("客户名称", "customer", "客户"), most=160, example="华东精密机械有限公司"),
        Column("asset_serial", ("序列号", "serial number", "serial", "SN"), most=80, example="ZW3000-0001"),
        Column("product", ("产品", "product", "型号"), most=160, example="ZW-3000"),
        Column("company_phone", ("公司电话", "company phone"), _phone, most=40, example="021-55501234"),
        Column("contact_name", ("联系人", "contact"), most=80, example="陈晓"),
        Column("contact_phone", ("联系人手机", "mobile phone", "手机"), _phone, most=40, example="13900000001"),
        Column("contact_qq", ("联系人QQ", "QQ"), most=40, example="10001"),
        Column("contact_email", ("邮箱", "e-mail", "email"), _email, most=160, example="chen@example.com"),
        Column("named_engineer", ("指定工程师", "engineer", "服务师傅"), most=80, example="王磊"),
        Column("files", ("附件", "files"), example="scan.pdf;foto.jpg"),
    )  # fmt: skip


def note_columns() -> tuple[Column, ...]:
    """What a line of a thread holds."""
    return (
        Column("number", ("工单编号", "ticket number", "工单号", "id"), required=True, most=40, example="T-20240510-0003"),
        Column("at", ("时间", "time", "at"), _moment, required=True, example="2024-05-11 10:00"),
        Column("author", ("作者", "author", "处理人"), most=80, example="王磊"),
        Column("text", ("内容", "text", "note", "备注"), most=10_000, example="已更换电源"),
        Column("files", ("附件", "files"), example="report.pdf"),
    )  # fmt: skip


def described() -> str:
    """Every column with its headings and an example, for --help."""
    lines = ["Columns of tickets (* must be there):", *map(_described, columns(StoreMapping()))]
    return "\n".join([*lines, "", "Columns of --notes, and fields of notes in JSON:", *map(_described, note_columns())])


def _described(column: Column) -> str:
    star = "*" if column.required else " "
    return f" {star} {column.name:<16} {' | '.join(column.headings)}   ({column.example})"


def _word(section: str, words: StoreMapping, text: str) -> str:
    """Our word for what stands there: by the mapping, by our own names, by what pages call it in any language."""
    theirs = getattr(words, section).ours(text, "")
    ours = theirs or _called(section).get(text.casefold(), "")
    if not ours:
        known = ", ".join(LABELS[section])
        raise BadCell(_("We have no word for this. Add it to [%(section)s.read] of the mapping, or write one of: %(words)s.", section=section, words=known))  # fmt: skip
    return str(ours)


@cache
def _called(section: str) -> Mapping[str, str]:
    found = {word: word for word in LABELS[section]}
    for locale in LOCALES:
        with force_locale(locale):
            found |= {str(label).casefold(): word for word, label in LABELS[section].items()}
    return found


def _moment(text: str) -> datetime:
    """A day, or a day and a time; without a zone it is the installation's."""
    match = DAY.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        year, month, day, rest = match.groups()
        moment = datetime.fromisoformat(f"{year}-{int(month):02d}-{int(day):02d}T{_clock(rest or '')}")
    except ValueError as error:
        raise BadCell(_("Write day and time as 2026-11-21 14:30.")) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=settings.zone)
    if moment.year < OLDEST or moment > clock.now() + timedelta(days=1):
        raise BadCell(_("This day lies in the future, or too far back."))
    return moment


def _clock(text: str) -> str:
    """``9:05`` as ISO 8601 wants it; with seconds and a zone as they stand."""
    if not text:
        return "00:00"
    return f"0{text}" if re.match(r"\d:", text) else text


def _phone(text: str) -> str:
    if not is_phone(text):
        raise BadCell(_("Write a phone number with digits, for example 021-5550 1234 or 13900000001."))
    return text


def _email(text: str) -> str:
    if not is_email(text):
        raise BadCell(_("Write an e-mail address with @, for example chen@example.com."))
    return text


# ---- from values to tickets -------------------------------------------------------------------------------


def _ticket(sheet: Sheet, row: Row, notes: list[IncomingNote], beside: Path) -> Incoming:
    """A ticket with its thread; files of the ticket itself are an entry of their own, the first."""
    values = row.values
    if files := _files(sheet, row.number, _paths(values.get("files", "")), beside):
        at = values.get("opened_at") or min((note.at for note in notes), default=clock.now())
        notes = [IncomingNote(ref="files", at=at, author=values.get("opened_by", ""), text="", files=files), *notes]
    last = max((note.at for note in notes), default=None)
    opened = values.get("opened_at") or min((note.at for note in notes), default=clock.now())
    changed = max(filter(None, (opened, values.get("changed_at"), last)))
    return Incoming(
        ref=values["number"],
        number=values["number"],
        subject=values["subject"],
        text=values.get("text", ""),
        status=values.get("status", "new"),
        opened_at=opened,
        changed_at=changed,
        opened_by=values.get("opened_by", ""),
        words={name: values[name] for name in WORDS if name in values},
        notes=tuple(sorted(notes, key=lambda note: note.at)),
    )


def _judged(sheet: Sheet, tickets: list[Incoming], wrong: list[Wrong], unknown: list[str]) -> Read:
    """What is wrong between the tickets, and with what the desk holds already."""
    first: dict[str, int] = {}
    fitting = []
    used = incoming.used(each.number for each in tickets) - incoming.here(SOURCE, [each.ref for each in tickets])
    for row, each in zip(sheet.rows, tickets, strict=True):
        if each.number in first:
            sentence = _("Row %(row)d has the same number; keep one of the two.", row=first[each.number])
            wrong.append(Wrong(sheet.name, row.number, sheet.heading("number"), each.number, sentence))
        elif each.number in used:
            sentence = _("The number %(number)s is used by another ticket already.", number=each.number)
            wrong.append(Wrong(sheet.name, row.number, sheet.heading("number"), each.number, sentence))
        else:
            first[each.number] = row.number
            fitting.append(each)
    ordered = sorted(wrong, key=lambda each: (each.sheet, each.row))
    return Read(fitting, ordered, unknown, _strangers(fitting))


def _strangers(tickets: Iterable[Incoming]) -> list[str]:
    named = {each.words.get("customer_number", "") for each in tickets} - {""}
    known = incoming.among(Customer.number, named)
    return sorted(named - set(known))


# ---- JSON -------------------------------------------------------------------------------------------------


def _json(path: Path) -> list[Any]:
    if path.stat().st_size > LARGEST_JSON:
        raise TooLarge(_("The file is larger than %(max)d MB. Please split it.", max=LARGEST_JSON // 1024 // 1024))
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            told = json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError) as error:
            raise Invalid(_("This is not JSON: %(why)s", why=error)) from error
        told = told.get("tickets") if isinstance(told, dict) else told
        if not isinstance(told, list):
            raise Invalid(_("The file must hold a list of tickets."))
        if len(told) > MOST_TICKETS:
            raise TooLarge(_("The file has more than %(max)d rows. Please split it.", max=MOST_TICKETS))
        return told
    raise Invalid(_("The characters of this file cannot be read. Save it as UTF-8."))


def _row(
    sheet: Sheet, number: int, told: Any, known: Sequence[Column], seen: set[str], *, but: tuple[str, ...], at: str = ""
) -> Row:
    """Clean values of an object by the columns' names; ``at`` is the place inside the ticket, for the complaint."""
    row = Row(number, {})
    if not isinstance(told, dict):
        _complain(sheet, number, at.rstrip("."), told, _("This must be an object with named fields."))
        return row
    seen |= {f"{at}{name}" for name in set(told) - {column.name for column in known} - set(but)}
    for column in known:
        if column.name in but:
            continue
        value = told.get(column.name)
        if isinstance(value, list) and column.name == "files":
            row.values["files"] = value
            continue
        try:
            text = _text(value)
            if text:
                row.values[column.name] = column.value(text)
            elif column.required:
                raise BadCell(_("This must not be empty."))
        except BadCell as error:
            _complain(sheet, number, f"{at}{column.name}", value, str(error))
    return row


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadCell(_("This must be a text."))
    return str(value).strip()


def _complain(sheet: Sheet, number: int, place: str, value: object, sentence: str) -> None:
    sheet.complain(number, place, "" if isinstance(value, dict | list) else value, sentence)


def _thread(sheet: Sheet, number: int, told: Any, beside: Path) -> list[IncomingNote]:
    notes = told.get("notes") if isinstance(told, dict) else None
    if notes is None:
        return []
    if not isinstance(notes, list):
        _complain(sheet, number, "notes", notes, _("This must be a list."))
        return []
    entries = []
    for place, each in enumerate(notes, start=1):
        before = len(sheet.wrong)
        row = _row(sheet, number, each, note_columns()[1:], set(), but=(), at=f"notes[{place}].")
        if len(sheet.wrong) == before:
            row.values["number"] = str(place)
            entries.append(_entry(sheet, row, beside))
    return entries


# ---- entries and their files ------------------------------------------------------------------------------


def _entry(sheet: Sheet, row: Row, beside: Path) -> IncomingNote:
    """An entry; its files are named by their path until they are brought into the storage."""
    files = _files(sheet, row.number, _paths(row.values.get("files", "")), beside)
    author, text = row.values.get("author", ""), row.values.get("text", "")
    ref = f"{row.number}:{row.values['at'].isoformat()}:{row.values['number']}"
    return IncomingNote(ref=ref, at=row.values["at"], author=author, text=text, files=files)


def _paths(listed: Any) -> list[Any]:
    return listed if isinstance(listed, list) else [part.strip() for part in listed.split(";") if part.strip()]


def _files(sheet: Sheet, row: int, paths: Sequence[Any], beside: Path) -> tuple[KeptFile, ...]:
    if len(paths) > MOST_FILES:
        sheet.complain(row, "files", len(paths), _("At most %(most)s files at a time.", most=MOST_FILES))
        return ()
    found = []
    for each in paths:
        try:
            found.append(_file(each, beside))
        except BadCell as error:
            _complain(sheet, row, "files", each, str(error))
    return tuple(found)


def _file(named: Any, beside: Path) -> KeptFile:
    """A file below the folder of the import, not read yet: ``sha256`` holds its path (raises BadCell)."""
    if not isinstance(named, str) or not named or UNREADABLE.search(named):
        raise BadCell(_("This must be a text."))
    path = (beside / named).resolve()
    if not path.is_relative_to(beside):
        raise BadCell(_("Files must lie beside the file that is imported, or in a folder below it."))
    if not path.is_file():
        raise BadCell(_("There is no such file."))
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise BadCell(_("This file is larger than %(max)d MB.", max=LARGEST_FILE // 1024 // 1024))
    return KeptFile(name=clean_name(path.name), media_type="", size=size, sha256=str(path))


def loaded(ticket: Incoming) -> Incoming:
    """The ticket with its files in the storage."""
    return replace(ticket, notes=tuple(_with_content(note) for note in ticket.notes))


def _with_content(note: IncomingNote) -> IncomingNote:
    return replace(note, files=tuple(_kept(file) for file in note.files))


def _kept(file: KeptFile) -> KeptFile:
    content = Path(file.sha256).read_bytes()
    media_type = next((kind for beginning, kind in BEGINNINGS if content.startswith(beginning)), ANYTHING)
    return KeptFile(name=file.name, media_type=media_type, size=len(content), sha256=blobs.put(content))
