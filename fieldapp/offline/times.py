"""When something happened, by a phone whose clock may be wrong (ADR 15)."""

from __future__ import annotations

from datetime import datetime, timedelta

SKEW_LIMIT = timedelta(minutes=5)
OLDEST = timedelta(days=400)  # as long as submissions are kept: what is older was told by a clock that was reset
MOST_SECONDS = 2**31 - 1  # what a column of whole numbers holds


def skew_between(sent_at: datetime | None, received_at: datetime) -> int | None:
    """Seconds that the phone's clock is ahead (+) or behind (−) of ours; None when it did not say when it sent."""
    if sent_at is None:
        return None
    seconds = int((sent_at - received_at).total_seconds())
    return max(-MOST_SECONDS, min(MOST_SECONDS, seconds))


def happened_at(device_at: datetime | None, skew_s: int | None, received_at: datetime) -> datetime:
    """When it happened, as far as it can be known.

    The phone's word counts. A clock that was measured to be more than five minutes off is corrected by what was
    measured; a moment that cannot be (later than its arrival, or older than 400 days) gives way to the arrival.
    """
    if device_at is None:
        return received_at
    skew = timedelta(seconds=skew_s or 0)
    at = device_at - skew if abs(skew) > SKEW_LIMIT else device_at
    return at if received_at - OLDEST <= at <= received_at + SKEW_LIMIT else received_at
