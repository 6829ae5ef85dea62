"""The ticket desk: list, file, read, answer. The embedded store's own small front, for the office."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from fieldapp import clock
from fieldapp.errors import Invalid, NotAllowedNow, wants_json
from fieldapp.offline.answers import told_by_request
from fieldapp.offline.operations import once
from fieldapp.security import OFFICE, requires
from fieldapp.tickets import labels
from fieldapp.tickets.desk import operations, queries, uploads
from fieldapp.tickets.desk.forms import CallerForm, TicketForm, caller_form
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.desk.operations import Entry
from fieldapp.tickets.news import Wrote
from fieldapp.tickets.operations import take_in

blueprint = Blueprint("desk", __name__, url_prefix="/desk")


@blueprint.get("")
@requires(*OFFICE)
def index() -> str:
    """Tickets, newest first: the open ones, or those that were asked for."""
    words, status = request.args.get("q", ""), request.args.get("status", "open")
    page = request.args.get("page", 1, int)
    listing = queries.listing(words, status, page)
    return render_template("tickets/index.html", listing=listing, words=words, status=status, labels=labels)


# ---- filing ---------------------------------------------------------------------------------------------


@blueprint.get("/new")
@requires(*OFFICE)
def new() -> Response:
    """The intake form, empty."""
    return _intake_page(TicketForm())


@blueprint.post("")
@requires(*OFFICE)
def file_ticket() -> AnyResponse:
    """File a ticket once, however often it is sent; or look the customer up and go on writing."""
    told = told_by_request()
    form = TicketForm(request.form)
    if "look_up" in request.form:
        return _intake_page(form)
    if not form.validate():
        return _intake_page(form, 422)

    def file() -> dict[str, str]:
        uid = f"desk:{told.submission_id}"
        return {"ticket": operations.file_ticket(form.intake(), uid=uid, opened_by=current_user.name).number}

    receipt, _replayed = once(told, file)
    return _done(receipt["ticket"])


def _intake_page(form: TicketForm, status: int = 200) -> Response:
    return _form_page("tickets/new.html", form, status)


# ---- one ticket -----------------------------------------------------------------------------------------


@blueprint.get("/<number>")
@requires(*OFFICE)
def show(number: str) -> Response:
    """A ticket with its thread."""
    return _ticket_page(queries.ticket_or_404(number))


@blueprint.post("/<number>/notes")
@requires(*OFFICE)
def add_note(number: str) -> AnyResponse:
    """Write into the thread, with files, and set the status if another one was chosen."""
    told = told_by_request()

    def answer() -> dict[str, Any]:
        entry = Entry(
            uid=f"desk:{told.submission_id}",
            author=current_user.name,
            text=request.form.get("text", "").strip(),
            files=files,
            status=request.form.get("status") or None,
            base=request.form.get("base", 0, int),
        )
        return operations.answer(number, entry, by=current_user)

    try:
        files = uploads.kept(request.files.getlist("files"))
        once(told, answer)
    except (Invalid, NotAllowedNow) as error:
        if wants_json():
            raise
        ticket = queries.ticket_or_404(number)
        errors = error.fields or {"text": error.sentence}
        return _ticket_page(ticket, error.status, errors=errors, written=request.form)
    return _done(number, wrote=True)


@blueprint.get("/<number>/files/<uuid:file_id>")
@requires(*OFFICE)
def download(number: str, file_id: UUID) -> Response:
    """An attachment, for saving."""
    return uploads.download(queries.file_or_404(number, file_id))


@blueprint.route("/<number>/customer", methods=["GET", "POST"])
@requires(*OFFICE)
def link(number: str) -> AnyResponse:
    """Say whose ticket it is and which device it concerns."""
    told = told_by_request() if request.method == "POST" else None
    ticket = queries.ticket_or_404(number)
    form = caller_form(request.form if told else None, ticket)
    if told is None or "look_up" in request.form:
        return _form_page("tickets/customer.html", form, ticket=ticket)
    if not form.validate():
        return _form_page("tickets/customer.html", form, 422, ticket=ticket)
    customer_number = form.known.number if form.known else None
    serial = form.asset.serial if form.asset else None
    once(told, lambda: operations.link(number, customer_number=customer_number, asset_serial=serial, by=current_user))
    return _done(number)


# ---- what the pages share -------------------------------------------------------------------------------


def _done(number: str, *, wrote: bool = False) -> AnyResponse:
    """Show the app at once what changed (the next pull would, too), and go to the ticket. ``wrote``: this person has written
    into its thread, which is news for the others even while we write there ourselves."""
    entry = {number: Wrote(at=clock.now(), by=current_user.name)} if wrote else {}
    take_in(queries.told(queries.ticket_or_404(number)), store="embedded", wrote=entry)
    return redirect(url_for(".show", number=number), 303)


def _ticket_page(
    ticket: DeskTicket,
    status: int = 200,
    *,
    errors: Mapping[str, str] | None = None,
    written: Mapping[str, str] | None = None,
) -> Response:
    page = render_template(
        "tickets/show.html",
        ticket=ticket,
        customer=queries.customer_numbered(ticket.customer_number),
        labels=labels,
        errors=errors or {},
        written=written or {},
    )
    return make_response(page, status)


def _form_page(template: str, form: CallerForm, status: int = 200, **shown: Any) -> Response:
    page = render_template(
        template,
        form=form,
        customers=queries.some_customers(),
        assets=queries.assets_of(form.known),
        **shown,
    )
    return make_response(page, status)
