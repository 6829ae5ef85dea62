"""Named points at which a fault test may kill the process, as a power cut would.

``FIELDAPP_CRASH_AT=after_commit`` dies at the first passing, ``after_commit:3`` at the third. Refused in production.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass


@dataclass
class _Armed:
    name: str = ""
    left: int = 0


_armed = _Armed()


def arm(text: str) -> None:
    """Arm one point (``name`` or ``name:count``); an empty text disarms."""
    name, _colon, count = text.partition(":")
    _armed.name, _armed.left = name, int(count or 1)


def reach(name: str) -> None:
    """Pass a named point; when it is the armed one and its count is used up, the process is gone at once."""
    if name != _armed.name:
        return
    _armed.left -= 1
    if _armed.left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
