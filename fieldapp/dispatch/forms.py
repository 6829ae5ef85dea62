"""The plan as a dispatcher types it: kept as typed until it is right, every mistake said at its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from uuid import UUID
from zoneinfo import ZoneInfo

from fieldapp import clock
from fieldapp.dispatch.operations import Place
from fieldapp.dispatch.queries import Places
from fieldapp.errors import Invalid
from fieldapp.i18n import _, lazy, ngettext
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import WINDOW, Visit
from fieldapp.visits.operations import Plan

TIME = re.compile(r"([01]?\d|2[0-3])[:：.]([0-5]\d)(?::[0-5]\d)?")
LONGEST_TEXT = 2000
FIRST_START, LAST_START = time(8), time(17)
KIND_LABELS = {
    "implementation": lazy("Implementation"),  # L10n: 实施
    "maintenance": lazy("Maintenance"),  # L10n: 维护
    "remote": lazy("Remote"),  # L10n: 远程
    "first_visit": lazy("First visit"),  # L10n: 首访
    "inspection": lazy("Inspection"),  # L10n: 巡检
    "callback_visit": lazy("Follow-up visit"),  # L10n: 回访上门
}


@dataclass(kw_only=True)
class PlanForm:
    """Every field as text; ``errors`` holds one sentence for each field that is not right."""

    lead_id: str = ""
    day: str = ""
    window_start: str = ""
    window_end: str = ""
    kind: str = "maintenance"
    site_id: str = ""
    contact_id: str = ""
    asset_id: str = ""
    bring: str = ""
    note: str = ""
    override_reason: str = ""
    errors: dict[str, str] = field(default_factory=dict, init=False)

    @classmethod
    def typed(cls, given: Mapping[str, str]) -> Self:
        """What was sent, trimmed."""
        names = [each.name for each in fields(cls) if each.init]
        return cls(**{name: given.get(name, "").strip() for name in names})

    @classmethod
    def for_ticket(cls, ticket: Ticket, zone: ZoneInfo) -> Self:
        """The first proposal for a ticket: its place and device, the next time that makes sense."""
        form = cls(site_id=_key(ticket.site_id), contact_id=_key(ticket.contact_id), asset_id=_key(ticket.asset_id))
        form.lead_id = _key(ticket.named_engineer_id)
        form._propose(clock.now().astimezone(zone))
        return form

    @classmethod
    def for_visit(cls, visit: Visit, zone: ZoneInfo) -> Self:
        """What is planned now; for a draft the next time that makes sense."""
        form = cls(kind=visit.kind, bring=visit.bring, note=visit.note)
        form.site_id, form.contact_id, form.asset_id = map(_key, (visit.site_id, visit.contact_id, visit.asset_id))
        form.lead_id = _key(visit.lead_id or (visit.ticket.named_engineer_id if visit.status == "draft" else None))
        if visit.window_start and visit.window_end and visit.window_end > clock.now():
            start, end = visit.window_start.astimezone(zone), visit.window_end.astimezone(zone)
            form.day, form.window_start, form.window_end = f"{start:%Y-%m-%d}", f"{start:%H:%M}", f"{end:%H:%M}"
        else:
            form._propose(clock.now().astimezone(zone))
        return form

    def take_the_only(self, places: Places) -> None:
        """Where there is no choice, none is asked for."""
        for name, known in (("site_id", places.sites), ("contact_id", places.contacts), ("asset_id", places.assets)):
            if not getattr(self, name) and len(known) == 1:
                setattr(self, name, str(known[0].id))

    def decided(self, zone: ZoneInfo) -> tuple[Plan, Place]:
        """The decision (raises Invalid with every mistake at its field)."""
        self.errors = {}
        lead = self._uuid("lead_id", _("Choose who goes."), needed=True)
        window = self.window(zone)
        place = {
            name: self._uuid(name, _("Choose one of this customer's."))
            for name in ("site_id", "contact_id", "asset_id")
        }
        self._check_window(window, zone)
        self._check_lengths()
        if self.errors or lead is None or window is None:
            raise Invalid(_please_look(len(self.errors)), fields=self.errors)
        start, end = window
        plan = Plan(
            lead_id=lead,
            window_start=start,
            window_end=end,
            kind=self.kind,
            bring=self.bring,
            note=self.note,
            override_reason=self.override_reason,
        )
        return plan, Place(**place)

    def window(self, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """The wanted time in UTC as far as it is typed; without an end, thirty minutes."""
        there, start = self.date, _time(self.window_start)
        if there is None or start is None:
            return None
        begins = datetime.combine(there, start, zone).astimezone(UTC)
        end = _time(self.window_end)
        return begins, datetime.combine(there, end, zone).astimezone(UTC) if end else begins + WINDOW

    @property
    def date(self) -> date | None:
        """The day, when it is one."""
        return day_typed(self.day)

    # ---- below: checks and proposals ------------------------------------------------------------

    def _check_window(self, window: tuple[datetime, datetime] | None, zone: ZoneInfo) -> None:
        if self.date is None:
            self.errors["day"] = _("Write the day like 2026-11-21.")
        elif self.date < clock.now().astimezone(zone).date():
            self.errors["day"] = _("This day is over. Choose today or a later day.")
        if _time(self.window_start) is None:
            self.errors["window_start"] = _("Write the time like 14:30.")
        if self.window_end and _time(self.window_end) is None:
            self.errors["window_end"] = _("Write the time like 14:30, or leave it empty.")
        elif window and window[1] <= window[0]:
            self.errors["window_end"] = _("The window must end after it starts.")
        if self.kind not in KIND_LABELS:
            self.errors["kind"] = _("Choose the kind of visit.")

    def _check_lengths(self) -> None:
        for name in ("bring", "note", "override_reason"):
            if len(getattr(self, name)) > LONGEST_TEXT:
                self.errors[name] = _("At most %(num)s characters, please.", num=LONGEST_TEXT)

    def _uuid(self, name: str, sentence: str, *, needed: bool = False) -> UUID | None:
        text = getattr(self, name)
        try:
            return UUID(text) if text or needed else None
        except ValueError:
            self.errors[name] = sentence
            return None

    def _propose(self, now: datetime) -> None:
        """The next full half hour at least an hour away within working hours, else tomorrow morning."""
        start = (now + timedelta(minutes=89)).replace(second=0, microsecond=0)
        start -= timedelta(minutes=start.minute % 30)
        if start.date() != now.date() or start.time() > LAST_START:
            start = datetime.combine(now.date() + timedelta(days=1), FIRST_START, now.tzinfo) + timedelta(hours=1)
        start = max(start, start.replace(hour=FIRST_START.hour, minute=0)) if start.time() < FIRST_START else start
        self.day, self.window_start = f"{start:%Y-%m-%d}", f"{start:%H:%M}"
        self.window_end = f"{start + WINDOW:%H:%M}"


def day_typed(text: str) -> date | None:
    """A day as it was typed; None when it is none, or so far away that it has no week around it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2100 else None


def _time(text: str) -> time | None:
    found = TIME.fullmatch(text)
    return time(int(found[1]), int(found[2])) if found else None


def _key(value: UUID | None) -> str:
    return str(value) if value else ""


def _please_look(places: int) -> str:
    return ngettext("Please look at %(num)d place.", "Please look at %(num)d places.", places)
