"""Passwords and PINs: Argon2id, never logged, the same time spent for a name that does not exist."""

from __future__ import annotations

from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from fieldapp.extensions import settings

AT_ONCE = BoundedSemaphore(4)  # each hash takes 64 MiB: more at once would be a way to stop the server


@lru_cache(maxsize=4)
def _hasher(memory_kib: int) -> PasswordHasher:
    """The library's defaults (t=3, p=4) at 64 MiB; smaller boxes may go down to 19 MiB."""
    return PasswordHasher(memory_cost=memory_kib)


@lru_cache(maxsize=4)
def _nobody(memory_kib: int) -> str:
    return _hasher(memory_kib).hash("nobody has this password")


def hashed(password: str) -> str:
    """The hash to keep."""
    with AT_ONCE:
        return _hasher(int(settings.argon2_memory_kib)).hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether ``password`` is the one whose hash was kept; takes as long when nothing was kept."""
    memory = int(settings.argon2_memory_kib)
    with AT_ONCE:
        try:
            return _hasher(memory).verify(kept or _nobody(memory), password) and kept is not None
        except (VerifyMismatchError, InvalidHashError):
            return False


def outdated(kept: str) -> bool:
    """Whether a kept hash was made with other costs and should be made anew at the next log-in."""
    return _hasher(int(settings.argon2_memory_kib)).check_needs_rehash(kept)
