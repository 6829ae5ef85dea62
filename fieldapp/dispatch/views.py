"""The dispatcher's pages: the day, its table, the plan of a visit, what waits for the manager."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from uuid import UUID

from babel.dates import format_date
from flask import Blueprint, Response, flash, jsonify, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from fieldapp import clock
from fieldapp.customers import queries as customers
from fieldapp.dispatch import axis, operations, queries, table
from fieldapp.dispatch.forms import KIND_LABELS, PlanForm, day_typed
from fieldapp.dispatch.news import said
from fieldapp.dispatch.queries import Day, Filters
from fieldapp.dispatch.suggestions import Need, suggest
from fieldapp.errors import FieldAppError, Invalid, wants_json
from fieldapp.extensions import settings
from fieldapp.i18n import _, clock_time, duration, locale_name, ngettext, when
from fieldapp.i18n import day as day_words
from fieldapp.offline import answers
from fieldapp.offline.operations import Receipt, Told
from fieldapp.security import OFFICE, requires
from fieldapp.tickets import news
from fieldapp.tickets.labels import PRIORITIES
from fieldapp.tickets.models import Ticket
from fieldapp.visits import transitions
from fieldapp.visits.models import Visit
from fieldapp.visits.queries import visit_or_404

blueprint = Blueprint("dispatch", __name__)
MOVABLE = transitions.TRANSITIONS["replanned"].sources
REVIEWS_SHOWN = 20
STATES = tuple(state for state in transitions.STATES if state not in ("draft", "declined"))
Page = str | AnyResponse


# ---- the day ----------------------------------------------------------------------------------------


@blueprint.get("/dispatch")
@requires(*OFFICE)
def board() -> str:
    """The day by engineer, what waits to be planned beside it, and what needs a person."""
    day, filters = queries.day_of(_chosen_day()), _filters()
    return render_template(
        "dispatch/board.html",
        board=(found := queries.board(day, filters)),
        news=news.brief(current_user),
        news_said=said,
        reviewable=queries.reviews(at_most=REVIEWS_SHOWN) if found.attention.reviews else [],
        week=[_weekday(each, count) for each, count in queries.week_of(day)],
        hours=axis.HOURS,
        around=(day.date - timedelta(days=7), day.date + timedelta(days=7)),
        at=clock.now(),
        late=late_words,
        movable=MOVABLE,
        badges=transitions.STATES,
        at_most=queries.LIST_AT_MOST,
        priorities=PRIORITIES,
        **_choices(day, filters),
    )


@blueprint.get("/dispatch/states")
@requires(*OFFICE)
def states() -> Response:
    """The states of the day's visits, for a board that stays open: ``{at, shape, visits: [{id, status, late}]}``."""
    found = queries.board(queries.day_of(_chosen_day()), _filters())
    visits = [{"id": str(each.id), "status": each.status, "late": late_words(each)} for each in found.visits]
    return jsonify(at=clock_time(clock.now()), shape=found.shape, visits=visits)


@blueprint.get("/dispatch/table")
@requires(*OFFICE)
def rows() -> str:
    """The same visits as a table: a day, or the week that holds it."""
    day, filters = queries.day_of(_chosen_day()), _filters()
    start, end = table.bounds(day, _span())
    found = queries.visits_between(start, end, filters, at_most=queries.LIST_AT_MOST * 10 + 1)
    return render_template(
        "dispatch/table.html",
        day=day,
        span=_span(),
        visits=found[: queries.LIST_AT_MOST * 10],
        full=len(found) > queries.LIST_AT_MOST * 10,
        late=late_words,
        filters=filters,
        **_choices(day, filters),
    )


@blueprint.get("/dispatch/table.csv")
@requires(*OFFICE)
def export() -> Response:
    """The table as a file for a spreadsheet; no cell is taken for a formula."""
    day = queries.day_of(_chosen_day())
    start, end = table.bounds(day, _span())
    found = queries.visits_between(start, end, _filters(), at_most=queries.TABLE_AT_MOST)
    response = make_response(table.csv_of(found))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="visits-{day.date:%Y-%m-%d}.csv"'
    return response


@blueprint.get("/dispatch/reviews")
@requires("manager", "admin")
def reviews() -> str:
    """Signed records that wait for the manager's signature (部门经理签字), newest first."""
    before = clock.parse_device_time(request.args.get("before", ""))
    found = queries.reviews(before, at_most=queries.PAGE + 1)
    last = found[queries.PAGE - 1].closed_at if len(found) > queries.PAGE else None
    return render_template("dispatch/reviews.html", visits=found[: queries.PAGE], next=last, paged=before is not None)


# ---- the plan of a ticket's first visit ---------------------------------------------------------------


@blueprint.get("/dispatch/tickets/<uuid:ticket_id>/plan")
@requires(*OFFICE)
def plan_ticket(ticket_id: UUID) -> Page:
    """The form for a ticket for which nobody goes yet."""
    ticket = queries.ticket_or_404(ticket_id)
    if ticket.customer is None:
        return redirect(url_for(".customer_of", ticket_id=ticket.id))
    if visit := queries.open_visit_of(ticket):
        return redirect(url_for(".plan_visit", visit_id=visit.id))
    return _ticket_page(ticket, PlanForm.for_ticket(ticket, settings.zone))


