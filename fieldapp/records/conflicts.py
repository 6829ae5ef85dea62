"""When phone and office wrote the same record: bring it together, keep what cannot be as a case, apply its decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from fieldapp.accounts.models import User
from fieldapp.errors import Invalid
from fieldapp.extensions import settings
from fieldapp.i18n import _
from fieldapp.offline.models import Case
from fieldapp.offline.operations import Receipt, Told, open_case
from fieldapp.records import merge
from fieldapp.records.merge import ROWS, TEXTS, TIMES, Conflict, Groups
from fieldapp.records.models import ServiceRecord
from fieldapp.records.values import Basis, Filled, OpenLine, PartLine

LONGEST = {"customer_name": 160, "contact_phone": 40, "tools": 500}
LONGEST_TEXT = 4000
LINES = {"parts": PartLine, "open_items": OpenLine}


@dataclass(frozen=True)
class Took:
    """How a phone's form came in: ``filled`` is what to write; ``from_office``: groups that the office had changed."""

    filled: Filled
    from_office: tuple[str, ...] = ()
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    sides: tuple[Groups, Groups, Groups] | None = None

    @property
    def outcome(self) -> Receipt:
        """What the receipt says about it; nothing when the phone's form was simply taken."""
        if self.conflicts:
            sentence = _("The office had changed the same text. Yours counts; the office compares both.")
            return {"outcome": "conflict", "sentence": sentence}
        if self.from_office:
            sentence = _("The office had changed other parts of the record meanwhile. Both are in it.")
            return {"outcome": "merged", "sentence": sentence}
        return {}

    def phone_only(self) -> Took:
        """The phone's form alone, the office's words as conflicts: for a merged record that would make no sense."""
        return self if self.sides is None else _took(merge.phone_only(*self.sides), self.sides)

    def keep_conflicts(self, record: ServiceRecord, *, by: User, told: Told) -> None:
        """Ask the office to decide (X12). Both sides stay in the case."""
        if not self.conflicts:
            return
        open_case(
            "conflict",
            unique_for=f"conflict:{record.id}:{told.submission_id}",
            visit_id=record.visit_id,
            submission_id=told.submission_id,
            user_id=by.id,
            record=str(record.id),
            fields={name: _texts(name, conflict) for name, conflict in self.conflicts.items()},
            values={name: _values(name, each) for name, each in self.conflicts.items() if name not in TEXTS},
        )


def take(record: ServiceRecord, filled: Filled, basis: Basis | None) -> Took:
    """The phone's form for this draft. ``basis``: what it started from, when the draft is no longer that; else None."""
    if basis is None:
        return Took(filled)
    base = basis.filled or Filled()
    office = merge.without_gaps(filled_of(record), base)
    sides = merge.groups(base), merge.groups(filled), merge.groups(office)
    return _took(merge.merge(*sides), sides)


def _took(merged: merge.Merged, sides: tuple[Groups, Groups, Groups]) -> Took:
    return Took(merge.filled(merged.values), merged.taken, merged.conflicts, sides)


def filled_of(record: ServiceRecord) -> Filled:
    """The form as the record holds it."""
    names = (*TEXTS, *TIMES)
    return Filled(
        **{name: getattr(record, name) for name in names},
        parts=tuple(_line(PartLine, part) for part in record.parts),
        open_items=tuple(_line(OpenLine, item) for item in record.open_items),
        solved_item_ids=tuple(UUID(key) for key in record.solved_item_ids),
    )


def _line(kind: type[Any], row: object) -> Any:
    return kind(**{name: getattr(row, name) for name in kind.__dataclass_fields__})


# ---- a case and its decision ------------------------------------------------------------------------


@dataclass(frozen=True)
class Now:
    """What the record says in the fields of a case where that is no longer the phone's word, as text; ``seen`` names
    this state of the record, so that nobody decides about words that they did not see."""

    seen: str
    texts: Mapping[str, str]


