"""Log-in, log-out, passwords, PINs, sessions, handing the phone to a customer, invitations, and the people themselves.

What has to hash a secret does so between two transactions: a hash takes a tenth of a second, and nobody's write may
wait for it. Such functions must not be called inside an operation.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, update

from fieldapp import audit, clock
from fieldapp.accounts import passwords, queries, throttle
from fieldapp.accounts.models import MAP_APPS, Invitation, LoginSession, User
from fieldapp.accounts.throttle import Try
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, locked, operation, serialize, settings
from fieldapp.i18n import _, known_locale
from fieldapp.security import ROLES

COOKIE = "fieldapp"
SECURE_COOKIE = "__Host-fieldapp"
# engineers work offline for days; the office is at a desk (security.md, sessions)
LIFETIMES = {"engineer": (timedelta(days=14), timedelta(days=30))}
OFFICE_LIFETIME = (timedelta(hours=12), timedelta(days=7))
TOUCH_EVERY = timedelta(minutes=10)
INVITATION_LASTS = timedelta(hours=24)
USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")


def cookie_name() -> str:
    """``__Host-`` needs https; without it (a demo on this machine) the plain name."""
    return SECURE_COOKIE if settings.https else COOKIE


def lifetimes(user: User) -> tuple[timedelta, timedelta]:
    """(idle, absolute) life of a session of this person."""
    return LIFETIMES.get(user.role, OFFICE_LIFETIME)


def keyed_hash(token: str) -> str:
    """What is kept of a token: useless to whoever reads the database."""
    return hmac.digest(settings.key.encode(), token.encode(), "sha256").hex()


@dataclass(frozen=True)
class Welcome:
    """Somebody came in: who, and the token of the new session for the cookie."""

    user: User
    token: str


# ---- log-in and log-out -----------------------------------------------------------------------------


def log_in(username: str, password: str, *, user_agent: str, address: str, replaces: UUID | None = None) -> Welcome:
    """Come in by name and password; ``replaces`` is the session that this browser had until now.

    Raises Invalid with the same sentence, after the same time, for a wrong password, an unknown name and a disabled
    person; TryLater after too many failures.
    """
    claim = _claim_by_name(username, address)
    _prove(claim, password, _("Name or password is not right."))
    renewed = passwords.hashed(password) if claim.user_id and passwords.outdated(claim.hashes[0] or "") else None
    return _come_in(claim, renewed, replaces, user_agent=user_agent, address=address)


@operation
def log_out(login_session_id: UUID, *, by: UUID) -> None:
    """End one of one's own sessions: here, or on a device that was lost (raises NotFound for another's)."""
    login_session = db.session.get(LoginSession, login_session_id)
    if login_session is None or login_session.user_id != by:
        raise NotFound(_("This device is not logged in as you."))
    if login_session.ended_at is None:
        login_session.ended_at = clock.now()
        audit.record("session.ended", "login_session", login_session.id, by=by)


@operation
def _come_in(claim: Claim, renewed: str | None, replaces: UUID | None, *, user_agent: str, address: str) -> Welcome:
    user = db.session.get_one(User, claim.user_id)
    throttle.forgive(claim.attempt, claim.counted)
    user.password_hash = renewed or user.password_hash
    if replaces:
        _end_sessions(LoginSession.id == replaces)
    token = open_session(user, user_agent=user_agent, address=address)
    audit.record("login", "user", user.id, by=user.id)
    return Welcome(user, token)


# ---- proving who one is -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """Somebody says who they are: the counted try and the hashes of which one must fit (None fits nothing)."""

    attempt: Try
    counted: UUID
    user_id: UUID | None
    hashes: tuple[str | None, ...]


@operation
def _claim_by_name(username: str, address: str) -> Claim:
    return _claim(queries.person_named(username), username, address)


@operation
def _claim_by_key(user_id: UUID, address: str) -> Claim:
    user = queries.person_or_404(user_id)
    return _claim(user, user.username, address)


def _claim(user: User | None, username: str, address: str) -> Claim:
    attempt = Try(keyed_hash(queries.written(username))[:60], throttle.network_of(address))
    familiar = user is not None and throttle.is_familiar(user.id, address)
    counted = throttle.count(attempt, familiar=familiar)
    kept = user.password_hash if user is not None and user.is_active else None
    return Claim(attempt, counted, user.id if user else None, (kept,))


def _prove(claim: Claim, secret: str, refusal: str, *, field: str = "password") -> None:
    """Nothing when the secret fits (the caller forgives the try); raises Invalid with ``refusal`` otherwise."""
    fits = [passwords.matches(kept, secret) for kept in claim.hashes]  # all of them: the time tells nothing
    if any(fits):
        return
    _note_failure(claim)
    raise Invalid(refusal, fields={field: refusal}, code="wrong_secret")


@operation
def _note_failure(claim: Claim) -> None:
    subject = ("user", claim.user_id) if claim.user_id else ("unknown_name", claim.attempt.account)
    audit.record("login.failed", *subject, by=None)


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


def _end_sessions(*these: ColumnElement[bool]) -> int:
    ended = db.session.execute(
        update(LoginSession)
        .where(LoginSession.ended_at.is_(None), *these)
        .values(ended_at=clock.now())
        .execution_options(synchronize_session="fetch")
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]


# ---- the customer holds the phone -------------------------------------------------------------------


@operation
def hand_over(login_session_id: UUID, visit_id: UUID) -> None:
    """From now on this session sees only the pages that the customer of this visit may see."""
    login_session = db.session.get_one(LoginSession, login_session_id)
    if login_session.handed_over_to != visit_id:
        login_session.handed_over_to = visit_id
        audit.record(
            "session.handed_over", "login_session", login_session.id, by=login_session.user_id, visit=str(visit_id)
        )


def take_back(login_session_id: UUID, pin_or_password: str) -> UUID | None:
    """The engineer has the phone again: by PIN, or by password. Returns the visit it was handed over for.

    Raises Invalid when neither fits, TryLater after too many failures.
    """
    claim = _claim_of_device(login_session_id)
    _prove(claim, pin_or_password, _("This is not your PIN or your password."), field="pin")
    return _have_back(claim, login_session_id)


@operation
def _claim_of_device(login_session_id: UUID) -> Claim:
    user = db.session.get_one(LoginSession, login_session_id).user
    attempt = Try(f"device {login_session_id}", f"device {login_session_id}")
    counted = throttle.count(attempt, familiar=True)
    return Claim(attempt, counted, user.id, (user.pin_hash, user.password_hash))


@operation
def _have_back(claim: Claim, login_session_id: UUID) -> UUID | None:
    throttle.forgive(claim.attempt, claim.counted)
    login_session = db.session.get_one(LoginSession, login_session_id)
    visit_id, login_session.handed_over_to = login_session.handed_over_to, None
    if visit_id:
        audit.record(
            "session.taken_back", "login_session", login_session.id, by=login_session.user_id, visit=str(visit_id)
        )
    return visit_id


# ---- one's own account ------------------------------------------------------------------------------


@operation
def change_account(user_id: UUID, *, name: str, phone: str, locale: str, map_app: str) -> None:
    """Change what one may change oneself; an empty language or map means: as the device says (raises Invalid)."""
    user = queries.person_or_404(user_id)
    wrong = _wrong_words(name, phone)
    if locale and known_locale(locale) is None:
        wrong["locale"] = _("We do not speak this language.")
    if map_app and map_app not in MAP_APPS:
        wrong["map_app"] = _("We do not know this map.")
    if wrong:
        raise Invalid(_("This could not be saved."), fields=wrong)
    user.name, user.phone = name.strip(), phone.strip()
    user.locale, user.map_app = known_locale(locale), map_app or None
    audit.record("account.changed", "user", user.id, by=user.id)


def change_password(user_id: UUID, current: str, new: str, *, user_agent: str, address: str) -> Welcome:
    """A new password: every session of this person ends, and this browser gets a new one (raises Invalid, TryLater)."""
    claim = _claim_by_key(user_id, address)
    _prove(claim, current, _("This is not your present password."), field="current_password")
    _forgive(claim)
    passwords.check_new(new, *own_words(user_id), field="new_password")
    return _set_password(user_id, passwords.hashed(new), user_agent=user_agent, address=address)


def change_pin(user_id: UUID, password: str, pin: str, *, address: str) -> None:
    """The digits by which the engineer takes the phone back from a customer (raises Invalid, TryLater)."""
    passwords.check_pin(pin)
    claim = _claim_by_key(user_id, address)
    _prove(claim, password, _("This is not your present password."), field="password_for_pin")
    _set_pin(claim, passwords.hashed(pin), passwords.phone_check(pin))


@operation
def own_words(user_id: UUID) -> tuple[str, ...]:
    """What must not be a part of this person's password."""
    user = queries.person_or_404(user_id)
    return (user.username, user.name)


