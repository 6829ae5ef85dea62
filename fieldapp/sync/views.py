"""The page of deliveries: what waits, what needs a decision, what was delivered today."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.errors import Invalid, wants_json
from fieldapp.offline.answers import submitted
from fieldapp.offline.operations import Receipt, Told
from fieldapp.security import OFFICE, requires
from fieldapp.sync import labels, operations, queries

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


@blueprint.post("/deliveries/stores/<store>/probe")
@requires(*OFFICE)
def probe(store: str) -> Response:
    """Ask a store that was left alone, now."""
    return submitted(lambda _told: operations.ask_now(store, by=current_user), then=url_for(".show"))


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


def _page(errors: Mapping[str, str] | None = None) -> str:
    return render_template("sync/deliveries.html", all=queries.deliveries(), labels=labels, errors=errors or {})
