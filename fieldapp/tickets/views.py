"""Pages of tickets."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("tickets", __name__)
