"""The page of deliveries: what waits, what needs a decision, what was delivered today."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.errors import Invalid, wants_json
from fieldapp.extensions import settings
from fieldapp.offline.answers import submitted
from fieldapp.offline.operations import Receipt, Told
from fieldapp.security import OFFICE, requires
from fieldapp.sync import labels, operations, queries, vocabulary
from fieldapp.tickets.stores import store

blueprint = Blueprint("sync", __name__)


@blueprint.record
def _count(state: BlueprintSetupState) -> None:
    """Let the health answer carry our numbers."""
    state.app.extensions.setdefault("counts", {})["deliveries"] = queries.counts


@blueprint.get("/deliveries")
@requires(*OFFICE)
def show() -> str:
    """Everything that is on its way to the ticket store."""
    return _page()


@blueprint.post("/deliveries/probe")
@requires(*OFFICE)
def probe() -> Response:
    """Ask a store that was left alone, now."""
    name = request.form.get("store", "")
    return submitted(lambda _told: operations.ask_now(name, by=current_user), then=url_for(".show"))


@blueprint.post("/deliveries/<uuid:promise_id>/retry")
@requires(*OFFICE)
def retry(promise_id: UUID) -> Response:
    """Try one delivery again now."""
    return submitted(lambda _told: operations.try_again(promise_id, by=current_user), then=url_for(".show"))


@blueprint.post("/deliveries/retry")
@requires(*OFFICE)
def retry_all() -> Response:
    """Try everything again that was held or given up."""
    return submitted(lambda _told: operations.try_all_again(by=current_user), then=url_for(".show"))


@blueprint.post("/deliveries/<uuid:promise_id>/skip")
@requires(*OFFICE)
def skip(promise_id: UUID) -> Response | tuple[str, int]:
    """Leave one delivery out, with a reason."""

    def leave(_told: Told) -> Receipt:
        return operations.skip(promise_id, request.form.get("reason", ""), by=current_user)

    try:
        return submitted(leave, then=url_for(".show"))
    except Invalid as error:
        if wants_json():
            raise
        return _page(errors={str(promise_id): error.fields["reason"]}), error.status


# ---- words of the store ----------------------------------------------------------------------------------


@blueprint.get("/deliveries/mapping")
@requires(*OFFICE)
def mapping() -> str:
    """The store's words as they are in force."""
    return _mapping_page()


@blueprint.post("/deliveries/mapping")
@requires("admin")
def replace_word() -> Response | tuple[str, int]:
    """Replace one entry."""
    section, word, means = (request.form.get(name, "") for name in ("section", "word", "means"))

    def replace(_told: Told) -> Receipt:
        return operations.replace_word(settings.ticket_store, section, word, means, by=current_user)

    try:
        return submitted(replace, then=url_for(".mapping"))
    except Invalid as error:
        if wants_json():
            raise
        return _mapping_page(error.fields, {"section": section, "word": word, "means": means}), error.status


@blueprint.post("/deliveries/mapping/taken-back")
@requires("admin")
def take_back_word() -> Response:
    """Let the entry of the file hold again."""
    section, word = request.form.get("section", ""), request.form.get("word", "")

    def take_back(_told: Told) -> Receipt:
        return operations.take_back_word(settings.ticket_store, section, word, by=current_user)

    return submitted(take_back, then=url_for(".mapping"))


@blueprint.post("/deliveries/mapping/check")
@requires("admin")
def want_check() -> Response:
    """Have a worker look at the live store."""
    return submitted(lambda _told: operations.want_check(settings.ticket_store), then=url_for(".mapping"))


def _mapping_page(errors: Mapping[str, str] | None = None, filled: Mapping[str, str] | None = None) -> str:
    filled = filled or {}
    place = filled.get("section", "").replace(".", "-")
    return render_template(
        "sync/mapping.html",
        all=vocabulary.vocabulary(store()),
        labels=labels,
        errors=errors or {},
        summary={f"{place}-{name}": sentence for name, sentence in (errors or {}).items()},
        filled=filled,
        may_edit=current_user.role == "admin",
    )


def _page(errors: Mapping[str, str] | None = None) -> str:
    return render_template("sync/deliveries.html", all=queries.deliveries(), labels=labels, errors=errors or {})
