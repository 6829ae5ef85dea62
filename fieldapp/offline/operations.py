"""``once``: the same submission twice is one effect and the same receipt.

In one transaction: the submission's row, whatever it does, and the receipt. So either all of it happened or none,
and whoever asks again with the same id and body is told what happened the first time.

What a phone's queue sends is never refused to the engineer it belongs to (ADR 14): what cannot be applied is filed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import case as whichever
from sqlalchemy import column, exists, select, table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.types import Uuid

from fieldapp import audit, clock, crashpoints
from fieldapp.errors import FieldAppError, InProgress, Invalid, KeyReused, NotAllowedNow, NotFound
from fieldapp.extensions import contended, db, locked, operation, serialize, uuid7
from fieldapp.i18n import _
from fieldapp.offline import times, versions
from fieldapp.offline.models import CASE_KINDS, OUTCOMES, Case, Device, ServerIdentity, Submission
from fieldapp.storage import blobs

if TYPE_CHECKING:
    from fieldapp.accounts.models import User

Receipt = dict[str, Any]
# With these outcomes the body is kept as it came: a person may have to look at what was really sent.
KEPT = ("merged", "conflict", "quarantined")


class NoLongerYours(NotFound):
    """A visit that was this person's: their page says that it does not exist, their queue's word is filed."""


# What the office can do nothing with at once, although it understands it: filed when a queue sent it.
FILED = (NotAllowedNow, Invalid, NoLongerYours)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came with a submission beside its fields. ``at``: when it happened, as far as it can be known.

    ``device_at``: the phone's clock when it happened; ``sent_at``: the same clock when it was sent. Only the second
    can be compared with ours: work done offline arrives hours later without any clock being wrong.
    ``queued``: an engineer's phone sent it from its queue, and asks for a receipt whatever becomes of it.
    ``waiting``: how many items wait on that phone, this one among them. ``visit_id``: the visit in the address.
    ``handed_in``: the office did it for the phone, so it is no sign of life of that phone; ``again``: the office has
    what was filed applied once more, under its own number.
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
    queued: bool = False
    handed_in: bool = False
    again: bool = False
    form_version: str | None = None
    zone: str | None = None
    waiting: int | None = None
    oldest_at: datetime | None = None
    agent: str = ""
    visit_id: UUID | None = None
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""

    @property
    def at(self) -> datetime:
        """The phone's time when it gave one that can be, corrected when its clock was measured to be wrong; else ours."""
        return times.happened_at(self.device_at, self.skew_s, self.received_at)

    @property
    def skew_s(self) -> int | None:
        """Seconds that the phone's clock is ahead (+) or behind (−) of ours; None when it did not say."""
        return times.skew_between(self.sent_at, self.received_at)


# ---- once -------------------------------------------------------------------------------------------


