"""What can be done next with a visit, and what has been done, in words. The order of the day is the transition table's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from fieldapp.i18n import _, duration, lazy
from fieldapp.visits.operations import SKEW_LIMIT

PAUSE_WORDS = {
    "break": lazy("Break"),  # L10n: 休息
    "wait_customer": lazy("Waiting for the customer"),  # L10n: 等客户
    "wait_part": lazy("Waiting for a part"),  # L10n: 等备件
}


@dataclass(frozen=True, slots=True)
class NextStep:
    """The one big button: a form that posts to ``href``, or a link when ``leads_to`` is None."""

    href: str
    label: str
    icon: str
    shown_when: str = ""
    leads_to: str | None = None


_POSTED = {
    "scheduled": ("acceptance", lazy("Accept"), "check", "accepted"),  # L10n: 接受
    "accepted": ("departure", lazy("Set off"), "van", "traveling"),  # L10n: 出发
    "traveling": ("arrival", lazy("I have arrived"), "flag", "arrived"),  # L10n: 到达
    "arrived": ("start", lazy("Start the work"), "play", "working"),  # L10n: 开始
    "paused": ("resumption", lazy("Continue"), "play", "working"),  # L10n: 继续
}
_LINKED = {
    "working": ("record", lazy("Fill in the record"), "edit"),  # L10n: 填写
    "awaiting_sign": ("record", lazy("Sign"), "pen"),  # L10n: 签字
}


def next_step(visit_id: UUID, status: str) -> NextStep | None:
    """What the engineer of a visit does next; None when nothing is left to do on site."""
    if status in _POSTED:
        noun, label, icon, leads_to = _POSTED[status]
        return NextStep(f"/visits/{visit_id}/{noun}", str(label), icon, status, leads_to)
    if status in _LINKED:
        noun, label, icon = _LINKED[status]
        return NextStep(f"/visits/{visit_id}/{noun}", str(label), icon)
    return None


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
