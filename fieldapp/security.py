"""Who may come in: log-in by default, a role declared on every route, writes only from our own pages, headers.

A form waits offline for days, so there are no form tokens that go stale; the browser's own word about where a
request comes from is checked instead (ADR 5).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from flask import Flask, Response, current_app, g, redirect, request, url_for
from flask_login import LoginManager, current_user
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as AnyResponse

from fieldapp.errors import FieldAppError, Refused, answer, wants_json
from fieldapp.extensions import uuid7
from fieldapp.i18n import HTML_LANG, LOCALES, _, locale_name

V = TypeVar("V", bound=Callable[..., Any])
ROLES = ("engineer", "dispatcher", "manager", "admin")
OFFICE = ("dispatcher", "manager", "admin")
EVERYONE = ROLES
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
login_manager = LoginManager()
ON_BEHALF_OF = "fieldapp.on_behalf_of"
log = logging.getLogger(__name__)


class LoginNeeded(FieldAppError):
    """Nobody is logged in; a program gets 401 JSON, a person the log-in page."""

    status, code = 401, "login_needed"


@dataclass(frozen=True)
class Access:
    """What a view declares: open to all, or to these roles. ``signed``: a program writes there and proves itself."""

    roles: tuple[str, ...]
    open: bool = False
    signed: bool = False


@dataclass(frozen=True)
class OnBehalfOf:
    """For whom this process itself asks (offline/rescue), at ``ON_BEHALF_OF`` in a request's environment.

    ``again``: what was filed shall be applied once more, as it came at this moment. Nothing that comes over the network
    can say any of it: headers become text under other names, and this is no text.
    """

    user_id: UUID
    again: datetime | None = None

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> OnBehalfOf | None:
        """What this process itself said; None for every request from outside."""
        said = environ.get(ON_BEHALF_OF)
        return said if isinstance(said, cls) else None


def requires(*roles: str) -> Callable[[V], V]:
    """Declare who may call a view. Whose things it may touch is the query's business (``visible_to``)."""
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise ValueError(f"not roles: {sorted(unknown)}")

    def declare(view: V) -> V:
        view.access = Access(roles)  # type: ignore[attr-defined]
        return view

    return declare


def public(view: V) -> V:
    """Declare a view open to everybody."""
    view.access = Access((), open=True)  # type: ignore[attr-defined]
    return view


def signed_by_sender(view: V) -> V:
    """Declare a view that programs write to from elsewhere: it checks their signature itself, and no cookie counts."""
    view.access = Access((), open=True, signed=True)  # type: ignore[attr-defined]
    return view


def init_app(app: Flask) -> None:
    """Checks before each request, headers after it, and what every template may know."""
    settings = app.extensions["settings"]
    login_manager.init_app(app)
    login_manager.session_protection = None
    app.config["TRUSTED_HOSTS"] = settings.hosts
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024
    app.config["MAX_FORM_MEMORY_SIZE"] = 2 * 1024 * 1024
    app.config["MAX_FORM_PARTS"] = 500
    if hops := int(settings.proxies):
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.before_request(_begin)
    app.before_request(check_text)
    app.before_request(check_origin)
    app.before_request(check_access)
    app.after_request(_finish)
    app.register_error_handler(LoginNeeded, _to_login)
    app.context_processor(_page_context)
    app.jinja_env.globals["submission_id"] = lambda: str(uuid7())


# ---- before a request -------------------------------------------------------------------------------


def _begin() -> None:
    g.request_id = uuid7().hex
    g.started = time.perf_counter()
    if request.mimetype == "application/x-www-form-urlencoded":
        # Such a form is read at once, and MAX_FORM_MEMORY_SIZE alone limits only the fields of forms with files.
        request.max_content_length = current_app.config["MAX_FORM_MEMORY_SIZE"]


