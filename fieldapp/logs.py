"""Structured logs: one JSON object a line, UTC, with the id of the request. Never bodies, signatures or tokens."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from flask import g, has_request_context

KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One line per event: time, level, logger, text, request id and whatever was passed as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
        }
        if has_request_context():
            entry["request"] = getattr(g, "request_id", None)
        entry.update((name, value) for name, value in vars(record).items() if name not in KNOWN)
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def init(level: str) -> None:
    """Send the package's logs to standard error as JSON lines."""
    logger = logging.getLogger("fieldapp")
    logger.setLevel(level)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
        logger.propagate = False
