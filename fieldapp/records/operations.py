"""What people do with a service record: fill it, have the backup acknowledged, finish, sign, review, correct.

Each public function is one use case and one transaction and returns what the receipt says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm.attributes import flag_modified

from fieldapp import audit, clock
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow
from fieldapp.extensions import db, locked, operation, serialize, settings, uuid7
from fieldapp.i18n import _
from fieldapp.offline.models import Case
from fieldapp.offline.operations import NoLongerYours, Receipt, Told, settle_case
from fieldapp.offline.times import SKEW_LIMIT, happened_at
from fieldapp.records import conflicts, content, ink, photos, suggestions
from fieldapp.records.conflicts import Now, Took
from fieldapp.records.models import (
    OUTCOMES,
    PHOTO_KINDS,
    RATINGS,
    SERVICE_TYPES,
    Counter,
    OpenItem,
    PartUse,
    Photo,
    ServiceRecord,
    Signature,
)
from fieldapp.records.photos import MOST_PHOTOS, promise_report
from fieldapp.records.queries import record_of
from fieldapp.records.standing import standing_of
from fieldapp.records.values import Basis, Evaluation, Filled, Given, OpenLine, Whole
from fieldapp.storage import blobs
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit, VisitEvent

FILLING = ("arrived", "working", "paused")
EVENT_SLACK = timedelta(minutes=1)
FUTURE_SLACK = timedelta(minutes=10)
LONGEST_SERVICE = timedelta(days=14)
METHODS_OF = {
    "backup_ack": ("drawn", "typed", "refused", "not_applicable"),
    "customer": ("drawn", "typed", "remote", "refused", "absent"),
    "engineer": ("drawn", "typed"),
    "manager": ("drawn", "typed"),
}


# ---- filling ----------------------------------------------------------------------------------------


@operation
def save(visit: Visit, filled: Filled, *, by: User, basis: Basis | None = None, told: Told | None = None) -> Receipt:
    """Keep the draft. ``told.base_revision``: the draft the person saw; another one meanwhile raises NotAllowedNow,
    unless their own phone wrote it. What a phone's queue brings is merged instead, from ``basis`` on.
    """
    record = _draft(visit, by=by, told=told)
    if told and told.queued:
        took = _take_form(record, filled, basis or Basis(revision=told.base_revision), told=told)
        took.keep_conflicts(record, by=by, told=told)
        return _receipt(record, **took.outcome)
    base = told.base_revision if told else None
    if base is not None and base < record.draft_revision and not _same_phone(record, told):
        raise NotAllowedNow(_("This record was changed elsewhere meanwhile. Your text is kept here; please compare."))
    _write(record, filled)
    _note_phone(record, told)
    return _receipt(record)


@operation
def acknowledge_backup(visit: Visit, given: Given, *, by: User, told: Told | None = None) -> Receipt:
    """已提醒客户备份账套 (F6): signed by the customer, refused with a reason, or not applicable.

    When a phone tells of it after the visit was given to somebody else or closed, it belongs to the engineer's own
    record beside, as the rest of that work will.
    """
    if told and told.queued and (visit.lead_id != by.id or (visit.closed and visit.status != "canceled")):
        visit = visits.seat(visit, by=by, told=told)
    record = _draft(visit, by=by, told=told)
    _void(record, "backup_ack")
    statement = content.canonical_backup(record)
    _sign(record, "backup_ack", given, consent="backup_ack/1", content_hash=content.sha256(statement), by=by, told=told)
    visits.note_event(visit, "backup_acknowledged", by=by, told=told, method=given.method)
    db.session.flush()
    return _receipt(record)


@operation
def add_photo(
    visit: Visit,
    upload: bytes,
    *,
    kind: str,
    caption: str = "",
    taken_at: datetime | None = None,
    by: User,
    told: Told | None = None,
) -> Receipt:
    """Keep a photo (before, after, label). The same picture twice is one photo."""
    if kind not in PHOTO_KINDS:
        raise Invalid(_("Say whether the photo was taken before or after, or shows the label."))
    picture = photos.keep(upload)
    record = _draft(visit, by=by)
    kept = [photo for photo in record.photos if photo.removed_at is None]
    if len(kept) >= MOST_PHOTOS:
        raise Invalid(_("A record holds at most %(most)s photos.", most=MOST_PHOTOS))
    photo = next((each for each in record.photos if each.sha256 == picture.full), None)
    if photo is None:
        photo = Photo(
            id=uuid7(),
            sha256=picture.full,
            print_sha256=picture.print,
            thumb_sha256=picture.thumb,
            size=picture.size,
            width=picture.width,
            height=picture.height,
            taken_at=taken_at or (told.at if told else clock.now()),
            uploaded_by_id=by.id,
        )
        record.photos.append(photo)
    photo.kind, photo.caption, photo.removed_at = kind, caption.strip()[:200], None
    db.session.flush()
    return _receipt(record, photo=str(photo.id), sha256=picture.full)


@operation
def remove_photo(visit: Visit, photo_id: UUID, *, by: User, told: Told | None = None) -> Receipt:
    """Take a photo out of the draft; its row stays as a fact. What is out already stays out."""
    record = _draft(visit, by=by, told=told)
    for photo in record.photos:
        if photo.id == photo_id and photo.removed_at is None:
            photo.removed_at = clock.now()
    return _receipt(record)


# ---- finishing and signing --------------------------------------------------------------------------


@operation
def finish(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """The work is done: check F2–F6 and F9, freeze the content, and ask for signatures (raises Invalid)."""
    record = _draft(visit, by=by)
    _finish(record, by=by, told=told)
    return _receipt(record, status=visit.status)


@operation
def reopen(visit: Visit, *, by: User, told: Told | None = None) -> Receipt:
    """Back to work before all have signed: signatures of the frozen content are voided, and kept."""
    record = _frozen(visit)
    _reopen(record, by=by, told=told)
    return _receipt(record, status=visit.status)


@operation
def customer_sign(visit: Visit, evaluation: Evaluation, given: Given, *, by: User, told: Told | None = None) -> Receipt:
    """客户评价 and 客户签字 (F7, F8, F11, F12): on the phone handed over, or the reason why not."""
    record = _frozen(visit)
    _take_customer(record, evaluation, given, by=by, told=told)
    return _receipt(record)


@operation
def complete(
    visit: Visit,
    engineer: Given,
    *,
    customer: Given | None = None,
    evaluation: Evaluation | None = None,
    by: User,
    told: Told | None = None,
) -> Receipt:
    """服务人员签字 (F13) and the end of the visit. The customer's part may come in the same submission."""
    record = _frozen(visit)
    if customer is not None:
        _take_customer(record, evaluation or Evaluation(), customer, by=by, told=told)
    _end(record, engineer, by=by, told=told)
    return _receipt(record, status=visit.status)


