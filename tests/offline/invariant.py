"""What must be true after every fault (the global invariant of the offline part), asked of the database, the store and
the phones together.

Every submission a phone showed as received exists at the office with the same bytes; every other one is still on the
phone; one submission has one effect at most, one promise one effect in the ticket store at most; what was signed is
what was drawn; a photo that arrived is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs
from uuid import UUID

from flask import Flask
from sqlalchemy import func, select

from fieldapp import audit
from fieldapp.extensions import db
from fieldapp.offline.models import Case, ServerIdentity, Submission
from fieldapp.outbox import Promise
from fieldapp.records.models import Photo, ServiceRecord, Signature
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.tickets.desk.models import DeskFile, DeskNote
from fieldapp.visits.models import Visit, VisitEvent
from tests.offline.phone import Item, Phone

FILED = ("quarantined",)  # nothing was done with it, so nothing may be missing but the thing itself
ENDS = ("completed", "partly_done")


def check(app: Flask, phones: Iterable[Phone]) -> None:
    """The whole invariant, of an installation and of all phones that ever spoke to it."""
    phones = list(phones)
    check_phones(phones)
    with app.app_context():
        try:
            _check_office(phones)
            _check_store()
            assert audit.first_broken() is None, "the audit chain is broken"
        finally:
            db.session.remove()


def check_settled(app: Flask, phones: Iterable[Phone]) -> None:
    """After everything healed: besides the invariant, nothing waits anywhere and nothing was left behind."""
    phones = list(phones)
    check(app, phones)
    for phone in phones:
        assert not phone.waiting(), f"still waiting: {[item.path for item in phone.waiting()]}"
        assert not phone.attention(), f"refused: {phone.attention()}"
        assert not phone.photos_waiting(), f"photos still waiting: {phone.photos_waiting()}"
    with app.app_context():
        try:
            _check_all_is_done(phones)
        finally:
            db.session.remove()


def check_phones(phones: Iterable[Phone]) -> None:
    """The cheap part, without the office: nothing that was shown as saved has left the phone or changed."""
    for phone in phones:
        kept = {item.id: item for item in phone.disk.outbox.values()}
        for number, item in phone.told.saved.items():
            assert kept.get(number) == item, f"{item.path} was shown as saved and is not what lies on the phone"
            assert hashlib.sha256(kept[number].body).hexdigest() == item.sha256
        assert sorted(phone.disk.outbox) == list(range(1, phone.disk.sequence + 1)), "a sequence number is missing"
        for sha256, blob in phone.disk.blobs.items():
            assert hashlib.sha256(blob.content).hexdigest() == sha256


# ---- the office -------------------------------------------------------------------------------------


def _check_office(phones: list[Phone]) -> None:
    epoch = db.session.scalars(select(ServerIdentity.epoch)).one()
    rows = {str(row.id): row for row in db.session.scalars(select(Submission))}
    for phone in phones:
        for item, receipt in _received(phone):
            if phone.disk.epoch == epoch:  # what an office lost in a fire is asked for as soon as it says so
                _check_receipt(phone, item, receipt, rows.get(item.id))
    _check_one_effect_each()
    _check_signed(phones)
    _check_photos(phones, epoch)


def _check_receipt(phone: Phone, item: Item, receipt: dict[str, object], row: Submission | None) -> None:
    assert row is not None, f"{item.path} was shown as received and the office does not have it"
    assert row.body_sha256 == item.sha256, f"{item.path}: the office has other bytes"
    assert (str(row.user_id), row.path, row.device) == (phone.user, item.path, phone.disk.device)
    assert row.sequence == item.sequence
    assert row.receipt is not None
    assert row.outcome == receipt["outcome"], f"{item.path}: {row.outcome} at the office, {receipt['outcome']} here"
    if row.outcome in FILED:
        assert row.kept_sha256 is not None, f"{item.path} was filed without its content"
        assert blobs.get(row.kept_sha256) == item.body
        assert db.session.scalar(select(func.count()).where(Case.submission_id == row.id)), "filed and nobody is told"


def _check_one_effect_each() -> None:
    events = select(VisitEvent.submission_id, VisitEvent.type).where(VisitEvent.submission_id.is_not(None))
    _once("event", db.session.execute(events).all())
    signatures = list(db.session.scalars(select(Signature).where(Signature.submission_id.is_not(None))))
    # An acknowledgement that was given on the planned visit counts for the record beside it, too, and says so.
    given = [each for each in signatures if "given_on" not in each.evidence]
    _once("signature", [(each.submission_id, each.role) for each in given])
    _once("end of a visit", db.session.execute(select(VisitEvent.visit_id).where(VisitEvent.type.in_(ENDS))).all())
    _once(
        "case", db.session.execute(select(Case.kind, Case.submission_id).where(Case.submission_id.is_not(None))).all()
    )
    engineers = select(Signature.record_id).where(Signature.role == "engineer", Signature.voided_at.is_(None))
    _once("signed record", db.session.execute(engineers).all())
    finished = select(Signature.submission_id).where(Signature.role == "engineer").distinct()
    by_submission = select(Signature.submission_id, Signature.record_id).where(Signature.submission_id.in_(finished))
    records: dict[object, set[object]] = {}
    for submission, record in db.session.execute(by_submission):
        records.setdefault(submission, set()).add(record)
    doubled = {str(key): value for key, value in records.items() if len(value) > 1}
    assert not doubled, f"one completion made several records: {doubled}"


def _once(what: str, found: Iterable[object]) -> None:
    doubled = {str(key): count for key, count in Counter(map(tuple, found)).items() if count > 1}  # type: ignore[call-overload]
    assert not doubled, f"more than one {what}: {doubled}"


def _check_signed(phones: list[Phone]) -> None:
    """Every completion that was taken made one signed record, with the ink as it was drawn and the words as typed."""
    signatures: dict[tuple[str, str], Signature] = {}
    for each in db.session.scalars(select(Signature).where(Signature.submission_id.is_not(None))):
        signatures[str(each.submission_id), each.role] = each
    epoch = db.session.scalars(select(ServerIdentity.epoch)).one()
    for phone in phones:
        for item, receipt in _received(phone):
            if phone.disk.epoch != epoch or not item.path.endswith("/completion") or receipt["outcome"] in FILED:
                continue
            said = {name: values[0] for name, values in parse_qs(item.body.decode(), keep_blank_values=True).items()}
            for role in ("customer", "engineer"):
                _check_ink(item, role, said, signatures.get((item.id, role)))
            record = signatures[item.id, "engineer"].record
            assert record.signed
            assert record.content is not None
            assert hashlib.sha256(record.content.encode()).hexdigest() == record.content_hash
            assert signatures[item.id, "engineer"].content_hash == record.content_hash
            _check_words(said, json.loads(record.content))


def _check_words(said: dict[str, str], content: dict[str, str]) -> None:
    """What the engineer typed is what was signed; only a text that they left alone may be the office's newer one."""
    typed, before = said["content_text"], json.loads(said["base"])["fields"].get("content_text", [""])
    if [typed] != before:
        assert content["content"] == typed.strip().replace("\r\n", "\n"), "other words were signed"


