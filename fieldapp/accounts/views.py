"""Log-in, log-out, one's own account, invitations, and the people of the company."""

from __future__ import annotations

from flask import Blueprint

from fieldapp.accounts import sessions

blueprint = Blueprint("accounts", __name__)

__all__ = ["blueprint", "sessions"]
