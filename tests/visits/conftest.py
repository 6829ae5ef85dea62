"""Visits in any state, and an engineer's browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.transitions import CLOSED


@pytest.fixture
def phone(logged_in: Callable[[User], FlaskClient], engineer: User) -> FlaskClient:
    """The browser in which the visit's engineer is logged in."""
    return logged_in(engineer)


@pytest.fixture
def put_into() -> Callable[[Visit, str], Visit]:
    """``put_into(visit, "working")`` sets the state as if everything before had happened."""

    @operation
    def put(visit: Visit, status: str) -> Visit:
        visit.status = status
        visit.closed_at = clock.now() if status in CLOSED else None
        return visit

    return put


@pytest.fixture
def events() -> Callable[[Visit], list[VisitEvent]]:
    """All events of a visit, oldest first, read anew."""

    def read(visit: Visit) -> list[VisitEvent]:
        db.session.rollback()
        query = db.select(VisitEvent).where(VisitEvent.visit_id == visit.id).order_by(VisitEvent.seq)
        return list(db.session.scalars(query))

    return read
