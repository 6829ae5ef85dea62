"""A record as a phone sends it: one body with everything, from a queue with its headers."""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fieldapp import clock
from fieldapp.extensions import settings
from fieldapp.visits.models import Visit
from tests.records.samples import ink
from tests.records.test_uploads import photo_of

PHONE, TABLET = "phone-1", "phone-2"
CUSTOMER_INK, ENGINEER_INK = ink(), ink(1).replace('"v": 1', '"v":1')
SEQUENCE = itertools.count(1)
SHOWN = (
    "cause content_text customer_name outcome prevention remark service_type solution started_at ended_at "
    "times_reason tools contact_phone skill_rating attitude_rating signer_name"
).split()


def wall(moment: datetime) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%dT%H:%M}"


def form(**changes: Any) -> dict[str, Any]:
    """The fields of the record's page, filled."""
    return {
        "service_type": "maintenance",
        "customer_name": "华东精密机械有限公司",
        "content_text": "更换主板,测试正常",
        "outcome": "all_done",
        "cause": "主板电容老化",
        "contact_phone": "13900000001",
        **changes,
    }


def started_from(revision: int | None = None, **fields: str) -> str:
    """``base``: what the page said when the draft was begun."""
    before = {
        "service_type": "maintenance",
        "customer_name": "华东精密机械有限公司",
        "contact_phone": "13900000001",
        **fields,
    }
    return json.dumps({"revision": revision, "fields": {name: [value] for name, value in before.items()}})


def named(*photos: bytes, **more: Any) -> str:
    """The manifest of photos."""
    said = {
        "kind": "after",
        "caption": "完成",
        "taken_at": clock.now().isoformat(),
        "width": 800,
        "height": 600,
        **more,
    }
    return json.dumps([{"sha256": digest(each), "size": len(each), **said} for each in photos])


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def signatures(**changes: Any) -> dict[str, Any]:
    """Both signatures, given a minute ago."""
    at = (clock.now() - timedelta(minutes=1)).isoformat()
    return {
        "customer_method": "",
        "customer_strokes": CUSTOMER_INK,
        "signer_name": "陈晓",
        "skill_rating": "good",
        "attitude_rating": "fair",
        "customer_at": at,
        "engineer_strokes": ENGINEER_INK,
        "engineer_at": clock.now().isoformat(),
        **changes,
    }


def shown(visit: Visit, fields: dict[str, Any]) -> dict[str, str]:
    """What the customer's screen displayed of these fields."""
    said: dict[str, Any] = {name: fields.get(name, "") for name in SHOWN}
    said |= {"visit": str(visit.id), "parts": [], "open_items": [], "solved": [], "consent": "customer/1"}
    said["photos"] = [each["sha256"] for each in json.loads(fields.get("photos") or "[]")]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return {"shown": text, "shown_sha256": digest(text.encode())}


def whole(visit: Visit, **changes: Any) -> dict[str, Any]:
    """The body of a finished record."""
    fields = {**form(), **signatures(), "base": started_from(), "photos": "", **changes}
    return {**fields, **shown(visit, fields), "form_version": "2", "whole": "1"}


def queue(
    browser: FlaskClient,
    path: str,
    fields: dict[str, Any],
    *,
    device: str = PHONE,
    at: datetime | None = None,
    **headers: str,
) -> TestResponse:
    """Send as the phone's queue does."""
    body = urlencode({"submission_id": str(uuid4()), **fields}, doseq=True).encode()
    said = {
        "Accept": "application/json",
        "X-Body-SHA256": digest(body),
        "X-Device": device,
        "X-Sequence": str(next(SEQUENCE)),
        "X-Device-At": (at or clock.now()).isoformat(),
        "X-Sent-At": clock.now().isoformat(),
        "X-Time-Zone": "Asia/Shanghai",
        "X-Form-Version": "2",
        **headers,
    }
    return browser.post(path, data=body, content_type="application/x-www-form-urlencoded", headers=said)


def backup(browser: FlaskClient, visit: Visit, **more: Any) -> TestResponse:
    """The backup reminder, answered before the work."""
    return queue(browser, f"/visits/{visit.id}/backup-acknowledgement", {"backup_ack_method": "not_applicable"}, **more)


def complete(
    browser: FlaskClient, visit: Visit, *, device: str = PHONE, headers: Any = None, **changes: Any
) -> TestResponse:
    """Finish the record of a visit from a phone's queue."""
    return queue(browser, f"/visits/{visit.id}/completion", whole(visit, **changes), device=device, **(headers or {}))


PHOTOS = [photo_of(seed, (200, 150)) for seed in (1, 2, 3)]
