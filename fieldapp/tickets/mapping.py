"""Whose word means what: the store's statuses, priorities, types and custom fields, and ours.

Each adapter brings the words of a fresh installation of its store; a TOML file (``FIELDAPP_STORE_MAPPING``) replaces what differs::

    place = "Field Service"            # queue, project or service desk where we file tickets

    [statuses.read]                    # their word = ours
    "In Progress" = "in_progress"
    [statuses.write]                   # our word = theirs
    resolved = "Resolved"

    [fields]                           # our name = their custom field
    customer = "CustomerId"

Sections with read and write: ``statuses``, ``priorities``, ``types``, ``channels``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fieldapp.tickets.models import CHANNELS, PRIORITIES, STATUSES, TYPES

OURS = {"statuses": STATUSES, "priorities": PRIORITIES, "types": TYPES, "channels": CHANNELS}


class BadMapping(Exception):
    """The mapping cannot be used; the text says where and what to write."""


@dataclass(frozen=True)
class Words:
    """``read``: their word → ours. ``write``: our word → theirs. Theirs are compared without regard to case."""

    read: Mapping[str, str] = field(default_factory=dict)
    write: Mapping[str, str] = field(default_factory=dict)

    def ours(self, theirs: str | None, otherwise: str) -> str:
        """Our word for theirs."""
        return {word.casefold(): ours for word, ours in self.read.items()}.get((theirs or "").casefold(), otherwise)

    def theirs(self, ours: str) -> str | None:
        """Their word for ours; None when the store has none (an empty one takes a word of the defaults away)."""
        return self.write.get(ours) or None

    def changed(self, more: Words) -> Words:
        """These words, with those of ``more`` before them."""
        return Words({**self.read, **more.read}, {**self.write, **more.write})


@dataclass(frozen=True)
class StoreMapping:
    """Everything about a store that an administrator may have named differently."""

    place: str = ""
    statuses: Words = Words()
    priorities: Words = Words()
    types: Words = Words()
    channels: Words = Words()
    fields: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def changed(self, more: StoreMapping) -> StoreMapping:
        """This mapping, with what ``more`` names instead; an empty field name means that the store has no such field."""
        given = {name: getattr(self, name).changed(getattr(more, name)) for name in OURS}
        named = {name: theirs for name, theirs in {**self.fields, **more.fields}.items() if theirs}
        return StoreMapping(
            place=more.place or self.place, fields=named, options={**self.options, **more.options}, **given
        )


def read(path: Path) -> StoreMapping:
    """The mapping of a TOML file (raises BadMapping with the place of the mistake)."""
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadMapping(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadMapping(f"{path} is not TOML: {error}.") from error
    return of(told, where=str(path))


def of(told: Mapping[str, Any], *, where: str) -> StoreMapping:
    """The mapping that a TOML document or a page describes (raises BadMapping)."""
    known = [each.name for each in fields(StoreMapping)]
    for name in told:
        if name not in known:
            raise BadMapping(f"{where}: there is no section {name!r}; write one of {', '.join(known)}.")
    mapping = StoreMapping()
    for name, value in told.items():
        mapping = replace(mapping, **{name: _section(name, value, where)})
    return mapping


def _section(name: str, value: Any, where: str) -> Any:
    if name == "place":
        if not isinstance(value, str):
            raise BadMapping(f"{where}: place is one word in quotes.")
        return value
    if name in OURS:
        return _words(name, value, where)
    return _plain(value, f"{where}: [{name}]")


def _words(name: str, value: Any, where: str) -> Words:
    if not isinstance(value, dict) or not set(value) <= {"read", "write"}:
        raise BadMapping(f"{where}: [{name}] has the parts [{name}.read] and [{name}.write] and no others.")
    theirs_first = _plain(value.get("read", {}), f"{where}: [{name}.read]")
    ours_first = _plain(value.get("write", {}), f"{where}: [{name}.write]")
    for ours in (*theirs_first.values(), *ours_first):
        if ours not in OURS[name]:
            raise BadMapping(f"{where}: {ours!r} in [{name}] is none of our words: {', '.join(OURS[name])}.")
    return Words(theirs_first, ours_first)


def _plain(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise BadMapping(f'{where} holds lines of the form name = "word".')
    return value
