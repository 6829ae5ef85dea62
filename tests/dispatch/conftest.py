"""A Wednesday afternoon at the dispatcher's desk: 14:40 in Shanghai."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from time_machine import Traveller

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import uuid7
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.conftest import add

AFTERNOON = datetime(2026, 11, 18, 6, 40, tzinfo=UTC)


@pytest.fixture(autouse=True)
def afternoon() -> Iterator[Traveller]:
    """The clock stands, until a test moves it."""
    with time_machine.travel(AFTERNOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def desk(logged_in: Callable[[User], FlaskClient], dispatcher: User) -> FlaskClient:
    """The dispatcher's browser."""
    return logged_in(dispatcher)


@pytest.fixture
def another(ticket: Ticket) -> Callable[..., Ticket]:
    """``another(subject="…")`` files one more ticket of the same customer."""

    def file(**changes: Any) -> Ticket:
        number = str(uuid7())[-8:]
        fields: dict[str, Any] = {
            "store": "embedded",
            "ref": number,
            "version": "1",
            "number": f"T-{number}",
            "subject": "打印机卡纸",
            "customer_id": ticket.customer_id,
            "opened_at": clock.now(),
            "changed_at": clock.now(),
        }
        made = Ticket(**{**fields, **changes})
        add(made)
        return made

    return file


def planned(ticket: Ticket, engineer: User, dispatcher: User, start: datetime, minutes: int = 30) -> Visit:
    """A visit of an engineer with a window."""
    visit = visits.draft(ticket, by=dispatcher)
    end = start + timedelta(minutes=minutes)
    visits.plan(visit, Plan(lead_id=engineer.id, window_start=start, window_end=end), by=dispatcher)
    return visit


def typed(engineer: User | None, **changes: str) -> dict[str, str]:
    """A plan as the form sends it: today 16:00–16:30."""
    fields = {
        "submission_id": str(uuid7()),
        "lead_id": str(engineer.id) if engineer else "",
        "day": "2026-11-18",
        "window_start": "16:00",
        "window_end": "16:30",
        "kind": "maintenance",
        "bring": "硬盘 2TB",
        "note": "先找陈晓",
    }
    return {**fields, **changes}
