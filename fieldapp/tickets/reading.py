"""Reading what a store said. An answer of another form than its documents name is the store's trouble, told in a sentence;
it is never a crash of ours, and never taken for "there is nothing": the next thing would be to write it again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from fieldapp.i18n import _
from fieldapp.tickets.store import Retry

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=type)

ASKED = ("changes", "ticket", "history", "thread", "content", "find", "push", "create", "check")
MISREAD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
LONGEST = 120

log = logging.getLogger(__name__)


def carefully(adapter: S) -> S:
    """An adapter that raises nothing but StoreErrors, whatever it is answered."""
    for name in ASKED:
        setattr(adapter, name, _careful(getattr(adapter, name)))
    return adapter


def _careful(asks: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(asks)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        with understood():
            return asks(*args, **kwargs)

    return asked


@contextmanager
def understood() -> Iterator[None]:
    """What is missing or wrong in an answer is told by its name (raises Retry: it concerns what was asked for, and not the
    store as a whole, so that one bad ticket keeps no other waiting)."""
    try:
        yield
    except MISREAD as error:
        log.warning("an answer was not understood", exc_info=True)
        what = f"{error}"[:LONGEST]
        raise Retry(_("The ticket store's answer lacks something, or has it wrong: %(what)s", what=what)) from error


def listed(told: Any) -> list[dict[str, Any]]:
    """A list of objects (raises TypeError on anything else)."""
    if not isinstance(told, list):
        raise TypeError(f"{told!r:.40} is not a list")
    return [named(each) for each in told]


def named(told: Any) -> dict[str, Any]:
    """An object (raises TypeError on anything else)."""
    if not isinstance(told, Mapping):
        raise TypeError(f"{told!r:.40} is not an object")
    return dict(told)
