"""Reading people and their sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, select

from fieldapp import clock
from fieldapp.accounts.models import Invitation, LoginSession, User
from fieldapp.errors import NotAllowedNow, NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.security import ROLES

# Asked on every request: building a statement anew would take as long as running it.
SESSION_BY_HASH = select(LoginSession).where(LoginSession.token_hash == bindparam("token_hash"))


def session_of(token_hash: str) -> LoginSession | None:
    """The session with its person, in one SELECT; it may have ended (see ``LoginSession.open_at``)."""
    return db.session.scalar(SESSION_BY_HASH, {"token_hash": token_hash})


def person_named(username: str) -> User | None:
    """The person with this log-in name, as typed: case and blanks around it do not matter."""
    return db.session.scalar(select(User).where(User.username == written(username)))


def written(username: str) -> str:
    """A log-in name as it is kept."""
    return username.strip().casefold()


def person_or_404(user_id: UUID) -> User:
    """A person by key (raises NotFound)."""
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFound(_("This person does not exist."))
    return user


def people() -> Sequence[User]:
    """Everybody: who may log in first, then by role and name."""
    return db.session.scalars(select(User).order_by(User.disabled_at.is_not(None), User.role, User.username)).all()


def demo_people() -> Sequence[User]:
    """Who may log in on a demo day, in the order of the work."""
    everybody = db.session.scalars(select(User).where(User.disabled_at.is_(None)).order_by(User.id))
    return sorted(everybody, key=lambda user: ROLES.index(user.role))


def devices(user: User) -> Sequence[LoginSession]:
    """Where a person is logged in at this moment, last seen first."""
    now = clock.now()
    query = select(LoginSession).where(
        LoginSession.user_id == user.id,
        LoginSession.ended_at.is_(None),
        LoginSession.idle_until > now,
        LoginSession.expires_at > now,
    )
    return db.session.scalars(query.order_by(LoginSession.seen_at.desc())).all()


def last_seen() -> dict[UUID, datetime]:
    """When each person was last seen, by key of the person."""
    rows = db.session.execute(
        select(LoginSession.user_id, func.max(LoginSession.seen_at)).group_by(LoginSession.user_id)
    )
    return dict(rows.all())


def invitation_or_404(token_hash: str) -> Invitation:
    """An invitation that still works (raises NotFound, or NotAllowedNow when used, replaced or too old)."""
    invitation = db.session.scalar(select(Invitation).where(Invitation.token_hash == token_hash))
    if invitation is None:
        raise NotFound(_("This invitation does not exist. Please check that the whole link was copied."))
    if invitation.used_at is not None or invitation.expires_at <= clock.now() or not invitation.user.is_active:
        raise NotAllowedNow(_("This invitation was used already or is older than a day. Please ask for a new one."))
    return invitation
