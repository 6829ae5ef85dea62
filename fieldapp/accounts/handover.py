"""While a customer holds the engineer's phone, this session sees nothing but that customer's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.errors import NotAllowedNow, TryLater, wants_json
from fieldapp.i18n import _

UNTIL_TAKEN_BACK_S = 60
V = TypeVar("V", bound=Callable[..., Any])


def allowed(view: V) -> V:
    """Declare a view that the customer may see and use while the phone is handed over, for the same visit only."""
    view.while_handed_over = True  # type: ignore[attr-defined]
    return view


def check() -> Response | None:
    """Before each request: send a handed-over session back to the customer's page (a program gets 409, a phone's queue is
    asked to come back)."""
    if request.blueprint in ("assets", "shell") or not current_user.is_authenticated:
        return None
    visit_id = g.login_session.handed_over_to
    if visit_id is None or _allowed_for(str(visit_id)):
        return None
    if "X-Device" in request.headers:  # the phone's queue: what waits there goes on waiting, and is not given up
        raise TryLater(_("The customer has the phone. Take it back first."), retry_after=UNTIL_TAKEN_BACK_S)
    if wants_json():
        raise NotAllowedNow(_("The customer has the phone. Take it back first."), code="handed_over")
    return redirect(url_for("records.hand_over", visit_id=visit_id), 303)


def _allowed_for(visit_id: str) -> bool:
    if request.endpoint is None or not getattr(
        current_app.view_functions[request.endpoint], "while_handed_over", False
    ):
        return False
    return str((request.view_args or {}).get("visit_id", visit_id)) == visit_id
