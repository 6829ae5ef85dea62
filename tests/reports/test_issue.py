"""From a signed record to kept reports: once, in three languages, with the promise of delivery."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pypdf
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import db, uuid7
from fieldapp.outbox import Promise
from fieldapp.records import operations as records
from fieldapp.records.queries import record_of
from fieldapp.records.values import Given
from fieldapp.reports import operations as reports
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.conftest import add
from tests.records.samples import filled, signed

LogIn = Callable[[User], FlaskClient]


def test_a_signed_record_is_issued_once_in_three_languages(working: Visit, engineer: User) -> None:
    signed(working, engineer)
    record = record_of(working)

    first = reports.issue(record.id, edition="signed")
    again = reports.issue(record.id, edition="signed")
    reports.issue_other_languages(record.id, edition="signed")
    reports.issue_other_languages(record.id, edition="signed")

    kept = list(db.session.scalars(select(Report)))
    assert len(kept) == 3
    assert again.id == first.id
    assert {report.locale for report in kept} == {"zh_Hans_CN", "zh_Hant_TW", "en"}
    assert {report.content_hash for report in kept} == {record.content_hash}
    promises = [each for each in db.session.scalars(select(Promise)) if each.kind == "report_issued"]
    assert [each.payload["report"] for each in promises] == [str(first.id)]


def test_the_pdf_carries_the_signed_content(working: Visit, engineer: User) -> None:
    signed(working, engineer)
    record = record_of(working)

    report = reports.issue(record.id, edition="signed")

    pdf = pypdf.PdfReader(io.BytesIO(blobs.get(report.sha256)))
    assert pdf.attachments["record.json"] == [(record.content or "").encode()]
    assert report.pages == len(pdf.pages)
    assert record.number in report.file_name


def test_the_managers_signature_issues_it_anew_with_the_same_content(
    working: Visit, engineer: User, manager: User
) -> None:
    signed(working, engineer)
    record = record_of(working)
    first = reports.issue(record.id, edition="signed")

    records.review(working, Given(method="typed", name=manager.name), by=manager)
    second = reports.issue(record.id, edition="manager")

    assert (first.revision, second.revision) == (1, 2)
    assert first.content_hash == second.content_hash
    assert first.sha256 != second.sha256


def test_a_correction_prints_what_it_changed(working: Visit, engineer: User) -> None:
    signed(working, engineer)
    changed = filled(content_text="更换主板,重装系统", contact_phone="13900000001")
    seen = Given(method="remote", name="陈晓", reason="电话确认")
    records.correct(working, changed, reason="漏写重装系统", acknowledged=seen, by=engineer)

    report = reports.issue(record_of(working).id, edition="signed")

    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(blobs.get(report.sha256))).pages)
    assert "Correction" in text
    assert "漏写重装系统" in text
    assert "重装系统" in text


def test_a_colleague_reads_the_report_only_when_working_at_the_same_site(
    working: Visit, engineer: User, colleague: User, dispatcher: User, logged_in: LogIn
) -> None:
    signed(working, engineer)
    report = reports.issue(record_of(working).id, edition="signed")
    url = f"/reports/{report.id}.pdf"

    assert logged_in(engineer).get(url).mimetype == "application/pdf"
    assert logged_in(colleague).get(url).status_code == 404

    following = visits.draft(working.ticket, by=dispatcher)
    start = clock.now() + timedelta(days=1)
    visits.plan(following, Plan(lead_id=colleague.id, window_start=start), by=dispatcher)
    assert logged_in(colleague).get(url).status_code == 200


def test_a_visit_leads_to_its_newest_report_in_the_readers_language(
    working: Visit, engineer: User, manager: User, logged_in: LogIn
) -> None:
    signed(working, engineer)
    record = record_of(working)
    fixed = {"record_id": record.id, "sha256": blobs.put(b"%PDF"), "size": 4, "pages": 1, "content_hash": "a" * 64}
    first, second, third, newer = (
        Report(id=uuid7(), locale=locale, revision=revision, issued_at=clock.now() + timedelta(seconds=n), **fixed)
        for n, (locale, revision) in enumerate((("zh_Hans_CN", 1), ("zh_Hant_TW", 1), ("en", 1), ("zh_Hans_CN", 2)))
    )
    reader, address = logged_in(manager), f"/visits/{working.id}/report"

    def led_to(lang: str) -> str:
        return reader.get(f"{address}?lang={lang}").location.removeprefix("/reports/").removesuffix(".pdf")

    add(first, second, third)
    assert led_to("zh-CN") == str(first.id)
    assert led_to("en") == str(third.id)
    add(newer)  # the other languages follow later
    assert led_to("en") == str(newer.id)
    assert f"/reports/{newer.id}.pdf" in reader.get(f"/visits/{working.id}?lang=en").text
