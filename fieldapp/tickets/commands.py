"""``flask import-tickets``: a company's tickets into the desk, out of a file or out of the store that it used before."""

from __future__ import annotations

from pathlib import Path

import click
from flask.cli import with_appcontext

from fieldapp.customers.sheets import Wrong
from fieldapp.extensions import settings
from fieldapp.tickets import connection, imports, mapping, moving
from fieldapp.tickets.imports import Read
from fieldapp.tickets.mapping import BadMapping, StoreMapping
from fieldapp.tickets.moving import Summary
from fieldapp.tickets.store import StoreError
from fieldapp.tickets.stores import STORES, named

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
MOST_SAID = 200


class _Help(click.Command):
    """The columns are said from where they are read, so that the help cannot be wrong about them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\n" + imports.described() + "\n")


@click.command("import-tickets", cls=_Help)
@click.argument("file", type=_FILE, required=False)
@click.option("--from-store", type=click.Choice(sorted(set(STORES) - {"embedded"})), help="Out of this ticket store.")
@click.option("--notes", type=_FILE, help="CSV file with the threads of the tickets in FILE.")
@click.option(
    "--mapping", "words", type=_FILE, help="TOML file with the other system's words (see FIELDAPP_STORE_MAPPING)."
)
@click.option("--dry-run", is_flag=True, help="Only say what would happen, with every mistake by line and field.")
@click.option("--leave-out-wrong", is_flag=True, help="Import what is right although something is wrong.")
@with_appcontext
def import_tickets(
    file: Path | None,
    from_store: str | None,
    notes: Path | None,
    words: Path | None,
    dry_run: bool,
    leave_out_wrong: bool,
) -> None:
    """Take tickets over into this app's own desk: number, dates, status, customer, thread and files as they were.

    FILE is CSV (UTF-8 or GB18030) or JSON. --from-store reads a store over the connection of this installation
    (FIELDAPP_STORE_URL and so on). Stopped half-way, the same command goes on; nothing is imported twice.
    Exit status 1 when something is wrong.
    """
    if (file is None) == (from_store is None):
        raise click.UsageError("Name either a FILE or --from-store.")
    if from_store:
        _from_store(from_store, dry_run=dry_run)
    elif file:
        _from_file(file, notes, _mapping(words), dry_run=dry_run, leave_out_wrong=leave_out_wrong)


# ---- a file -----------------------------------------------------------------------------------------------


def _from_file(file: Path, notes: Path | None, words: StoreMapping, *, dry_run: bool, leave_out_wrong: bool) -> None:
    if file.suffix.lower() not in (".csv", ".json"):
        raise click.UsageError("FILE must end in .csv or .json.")
    if notes and file.suffix.lower() == ".json":
        raise click.UsageError("--notes goes with a CSV file; in JSON each ticket has its own notes.")
    told = imports.of_json(file, words) if file.suffix.lower() == ".json" else imports.of_csv(file, notes, words)
    _say(told)
    if told.wrong and not (dry_run or leave_out_wrong):
        click.echo(f"{len(told.wrong)} wrong. Nothing was imported; --leave-out-wrong imports the rest.", err=True)
        raise SystemExit(1)
    summary = moving.from_rows(
        told.tickets, source=imports.SOURCE, dry_run=dry_run, say=_progress, loaded=imports.loaded
    )
    _sum_up(summary, dry_run=dry_run)
    if told.wrong:
        click.echo(f"{len(told.wrong)} wrong: left out.", err=True)
        raise SystemExit(1)


def _mapping(words: Path | None) -> StoreMapping:
    """The words of --mapping; without it those of the installation."""
    try:
        return mapping.read(words) if words else connection.of(settings).words
    except BadMapping as error:
        raise click.ClickException(str(error)) from error


def _say(told: Read) -> None:
    for each in told.wrong[:MOST_SAID]:
        click.echo(_in_words(each), err=True)
    if len(told.wrong) > MOST_SAID:
        click.echo(f"… and {len(told.wrong) - MOST_SAID} more", err=True)
    for heading in told.unknown:
        click.echo(f"The column {heading!r} is not known and is left out.", err=True)
    if told.strangers:
        shown = ", ".join(told.strangers[:10]) + (" …" if len(told.strangers) > 10 else "")
        click.echo(
            f"{len(told.strangers)} customer numbers are not in the customer file (import-customers brings them): {shown}",
            err=True,
        )


def _in_words(each: Wrong) -> str:
    place = ", ".join(part for part in (f"row {each.row}" if each.row else "", each.column) if part)
    shown = f" ({each.value})" if each.value else ""
    return f"{each.sheet} {place}{shown}: {each.sentence}".replace("  ", " ").replace(" :", ":")


# ---- a store ----------------------------------------------------------------------------------------------


def _from_store(name: str, *, dry_run: bool) -> None:
    if settings.ticket_store != "embedded" and not dry_run:
        raise click.ClickException(
            f"New tickets are still filed in {settings.ticket_store}. Set FIELDAPP_TICKET_STORE=embedded first and leave"
            " FIELDAPP_STORE_URL, FIELDAPP_STORE_USER and FIELDAPP_STORE_SECRET as they are; then move."
        )
    if not settings.store_url:
        raise click.ClickException("FIELDAPP_STORE_URL must be the address of the store to move from.")
    try:
        summary = moving.from_store(named(name), dry_run=dry_run, say=_progress)
    except BadMapping as error:
        raise click.ClickException(str(error)) from error
    except StoreError as error:
        raise click.ClickException(f"{error} Run the same command again: it goes on where it stopped.") from error
    _sum_up(summary, dry_run=dry_run)
    if summary.problems:
        raise SystemExit(1)


def _progress(sentence: str) -> None:
    click.echo(sentence, err=True)


def _sum_up(summary: Summary, *, dry_run: bool) -> None:
    for sentence in summary.problems[:MOST_SAID]:
        click.echo(sentence, err=True)
    would = "would be imported" if dry_run else "imported"
    click.echo(
        f"{summary.read} tickets read: {summary.new} {would} with {summary.notes} entries and {summary.files} files,"
        f" {summary.here} here already, {summary.left} left out, {len(summary.problems)} to look at."
    )


COMMANDS = (import_tickets,)
