"""Reading CSV files as spreadsheets and people write them."""

from __future__ import annotations

import csv
import io

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldapp.customers import sheets
from fieldapp.customers.imports import COLUMNS, KINDS
from fieldapp.customers.sheets import Sheet, decoded, guarded, read, written
from fieldapp.errors import Invalid, TooLarge

pytestmark = pytest.mark.usefixtures("app")
SITES = COLUMNS["sites"]
RIGHT = "客户编号,服务地点,地址\nC-1,总部,示例路1号\n"


def sites(text: str, encoding: str = "utf-8") -> Sheet:
    """A sites file that was read."""
    return read("sites", text.encode(encoding), SITES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_every_encoding_of_spreadsheets_is_recognised(encoding: str) -> None:
    sheet = sites(RIGHT, encoding)

    assert sheet.wrong == []
    assert sheet.rows[0].values == {"customer_number": "C-1", "name": "总部", "address": "示例路1号"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_separator_is_recognised(separator: str) -> None:
    sheet = sites(RIGHT.replace(",", separator))

    assert sheet.wrong == []
    assert sheet.rows[0].values["address"] == "示例路1号"


def test_the_separator_line_of_excel_is_no_row() -> None:
    sheet = sites("sep=;\r\n客户编号;服务地点;地址\r\nC-1;;示例路\r\n")

    assert [(wrong.row, wrong.column) for wrong in sheet.wrong] == [(2, "服务地点")]


def test_separators_in_quotation_marks_do_not_count() -> None:
    sheet = sites('客户编号;服务地点;"地址"\nC-1;总部;"a,b,c,d"\n')

    assert sheet.rows[0].values["address"] == "a,b,c,d"


@pytest.mark.parametrize(
    "headings",
    [
        "客户编号,服务地点,地址",
        "Customer number,Site,Address",
        "customer_number,NAME,ADDRESS",
        " 客户 编号：,服务地点*,地址",
    ],
)
def test_headings_may_be_chinese_or_english(headings: str) -> None:
    sheet = sites(f"{headings}\nC-1,总部,示例路1号\n")

    assert sheet.wrong == []
    assert len(sheet.rows) == 1


def test_cells_lose_the_traces_of_excel() -> None:
    sheet = sites('客户编号,服务地点,地址\n="0012",\'007,\u00a0示例路1号 \u3000\n')

    assert sheet.rows[0].values == {"customer_number": "0012", "name": "007", "address": "示例路1号"}


def test_blank_rows_and_empty_columns_are_skipped_but_counted() -> None:
    sheet = sites("客户编号,服务地点,地址,,\n\n,,,,\nC-1,总部,,,\n")

    assert [(wrong.row, wrong.sentence) for wrong in sheet.wrong] == [(4, "This must not be empty.")]
    assert sheet.unknown == []


def test_a_cell_of_several_lines_is_one_row_of_the_spreadsheet() -> None:
    sheet = sites('客户编号,服务地点,地址\nC-1,总部,"一\n二"\nC-2,总部,\n')

    assert sheet.rows[0].values["address"] == "一\n二"
    assert sheet.wrong[0].row == 3


def test_unknown_headings_are_named_and_left_out() -> None:
    sheet = sites("客户编号,服务地点,地址,天气\nC-1,总部,示例路,晴\n")

    assert sheet.unknown == ["天气"]
    assert sheet.wrong == []


def test_a_missing_column_is_said_once() -> None:
    sheet = sites("客户编号,服务地点\nC-1,总部\nC-2,总部\n")

    assert [(wrong.row, wrong.column, wrong.sentence) for wrong in sheet.wrong] == [
        (1, "地址", "The column is missing.")
    ]


def test_a_heading_that_comes_twice_is_wrong() -> None:
    sheet = sites("客户编号,服务地点,地址,Address\nC-1,总部,a,b\n")

    assert "twice" in sheet.wrong[0].sentence


def test_a_row_longer_than_its_headings_is_wrong() -> None:
    sheet = sites("客户编号,服务地点,地址\nC-1,总部,示例路,1号\n")

    assert (sheet.wrong[0].row, sheet.wrong[0].value) == (2, "1号")


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("1.39E+10", "rounded"),
        ("#REF!", "could not calculate"),
        ("C\x07", "unreadable"),
        ("C" * 41, "at most 40"),
    ],
)
def test_cells_that_a_spreadsheet_spoiled_are_wrong(cell: str, sentence: str) -> None:
    sheet = sites(f"客户编号,服务地点,地址\n{cell},总部,示例路\n")

    assert sentence in sheet.wrong[0].sentence
    assert sheet.rows == []
    assert len(sheet.refused) == 1


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n", b",,\n,,\n"])
def test_an_empty_file_is_said_to_be_empty(content: bytes) -> None:
    assert read("sites", content, SITES).wrong[0].sentence == "The file is empty."


