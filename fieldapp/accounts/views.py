"""Log-in, log-out, one's own account, taking the phone back, invitations, and the people of the company."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, current_app, flash, g, jsonify, make_response, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from fieldapp import clock
from fieldapp.accounts import handover, operations, queries, sessions, words
from fieldapp.accounts.models import User
from fieldapp.errors import FieldAppError, Invalid, TryLater, wants_json
from fieldapp.extensions import settings
from fieldapp.i18n import _, known_locale
from fieldapp.security import EVERYONE, public, requires

blueprint = Blueprint("accounts", __name__)
blueprint.before_app_request(handover.check)
A_YEAR = 365 * 24 * 3600


@blueprint.record_once
def _guard_messages(state: BlueprintSetupState) -> None:
    """The signed cookie of Flask only carries a message to the next page; it is kept as close as the session's."""
    https = state.app.extensions["settings"].https
    state.app.config.update(
        SESSION_COOKIE_NAME="__Host-message" if https else "message",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )


# ---- log-in and log-out -----------------------------------------------------------------------------


@blueprint.get("/login")
@public
def login() -> Response:
    """The log-in page; who is logged in already goes on. ``?as=`` fills in a name."""
    if current_user.is_authenticated:
        return redirect(_onward(current_user), 303)
    return _login_page(username=request.args.get("as", ""))


@blueprint.post("/login")
@public
def log_in() -> Response:
    """Come in: 303 to where the person wanted to go, or to the first page of their role."""
    username = request.form.get("username", "")
    try:
        welcome = operations.log_in(
            username, request.form.get("password", ""), replaces=_present_session(), **_visitor()
        )
    except (Invalid, TryLater) as error:
        return _again(error, _login_page(username=username, problem=error.sentence))
    return sessions.keep(redirect(_onward(welcome.user), 303), welcome.token, welcome.user)


@blueprint.post("/logout")
@requires(*EVERYONE)
def logout() -> Response:
    """End this session. A script is told in so many words: where a captive portal answers, nobody is logged out."""
    operations.log_out(sessions.current().id, by=current_user.id)
    return sessions.drop(jsonify(logged_out=True) if wants_json() else redirect(url_for(".login"), 303))


@blueprint.after_app_request
def keep_language(response: Response) -> Response:
    """``?lang=`` on a page chooses the language of this browser until a person with another choice logs in."""
    if "lang" in request.args and (name := known_locale(request.args["lang"])):
        response.set_cookie("lang", name, max_age=A_YEAR, secure=settings.https, httponly=True, samesite="Lax")
    return response


def _login_page(username: str = "", problem: str = "") -> Response:
    demo = queries.demo_people() if settings.is_demo else ()
    onward = request.values.get("next", "")
    return make_response(
        render_template(
            "accounts/login.html",
            username=username,
            problem=problem,
            onward=onward,
            demo=[(user, words.role_name(user)) for user in demo],
        )
    )


def _onward(user: User) -> str:
    return _own_page(request.values.get("next", "")) or ("/" if user.is_engineer else "/dispatch")


def _own_page(path: str) -> str | None:
    """``path`` when it is a page of this app that can be looked at, else None: never an address elsewhere."""
    if not path.startswith("/") or path.startswith("//") or "\\" in path or not path.isprintable():
        return None
    try:
        endpoint, _arguments = current_app.url_map.bind("").match(path.partition("?")[0], method="GET")
    except HTTPException:
        return None
    return None if endpoint == "accounts.login" else path


def _present_session() -> UUID | None:
    return g.login_session.id if current_user.is_authenticated else None


def _visitor() -> dict[str, str]:
    return {"user_agent": request.user_agent.string, "address": request.remote_addr or ""}


# ---- taking the phone back --------------------------------------------------------------------------


@blueprint.get("/taking-back")
@requires(*EVERYONE)
@handover.allowed
def taking_back() -> Response:
    """Ask for the PIN."""
    return _taking_back_page()


