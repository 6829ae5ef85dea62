"""What the pages cost: every statement walks an index, and their number does not grow with the day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import event

from fieldapp.accounts.models import User
from fieldapp.extensions import db
from fieldapp.tickets.models import Ticket
from tests.dispatch.conftest import AFTERNOON, planned

PAGES = ("/dispatch", "/dispatch/table", "/dispatch/table.csv")
GROWING = ("visit", "visit_event", "ticket", "customer", "site", "service_record", "open_item", "outbox")


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every SELECT that is sent meanwhile, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def walks(statement: str, parameters: Any) -> list[str]:
    """What SQLite says it would walk from end to end."""
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    return [str(row[3]) for row in plan if str(row[3]).startswith("SCAN")]


def test_no_statement_walks_a_growing_table(desk: FlaskClient, ticket: Ticket, visit: Any, another: Any) -> None:
    pages = (
        "/dispatch",
        "/dispatch?region=松江&state=open",
        "/dispatch/table?span=week",
        f"/dispatch/tickets/{another().id}/plan",
        f"/dispatch/visits/{visit.id}/plan",
    )
    for page in pages:
        with statements() as seen:
            assert desk.get(page).status_code == 200
        for statement, parameters in seen:
            for step in walks(statement, parameters):
                assert step.split()[1].strip('"') not in GROWING, f"{page}: {step}\n{statement}"


def test_the_number_of_statements_does_not_grow_with_the_day(
    desk: FlaskClient, another: Callable[..., Ticket], engineer: User, dispatcher: User
) -> None:
    planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=1))
    another()
    with statements() as few:
        for page in PAGES:
            desk.get(page)

    for n in range(5):
        planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=2 + n))
        another()
    db.session.expire_all()
    with statements() as many:
        for page in PAGES:
            desk.get(page)

    assert len(many) == len(few)
    assert len(many) <= 20 * len(PAGES)
