"""The words that are in force with the ticket store, entry by entry: the adapter's own, the file's, and those replaced here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from fieldapp.accounts.models import User
from fieldapp.extensions import db
from fieldapp.sync.models import StoreCheck
from fieldapp.tickets.labels import CHANNELS, PRIORITIES, STATUSES, TYPES
from fieldapp.tickets.mapping import StoreMapping, Words
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.wording import StoreWord

OUR_WORDS: Mapping[str, Mapping[str, object]] = {
    "statuses": STATUSES,
    "priorities": PRIORITIES,
    "types": TYPES,
    "channels": CHANNELS,
}
PLAIN = ("place", "fields", "options")
SECTIONS = (*(f"{name}.{side}" for name in OUR_WORDS for side in ("write", "read")), *PLAIN)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry. ``key`` and ``means`` are as the mapping has them; ``replaced_at`` and ``by`` when it was replaced here."""

    key: str
    means: str
    replaced_at: datetime | None = None
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the mapping. ``ours``: the words of ours that may stand in it, with their names on pages."""

    name: str
    lines: Sequence[Line]
    ours: Mapping[str, object] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return self.name.endswith(".write")

    @property
    def reads(self) -> bool:
        return self.name.endswith(".read")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the page shows; ``sections`` is empty for a store that speaks our own words."""

    store: str
    sections: Sequence[Section]
    check: StoreCheck | None


def vocabulary(store: TicketStore) -> Vocabulary:
    """All that is in force with this store, and what the last look at the live store found."""
    words: StoreMapping | None = getattr(store, "words", None)
    replaced = _replaced(store.name)
    sections = [_section(name, words, replaced) for name in SECTIONS] if words else []
    return Vocabulary(store=store.name, sections=sections, check=db.session.get(StoreCheck, store.name))


def _section(name: str, words: StoreMapping, replaced: Mapping[tuple[str, str], tuple[StoreWord, str]]) -> Section:
    entries = _entries(name, words)
    removed = {key: "" for section, key in replaced if section == name and key not in entries}
    lines = [_line(name, key, means, replaced) for key, means in {**entries, **removed}.items()]
    return Section(name=name, lines=lines, ours=OUR_WORDS.get(name.partition(".")[0], {}))


def _entries(name: str, words: StoreMapping) -> Mapping[str, str]:
    """What stands in a section: key → meaning. Of words that differ in case only, the one in force."""
    part, _dot, side = name.partition(".")
    if part == "place":
        return {"": words.place}
    if not side:
        return dict(getattr(words, part))
    pair: Words = getattr(words, part)
    if side == "write":
        return {ours: pair.write.get(ours, "") for ours in OUR_WORDS[part]}
    return dict({word.casefold(): (word, ours) for word, ours in pair.read.items()}.values())


def _line(name: str, key: str, means: str, replaced: Mapping[tuple[str, str], tuple[StoreWord, str]]) -> Line:
    if (name, key) not in replaced:
        return Line(key=key, means=means)
    row, by = replaced[name, key]
    return Line(key=key, means=means, replaced_at=row.at, by=by)


def _replaced(store: str) -> Mapping[tuple[str, str], tuple[StoreWord, str]]:
    query = select(StoreWord, User.name).join(User, User.id == StoreWord.by).where(StoreWord.store == store)
    return {(row.section, row.word): (row, name) for row, name in db.session.execute(query)}
