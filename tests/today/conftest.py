"""An engineer's browser, and a quick way to give the engineer more visits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from flask.testing import FlaskClient

from fieldapp.accounts.models import User
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan

GiveVisit = Callable[..., Visit]


@pytest.fixture
def phone(logged_in: Callable[[User], FlaskClient], engineer: User) -> FlaskClient:
    """The browser in which the engineer is logged in."""
    return logged_in(engineer)


@pytest.fixture
def give(ticket: Ticket, dispatcher: User, engineer: User) -> GiveVisit:
    """``give(start, bring="…")`` is a visit of the engineer at that time."""

    def plan(start: datetime, lead: User = engineer, **more: str) -> Visit:
        visit = operations.draft(ticket, by=dispatcher)
        wanted = Plan(lead_id=lead.id, window_start=start, override_reason="tests", **more)  # type: ignore[arg-type]
        operations.plan(visit, wanted, by=dispatcher)
        return visit

    return plan
