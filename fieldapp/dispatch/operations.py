"""What a dispatcher decides: who goes where and when, in one transaction with all that the decision changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from fieldapp import audit
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.dispatch import queries
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, locked, operation
from fieldapp.i18n import _, when
from fieldapp.offline.operations import Receipt, Told
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from fieldapp.visits.transitions import LABELS


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to go, whom to ask for and for which device: each one of the customer's, or none."""

    site_id: UUID | None = None
    contact_id: UUID | None = None
    asset_id: UUID | None = None


@operation
def plan_ticket(ticket: Ticket, wanted: Plan, place: Place, *, by: User, told: Told | None = None) -> Receipt:
    """Draft and plan the visit of a ticket (raises NotAllowedNow when it is closed or somebody already goes)."""
    ticket = locked(ticket)
    if not ticket.open:
        raise NotAllowedNow(_("This ticket is closed in the ticket store: reopen it there before you plan a visit."))
    if other := queries.open_visit_of(ticket):
        raise NotAllowedNow(_already_sentence(other))
    visit = visits.draft(ticket, by=by)
    return _plan(visit, wanted, place, by=by, told=told)


@operation
def plan_visit(visit: Visit, wanted: Plan, place: Place, *, by: User, told: Told | None = None) -> Receipt:
    """Plan a draft, or re-plan (raises NotAllowedNow when somebody changed it after this person looked)."""
    visit = locked(visit)
    _check_seen(visit, told)
    return _plan(visit, wanted, place, by=by, told=told)


@operation
def cancel(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """取消: of what this person saw, with a reason."""
    visit = locked(visit)
    _check_seen(visit, told)
    return visits.cancel(visit, reason, by=by, told=told)


@operation
def take_back(visit: Visit, reason: str, *, by: User, told: Told | None = None) -> Receipt:
    """撤回派单: of what this person saw, with a reason."""
    visit = locked(visit)
    _check_seen(visit, told)
    return visits.take_back(visit, reason, by=by, told=told)


@operation
def link_customer(ticket: Ticket, customer_id: UUID, *, by: User) -> Receipt:
    """Say which of our customers a ticket means, when the ticket store did not."""
    ticket = locked(ticket)
    customer = db.session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(_("There is no such customer."))
    if ticket.customer_id not in (None, customer.id):
        raise NotAllowedNow(_("Meanwhile this ticket was linked to another customer."))
    if ticket.customer_id is None:
        ticket.customer_id = customer.id
        audit.record("ticket.customer_linked", "ticket", ticket.id, by=by.id, customer=str(customer.id))
    return {"ticket": str(ticket.id), "customer": str(customer.id)}


# ---- below: how a plan is made ----------------------------------------------------------------------


def _plan(visit: Visit, wanted: Plan, place: Place, *, by: User, told: Told | None) -> Receipt:
    visit.site_id = _theirs(Site, place.site_id, visit, "site_id")
    visit.contact_id = _theirs(Contact, place.contact_id, visit, "contact_id")
    visit.asset_id = _theirs(Asset, place.asset_id, visit, "asset_id")
    db.session.flush()
    return visits.plan(visit, wanted, by=by, told=told)


def _theirs(kind: type[Site | Contact | Asset], key: UUID | None, visit: Visit, field: str) -> UUID | None:
    """The key, when it is one of this customer's."""
    if key is None:
        return None
    thing = cast(Site | Contact | Asset | None, db.session.get(kind, key))
    if thing is None or thing.customer_id != visit.customer_id:
        sentence = _("Choose one of this customer's.")
        raise Invalid(sentence, fields={field: sentence})
    return key


def _check_seen(visit: Visit, told: Told | None) -> None:
    if told and told.base_revision is not None and told.base_revision != visit.revision:
        raise NotAllowedNow(_changed_sentence(visit))


def _changed_sentence(visit: Visit) -> str:
    state = str(LABELS[visit.status])
    if visit.lead is None:
        return _("This visit changed while you looked: it is now “%(state)s”. Look again, then decide.", state=state)
    return _(
        "This visit changed while you looked: it is now “%(state)s”, %(name)s, %(when)s. Look again, then decide.",
        state=state,
        name=visit.lead.name,
        when=when(visit.window_start, visit.window_end),
    )


def _already_sentence(visit: Visit) -> str:
    if visit.lead is None:
        return _("This ticket already has a visit that waits for its plan.")
    return _(
        "Somebody planned this ticket before you: %(name)s, %(when)s.",
        name=visit.lead.name,
        when=when(visit.window_start, visit.window_end),
    )
