"""Reading a CSV file as spreadsheets write it: encoding, separator, headings, and Excel's own ideas.

Nothing here knows the database: a file becomes rows of clean values, or sentences about what is wrong where.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieldapp.errors import Invalid, TooLarge
from fieldapp.i18n import _

MOST_BYTES = 10 * 1024 * 1024
MOST_ROWS = 20_000
MOST_SHOWN = 80
SEPARATORS = (",", ";", "\t")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TEXT_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
SCIENTIFIC = re.compile(r"\d(\.\d+)?E\+\d+", re.IGNORECASE)
ERRORS = ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!")
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # half a character among them


class BadCell(ValueError):
    """A cell cannot be what its column needs; the text is one sentence."""


@dataclass(frozen=True)
class Column:
    """A column of a file: field ``name``, the headings people write, and how a cell becomes a value.

    ``parse`` gets the trimmed text and raises BadCell with a sentence.
    """

    name: str
    headings: tuple[str, ...]
    parse: Callable[[str], Any] = str
    required: bool = False
    most: int = 0
    example: str = ""

    def value(self, text: str) -> Any:
        """The value of a cell that is not empty (raises BadCell)."""
        if text in ERRORS:
            raise BadCell(_("The spreadsheet could not calculate this cell."))
        if SCIENTIFIC.fullmatch(text):
            raise BadCell(_("The spreadsheet has rounded this number. Format the column as text and type it again."))
        if UNREADABLE.search(text):
            raise BadCell(_("There are unreadable characters in this cell."))
        if self.most and len(text) > self.most:
            raise BadCell(_("Write at most %(max)d characters.", max=self.most))
        return self.parse(text)


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong. ``row`` is the row that a spreadsheet shows; 0 means the file as a whole."""

    sheet: str
    row: int
    column: str
    value: str
    sentence: str


@dataclass
class Row:
    """A row of clean values by field name. A cell that is empty is not among them."""

    number: int
    values: dict[str, Any]


@dataclass
class Sheet:
    """A file that was read: the rows that are right, those that are not (with their right cells), what is wrong
    with them, and headings that nobody knows."""

    name: str
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)
    refused: list[Row] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    row_count: int = 0

    def heading(self, name: str) -> str:
        """What people call a column: its first heading."""
        return next((column.headings[0] for column in self.columns if column.name == name), name)

    def complain(self, row: int, column: str, value: object, sentence: str) -> None:
        """Note what is wrong in a row; ``column`` is a field name or empty."""
        shown = "" if value is None else str(value).encode("utf-8", "replace").decode()
        shown = shown if len(shown) <= MOST_SHOWN else shown[: MOST_SHOWN - 1] + "…"
        self.wrong.append(Wrong(self.name, row, self.heading(column), shown, sentence))


def read(name: str, content: bytes, columns: Sequence[Column]) -> Sheet:
    """Read one file. What concerns the whole file is a complaint about row 0 or about its headings."""
    sheet = Sheet(name, columns)
    try:
        cells = list(_records(decoded(content)))
    except (Invalid, TooLarge) as error:
        sheet.complain(0, "", "", error.sentence)
        return sheet
    numbered = [(number, row) for number, row in enumerate(cells, start=1) if any(row)]
    if not numbered:
        sheet.complain(0, "", "", _("The file is empty."))
        return sheet
    (heading_row, headings), *body = numbered
    places = _places(sheet, heading_row, headings)
    if len(body) > MOST_ROWS:
        sheet.complain(0, "", "", _("The file has more than %(max)d rows. Please split it.", max=MOST_ROWS))
    elif not sheet.wrong:
        _read_rows(sheet, body, places, len(headings))
    return sheet


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8 with or without BOM, UTF-16 with BOM, else GB18030 (raises Invalid, TooLarge)."""
    if len(content) > MOST_BYTES:
        raise TooLarge(_("The file is larger than %(max)d MB. Please split it.", max=MOST_BYTES // 1024 // 1024))
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise Invalid(_("This is a workbook. In the spreadsheet choose “Save as” and the format CSV UTF-8."))
    for encoding in _encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text.removeprefix("\ufeff")
    raise Invalid(_("The characters of this file cannot be read. Save it as CSV UTF-8."))


def guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe before = + - @, which reading takes off again."""
    return f"'{text}" if text.startswith((*FORMULA_STARTS, "'")) else text


def written(rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file as spreadsheets like it (UTF-8 with BOM, CRLF), free of formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([guarded(str(cell)) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


# ---- from text to cells -----------------------------------------------------------------------------------


def _encodings(content: bytes) -> tuple[str, ...]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    if content.startswith(b"\xef\xbb\xbf"):
        return ("utf-8-sig",)
    return ("utf-8", "gb18030")


def _records(text: str) -> Iterator[list[str]]:
    """Rows of trimmed cells, in the rows a spreadsheet counts (raises Invalid)."""
    separator, text = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            sentence = _("The quotation marks in line %(line)d do not fit together.", line=reader.line_num)
            raise Invalid(sentence) from error
        yield [_clean(cell) for cell in row]


def _separator(text: str) -> tuple[str, str]:
    """(separator, text without Excel's own ``sep=;`` line): what the heading line uses most."""
    first, _line_end, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip("\r")) == 5:
        return first[4], rest
    line = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=bare.count), text


def _clean(cell: str) -> str:
    """A cell without the traces of spreadsheets: ``="0123"``, a leading apostrophe, spaces of any width."""
    cell = cell.replace("\u200b", "").replace("\ufeff", "").strip()
    if match := TEXT_FORMULA.fullmatch(cell):
        cell = match[1].replace('""', '"').strip()
    if cell.startswith("'") and (cell[1:2].isdigit() or cell[1:2] in ("'", *FORMULA_STARTS)):
        cell = cell[1:].strip()
    return cell


# ---- from cells to rows -------------------------------------------------------------------------------------


def _places(sheet: Sheet, row: int, headings: list[str]) -> dict[int, Column]:
    known = {_name(heading): column for column in sheet.columns for heading in (*column.headings, column.name)}
    places: dict[int, Column] = {}
    for place, heading in enumerate(headings):
        column = known.get(_name(heading))
        if column is None:
            sheet.unknown += [heading] if heading else []
        elif column in places.values():
            sheet.complain(row, column.name, heading, _("This column is there twice."))
        else:
            places[place] = column
    for column in sheet.columns:
        if column.required and column not in places.values():
            sheet.complain(row, column.name, "", _("The column is missing."))
    return places


def _name(heading: str) -> str:
    return re.sub(r"[\s_*:：()（）]+", "", unicodedata.normalize("NFKC", heading)).lower()


def _read_rows(sheet: Sheet, body: list[tuple[int, list[str]]], places: dict[int, Column], width: int) -> None:
    sheet.row_count = len(body)
    for number, cells in body:
        before = len(sheet.wrong)
        if any(cells[width:]):
            sheet.complain(number, "", cells[width], _("This row has more cells than there are headings."))
        values = _values(sheet, number, cells, places)
        (sheet.rows if len(sheet.wrong) == before else sheet.refused).append(Row(number, values))


def _values(sheet: Sheet, number: int, cells: list[str], places: dict[int, Column]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for place, column in places.items():
        text = cells[place] if place < len(cells) else ""
        if not text:
            if column.required:
                sheet.complain(number, column.name, "", _("This must not be empty."))
            continue
        try:
            values[column.name] = column.value(text)
        except BadCell as error:
            sheet.complain(number, column.name, text, str(error))
    return values
