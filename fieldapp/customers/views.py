"""Forms of customers, contacts, sites and assets, and the import. What happened at a customer's: today.history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.accounts.models import User
from fieldapp.customers import imports, operations
from fieldapp.customers.forms import TIER_WORDS, ContactForm, DetailsForm, asset_form, customer_form, site_form
from fieldapp.customers.imports import Report
from fieldapp.customers.models import Asset, Contact, Customer, Site, dialable
from fieldapp.customers.operations import ChangedMeanwhile
from fieldapp.customers.queries import asset_or_404, contact_or_404, customer_or_404, site_or_404, sites_of
from fieldapp.errors import FieldAppError, Invalid, NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _
from fieldapp.offline.answers import told_by_request
from fieldapp.offline.operations import once
from fieldapp.security import OFFICE, requires
from fieldapp.storage import blobs

blueprint = Blueprint("customers", __name__)
blueprint.add_app_template_filter(dialable, "dialable")
blueprint.add_app_template_filter(TIER_WORDS.__getitem__, "tier_word")
Saved = Customer | Contact | Site | Asset
MOST_WRONG_SHOWN = 200


# ---- customers ----------------------------------------------------------------------------------------------


@blueprint.route("/customers/new", methods=["GET", "POST"])
@requires(*OFFICE)
def new_customer() -> AnyResponse:
    return _new(
        lambda: customer_form(_posted(), None, _owners()),
        lambda form: operations.add_customer(form.details(), by=_me()),
        title=_("New customer"),
        template="customers/customer_form.html",
        back=url_for("history.customers"),
    )


@blueprint.route("/customers/<uuid:customer_id>/edit", methods=["GET", "POST"])
@requires(*OFFICE)
def edit_customer(customer_id: UUID) -> AnyResponse:
    customer = customer_or_404(customer_id)
    return _edit(
        customer,
        customer_form(_posted(), customer, _owners(customer)),
        lambda form: operations.change_customer(customer, form.details(), revision=_revision(), by=_me()),
        title=_("Change customer"),
        template="customers/customer_form.html",
    )


# ---- contacts -----------------------------------------------------------------------------------------------


@blueprint.route("/customers/<uuid:customer_id>/contacts", methods=["GET", "POST"])
@requires(*OFFICE)
def new_contact(customer_id: UUID) -> AnyResponse:
    customer = customer_or_404(customer_id)
    return _new(
        lambda: ContactForm(_posted()),
        lambda form: operations.add_contact(customer_id, form.details(), by=_me()),
        title=_("New contact"),
        template="customers/contact_form.html",
        back=_address(customer),
        customer=customer,
    )


@blueprint.route("/contacts/<uuid:contact_id>/edit", methods=["GET", "POST"])
@requires(*OFFICE)
def edit_contact(contact_id: UUID) -> AnyResponse:
    contact = contact_or_404(contact_id)
    return _edit(
        contact,
        ContactForm(_posted(), obj=contact),
        lambda form: operations.change_contact(contact, form.details(), revision=_revision(), by=_me()),
        title=_("Change contact"),
        template="customers/contact_form.html",
        customer=contact.customer,
    )


# ---- sites --------------------------------------------------------------------------------------------------


@blueprint.route("/customers/<uuid:customer_id>/sites", methods=["GET", "POST"])
@requires(*OFFICE)
def new_site(customer_id: UUID) -> AnyResponse:
    customer = customer_or_404(customer_id)
    return _new(
        lambda: site_form(_posted(), None),
        lambda form: operations.add_site(customer_id, form.details(), by=_me()),
        title=_("New site"),
        template="customers/site_form.html",
        back=_address(customer),
        customer=customer,
    )


@blueprint.route("/sites/<uuid:site_id>/edit", methods=["GET", "POST"])
@requires(*OFFICE)
def edit_site(site_id: UUID) -> AnyResponse:
    site = site_or_404(site_id)
    return _edit(
        site,
        site_form(_posted(), site),
        lambda form: operations.change_site(site, form.details(), revision=_revision(), by=_me()),
        title=_("Change site"),
        template="customers/site_form.html",
        customer=site.customer,
    )


# ---- assets -------------------------------------------------------------------------------------------------


@blueprint.route("/customers/<uuid:customer_id>/assets", methods=["GET", "POST"])
@requires(*OFFICE)
def new_asset(customer_id: UUID) -> AnyResponse:
    customer = customer_or_404(customer_id)
    return _new(
        lambda: asset_form(_posted(), None, sites_of(customer)),
        lambda form: operations.add_asset(customer_id, form.details(), by=_me()),
        title=_("New device or product"),
        template="customers/asset_form.html",
        back=_address(customer),
        customer=customer,
    )


@blueprint.route(
    "/customers/assets/<uuid:asset_id>/edit", methods=["GET", "POST"]
)  # /assets/<build>/… are static files
@requires(*OFFICE)
def edit_asset(asset_id: UUID) -> AnyResponse:
    asset = asset_or_404(asset_id)
    return _edit(
        asset,
        asset_form(_posted(), asset, sites_of(asset.customer)),
        lambda form: operations.change_asset(asset, form.details(), revision=_revision(), by=_me()),
        title=_("Change device or product"),
        template="customers/asset_form.html",
        customer=asset.customer,
    )


# ---- what the forms share -----------------------------------------------------------------------------------


def _new(
    make_form: Callable[[], DetailsForm],
    add: Callable[[DetailsForm], Saved],
    *,
    title: str,
    template: str,
    back: str,
    customer: Customer | None = None,
) -> AnyResponse:
    """Show the form, or save it once however often it is sent, and go to what was made."""
    told = told_by_request() if request.method == "POST" else None  # before the form is read: it needs the raw body
    form = make_form()
    if told is None:
        return _form_page(form, title=title, template=template, back=back, customer=customer)
    if not form.validate():
        return _form_page(form, 422, title=title, template=template, back=back, customer=customer)
    try:
        receipt, _replayed = once(told, lambda: {"goes_to": _address(add(form))})
    except Invalid as error:
        form.say(error.fields)
        return _form_page(form, 422, title=title, template=template, back=back, customer=customer)
    return redirect(receipt["goes_to"], 303)


def _edit(
    thing: Saved,
    form: DetailsForm,
    change: Callable[[DetailsForm], Saved],
    *,
    title: str,
    template: str,
    customer: Customer | None = None,
) -> AnyResponse:
    """Show the form, or save it; when someone else saved meanwhile, show both and let the person decide."""
    back, customer_id, revision = _address(thing), customer.id if customer else None, thing.revision
    shown: dict[str, Any] = {"title": title, "template": template, "back": back, "customer": customer}
    if request.method == "GET":
        return _form_page(form, revision=revision, **shown)
    if not form.validate():
        return _form_page(form, 422, revision=_revision(), **shown)
    try:
        change(form)
    except Invalid as error:
        form.say(error.fields)
        return _form_page(form, 422, revision=_revision(), **_again(shown, customer_id))
    except ChangedMeanwhile as error:
        form.compare(error.stored)
        return _form_page(form, 409, revision=error.revision, changed=error.sentence, **_again(shown, customer_id))
    return redirect(back, 303)


def _again(shown: dict[str, Any], customer_id: UUID | None) -> dict[str, Any]:
    """After an operation was refused its transaction is gone; the customer is read anew for the page."""
    return {**shown, "customer": customer_or_404(customer_id) if customer_id else None}


def _form_page(form: DetailsForm, status: int = 200, **shown: Any) -> Response:
    page = render_template(shown.pop("template"), form=form, **shown)
    return make_response(page, status)


def _address(thing: Saved) -> str:
    """The page on which a thing is read."""
    if isinstance(thing, Asset):
        return url_for("history.asset", asset_id=thing.id)
    customer_id = thing.id if isinstance(thing, Customer) else thing.customer_id
    return url_for("history.customer", customer_id=customer_id)


def _posted() -> Mapping[str, str] | None:
    return request.form if request.method == "POST" else None


def _revision() -> int:
    """The revision that the form was filled from; a form without one was made from nothing we know."""
    text = request.form.get("revision", "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _me() -> User:
    user: User = db.session.get_one(User, current_user.id)
    return user


def _owners(customer: Customer | None = None) -> list[tuple[UUID, str]]:
    """Who may own an account: everybody who still works here, and whoever owns this one."""
    owner_id = customer.account_owner_id if customer else None
    query = select(User.id, User.name).where(User.disabled_at.is_(None) | (User.id == owner_id))
    return [(row.id, row.name) for row in db.session.execute(query.order_by(User.name))]


# ---- import -------------------------------------------------------------------------------------------------


@blueprint.get("/customers/import")
@requires(*OFFICE)
def show_import() -> AnyResponse:
    """The upload, or the check of files that were uploaded (each named by the SHA-256 of its content)."""
    return _import_page(_names(request.args))


@blueprint.post("/customers/import")
@requires(*OFFICE)
def upload_import() -> AnyResponse:
    """Keep the files and go to their check."""
    names: dict[str, Any] = {}
    for kind in imports.KINDS:
        upload = request.files.get(kind)
        if upload is not None and upload.filename:
            names[kind] = blobs.put(upload.read())
    if not names:
        return _import_page({}, 422, complaint=_("Choose at least one file."))
    return redirect(url_for(".show_import", **names), 303)


@blueprint.post("/customers/import/load")
@requires(*OFFICE)
def load_import() -> AnyResponse:
    """Load the very files that were checked: all rows, or none."""
    names = _names(request.form)
    if not names:
        return _import_page({}, 422, complaint=_("Choose at least one file."))
    try:
        report = imports.load(_contents(names), by=_me())
    except FieldAppError as error:
        return _import_page(names, error.status, complaint=error.sentence)
    if not report.loaded:
        return _import_page(names, 422, complaint=_("Something changed since the check. Nothing was loaded."))
    return _import_page(names, report=report)


@blueprint.get("/customers/import/wrong-rows.csv")
@requires(*OFFICE)
def wrong_rows() -> AnyResponse:
    """What is wrong, as a file for the spreadsheet."""
    return _download(imports.check(_contents(_names(request.args))).as_csv(), "wrong-rows.csv")


@blueprint.get("/customers/import/<kind>.csv")
@requires(*OFFICE)
def template(kind: str) -> AnyResponse:
    """An empty file with the headings of a kind."""
    if kind not in imports.KINDS:
        abort(404)
    return _download(imports.template(kind), f"{kind}.csv")


def _import_page(
    names: Mapping[str, str], status: int = 200, *, complaint: str = "", report: Report | None = None
) -> Response:
    if names and report is None:
        report = imports.check(_contents(names))
    page = render_template(
        "customers/import.html",
        names=names,
        report=report,
        complaint=complaint,
        columns=imports.COLUMNS,
        wrong=report.wrong[:MOST_WRONG_SHOWN] if report else [],
    )
    return make_response(page, status)


def _names(given: Mapping[str, str]) -> dict[str, str]:
    return {kind: given[kind] for kind in imports.KINDS if given.get(kind)}


def _contents(names: Mapping[str, str]) -> dict[str, bytes]:
    try:
        return {kind: blobs.get(name) for kind, name in names.items()}
    except NotFound as error:
        raise NotFound(_("This file is no longer there. Please upload it again.")) from error


def _download(content: bytes, name: str) -> Response:
    response = make_response(content)
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    return response
