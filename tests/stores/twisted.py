"""Answers that are not what they should be: a gateway's page, nothing at all, data of another shape under a good status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fieldapp.tickets.store import TicketStore

MOST_PLACES = 50
PAGE = b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"


def _instead(body: bytes) -> Callable[[bytes], bytes]:
    return lambda _answer: body


def _each_value(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Every value that is no object and no list, wherever it stands; the shape around it stays."""

    def changed(told: Any) -> Any:
        if isinstance(told, dict):
            return {name: changed(value) for name, value in told.items()}
        return [changed(each) for each in told] if isinstance(told, list) else change(told)

    return _data(changed)


def _data(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """What is no data at all, such as a file, becomes a page."""

    def twisted(answer: bytes) -> bytes:
        try:
            return json.dumps(change(json.loads(answer))).encode()
        except ValueError:
            return PAGE

    return twisted


def _emptied(told: Any) -> Any:
    """The outermost names stay, with objects of nothing below them."""
    if isinstance(told, list):
        return [{} for _each in told] or [{}]
    if isinstance(told, dict):
        return {name: [{}] if isinstance(value, list) else {} for name, value in told.items()}
    return {}


TWISTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": _instead(b""),
    "a page": _instead(PAGE),
    "null": _instead(b"null"),
    "an empty object": _instead(b"{}"),
    "an empty list": _instead(b"[]"),
    "a text": _instead(b'"maintenance"'),
    "an error under a good status": _instead(b'{"error": "maintenance", "message": "maintenance"}'),
    "a list of nothing": _instead(b"[null, 1, []]"),
    "within a list": _data(lambda told: [told]),
    "objects without fields": _data(_emptied),
    "every value missing": _each_value(lambda _value: None),
    "every value a word": _each_value(lambda _value: "?"),
    "every value a number": _each_value(lambda _value: 7),
    "every value an object": _each_value(lambda _value: {"?": []}),
}
# What means nothing to anybody; among the others are some that a store may mean, such as an empty list.
UNREADABLE = tuple(name for name in TWISTS if name != "an empty list")


class Twister:
    """Between an adapter and its store. Some answers pass, all that follow are twisted."""

    def __init__(self, at: Callable[[str], TicketStore]) -> None:
        self.address, self._at = "", at
        self.seen, self._good, self._twist = 0, 0, TWISTS["nothing"]
        self._turn = 0

    @property
    def store(self) -> TicketStore:
        """A new adapter: what it remembers would spare it some of the answers."""
        return self._at(self.address)

    def at_each_answer(self, names: Iterable[str]) -> Iterator[str]:
        """Twist from the first answer on, then from the second, until none is left to twist. Each place meets two of the
        twists in turn, so that all of them come up, and not all of them everywhere: that would take an hour."""
        turns = list(names)
        for good in range(MOST_PLACES):
            for _two in range(2):
                name = turns[self._turn % len(turns)]
                self._turn += 1
                self.seen, self._good, self._twist = 0, good, TWISTS[name]
                yield name
                if self.seen <= good:
                    return

    def heard(self, _number: int, status: int, answer: bytes) -> tuple[int, bytes]:
        self.seen += 1
        return (status, answer) if self.seen <= self._good else (200, self._twist(answer))
