"""The audit log: appended only inside operations, each row chained to the one before, every change of a row found."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from fieldapp import audit
from fieldapp.accounts.models import User
from fieldapp.audit import GENESIS, AuditEntry
from fieldapp.extensions import db, operation


@operation
def note(count: int = 1, by: User | None = None, **facts: str | int | bool | None) -> list[AuditEntry]:
    return [audit.record("tested", "thing", f"{n}", by=by.id if by else None, **facts) for n in range(count)]


def test_rows_are_numbered_and_chained(app: Flask, admin: User) -> None:
    note(by=admin, old="客户", count=3)

    first, second, third = db.session.query(AuditEntry).order_by(AuditEntry.seq)
    assert [first.seq, second.seq, third.seq] == [1, 2, 3]
    assert (first.previous_hash, second.previous_hash, third.previous_hash) == (GENESIS, first.hash, second.hash)
    assert audit.first_broken() is None


def test_an_empty_log_is_whole(app: Flask) -> None:
    assert audit.first_broken() is None


def test_facts_keep_their_kinds(app: Flask, admin: User) -> None:
    note(by=admin, text="a", number=7, yes=True, nothing=None)
    db.session.expire_all()

    assert db.session.get_one(AuditEntry, 1).facts == {"text": "a", "number": 7, "yes": True, "nothing": None}
    assert audit.first_broken() is None


def test_nothing_is_recorded_outside_an_operation(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="inside an operation"):
        audit.record("tested", "thing", "1", by=None)


def test_what_is_rolled_back_leaves_no_row(app: Flask) -> None:
    @operation
    def fail() -> None:
        audit.record("tested", "thing", "1", by=None)
        raise ValueError

    note()
    with pytest.raises(ValueError):
        fail()
    note()

    assert db.session.query(AuditEntry).count() == 2
    assert audit.first_broken() is None


CHANGES = {
    "the action": ("UPDATE audit_entry SET action = 'other' WHERE seq = 3", 3),
    "a fact": ("""UPDATE audit_entry SET facts = '{"n": 2}' WHERE seq = 4""", 4),
    "who": ('UPDATE audit_entry SET "by" = NULL WHERE seq = 2', 2),
    "the subject": ("UPDATE audit_entry SET subject_id = 'x' WHERE seq = 2", 2),
    "its hash": ("UPDATE audit_entry SET hash = 'f' WHERE seq = 3", 3),
    "a row taken out": ("DELETE FROM audit_entry WHERE seq = 2", 2),
    "the first row taken out": ("DELETE FROM audit_entry WHERE seq = 1", 1),
    "a row taken out and the numbers closed": (
        "DELETE FROM audit_entry WHERE seq = 3; UPDATE audit_entry SET seq = seq - 1 WHERE seq > 3",
        3,
    ),
}


@pytest.mark.parametrize(("statements", "row"), CHANGES.values(), ids=CHANGES)
def test_every_change_past_the_app_is_found(app: Flask, admin: User, statements: str, row: int) -> None:
    note(5, by=admin, n=1)
    without_triggers()
    with db.engine.begin() as connection:
        for statement in statements.split(";"):
            connection.execute(text(statement))

    assert audit.first_broken() == row


def test_a_moved_moment_is_found(app: Flask) -> None:
    note(2)
    without_triggers()
    with db.engine.begin() as connection:
        entry = db.session.get_one(AuditEntry, 2)
        moved = AuditEntry.__table__.update().where(AuditEntry.seq == 2).values(at=entry.at - timedelta(seconds=1))
        db.session.rollback()
        connection.execute(moved)

    assert audit.first_broken() == 2


def without_triggers() -> None:
    """Somebody with the database file in hand."""
    db.session.rollback()
    with db.engine.begin() as connection:
        for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
            connection.execute(text(f"DROP TRIGGER {name}"))


def test_the_command_says_it(app: Flask) -> None:
    note(2)
    whole = app.test_cli_runner().invoke(args=["verify-audit"])
    without_triggers()
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE audit_entry SET action = 'other' WHERE seq = 2"))
    broken = app.test_cli_runner().invoke(args=["verify-audit"])

    assert (whole.exit_code, whole.output) == (0, "The audit log is whole.\n")
    assert broken.exit_code == 1
    assert "row 2 does not fit" in broken.output
