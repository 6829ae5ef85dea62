"""Commands of the worker."""

from __future__ import annotations

import signal
import sys
from threading import Event
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy import select

from fieldapp.extensions import db
from fieldapp.sync import labels, reconcile, worker
from fieldapp.sync.models import Finding
from fieldapp.sync.pull import pull
from fieldapp.tickets.store import StoreError
from fieldapp.tickets.stores import store


@click.command("work")
@click.option("--once", is_flag=True, help="Keep one promise, then end.")
@click.option("--until-idle", is_flag=True, help="Keep everything that is due now, then end.")
@with_appcontext
def work(once: bool, until_idle: bool) -> None:
    """Issue reports, deliver to the ticket store and read its changes, until stopped."""
    if once:
        worker.run_once(worker.worker_name())
    elif until_idle:
        click.echo(f"{worker.run_until_idle()} promises worked on")
    else:
        worker.run(_stop_on_signals())


@click.command("pull")
@with_appcontext
def pull_changes() -> None:
    """Read the ticket store's changes once."""
    try:
        click.echo(f"{pull(store())} tickets read")
    except StoreError as error:
        raise click.ClickException(str(error)) from error


@click.command("reconcile")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3650), help="How far back to look.")
@with_appcontext
def compare(days: int) -> None:
    """Compare what was delivered with what the ticket store holds. Exit status 1 when something differs."""
    theirs = store()
    try:
        compared = sum(1 for _ref in reconcile.steps(theirs, reconcile.begun(theirs.name, days)))
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{compared} tickets compared")
    found = db.session.scalars(select(Finding).where(Finding.cleared_at.is_(None)).order_by(Finding.ticket)).all()
    for each in found:
        click.echo(f"{each.kind:<15} {each.ticket}: {labels.finding(each)}")
    sys.exit(1 if found else 0)


def _stop_on_signals() -> Event:
    """An event that SIGTERM and Ctrl-C set: the promise in hand is still finished."""
    stop = Event()

    def ask(_number: int, _frame: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


COMMANDS = (work, pull_changes, compare)
