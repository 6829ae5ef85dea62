"""The command of the offline step: what to say after a restore."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from fieldapp.offline import operations


@click.command("restored")
@with_appcontext
def restored() -> None:
    """Run once after the data was restored from a backup: phones then send again what they sent since that backup.

    Nothing is done twice: what the backup holds is answered with its old receipt.
    """
    epoch = operations.bump_epoch()
    click.echo(f"This is epoch {epoch} now. Every phone sends again what it had sent in earlier ones (kept 30 days).")
