"""Which versions of our forms are still understood: a draft may wait on a phone for months before it is sent."""

from __future__ import annotations

from datetime import date, datetime

from fieldapp import clock

# The day on which a version got its successor; None: it is the one that phones fill in now.
# 1: one form for each step of signing. 2: record and signatures in one submission.
SUPERSEDED: dict[str, date | None] = {"1": date(2026, 11, 22), "2": None}
FIRST = "1"  # its forms did not say a version


def understood(version: str | None, at: datetime | None = None) -> bool:
    """Whether a form of this version is taken: the present one, and those superseded within the past 12 months."""
    version = version or FIRST
    if version not in SUPERSEDED:
        return False
    superseded = SUPERSEDED[version]
    return superseded is None or (at or clock.now()).date() < a_year_after(superseded)


def a_year_after(day: date) -> date:
    """The same day of the next year (29 February: 1 March)."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return date(day.year + 1, 3, 1)