@blueprint.post("/taking-back")
@requires(*EVERYONE)
@handover.allowed
def take_back() -> Response:
    """The engineer has the phone again: on to the visit, or to ``next``. A page that asks by itself gets JSON."""
    try:
        visit_id = operations.take_back(sessions.current().id, request.form.get("pin", ""))
    except (Invalid, TryLater) as error:
        return _again(error, _taking_back_page(error))
    if wants_json():
        return jsonify(taken_back=True)
    onward = _own_page(request.form.get("next", ""))
    return redirect(onward or (f"/visits/{visit_id}" if visit_id else "/"), 303)


def _taking_back_page(error: FieldAppError | None = None) -> Response:
    visit_id = sessions.current().handed_over_to
    return make_response(
        render_template(
            "accounts/taking_back.html",
            has_pin=current_user.pin_hash is not None,
            onward=request.values.get("next", ""),
            customer_page=url_for("records.hand_over", visit_id=visit_id) if visit_id else "",
            problem=error.sentence if error else "",
        )
    )


# ---- one's own account ------------------------------------------------------------------------------


@blueprint.get("/account")
@requires(*EVERYONE)
def account() -> Response:
    """Name, language, map, password, PIN and devices."""
    return _account_page()


@blueprint.post("/account")
@requires(*EVERYONE)
def change_account() -> Response:
    """Save name, phone, language and map."""
    typed = {name: request.form.get(name, "") for name in ("name", "phone", "locale", "map_app")}
    try:
        operations.change_account(current_user.id, **typed)
    except Invalid as error:
        return _again(error, _account_page(error.fields, typed))
    flash(_("Saved."))
    return redirect(url_for(".account"), 303)


@blueprint.post("/account/password")
@requires(*EVERYONE)
def change_password() -> Response:
    """A new password: other devices are logged out, this one gets a new session."""
    form = request.form
    try:
        welcome = operations.change_password(
            current_user.id, form.get("current_password", ""), form.get("new_password", ""), **_visitor()
        )
    except (Invalid, TryLater) as error:
        return _again(error, _account_page(error.fields or {"current_password": error.sentence}))
    flash(_("The password is changed. Your other devices are logged out."))
    return sessions.keep(redirect(url_for(".account"), 303), welcome.token, welcome.user)


@blueprint.post("/account/pin")
@requires(*EVERYONE)
def change_pin() -> Response:
    """Set the PIN by which one takes the phone back from a customer."""
    form = request.form
    try:
        operations.change_pin(
            current_user.id, form.get("password_for_pin", ""), form.get("pin", ""), address=request.remote_addr or ""
        )
    except (Invalid, TryLater) as error:
        return _again(error, _account_page(error.fields or {"password_for_pin": error.sentence}))
    flash(_("The PIN is set."))
    return redirect(url_for(".account"), 303)


@blueprint.post("/account/devices/<uuid:login_session_id>/end")
@requires(*EVERYONE)
def end_device(login_session_id: UUID) -> Response:
    """Log out on another device of one's own."""
    operations.log_out(login_session_id, by=current_user.id)
    flash(_("That device is logged out."))
    return redirect(url_for(".account"), 303)


def _account_page(errors: Mapping[str, str] | None = None, typed: Mapping[str, str] | None = None) -> Response:
    user, here = current_user, sessions.current().id
    kept = {"name": user.name, "phone": user.phone, "locale": user.locale or "", "map_app": user.map_app or ""}
    devices = [(device, words.device_name(device), device.id == here) for device in queries.devices(user)]
    return make_response(
        render_template(
            "accounts/account.html",
            values=typed or kept,
            errors=errors or {},
            devices=devices,
            role=words.role_name(user),
            languages=words.language_options(),
            maps=words.map_options(),
        )
    )


# ---- invitations ------------------------------------------------------------------------------------


@blueprint.get("/invitations/<token>")
@public
def invitation(token: str) -> Response:
    """Ask the invited person for a password; looking uses nothing up."""
    return _invitation_page(token)


@blueprint.post("/invitations/<token>")
@public
def accept_invitation(token: str) -> Response:
    """Set the password, once, and come in."""
    try:
        welcome = operations.accept_invitation(token, request.form.get("new_password", ""), **_visitor())
    except Invalid as error:
        return _again(error, _invitation_page(token, error.fields))
    return sessions.keep(redirect(_onward(welcome.user), 303), welcome.token, welcome.user)


