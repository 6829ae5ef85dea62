"""What is written in the embedded store: tickets filed, entries added, customers linked.

Every write takes the desk's lock first, so versions and the feed's sequence grow in the order of the commits and a
reader who follows the sequence misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from fieldapp import audit, clock
from fieldapp.accounts.models import User
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, operation, serialize, settings
from fieldapp.i18n import _
from fieldapp.offline.operations import Receipt
from fieldapp.tickets.desk.models import DeskFile, DeskNote, DeskTicket
from fieldapp.tickets.models import CHANNELS, PRIORITIES, STATUSES, TYPES

LONGEST_SUBJECT = 200


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What a caller says (S1, 客户报修): the customer by number when known, else by name; the device by serial when known.

    ``company_phone`` 公司电话, ``contact_name`` 联系人, ``contact_phone`` 联系人手机, ``contact_qq`` 联系人QQ,
    ``named_engineer`` 服务师傅 whom they remember, ``cover`` 维护签约情况.
    """

    subject: str
    text: str = ""
    channel: str = "hotline"
    type: str = "hardware"
    priority: str = "normal"
    customer_number: str | None = None
    asset_serial: str | None = None
    customer_name: str = ""
    product: str = ""
    company_phone: str = ""
    contact_name: str = ""
    contact_phone: str = ""
    contact_qq: str = ""
    contact_email: str = ""
    named_engineer: str = ""
    cover: str = ""


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """A file whose content is already in the storage; ``size`` in bytes."""

    name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry for a thread. ``base``: the version that its writer saw; None does not guard."""

    author: str
    text: str
    uid: str | None = None
    files: Sequence[KeptFile] = ()
    status: str | None = None
    base: int | None = None


# ---- filing ---------------------------------------------------------------------------------------------


@operation
def file_ticket(intake: Intake, *, uid: str | None, opened_by: str = "", at: datetime | None = None) -> DeskTicket:
    """File a ticket and give it its number; the same ``uid`` twice is one ticket. ``at``: when it came in, if not now."""
    serialize("desk")
    if uid and (already := db.session.scalar(select(DeskTicket).where(DeskTicket.uid == uid))):
        return already
    _check_words(intake)
    opened = at or clock.now()
    ticket = DeskTicket(
        **{name: value.strip() if isinstance(value, str) else value for name, value in vars(intake).items()},
        number=_next_number(opened),
        uid=uid,
        version=1,
        change=_next_change(),
        status="new",
        opened_by=opened_by,
        opened_at=opened,
        changed_at=opened,
        changed_by=opened_by[:80],
    )
    ticket.customer_number = ticket.customer_number or None
    ticket.asset_serial = ticket.asset_serial or None
    db.session.add(ticket)
    db.session.flush()
    return ticket


def _check_words(intake: Intake) -> None:
    if not intake.subject.strip():
        raise Invalid(
            _("Say in a few words what is wrong."), fields={"subject": _("Say in a few words what is wrong.")}
        )
    if len(intake.subject.strip()) > LONGEST_SUBJECT:
        sentence = _("At most %(most)s characters; put the rest into the description.", most=LONGEST_SUBJECT)
        raise Invalid(sentence, fields={"subject": sentence})
    for name, known in (("channel", CHANNELS), ("type", TYPES), ("priority", PRIORITIES)):
        if getattr(intake, name) not in known:
            raise Invalid(_("Choose one of the list."), fields={name: _("Choose one of the list.")})


# ---- the thread -----------------------------------------------------------------------------------------


@operation
def add_entry(number: str, entry: Entry) -> DeskNote:
    """Add an entry, once for its ``uid``, and set the status unless the ticket is no longer as its writer saw it.

    Then the entry stands all the same and its ``left_status`` says what a person has to decide (raises NotFound,
    Invalid for an unknown status).
    """
    serialize("desk")
    if entry.uid and (already := db.session.scalar(select(DeskNote).where(DeskNote.uid == entry.uid))):
        return already
    if entry.status is not None and entry.status not in STATUSES:
        raise Invalid(_("The desk knows no status “%(status)s”.", status=entry.status))
    ticket = ticket_for_update(number)
    wanted = entry.status if entry.status != ticket.status else None
    stale = entry.base is not None and entry.base != ticket.version
    sets = None if stale else wanted
    note = DeskNote(
        version=ticket.version + 1,
        uid=entry.uid,
        at=clock.now(),
        author=entry.author,
        text=entry.text,
        status_before=ticket.status if sets else None,
        status_after=sets,
        left_status=wanted if stale else None,
        files=[DeskFile(position=place, **vars(file)) for place, file in enumerate(entry.files)],
    )
    ticket.notes.append(note)
    ticket.status = sets or ticket.status
    _touch(ticket, entry.author)
    db.session.flush()
    return note


@operation
def answer(number: str, entry: Entry, *, by: User) -> Receipt:
    """What a person writes on the ticket's page: refused when the ticket changed while the page was open.

    Raises Invalid when there is nothing to save, NotAllowedNow when somebody was faster.
    """
    ticket = ticket_for_update(number)
    if entry.base != ticket.version:
        raise NotAllowedNow(_("This ticket changed while you were writing. Read what is new, then save again."))
    if not entry.text.strip() and not entry.files and entry.status in (None, ticket.status):
        sentence = _("Write a note, add a file or choose another status.")
        raise Invalid(sentence, fields={"text": sentence})
    before = ticket.status
    add_entry(number, entry)
    audit.record("desk.answered", "desk_ticket", ticket.id, by=by.id, before=before, after=ticket.status)
    return {"ticket": number, "status": ticket.status, "version": ticket.version}


@operation
def link(number: str, *, customer_number: str | None, asset_serial: str | None, by: User) -> Receipt:
    """Say whose ticket it is and which device it concerns."""
    ticket = ticket_for_update(number)
    ticket.customer_number, ticket.asset_serial = customer_number, asset_serial
    _touch(ticket, by.name)
    audit.record("desk.linked", "desk_ticket", ticket.id, by=by.id)
    db.session.flush()
    return {"ticket": number, "version": ticket.version}


def ticket_for_update(number: str) -> DeskTicket:
    """The ticket, held until the operation ends (raises NotFound)."""
    serialize("desk")
    query = select(DeskTicket).where(DeskTicket.number == number).execution_options(populate_existing=True)
    ticket = db.session.scalar(query)
    if ticket is None:
        raise NotFound(_("There is no ticket %(number)s.", number=number))
    return ticket


# ---- numbers --------------------------------------------------------------------------------------------


def _touch(ticket: DeskTicket, by: str) -> None:
    ticket.version += 1
    ticket.change = _next_change()
    ticket.changed_at, ticket.changed_by = clock.now(), by[:80]


def _next_change() -> int:
    return (db.session.scalar(select(func.max(DeskTicket.change))) or 0) + 1


def _next_number(opened: datetime) -> str:
    """``T-20261121-0001``: by the local day on which the ticket came in."""
    prefix = clock.local(opened, settings.zone).strftime("T-%Y%m%d-")
    of_the_day = select(DeskTicket.number).where(DeskTicket.number.startswith(prefix))
    last = db.session.scalar(of_the_day.order_by(func.length(DeskTicket.number).desc(), DeskTicket.number.desc()))
    return f"{prefix}{int(last.removeprefix(prefix)) + 1 if last else 1:04d}"
