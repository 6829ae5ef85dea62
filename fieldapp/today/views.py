"""The engineer's pages: today, and one visit."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from jinja2.runtime import Macro
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.errors import FieldAppError, Invalid, NotAllowedNow, answer, wants_json
from fieldapp.i18n import _, locale_name
from fieldapp.security import EVERYONE, requires
from fieldapp.today import operations
from fieldapp.today.queries import Problem, VisitPage, day_of, visit_page
from fieldapp.today.steps import TO_FILL_IN, WITHOUT_STEP, with_way_out
from fieldapp.visits.views import blueprint as visits

blueprint = Blueprint("today", __name__)
_same: dict[tuple[object, ...], Markup] = {}
NOT_TYPED = frozenset({"submission_id", "device", "device_at", "base_revision"})


def same(macro: Macro, *values: str) -> Markup:
    """What a macro says for these values, made once for each language: badges and empty forms are alike on all pages."""
    key = (locale_name(), current_app.extensions["assets"].build, macro.name, *values)
    if key not in _same:
        _same[key] = Markup(macro(*values))  # noqa: S704 - a macro escapes what it is given
    return _same[key]


blueprint.add_app_template_global(same)


@blueprint.get("/")
@requires(*EVERYONE)
def show() -> AnyResponse | str:
    """The engineer's day, or another with ``?day=2026-11-21``; the office works on its board."""
    if current_user.in_office:
        return redirect("/dispatch")
    return render_template("today/index.html", day=day_of(current_user, _chosen_day()))


@blueprint.get("/visits/<uuid:visit_id>")
@requires(*EVERYONE)
def visit(visit_id: UUID) -> str:
    """One visit: all that is known, and the one next step. The office reads it."""
    return _visit_page(visit_page(visit_id, current_user))


@blueprint.post("/visits/<uuid:visit_id>/map-app")
@requires("engineer")
def map_app(visit_id: UUID) -> AnyResponse:
    """Remember which map application this person's addresses open in."""
    operations.remember_map(current_user, request.form.get("map_app", ""))
    return redirect(url_for("today.visit", visit_id=visit_id), 303)


@visits.errorhandler(Invalid)
@visits.errorhandler(NotAllowedNow)
def refused_step(error: FieldAppError) -> Response:
    """A step of a visit was refused: the visit's page again, the sentence at its form, what was typed kept."""
    if wants_json() or request.view_args is None:
        return answer(error)
    typed = {name: text for name, text in request.form.items() if name not in NOT_TYPED}
    problem = Problem(request.path.rpartition("/")[2], error.sentence, error.fields, typed)
    page = visit_page(request.view_args["visit_id"], current_user, problem)
    return make_response(_visit_page(page), error.status)


def _visit_page(page: VisitPage) -> str:
    return render_template(
        "today/visit.html",
        page=page,
        to_fill_in=TO_FILL_IN,
        without_step=WITHOUT_STEP,
        with_way_out=with_way_out(),
    )


def _chosen_day() -> date | None:
    text = request.args.get("day", "")
    if not text:
        return None
    try:
        chosen = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid(_("This is not a day. Write it as 2026-11-21.")) from error
    if not 2000 <= chosen.year <= 2100:
        raise Invalid(_("This day is too far away."))
    return chosen