def once(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    """Run ``apply`` once for this submission: ``(receipt, replayed)``.

    ``apply`` may say in its receipt what became of it: ``{"outcome": "noted", "sentence": "…"}``; else it was applied.
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


def once_or_filed(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    """As ``once``; what a queue sent and ``apply`` refuses is filed in a transaction of its own, and has its receipt.

    The row is then a Submission with the outcome ``quarantined``, the sentence as its reason and the body as it came,
    and a case of that kind waits for the office.
    """
    try:
        _check_version(told)
        return once(told, apply)
    except FILED as error:
        if not told.queued or told.again:  # filed it is already: whoever asks again is told why
            raise
        return once(told, _filing(told, error))


def _check_version(told: Told) -> None:
    if told.queued and not versions.understood(told.form_version, told.received_at):
        sentence = _(
            "This was filled in with a version of the app that is no longer understood. The office looks at it."
        )
        raise Invalid(sentence, code="form_version")


def _filing(told: Told, error: FieldAppError) -> Callable[[], Receipt]:
    def file() -> Receipt:
        sentence, fields = error.sentence, error.fields
        open_case(
            "quarantine",
            unique_for=quarantine_of(told.submission_id),
            visit_id=told.visit_id,
            submission_id=told.submission_id,
            user_id=told.user_id,
            path=told.path,
            code=error.code,
            sentence=sentence,
            fields=fields,
            sent_at=told.sent_at.isoformat() if told.sent_at else None,
            base_revision=told.base_revision,
        )
        audit.record("submission.quarantined", "submission", told.submission_id, by=told.user_id, code=error.code)
        return {"outcome": "quarantined", "sentence": sentence, "fields": fields}

    return file


def quarantine_of(submission_id: UUID) -> str:
    """The name of the one case about a submission that was filed."""
    return f"quarantine:{submission_id}"


@operation
def _first_time(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    row = db.session.get(Submission, told.submission_id, with_for_update=told.again or None)
    if row is not None and not _is_open(row, told):
        return _receipt_of(row, told), True
    row = row or _new_row(told)
    receipt: Receipt = {
        "submission_id": str(told.submission_id),
        "body_sha256": told.body_sha256,
        "received_at": told.received_at.isoformat(),
        "outcome": "applied",
        "sentence": "",
        **apply(),
    }
    _keep(row, told, receipt)
    if told.queued and not told.handed_in:
        _seen_by_queue(told)
    crashpoints.reach("before_commit")
    return {**receipt, **_whose()}, False


def _new_row(told: Told) -> Submission:
    row = Submission(
        id=told.submission_id,
        user_id=told.user_id,
        device=told.device,
        sequence=told.sequence,
        path=told.path,
        body_sha256=told.body_sha256,
        device_at=told.device_at,
        received_at=told.received_at,
        form_version=told.form_version,
    )
    db.session.add(row)
    db.session.flush()
    return row


def _is_open(row: Submission, told: Told) -> bool:
    """Whether this is asked to be applied once more, and nothing came of it the first time."""
    same = (row.user_id, row.path, row.body_sha256) == (told.user_id, told.path, told.body_sha256)
    return told.again and same and row.outcome == "quarantined"


def _keep(row: Submission, told: Told, receipt: Receipt) -> None:
    if receipt["outcome"] not in OUTCOMES:
        raise ValueError(f"no outcome: {receipt['outcome']}")
    row.receipt, row.outcome, row.reason = receipt, receipt["outcome"], receipt["sentence"]
    if row.outcome in KEPT:
        row.kept_sha256, row.content_type = blobs.put(told.body), told.content_type[:120]


def _stored(told: Told) -> Receipt | None:
    row = db.session.get(Submission, told.submission_id)
    if row is not None and _is_open(row, told):
        return None
    try:
        return _receipt_of(row, told) if row else None
    except KeyReused:
        _note_reuse(told)
        raise


def _receipt_of(row: Submission, told: Told) -> Receipt:
    if (row.user_id, row.path, row.body_sha256) != (told.user_id, told.path, told.body_sha256):
        raise KeyReused(_("This was already sent with other content; what came first stays."))
    return {**(row.receipt or {}), **_whose()}


def _whose() -> Receipt:
    """Who gives the receipt. The epoch is today's, also for an old receipt: it says that this server has it now."""
    server, epoch = identity()
    return {"server": str(server), "epoch": epoch}


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


# ---- phones -----------------------------------------------------------------------------------------


@operation
def contact(user_id: UUID, device: str, **said: Any) -> None:
    """A phone reports: columns of Device, as far as it said them. What it did not say stays as it was."""
    _seen(user_id, device, clock.now(), said)


@operation
def write_off(device: Device, *, by: User) -> Device:
    """The phone is lost or broken: what it had said is waiting there is no longer waited for. Should it ever speak
    again, it says anew what waits. What is already here stays (raises NotAllowedNow when nothing waits there)."""
    device = locked(device)
    if not device.waiting:
        raise NotAllowedNow(_("Nothing waits on this phone any more."))
    audit.record("device.written_off", "device", device.id, by=by.id, waiting=device.waiting)
    device.waiting, device.oldest_waiting_at = 0, None
    return device


def _seen_by_queue(told: Told) -> None:
    """What an item of the queue tells about its phone, in the transaction of the item itself."""
    said: dict[str, Any] = {"agent": told.agent[:200], "last_sequence": told.sequence}
    if told.skew_s is not None:
        said["skew_s"] = told.skew_s
    if told.waiting is not None:
        said["waiting"] = max(0, told.waiting - 1)  # this one has arrived
        said["oldest_waiting_at"] = told.oldest_at if said["waiting"] else None
    _seen(told.user_id, told.device or "", told.received_at, said)


def _seen(user_id: UUID, device: str, at: datetime, said: dict[str, Any]) -> None:
    """One statement, so that two first words of a new phone do not get into each other's way."""
    insert = postgresql.insert if db.session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = {"waiting": 0, "attention": 0, "agent": "", "build": "", "first_seen_at": at, **said}
    statement = insert(Device).values(id=uuid7(), user_id=user_id, device=device, seen_at=at, **new)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in (*said, "seen_at")}
    if "last_sequence" in said:
        said_now = statement.excluded.last_sequence
        changed["last_sequence"] = whichever((Device.last_sequence > said_now, Device.last_sequence), else_=said_now)
    db.session.execute(statement.on_conflict_do_update(index_elements=["user_id", "device"], set_=changed))