@operation
def complete_whole(visit: Visit, whole: Whole, *, by: User, told: Told) -> Receipt:
    """The record, the customer's part and the engineer's signature in one piece, as a phone without signal keeps them
    (raises Invalid, NotAllowedNow; ADR 16). All of it happens or none.

    The office may have changed the draft meanwhile: the two are merged, and what cannot be is a case. The photos it
    names come later. What a phone's queue brings finds its visit whatever the plan says by now.
    """
    place = visits.seat(visit, by=by, told=told) if told.queued else locked(visit)
    record = _draft_again(place, by=by, told=told)
    took = _take_form(record, whole.filled, whole.basis, told=told)
    photos.name_photos(record, whole.photos, by=by, at=told.at)
    if place.id != visit.id:
        _bring_acknowledgement(visit, record, by=by)
    try:
        _finish(record, by=by, told=told)
    except Invalid:
        if not took.from_office:
            raise
        took = took.phone_only()
        _write(record, took.filled)
        _finish(record, by=by, told=told)
    took.keep_conflicts(record, by=by, told=told)
    seen = _what_was_shown(whole, took, record)
    _take_customer(record, whole.evaluation, _seeing(whole.customer, seen), by=by, told=told)
    _end(record, _seeing(whole.engineer, seen), by=by, told=told)
    suggestions.take_phone(record, whole, by=by, told=told)
    return _receipt(record, visit=str(place.id), status=place.status, **took.outcome)


@operation
def review(visit: Visit, given: Given, *, by: User, told: Told | None = None) -> Receipt:
    """部门经理签字 (F14), later, in the office: the same content, the report is issued anew."""
    visit = locked(visit)
    record = record_of(visit)
    if record is None or not record.signed:
        raise NotAllowedNow(_("There is no signed record to review yet."))
    visits.step(visit, "reviewed", by=by, told=told, record=str(record.id))
    _sign(record, "manager", given, consent="manager/1", content_hash=record.frozen_hash, by=by, told=told)
    promise_report(record, edition="manager")
    return _receipt(record, status=visit.status)