def now_of(case: Case, record: ServiceRecord) -> Now:
    """The record beside the case: it may have been corrected, or saved again, since."""
    fields, values = case.facts.get("fields", {}), merge.groups(filled_of(record))
    said = {name: _text(name, values[name]) for name in fields}
    changed = {name: text for name, text in said.items() if not _same(text, fields[name]["phone"])}
    return Now(f"{record.revision}.{record.draft_revision}", changed)


def decided(case: Case, chosen: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, Any]:
    """The value that was chosen for each field of a case; where nothing was chosen, the phone's (raises Invalid).

    Texts are what the person wrote. Times and rows are one side's: they cannot be written into one text field.
    ``keep``: fields in which the record stays as it is.
    """
    return {
        name: _decided(case, name, chosen.get(name, texts["phone"]))
        for name, texts in case.facts["fields"].items()
        if name not in keep
    }


def _decided(case: Case, name: str, text: str) -> Any:
    if name in TEXTS:
        most = LONGEST.get(name, LONGEST_TEXT)
        if len(text) > most:
            sentence = _("Write at most %(most)s characters; these are %(found)s.", most=most, found=len(text))
            raise Invalid(sentence, fields={name: sentence})
        return text.strip()
    texts, values = case.facts["fields"][name], case.facts["values"][name]
    side = next((side for side in ("phone", "office") if _same(text, texts[side])), None)
    if side is None:
        sentence = _("Choose one of the two sides.")
        raise Invalid(sentence, fields={name: sentence})
    return _value(name, values[side])


def decision_text(decided: Mapping[str, Any]) -> str:
    """What was decided, to keep with the case."""
    return "; ".join(f"{name}: {_text(name, value)}" for name, value in decided.items())[:4000]


def with_decided(record: ServiceRecord, decided: Mapping[str, Any]) -> Filled:
    """The record's form with what was decided."""
    filled = filled_of(record)
    for name, value in decided.items():
        chosen = dict(zip(TIMES, value)) if name == "times" else {name: value}
        filled = replace(filled, **chosen)
    return filled


def differs(record: ServiceRecord, wanted: Filled) -> bool:
    """Whether the record does not say that already."""
    return merge.groups(filled_of(record)) != merge.groups(wanted)


def same_times(one: ServiceRecord, other: ServiceRecord) -> bool:
    """Whether two revisions say the same about when the service ran, to the minute."""
    return bool(merge.groups(filled_of(one))["times"] == merge.groups(filled_of(other))["times"])


# ---- below: groups as text for people, and as JSON --------------------------------------------------


def _texts(name: str, conflict: Conflict) -> dict[str, str]:
    return {side: _text(name, getattr(conflict, side)) for side in ("before", "phone", "office")}


def _text(name: str, value: Any) -> str:
    if name == "times":
        start, end, reason = value
        return " · ".join(text for text in (f"{_wall(start)} – {_wall(end)}", reason) if text)
    if name in ROWS:
        return "\n".join(" · ".join(str(each) for each in asdict(row).values() if each) for row in value)
    return str(value)


def _wall(moment: datetime | None) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}" if moment else ""


def _same(one: str, other: str) -> bool:
    """Line ends change on the way through a form."""
    return one.replace("\r\n", "\n").strip() == other.strip()


def _values(name: str, conflict: Conflict) -> dict[str, Any]:
    return {side: _plain(name, getattr(conflict, side)) for side in ("phone", "office")}


def _plain(name: str, value: Any) -> list[Any]:
    if name == "times":
        return [each.isoformat() if isinstance(each, datetime) else each for each in value]
    rows = [asdict(row) for row in value]
    return [{key: each.isoformat() if isinstance(each, date) else each for key, each in row.items()} for row in rows]


def _value(name: str, plain: list[Any]) -> tuple[Any, ...]:
    if name == "times":
        start, end, reason = plain
        return (*(datetime.fromisoformat(each) if each else None for each in (start, end)), reason)
    days = ({**row, "promised_by": _day(row["promised_by"])} if "promised_by" in row else row for row in plain)
    return tuple(LINES[name](**row) for row in days)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
