"""The page of deliveries."""

from __future__ import annotations

from flask import Blueprint
from fieldapp.sync import models

blueprint = Blueprint("sync", __name__)