@operation
def correct(
    visit: Visit, filled: Filled, *, reason: str, acknowledged: Given, by: User, told: Told | None = None
) -> Receipt:
    """更正单: a new revision with its reason and its own acknowledgement; what was signed stays as it is."""
    visit = locked(visit)
    old = record_of(visit)
    if old is None or not old.signed:
        raise NotAllowedNow(_("Only a signed record is corrected; this one can still be changed."))
    if told and told.base_revision not in (None, old.revision):
        raise Invalid(
            _("This record was corrected meanwhile. What you wrote is kept here; look at what is signed now.")
        )
    if not reason.strip():
        sentence = _("Please write why the record is corrected.")
        raise Invalid(sentence, fields={"correction_reason": sentence})
    new = _revision_of(old, reason.strip(), by=by)
    _write(new, filled)
    _keep_solved(old, new)
    new.started_at, new.ended_at = new.started_at or old.started_at, new.ended_at or old.ended_at
    _check_complete(new, backup=False, times=not conflicts.same_times(old, new))
    if not _differs(old, new):
        raise Invalid(_("Nothing was changed, so there is nothing to correct."))
    _freeze(new)
    seen = {"consent": "correction/1", "content_hash": new.frozen_hash, "place": "acknowledgement"}
    _sign(new, "customer", acknowledged, **seen, by=by, told=told)
    by_hand = Given(method="typed", name=by.name)
    _sign(new, "engineer", by_hand, consent="engineer/1", content_hash=new.frozen_hash, by=by, told=told)
    new.signed_at = clock.now()
    for item in old.open_items:
        item.closed_at = item.closed_at or clock.now()
    visits.note_event(visit, "corrected", by=by, told=told, record=str(new.id), revision=new.revision)
    audit.record("record.corrected", "record", new.id, by=by.id, corrects=str(old.id), content=new.frozen_hash)
    promise_report(new, edition="signed")
    return _receipt(new)


@operation
def resolve_conflict(
    case: Case,
    chosen: Mapping[str, str],
    *,
    keep: Collection[str] = (),
    seen: str = "",
    by: User,
    told: Told | None = None,
) -> Receipt:
    """A person of the office decided between the phone's and the office's words: ``chosen`` has a text for each field.

    On a draft the words are its next revision, on a signed record a correction; where they are what stands there
    already, nothing changes. Both sides stay with the case, which is settled (raises Invalid, NotAllowedNow).
    ``keep``: fields in which the record stays as it is; ``seen``: the record that the person saw (``conflict_now``).
    """
    case = locked(case)
    decided = conflicts.decided(case, chosen, keep)
    record = _record_of_conflict(case, hold=True)
    if seen not in ("", conflicts.now_of(case, record).seen):
        raise Invalid(_("This record was changed elsewhere meanwhile. Your text is kept here; please compare."))
    wanted = conflicts.with_decided(record, decided)
    settle_case(case, by=by, decision=conflicts.decision_text(decided))
    if not conflicts.differs(record, wanted):
        return _receipt(record)
    if record.signed:
        reason = _("The office resolved what phone and office had written differently.")
        acknowledged = Given(method="absent", reason=_("Decided by the office afterwards, without the customer."))
        return correct(record.visit, wanted, reason=reason, acknowledged=acknowledged, by=by, told=told)
    if record.frozen:
        raise NotAllowedNow(_("The record is being signed at this moment. Please decide when that is done."))
    _write(record, wanted)
    _note_phone(record, None)
    return _receipt(record)


def conflict_now(case: Case) -> Now:
    """What the record of a conflict says by now, for the page on which it is decided; nothing when the case names none."""
    if "record" not in case.facts:
        return Now("", {})
    return conflicts.now_of(case, _record_of_conflict(case))


def _record_of_conflict(case: Case, *, hold: bool = False) -> ServiceRecord:
    """The newest revision. Held with its visit, and read afterwards: a phone may be sending, or a colleague correcting."""
    first = db.session.get_one(ServiceRecord, UUID(case.facts["record"]))
    if hold:
        locked(first.visit)
        db.session.expire(first)
    return record_of(first.visit) or first


# ---- below: drafts ----------------------------------------------------------------------------------


