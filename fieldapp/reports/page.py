"""The report as HTML: templates/reports/report.html filled with a document, its words and its clock.

The templates stand in an environment of their own that knows no application, no request and no database.
"""

from __future__ import annotations

import base64
import functools
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import segno

from fieldapp.reports import paper
from fieldapp.reports.document import ReportDocument
from fieldapp.reports.labels import LABELS
from fieldapp.texts import printable

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
STYLE = TEMPLATES / "reports" / "report.css"
LANG = {"zh_Hans_CN": "zh-CN", "zh_Hant_TW": "zh-TW", "en": "en"}
MISSING = "〓"


def html_of(document: ReportDocument, *, lost: tuple[str, ...] = ()) -> str:
    """The report as HTML text, everything that people wrote escaped; its style sheet is ``STYLE``.

    Characters in ``lost`` are printed as 〓, the printer's sign for a missing letter, with a note that names them.
    """
    pages = _pages(document.locale, document.timezone)
    page = pages.get_template("reports/report.html").render(
        d=document,
        t=LABELS[document.locale],
        p=paper.first_page(document),
        lang=LANG[document.locale],
        qr=_qr(document.verify_url),
        lost="、".join(f"U+{ord(character):04X}" for character in lost),
    )
    return page.translate({ord(character): MISSING for character in lost})


@functools.cache
def _pages(locale: str, timezone: str) -> jinja2.Environment:
    """Templates that speak ``locale`` and tell the time of ``timezone``."""
    zone = ZoneInfo(timezone)
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    pages.filters |= {
        "clock_remark": paper.clock_remark,
        "day": paper.day,
        "iso": lambda value: value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "jpeg_url": functools.partial(_data_url, "image/jpeg"),
        "moment": lambda value: paper.moment(value, zone),
        "period": lambda document: paper.period(document.times, zone, locale),
        "png_url": functools.partial(_data_url, "image/png"),
        "said": lambda values: (", " if locale == "en" else "，").join(value for value in values if value),
        "span": lambda minutes: paper.span(minutes, locale),
        "window": lambda document: paper.window(document.times.planned_start, document.times.planned_end, zone),
    }
    return pages


def _printable(value: Any) -> Any:
    """Text as it can be printed; anything else as it is."""
    return type(value)(printable(value)) if isinstance(value, str) else value


def _data_url(kind: str, picture: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _qr(address: str) -> str:
    """A PNG of the address as a data: URL; empty without one."""
    return segno.make(address, error="m").png_data_uri(scale=4, border=2) if address else ""
