"""What promises and their states are called on the page."""

from __future__ import annotations

from fieldapp.i18n import lazy
from fieldapp.sync.models import Finding
from fieldapp.tickets.labels import STATUSES

KINDS = {
    "record_signed": lazy("Make the service report"),
    "report_issued": lazy("Put the service report into the ticket"),
    "report_languages": lazy("Make the report in the other languages"),
    "visit_unfinished": lazy("Tell the ticket that the visit could not be finished"),
    "done_despite_cancellation": lazy("Tell the ticket that work was done despite the cancellation"),
    "ticket_hinted": lazy("Look at a ticket that the store says has changed"),
}
# word, tone, icon
STATES = {
    "pending": (lazy("Waiting"), "info", "wait"),
    "leased": (lazy("Being sent"), "active", "send"),
    "retry_wait": (lazy("Tried, will try again"), "warn", "refresh"),
    "unknown": (lazy("Outcome unknown, will look"), "warn", "question"),
    "held": (lazy("Needs a decision"), "bad", "alert"),
    "dead": (lazy("Given up"), "bad", "alert"),
    "delivered": (lazy("Delivered"), "good", "done"),
    "superseded": (lazy("Replaced by a later one"), "neutral", "refresh"),
    "skipped": (lazy("Left out"), "neutral", "cancel"),
}
OUTCOMES = {
    "delivered": lazy("Delivered"),
    "retry": lazy("Did not work"),
    "held": lazy("Not accepted"),
    "put_back": lazy("The store is left alone for now"),
    "gave_up": lazy("Given up"),
    None: lazy("No answer: the worker was stopped"),
}
SECTIONS = {
    "statuses.write": lazy("Statuses that we set"),
    "statuses.read": lazy("Statuses that we read"),
    "priorities.write": lazy("Priorities that we set"),
    "priorities.read": lazy("Priorities that we read"),
    "types.write": lazy("Types that we set"),
    "types.read": lazy("Types that we read"),
    "channels.write": lazy("Channels that we set"),
    "channels.read": lazy("Channels that we read"),
    "place": lazy("Place of our tickets in the store"),
    "fields": lazy("Fields of the store"),
    "options": lazy("Other settings of the store"),
}
# Why a store is left alone.
BREAKERS = {
    "unreachable": lazy("The ticket store does not answer and is left alone for now"),
    "credentials": lazy("The ticket store does not accept our credentials: an administrator must mend them"),
    "paused": lazy("The ticket store asked us for a pause"),
}
# What comparing with the store found: its kind (word, tone), and what exactly.
FINDING_KINDS = {
    "missing": (lazy("Missing"), "bad"),
    "duplicate": (lazy("There twice"), "warn"),
    "mismatch": (lazy("Not as we sent it"), "bad"),
    "remote_changed": (lazy("Changed in the store"), "info"),
    "orphan": (lazy("Unknown note"), "warn"),
}
FINDINGS = {
    "note_gone": lazy("Our note is not in the ticket."),
    "ticket_gone": lazy("The ticket with our note cannot be found."),
    "file_gone": lazy("The report %(name)s is not attached to our note."),
    "note_twice": lazy("Our note stands %(count)s times in the ticket."),
    "file_twice": lazy("The report %(name)s is attached %(count)s times."),
    "file_differs": lazy("What is attached as %(name)s is not the report that we sent."),
    "status_differs": lazy("We set the status “%(wanted)s”, and it reads “%(is)s”."),
    "ticket_changed": lazy("The ticket changed and the store did not tell; it was read again."),
    "unknown_note": lazy("A note carries our mark %(uid)s, which we did not make."),
}


def finding(found: Finding) -> str:
    """What was found, in a sentence."""
    facts = {name: STATUSES.get(str(value), value) for name, value in found.facts.items()}
    return str(FINDINGS[found.what]) % facts
