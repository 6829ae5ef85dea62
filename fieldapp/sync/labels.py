"""What promises and their states are called on the page."""

from __future__ import annotations

from fieldapp.i18n import lazy

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
