"""What can be done next with a visit, and what has been done, in words. The order of the day is the transition table's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fieldapp.i18n import _, duration, lazy
from fieldapp.visits.operations import SKEW_LIMIT
from fieldapp.visits.transitions import STATES, TRANSITIONS

PAUSE_WORDS = {
    "break": lazy("Break"),  # L10n: 休息
    "wait_customer": lazy("Waiting for the customer"),  # L10n: 等客户
    "wait_part": lazy("Waiting for a part"),  # L10n: 等备件
}


@dataclass(frozen=True, slots=True)
class NextStep:
    """The one big button in some states: a form that posts to ``noun``, or a link there when ``leads_to`` is None.

    ``shown_when``: the states in which it fits, space separated; ``done``: what happened then, in words.
    """

    noun: str
    label: str
    icon: str
    shown_when: str
    leads_to: str | None = None
    done: str = ""


@dataclass(frozen=True, slots=True)
class WayOut:
    """Something that stands in the way: its noun, the words of its button, the states in which it can be said."""

    noun: str
    label: str
    icon: str
    shown_when: str
    leads_to: str
    done: str


# noun, label, icon, the state in which it fits, the event, the state that follows
_POSTED = (
    ("acceptance", lazy("Accept"), "check", "scheduled", "accepted"),  # L10n: 接受
    ("departure", lazy("Set off"), "van", "accepted", "departed"),  # L10n: 出发
    ("arrival", lazy("I have arrived"), "flag", "traveling", "arrived"),  # L10n: 到达
    ("start", lazy("Start the work"), "play", "arrived", "started"),  # L10n: 开始
    ("resumption", lazy("Continue"), "play", "paused", "resumed"),  # L10n: 继续
)
_LINKED = (
    ("record", lazy("Fill in the record"), "edit", "working"),  # L10n: 填写
    ("record", lazy("Sign"), "pen", "awaiting_sign"),  # L10n: 签字
)
_WAYS_OUT = (
    ("pause", lazy("Pause"), "pause", "paused"),  # L10n: 暂停
    ("absence", lazy("Customer absent"), "person", "no_show"),  # L10n: 客户不在
    ("inability", lazy("Cannot complete"), "cancel", "cannot_complete"),  # L10n: 无法完成
    ("refusal", lazy("Decline"), "undo", "declined"),  # L10n: 拒绝
)
WITHOUT_STEP = " ".join(sorted(set(STATES) - {row[3] for row in (*_POSTED, *_LINKED)}))
WITH_WAY_OUT = " ".join(sorted({state for way in _WAYS_OUT for state in TRANSITIONS[way[3]].sources}))
TO_FILL_IN = "arrived working paused"
_LEADS_TO = {"declined": "declined"}  # the visit is nobody's then; to this engineer it is declined


def steps() -> list[NextStep]:
    """Every step of a visit on site, each with the states in which it is the next one: a phone shows them in turn."""
    posted = [
        NextStep(noun, str(label), icon, fits, _target(event), happened(event)[0])
        for noun, label, icon, fits, event in _POSTED
    ]
    return [*posted, *(NextStep(noun, str(label), icon, fits) for noun, label, icon, fits in _LINKED)]


def ways_out() -> list[WayOut]:
    """What an engineer can say when something stands in the way."""
    return [
        WayOut(noun, str(label), icon, " ".join(TRANSITIONS[event].sources), _target(event), happened(event)[0])
        for noun, label, icon, event in _WAYS_OUT
    ]


def _target(event: str) -> str:
    return _LEADS_TO.get(event, TRANSITIONS[event].target)


# ---- what happened -----------------------------------------------------------------------------------

_HAPPENED = {
    "drafted": (lazy("Visit drafted"), "neutral"),
    "planned": (lazy("Assigned"), "info"),  # L10n: 已派单
    "replanned": (lazy("Rescheduled"), "info"),  # L10n: 改期
    "accepted": (lazy("Accepted"), "info"),  # L10n: 已接受
    "declined": (lazy("Declined"), "bad"),  # L10n: 拒绝
    "taken_back": (lazy("Taken back by the office"), "warn"),  # L10n: 派单撤回
    "departed": (lazy("Set off"), "active"),  # L10n: 出发
    "arrived": (lazy("Arrived"), "active"),  # L10n: 到达
    "started": (lazy("Work started"), "active"),  # L10n: 开始
    "paused": (lazy("Paused"), "warn"),  # L10n: 暂停
    "resumed": (lazy("Work resumed"), "active"),  # L10n: 继续
    "finished": (lazy("Work finished, to be signed"), "active"),  # L10n: 待签字
    "reopened": (lazy("Record reopened"), "warn"),
    "completed": (lazy("Completed"), "good"),  # L10n: 已完成
    "partly_done": (lazy("Partly done"), "warn"),  # L10n: 部分完成
    "cannot_complete": (lazy("Could not be completed"), "bad"),  # L10n: 无法完成
    "no_show": (lazy("Customer absent"), "bad"),  # L10n: 客户不在
    "canceled": (lazy("Cancelled"), "neutral"),  # L10n: 取消
    "reviewed": (lazy("Reviewed"), "good"),  # L10n: 已审核
    "backup_acknowledged": (lazy("Backup reminder answered"), "neutral"),  # L10n: 备份提醒已确认
    "corrected": (lazy("Record corrected"), "warn"),  # L10n: 更正单
    "brought_forward": (lazy("Work told at its end"), "active"),  # L10n: 完工时补报
    "revived": (lazy("Work done despite the cancellation"), "warn"),  # L10n: 取消后仍已服务
    "seated": (lazy("Record of work beside the plan"), "warn"),  # L10n: 计划外服务记录
    "second_record": (lazy("A second record came in"), "warn"),  # L10n: 收到第二份记录
}


def happened(kind: str) -> tuple[str, str]:
    """The word and the tone of an event; an event of a later step says its own name."""
    word, tone = _HAPPENED.get(kind, (kind.replace("_", " ").replace(".", " "), "neutral"))
    return str(word), tone


def remark(payload: dict[str, Any], skew_s: int | None) -> str:
    """What an event adds in words: the reason given, how late, and a phone's clock that was wrong."""
    said = str(payload.get("reason") or payload.get("cause") or payload.get("note") or "")
    parts = [str(PAUSE_WORDS.get(said, said))] if said else []
    if late := int(payload.get("late_s") or 0) // 60:
        parts.append(_("%(span)s late", span=duration(timedelta(minutes=late))))
    if payload.get("override_reason"):
        parts.append(_("overlap allowed: %(reason)s", reason=payload["override_reason"]))
    if payload.get("late"):
        parts.append(_("told when the visit was further already"))  # L10n: 迟到的补报
    if skew_s is not None and abs(skew_s) > SKEW_LIMIT.total_seconds():
        parts.append(_wrong_clock(skew_s))
    return " · ".join(parts)


def _wrong_clock(skew_s: int) -> str:
    span = duration(abs(skew_s))
    if skew_s > 0:
        return _("the phone's clock was %(span)s ahead", span=span)
    return _("sent %(span)s after it happened, by the phone's clock", span=span)