def _draft(visit: Visit, *, by: User, told: Told | None = None) -> ServiceRecord:
    """The draft of this visit, made when there is none (raises NotAllowedNow when it cannot be changed now).

    A phone's queue may tell of work on a visit that is planned anew or cancelled by now: a draft of it is kept.
    """
    visit = locked(visit)
    record = record_of(visit)
    if visit.lead_id != by.id:
        raise NoLongerYours(_("This visit does not exist, or it is not yours to see."))
    if record is not None and record.signed:
        raise NotAllowedNow(_("A signed record cannot be changed. Write a correction instead."))
    if record is not None and record.frozen:
        raise NotAllowedNow(_("The record is waiting for signatures. Go back to work to change it."))
    ahead = told is not None and told.queued and (not visit.closed or visit.status == "canceled")
    if visit.status not in FILLING and not ahead:
        raise NotAllowedNow(_("The record can be filled in from arrival on."))
    return record or _new(visit, by=by)


def _draft_again(visit: Visit, *, by: User, told: Told) -> ServiceRecord:
    """The draft for a record that comes whole: signatures that were begun on another page are voided for it."""
    record = record_of(visit)
    if record is not None and record.frozen and not record.signed and visit.status == "awaiting_sign":
        _reopen(record, by=by, told=told)
    return _draft(visit, by=by, told=told)


def _new(visit: Visit, *, by: User) -> ServiceRecord:
    record = ServiceRecord(
        id=uuid7(),
        number=_next_number(),
        revision=1,
        author_id=by.id,
        solved_item_ids=[],
        created_at=clock.now(),
        **known_of(visit),
    )
    record.visit = visit
    db.session.add(record)
    db.session.flush()
    return record


def known_of(visit: Visit) -> dict[str, Any]:
    """Fields of the form (F2, F3, F12) that nobody has to type, because the visit says them."""
    return {
        "service_type": visit.kind if visit.kind in SERVICE_TYPES else "maintenance",
        "customer_name": visit.customer.name,
        "contact_phone": visit.contact.reach if visit.contact else visit.customer.phone,
    }


def _next_number() -> str:
    """``SR-20261121-0007``: the local day and a number that counts within it."""
    prefix = f"SR-{clock.local(clock.now(), settings.zone):%Y%m%d}"
    serialize(prefix)
    counter = db.session.get(Counter, prefix, with_for_update=True)
    if counter is None:
        counter = Counter(prefix=prefix, last=0)
        db.session.add(counter)
    counter.last += 1
    return f"{prefix}-{counter.last:04d}"


def _write(record: ServiceRecord, filled: Filled) -> None:
    _check_choices(filled)
    plain = asdict(filled)
    for name in ("parts", "open_items", "solved_item_ids"):
        plain.pop(name)
    plain["customer_name"] = filled.customer_name.strip() or record.visit.customer.name
    for name, value in plain.items():
        setattr(record, name, value.strip() if isinstance(value, str) else value)
    record.solved_item_ids = [str(key) for key in filled.solved_item_ids]
    record.parts = [PartUse(position=n, **asdict(line)) for n, line in enumerate(filled.parts)]
    record.open_items = [_open_item(record.visit, n, line) for n, line in enumerate(filled.open_items)]


def _open_item(visit: Visit, position: int, line: OpenLine) -> OpenItem:
    place = {"customer_id": visit.customer_id, "asset_id": visit.asset_id, "ticket_id": visit.ticket_id}
    return OpenItem(position=position, **place, **asdict(line))


def _check_choices(filled: Filled) -> None:
    for name, value, known in (
        ("service_type", filled.service_type, SERVICE_TYPES),
        ("outcome", filled.outcome, OUTCOMES),
    ):
        if value is not None and value not in known:
            raise Invalid(_("Choose one of the answers."), fields={name: _("Choose one of the answers.")})


def _take_form(record: ServiceRecord, filled: Filled, basis: Basis, *, told: Told) -> Took:
    """Bring the phone's form into the draft: as it is, or merged with what was written elsewhere since ``basis``."""
    current = basis.revision == record.draft_revision or _same_phone(record, told)
    basis = replace(basis, filled=basis.filled or Filled(**known_of(record.visit)))
    took = conflicts.take(record, filled, None if current else basis)
    _write(record, took.filled)
    _note_phone(record, told)
    return took


def _same_phone(record: ServiceRecord, told: Told | None) -> bool:
    return told is not None and told.device is not None and told.device == record.draft_device