@operation
def _forgive(claim: Claim) -> None:
    throttle.forgive(claim.attempt, claim.counted)


@operation
def _set_password(user_id: UUID, hashed: str, *, user_agent: str, address: str) -> Welcome:
    user = locked(queries.person_or_404(user_id))
    user.password_hash = hashed
    _end_sessions(LoginSession.user_id == user.id)
    audit.record("password.changed", "user", user.id, by=user.id)
    return Welcome(user, open_session(user, user_agent=user_agent, address=address))


@operation
def _set_pin(claim: Claim, hashed: str, phone_check: str) -> None:
    throttle.forgive(claim.attempt, claim.counted)
    user = db.session.get_one(User, claim.user_id)
    user.pin_hash, user.pin_check = hashed, phone_check
    audit.record("pin.changed", "user", user.id, by=user.id)


# ---- people -----------------------------------------------------------------------------------------


@operation
def create_user(username: str, *, name: str, role: str, by: UUID | None, phone: str = "", department: str = "") -> User:
    """A new person, who cannot log in before an invitation was used (raises Invalid)."""
    serialize("people")
    username = queries.written(username)
    wrong = _wrong_words(name, phone) | _wrong_role(role)
    if not USERNAME.fullmatch(username):
        wrong["username"] = _("A log-in name has 2 to 40 letters a–z, digits, dots, dashes or underscores.")
    elif queries.person_named(username):
        wrong["username"] = _("This log-in name is taken.")
    if len(department) > 80:
        wrong["department"] = _("This is longer than 80 characters.")
    if wrong:
        raise Invalid(_("This person could not be added."), fields=wrong)
    user = User(username=username, name=name.strip(), role=role, phone=phone.strip(), department=department.strip())
    db.session.add(user)
    db.session.flush()
    audit.record("user.created", "user", user.id, by=by, role=role)
    return user


