"""An engineer's phone as the server hears it: the headers of a queue, the same number and bytes each time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fieldapp import clock
from fieldapp.extensions import uuid7


@dataclass(frozen=True)
class Item:
    """One frozen submission. ``at``: the phone's clock when it was tapped."""

    path: str
    body: bytes = b""
    id: UUID = field(default_factory=uuid7)
    sequence: int = 1
    at: datetime | None = None
    version: str | None = "2"
    device: str = "0f3c1c6e-7d1b-4a63-9a53-000000000001"
    type: str = "application/x-www-form-urlencoded"

    def sent(self, browser: FlaskClient, sent_at: datetime | None = None, **headers: str) -> TestResponse:
        """Send it; ``headers`` with underscores replace or add (an empty one takes it away)."""
        at = (self.at or clock.now()).isoformat()
        given = {
            "Accept": "application/json",
            "Idempotency-Key": str(self.id),
            "X-Body-SHA256": hashlib.sha256(self.body).hexdigest(),
            "X-Device": self.device,
            "X-Sequence": str(self.sequence),
            "X-Device-At": at,
            "X-Sent-At": (sent_at or clock.now()).isoformat(),
            "X-Time-Zone": "Asia/Shanghai",
            "X-Form-Version": self.version or "",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        kept = {name: value for name, value in given.items() if value}
        return browser.post(self.path, data=self.body, content_type=self.type, headers=kept)


def step(visit_id: object, noun: str, at: datetime | None = None, sequence: int = 1, **fields: str) -> Item:
    """A step of a visit as the queue keeps it: the number stands in the body, too."""
    number = uuid7()
    body = urlencode({**fields, "submission_id": str(number)}).encode()
    return Item(f"/visits/{visit_id}/{noun}", body, id=number, at=at, sequence=sequence)


def receipt_of(answer: TestResponse) -> dict[str, Any]:
    """The receipt as a phone accepts it."""
    assert answer.status_code == 200, answer.text
    receipt: dict[str, Any] | None = answer.json
    assert receipt is not None
    assert {"submission_id", "body_sha256", "received_at", "outcome", "sentence", "server", "epoch", "replayed"} <= set(
        receipt
    )
    return receipt
