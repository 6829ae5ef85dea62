"""Pages of the customer file that show what happened: the search, a customer, an asset."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers import queries
from fieldapp.extensions import db, settings
from fieldapp.security import EVERYONE, requires
from fieldapp.tickets import history as ticket_history
from fieldapp.tickets import labels
from fieldapp.tickets.stores import store
from fieldapp.today.past import past_of_asset, past_of_customer, scope_of

blueprint = Blueprint("history", __name__)
LONGEST_QUERY = 80


@blueprint.get("/customers")
@requires(*EVERYONE)
def customers() -> Response:
    """Search by name, number, serial and phone; all that one may see when nothing is asked."""
    query = request.args.get("q", "").strip()[:LONGEST_QUERY]
    after = _uuid("after")
    found = queries.search(query, scope=scope_of(current_user), after=after)
    return make_response(render_template("today/customers.html", query=query, found=found, after=after))


@blueprint.get("/customers/<uuid:customer_id>")
@requires(*EVERYONE)
def customer(customer_id: UUID) -> Response:
    """A customer: how to reach them, where and what we serve, what is open, what was done."""
    scope = scope_of(current_user)
    shown = queries.customer_or_404(customer_id, scope)
    assets, more_assets = queries.assets_of(shown, scope, after=_uuid("assets_after"))
    owner = db.session.get(User, shown.account_owner_id) if shown.account_owner_id else None
    return make_response(
        render_template(
            "today/customer.html",
            customer=shown,
            owner=owner,
            contacts=queries.contacts_of(shown),
            sites=queries.sites_of(shown, scope),
            assets=assets,
            more_assets=more_assets,
            past=past_of_customer(shown, current_user, _uuid("before")),
            paging=bool(request.args.get("before") or request.args.get("assets_after")),
            today=_today(),
        )
    )


@blueprint.get("/customers/<uuid:customer_id>/tickets")
@requires(*EVERYONE)
def tickets(customer_id: UUID) -> Response:
    """The customer's tickets as the ticket store last told them: from what is kept, so that it opens anywhere."""
    shown = queries.customer_or_404(customer_id, scope_of(current_user))
    told = ticket_history.kept(shown.id)
    return make_response(render_template("today/tickets.html", customer=shown, kept=told, labels=labels))


@blueprint.post("/customers/<uuid:customer_id>/tickets")
@requires(*EVERYONE)
def ask(customer_id: UUID) -> AnyResponse:
    """Ask the ticket store now; what it does not answer within a few seconds is left as it was."""
    shown = queries.customer_or_404(customer_id, scope_of(current_user))
    ticket_history.ask(store(), shown)
    return redirect(url_for(".tickets", customer_id=customer_id), 303)


@blueprint.get("/assets/<uuid:asset_id>")
@requires(*EVERYONE)
def asset(asset_id: UUID) -> Response:
    """An asset: what it is, its warranty, what is open, what was done to it."""
    shown = queries.asset_or_404(asset_id, scope_of(current_user))
    past = past_of_asset(shown, current_user, _uuid("before"))
    return make_response(
        render_template(
            "today/asset.html", device=shown, past=past, paging=bool(request.args.get("before")), today=_today()
        )
    )


def _uuid(name: str) -> UUID | None:
    """A place in a list as a link gives it; anything else is the beginning."""
    try:
        return UUID(request.args.get(name, ""))
    except ValueError:
        return None


def _today() -> date:
    return clock.local(clock.now(), settings.zone).date()