def test_a_workbook_is_recognised_and_told_how_to_save() -> None:
    sheet = read("sites", b"PK\x03\x04rest of a zip", SITES)

    assert sheet.wrong[0].row == 0
    assert "CSV UTF-8" in sheet.wrong[0].sentence


@pytest.mark.parametrize("content", [b"\x00\x01\x02\x03", b"\xef\xbb\xbf\xff\xfe", b"\xff\xff\xff"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        decoded(content)


def test_quotation_marks_that_do_not_fit_are_refused() -> None:
    assert "quotation marks" in sites('客户编号,服务地点,地址\nC-1,"总部"x,示例路\n').wrong[0].sentence


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_BYTES", 10)

    with pytest.raises(TooLarge):
        decoded(b"x" * 11)


def test_a_file_with_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_ROWS", 1)

    sheet = sites(RIGHT + "C-2,总部,示例路2号\n")

    assert "more than 1 rows" in sheet.wrong[0].sentence
    assert sheet.rows == []


def test_a_long_value_is_shown_short() -> None:
    sheet = sites(f"客户编号,服务地点,地址\nC-1,总部,{'x' * 300}\n")

    assert len(sheet.wrong[0].value) == sheets.MOST_SHOWN


@pytest.mark.parametrize("cell", ["=1+1", "+86 139", "-2", "@SUM(A1)", "\tx", "'quoted"])
def test_formulas_are_guarded_when_written_and_come_back_when_read(cell: str) -> None:
    assert guarded(cell).startswith("'")

    sheet = read("sites", written([("客户编号", "服务地点", "地址"), ("C-1", cell, "示例路")]), SITES)

    assert sheet.rows[0].values["name"] == cell.strip()


CELL = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30).filter(
    lambda text: text.strip() == text and not text.startswith("'") and not text.startswith('="')
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5), separator=st.sampled_from(",;\t"))
def test_what_a_spreadsheet_writes_is_what_is_read(rows: list[tuple[str, str, str]], separator: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([("客户编号", "服务地点", "地址"), *rows])

    sheet = read("sites", out.getvalue().encode("utf-8-sig"), SITES)

    complaints = {wrong.row for wrong in sheet.wrong}
    addresses = {row.number: row.values["address"] for row in sheet.rows}
    for number, row in enumerate(rows, start=2):
        plain = row[2].replace("\u200b", "").replace("\ufeff", "").strip()
        assert number in complaints or addresses.get(number) == plain


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=st.binary(max_size=300), kind=st.sampled_from(KINDS))
def test_no_bytes_whatsoever_break_the_reader(content: bytes, kind: str) -> None:
    sheet = read(kind, content, COLUMNS[kind])

    assert sheet.wrong or sheet.rows or sheet.row_count == 0


def test_complaints_are_in_the_language_of_the_reader(app: Flask) -> None:
    with app.test_request_context("/?lang=en"):
        assert sites("客户编号,服务地点,地址\nC-1,,示例路\n").wrong[0].sentence == "This must not be empty."
