"""JSON of other systems, in characters that every database keeps.

A system that cuts a text in the middle of an emoji tells half of it (``"\\ud83d"``); others tell NUL. Neither can be written
down here, and a ticket that cannot be written down would stop all that is read after it.
"""

from __future__ import annotations

import json
import re
from typing import Any

SUSPECT = re.compile(rb"\\u(?:0000|d[89a-f])|\xed[\xa0-\xbf]", re.IGNORECASE)
HALF = re.compile("[\ud800-\udfff]")


def read_json(content: bytes) -> Any:
    """What the JSON says, with � for half a character and without NUL (raises ValueError, RecursionError)."""
    told = json.loads(content)
    return _clean(told) if SUSPECT.search(content) else told


def _clean(told: Any) -> Any:
    if isinstance(told, str):
        return HALF.sub("�", told).replace("\x00", "")
    if isinstance(told, list):
        return [_clean(each) for each in told]
    if isinstance(told, dict):
        return {_clean(name): _clean(value) for name, value in told.items()}
    return told
