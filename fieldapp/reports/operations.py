"""Issue a report: render it once in each language, keep it by its hash, promise its delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from fieldapp import audit, clock, crashpoints, outbox
from fieldapp.errors import NotAllowedNow, NotFound
from fieldapp.extensions import db, operation, settings, uuid7
from fieldapp.i18n import LOCALES, _
from fieldapp.records.models import ServiceRecord
from fieldapp.records.photos import pending
from fieldapp.reports import build, pdf
from fieldapp.reports.document import ReportDocument
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.visits.queries import events_of

EDITIONS = {"signed": 1, "manager": 2}


@dataclass(frozen=True)
class _Made:
    """A rendered report that is already in the storage."""

    locale: str
    sha256: str
    size: int
    pages: int
    lost: tuple[str, ...]


def issue(record_id: UUID, *, edition: str) -> Report:
    """The report of a signed record in the customer's language; made if it is not there yet.

    Its delivery is promised with it, and the other languages in a lane of their own: nobody waits for them.
    Rendering holds no transaction. Twice is once: the same record and edition give the same row.
    Raises NotFound, RenderFailed, and NotAllowedNow while photos are still on the phone (X17).
    """
    record, revision = _signed(record_id), EDITIONS[edition]
    _check_whole(record)
    locale = first_locale(record)
    return find(record.id, locale, revision) or _keep(record_id, revision, _rendered(record, locale), first=True)


def issue_other_languages(record_id: UUID, *, edition: str) -> list[Report]:
    """The same record in every other language, each made once (raises NotFound, RenderFailed)."""
    first, revision = first_locale(_signed(record_id)), EDITIONS[edition]
    _check_whole(_signed(record_id))
    reports = []
    for locale in (name for name in LOCALES if name != first):
        record = _signed(record_id)
        already = find(record.id, locale, revision)
        reports.append(already or _keep(record_id, revision, _rendered(record, locale), first=False))
    return reports


def draft(record: ServiceRecord, *, locale: str) -> bytes:
    """What there is of a signed record whose photos are still on the phone: a PDF that says so across each page. It is
    neither kept nor sent (raises RenderFailed)."""
    document = _document(record, locale)
    db.session.rollback()
    return pdf.render(document, folder=settings.fonts_path).pdf


def first_locale(record: ServiceRecord) -> str:
    """The language in which the customer gets the report: the contact's, else the installation's."""
    contact = record.visit.contact
    return contact.language if contact and contact.language in LOCALES else settings.locale


def find(record_id: UUID, locale: str, revision: int | None = None) -> Report | None:
    """A report of a record in a language; without ``revision`` the newest."""
    query = select(Report).where(Report.record_id == record_id, Report.locale == locale)
    if revision is not None:
        query = query.where(Report.revision == revision)
    return db.session.scalar(query.order_by(Report.revision.desc()).limit(1))


def _last_signed(record: ServiceRecord) -> datetime:
    """The date inside the PDF: when the last of its signatures was given, so that the same record prints the same."""
    moments = [each.received_at for each in record.signatures if each.voided_at is None]
    return max(moments, default=record.signed_at or clock.now())


def _signed(record_id: UUID) -> ServiceRecord:
    record = db.session.get(ServiceRecord, record_id)
    if record is None or record.signed_at is None:
        raise NotFound(_("There is no signed record to make a report of."))
    return record


def _check_whole(record: ServiceRecord) -> None:
    if pending(record):
        raise NotAllowedNow(_("The report is issued when the photos have arrived from the phone."))


def _rendered(record: ServiceRecord, locale: str) -> _Made:
    """Render and keep the bytes; no transaction is open meanwhile, for rendering takes its time."""
    document = _document(record, locale)
    db.session.rollback()
    rendered = pdf.render(document, folder=settings.fonts_path)
    crashpoints.reach("after_render")
    return _Made(locale, blobs.put(rendered.pdf), len(rendered.pdf), rendered.pages, rendered.lost_characters)


def _document(record: ServiceRecord, locale: str) -> ReportDocument:
    skew, received = build.largest_skew(events_of(record.visit)), build.received_of(record)
    return build.document_of(record, locale=locale, issued_at=_last_signed(record), skew_s=skew, received_at=received)


@operation
def _keep(record_id: UUID, revision: int, made: _Made, *, first: bool) -> Report:
    record = db.session.get_one(ServiceRecord, record_id, with_for_update=True)
    if already := find(record.id, made.locale, revision):
        return already
    report = Report(
        id=uuid7(),
        record_id=record.id,
        locale=made.locale,
        revision=revision,
        sha256=made.sha256,
        size=made.size,
        pages=made.pages,
        content_hash=record.content_hash or "",
        lost_characters=list(made.lost),
        issued_at=clock.now(),
    )
    db.session.add(report)
    db.session.flush()
    audit.record("report.issued", "report", report.id, by=None, sha256=report.sha256, record=str(record.id))
    if first:
        _promise_what_follows(report, record)
    return report


def languages_lane(record: ServiceRecord) -> str:
    """Where the report in the other languages is promised: nothing of the ticket waits for it."""
    return f"languages:{record.id}"


def _promise_what_follows(report: Report, record: ServiceRecord) -> None:
    payload, ticket = {"report": str(report.id), "visit": str(record.visit_id)}, record.visit.ticket
    outbox.promise("report_issued", payload, lane=ticket.lane, uid=f"report_issued:{report.id}", store=ticket.store)
    edition = next(name for name, revision in EDITIONS.items() if revision == report.revision)
    more = {"record": str(record.id), "edition": edition}
    lane = languages_lane(record)
    outbox.promise("report_languages", more, lane=lane, uid=f"report_languages:{record.id}:{edition}")
