"""What the customer's own screen says about the customer file: another telephone number."""

from __future__ import annotations

from fieldapp import audit
from fieldapp.accounts.models import User
from fieldapp.customers.models import Contact
from fieldapp.extensions import locked
from fieldapp.offline.operations import Told, open_case
from fieldapp.records.models import ServiceRecord
from fieldapp.records.values import Whole


def take_phone(record: ServiceRecord, whole: Whole, *, by: User, told: Told) -> None:
    """The contact signed and gave another number than the form had: it goes into the customer file, unless the office
    changed that meanwhile; then the office is asked."""
    contact, number = record.visit.contact, record.contact_phone
    before = whole.basis.filled.contact_phone.strip() if whole.basis.filled else number
    if contact is None or number in ("", before) or whole.customer.name.strip() != contact.name:
        return
    contact = locked(contact)
    if contact.reach in ("", before):
        setattr(contact, _column(contact), number)
        audit.record("contact.phone", "contact", contact.id, by=by.id, record=str(record.id))
    elif contact.reach != number:
        open_case(
            "contact_suggestion",
            unique_for=f"contact_suggestion:{told.submission_id}",
            visit_id=record.visit_id,
            submission_id=told.submission_id,
            user_id=by.id,
            contact=str(contact.id),
            name=contact.name,
            before=before,
            phone=number,
            office=contact.reach,
        )


def _column(contact: Contact) -> str:
    """The number that is called first."""
    return "mobile" if contact.mobile or not contact.phone else "phone"