@operation
def change_role(user_id: UUID, role: str, *, by: UUID | None) -> User:
    """Another role: the person logs in anew with it (raises Invalid; NotAllowedNow for one's own)."""
    user = _another(user_id, by)
    if wrong := _wrong_role(role):
        raise Invalid(_("The role could not be changed."), fields=wrong)
    if user.role != role:
        audit.record("user.role_changed", "user", user.id, by=by, was=user.role, now=role)
        user.role = role
        _end_sessions(LoginSession.user_id == user.id)
    return user


@operation
def disable(user_id: UUID, *, by: UUID | None) -> User:
    """The person can no longer log in, and every session ends (NotAllowedNow for oneself)."""
    user = _another(user_id, by)
    if user.is_active:
        user.disabled_at = clock.now()
        ended = _end_sessions(LoginSession.user_id == user.id)
        audit.record("user.disabled", "user", user.id, by=by, sessions=ended)
    return user


@operation
def enable(user_id: UUID, *, by: UUID | None) -> User:
    """The person may log in again, with the password of before."""
    user = locked(queries.person_or_404(user_id))
    if not user.is_active:
        user.disabled_at = None
        audit.record("user.enabled", "user", user.id, by=by)
    return user


def _another(user_id: UUID, by: UUID | None) -> User:
    if user_id == by:
        raise NotAllowedNow(_("You cannot do this to your own account. Ask another administrator."))
    return locked(queries.person_or_404(user_id))


def _wrong_words(name: str, phone: str) -> dict[str, str]:
    wrong = {}
    if not name.strip():
        wrong["name"] = _("Please give the name.")
    elif len(name.strip()) > 80:
        wrong["name"] = _("This is longer than 80 characters.")
    if not re.fullmatch(r"[0-9+()#*./ -]{0,40}", phone.strip()):
        wrong["phone"] = _("A phone number has digits, blanks, + and - only, at most 40.")
    return wrong


def _wrong_role(role: str) -> dict[str, str]:
    return {} if role in ROLES else {"role": _("Please choose a role.")}


# ---- invitations ------------------------------------------------------------------------------------


@operation
def invite(user_id: UUID, *, by: UUID | None) -> str:
    """A token by which this person sets a password, once, within a day; older invitations end (NotAllowedNow)."""
    user = queries.person_or_404(user_id)
    if not user.is_active:
        raise NotAllowedNow(_("This person is disabled. Enable them first."))
    token, now = secrets.token_urlsafe(32), clock.now()
    db.session.execute(
        update(Invitation)
        .where(Invitation.user_id == user.id, Invitation.used_at.is_(None), Invitation.expires_at > now)
        .values(expires_at=now)
    )
    db.session.add(
        Invitation(user_id=user.id, token_hash=keyed_hash(token), created_at=now, expires_at=now + INVITATION_LASTS)
    )
    audit.record("user.invited", "user", user.id, by=by)
    return token


def invitation_link(token: str) -> str:
    """The address to give to the invited person."""
    return f"{settings.base_url}/invitations/{token}"


def accept_invitation(token: str, password: str, *, user_agent: str, address: str) -> Welcome:
    """Set the password by an invitation and come in.

    Raises NotFound or NotAllowedNow when the invitation does not work (any more), Invalid when the password is weak;
    then the invitation can still be used.
    """
    user_id = _invited(token)
    passwords.check_new(password, *own_words(user_id), field="new_password")
    return _use_invitation(token, passwords.hashed(password), user_agent=user_agent, address=address)


@operation
def _invited(token: str) -> UUID:
    return queries.invitation_or_404(keyed_hash(token)).user_id


@operation
def _use_invitation(token: str, hashed: str, *, user_agent: str, address: str) -> Welcome:
    serialize("invitations")
    invitation = queries.invitation_or_404(keyed_hash(token))
    invitation.used_at = clock.now()
    audit.record("invitation.used", "user", invitation.user_id, by=invitation.user_id)
    return _set_password(invitation.user_id, hashed, user_agent=user_agent, address=address)