@blueprint.post("/dispatch/tickets/<uuid:ticket_id>/plan")
@requires(*OFFICE)
def save_ticket_plan(ticket_id: UUID) -> Page:
    """Draft and plan in one step; a double click is one visit."""
    ticket = queries.ticket_or_404(ticket_id)
    form = _typed()
    if "look" in request.form:
        return _ticket_page(ticket, form)

    def apply(told: Told) -> Receipt:
        wanted, place = form.decided(settings.zone)
        return operations.plan_ticket(ticket, wanted, place, by=current_user, told=told)

    return _saved(apply, form, lambda error: _ticket_page(ticket, form, error))


@blueprint.get("/dispatch/tickets/<uuid:ticket_id>/customer")
@requires(*OFFICE)
def customer_of(ticket_id: UUID) -> Page:
    """Find the customer whom a ticket means."""
    ticket = queries.ticket_or_404(ticket_id)
    if ticket.customer is not None:
        return redirect(url_for(".plan_ticket", ticket_id=ticket.id))
    text = request.args.get("q", "").strip()[:100]
    found = customers.search(text) if text else None
    return render_template("dispatch/customer.html", ticket=ticket, text=text, found=found)


@blueprint.post("/dispatch/tickets/<uuid:ticket_id>/customer")
@requires(*OFFICE)
def link_customer(ticket_id: UUID) -> Page:
    """Link the customer, then plan."""
    ticket = queries.ticket_or_404(ticket_id)

    def apply(_told: Told) -> Receipt:
        return operations.link_customer(ticket, _customer_id(), by=current_user)

    return answers.submitted(apply, then=url_for(".plan_ticket", ticket_id=ticket_id))


# ---- the plan of a visit ------------------------------------------------------------------------------


@blueprint.get("/dispatch/visits/<uuid:visit_id>/plan")
@requires(*OFFICE)
def plan_visit(visit_id: UUID) -> Page:
    """The form for a draft or a planned visit; a visit that is under way or over shows why it cannot be moved."""
    visit = visit_or_404(visit_id, current_user)
    return _visit_page(visit, PlanForm.for_visit(visit, settings.zone))


@blueprint.post("/dispatch/visits/<uuid:visit_id>/plan")
@requires(*OFFICE)
def save_visit_plan(visit_id: UUID) -> Page:
    """Plan or re-plan."""
    visit = visit_or_404(visit_id, current_user)
    form = _typed()
    if "look" in request.form:
        return _visit_page(visit, form)

    def apply(told: Told) -> Receipt:
        wanted, place = form.decided(settings.zone)
        return operations.plan_visit(visit, wanted, place, by=current_user, told=told)

    return _saved(apply, form, lambda error: _visit_page(visit, form, error))


@blueprint.post("/dispatch/visits/<uuid:visit_id>/cancellation")
@requires(*OFFICE)
def cancel(visit_id: UUID) -> Page:
    """取消, with a reason."""
    return _ended(visit_id, "cancellation", operations.cancel, _("The visit is cancelled."))


@blueprint.post("/dispatch/visits/<uuid:visit_id>/withdrawal")
@requires(*OFFICE)
def take_back(visit_id: UUID) -> Page:
    """撤回派单: the visit waits to be planned again."""
    return _ended(visit_id, "withdrawal", operations.take_back, _("The visit is taken back and waits to be planned."))


def _ended(visit_id: UUID, noun: str, operation: Callable[..., Receipt], done: str) -> Page:
    visit = visit_or_404(visit_id, current_user)
    day = visit.window_start.astimezone(settings.zone).date() if visit.window_start else None
    request.get_data(cache=True)
    reason = request.form.get("reason", "")

    def apply(told: Told) -> Receipt:
        return operation(visit, reason, by=current_user, told=told)

    try:
        answer = answers.submitted(apply, then=url_for(".board", day=day))
    except FieldAppError as error:
        if wants_json():
            raise
        form = PlanForm.for_visit(visit, settings.zone)
        return _visit_page(visit, form, error, failed=noun, reason=reason)
    if not wants_json():
        flash(done)
    return answer


# ---- how a plan page is made --------------------------------------------------------------------------


def _ticket_page(ticket: Ticket, form: PlanForm, error: FieldAppError | None = None) -> AnyResponse:
    if ticket.customer is None:
        return redirect(url_for(".customer_of", ticket_id=ticket.id))
    places = queries.places_of(ticket.customer, ticket)
    if request.method == "GET":
        form.take_the_only(places)
    need = Need(
        customer=ticket.customer,
        site=places.site(form.site_id),
        asset_id=ticket.asset_id,
        named_engineer_id=ticket.named_engineer_id,
    )
    action = url_for(".save_ticket_plan", ticket_id=ticket.id)
    return _plan_page(need, places, form, error, action=action, ticket=ticket, visit=None, movable=True)


