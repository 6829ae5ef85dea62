"""Issue a report: render it once in each language, keep it by its hash, promise its delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from fieldapp import audit, clock, crashpoints, outbox
from fieldapp.errors import NotFound
from fieldapp.extensions import db, operation, settings
from fieldapp.i18n import LOCALES, _
from fieldapp.records.models import ServiceRecord
from fieldapp.reports import build, pdf
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
    """The report of a signed record in its first language; made if it is not there yet.

    Rendering holds no transaction. Twice is once: the same record and edition give the same rows.
    Raises NotFound, RenderFailed.
    """
    record = db.session.get(ServiceRecord, record_id)
    if record is None or record.signed_at is None:
        raise NotFound(_("There is no signed record to make a report of."))
    revision = EDITIONS[edition]
    already = find(record.id, first_locale(record), revision)
    if already is not None:
        return already
    issued_at = _last_signed(record)
    documents = _documents(record, issued_at)
    db.session.rollback()  # rendering takes its time: nothing stays open meanwhile
    made = [_rendered(document) for document in documents]
    crashpoints.reach("after_render")
    return _keep(record_id, revision, made)


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


def _documents(record: ServiceRecord, issued_at: datetime) -> list[build.paper.ReportDocument]:
    skew = build.largest_skew(events_of(record.visit))
    first = first_locale(record)
    order = [first, *(locale for locale in LOCALES if locale != first)]
    return [build.document_of(record, locale=locale, issued_at=issued_at, skew_s=skew) for locale in order]


def _rendered(document: build.paper.ReportDocument) -> _Made:
    rendered = pdf.render(document, folder=settings.fonts_path)
    sha256 = blobs.put(rendered.pdf)
    return _Made(document.locale, sha256, len(rendered.pdf), rendered.pages, rendered.lost_characters)


@operation
def _keep(record_id: UUID, revision: int, made: list[_Made]) -> Report:
    record = db.session.get_one(ServiceRecord, record_id, with_for_update=True)
    if already := find(record.id, made[0].locale, revision):
        return already
    reports = [
        Report(
            record_id=record.id,
            locale=each.locale,
            revision=revision,
            sha256=each.sha256,
            size=each.size,
            pages=each.pages,
            content_hash=record.content_hash or "",
            lost_characters=list(each.lost),
            issued_at=clock.now(),
        )
        for each in made
    ]
    db.session.add_all(reports)
    db.session.flush()
    first = reports[0]
    audit.record("report.issued", "report", first.id, by=None, sha256=first.sha256, record=str(record.id))
    payload = {"report": str(first.id), "visit": str(record.visit_id)}
    outbox.promise("report_issued", payload, lane=record.visit.ticket.lane, uid=f"report_issued:{first.id}")
    return first
