"""The same record changed on the phone and in the office: what follows, field by field. Pure; nothing is read or kept.

A field that one side changed is that side's. A field that both changed differently is a conflict: the phone's value
stands, because it is what people signed, and the office's is handed back for a person to decide. Rows are added
together. Start and end are one group, so that no merge builds a window that nobody chose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fieldapp.records.values import Filled

TEXTS = (
    "service_type",
    "customer_name",
    "content_text",
    "outcome",
    "remark",
    "contact_phone",
    "cause",
    "solution",
    "prevention",
    "tools",
)
TIMES = ("started_at", "ended_at", "times_reason")
ROWS = ("parts", "open_items")
UNION = "solved_item_ids"
GROUPS = (*TEXTS, "times", *ROWS, UNION)

Groups = Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """One group that both sides changed."""

    before: Any
    phone: Any
    office: Any


@dataclass(frozen=True)
class Merged:
    """``values`` for every group; ``taken``: the groups in which the office's change is now in; ``conflicts``."""

    values: Groups
    taken: tuple[str, ...]
    conflicts: Mapping[str, Conflict]


def merge(base: Groups, phone: Groups, office: Groups) -> Merged:
    """Bring two sides together that both started from ``base``; each maps the same groups to comparable values."""
    values: dict[str, Any] = {}
    conflicts: dict[str, Conflict] = {}
    for name, ours in phone.items():
        before, theirs = base[name], office[name]
        if ours == theirs or theirs == before:
            values[name] = ours
        elif ours == before:
            values[name] = theirs
        elif name in ROWS:
            values[name] = rows(before, ours, theirs)
        elif name == UNION:
            values[name] = tuple(dict.fromkeys((*ours, *theirs)))
        else:
            values[name], conflicts[name] = ours, Conflict(before, ours, theirs)
    taken = tuple(name for name, value in values.items() if value != phone[name])
    return Merged(values, taken, conflicts)


def rows(base: Sequence[Hashable], phone: Sequence[Hashable], office: Sequence[Hashable]) -> tuple[Any, ...]:
    """The phone's rows without those that the office took out, then those that the office added."""
    before = Counter(base)
    gone = before - Counter(office)
    kept = _without(phone, gone)
    added = (Counter(office) - before) - (Counter(phone) - before)
    return (*kept, *_only(office, added))


def phone_only(base: Groups, phone: Groups, office: Groups) -> Merged:
    """The phone's values; every other word of the office is a conflict. For what makes no sense when merged."""
    merged = merge(base, phone, office)
    values = {**phone, UNION: merged.values[UNION]}
    different = [name for name in phone if name != UNION and office[name] not in (phone[name], base[name])]
    return Merged(values, (), {name: Conflict(base[name], phone[name], office[name]) for name in different})


# ---- the form as groups -----------------------------------------------------------------------------


def groups(filled: Filled) -> dict[str, Any]:
    """The form as comparable groups: texts without their outer blanks and with one kind of line end, whole minutes."""
    values: dict[str, Any] = {name: _text(getattr(filled, name) or "") for name in TEXTS}
    values["times"] = (_minute(filled.started_at), _minute(filled.ended_at), _text(filled.times_reason))
    return values | {name: tuple(getattr(filled, name)) for name in (*ROWS, UNION)}


def filled(values: Groups) -> Filled:
    """The form that ``groups`` came from."""
    given = {name: values[name] for name in (*TEXTS, *ROWS, UNION)}
    given |= {name: given[name] or None for name in ("service_type", "outcome")}
    return Filled(**given, **dict(zip(TIMES, values["times"])))


def without_gaps(office: Filled, base: Filled) -> Filled:
    """The office's form as a change to ``base``: a time that it does not hold was not typed there, so it is no change."""
    return replace(office, started_at=office.started_at or base.started_at, ended_at=office.ended_at or base.ended_at)


def _text(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _minute(moment: datetime | None) -> datetime | None:
    return moment.replace(second=0, microsecond=0) if moment else None


def _without(rows: Sequence[Hashable], gone: Counter[Hashable]) -> list[Hashable]:
    left, kept = Counter(gone), []
    for row in rows:
        if left[row] > 0:
            left[row] -= 1
        else:
            kept.append(row)
    return kept


def _only(rows: Sequence[Hashable], wanted: Counter[Hashable]) -> list[Hashable]:
    left, chosen = Counter(wanted), []
    for row in rows:
        if left[row] > 0:
            left[row] -= 1
            chosen.append(row)
    return chosen
