"""Commands about people: the first ones are made here, since no account exists by default."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from fieldapp.accounts import operations, queries
from fieldapp.accounts.models import User
from fieldapp.errors import FieldAppError
from fieldapp.security import ROLES


@click.command("create-user")
@click.argument("username")
@click.option("--name", required=True, help="Name as it is printed on the service record.")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--phone", default="", help="Phone number, for the customer.")
@click.option("--department", default="")
@with_appcontext
def create_user(username: str, name: str, role: str, phone: str, department: str) -> None:
    """Add a person and print a link by which they set their password (once, within a day)."""
    try:
        user = operations.create_user(username, name=name, role=role, phone=phone, department=department, by=None)
    except FieldAppError as error:
        raise _failed(error) from error
    _print_invitation(user)


@click.command("invite")
@click.argument("username")
@with_appcontext
def invite(username: str) -> None:
    """Print a link by which a person sets a first or a forgotten password (once, within a day)."""
    _print_invitation(_named(username))


@click.command("disable-user")
@click.argument("username")
@with_appcontext
def disable_user(username: str) -> None:
    """Log a person out everywhere and let them in no longer."""
    operations.disable(_named(username).id, by=None)
    click.echo(f"{username} is logged out everywhere and cannot log in.")


@click.command("enable-user")
@click.argument("username")
@with_appcontext
def enable_user(username: str) -> None:
    """Let a disabled person in again, with the password of before."""
    operations.enable(_named(username).id, by=None)
    click.echo(f"{username} can log in again.")


@click.command("list-users")
@with_appcontext
def list_users() -> None:
    """Print everybody: log-in name, role, state, name."""
    for user in queries.people():
        state = "disabled" if not user.is_active else "active" if user.password_hash else "invited"
        click.echo(f"{user.username}\t{user.role}\t{state}\t{user.name}")


COMMANDS = (create_user, invite, disable_user, enable_user, list_users)


def _named(username: str) -> User:
    user = queries.person_named(username)
    if user is None:
        raise click.ClickException(f"Nobody has the log-in name {username!r}; list-users prints all.")
    return user


def _print_invitation(user: User) -> None:
    try:
        token = operations.invite(user.id, by=None)
    except FieldAppError as error:
        raise _failed(error) from error
    click.echo(operations.invitation_link(token))


def _failed(error: FieldAppError) -> click.ClickException:
    return click.ClickException("\n".join([error.sentence, *error.fields.values()]))
