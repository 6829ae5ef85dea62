"""Pages of sync."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("sync", __name__)
