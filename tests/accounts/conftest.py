"""People with passwords, a clock that tests can turn, and the pages of later steps that these tests lead to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
import time_machine
from flask import Flask, g, jsonify
from flask_login import current_user
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts import handover, passwords
from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.extensions import db, operation
from fieldapp.i18n import locale_name
from fieldapp.security import EVERYONE, requires
from tests.conftest import PASSWORD

PIN = "7391"


@functools.cache
def hashed(secret: str) -> str:
    """A hash, made once: it takes a while."""
    return passwords.hashed(secret)


@operation
def give(user: User, **values: object) -> User:
    """Change columns of a person and commit."""
    for name, value in values.items():
        setattr(user, name, value)
    return user


@pytest.fixture
def wang(app: Flask, engineer: User) -> User:
    """An engineer with a password and a PIN."""
    return give(engineer, password_hash=hashed(PASSWORD), pin_hash=hashed(PIN))


@pytest.fixture
def boss(app: Flask, admin: User) -> User:
    """An administrator with a password."""
    return give(admin, password_hash=hashed(PASSWORD))


@pytest.fixture
def frozen() -> Iterator[time_machine.Traveller]:
    """Time stands still until the test moves it."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def audited(app: Flask) -> Callable[[], list[str]]:
    """The actions in the audit, in order."""
    return lambda: list(db.session.scalars(select(AuditEntry.action).order_by(AuditEntry.seq)))


@pytest.fixture(autouse=True)
def pages(app: Flask) -> None:
    """A page that says who is asking; the two pages of later steps, unless the app has them already."""

    @app.get("/whoami")
    @requires(*EVERYONE)
    def whoami():  # type: ignore[no-untyped-def]
        return jsonify(name=current_user.username, session=str(g.login_session.id), locale=locale_name())

    def page(visit_id: UUID) -> str:
        return f"visit {visit_id}"

    if "records.hand_over" not in app.view_functions:
        view = handover.allowed(requires(*EVERYONE)(lambda visit_id: page(visit_id)))
        app.add_url_rule("/visits/<uuid:visit_id>/hand-over", "records.hand_over", view)
    if "visits.show" not in app.view_functions:
        app.add_url_rule("/visits/<uuid:visit_id>", "visits.show", requires(*EVERYONE)(lambda visit_id: page(visit_id)))
