"""The day or week as rows, on a page or as a file for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime, timedelta

from fieldapp.dispatch import queries
from fieldapp.dispatch.queries import Day
from fieldapp.i18n import _, moment
from fieldapp.visits.models import Visit
from fieldapp.visits.transitions import LABELS

BYTE_ORDER_MARK = "\ufeff"  # without it, spreadsheets read Chinese as something else
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def bounds(day: Day, span: str) -> tuple[datetime, datetime]:
    """First moment and end of the day, or of the week (Monday to Sunday) that holds it."""
    if span == "day":
        return day.start, day.end
    monday = day.date - timedelta(days=day.date.weekday())
    return queries.day_of(monday).start, queries.day_of(monday + timedelta(days=6)).end


def csv_of(visits: Iterable[Visit]) -> str:
    """The visits as CSV text with a byte order mark, one row each, headed in the reader's language."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_head())
    for visit in visits:
        writer.writerow([_harmless(cell) for cell in _cells(visit)])
    return BYTE_ORDER_MARK + file.getvalue()


def _head() -> list[str]:
    return [
        _("Window from"),
        _("Window to"),
        _("Engineer"),  # L10n: 工程师
        _("State"),  # L10n: 状态
        _("Customer"),  # L10n: 客户
        _("Region"),  # L10n: 区域
        _("Address"),  # L10n: 服务地址
        _("Ticket"),  # L10n: 服务请求
        _("Fault"),
        _("Arrived"),  # L10n: 已到达
        _("Ended"),
    ]


def _cells(visit: Visit) -> list[str]:
    return [
        moment(visit.window_start),
        moment(visit.window_end),
        visit.lead.name if visit.lead else "",
        str(LABELS[visit.status]),
        visit.customer.name,
        (visit.site.region if visit.site else "") or visit.customer.region,
        visit.site.address if visit.site else "",
        visit.ticket.number,
        visit.ticket.subject,
        moment(visit.arrived_at),
        moment(visit.ended_at),
    ]


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{cell}" if cell.lstrip(" \u00a0\u3000").startswith(STARTS_A_FORMULA) else cell
