"""The issued report as a file, and the page behind its QR code."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.errors import NotAllowedNow, NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _, known_locale, locale_name
from fieldapp.records.models import ServiceRecord
from fieldapp.records.photos import pending
from fieldapp.records.queries import record_of
from fieldapp.reports import operations
from fieldapp.reports.models import Report
from fieldapp.security import EVERYONE, public, requires
from fieldapp.storage import blobs
from fieldapp.visits.models import Visit, readable_by
from fieldapp.visits.queries import visit_or_404

blueprint = Blueprint("reports", __name__)


@blueprint.get("/reports/<uuid:report_id>.pdf")
@requires(*EVERYONE)
def show(report_id: UUID) -> Response:
    """The PDF; ``?locale=en`` gives the same record in another language."""
    report = _report_or_404(report_id)
    response = _pdf(blobs.get(report.sha256), report.file_name)
    response.headers["ETag"] = f'"{report.sha256}"'
    return response


@blueprint.get("/visits/<uuid:visit_id>/report")
@requires(*EVERYONE)
def newest(visit_id: UUID) -> AnyResponse:
    """On to the newest PDF of a visit, in the reader's language if there is one (raises NotAllowedNow while it is made).

    While photos of the record are still on the phone: a draft that says so (X17).
    """
    visit = visit_or_404(visit_id, current_user)
    query = select(Report.id).join(ServiceRecord).where(ServiceRecord.visit_id == visit.id)
    newest_first = query.order_by(ServiceRecord.revision.desc(), Report.revision.desc())
    readable_first = newest_first.order_by((Report.locale == locale_name()).desc(), Report.issued_at)
    report_id = db.session.scalar(readable_first.limit(1))
    record = record_of(visit)
    if report_id is None and record is not None and record.signed and pending(record):
        return _pdf(operations.draft(record, locale=locale_name()), f"{record.printed_number}-photos-pending.pdf")
    if report_id is None:
        raise NotAllowedNow(_("The report is being made; it is ready in a moment. Please try again."))
    return redirect(url_for(".show", report_id=report_id), 303)


@blueprint.get("/verify/<content_hash>")
@public
def verify(content_hash: str) -> Response | str:
    """What a QR code on paper asks: is there a record with this content, and is it the newest? No personal data."""
    record = _signed(content_hash)
    if record is None:
        return make_response(render_template("reports/verify.html", record=None, newest=None), 404)
    newest = select(ServiceRecord).where(
        ServiceRecord.visit_id == record.visit_id, ServiceRecord.signed_at.is_not(None)
    )
    newest_record = db.session.scalar(newest.order_by(ServiceRecord.revision.desc()).limit(1))
    return render_template("reports/verify.html", record=record, newest=newest_record)


def _pdf(content: bytes, name: str) -> Response:
    response = make_response(content)
    response.headers["Content-Type"] = "application/pdf"
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _report_or_404(report_id: UUID) -> Report:
    query = select(Report).join(ServiceRecord).join(Visit, ServiceRecord.visit_id == Visit.id)
    report = db.session.scalar(query.where(Report.id == report_id, readable_by(current_user)))
    if report is None:
        raise NotFound(_("This report does not exist, or it is not yours to see."))
    wanted = known_locale(request.args.get("locale", ""))
    if wanted is None:
        return report
    return operations.find(report.record_id, wanted, report.revision) or report


def _signed(content_hash: str) -> ServiceRecord | None:
    if len(content_hash) != 64:
        return None
    query = select(ServiceRecord).where(ServiceRecord.content_hash == content_hash)
    return db.session.scalar(query.where(ServiceRecord.signed_at.is_not(None)).limit(1))
