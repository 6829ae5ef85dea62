"""A ticket ended in the store while somebody goes or works there: a person of the office decides, nobody is stopped.

What was done there is delivered all the same: into the ticket that this one became a part of, or held with a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from fieldapp import audit, clock
from fieldapp.extensions import db, operation
from fieldapp.i18n import _
from fieldapp.offline.models import Case
from fieldapp.offline.operations import open_case
from fieldapp.sync import echoes
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import lose
from fieldapp.tickets.queries import number_into, ticket_of
from fieldapp.tickets.store import Change, Receipt, Rejected, StoreError, TicketStore
from fieldapp.visits.models import Visit

KIND = "ticket_ended"
AT_MOST = 200
LONGEST_CHAIN = 5  # of tickets that became a part of the next one


@operation
def explain(store: str) -> int:
    """Ask the office to look at each open visit whose ticket ended; what goes on again needs nobody. Twice is once."""
    affected = _affected(store)
    for visit in affected:
        _ask(visit)
    _settle_what_goes_on()
    return len(affected)


def _affected(store: str) -> Sequence[Visit]:
    goes_on = Visit.closed_at.is_(None) & (Visit.status != "draft")
    query = select(Visit).join(Ticket, Ticket.id == Visit.ticket_id).options(joinedload(Visit.ticket))
    query = query.where(goes_on, Ticket.store == store, Ticket.ended.is_not(None))
    return db.session.scalars(query.order_by(Visit.window_start).limit(AT_MOST)).all()


def _ask(visit: Visit) -> None:
    ticket = visit.ticket
    at = ticket.ended_at or ticket.changed_at
    open_case(
        KIND,
        unique_for=f"{KIND}:{visit.id}:{ticket.ended}:{at.isoformat()}",
        visit_id=visit.id,
        how=ticket.ended,
        at=at.isoformat(),
        ticket=ticket.number,
        into=number_into(ticket),
    )


def _settle_what_goes_on() -> None:
    """The ticket was opened again before anybody had decided."""
    asked = Case.settled_at.is_(None) & (Case.kind == KIND)
    query = select(Case).join(Visit, Visit.id == Case.visit_id).join(Ticket, Ticket.id == Visit.ticket_id)
    for case in db.session.scalars(query.where(asked, Ticket.ended.is_(None)).limit(AT_MOST)):
        case.settled_at, case.decision = clock.now(), _("The ticket is open again.")
        audit.record("case.settled", "case", case.id, by=None, kind=case.kind)


# ---- where to deliver -----------------------------------------------------------------------------------


def standing_in(store: TicketStore, ticket: Ticket, change: Change) -> Receipt | None:
    """What stands complete in a ticket that became a part of another one: it was written before, and not again."""
    ref = ticket.ref
    db.session.rollback()
    try:
        found = store.find(change.uid, ref)
    except Rejected:
        return None
    return found if found and found.complete else None


def survivor(store: TicketStore, ticket: Ticket) -> Ticket:
    """The ticket that this one is a part of now, as our copy has it (raises Rejected when there is none)."""
    for _step in range(LONGEST_CHAIN):
        if ticket.merged_into is None:
            return ticket
        ticket = ticket_of(store.name, ticket.merged_into) or _fetched(store, ticket)
    raise _leads_nowhere(ticket)


def after_refusal(store: TicketStore, ticket: Ticket) -> Ticket:
    """The ticket as the store has it now that it refused what was written: it may have been merged, or be gone."""
    ref, key = ticket.ref, ticket.id
    db.session.rollback()
    try:
        echoes.take_in(store, store.ticket(ref))
    except Rejected:
        lose(db.session.get_one(Ticket, key))
    except StoreError:
        pass  # then it stays with what the store said first
    return db.session.get_one(Ticket, key, populate_existing=True)


def _fetched(store: TicketStore, ticket: Ticket) -> Ticket:
    """Our first look at that ticket."""
    into = ticket.merged_into or ""
    db.session.rollback()
    try:
        told = store.ticket(into)
    except Rejected as error:
        raise _leads_nowhere(ticket) from error
    return echoes.take_in(store, told)


def _leads_nowhere(ticket: Ticket) -> Rejected:
    return Rejected(
        _(
            "Ticket %(number)s was merged into %(into)s, which cannot be found. Decide in the ticket store where this"
            " belongs, write it there, then leave this delivery with a reason.",
            number=ticket.number,
            into=ticket.merged_into,
        )
    )


def not_there(ticket: Ticket) -> Rejected:
    """For a person, when the store takes nothing for a ticket that it does not have any more."""
    return Rejected(
        _(
            "Ticket %(number)s is not in the ticket store any more. File a new one there for the customer and write down"
            " what was done, then leave this delivery with a reason.",
            number=ticket.number,
        )
    )