def check_text() -> None:
    """NUL is in nobody's text: PostgreSQL stops at it, and only programs that try us out send it.

    A phone's queue is never refused (ADR 14): there it is left out, and the body stays as it came.
    """
    form = request.get_data(cache=True) if request.mimetype == "application/x-www-form-urlencoded" else b""
    in_form = b"%00" in form or b"\0" in form
    if "\0" in request.path or b"%00" in request.query_string or (in_form and "X-Sequence" not in request.headers):
        raise FieldAppError(_("The request could not be understood."))
    if in_form:
        said = ((name.replace("\0", ""), text.replace("\0", "")) for name, text in request.form.items(multi=True))
        request.form = ImmutableMultiDict(said)


def check_origin() -> None:
    """Writes must come from our own pages: ``Sec-Fetch-Site``, or without it an ``Origin`` equal to the host."""
    if request.method in SAFE_METHODS or _signed():
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        allowed = site == "same-origin"
    else:
        origin = urlsplit(request.headers.get("Origin", ""))
        allowed = bool(origin.netloc) and origin.netloc == request.host
    if not allowed:
        log.warning("write from elsewhere refused", extra={"path": _path(), "site": site})
        raise Refused(_("This request did not come from a page of this app."), code="cross_site")


def _signed() -> bool:
    access: Access | None = getattr(current_app.view_functions.get(request.endpoint or ""), "access", None)
    return access is not None and access.signed


def check_access() -> None:
    """Log-in by default: a view that declares nothing is closed to everybody."""
    if request.endpoint is None:
        return
    access: Access | None = getattr(current_app.view_functions[request.endpoint], "access", None)
    if access is None:
        raise Refused(_("This page is closed."), code="undeclared")
    if access.open:
        return
    if not current_user.is_authenticated:
        raise LoginNeeded(_("Please log in."))
    if request.headers.get("X-User", str(current_user.id)) != str(current_user.id):
        # A page of the person before still sends: their work must not go out under somebody else's name.
        raise LoginNeeded(_("Somebody else is logged in on this phone by now."))
    # A phone's queue is the word of an engineer, also of one who has another role by now.
    role = "engineer" if OnBehalfOf.of(request.environ) else current_user.role
    if role not in access.roles:
        log.warning("role refused", extra={"path": _path(), "user": str(current_user.id)})
        raise Refused(_("Your role does not allow this."))


def _to_login(error: LoginNeeded) -> AnyResponse:
    """A program gets 401 as JSON, never a redirect. After the log-in a person comes back to the page asked for."""
    if wants_json():
        return answer(error)
    wanted = request.full_path if request.query_string else request.path
    return redirect(url_for("accounts.login", next=wanted), 303)


# ---- after a request --------------------------------------------------------------------------------


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _policy())
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(self), geolocation=(), microphone=()"
    headers["X-Request-Id"] = g.get("request_id", "")
    headers.setdefault("Cache-Control", "no-store")
    if current_app.extensions["settings"].https:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    _log_request(response)
    return response


def _policy() -> str:
    policy: str | None = current_app.extensions.get("csp")
    if policy is None:
        css_hash = current_app.extensions["assets"].css_hash
        policy = (
            f"default-src 'none'; script-src 'self'; style-src 'self' {css_hash}; img-src 'self' blob: data:; "
            "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
            "base-uri 'none'; object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
            "trusted-types fieldapp"  # the one policy: it lets our own service worker be registered (offline/shell.js)
        )
        current_app.extensions["csp"] = policy
    return policy


def _log_request(response: Response) -> None:
    if not log.isEnabledFor(logging.INFO) or request.endpoint in ("assets.show", "health.live"):
        return
    spent = (time.perf_counter() - g.started) * 1000 if "started" in g else 0.0
    log.info(
        "request",
        extra={"method": request.method, "path": _path(), "status": response.status_code, "ms": round(spent, 1)},
    )


def _path() -> str:
    """The path for the log; an address that is itself a secret (``<token>``) appears as its pattern only."""
    rule = request.url_rule
    return str(rule.rule) if rule is not None and "token" in (request.view_args or {}) else request.path


def _page_context() -> dict[str, Any]:
    name = locale_name()
    return {"locale": name, "html_lang": HTML_LANG[name], "locales": LOCALES}
