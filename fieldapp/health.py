"""Whether the process lives, and whether it is ready to serve."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Blueprint, Response, current_app, jsonify, make_response
from sqlalchemy import text

from fieldapp.extensions import db, settings
from fieldapp.reports import pdf
from fieldapp.security import public
from fieldapp.storage import blobs

blueprint = Blueprint("health", __name__)
log = logging.getLogger(__name__)


@blueprint.get("/healthz")
@public
def live() -> Response:
    """200 while the process lives."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
@public
def ready() -> Response:
    """200 only when database, storage and fonts are well; says which is not, but not why (the log does)."""
    checks: dict[str, Callable[[], None]] = {
        "database": _database,
        "storage": blobs.check,
        "fonts": _fonts,
    }
    states = {name: _state(name, check) for name, check in checks.items()}
    well = all(state == "well" for state in states.values())
    body = {"status": "ready" if well else "not ready", "checks": states, "counts": _counts() if well else {}}
    return make_response(jsonify(body), 200 if well else 503)


def _counts() -> dict[str, dict[str, int]]:
    """Plain numbers for whoever watches: each step of the work may put in its own (``app.extensions["counts"]``)."""
    return {name: count() for name, count in current_app.extensions.get("counts", {}).items()}


def _state(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the app is not ready
        log.warning("not ready", extra={"check": name, "error": str(error)})
        return "not well"
    return "well"


def _database() -> None:
    db.session.execute(text("SELECT 1 FROM alembic_version"))


def _fonts() -> None:
    if wrong := pdf.check_fonts(settings.fonts_path):
        raise OSError(wrong)
