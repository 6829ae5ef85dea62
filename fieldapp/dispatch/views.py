"""Pages of dispatch."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("dispatch", __name__)
