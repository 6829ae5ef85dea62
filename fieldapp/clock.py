"""The one source of time: aware UTC. Tests travel with time-machine, so nothing else may ask the system."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def local(moment: datetime, zone: ZoneInfo) -> datetime:
    """The same moment on the wall clock of ``zone``."""
    return moment.astimezone(zone)


def day_bounds(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First moment of the local day that holds ``moment`` and of the day after, both in UTC."""
    midnight = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)


def parse_device_time(text: str) -> datetime | None:
    """An ISO 8601 moment as a phone sends it (with offset), in UTC; None when it is no such thing."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None or not 1970 <= moment.year <= 9000:
        return None
    return moment.astimezone(UTC)
