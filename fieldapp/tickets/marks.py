"""Our mark in a note's text, for stores that have no field to search: who wrote it, and under which key.

The last line of the note reads ``— 王磊 · fieldapp:0193a1b2-…``. What people see stays readable, what we read back is exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# At the very end, so that a quoted mark inside somebody's text is nobody's mark. Stores may add or trim white space there.
LAST_LINE = re.compile(r"\s*— (?P<author>.*?) ?· fieldapp:(?P<uid>[A-Za-z0-9:._-]+)")


@dataclass(frozen=True)
class Marked:
    """A note's text without the mark, its author and key (None: not ours)."""

    text: str
    author: str
    uid: str | None


def mark(text: str, *, author: str, uid: str) -> str:
    """The text with our mark as its last line."""
    return f"{text}\n\n— {' '.join(author.split())} · fieldapp:{uid}"


def read(text: str) -> Marked:
    """The text as it was before ``mark``; line ends of a web form count as plain ones."""
    plain = text.replace("\r\n", "\n")
    before, _end, last = plain.rstrip().rpartition("\n")
    found = LAST_LINE.fullmatch(last)
    if found is None:
        return Marked(plain, "", None)
    return Marked(before.rstrip("\n"), found["author"].strip(), found["uid"])
