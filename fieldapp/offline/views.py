"""What a phone tells of itself between two submissions, and what it has to know to work without us."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from flask import Blueprint, Response, jsonify, request
from flask_login import current_user

from fieldapp import clock
from fieldapp.errors import Invalid
from fieldapp.i18n import _
from fieldapp.offline import operations
from fieldapp.offline.times import skew_between
from fieldapp.security import requires

blueprint = Blueprint("offline", __name__, url_prefix="/offline")
COUNTS = ("waiting", "attention", "storage_used", "storage_quota")
MOST = 2**62  # bytes of storage, more than any phone has and less than a column holds
MOST_ITEMS = 1_000_000


@blueprint.post("/contact")
@requires("engineer")
def contact() -> Response:
    """A phone says that it is there: ``device`` and, as far as known, ``waiting``, ``attention``, ``oldest_at``,
    ``build``, ``storage_used``, ``storage_quota`` (bytes) and ``sent_at`` (its clock now).

    Answer: ``{server, epoch, now, user, lock}``. ``lock`` is what the phone checks the engineer's PIN against while
    there is no signal: ``{salt, iterations, hash}`` in base64, or null without a PIN.
    """
    device = request.form.get("device", "").strip()
    if not 1 <= len(device) <= 64:
        raise Invalid(_("The phone does not say which one it is."), fields={"device": _("Missing.")})
    operations.contact(current_user.id, device, **_said())
    server, epoch = operations.identity()
    return jsonify(
        server=str(server),
        epoch=epoch,
        now=clock.now().isoformat(),
        user=str(current_user.id),
        lock=lock_of(current_user.pin_check),
    )


def lock_of(check: str | None) -> dict[str, object] | None:
    """``pbkdf2-sha256$<iterations>$<salt>$<hash>`` taken apart; None for anything else: then there is no PIN to check."""
    kind, *rest = (check or "").split("$")
    if kind != "pbkdf2-sha256" or len(rest) != 3:
        return None
    iterations, salt, digest = rest
    if not (iterations.isascii() and iterations.isdecimal()) or not int(iterations):
        return None
    if not all(map(_is_base64, (salt, digest))):
        return None
    return {"salt": salt, "iterations": int(iterations), "hash": digest}


# ---- below ------------------------------------------------------------------------------------------


def _said() -> dict[str, object]:
    """The columns of Device that the form speaks of; nonsense is left out."""
    said: dict[str, object] = {"agent": request.user_agent.string[:200]}
    for name in COUNTS:
        most = MOST if name.startswith("storage") else MOST_ITEMS
        text = request.form.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most:
            said[name] = int(text)
    if build := request.form.get("build", "").strip():
        said["build"] = build[:20]
    if "oldest_at" in request.form or said.get("waiting") == 0:
        said["oldest_waiting_at"] = _moment("oldest_at")
    skew = skew_between(_moment("sent_at"), clock.now())
    if skew is not None:
        said["skew_s"] = skew
    return said


def _moment(name: str) -> datetime | None:
    return clock.parse_device_time(request.form.get(name, "")[:40])


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
