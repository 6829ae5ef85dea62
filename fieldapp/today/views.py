"""The engineer's pages: today, and one visit."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from uuid import UUID

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from jinja2.runtime import Macro
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.errors import FieldAppError, Invalid, NotAllowedNow, answer, wants_json
from fieldapp.extensions import uuid7
from fieldapp.i18n import _, locale_name
from fieldapp.security import EVERYONE, requires
from fieldapp.today import operations
from fieldapp.today.queries import Problem, VisitPage, day_of, visit_page
from fieldapp.today.steps import TO_FILL_IN, WITH_WAY_OUT, WITHOUT_STEP, steps, ways_out
from fieldapp.visits.views import blueprint as visits

blueprint = Blueprint("today", __name__)
_same: dict[tuple[object, ...], Markup] = {}
# What macros write where a visit's number, its customer, a form's own number belong: characters that nobody types.
PLACE = SimpleNamespace(visit="\ue001", about="\ue002", number="\ue003")
NOT_TYPED = frozenset({"submission_id", "device", "device_at", "base_revision"})


def same(macro: Macro, *values: str) -> Markup:
    """What a macro says for these values, made once for each language: badges and empty forms are alike on all pages."""
    key = (locale_name(), current_app.extensions["assets"].build, macro.name, *values)
    if key not in _same:
        _same[key] = Markup(macro(*values))  # noqa: S704 - a macro escapes what it is given
    return _same[key]


def of_visit(macro: Macro, visit_id: UUID, about: str, *values: str) -> Markup:
    """What a macro says for these values, made once, with a visit filled in."""
    return filled(same(macro, *values), visit_id, about)


def filled(said: Markup, visit_id: UUID, about: str) -> Markup:
    """The visit's number and customer in their places, and a number of its own for each form (see PLACE)."""
    first, *rest = str(said).replace(PLACE.visit, str(visit_id)).split(PLACE.number)
    numbered = first + "".join(f"{uuid7()}{part}" for part in rest)
    return Markup(numbered.replace(PLACE.about, str(escape(about))))  # noqa: S704 - a macro's, and the rest is escaped


blueprint.add_app_template_global(same)
blueprint.add_app_template_global(of_visit)
blueprint.add_app_template_global(filled)


@blueprint.get("/")
@requires(*EVERYONE)
def show() -> AnyResponse | str:
    """The engineer's day, or another with ``?day=2026-11-21``; the office works on its board."""
    if current_user.in_office:
        return redirect("/dispatch")
    return render_template("today/index.html", day=day_of(current_user, _chosen_day()), steps=steps, place=PLACE)


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
        with_way_out=WITH_WAY_OUT,
        steps=steps,
        ways_out=ways_out,
        place=PLACE,
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
