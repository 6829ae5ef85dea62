"""Pages of tickets: the embedded store's own desk."""

from __future__ import annotations

from flask import Blueprint

from fieldapp.tickets.desk import views as desk

blueprint = Blueprint("tickets", __name__)
blueprint.register_blueprint(desk.blueprint)