def _note_phone(record: ServiceRecord, told: Told | None) -> None:
    record.draft_device = told.device if told else None
    flag_modified(record, "solved_item_ids")  # so that a saving of parts alone is the next revision, too
    db.session.flush()


# ---- below: finishing -------------------------------------------------------------------------------


def _finish(record: ServiceRecord, *, by: User, told: Told | None) -> None:
    nobody_said_when = record.ended_at is None
    moment = told.at if told else clock.now()
    _default_times(record, moment)
    if told and told.queued and _clock_was_wrong(told) and _wrong_times(record, told):
        record.started_at, record.ended_at = record.visit.started_at or moment, moment
    _check_complete(record, told=told)
    facts = {"record": str(record.id), "ended_by_default": nobody_said_when}
    visits.step(record.visit, "finished", by=by, told=told, at=record.ended_at, **facts)
    _freeze(record)


def _reopen(record: ServiceRecord, *, by: User, told: Told | None) -> None:
    visits.step(record.visit, "reopened", by=by, told=told, content_hash=record.content_hash)
    for role in ("customer", "engineer"):
        _void(record, role)
    record.frozen_at = record.content = record.content_hash = None
    if _ended_by_default(record.visit):
        record.ended_at = None  # the work goes on: its end is not the one that was put in for an empty field


def _default_times(record: ServiceRecord, moment: datetime) -> None:
    record.started_at = record.started_at or record.visit.started_at
    record.ended_at = record.ended_at or moment


def _ended_by_default(visit: Visit) -> bool:
    finished = (VisitEvent.visit_id == visit.id) & (VisitEvent.type == "finished")
    last = db.session.scalar(select(VisitEvent).where(finished).order_by(VisitEvent.seq.desc()).limit(1))
    return last is not None and bool(last.payload.get("ended_by_default"))


def _check_complete(
    record: ServiceRecord, *, backup: bool = True, times: bool = True, told: Told | None = None
) -> None:
    """F2, F4, F5, F6 and F9 as the form demands them; every sentence stands at its field.

    Without ``times``: they are those that were signed already, and nobody is asked about them again.
    """
    wrong: dict[str, str] = {}
    if record.service_type is None:
        wrong["service_type"] = _("Choose the kind of service.")
    if not record.content_text:
        wrong["content_text"] = _("Write what was done.")
    if record.outcome is None:
        wrong["outcome"] = _("Say whether all is done or something remains.")
    if record.outcome == "remaining" and not record.open_items:
        wrong["open_items"] = _("Write what remains to be solved.")
    if record.outcome == "all_done" and record.open_items:
        wrong["outcome"] = _("Something remains in the list below, so it is not all done.")
    if backup and record.signature("backup_ack") is None:
        wrong["backup"] = _("The backup reminder is not settled: signed, refused with a reason, or not applicable.")
    if times:
        wrong.update(_wrong_times(record, told))
    if wrong:
        raise Invalid(_("Some fields need your attention."), fields=wrong)


def _wrong_times(record: ServiceRecord, told: Told | None) -> dict[str, str]:
    """What cannot be. A phone whose clock is wrong wrote its own hours: they count, and the report says so (X21); the
    reason for another start it asked for itself."""
    queued = told is not None and told.queued
    latest = max(clock.now(), (told.device_at if told and queued else None) or clock.now())
    start, end = record.started_at, record.ended_at
    if start is None or end is None:
        return {"started_at": _("When did the service start?")}
    if end < start:
        return {"ended_at": _("The end lies before the start.")}
    if end > latest + FUTURE_SLACK:
        return {"ended_at": _("The end lies in the future.")}
    if end - start > LONGEST_SERVICE:
        return {"started_at": _("A service of more than 14 days cannot be right.")}
    by_events = record.visit.started_at
    if by_events and abs(start - by_events) > EVENT_SLACK and not record.times_reason and not queued:
        return {"times_reason": _("The start differs from the recorded one: please write why.")}
    return {}


def _clock_was_wrong(told: Told) -> bool:
    """Then hours that it wrote may be none at all (an end before the start): ours take their place (X21)."""
    return abs(timedelta(seconds=told.skew_s or 0)) > SKEW_LIMIT


def _freeze(record: ServiceRecord, frozen: bytes | None = None) -> None:
    """Keep what is to be signed: these bytes, or what the record says now."""
    frozen = frozen or content.canonical(record)
    record.content, record.content_hash = frozen.decode(), content.sha256(frozen)
    record.frozen_at = clock.now()


