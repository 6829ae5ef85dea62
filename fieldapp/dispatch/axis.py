"""Where a window stands on the board: quarter-hour columns from 07:00 on, named as CSS classes."""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST_HOUR, LAST_HOUR = 7, 20
QUARTER = timedelta(minutes=15)
READABLE = 16  # a window of half an hour is too narrow for its words: a slot takes at least these columns
COLUMNS = (LAST_HOUR - FIRST_HOUR) * 4 + READABLE // 2  # the words of evening visits run on behind the last hour
HOURS = tuple(
    (hour, f"c{(hour - FIRST_HOUR) * 4} e{(hour - FIRST_HOUR) * 4 + 4}") for hour in range(FIRST_HOUR, LAST_HOUR)
)


def place(start: datetime, end: datetime, midnight: datetime, *, at_least: int = 1) -> str:
    """``c8 e12``: the classes of a window of the day that begins at ``midnight``; outside the axis it stands at its edge."""
    first = min(max(_quarters(start, midnight), 0), COLUMNS - 1)
    last = min(max(-((midnight - end) // QUARTER) - FIRST_HOUR * 4, first + at_least), COLUMNS)
    return f"c{max(min(first, last - at_least), 0)} e{last}"


def column(moment: datetime, midnight: datetime) -> str | None:
    """``c28``: the column that holds a moment; None when the axis does not reach it."""
    quarter = _quarters(moment, midnight)
    return f"c{quarter}" if 0 <= quarter < COLUMNS else None


def _quarters(moment: datetime, midnight: datetime) -> int:
    return (moment - midnight) // QUARTER - FIRST_HOUR * 4
