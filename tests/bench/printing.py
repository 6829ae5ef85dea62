"""The report: seconds against the plain WeasyPrint call on the same HTML, size of the file, memory of the renderer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import weasyprint
from weasyprint.text.fonts import FontConfiguration

from fieldapp.config import ROOT
from fieldapp.reports import fonts, pdf
from fieldapp.reports.document import ReportDocument
from fieldapp.reports.page import html_of
from tests.bench.report import Line
from tests.reports import samples

ROUNDS = 12
KIB = 1024


def measure(_folder: Path) -> list[Line]:
    """Warm renderings of the two-page record with four photos, alternating with the plain call."""
    folder = ROOT / "var" / "fonts"
    fonts.use_here(folder)
    document = samples.full()
    configuration, html = FontConfiguration(), html_of(document)
    press = pdf.new_press(folder)
    plain, ours = [], []
    for _round in range(ROUNDS):
        plain.append(_seconds(lambda: _plainly(html, configuration)))
        ours.append(_seconds(lambda: pdf.ask(press, document)))
    rendered = pdf.ask(press, document)
    peak = _peak_mib(press)
    press.close()
    return [
        Line("report in its own process", statistics.median(ours[2:]), "s", note=f"{rendered.pages} pages, 4 photos"),
        Line(
            "report, times the plain WeasyPrint call",
            statistics.median(ours[2:]) / statistics.median(plain[2:]),
            "×",
            must=1.15,
        ),
        Line("report file", len(rendered.pdf) / KIB, "KiB", must=400),
        Line("renderer's peak memory", peak, "MiB", must=512),
        Line("report without photos", _without_photos(folder), "KiB", must=150),
    ]


def _plainly(html: str, configuration: FontConfiguration) -> bytes:
    """What anybody would write: no limits, no tags, no archive variant."""
    made: bytes = weasyprint.HTML(string=html).write_pdf(font_config=configuration)
    return made


def _without_photos(folder: Path) -> float:
    document: ReportDocument = samples.minimal()
    return len(pdf.render(document, folder=folder).pdf) / KIB


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_mib(press: pdf.Press) -> float:
    """The most memory that the renderer held, from the kernel's own count."""
    status = Path(f"/proc/{press.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / KIB
