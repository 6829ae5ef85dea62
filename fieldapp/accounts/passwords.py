"""Passwords and PINs: Argon2id, never logged, the same time spent for a name that does not exist.

A PIN is also kept as a PBKDF2 value, the only one that a browser can check by itself: the owner's phone has it, for
where there is no signal.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from zxcvbn import zxcvbn

from fieldapp.errors import Invalid
from fieldapp.extensions import settings
from fieldapp.i18n import _

AT_ONCE = BoundedSemaphore(4)  # each hash takes 64 MiB: more at once would be a way to stop the server
SHORTEST, LONGEST = 8, 128
# Of zxcvbn's 0 to 4: below 2 (fewer than a million guesses) a list of common passwords is enough to get in.
LEAST_SCORE = 2
LOOKED_AT = 72  # zxcvbn takes no more characters
RISING = "01234567890"
PHONE_ITERATIONS = 210_000  # PBKDF2-HMAC-SHA256: about a tenth of a second in a phone's browser


@lru_cache(maxsize=4)
def _hasher(memory_kib: int) -> PasswordHasher:
    """The library's defaults (t=3, p=4) at 64 MiB; smaller boxes may go down to 19 MiB."""
    return PasswordHasher(memory_cost=memory_kib)


@lru_cache(maxsize=4)
def _nobody(memory_kib: int) -> str:
    """A hash that no password has: as costly to check as a real one, and without the cost of making it."""
    hasher = _hasher(memory_kib)
    salt, digest = (_unpadded(secrets.token_bytes(length)) for length in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19$m={memory_kib},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def hashed(password: str) -> str:
    """The hash to keep."""
    with AT_ONCE:
        return _hasher(int(settings.argon2_memory_kib)).hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether ``password`` is the one whose hash was kept; takes as long when nothing was kept."""
    memory = int(settings.argon2_memory_kib)
    with AT_ONCE:
        try:
            _hasher(memory).verify(kept or _nobody(memory), password)
        except (VerifyMismatchError, InvalidHashError):
            return False
    return kept is not None


def outdated(kept: str) -> bool:
    """Whether a kept hash was made with other costs and should be made anew at the next log-in."""
    return _hasher(int(settings.argon2_memory_kib)).check_needs_rehash(kept)


def check_new(password: str, *own_words: str, field: str) -> None:
    """Raise Invalid, at ``field``, unless this may become a password: its length, nobody's name, hard to guess.

    Any characters are welcome and none is demanded; nothing is cut off (ASVS 6.2.1, 6.2.4, 6.2.5, 6.2.8, 6.2.9).
    """
    if (wrong := _wrong_with(password, own_words)) is not None:
        raise Invalid(wrong, fields={field: wrong}, code="weak_password")


def _wrong_with(password: str, own_words: tuple[str, ...]) -> str | None:
    if len(password) < SHORTEST:
        return _("A password has at least %(least)s characters.", least=SHORTEST)
    if len(password) > LONGEST:
        return _("A password has at most %(most)s characters.", most=LONGEST)
    if any(word.casefold() in password.casefold() for word in own_words if len(word) > 1):
        return _("Your own name must not be a part of the password.")
    if zxcvbn(password[:LOOKED_AT], user_inputs=list(own_words))["score"] < LEAST_SCORE:
        return _("This password is easy to guess. Three or four words that do not belong together are better.")
    return None


def check_pin(pin: str) -> None:
    """Raise Invalid unless this may become a PIN: 4 to 8 digits, not all the same, not simply counting."""
    wrong = None
    if not (pin.isascii() and pin.isdigit() and 4 <= len(pin) <= 8):
        wrong = _("A PIN has 4 to 8 digits.")
    elif len(set(pin)) == 1 or pin in RISING or pin in RISING[::-1]:
        wrong = _("Everybody tries this PIN first. Please choose another.")
    if wrong:
        raise Invalid(wrong, fields={"pin": wrong}, code="weak_pin")


def phone_check(pin: str) -> str:
    """What the owner's phone needs to check the PIN: ``pbkdf2-sha256$<iterations>$<salt>$<hash>``, both in base64.

    Four digits are found by trying whatever the costs; so it leaves the server for the owner's phone alone, and opens
    nothing but the screen that a customer was handed.
    """
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha256", pin.encode(), salt, PHONE_ITERATIONS)
    return f"pbkdf2-sha256${PHONE_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
