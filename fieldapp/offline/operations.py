"""``once``: the same submission twice is one effect and the same receipt.

In one transaction: the submission's row, whatever it does, and the receipt. So either all of it happened or none,
and whoever asks again with the same id and body is told what happened the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError, OperationalError

from fieldapp import audit, clock, crashpoints
from fieldapp.errors import InProgress, KeyReused
from fieldapp.extensions import contended, db, operation
from fieldapp.i18n import _
from fieldapp.offline.models import Submission

Receipt = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came with a submission beside its fields. ``at`` is the phone's time when it gave one, else ours.

    ``device_at``: the phone's clock when it happened; ``sent_at``: the same clock when it was sent. Only the second
    can be compared with ours: work done offline arrives hours later without any clock being wrong.
    """

    submission_id: UUID
    user_id: UUID
    path: str
    body_sha256: str
    received_at: datetime
    device_at: datetime | None = None
    sent_at: datetime | None = None
    device: str | None = None
    sequence: int | None = None
    base_revision: int | None = None

    @property
    def at(self) -> datetime:
        return self.device_at or self.received_at

    @property
    def skew_s(self) -> int | None:
        """Seconds that the phone's clock is ahead (+) or behind (−) of ours; None when it did not say."""
        return None if self.sent_at is None else int((self.sent_at - self.received_at).total_seconds())


def once(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    """Run ``apply`` once for this submission: ``(receipt, replayed)``.

    Raises KeyReused when the id came with another body or from another person, InProgress when the same
    submission is being applied elsewhere at this moment.
    """
    if (stored := _stored(told)) is not None:
        return stored, True
    try:
        receipt, replayed = _first_time(told, apply)
    except (IntegrityError, KeyReused):
        # The same id was being applied beside us: what it left decides, read outside the transaction that failed.
        if (stored := _stored(told)) is not None:
            return stored, True
        raise
    except OperationalError as error:
        if contended(error):
            raise InProgress(_("This is being saved at this moment. Please try again.")) from error
        raise
    crashpoints.reach("after_commit")
    return receipt, replayed


@operation
def _first_time(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    if (row := db.session.get(Submission, told.submission_id)) is not None:
        return _receipt_of(row, told), True
    row = Submission(
        id=told.submission_id,
        user_id=told.user_id,
        device=told.device,
        sequence=told.sequence,
        path=told.path,
        body_sha256=told.body_sha256,
        device_at=told.device_at,
        received_at=told.received_at,
    )
    db.session.add(row)
    db.session.flush()
    receipt: Receipt = {
        "submission_id": str(told.submission_id),
        "body_sha256": told.body_sha256,
        "received_at": told.received_at.isoformat(),
        "outcome": "applied",
        **apply(),
    }
    row.receipt = receipt
    crashpoints.reach("before_commit")
    return receipt, False


def _stored(told: Told) -> Receipt | None:
    row = db.session.get(Submission, told.submission_id)
    try:
        return _receipt_of(row, told) if row else None
    except KeyReused:
        _note_reuse(told)
        raise


def _receipt_of(row: Submission, told: Told) -> Receipt:
    if (row.user_id, row.path, row.body_sha256) != (told.user_id, told.path, told.body_sha256):
        raise KeyReused(_("This was already sent with other content; what came first stays."))
    return row.receipt or {}


@operation
def _note_reuse(told: Told) -> None:
    audit.record("submission.key_reused", "submission", told.submission_id, by=told.user_id, body=told.body_sha256)


def new_told(user_id: UUID, path: str, *, submission_id: UUID, body_sha256: str = "", **more: Any) -> Told:
    """A submission that did not come by HTTP: a command, the demo, a test."""
    return Told(
        submission_id=submission_id,
        user_id=user_id,
        path=path,
        body_sha256=body_sha256,
        received_at=clock.now(),
        **more,
    )
