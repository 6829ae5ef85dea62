"""One write path: the same form from a page and from a phone's queue, two renderings of the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from flask import Flask, jsonify, make_response, redirect, request
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp import clock, crashpoints
from fieldapp.errors import Invalid, wants_json
from fieldapp.extensions import uuid7
from fieldapp.i18n import _
from fieldapp.offline.operations import Receipt, Told, once_or_filed
from fieldapp.offline.times import MOST_SECONDS as MOST
from fieldapp.security import OnBehalfOf


def init_app(app: Flask) -> None:
    """Keep the raw body of every write by somebody who is logged in."""
    app.before_request(_keep_body)


def submitted(apply: Callable[[Told], Receipt], *, then: str) -> Response:
    """Apply this request once and answer: the receipt as JSON, or for a page 303 to ``then``.

    ``apply`` finds the visit itself: what a phone's queue sends and it refuses is filed, and answered with a receipt.
    """
    told = told_by_request()
    receipt, replayed = once_or_filed(told, lambda: apply(told))
    crashpoints.reach("before_answer")
    if not wants_json():
        return redirect(then, 303)
    return make_response(jsonify({**receipt, "replayed": replayed}), 200)


def told_by_request() -> Told:
    """What came with this request: headers of the phone's queue, or the hidden fields of a plain form."""
    body = request.get_data(cache=True)
    behalf = OnBehalfOf.of(request.environ)
    _check_digest(hashlib.sha256(body).hexdigest())
    return Told(
        submission_id=_submission_id(),
        user_id=current_user.id,
        path=request.path,
        body_sha256=hashlib.sha256(_without_boundary(body)).hexdigest(),
        received_at=(behalf.again if behalf else None) or clock.now(),
        device_at=_moment("X-Device-At", "device_at"),
        sent_at=_moment("X-Sent-At", "sent_at"),
        device=_header_or_field("X-Device", "device", 64),
        sequence=_number("X-Sequence"),
        base_revision=_number("X-Base-Revision") or _form_number("revision"),
        queued=is_queued(),
        handed_in=behalf is not None,
        again=behalf is not None and behalf.again is not None,
        form_version=_header_or_field("X-Form-Version", "form_version", 10),
        zone=_header_or_field("X-Time-Zone", "zone", 64),
        waiting=_number("X-Waiting"),
        oldest_at=_moment("X-Oldest", "oldest_at"),
        agent=request.user_agent.string,
        visit_id=(request.view_args or {}).get("visit_id"),
        body=body,
        content_type=request.headers.get("Content-Type", ""),
    )


def is_queued() -> bool:
    """Whether an engineer's phone sends this from its queue: it will ask until it has a receipt."""
    numbered = request.headers.get("X-Device") and _number("X-Sequence") is not None
    of_engineer = current_user.is_engineer or OnBehalfOf.of(request.environ) is not None
    return bool(numbered) and wants_json() and of_engineer


def _keep_body() -> None:
    """A view that has read the form has used up the body; its digest is asked for afterwards."""
    if request.method == "POST" and current_user.is_authenticated:
        request.get_data(cache=True)


def _without_boundary(body: bytes) -> bytes:
    """A browser that sends the same form with files again chooses another boundary; nothing else differs."""
    boundary = request.mimetype_params.get("boundary", "") if request.mimetype == "multipart/form-data" else ""
    return body.replace(boundary.encode(), b"") if boundary else body


def _submission_id() -> UUID:
    text = request.headers.get("Idempotency-Key", "").strip('" ') or request.form.get("submission_id", "")
    if not text:
        return uuid7()
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid(_("The number of this submission is not a UUID.")) from error


def _check_digest(digest: str) -> None:
    claimed = request.headers.get("X-Body-SHA256", "")
    if claimed and claimed.lower() != digest:
        raise Invalid(_("What arrived is not what was sent. Please send it again."), code="digest_mismatch")


def _moment(header: str, field: str) -> datetime | None:
    text = _header_or_field(header, field, 40)
    return clock.parse_device_time(text) if text else None


def _header_or_field(header: str, field: str, most: int) -> str | None:
    text = request.headers.get(header) or request.form.get(field) or ""
    return text.strip()[:most] or None


def _number(header: str) -> int | None:
    return _whole(request.headers.get(header, ""))


def _form_number(field: str) -> int | None:
    return _whole(request.form.get(field, ""))


def _whole(text: str) -> int | None:
    """A whole number that a column holds; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= MOST else None
