"""``flask import-customers``: the same check and load as the page, for the person at the server."""

from __future__ import annotations

from pathlib import Path

import click
from flask.cli import with_appcontext

from fieldapp.customers import imports
from fieldapp.customers.imports import Report

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import-customers")
@click.option("--customers", type=_FILE, help="CSV file of customers, with their first contact.")
@click.option("--sites", type=_FILE, help="CSV file of service sites.")
@click.option("--assets", type=_FILE, help="CSV file of devices and products.")
@click.option("--load", is_flag=True, help="Load the rows. Without it they are only checked.")
@with_appcontext
def import_customers(customers: Path | None, sites: Path | None, assets: Path | None, load: bool) -> None:
    """Check CSV files of customers, sites and assets, and with --load put them into the database: all or nothing.

    Exit status 1 when a row is wrong; each is printed with its file, row, column and what is wrong with it.
    """
    given = {"customers": customers, "sites": sites, "assets": assets}
    files = {kind: path.read_bytes() for kind, path in given.items() if path}
    if not files:
        raise click.UsageError("Name at least one file: --customers, --sites or --assets.")
    report = imports.load(files, by=None) if load else imports.check(files)
    _say(report)
    if not report.ok:
        click.echo(f"{len(report.wrong)} wrong. Nothing was loaded.", err=True)
        raise SystemExit(1)
    click.echo("Loaded." if report.loaded else "All rows are right. Add --load to load them.")


def _say(report: Report) -> None:
    for each in report.wrong:
        place = ", ".join(part for part in (f"row {each.row}" if each.row else "", each.column) if part)
        shown = f" ({each.value})" if each.value else ""
        click.echo(f"{each.sheet} {place}{shown}: {each.sentence}".replace("  ", " "), err=True)
    for outcome in report.outcomes:
        click.echo(
            f"{outcome.kind}: {outcome.rows} rows, {outcome.new} new, {outcome.changed} changed, {outcome.same} the same"
        )
        for heading in outcome.unknown:
            click.echo(f"{outcome.kind}: the column {heading!r} is not known and was left out", err=True)
