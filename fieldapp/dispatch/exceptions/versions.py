"""The same words changed on both sides: before, phone, office, side by side, and what a person chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldapp.dispatch.exceptions import kept
from fieldapp.errors import Invalid
from fieldapp.i18n import _
from fieldapp.offline.models import Case

LONGEST_TEXT = 4000
# What is chosen from a list, or made of rows: one side or the other, no words of one's own.
WHOLE = ("service_type", "outcome", "times", "parts", "open_items", "solved_item_ids")
TIMES = ("started_at", "ended_at", "times_reason")
SIDES = ("phone", "office", "own", "now")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One field that both sides changed, as the page shows it. ``told``: the same as the case holds it, by side;
    ``free``: a text of one's own may be written instead; ``now``: what the record says, when that
    is the phone's word no longer."""

    name: str
    label: str
    before: str
    phone: str
    office: str
    told: Mapping[str, str]
    free: bool
    now: str | None = None

    @property
    def joined(self) -> str:
        """Both texts, one under the other; where one holds the other, that one."""
        if self.office in self.phone:
            return self.phone
        return self.office if self.phone in self.office else f"{self.phone}\n{self.office}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person chose for one field: ``side`` is phone, office, own, now, or empty while nothing was chosen."""

    side: str = ""
    text: str = ""


def versions_of(case: Case, now: Mapping[str, str]) -> list[Version]:
    """Every field of a case that both sides changed; ``now``: what the record says, where it is another thing by now."""
    said = kept.Words()
    return [_version(name, told, said, now.get(name)) for name, told in case.facts.get("fields", {}).items()]


def typed(versions: list[Version], form: Mapping[str, str]) -> dict[str, Choice]:
    """What the page sent, as it was typed."""
    return {
        each.name: Choice(side=form.get(f"choice-{each.name}", ""), text=form.get(f"text-{each.name}", each.joined))
        for each in versions
    }


def decided(versions: list[Version], choices: Mapping[str, Choice]) -> dict[str, str]:
    """The text that shall stand for every field (raises Invalid with a sentence at each that was not decided)."""
    wrong = dict(found for each in versions if (found := _wrong(each, choices[each.name])))
    if wrong:
        raise Invalid(_("Some fields need your attention."), fields=wrong)
    return {each.name: _decision(each, choices[each.name]) for each in versions if choices[each.name].side != "now"}


def kept_as_they_are(choices: Mapping[str, Choice]) -> list[str]:
    """The fields in which the record shall stay as it is."""
    return [name for name, choice in choices.items() if choice.side == "now"]


def in_words(versions: list[Version], choices: Mapping[str, Choice]) -> str:
    """What was decided, a line for each field, to be read later."""
    said = {
        "phone": _("the phone's words"),  # L10n: 采用手机内容
        "office": _("the office's words"),  # L10n: 采用办公室内容
        "own": _("words of one's own"),  # L10n: 自行改写
        "now": _("as the record says by now"),  # L10n: 保留现有内容
    }
    return "\n".join(f"{each.label}: {said[choices[each.name].side]}" for each in versions)


def place_of(name: str, versions: list[Version]) -> str:
    """Where on the page a field of the record is decided: at its words, at its choice, or nowhere but the form itself."""
    name = "times" if name in TIMES else name
    free = {each.name: each.free for each in versions}
    if name not in free:
        return "settlement"
    return f"text-{name}" if free[name] else f"choice-{name}"


def _wrong(version: Version, choice: Choice) -> tuple[str, str] | None:
    not_there = (choice.side == "own" and not version.free) or (choice.side == "now" and version.now is None)
    if choice.side not in SIDES or not_there:
        return f"choice-{version.name}", _("Choose which words shall stand.")
    if choice.side == "own" and not choice.text.strip():
        return f"text-{version.name}", _("Write the words that shall stand.")
    if choice.side == "own" and len(choice.text) > LONGEST_TEXT:
        return f"text-{version.name}", _("At most %(num)s characters, please.", num=LONGEST_TEXT)
    return None


def _decision(version: Version, choice: Choice) -> str:
    return choice.text.strip() if choice.side == "own" else version.told[choice.side]


def _version(name: str, told: Mapping[str, str], said: kept.Words, now: str | None) -> Version:
    shown = {side: said.value(name, told.get(side) or "") for side in ("before", "phone", "office")}
    return Version(
        name=name,
        label=said.label(name),
        told=told,
        free=name not in WHOLE,
        now=None if now is None else said.value(name, now),
        **shown,
    )
