"""The outbox of a phone: a page of words and places. What waits is on the phone, and its script fills it in."""

from __future__ import annotations

from flask import Blueprint, render_template

from fieldapp.security import requires

blueprint = Blueprint("outbox", __name__)


@blueprint.get("/outbox")
@requires("engineer")
def show() -> str:
    """The same page for everybody: it goes with the pack, so it opens without signal."""
    return render_template("today/outbox.html")