def _frozen(visit: Visit) -> ServiceRecord:
    visit = locked(visit)
    record = record_of(visit)
    if record is None or not record.frozen or record.signed or visit.status != "awaiting_sign":
        raise NotAllowedNow(_("This record is not waiting for signatures."))
    return record


# ---- below: signatures ------------------------------------------------------------------------------


def _take_customer(record: ServiceRecord, evaluation: Evaluation, given: Given, *, by: User, told: Told | None) -> None:
    """The ratings are part of what is signed: they join what was frozen and shown, and the signature is bound to that."""
    for name in ("skill_rating", "attitude_rating"):
        value = getattr(evaluation, name)
        if value is not None and value not in RATINGS:
            raise Invalid(_("Choose one of the answers."), fields={name: _("Choose one of the answers.")})
        setattr(record, name, value)
    record.contact_phone = (evaluation.contact_phone or record.contact_phone).strip()
    _void(record, "customer")
    _freeze(record, content.with_opinion(record))
    _sign(record, "customer", given, consent="customer/1", content_hash=record.frozen_hash, by=by, told=told)


def _sign(
    record: ServiceRecord,
    role: str,
    given: Given,
    *,
    consent: str,
    content_hash: str,
    by: User,
    told: Told | None,
    place: str = "",
) -> Signature:
    """Bind a signature to a hash. ``place``: how the page names its fields, when not by the role."""
    drawn = _checked(role, given, place or role)
    received = told.received_at if told else clock.now()
    at = given.at or (told.device_at if told else None)
    signature = Signature(
        id=uuid7(),
        role=role,
        method=given.method,
        name=given.name.strip() or (by.name if role in ("engineer", "manager") else ""),
        phone=given.phone.strip(),
        reason=given.reason.strip(),
        strokes=given.strokes if drawn else None,
        png_sha256=blobs.put(ink.png(drawn)) if drawn else None,
        content_hash=content_hash,
        consent_id=consent,
        consent_sha256=content.consent_hash(consent),
        signed_at=happened_at(at, told.skew_s if told else None, received),
        device_at=at,
        received_at=received,
        witness_id=by.id,
        submission_id=told.submission_id if told else None,
        evidence=evidence_of(given.evidence, drawn, told),
    )
    record.signatures.append(signature)
    db.session.flush()
    facts = {"role": role, "method": given.method, "content": content_hash}
    audit.record("record.signature", "record", record.id, by=by.id, **facts)
    return signature


def _checked(role: str, given: Given, place: str) -> ink.Ink | None:
    """The ink of a drawn signature; None for the other ways (raises Invalid with the sentence at its field)."""
    if given.method not in METHODS_OF[role]:
        sentence = _("Sign, or choose why there is no signature.")
        raise Invalid(sentence, fields={f"{place}_method": sentence})
    if given.method in ("refused", "absent", "remote") and not given.reason.strip():
        sentence = _("Please write the reason.")
        raise Invalid(sentence, fields={f"{place}_reason": sentence})
    needs_name = given.method == "typed" or (given.method == "drawn" and role in ("customer", "backup_ack"))
    if needs_name and len(given.name.strip()) < 2:
        sentence = _("Please write the full name of who signs.")
        raise Invalid(sentence, fields={f"{place}_name": sentence})
    if given.method != "drawn":
        return None
    try:
        return ink.read(given.strokes)
    except Invalid as error:
        raise Invalid(error.sentence, fields={f"{place}_strokes": error.sentence}) from error


def evidence_of(seen: Mapping[str, Any], drawn: ink.Ink | None, told: Told | None = None) -> dict[str, Any]:
    """What is kept about how a signature came to be: counts and times, no pressure and no speed (privacy)."""
    facts: dict[str, Any] = dict(seen)
    if drawn:
        facts |= {"strokes": len(drawn.strokes), "points": drawn.points, "duration_ms": drawn.duration_ms}
    if told and told.device:
        facts["device"] = told.device
    return facts


def _void(record: ServiceRecord, role: str) -> None:
    for signature in record.signatures:
        if signature.role == role and signature.voided_at is None:
            signature.voided_at = clock.now()


# ---- below: the end of a visit ------------------------------------------------------------------------


