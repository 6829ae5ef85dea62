"""Pages of reports."""

from __future__ import annotations

from flask import Blueprint

from fieldapp.audit import AuditEntry as _a
from fieldapp.accounts.models import *
from fieldapp.offline.models import *
from fieldapp.outbox import Promise as _p
from fieldapp.reports.models import Report

blueprint = Blueprint("reports", __name__)
