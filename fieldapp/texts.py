"""Texts that people paste and machines cut: what no page, database or ticket store can hold is taken out of them here."""

from __future__ import annotations

import re

NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """With � in place of control characters and halves of characters, which neither HTML nor the PDF's XML can hold."""
    return NOT_TEXT.sub("\ufffd", text)


def storable(text: str) -> str:
    """JSON can spell half characters and NUL, which no form can send and no database keeps."""
    return text.replace("\0", "").encode(errors="replace").decode()