def _check_ink(item: Item, role: str, said: dict[str, str], signature: Signature | None) -> None:
    assert signature is not None, f"{item.path}: the {role}'s signature is missing"
    if drawn := said.get(f"{role}_strokes"):
        assert signature.strokes == drawn, f"{item.path}: the {role} drew something else"
    assert signature.voided_at is None


def _check_photos(phones: list[Phone], epoch: int) -> None:
    """What a phone shows as arrived is whole; nobody's report is promised before all its photos are there."""
    rows = list(db.session.scalars(select(Photo).where(Photo.source_sha256.is_not(None))))
    _once("photo", [(each.record_id, each.source_sha256) for each in rows])
    arrived = {each.source_sha256 for each in rows if each.arrived_at}
    for each in rows:
        if each.arrived_at:
            for name in (each.sha256, each.print_sha256, each.thumb_sha256):
                assert name is not None
                blobs.get(name)  # raises when it is not there or not what its name says
    for phone in phones:
        if phone.disk.epoch != epoch:
            continue
        taken = [item for item, receipt in _received(phone) if receipt["outcome"] not in FILED]
        for sha256 in {sha for item in taken for sha in item.photos if phone.disk.blobs[sha].arrived}:
            assert sha256 in arrived, f"photo {sha256[:8]} was shown as arrived and the office does not have it"
    incomplete = {each.record_id for each in rows if each.arrived_at is None and each.removed_at is None}
    promised = {
        key.split(":")[1] for key in db.session.scalars(select(Promise.uid)) if key.startswith("record_signed:")
    }
    early = {str(key) for key in incomplete} & promised
    assert not early, f"a report was promised before its photos came: {early}"


# ---- the store --------------------------------------------------------------------------------------


def _check_store() -> None:
    """One promise is one entry in the ticket store, one report one file."""
    uids = list(db.session.scalars(select(DeskNote.uid).where(DeskNote.uid.is_not(None))))
    _once("note", [(uid,) for uid in uids])
    reports = set(db.session.scalars(select(Report.sha256)))
    files = [(sha,) for sha in db.session.scalars(select(DeskFile.sha256)) if sha in reports]
    _once("file", files)
    for promise in db.session.scalars(select(Promise).where(Promise.state == "delivered")):
        if promise.kind in ("report_issued", "visit_unfinished"):
            assert promise.uid in uids, f"{promise.uid} counts as delivered and the store does not have it"


# ---- when everything has healed ---------------------------------------------------------------------


def _check_all_is_done(phones: list[Phone]) -> None:
    left = db.session.execute(
        select(Promise.uid, Promise.state, Promise.last_error).where(Promise.state.not_in(("delivered", "superseded")))
    ).all()
    assert not left, f"promises left: {left}"
    signed = db.session.scalars(select(ServiceRecord).where(ServiceRecord.signed_at.is_not(None)))
    promised = set(db.session.scalars(select(Promise.uid)))
    for record in signed:
        assert f"record_signed:{record.id}:signed" in promised, f"nobody promised a report of {record.number}"
    done = {item.visit for phone in phones for item, receipt in _received(phone) if _finishes(item, receipt)}
    for visit in done:
        _check_counts(visit)


def _finishes(item: Item, receipt: dict[str, object]) -> bool:
    return item.path.endswith("/completion") and receipt["outcome"] not in FILED


def _check_counts(visit_id: str) -> None:
    """Work that was done counts: the visit, or a visit beside it, ended with a record."""
    family = (Visit.id == UUID(visit_id)) | (Visit.parent_id == UUID(visit_id))
    ended = list(db.session.scalars(select(Visit.status).where(family)))
    assert {"completed", "partial", "reviewed"} & set(ended), f"a record was received and no visit ended by it: {ended}"


def _received(phone: Phone) -> Iterator[tuple[Item, dict[str, object]]]:
    for item in phone.disk.outbox.values():
        if receipt := phone.disk.receipts.get(item.id):
            yield item, receipt
