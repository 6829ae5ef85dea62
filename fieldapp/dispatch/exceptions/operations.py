"""What people of the office decide about exceptions: each decision is one transaction, audited, and made once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from uuid import UUID

from fieldapp.accounts.models import User
from fieldapp.customers import operations as customers
from fieldapp.customers.models import Contact
from fieldapp.customers.operations import ContactDetails
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, locked, operation
from fieldapp.i18n import _, said_again, when
from fieldapp.offline import rescue
from fieldapp.offline.models import OUTCOMES, Case, Submission
from fieldapp.offline.operations import Receipt, settle_case
from fieldapp.records import operations as records
from fieldapp.records import photos
from fieldapp.records.models import ServiceRecord

LONGEST_NOTE = 1000


class AlreadySettled(NotAllowedNow):
    """Somebody else decided before."""

    code = "already_settled"


@operation
def confirm(case: Case, note: str, *, by: User) -> Receipt:
    """已阅: a person has seen what happened and leaves it so (raises AlreadySettled)."""
    case = _open(case)
    return _settle(case, _checked(note) or _("Seen."), by=by)


@operation
def issue_without(case: Case, reason: str, *, by: User) -> Receipt:
    """The missing photos will not come: the report is issued without them, with the reason. Also when the case was seen
    and settled before, for a phone may die later (raises Invalid; NotAllowedNow when none is awaited any more)."""
    case = locked(case)
    if not (reason := _checked(reason)):
        raise Invalid(_("Please write the reason."), fields={"reason": _("Please write the reason.")})
    photos.give_up(db.session.get_one(ServiceRecord, UUID(case.facts["record"])), by=by)
    decision = _("The report is issued without them: %(reason)s", reason=reason)
    if case.settled_at is None:
        return _settle(case, decision, by=by)
    case.decision = f"{case.decision}\n{decision}"
    return {"case": str(case.id), "kind": case.kind}


@operation
def put_aside(case: Case, reason: str, *, by: User) -> Receipt:
    """What could not be applied is left, with a reason; what was sent stays kept (raises Invalid, AlreadySettled)."""
    case = _open(case)
    reason = _checked(reason)
    if not reason:
        raise Invalid(_("Please write the reason."), fields={"note": _("Please write the reason.")})
    return _settle(case, reason, by=by)


def try_again(case: Case, submission: Submission, *, by: User) -> Receipt:
    """Apply what was kept once more; when it can be, the case is settled (raises NotAllowedNow with the reason when it
    cannot, NotFound, AlreadySettled).

    Two transactions: the engineer's, then the office's. Stopped between them, the next try settles what is applied.
    """
    _check_open(case)
    tried = rescue.apply_again(submission, by=by.id)
    if tried.outcome not in OUTCOMES or tried.outcome == "quarantined":
        raise NotAllowedNow(_("It still cannot be applied: %(reason)s", reason=said_again(tried.sentence)))
    return applied(case, by=by)


@operation
def applied(case: Case, *, by: User) -> Receipt:
    """What was kept is applied now (raises AlreadySettled)."""
    return _settle(_open(case), _("It was applied after all."), by=by)


@operation
def choose(
    case: Case, chosen: Mapping[str, str], decision: str, *, keep: Collection[str] = (), seen: str = "", by: User
) -> Receipt:
    """Of two versions, the words that shall stand for each field: the record's next revision, or a correction of what
    is signed. ``decision`` says in words what was chosen (raises Invalid, NotAllowedNow, AlreadySettled).

    ``keep``: fields in which the record stays as it is; ``seen``: the record that was beside the two versions.
    """
    case = _open(case)
    receipt = records.resolve_conflict(case, chosen, keep=keep, seen=seen, by=by)
    case.decision = decision
    return receipt


@operation
def take_number(case: Case, *, revision: int, by: User) -> Receipt:
    """The number from the engineer's record goes into the customer file (raises ChangedMeanwhile, AlreadySettled).

    ``revision``: of the contact as the person saw it.
    """
    case = _open(case)
    contact = db.session.get(Contact, UUID(case.facts["contact"]))
    if contact is None:
        raise NotFound(_("This contact is not in the customer file any more."))
    details = ContactDetails(**{each.name: getattr(contact, each.name) for each in fields(ContactDetails)})
    called_first = "mobile" if contact.mobile or not contact.phone else "phone"
    taken = replace(details, **{called_first: case.facts["phone"]})
    customers.change_contact(contact, taken, revision=revision, by=by)
    return _settle(case, _("The engineer's number was taken."), by=by)


@operation
def leave_number(case: Case, *, by: User) -> Receipt:
    """The office's number stays (raises AlreadySettled)."""
    return _settle(_open(case), _("The office's number stays."), by=by)


def _open(case: Case) -> Case:
    """The case, held, when nobody has settled it."""
    case = locked(case)
    _check_open(case)
    return case


def _check_open(case: Case) -> None:
    if case.settled_at is None:
        return
    settler = db.session.get(User, case.settled_by_id) if case.settled_by_id else None
    if settler is None:
        raise AlreadySettled(_("This settled itself meanwhile: %(why)s", why=said_again(case.decision)))
    # L10n: %(name)s 已于 %(when)s 处理
    raise AlreadySettled(_("%(name)s settled this already, %(when)s.", name=settler.name, when=when(case.settled_at)))


def _checked(note: str) -> str:
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        sentence = _("At most %(num)s characters, please.", num=LONGEST_NOTE)
        raise Invalid(sentence, fields={"note": sentence})
    return note


def _settle(case: Case, decision: str, *, by: User) -> Receipt:
    settled = settle_case(case, by=by, decision=decision)
    return {"case": str(settled.id), "kind": settled.kind}
