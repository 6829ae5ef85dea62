"""Who is asking: the session's cookie, read on every request with one SELECT."""

from __future__ import annotations

from uuid import UUID

from flask import Request, g
from werkzeug.wrappers import Response as AnyResponse

from fieldapp import clock
from fieldapp.accounts import operations, queries
from fieldapp.accounts.models import LoginSession, User
from fieldapp.accounts.operations import cookie_name, keyed_hash
from fieldapp.extensions import db, settings, uuid7
from fieldapp.security import OnBehalfOf, login_manager


@login_manager.request_loader  # type: ignore[untyped-decorator]
def who(request: Request) -> User | None:
    """The person whose session's token came with the request; None when it ended, expired or they are disabled.

    Sets ``g.login_session`` and ``g.locale``.
    """
    if (behalf := OnBehalfOf.of(request.environ)) is not None:
        return _named_by_us(behalf.user_id)
    token = request.cookies.get(cookie_name())
    if not token:
        return None
    login_session = queries.session_of(keyed_hash(token))
    now = clock.now()
    if login_session is None or not login_session.open_at(now):
        return None
    if now - login_session.seen_at >= operations.TOUCH_EVERY:
        operations.touch(login_session)
    g.login_session = login_session
    g.locale = login_session.user.locale
    return login_session.user


def _named_by_us(user_id: UUID) -> User | None:
    """The person for whom this process itself asks: with a session for this request only, which is kept nowhere."""
    user = db.session.get(User, user_id)
    if user is not None:
        g.login_session = LoginSession(id=uuid7(), user_id=user.id, handed_over_to=None)
        g.locale = user.locale
    return user


def current() -> LoginSession:
    """The session of this request; only for views that need a log-in."""
    login_session: LoginSession = g.login_session
    return login_session


def keep(response: AnyResponse, token: str, user: User) -> AnyResponse:
    """Give the browser its new session."""
    _idle, absolute = operations.lifetimes(user)
    return _with_cookie(response, token, int(absolute.total_seconds()))


def drop(response: AnyResponse) -> AnyResponse:
    """Take the session away from the browser."""
    return _with_cookie(response, "", 0)


def _with_cookie(response: AnyResponse, value: str, seconds: int) -> AnyResponse:
    response.set_cookie(
        cookie_name(), value, max_age=seconds, path="/", secure=settings.https, httponly=True, samesite="Lax"
    )
    return response
