"""What the two pages cost: few statements, none that reads the whole table, small on the wire, and nothing is written."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db
from fieldapp.visits.models import Visit
from tests.today.conftest import GiveVisit

Asked = list[tuple[str, Any]]
WHO_IS_IT = 1  # the session and its person
MOST_BYTES = 14 * 1024


@contextmanager
def asked() -> Iterator[Asked]:
    """Every statement that reaches the database meanwhile, with its values."""
    statements: Asked = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.append((statement, values))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


@pytest.fixture
def pages(visit: Visit, give: GiveVisit, engineer: User) -> list[str]:
    """Addresses of both pages, with a day full of work behind them."""
    for number in range(12):
        give(clock.now() + timedelta(hours=number - 6))
    return ["/", f"/?day={(clock.now() + timedelta(days=1)).date()}", f"/visits/{visit.id}"]


def test_a_page_is_at_most_four_statements_and_nobody_reads_a_whole_table(phone: FlaskClient, pages: list[str]) -> None:
    for address in pages:
        with asked() as statements:
            assert phone.get(address).status_code == 200

        assert len(statements) <= 4 + WHO_IS_IT, [statement for statement, _values in statements]
        for statement, values in statements:
            for line in _plan(statement, values):
                assert not line.startswith("SCAN"), f"{line}: {statement}"


def test_a_page_asks_no_more_when_there_are_more_visits(
    phone: FlaskClient, visit: Visit, give: GiveVisit, pages: list[str]
) -> None:
    counts = []
    for _turn in range(2):
        for number in range(15):
            give(clock.now() - timedelta(days=number, hours=2))
        with asked() as statements:
            for address in pages:
                phone.get(address)
        counts.append(len(statements))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("language", ["zh-CN", "zh-TW", "en"])
def test_a_page_with_its_style_sheet_fits_into_the_first_packets(
    language: str, phone: FlaskClient, pages: list[str]
) -> None:
    for address in pages:
        page = phone.get(address, headers={"Accept-Language": language})

        assert len(gzip.compress(page.data)) <= MOST_BYTES, address


def test_looking_changes_nothing(
    phone: FlaskClient, pages: list[str], logged_in: Callable[[User], FlaskClient], dispatcher: User
) -> None:
    desk = logged_in(dispatcher)
    before = _everything()

    for browser in (phone, desk):
        for address in pages:
            browser.get(address)
            browser.head(address)

    assert _everything() == before


def _plan(statement: str, values: Any) -> list[str]:
    rows = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    return [row.detail for row in rows]


def _everything() -> dict[str, list[Any]]:
    """All rows of all tables."""
    db.session.rollback()
    tables = db.metadata.sorted_tables
    return {table.name: [tuple(row) for row in db.session.execute(db.select(table))] for table in tables}
