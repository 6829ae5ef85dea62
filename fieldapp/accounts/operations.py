"""Log-in, log-out, passwords, PINs, sessions, invitations."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from sqlalchemy import func, select, update

from fieldapp import audit, clock
from fieldapp.accounts import passwords
from fieldapp.accounts.models import Invitation, LoginFailure, LoginSession, User
from fieldapp.errors import Invalid, NotFound, TryLater
from fieldapp.extensions import db, operation, settings
from fieldapp.i18n import _

COOKIE = "fieldapp"
SECURE_COOKIE = "__Host-fieldapp"
# engineers work offline for days; the office is at a desk (security.md, sessions)
LIFETIMES = {"engineer": (timedelta(days=14), timedelta(days=30))}
OFFICE_LIFETIME = (timedelta(hours=12), timedelta(days=7))
TOUCH_EVERY = timedelta(minutes=10)
FREE_TRIES = 5
FAILURES_COUNT_FOR = timedelta(minutes=30)
INVITATION_LASTS = timedelta(hours=24)


def cookie_name() -> str:
    """``__Host-`` needs https; without it (a demo on this machine) the plain name."""
    return SECURE_COOKIE if settings.https else COOKIE


def lifetimes(user: User) -> tuple[timedelta, timedelta]:
    """(idle, absolute) life of a session of this person."""
    return LIFETIMES.get(user.role, OFFICE_LIFETIME)


def keyed_hash(token: str) -> str:
    """What is kept of a token: useless to whoever reads the database."""
    return hmac.digest(settings.key.encode(), token.encode(), "sha256").hex()


# ---- sessions ---------------------------------------------------------------------------------------


@operation
def open_session(user: User, *, user_agent: str, address: str) -> str:
    """Log a device in and return its token (256 random bits), which is not kept: only its keyed hash is."""
    token, now = secrets.token_urlsafe(32), clock.now()
    idle, absolute = lifetimes(user)
    db.session.add(
        LoginSession(
            user_id=user.id,
            token_hash=keyed_hash(token),
            created_at=now,
            seen_at=now,
            idle_until=now + idle,
            expires_at=now + absolute,
            user_agent=user_agent[:200],
            address=address[:60],
        )
    )
    return token


@operation
def touch(login_session: LoginSession) -> None:
    """The device was seen: its idle time starts anew (never beyond the session's absolute end)."""
    now = clock.now()
    idle, _absolute = lifetimes(login_session.user)
    login_session.seen_at = now
    login_session.idle_until = min(now + idle, login_session.expires_at)
