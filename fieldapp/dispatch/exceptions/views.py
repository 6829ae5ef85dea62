"""例外事项: what only a person can settle, one sentence each, and the page on which it is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.dispatch.devices import words as device_words
from fieldapp.dispatch.exceptions import explain, operations, queries, versions, words
from fieldapp.dispatch.exceptions.queries import Entry
from fieldapp.errors import FieldAppError, Invalid, NotFound, wants_json
from fieldapp.i18n import _
from fieldapp.offline import answers
from fieldapp.offline.models import Case
from fieldapp.offline.operations import Receipt, Told
from fieldapp.records import operations as records
from fieldapp.records.conflicts import Now
from fieldapp.security import OFFICE, requires

blueprint = Blueprint("exceptions", __name__)
blueprint.add_app_template_global(queries.count, "open_exceptions")  # asked by the navigation, of the office only


@blueprint.get("/exceptions")
@requires(*OFFICE)
def index() -> str:
    """What is open, newest first, or what was settled."""
    settled, before = request.args.get("state") == "settled", request.args.get("before", "")
    return render_template(
        "dispatch/exceptions.html",
        listing=queries.settled_cases(before) if settled else queries.open_cases(before),
        settled=settled,
        paged=bool(before),
        words=words,
        device_words=device_words,
    )


@blueprint.get("/exceptions/<uuid:case_id>")
@requires(*OFFICE)
def show(case_id: UUID) -> Response:
    """One exception: what happened, and what can be decided; once settled, who decided what."""
    return _page(queries.entry_or_404(case_id))


@blueprint.post("/exceptions/<uuid:case_id>/settlement")
@requires(*OFFICE)
def settle(case_id: UUID) -> Response:
    """The decision."""
    request.get_data(cache=True)
    entry = queries.entry_or_404(case_id)
    return _decided(entry, lambda _told: _settle(entry), _("Settled. Thank you."))


@blueprint.post("/exceptions/<uuid:case_id>/report-without-photos")
@requires(*OFFICE)
def issue_without(case_id: UUID) -> Response:
    """The photos will not come, for this ``reason``: the report goes out without them."""
    request.get_data(cache=True)
    entry = queries.entry_or_404(case_id)
    if entry.case.kind != "photos_missing":
        raise NotFound(_("There is no such exception."))
    reason = request.form.get("reason", "")
    done = _("The report is being issued without the missing photos.")
    return _decided(entry, lambda _told: operations.issue_without(entry.case, reason, by=current_user), done)


@blueprint.post("/exceptions/<uuid:case_id>/another-try")
@requires(*OFFICE)
def try_again(case_id: UUID) -> Response:
    """Apply what was kept once more, now that what stood in its way may be mended."""
    entry = queries.entry_or_404(case_id)
    if entry.submission is None:
        raise NotFound(_("Nothing of it is kept here."))
    try:
        receipt = operations.try_again(entry.case, entry.submission, by=current_user)
    except FieldAppError as error:
        if wants_json():
            raise
        return _page(queries.entry_or_404(case_id), error)
    if wants_json():
        return jsonify(receipt)
    flash(_("It is applied now."))
    return redirect(url_for(".index"), 303)


def _settle(entry: Entry) -> Receipt:
    case, note = entry.case, request.form.get("note", "")
    if case.kind == "conflict":
        return _choose(case)
    if case.kind == "contact_suggestion":
        return _answer_suggestion(case)
    if case.kind == "quarantine":
        return operations.put_aside(case, note, by=current_user)
    return operations.confirm(case, note, by=current_user)


def _choose(case: Case) -> Receipt:
    both = versions.versions_of(case, records.conflict_now(case).texts)
    choices = versions.typed(both, request.form)
    chosen = versions.decided(both, choices)
    keep, seen = versions.kept_as_they_are(choices), request.form.get("seen", "")
    try:
        return operations.choose(case, chosen, versions.in_words(both, choices), keep=keep, seen=seen, by=current_user)
    except Invalid as error:  # it names the fields of the record, the page its own
        places = {versions.place_of(name, both): sentence for name, sentence in error.fields.items()}
        raise Invalid(error.sentence, fields=places) from error


def _answer_suggestion(case: Case) -> Receipt:
    choice, revision = request.form.get("choice", ""), request.form.get("revision", 0, int)
    if choice == "take":
        return operations.take_number(case, revision=revision, by=current_user)
    if choice == "leave":
        return operations.leave_number(case, by=current_user)
    raise Invalid(_("Choose one of the two numbers."), fields={"choice": _("Choose one of the two numbers.")})


def _decided(entry: Entry, apply: Callable[[Told], Receipt], done: str) -> Response:
    """Decide once and go back to the list; what cannot be decided so comes back with all that was typed."""
    case_id = entry.case.id
    try:
        answer = answers.submitted(apply, then=url_for(".index"))
    except FieldAppError as error:
        if wants_json():
            raise
        return _page(queries.entry_or_404(case_id), error, request.form)
    if not wants_json():
        flash(done)
    return answer


def _page(entry: Entry, error: FieldAppError | None = None, form: Mapping[str, str] | None = None) -> Response:
    undecided = entry.case.kind == "conflict" and not entry.settled
    now = records.conflict_now(entry.case) if undecided else Now("", {})
    both = versions.versions_of(entry.case, now.texts) if entry.case.kind == "conflict" else []
    page: dict[str, Any] = {
        "entry": entry,
        "versions": both,
        "record_seen": now.seen,
        "choices": versions.typed(both, form or {}),
        "note": (form or {}).get("note", ""),
        "reason": (form or {}).get("reason", ""),
        "choice": (form or {}).get("choice"),
        "problem": error,
        "errors": error.fields if error else {},
        "words": words,
        "device_words": device_words,
        **explain.explained(entry),
    }
    return make_response(render_template("dispatch/exception.html", **page), error.status if error else 200)