def _invitation_page(token: str, errors: Mapping[str, str] | None = None) -> Response:
    invited = queries.invitation_or_404(operations.keyed_hash(token)).user
    return make_response(render_template("accounts/invitation.html", invited=invited, errors=errors or {}))


# ---- people (admin) ---------------------------------------------------------------------------------


@blueprint.get("/people")
@requires("admin")
def people() -> Response:
    """Everybody who may log in, or could."""
    seen = queries.last_seen()
    rows = [(user, words.role_name(user), seen.get(user.id)) for user in queries.people()]
    return make_response(render_template("accounts/people.html", rows=rows))


@blueprint.get("/people/new")
@requires("admin")
def new_person() -> Response:
    """The form for a new person."""
    return _new_person_page()


@blueprint.post("/people")
@requires("admin")
def create_person() -> Response:
    """Add a person and show the invitation's link, once."""
    typed = {name: request.form.get(name, "") for name in ("username", "name", "role", "phone", "department")}
    try:
        user = operations.create_user(by=current_user.id, **typed)
    except Invalid as error:
        return _again(error, _new_person_page(error.fields, typed))
    return _invited_page(user)


@blueprint.get("/people/<uuid:user_id>")
@requires("admin")
def person(user_id: UUID) -> Response:
    """One person: role, invitation, disabling."""
    return _person_page(user_id)


@blueprint.post("/people/<uuid:user_id>/role")
@requires("admin")
def change_role(user_id: UUID) -> Response:
    """Give another role."""
    try:
        operations.change_role(user_id, request.form.get("role", ""), by=current_user.id)
    except Invalid as error:
        return _again(error, _person_page(user_id, error.fields))
    flash(_("Saved."))
    return redirect(url_for(".person", user_id=user_id), 303)


@blueprint.post("/people/<uuid:user_id>/disabling")
@requires("admin")
def disable_person(user_id: UUID) -> Response:
    """Let somebody in no longer."""
    operations.disable(user_id, by=current_user.id)
    flash(_("This person can no longer log in."))
    return redirect(url_for(".person", user_id=user_id), 303)


@blueprint.post("/people/<uuid:user_id>/enabling")
@requires("admin")
def enable_person(user_id: UUID) -> Response:
    """Let somebody in again."""
    operations.enable(user_id, by=current_user.id)
    flash(_("This person can log in again."))
    return redirect(url_for(".person", user_id=user_id), 303)


@blueprint.post("/people/<uuid:user_id>/invitation")
@requires("admin")
def invite_person(user_id: UUID) -> Response:
    """Make a link for a first or a forgotten password and show it, once."""
    return _invited_page(queries.person_or_404(user_id))


def _new_person_page(errors: Mapping[str, str] | None = None, typed: Mapping[str, str] | None = None) -> Response:
    return make_response(
        render_template(
            "accounts/new_person.html", values=typed or {}, errors=errors or {}, roles=list(words.role_names().items())
        )
    )


def _person_page(user_id: UUID, errors: Mapping[str, str] | None = None) -> Response:
    user = queries.person_or_404(user_id)
    return make_response(
        render_template(
            "accounts/person.html",
            person=user,
            role=words.role_name(user),
            roles=list(words.role_names().items()),
            is_self=user.id == current_user.id,
            devices=[(device, words.device_name(device)) for device in queries.devices(user)],
            errors=errors or {},
        )
    )


def _invited_page(user: User) -> Response:
    link = operations.invitation_link(operations.invite(user.id, by=current_user.id))
    until = clock.now() + operations.INVITATION_LASTS
    return make_response(render_template("accounts/invited.html", person=user, link=link, until=until))


# ---- answering what went wrong ----------------------------------------------------------------------


def _again(error: FieldAppError, page: Response) -> Response:
    """The page once more with what was typed and the error's status; a program gets the error as JSON."""
    if wants_json():
        raise error
    page.status_code = error.status
    if isinstance(error, TryLater):
        page.headers["Retry-After"] = str(error.retry_after)
    return page
