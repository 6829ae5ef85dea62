"""How values are put on paper: times as the form says them, and what fits into the ruled boxes of page 1.

A form must stay a form: text too long for its box is cut at a good place and goes on in a 续表 (continuation) on the
next page. Nothing is dropped: what is shown and the rest together are the whole text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from fieldapp.reports.document import ROLES, ReportDocument, Times
from fieldapp.reports.labels import LABELS

GOOD_ENDS = "\n。！？；，、.!?;, "
WIDE_LATIN = "MWmw@%—"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text for a box: ``shown`` there, ``rest`` in the continuation; joined they are the text."""

    shown: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The texts of page 1 cut to their boxes, and what goes on behind it as (label, text)."""

    customer: Fitted
    service_content: Fitted
    outcome_text: Fitted
    remarks: Fitted
    contact_phone: Fitted
    correction_reason: Fitted
    names: dict[str, Fitted]
    reasons: dict[str, Fitted]
    continued: tuple[tuple[str, str], ...]


def first_page(document: ReportDocument) -> FirstPage:
    """Page 1 of ``document``. Widths are in ems of the box's type size, measured from report.css."""
    label = LABELS[document.locale]
    places = {role: document.signature(role) for role in ROLES}
    correction = document.correction
    boxes = {
        "customer": fit(document.customer.name, ems=38, lines=2),
        "service_content": fit(document.service_content, ems=38, lines=9 if correction else 12),
        "outcome_text": fit(document.outcome_text, ems=17, lines=4),
        "remarks": fit(document.remarks, ems=38, lines=2),
        "contact_phone": fit(document.contact_phone, ems=17, lines=1),
        "correction_reason": fit(correction.reason if correction else "", ems=40, lines=2),
    }
    names = {role: fit(place.name, ems=16, lines=1) for role, place in places.items()}
    reasons = {role: fit(place.reason, ems=17, lines=3) for role, place in places.items()}
    behind = [
        (label["outcome" if name == "outcome_text" else name].rstrip(":："), box.rest) for name, box in boxes.items()
    ]
    behind += [
        (label[f"sign_{role}"].rstrip(":："), box.rest) for each in (names, reasons) for role, box in each.items()
    ]
    return FirstPage(names=names, reasons=reasons, continued=tuple(each for each in behind if each[1]), **boxes)


def fit(text: str, *, ems: float, lines: int) -> Fitted:
    """As much of ``text`` as ``lines`` lines of ``ems`` ems hold, cut after a sentence, clause or word if one is near."""
    used, width = 1, 0.0
    for place, letter in enumerate(text.rstrip()):
        width += _ems(letter)
        if letter == "\n" or width > ems:
            used, width = used + 1, 0.0 if letter == "\n" else _ems(letter)
        if used > lines:
            cut = _good_cut(text, place)
            return Fitted(shown=text[:cut], rest=text[cut:])
    return Fitted(shown=text)


def _ems(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WFA" or letter in WIDE_LATIN:
        return 1.0
    return 0.72 if letter.isupper() else 0.58


def _good_cut(text: str, last: int) -> int:
    """The place after the last good end within the fifth of the text before ``last``; ``last`` when there is none."""
    for place in range(last, last - last // 5, -1):
        if text[place - 1] in GOOD_ENDS:
            return place
    return last


# ---- times -----------------------------------------------------------------------------------------------


def period(times: Times, zone: ZoneInfo, locale: str) -> list[tuple[str, str]]:
    """F9 as (value, printed word) pairs: ``2026年11月21日14时05分 至 21日15时30分``; the end says day and time only."""
    start, end = times.started_at.astimezone(zone), times.ended_at.astimezone(zone)
    if locale == "en":
        return [(f"{start:%d %b %Y %H:%M}", " to "), (f"{end:%d %b %H:%M}", "")]
    words = ("年", "月", "日", "時" if locale == "zh_Hant_TW" else "时", "分")
    values = (f"{start:%Y}", f"{start:%m}", f"{start:%d}", f"{start:%H}", f"{start:%M}")
    ending = (f"{end:%d}", f"{end:%H}", f"{end:%M}")
    return [*zip(values, words, strict=True), ("", " 至 "), *zip(ending, words[2:], strict=True)]


def moment(value: datetime | None, zone: ZoneInfo) -> str:
    """``2026-11-21 14:05`` on the wall clock of ``zone``; empty for None."""
    return f"{value.astimezone(zone):%Y-%m-%d %H:%M}" if value else ""


def window(start: datetime | None, end: datetime | None, zone: ZoneInfo) -> str:
    """``2026-11-21 14:00–14:30``; the end with its date when that is another day."""
    if start is None or end is None:
        return moment(start or end, zone)
    same_day = start.astimezone(zone).date() == end.astimezone(zone).date()
    return (
        f"{moment(start, zone)}–{end.astimezone(zone):%H:%M}"
        if same_day
        else f"{moment(start, zone)} – {moment(end, zone)}"
    )


def day(value: date | None) -> str:
    """``2026-11-21``; empty for None."""
    return value.isoformat() if value else ""


def span(minutes: int | None, locale: str) -> str:
    """``1 小时 25 分钟``; empty for None."""
    if minutes is None:
        return ""
    hour, minute = {"zh_Hans_CN": ("小时", "分钟"), "zh_Hant_TW": ("小時", "分鐘"), "en": ("h", "min")}[locale]
    hours, rest = divmod(abs(minutes), 60)
    said = [f"{hours} {hour}"] if hours else []
    return " ".join([*said, f"{rest} {minute}"] if rest or not hours else said)


def clock_remark(document: ReportDocument) -> str:
    """One sentence when the phone's clock did not agree with the server's; empty when it did."""
    if not document.clock_skew_minutes:
        return ""
    words = LABELS[document.locale]
    remark = words["clock_ahead" if document.clock_skew_minutes > 0 else "clock_behind"]
    remark = remark.format(span=span(document.clock_skew_minutes, document.locale))
    received = moment(document.received_at, document.zone)
    return f"{remark}{words['received_at'].format(moment=received)}" if received else remark
