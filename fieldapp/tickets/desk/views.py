"""The ticket desk."""

from __future__ import annotations

from flask import Blueprint

from fieldapp.tickets.desk import models

blueprint = Blueprint("desk", __name__, url_prefix="/desk")
