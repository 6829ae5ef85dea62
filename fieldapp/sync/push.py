"""Write to the ticket store: what a visit brought, exactly once, under the promise's own marker."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID

from flask_babel import force_locale
from sqlalchemy import select

from fieldapp import crashpoints
from fieldapp.errors import NotFound
from fieldapp.extensions import db, settings
from fieldapp.i18n import _
from fieldapp.outbox import Claim
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.sync import echoes, ended, notes
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import expect_back
from fieldapp.tickets.store import Change, Conflict, NewFile, Receipt, Rejected, StoreError, TicketStore, TooBig
from fieldapp.tickets.stores import STORES, named
from fieldapp.visits.models import Visit
from fieldapp.visits.queries import events_of
from fieldapp.visits.transitions import CLOSED

ENDED = ("closed", "suspended")  # set by the office: never written over
UNFINISHED = "in_progress"
TELLS = tuple(status for status in CLOSED if status != "canceled")  # of visits whose end sets the ticket's status
log = logging.getLogger(__name__)


def deliver_report(claim: Claim) -> str:
    """The report of a signed record: note, PDF and status (``report_issued``)."""
    report = db.session.get(Report, UUID(claim.payload["report"]))
    if report is None:
        raise NotFound(_("The report that was promised does not exist."))
    record, visit = report.record, report.record.visit
    store = _store_of(visit.ticket)
    with force_locale(settings.locale):
        note = notes.of_record(record)
        link = f"{note}\n{notes.too_large(link_to(report))}"
    file = NewFile(name=report.file_name, media_type="application/pdf", content=blobs.get(report.sha256))
    change = Change(
        uid=claim.uid,
        ticket=visit.ticket.ref,
        note=note,
        author=record.author.name,
        files=(file,),
        status=status_after(report),
    )
    linked = replace(change, note=link, files=())
    if store.caps.max_file is not None and len(file.content) > store.caps.max_file:
        return _write(store, visit.ticket, linked, claim)
    try:
        return _write(store, visit.ticket, change, claim)
    except TooBig:  # what it took of a first try stands under the same uid, so looking comes first here too
        return _write(store, visit.ticket, linked, claim)


def link_to(report: Report) -> str:
    """Where people of the company find a report."""
    return f"{settings.base_url}/reports/{report.id}.pdf"


def tell_unfinished(claim: Claim) -> str:
    """A visit that ended without a record: why, and that the ticket is still being worked on (``visit_unfinished``)."""
    visit = db.session.get(Visit, UUID(claim.payload["visit"]))
    if visit is None:
        raise NotFound(_("The visit that was promised does not exist."))
    with force_locale(settings.locale):
        note = notes.of_unfinished(visit, events_of(visit))
    author = visit.lead.name if visit.lead else ""
    change = Change(uid=claim.uid, ticket=visit.ticket.ref, note=note, author=author, status=status_unfinished(visit))
    return _write(_store_of(visit.ticket), visit.ticket, change, claim)


def tell_done_despite_cancellation(claim: Claim) -> str:
    """Work was done although the office had cancelled the visit (``done_despite_cancellation``). The status is left to
    the report that follows."""
    visit = db.session.get(Visit, UUID(claim.payload["visit"]))
    if visit is None:
        raise NotFound(_("The visit that was promised does not exist."))
    with force_locale(settings.locale):
        note = notes.of_done_despite_cancellation(visit, events_of(visit))
    author = visit.lead.name if visit.lead else ""
    change = Change(uid=claim.uid, ticket=visit.ticket.ref, note=note, author=author)
    return _write(_store_of(visit.ticket), visit.ticket, change, claim)


def status_after(report: Report) -> str | None:
    """The first report moves the ticket; a manager's signature or a correction afterwards does not."""
    if report.revision > 1 or report.record.is_correction or _overtaken(report.record.visit):
        return None
    return "resolved" if report.record.outcome == "all_done" else "in_progress"


def status_unfinished(visit: Visit) -> str | None:
    """The ticket is still being worked on, unless a later visit says how it stands."""
    return None if _overtaken(visit) else UNFINISHED


def _overtaken(visit: Visit) -> bool:
    """A later visit to this ticket has ended and says how the ticket stands: what waited so long, for a store that was down
    or for a photo, is still told, but would set the status back (ADR 23)."""
    later = (Visit.ticket_id == visit.ticket_id) & (Visit.closed_at > visit.closed_at)
    return db.session.scalar(select(Visit.id).where(later, Visit.status.in_(TELLS)).limit(1)) is not None


def _store_of(ticket: Ticket) -> TicketStore:
    """The store that the ticket came from, whatever the installation uses now."""
    if ticket.store not in STORES:
        raise Rejected(_("The ticket store “%(name)s” is not known here.", name=ticket.store))
    return named(ticket.store)


# ---- writing: no transaction is open while the store is asked -------------------------------------------


def _write(store: TicketStore, ticket: Ticket, change: Change, claim: Claim) -> str:
    """Push and return the note's name in the store. A status that the office set meanwhile stays (raises Rejected).

    What was delivered once and then found missing brings back the note and its file only: the status is people's since.
    """
    if claim.reopened:
        change = replace(change, status=None)
    if ticket.merged_into:
        if there := ended.standing_in(store, ticket, change):
            return there.ref
        ticket = ended.survivor(store, ticket)
    change = replace(change, ticket=ticket.ref, base=ticket.version)
    if change.status and ticket.status in ENDED:
        _push(store, replace(change, status=None))
        raise _left_to_a_person(ticket)
    try:
        receipt = _push(store, change)
    except Conflict as left:
        if change.status is None and left.receipt is not None:  # an earlier try had asked for one
            return left.receipt.ref
        return _settle_status(store, ticket, change)
    except Rejected:
        now = ended.after_refusal(store, ticket)
        if now.merged_into:
            return _write(store, now, change, claim)
        if now.ended == "gone":
            raise ended.not_there(now) from None
        raise
    _read_again(store, change.ticket)
    return receipt.ref


def _read_again(store: TicketStore, ref: str) -> None:
    """What we wrote changed the ticket; the next promise of this lane must not take that for somebody else's change."""
    try:
        echoes.take_in(store, store.ticket(ref))
    except StoreError as error:
        log.info("ticket not read again", extra={"ticket": ref, "why": str(error)})


def _settle_status(store: TicketStore, ticket: Ticket, change: Change) -> str:
    """Our note is in, but the ticket changed since we last read it: read it again, then decide about the status."""
    ticket = echoes.take_in(store, store.ticket(change.ticket))
    if ticket.status in ENDED:
        raise _left_to_a_person(ticket)
    with force_locale(settings.locale):
        note = _("Status after the on-site visit.")
    status = Change(
        uid=f"{change.uid}:status",
        ticket=change.ticket,
        note=note,
        author=change.author,
        status=change.status,
        base=ticket.version,
    )
    return _push(store, status).ref


def _push(store: TicketStore, change: Change) -> Receipt:
    expect_back(store.name, change.ticket, change.status)
    db.session.rollback()
    crashpoints.reach("before_call")
    receipt = store.push(change)
    crashpoints.reach("after_http")
    return receipt


def _left_to_a_person(ticket: Ticket) -> Rejected:
    with force_locale(settings.locale):
        sentence = _(
            "What was done stands in ticket %(number)s, but the office had ended the ticket. Decide on its status there,"
            " then leave this delivery with a reason.",
            number=ticket.number,
        )
    return Rejected(sentence)
