"""Each step of a visit is a noun that a plain form posts to. The page they stand on is ``today.visit``."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, flash, request
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.errors import wants_json
from fieldapp.i18n import _
from fieldapp.offline.answers import submitted
from fieldapp.offline.operations import Receipt, Told
from fieldapp.security import OFFICE, requires
from fieldapp.visits import operations
from fieldapp.visits.queries import own_or_former_visit_or_404, own_visit_or_404, visit_or_404

blueprint = Blueprint("visits", __name__, url_prefix="/visits/<uuid:visit_id>")


@blueprint.post("/acceptance")
@requires("engineer")
def accept(visit_id: UUID) -> Response:
    """接受."""
    return _own_step(visit_id, operations.accept)


@blueprint.post("/refusal")
@requires("engineer")
def decline(visit_id: UUID) -> Response:
    """拒绝, with ``reason``: afterwards the visit is no longer this engineer's, so the day is shown."""
    response = _own_step(visit_id, operations.decline, request.form.get("reason", ""), then="/")
    if not wants_json():
        flash(_("You declined the visit. The dispatcher sees it at once and plans it anew."))
    return response


@blueprint.post("/departure")
@requires("engineer")
def depart(visit_id: UUID) -> Response:
    """出发."""
    return _own_step(visit_id, operations.depart)


@blueprint.post("/arrival")
@requires("engineer")
def arrive(visit_id: UUID) -> Response:
    """到达."""
    return _own_step(visit_id, operations.arrive)


@blueprint.post("/start")
@requires("engineer")
def start(visit_id: UUID) -> Response:
    """开始."""
    return _own_step(visit_id, operations.start)


@blueprint.post("/pause")
@requires("engineer")
def pause(visit_id: UUID) -> Response:
    """暂停, with ``reason``."""
    return _own_step(visit_id, operations.pause, request.form.get("reason", ""))


@blueprint.post("/resumption")
@requires("engineer")
def resume(visit_id: UUID) -> Response:
    """继续."""
    return _own_step(visit_id, operations.resume)


@blueprint.post("/inability")
@requires("engineer")
def cannot_complete(visit_id: UUID) -> Response:
    """无法完成, with ``cause``."""
    return _own_step(visit_id, operations.cannot_complete, request.form.get("cause", ""))


@blueprint.post("/absence")
@requires("engineer")
def no_show(visit_id: UUID) -> Response:
    """客户不在, with a ``note`` that may be empty."""
    return _own_step(visit_id, operations.no_show, request.form.get("note", ""))


@blueprint.post("/cancellation")
@requires(*OFFICE)
def cancel(visit_id: UUID) -> Response:
    """取消 by the office, with ``reason``."""
    reason = request.form.get("reason", "")
    return submitted(
        lambda told: operations.cancel(visit_or_404(visit_id, current_user), reason, by=current_user, told=told),
        then=f"/visits/{visit_id}",
    )


# ---- below ------------------------------------------------------------------------------------------


def _own_step(visit_id: UUID, step: Callable[..., Receipt], *words: str, then: str | None = None) -> Response:
    """Take a step of the engineer's own visit, once: the receipt, or 303 to ``then`` (else the visit's page).

    A phone's queue may also speak of a visit that was the engineer's when it happened.
    """

    def apply(told: Told) -> Receipt:
        find = own_or_former_visit_or_404 if told.queued else own_visit_or_404
        return step(find(visit_id, current_user), *words, by=current_user, told=told)

    return submitted(apply, then=then or f"/visits/{visit_id}")
