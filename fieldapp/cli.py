"""Every command that people run. Commands of one step of the work live with it; here they are gathered."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import flask_migrate
from flask import Flask
from flask.cli import with_appcontext

from fieldapp import audit, doctor, serve
from fieldapp.accounts import commands as accounts
from fieldapp.config import ROOT
from fieldapp.customers import commands as customers
from fieldapp.demo import journey, seed
from fieldapp.extensions import settings
from fieldapp.i18n import known_locale
from fieldapp.offline import commands as offline
from fieldapp.sync import commands as sync
from fieldapp.tickets import commands as tickets


def init_app(app: Flask) -> None:
    """Register the commands."""
    for command in (seed_demo, serve_all, examine, verify_audit, demo_visit):
        app.cli.add_command(command)
    for command in (
        *accounts.COMMANDS,
        customers.import_customers,
        *sync.COMMANDS,
        offline.restored,
        *tickets.COMMANDS,
    ):
        app.cli.add_command(command)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@with_appcontext
def serve_all(host: str) -> None:
    """Migrate, load the demo day in demo mode, serve web and worker until stopped."""
    flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    if settings.is_demo:
        seed.load_if_empty()
    sys.exit(serve.run(host, int(settings.port), _greeting(host)))


@click.command("seed")
@with_appcontext
def seed_demo() -> None:
    """Load the demo day into an empty database (demo mode only)."""
    _demo_only()
    loaded = seed.load_if_empty()
    click.echo("The demo day is loaded." if loaded else "There are customers already: nothing was loaded.")


@click.command("doctor")
@with_appcontext
def examine() -> None:
    """Look whether everything is well, and say how to mend what is not. Exit status 1 when something is wrong."""
    well = True
    for finding in doctor.findings():
        mark = "well " if not finding.mend else "look " if finding.warning else "WRONG"
        click.echo(f"{mark}  {finding.what}: {finding.says}")
        if finding.mend:
            click.echo(f"       → {finding.mend}")
        well = well and finding.well
    sys.exit(0 if well else 1)


@click.command("verify-audit")
@with_appcontext
def verify_audit() -> None:
    """Check that nobody changed the audit log. Exit status 1 at the first row that does not fit."""
    broken = audit.first_broken()
    if broken is not None:
        raise click.ClickException(f"The audit log was changed: row {broken} does not fit the one before.")
    click.echo("The audit log is whole.")


@click.command("demo-visit")
@click.option("--locale", default="zh_CN", show_default=True, help="Language of the report: zh_CN, zh_TW or en.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where the PDF goes.")
@with_appcontext
def demo_visit(locale: str, out: Path) -> None:
    """Carry one waiting ticket of the demo day to its signed PDF in the ticket store, and say each step's time."""
    _demo_only()
    known = known_locale(locale)
    if known is None:
        raise click.ClickException(f"The language {locale!r} is not spoken here: zh_CN, zh_TW or en.")
    flask_migrate.upgrade(directory=str(ROOT / "migrations"))
    seed.load_if_empty()
    if not journey.run(known, out, say=click.echo):
        raise click.ClickException("Not everything held: see above.")


def _demo_only() -> None:
    if not settings.is_demo:
        raise click.ClickException("This loads well-known log-ins, so it needs demo mode: set FIELDAPP_DEMO=1.")


def _greeting(host: str) -> str:
    lines = ["", f"Field service is at http://{host}:{settings.port}"]
    if settings.is_demo:
        lines.append(f"Demo log-ins, all with the password {seed.PASSWORD!r}:")
        lines += [f"  {role:<11} {', '.join(names)}" for role, names in seed.log_ins().items()]
    return "\n".join([*lines, "Stop with Ctrl-C.", ""])
