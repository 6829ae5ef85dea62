"""How migrations run: on the app's own engine; SQLite tables are copied in batches."""

from __future__ import annotations

from typing import Any

from alembic import context
from flask import current_app

database = current_app.extensions["migrate"].db
options: dict[str, Any] = dict(current_app.extensions["migrate"].configure_args)
options["user_module_prefix"] = ""  # migrations import UtcDateTime by name


def run_offline() -> None:
    """Print the SQL instead of running it."""
    url = database.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=database.metadata, literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run on a connection of the app's engine, one transaction for each revision."""
    with database.engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=database.metadata, transaction_per_migration=True, **options
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