def _end(record: ServiceRecord, engineer: Given, *, by: User, told: Told | None) -> None:
    if {"customer", "backup_ack"} & set(standing_of(record).missing):
        raise Invalid(
            _("The customer has not signed yet."), fields={"customer_method": _("Signature or reason needed.")}
        )
    _void(record, "engineer")
    _sign(record, "engineer", engineer, consent="engineer/1", content_hash=record.frozen_hash, by=by, told=told)
    _close(record.visit, record, by=by, told=told)


def _close(visit: Visit, record: ServiceRecord, *, by: User, told: Told | None) -> None:
    moment = told.at if told else clock.now()
    record.signed_at = moment
    _close_solved(record, visit, moment)
    done = record.outcome == "all_done"
    event = "completed" if done else "partly_done"
    visits.step(visit, event, by=by, told=told, record=str(record.id), content_hash=record.frozen_hash)
    if not done:
        remaining = ";".join(item.text for item in record.open_items)
        visits.draft(visit.ticket, by=by, parent=visit, note=remaining)
    audit.record("record.signed", "record", record.id, by=by.id, content=record.frozen_hash)
    promise_report(record, edition="signed")


def _close_solved(record: ServiceRecord, visit: Visit, moment: datetime) -> None:
    keys = [UUID(text) for text in record.solved_item_ids]
    theirs = OpenItem.id.in_(keys) & (OpenItem.customer_id == visit.customer_id) & OpenItem.closed_at.is_(None)
    for item in db.session.scalars(select(OpenItem).where(theirs)):
        item.closed_at, item.closed_by_visit_id = moment, visit.id


# ---- below: a record that comes whole -----------------------------------------------------------------


def _bring_acknowledgement(original: Visit, record: ServiceRecord, *, by: User) -> None:
    """Work that got a visit of its own: the backup reminder that this engineer had answered stands with the visit it
    was made on, and counts here, too."""
    first = record_of(original)
    kept = first.origin.signature("backup_ack") if first else None
    if kept is None or kept.witness_id != by.id or record.signature("backup_ack") is not None:
        return
    columns = {column.key: getattr(kept, column.key) for column in Signature.__mapper__.column_attrs}
    moved = {"id": uuid7(), "record_id": record.id, "evidence": {**kept.evidence, "given_on": str(original.id)}}
    record.signatures.append(Signature(**{**columns, **moved}))
    db.session.flush()


def _what_was_shown(whole: Whole, took: Took, record: ServiceRecord) -> dict[str, Any]:
    """What the evidence says of the customer's screen, and of what was not on it: words of the office, our times."""
    seen: dict[str, Any] = {"from_office": list(took.from_office)} if took.from_office else {}
    if took.filled.started_at and (record.started_at, record.ended_at) != (
        took.filled.started_at,
        took.filled.ended_at,
    ):
        seen["times_by_server"] = True
    if whole.shown is not None:
        seen |= {"shown_sha256": blobs.put(whole.shown.text.encode()), "shown_matches": whole.shown.matches}
    return seen


def _seeing(given: Given, seen: Mapping[str, Any]) -> Given:
    return replace(given, evidence={**given.evidence, **seen})


# ---- below: corrections -----------------------------------------------------------------------------


def _revision_of(old: ServiceRecord, reason: str, *, by: User) -> ServiceRecord:
    new = ServiceRecord(
        id=uuid7(),
        number=old.number,
        revision=old.revision + 1,
        correction_reason=reason,
        author_id=by.id,
        skill_rating=old.skill_rating,
        attitude_rating=old.attitude_rating,
        solved_item_ids=old.solved_item_ids,
        created_at=clock.now(),
    )
    new.visit, new.corrects = old.visit, old
    db.session.add(new)
    return new


def _keep_solved(old: ServiceRecord, new: ServiceRecord) -> None:
    """What this visit solved, and what later visits solved of what it had left open: a correction asks for neither."""
    new.solved_item_ids = old.solved_item_ids
    solved = {item.text: item for item in old.open_items if item.closed_at}
    for item in new.open_items:
        if before := solved.get(item.text):
            item.closed_at, item.closed_by_visit_id = before.closed_at, before.closed_by_visit_id


def _differs(old: ServiceRecord, new: ServiceRecord) -> bool:
    return bool(content.changes(old.frozen_content, content.content_of(new)))


def _receipt(record: ServiceRecord, **more: Any) -> Receipt:
    return {
        "record": str(record.id),
        "number": record.printed_number,
        "revision": record.draft_revision,
        "content_hash": record.content_hash,
        **more,
    }