def _visit_page(
    visit: Visit, form: PlanForm, error: FieldAppError | None = None, *, failed: str = "", reason: str = ""
) -> AnyResponse:
    places, role = queries.places_of(visit.customer, visit), current_user.role
    need = Need(
        customer=visit.customer,
        site=places.site(form.site_id),
        asset_id=visit.asset_id,
        named_engineer_id=visit.ticket.named_engineer_id,
        visit_id=visit.id,
        declined_by=queries.decliners_of(visit),
    )
    return _plan_page(
        need,
        places,
        form,
        error,
        action=url_for(".save_visit_plan", visit_id=visit.id),
        ticket=visit.ticket,
        visit=visit,
        waiting=queries.why_waiting(visit) if visit.status == "draft" else None,
        movable=any(transitions.allows(visit, event, role) for event in ("planned", "replanned")),
        cancelable=transitions.allows(visit, "canceled", role),
        returnable=transitions.allows(visit, "taken_back", role),
        failed=failed,
        reason=reason,
    )


def _plan_page(
    need: Need, places: queries.Places, form: PlanForm, error: FieldAppError | None, **page: object
) -> AnyResponse:
    """The form with its suggestions, as typed; with an error its sentence and the error's status."""
    day = queries.day_of(form.date)
    html = render_template(
        "dispatch/plan.html",
        need=need,
        options=_options(places),
        form=form,
        problem=error,
        errors=error.fields if error else {},
        day=day,
        suggestions=suggest(need, day, form.window(settings.zone)),
        kinds=list(KIND_LABELS.items()),
        priorities=PRIORITIES,
        **page,
    )
    return make_response(html, error.status if error else 200)


def _options(places: queries.Places) -> dict[str, list[tuple[UUID, str]]]:
    """The places, people and devices as a select shows them."""
    return {
        "sites": [(each.id, f"{each.name} · {each.address}") for each in places.sites],
        "contacts": [
            (each.id, " · ".join(filter(None, (each.name, each.role, each.reach)))) for each in places.contacts
        ],
        "assets": [(each.id, f"{each.model} · {each.serial}") for each in places.assets],
    }


def _typed() -> PlanForm:
    # The body is kept before the form is read from it: the receipt names its hash.
    request.get_data(cache=True)
    return PlanForm.typed(request.form)


def _saved(
    apply: Callable[[Told], Receipt], form: PlanForm, again: Callable[[FieldAppError], AnyResponse]
) -> AnyResponse:
    """Save once and go to the board of that day; what is not right comes back with all that was typed."""
    try:
        answer = answers.submitted(apply, then=url_for(".board", day=form.date))
    except FieldAppError as error:
        if wants_json():
            raise
        return again(error)
    if not wants_json():
        flash(_planned_words(form))
    return answer


def _planned_words(form: PlanForm) -> str:
    window = form.window(settings.zone)
    if window and window[1] < clock.now():
        return _("Saved. Mind: this window is already over.")
    return _("Planned for %(when)s.", when=when(*window)) if window else _("Planned.")


# ---- what the address says ----------------------------------------------------------------------------


def _chosen_day() -> date | None:
    text = request.args.get("day", "")
    chosen = day_typed(text)
    if text and chosen is None:
        raise Invalid(_("Write the day like 2026-11-21."))
    return chosen


def _filters() -> Filters:
    text, state = request.args.get("engineer", ""), request.args.get("state", "")
    try:
        engineer = UUID(text) if text else None
    except ValueError as error:
        raise Invalid(_("There is no such engineer.")) from error
    if state not in ("", "late", "open", *STATES):
        raise Invalid(_("There is no such state."))
    return Filters(engineer=engineer, region=request.args.get("region", "")[:60], state=state)


def _span() -> str:
    return "week" if request.args.get("span") == "week" else "day"


def _customer_id() -> UUID:
    try:
        return UUID(request.form.get("customer_id", ""))
    except ValueError as error:
        raise Invalid(_("Choose the customer.")) from error


def _choices(day: Day, filters: Filters) -> dict[str, object]:
    """What the filters can be set to, and the part of the address that keeps them."""
    regions = queries.regions(day)
    if filters.region and filters.region not in regions:
        regions.append(filters.region)
    choices = {
        "engineers": [(str(each.id), each.name) for each in queries.engineers()],
        "regions": [(name, name) for name in regions],
        "states": STATES,
    }
    kept = {name: text for name in ("engineer", "region", "state") if (text := request.args.get(name, ""))}
    return {"choices": choices, "kept": kept}


def _weekday(day: Day, count: int) -> dict[str, object]:
    """One day of the strip, with all that a screen reader needs in its label."""
    words = ngettext("%(day)s, %(num)s visit", "%(day)s, %(num)s visits", count, day=day_words(day.start))
    weekday = format_date(day.date, "EEEEEE" if locale_name() == "en" else "EEEEE", locale=locale_name())
    return {"date": day.date, "is_today": day.is_today, "weekday": weekday, "count": count, "label": words}


def late_words(visit: Visit) -> str | None:
    """``12 min late`` while somebody is awaited; None otherwise (a late arrival is a fact of its visit's page)."""
    if visit.arrived_at or visit.status not in queries.AWAITED or visit.late_by is None:
        return None
    return _("%(span)s late", span=duration(visit.late_by))
