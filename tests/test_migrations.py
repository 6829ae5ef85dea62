"""Each migration goes up and down, and the newest one makes what the models say (SQLite; see also test_postgresql)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import inspect, text
from sqlalchemy.exc import DatabaseError

from fieldapp import audit, create_app
from fieldapp.config import ROOT
from fieldapp.extensions import db, operation
from tests.conftest import person, settings_for

FOLDER = str(ROOT / "migrations")


def revisions() -> list[str]:
    """All revisions, oldest first."""
    return [script.revision for script in ScriptDirectory(FOLDER).walk_revisions()][::-1]


def down_and_up_again(revision: str) -> None:
    """Take this revision, take it back, take it again; the schema is each time the same."""
    before = schema()
    flask_migrate.upgrade(directory=FOLDER, revision=revision)
    after = schema()
    flask_migrate.downgrade(directory=FOLDER, revision="-1")
    assert schema() == before, f"{revision} leaves something behind when it is taken back"
    flask_migrate.upgrade(directory=FOLDER, revision=revision)
    assert schema() == after, f"{revision} makes something else the second time"


def schema() -> dict[str, object]:
    """Tables with columns, indexes, keys; and triggers."""
    db.session.remove()
    with db.engine.connect() as connection:
        seen = inspect(connection)
        tables = {
            table: (
                sorted((each["name"], str(each["type"]), each["nullable"]) for each in seen.get_columns(table)),
                sorted(str(each["name"]) for each in seen.get_indexes(table)),
                sorted(str(each["name"]) for each in seen.get_unique_constraints(table)),
                sorted(str(each["name"]) for each in seen.get_foreign_keys(table)),
            )
            for table in seen.get_table_names()
            if table != "alembic_version"
        }
        return {**tables, "triggers": _triggers(connection)}


def _triggers(connection) -> list[str]:  # type: ignore[no-untyped-def]
    if db.engine.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = "SELECT tgname || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal"
    return sorted(connection.execute(text(query)).scalars())


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Flask]:
    """An app on a database without a single table."""
    app = create_app(settings_for(tmp_path))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def test_revisions_are_one_line_of_numbers() -> None:
    assert revisions() == [f"{number:04d}" for number in range(1, len(revisions()) + 1)]


def test_each_revision_goes_up_and_down(empty: Flask) -> None:
    for revision in revisions():
        down_and_up_again(revision)
    flask_migrate.downgrade(directory=FOLDER, revision="base")
    assert schema() == {"triggers": []}


def test_models_are_what_the_newest_migration_makes(app: Flask) -> None:
    flask_migrate.check(directory=FOLDER)


def test_a_model_without_a_migration_is_found(app: Flask) -> None:
    with db.engine.begin() as connection:
        connection.execute(text('ALTER TABLE "user" ADD COLUMN forgotten INTEGER'))

    with pytest.raises(SystemExit):
        flask_migrate.check(directory=FOLDER)


@pytest.mark.parametrize("statement", ["UPDATE audit_entry SET action = 'nothing'", "DELETE FROM audit_entry"])
def test_the_audit_log_cannot_be_changed_behind_the_app(app: Flask, statement: str) -> None:
    _note()
    with pytest.raises(DatabaseError), db.engine.begin() as connection:
        connection.execute(text(statement))


@operation
def _note() -> None:
    audit.record("test", "test", "1", by=None)


def test_people_survive_going_down_and_up(app: Flask) -> None:
    person("wanglei", "engineer")
    newest = revisions()[-1]
    if newest == "0001":
        pytest.skip("there is one revision only")
    flask_migrate.downgrade(directory=FOLDER, revision="0001")
    flask_migrate.upgrade(directory=FOLDER)
    assert db.session.scalar(text('SELECT username FROM "user"')) == "wanglei"
