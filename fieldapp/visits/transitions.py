"""The life of a visit as one table (domain.md §3): from where, by whom, to where.

The guards that need more than the state stand in the operations; what follows from an event stands in sync.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldapp.errors import NotAllowedNow, Refused
from fieldapp.i18n import _, lazy
from fieldapp.visits.models import Visit

STATES = (
    "draft",
    "scheduled",
    "accepted",
    "traveling",
    "arrived",
    "working",
    "paused",
    "awaiting_sign",
    "completed",
    "partial",
    "cannot_complete",
    "reviewed",
    "declined",
    "canceled",
    "no_show",
)
CLOSED = ("completed", "partial", "cannot_complete", "reviewed", "canceled", "no_show")
DONE = ("completed", "partial", "cannot_complete", "reviewed")
OFFICE = ("dispatcher", "manager", "admin")
ENGINEER = ("engineer",)

LABELS = {
    "draft": lazy("To plan"),  # L10n: 待派
    "scheduled": lazy("Assigned"),  # L10n: 已派单
    "accepted": lazy("Accepted"),  # L10n: 已接受
    "traveling": lazy("On the way"),  # L10n: 在途
    "arrived": lazy("Arrived"),  # L10n: 已到达
    "working": lazy("Working"),  # L10n: 服务中
    "paused": lazy("Paused"),  # L10n: 暂停
    "awaiting_sign": lazy("To be signed"),  # L10n: 待签字
    "completed": lazy("Completed"),  # L10n: 已完成
    "partial": lazy("Partly done"),  # L10n: 部分完成
    "cannot_complete": lazy("Could not be completed"),  # L10n: 无法完成
    "reviewed": lazy("Reviewed"),  # L10n: 已审核
    "declined": lazy("Declined"),  # L10n: 拒绝
    "canceled": lazy("Cancelled"),  # L10n: 取消
    "no_show": lazy("Customer absent"),  # L10n: 客户不在
}


@dataclass(frozen=True)
class Transition:
    """``fact`` names the column that gets the time of the event; ``closes``: nothing more to do on site."""

    event: str
    sources: tuple[str, ...]
    target: str
    roles: tuple[str, ...]
    fact: str | None = None
    closes: bool = False


def _table(*rows: Transition) -> dict[str, Transition]:
    return {row.event: row for row in rows}


TRANSITIONS = _table(
    Transition("planned", ("draft", "declined"), "scheduled", OFFICE, "scheduled_at"),
    Transition("replanned", ("scheduled", "accepted", "traveling"), "scheduled", OFFICE, "scheduled_at"),
    Transition("accepted", ("scheduled",), "accepted", ENGINEER, "accepted_at"),
    Transition("declined", ("scheduled", "accepted"), "draft", ENGINEER),
    Transition("taken_back", ("scheduled", "accepted", "traveling"), "draft", OFFICE),
    Transition("departed", ("accepted",), "traveling", ENGINEER, "departed_at"),
    Transition("arrived", ("traveling",), "arrived", ENGINEER, "arrived_at"),
    Transition("started", ("arrived",), "working", ENGINEER, "started_at"),
    Transition("paused", ("working",), "paused", ENGINEER),
    Transition("resumed", ("paused",), "working", ENGINEER),
    Transition("finished", ("working",), "awaiting_sign", ENGINEER, "ended_at"),
    Transition("reopened", ("awaiting_sign",), "working", ENGINEER),
    Transition("completed", ("awaiting_sign",), "completed", ENGINEER, None, closes=True),
    Transition("partly_done", ("awaiting_sign",), "partial", ENGINEER, None, closes=True),
    Transition(
        "cannot_complete", ("arrived", "working", "paused"), "cannot_complete", ENGINEER, "ended_at", closes=True
    ),
    Transition("no_show", ("traveling", "arrived"), "no_show", ENGINEER, None, closes=True),
    Transition(
        "canceled", ("draft", "scheduled", "accepted", "traveling", "arrived"), "canceled", OFFICE, None, closes=True
    ),
    Transition(
        "reviewed", ("completed", "partial", "cannot_complete"), "reviewed", ("manager", "admin"), "reviewed_at"
    ),
)


# How far a visit has come on its way, for facts that a phone tells late.
_WAY = {"scheduled": 1, "accepted": 2, "traveling": 3, "arrived": 4, "working": 5, "paused": 5}


def leads_on(status: str, event: str) -> bool:
    """Whether ``event`` takes a visit further, if need be over steps of which nothing was heard."""
    row = TRANSITIONS[event]
    if status in row.sources:
        return True
    return status in _WAY and _WAY[status] < min(_WAY.get(source, 0) for source in row.sources)


def check(visit: Visit, event: str, role: str) -> Transition:
    """The row for ``event`` (raises NotAllowedNow when the state does not allow it, Refused for another role)."""
    row = TRANSITIONS[event]
    if role not in row.roles:
        raise Refused(_("Your role does not allow this."))
    if visit.status not in row.sources:
        state = str(LABELS[visit.status])
        raise NotAllowedNow(_("This visit is now “%(state)s”, so this step is not possible.", state=state))
    return row


def allows(visit: Visit, event: str, role: str) -> bool:
    """Whether ``event`` could happen now: templates ask this, not the status."""
    row = TRANSITIONS[event]
    return role in row.roles and visit.status in row.sources