# ---- cases: what a person of the office has to look at ----------------------------------------------


@operation
def open_case(
    kind: str,
    *,
    unique_for: str,
    visit_id: UUID | None = None,
    submission_id: UUID | None = None,
    user_id: UUID | None = None,
    **facts: Any,
) -> Case:
    """Ask a person of the office to look. The same ``unique_for`` is the same case, also when it is settled already.

    ``facts`` are what the page shows: JSON values.
    """
    if kind not in CASE_KINDS:
        raise ValueError(f"no kind of case: {kind}")
    serialize(f"case:{unique_for}")
    found = db.session.scalar(select(Case).where(Case.unique_for == unique_for))
    if found is not None:
        return found
    opened = Case(
        kind=kind,
        unique_for=unique_for,
        visit_id=_if_there("visit", visit_id),
        submission_id=_if_there("submission", submission_id),
        user_id=user_id,
        facts=facts,
        created_at=clock.now(),
    )
    db.session.add(opened)
    db.session.flush()
    audit.record("case.opened", "case", opened.id, by=user_id, kind=kind)
    return opened


@operation
def settle_case(case: Case, *, by: User, decision: str) -> Case:
    """A person of the office has looked; how it was decided stays with the case (raises Invalid, NotAllowedNow)."""
    case = locked(case)
    if case.settled_at is not None:
        raise NotAllowedNow(_("This was settled already."))
    if not decision.strip():
        sentence = _("Please write what was decided.")
        raise Invalid(sentence, fields={"decision": sentence})
    case.settled_at, case.settled_by_id, case.decision = clock.now(), by.id, decision.strip()
    audit.record("case.settled", "case", case.id, by=by.id, kind=case.kind)
    return case


def _if_there(name: str, key: UUID | None) -> UUID | None:
    """The key, when that table has it: an address may name a visit that never was."""
    if key is None:
        return None
    row = table(name, column("id", Uuid()))
    return key if db.session.scalar(select(exists().where(row.c.id == key))) else None


# ---- which installation this is ---------------------------------------------------------------------


class Identity(NamedTuple):
    """Which installation answers, and since which restore from a backup."""

    server: UUID
    epoch: int


def identity() -> Identity:
    row = db.session.execute(select(ServerIdentity.server, ServerIdentity.epoch)).one()
    return Identity(row.server, row.epoch)


@operation
def bump_epoch() -> int:
    """After a restore: the new epoch tells every phone to send again what it had sent since the last backup.

    It is taken from the clock (milliseconds), so that the same backup restored twice gets two.
    """
    row = db.session.scalars(select(ServerIdentity).with_for_update()).one()
    row.epoch = max(row.epoch + 1, int(clock.now().timestamp() * 1000))
    audit.record("server.restored", "server", row.server, by=None, epoch=row.epoch)
    return row.epoch
