"""Guessing gets slower and slower: failures are counted in the database, per account and per address.

Nobody is locked out for good. A try is counted before the password is looked at, so that a thousand tries at once
are counted too; success takes the count back.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select

from fieldapp import clock
from fieldapp.accounts.models import LoginFailure, LoginSession
from fieldapp.errors import TryLater
from fieldapp.extensions import db, serialize
from fieldapp.i18n import ngettext

FREE_TRIES = 5
# A mobile network or an office puts many people behind one address: it gets more tries before it must wait.
FREE_TRIES_OF_ADDRESS = 30
FAILURES_COUNT_FOR = timedelta(hours=24)
LONGEST_WAIT = 15 * 60  # seconds
FAMILIAR_FOR = timedelta(days=30)


@dataclass(frozen=True)
class Try:
    """Somebody tries: ``account`` is a keyed hash (a password typed into the wrong field must not be kept)."""

    account: str
    network: str

    @property
    def of_account(self) -> ColumnElement[bool]:
        return LoginFailure.account == self.account

    @property
    def of_network(self) -> ColumnElement[bool]:
        return LoginFailure.address == self.network


def count(attempt: Try, *, familiar: bool) -> UUID:
    """Count this try, inside an operation, and return its key (raises TryLater while it must wait).

    ``familiar``: the person has logged in from there lately. Then only failures from there slow them down, so that
    a stranger elsewhere cannot keep them out.
    """
    serialize(f"log-in {attempt.account}")
    serialize(f"log-in {attempt.network}")
    of_account = attempt.of_account & attempt.of_network if familiar else attempt.of_account
    wait = max(_wait(of_account, FREE_TRIES), _wait(attempt.of_network, FREE_TRIES_OF_ADDRESS))
    if wait:
        raise TryLater(_please_wait(wait), retry_after=wait)
    failure = LoginFailure(account=attempt.account, address=attempt.network, at=clock.now())
    db.session.add(failure)
    db.session.flush()
    return failure.id


def forgive(attempt: Try, counted: UUID) -> None:
    """The try was right: it was no failure, and what failed before on this account from there no longer counts."""
    db.session.execute(
        delete(LoginFailure).where((LoginFailure.id == counted) | (attempt.of_account & attempt.of_network))
    )
    db.session.execute(delete(LoginFailure).where(LoginFailure.at < clock.now() - FAILURES_COUNT_FOR))


def is_familiar(user_id: UUID, address: str) -> bool:
    """Whether this person has logged in from this address within the last month."""
    known = select(LoginSession.id).where(
        LoginSession.user_id == user_id,
        LoginSession.address == address[:60],
        LoginSession.created_at > clock.now() - FAMILIAR_FOR,
    )
    return db.session.scalar(known.limit(1)) is not None


def network_of(address: str) -> str:
    """What is counted as one place: an IPv4 address, or the /64 that one IPv6 connection owns."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _wait(these: ColumnElement[bool], free: int) -> int:
    """Seconds until the next try: none for the first ``free`` failures, then 2, 4, 8 … from the last one on."""
    now = clock.now()
    failures, last = db.session.execute(
        select(func.count(), func.max(LoginFailure.at)).where(these, LoginFailure.at > now - FAILURES_COUNT_FOR)
    ).one()
    if failures < free:
        return 0
    pause = min(2 ** min(failures - free + 1, 20), LONGEST_WAIT)
    return max(0, _seconds_up(last + timedelta(seconds=pause) - now))


def _seconds_up(span: timedelta) -> int:
    return -(-span // timedelta(seconds=1))


def _please_wait(seconds: int) -> str:
    if seconds < 60:
        return ngettext(
            "Too many tries. Please wait %(num)d second and try again.",
            "Too many tries. Please wait %(num)d seconds and try again.",
            seconds,
        )
    minutes = -(-seconds // 60)
    return ngettext(
        "Too many tries. Please wait %(num)d minute and try again.",
        "Too many tries. Please wait %(num)d minutes and try again.",
        minutes,
    )
