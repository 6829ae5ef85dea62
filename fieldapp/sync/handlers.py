"""What follows from what: every kind of promise and who keeps it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fieldapp.i18n import LOCALES
from fieldapp.outbox import Claim
from fieldapp.reports import operations as reports
from fieldapp.sync import hooks, push

Handler = Callable[[Claim], str | None]


def issue_report(claim: Claim) -> str | None:
    """A signed record gets its report, and the report promises its delivery."""
    report = reports.issue(UUID(claim.payload["record"]), edition=claim.payload["edition"])
    return report.file_name


def issue_languages(claim: Claim) -> str | None:
    """The same report in the other languages, after the one that the customer waits for."""
    made = reports.issue_other_languages(UUID(claim.payload["record"]), edition=claim.payload["edition"])
    return ", ".join(LOCALES[report.locale] for report in made)


HANDLERS: dict[str, Handler] = {
    "record_signed": issue_report,
    "report_issued": push.deliver_report,
    "report_languages": issue_languages,
    "visit_unfinished": push.tell_unfinished,
    "done_despite_cancellation": push.tell_done_despite_cancellation,
    "ticket_hinted": hooks.look,
}
