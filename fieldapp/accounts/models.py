"""People who log in, their sessions, tries that failed and invitations."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp import clock
from fieldapp.extensions import Base, Keyed

# 高德 百度 腾讯, Apple's maps, or whatever the phone opens for a geo: address
MAP_APPS = ("amap", "baidu", "tencent", "apple", "geo")


class User(Keyed, Base):
    """A person with one role. ``disabled_at`` ends every session at the next request."""

    __tablename__ = "user"

    username: Mapped[str] = mapped_column(String(60), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    phone: Mapped[str] = mapped_column(String(40), default="")
    role: Mapped[str] = mapped_column(String(20), index=True)
    department: Mapped[str] = mapped_column(String(80), default="")
    locale: Mapped[str | None] = mapped_column(String(12))
    map_app: Mapped[str | None] = mapped_column(String(12))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    pin_hash: Mapped[str | None] = mapped_column(String(200))
    pin_check: Mapped[str | None] = mapped_column(String(200))  # for the owner's phone without signal (ADR 17)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    disabled_at: Mapped[datetime | None]

    # what flask-login asks of a user
    is_authenticated = True
    is_anonymous = False

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None

    def get_id(self) -> str:
        return str(self.id)

    @property
    def is_engineer(self) -> bool:
        return self.role == "engineer"

    @property
    def in_office(self) -> bool:
        return self.role in ("dispatcher", "manager", "admin")


class LoginSession(Keyed, Base):
    """One device logged in. Only a keyed hash of its token is kept. ``handed_over_to``: the visit whose customer holds
    the phone; until the engineer takes it back this session sees nothing else."""

    __tablename__ = "login_session"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    idle_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    user_agent: Mapped[str] = mapped_column(String(200), default="")
    address: Mapped[str] = mapped_column(String(60), default="")
    handed_over_to: Mapped[UUID | None]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    def open_at(self, moment: datetime) -> bool:
        """Whether this session lets its person in: not ended, not idle too long, not too old, person not disabled."""
        return (
            self.ended_at is None
            and moment < self.idle_until
            and moment < self.expires_at
            and self.user.disabled_at is None
        )


class LoginFailure(Keyed, Base):
    """A try that failed, counted per account and per address so that guessing gets slower and slower."""

    __tablename__ = "login_failure"
    __table_args__ = (
        Index("ix_login_failure_account_at", "account", "at"),
        Index("ix_login_failure_address_at", "address", "at"),
    )

    account: Mapped[str] = mapped_column(String(60))
    address: Mapped[str] = mapped_column(String(60))
    at: Mapped[datetime]


class Invitation(Keyed, Base):
    """A link by which a new person sets the first password: once, within a day. Only its hash is kept."""

    __tablename__ = "invitation"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
