"""What makes the pages an app that opens without signal: service worker, manifest, the page for when nothing else can be
shown, and the marks by which the phone knows that a page is ours and whose it is (docs/offline.md)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, jsonify, make_response, render_template

from fieldapp import clock
from fieldapp.assets import lean
from fieldapp.extensions import settings
from fieldapp.i18n import HTML_LANG, _, locale_name
from fieldapp.security import public

blueprint = Blueprint("shell", __name__)
ONLY_AT_THE_DESK = frozenset({"js/refresh.js"})
ICONS = ((192, "any"), (512, "any"), (192, "maskable"), (512, "maskable"))


def init_app(app: Flask) -> None:
    """The routes, the marks on every page's answer, and what the layout says of its page."""
    app.register_blueprint(blueprint)
    app.after_request(_mark)
    app.context_processor(_page_context)


# ---- routes -----------------------------------------------------------------------------------------


@blueprint.get("/service-worker.js")
@public
def service_worker() -> Response:
    """The service worker of this build, for every page; its list of files to take along is filled in here."""
    response = make_response(_script(current_app.config["STATIC"], _build()))
    response.headers["Content-Type"] = "text/javascript; charset=utf-8"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Service-Worker-Allowed"] = "/"
    return response


@blueprint.get("/manifest.webmanifest")
@public
def manifest() -> Response:
    """How the installed app is called and looks, in the person's language."""
    response = jsonify(
        id="/",
        name=_("Field service"),
        short_name=_("Field service"),
        description=_("Visits, service records and signatures, with and without signal."),
        lang=HTML_LANG[locale_name()],
        dir="ltr",
        start_url="/",
        scope="/",
        display="standalone",
        background_color="#00434a",
        theme_color="#00434a",
        icons=[_icon(size, purpose) for size, purpose in ICONS],
    )
    response.headers["Content-Type"] = "application/manifest+json"
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@blueprint.get("/offline")
@public
def offline() -> str:
    """What the service worker shows for a page that it does not have while nothing answers."""
    return render_template("errors/offline.html")


# ---- below ------------------------------------------------------------------------------------------


def _mark(response: Response) -> Response:
    """A page of ours says so and whose it is: a phone keeps no page of a captive portal, of a log-in, of another person."""
    if response.mimetype == "text/html":
        response.headers["X-Fieldapp-Build"] = _build()
        login_session = g.get(
            "login_session"
        )  # not current_user, who may have to be looked up where no database answers
        if response.status_code == 200 and login_session is not None:
            response.headers["X-Fieldapp-Page"] = str(login_session.user_id)
    return response


def _page_context() -> dict[str, Any]:
    rendered_at = clock.now().isoformat(timespec="milliseconds")
    return {"build": _build(), "rendered_at": rendered_at, "office_zone": settings.timezone}


def _build() -> str:
    build: str = current_app.extensions["assets"].build
    return build


def _icon(size: int, purpose: str) -> dict[str, str]:
    name = f"icon-{size}.png" if purpose == "any" else f"icon-maskable-{size}.png"
    return {
        "src": f"/assets/{_build()}/img/{name}",
        "sizes": f"{size}x{size}",
        "type": "image/png",
        "purpose": purpose,
    }


@lru_cache(maxsize=4)
def _script(static: str, build: str) -> str:
    source = lean((Path(static) / "js" / "service-worker.js").read_bytes()).decode()
    return source.replace("%BUILD%", build).replace("%FILES%", " ".join(_files(Path(static))))


def _files(static: Path) -> list[str]:
    """What pages on a phone load: every script with what it imports, and the icons of the pages."""
    scripts = [path for folder in ("js", "vendor") for path in (static / folder).rglob("*.js")]
    names = sorted(path.relative_to(static).as_posix() for path in scripts)
    taken = [name for name in names if name not in ONLY_AT_THE_DESK and name != "js/service-worker.js"]
    return [*taken, "img/favicon.svg", "img/icons.svg"]
