"""A row is held until the operation ends, whatever was loaded beside it (the sentence is PostgreSQL's; no server is needed)."""

from __future__ import annotations

from typing import cast

from sqlalchemy import ClauseElement, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import ORMExecuteState

from fieldapp.accounts.models import User
from fieldapp.extensions import db, locked, operation
from fieldapp.visits.models import Visit
from fieldapp.visits.queries import visit_or_404


def test_only_the_row_itself_is_held_when_it_was_read_with_outer_joins(visit: Visit, dispatcher: User) -> None:
    said: list[str] = []

    def note(state: ORMExecuteState) -> None:
        said.append(str(cast(ClauseElement, state.statement).compile(dialect=postgresql.dialect())))

    @operation
    def hold(held: Visit) -> None:
        locked(held)

    key = visit.id
    db.session.expunge(visit)  # as a request finds it: not read yet
    page = visit_or_404(key, dispatcher)  # joins site, contact, asset and engineer, each of which may be missing
    event.listen(db.session, "do_orm_execute", note)
    try:
        hold(page)
    finally:
        event.remove(db.session, "do_orm_execute", note)

    [asked] = [each for each in said if "FOR UPDATE" in each]
    assert "LEFT OUTER JOIN" in asked
    assert asked.endswith("FOR UPDATE OF visit")
