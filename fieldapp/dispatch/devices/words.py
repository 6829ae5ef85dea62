"""What is said of a phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from fieldapp.accounts.words import browser_name
from fieldapp.dispatch.devices.queries import Phone
from fieldapp.i18n import _, duration, lazy, ngettext, said_again, when
from fieldapp.offline.rescue import Handed

UNITS = ("KB", "MB", "GB")
DEEDS = {
    "acceptance": lazy("Accepted the visit"),  # L10n: 接受
    "refusal": lazy("Declined the visit"),  # L10n: 拒绝
    "departure": lazy("Set off"),  # L10n: 出发
    "arrival": lazy("Arrived"),  # L10n: 到达
    "start": lazy("Started the work"),  # L10n: 开始服务
    "pause": lazy("Paused"),  # L10n: 暂停
    "resumption": lazy("Went on with the work"),  # L10n: 继续
    "inability": lazy("Could not complete"),  # L10n: 无法完成
    "absence": lazy("The customer was absent"),  # L10n: 客户不在
    "backup-acknowledgement": lazy("Had the backup reminder answered"),  # L10n: 备份提醒确认
    "removal": lazy("Removed a photo"),  # L10n: 移除照片
    "completion": lazy("Finished the service record"),  # L10n: 完成服务记录
    "record": lazy("Saved the service record"),  # L10n: 保存服务记录
}
# What became of an item or photo of a rescue package: word, tone, icon, the good news first.
OUTCOMES = {
    "applied": (lazy("Taken over"), "good", "done"),  # L10n: 已采纳
    "merged": (lazy("Taken over, joined with the office's changes"), "good", "done"),  # L10n: 已与办公室的修改合并
    "noted": (lazy("Noted"), "info", "info"),  # L10n: 已记录
    "arrived": (lazy("Is here"), "good", "image"),  # L10n: 已到达
    "replayed": (lazy("Was here already"), "neutral", "check"),  # L10n: 早已收到
    "conflict": (lazy("Taken over, two versions to compare"), "warn", "copy"),  # L10n: 已采纳,两个版本待对照
    "quarantined": (lazy("Kept, needs a decision"), "warn", "shield"),  # L10n: 已保存,待处理
    "try_again": (lazy("Not now, import the file again"), "warn", "refresh"),  # L10n: 暂时不行,请再导入一次
    "refused": (lazy("Not taken"), "bad", "cancel"),  # L10n: 未接收
    "damaged": (lazy("Damaged"), "bad", "alert"),  # L10n: 已损坏
}
SETTLED = ("replayed", "arrived")


def name(phone: Phone) -> str:
    """``Android, Chrome``."""
    return browser_name(phone.device.agent)


def badges(phone: Phone) -> list[tuple[str, str, str]]:
    """Word, tone and icon of all that is to be said of a phone, the loudest first."""
    said = [_waiting(phone)] if phone.device.waiting or not phone.device.attention else []
    if phone.device.attention:
        # L10n: %(num)d 条需要处理
        words = ngettext("%(num)d needs attention", "%(num)d need attention", phone.device.attention)
        said.append((words, "warn", "flag"))
    if phone.skewed:
        said.append((skew(phone), "warn", "clock"))
    if phone.nearly_full:
        said.append((_("Storage nearly full"), "warn", "alert"))  # L10n: 存储将满
    return said


def _waiting(phone: Phone) -> tuple[str, str, str]:
    count = phone.device.waiting
    if phone.alarm:
        silent = span(phone.silent_for)
        # L10n: %(num)d 条待发送,已失联 %(span)s
        words = ngettext(
            "%(num)d waiting, silent for %(span)s", "%(num)d waiting, silent for %(span)s", count, span=silent
        )
        return words, "bad" if phone.alarm == "lost" else "warn", "alert"
    if count:
        return ngettext("%(num)d waiting", "%(num)d waiting", count), "info", "wait"  # L10n: %(num)d 条待发送
    return _("Everything sent"), "good", "sent"  # L10n: 已全部发送


def since(phone: Phone) -> str:
    """Since when the oldest waits; empty when the phone did not say."""
    oldest = phone.device.oldest_waiting_at
    return when(oldest) if oldest and phone.device.waiting else ""


def skew(phone: Phone) -> str:
    """``12 min fast``; empty when the clock is right."""
    if not phone.skewed:
        return ""
    by = duration(timedelta(seconds=abs(phone.device.skew_s or 0)))
    if (phone.device.skew_s or 0) > 0:
        return _("Its clock is %(span)s fast", span=by)  # L10n: 手机时钟快 %(span)s
    return _("Its clock is %(span)s slow", span=by)  # L10n: 手机时钟慢 %(span)s


def storage(phone: Phone) -> str:
    """``120 MB of 2.0 GB``; empty when the phone did not say."""
    used, quota = phone.device.storage_used, phone.device.storage_quota
    if used is None:
        return ""
    return _("%(used)s of %(all)s", used=_size(used), all=_size(quota)) if quota else _size(used)


def span(time: timedelta) -> str:
    """``5 h 20 min``; from two days on in days."""
    return ngettext("%(num)d day", "%(num)d days", time.days) if time.days >= 2 else duration(time)


def _size(count: int) -> str:
    value, unit = count / 1024, 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if value >= 10 or unit == 0 else f"{value:.1f} {UNITS[unit]}"


# ---- what a phone kept for later --------------------------------------------------------------------


def deed_of(path: str) -> str:
    """What the engineer did by sending this, in words; the address itself when it is a new one."""
    return str(DEEDS.get(path.rstrip("/").rpartition("/")[2], path))


def outcome(name: str) -> tuple[str, str, str]:
    """Word, tone and icon of what became of something in a rescue package."""
    word, tone, icon = OUTCOMES.get(name, (name, "warn", "alert"))
    return str(word), tone, icon


def thing(each: Handed) -> str:
    """``Finished the service record``; a photo is named by the first letters of its hash."""
    if each.sequence is None and not each.what.startswith("/"):
        return _("Photo %(code)s", code=each.what[:8] or "–")
    return deed_of(each.what)


def sentence(each: Handed) -> str:
    """Why it was not plainly taken: the answer came in the engineer's language."""
    return said_again(each.sentence)


def summary(handed: Sequence[Handed]) -> tuple[str, str]:
    """What became of the whole package in a sentence, and its tone."""
    counts = Counter(each.outcome for each in handed)
    if not handed:
        return _("The file is whole, but nothing was waiting on this phone."), "info"
    if set(counts) <= set(SETTLED) and "replayed" in counts:
        return _("Everything in this file was here already. Nothing was done twice."), "good"
    said = [f"{outcome(name)[0]}: {counts[name]}" for name in OUTCOMES if name in counts]
    tones = {outcome(name)[1] for name in counts}
    return " · ".join(said), next((tone for tone in ("bad", "warn") if tone in tones), "good")
