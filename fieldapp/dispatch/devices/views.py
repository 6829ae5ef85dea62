"""The engineers' phones as the office knows them, and what one of them gave away as a file (救援包)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from flask import Blueprint, Response, flash, make_response, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.accounts.models import User
from fieldapp.dispatch.devices import queries, words
from fieldapp.errors import Invalid, TooLarge, wants_json
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.offline import answers, operations, rescue
from fieldapp.offline.models import Device
from fieldapp.offline.operations import Receipt
from fieldapp.offline.rescue import Handed, Package
from fieldapp.security import OFFICE, requires

blueprint = Blueprint("devices", __name__)
LARGEST_REQUEST = rescue.MOST_BYTES + 1024 * 1024


@blueprint.get("/devices")
@requires(*OFFICE)
def index() -> str:
    """Every phone: last contact, what waits there, what is wrong with it."""
    return render_template("dispatch/devices.html", phones=queries.phones(), words=words)


@blueprint.get("/devices/rescue")
@requires(*OFFICE)
def rescue_form() -> Response:
    """The form for the file."""
    return _form_page()


@blueprint.post("/devices/rescue")
@requires(*OFFICE)
def take_in() -> Response:
    """Take in the file of a phone that cannot send; a second time nothing is done twice, and the page says so."""
    upload = request.files.get("package")
    if upload is None or not upload.filename:
        return _form_page({"package": _("Choose the file that the phone made.")}, 422)
    try:
        package = rescue.read(upload.read())
        handed = rescue.hand_in(package, by=current_user.id)
    except (Invalid, TooLarge) as error:
        return _form_page({"package": error.sentence}, error.status)
    return _report_page(package, handed)


@blueprint.post("/devices/<uuid:device_id>/write-off")
@requires(*OFFICE)
def write_off(device_id: UUID) -> AnyResponse:
    """The phone is lost or broken, and nobody waits for it any more."""
    device = queries.device_or_404(device_id)
    answer = answers.submitted(lambda _told: _written_off(device), then=url_for(".index"))
    if not wants_json():
        flash(_("This phone is no longer waited for."))
    return answer


def _written_off(device: Device) -> Receipt:
    return {"device": str(operations.write_off(device, by=current_user).id)}


@blueprint.url_value_preprocessor
def _allow_a_large_file(endpoint: str | None, _values: object) -> None:
    """Photos are in it: the file may be larger than what other pages take."""
    if endpoint == "devices.take_in":
        request.max_content_length = LARGEST_REQUEST


def _form_page(errors: Mapping[str, str] | None = None, status: int = 200) -> Response:
    return make_response(render_template("dispatch/rescue.html", errors=errors or {}, package=None), status)


def _report_page(package: Package, handed: Sequence[Handed]) -> Response:
    visits = queries.visits_named(each.what for each in handed)
    page = render_template(
        "dispatch/rescue.html",
        package=package,
        owner=db.session.get(User, package.user_id),
        handed=[(each, visits.get(queries.visit_named(each.what))) for each in handed],
        words=words,
    )
    return make_response(page)
