"""The PDF of a report: the only user of WeasyPrint.

``render`` is for everybody: it renders in a limited child process that is kept for the next time.
``render_here`` is what that child does; it loads the renderer into this process, which then has no limits.
The same document gives the same bytes in every process: dates, identifier and fonts are fixed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any

from fieldapp.errors import FieldAppError
from fieldapp.i18n import _
from fieldapp.reports import fonts
from fieldapp.reports.document import JPEG, PNG, ReportDocument
from fieldapp.reports.page import STYLE, html_of
from fieldapp.reports.press import Press, PressRefused, PressStopped, serve

__all__ = ["RenderFailed", "Rendered", "check_fonts", "html_of", "render", "render_here"]

CPU_SECONDS = 10
WALL_SECONDS = 30.0
MEMORY = 512 * 1024 * 1024
RENDERS_PER_CHILD = 200
LOST_CHARACTER = re.compile(r"\.notdef glyph .*\(U\+([0-9A-F]+)\)\Z", re.DOTALL)
OWN_PICTURES = {"data:image/png;base64": PNG, "data:image/jpeg;base64": JPEG}
# PDF/A lets the metadata claim PDF/UA only beside a description of the words of that claim.
ACCESSIBLE = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1"/>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA identification</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Part of ISO 14289 that the file follows</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description></rdf:RDF>"""


class RenderFailed(FieldAppError):
    """The report could not be made this time; what was signed is untouched. ``detail`` is for the log only."""

    status, code = 503, "render_failed"

    def __init__(self, sentence: str, *, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.sentence} ({self.detail})" if self.detail else self.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A finished report; ``sha256`` in hex, ``seconds`` the time the renderer took.

    ``lost_characters`` are those that the fonts do not have: the paper shows 〓 there and names their codes, while
    ``record.json`` inside the PDF still has them.
    """

    pdf: bytes
    sha256: str
    pages: int
    lost_characters: tuple[str, ...]
    seconds: float


# ---- for everybody -----------------------------------------------------------------------------------------


def render(document: ReportDocument, *, folder: Path = fonts.FOLDER) -> Rendered:
    """The PDF of ``document``, made in the child process with the fonts in ``folder``; raises RenderFailed."""
    if absent := fonts.missing(folder):
        raise RenderFailed(_("The fonts of the report are missing."), detail=", ".join(absent))
    return ask(_press(folder.resolve()), document)


def ask(press: Press, document: ReportDocument) -> Rendered:
    """What the child behind ``press`` renders; raises RenderFailed when it cannot, takes too long or dies."""
    try:
        return _unpacked(press.ask(document.as_json().encode("utf-8", "surrogatepass")))
    except PressStopped as error:
        raise RenderFailed(_("Making the report took too long or was stopped."), detail=str(error)) from error
    except PressRefused as error:
        raise RenderFailed(_("The report could not be made from this record."), detail=str(error)) from error


def new_press(folder: Path, *, seconds: float = WALL_SECONDS, renders: int = RENDERS_PER_CHILD) -> Press:
    """A child process that renders with the fonts in ``folder``: ``seconds`` for each, replaced after ``renders``."""
    seen = fonts.environment(folder)
    return Press("fieldapp.reports.pdf", arguments=(str(folder),), environment=seen, seconds=seconds, jobs=renders)


_press = functools.cache(new_press)


def check_fonts(folder: Path = fonts.FOLDER) -> str | None:
    """None when Chinese comes out whole and fast, else one sentence that says what is wrong."""
    if absent := fonts.missing(folder):
        return _("The fonts of the report are missing: %(names)s. Run make setup.", names=", ".join(absent))
    try:
        found = json.loads(_press(folder.resolve()).ask(b""))
    except (PressStopped, PressRefused) as error:
        return _("The renderer of the report does not start: %(detail)s", detail=str(error))
    if not found["whole"]:
        return _("The fonts of the report do not hold Chinese text. Run make setup.")
    if not found["fast"]:
        return _("libharfbuzz-subset0 is not installed: every report takes a second longer.")
    return None


# ---- in the child ------------------------------------------------------------------------------------------


def render_here(document: ReportDocument, *, folder: Path = fonts.FOLDER) -> Rendered:
    """The PDF of ``document``, made in this process; raises RenderFailed when a picture cannot be read."""
    started = time.perf_counter()
    renderer = _renderer(folder.resolve())
    with _log() as log:
        pages = laid_out(html_of(document), folder=folder)
        pdf = _written(pages, document, renderer)
        if lost := _lost(log):  # an empty box breaks PDF/A and the search for every other word: print a mark instead
            pages = laid_out(html_of(document, lost=lost), folder=folder)
            pdf = _written(pages, document, renderer)
    if broken := [message for level, message in log if level >= logging.ERROR]:
        raise RenderFailed(_("A picture of this report cannot be read."), detail="; ".join(broken)[:300])
    return Rendered(
        pdf=pdf,
        sha256=hashlib.sha256(pdf).hexdigest(),
        pages=len(pages.pages),
        lost_characters=lost,
        seconds=time.perf_counter() - started,
    )


def laid_out(html: str, *, folder: Path = fonts.FOLDER) -> Any:
    """``html`` in pages, in our style and fonts; raises RenderFailed when it asks for anything from outside."""
    renderer = _renderer(folder.resolve())
    try:
        return renderer.html(string=html, url_fetcher=renderer.fetcher).render(
            font_config=renderer.fonts, stylesheets=[renderer.sheet]
        )
    except renderer.refused as error:  # a BaseException, which no ``except Exception`` would stop
        raise RenderFailed(_("The report could not be made from this record."), detail=repr(error)[:300]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renderer:
    """WeasyPrint as this process uses it, loaded once and only here: importing it costs every web worker time and
    memory for nothing, and each font configuration reads the fonts again."""

    html: Any
    attachment: Any
    refused: type[BaseException]
    fetcher: Any
    fonts: Any
    sheet: Any


@functools.cache
def _renderer(folder: Path) -> _Renderer:
    fonts.use_here(folder)
    from weasyprint import CSS, HTML, Attachment
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

    class OnlyOwnPictures(URLFetcher):  # type: ignore[misc]
        """Serves pictures that stand in the page itself; anything else ends the rendering.

        The first bytes must be what the address says: WeasyPrint tries unknown pictures as SVG, and SVG can fetch.
        """

        def fetch(self, url: str, headers: Any = None) -> Any:
            head, _comma, body = url.partition(",")
            picture = base64.b64decode(body, validate=True) if head in OWN_PICTURES else b""
            if not picture or not picture.startswith(OWN_PICTURES[head]):
                raise ValueError(f"refused to fetch {url[:60]!r}")
            return URLFetcherResponse(url, picture, {"Content-Type": head[len("data:") : -len(";base64")]})

    fetcher, configuration = OnlyOwnPictures(allowed_protocols={"data"}, fail_on_errors=True), FontConfiguration()
    return _Renderer(
        html=HTML,
        attachment=functools.partial(Attachment, url_fetcher=fetcher),
        refused=FatalURLFetchingError,
        fetcher=fetcher,
        fonts=configuration,
        sheet=CSS(string=STYLE.read_text("utf-8"), url_fetcher=fetcher, font_config=configuration),
    )


def _written(pages: Any, document: ReportDocument, renderer: _Renderer) -> bytes:
    """The file, with the signed record attached and nothing in it that depends on today or on this process."""
    issued = document.issued_at.astimezone(UTC)
    record = renderer.attachment(
        file_obj=BytesIO(document.record_json),
        name="record.json",
        created=issued,
        modified=issued,
        relationship="Source",
    )
    plain = pages.metadata.generate_rdf_metadata
    # WeasyPrint claims one standard only, and what can be added beside it is not read by validators.
    pages.metadata.generate_rdf_metadata = lambda *claim: plain(*claim).replace(b"</rdf:RDF>", ACCESSIBLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # WeasyPrint leaves the file of its colour profile open
        written: bytes = pages.write_pdf(
            attachments=[record],
            finisher=_plain_metadata,
            pdf_identifier=hashlib.sha256(document.as_json().encode("utf-8", "replace"))
            .hexdigest()[:32]
            .encode("ascii"),
            pdf_variant="pdf/a-3a",
        )
    return written


def _plain_metadata(_document: Any, pdf: Any) -> None:
    """PDF/A wants the metadata readable without unpacking."""
    for each in pdf.objects:
        if getattr(each, "extra", {}).get("Type") == "/Metadata":
            each.compress = False


@contextmanager
def _log() -> Iterator[list[tuple[int, str]]]:
    """What WeasyPrint says meanwhile, as (level, message)."""
    said: list[tuple[int, str]] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append((record.levelno, record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("weasyprint")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _lost(log: list[tuple[int, str]]) -> tuple[str, ...]:
    """Each character without a glyph once, in the order of its code."""
    codes = {int(found[1], 16) for _level, message in log if (found := LOST_CHARACTER.match(message))}
    return tuple(chr(code) for code in sorted(codes))


def _check(folder: Path) -> bytes:
    """JSON: does 汉字 come out in our font (``whole``), is the quick way to subset it there (``fast``)."""
    from weasyprint.text.ffi import harfbuzz_subset

    with _log() as log:
        pdf = laid_out('<html lang="zh-CN"><p>汉字漢字', folder=folder).write_pdf(uncompressed_pdf=True)
    whole = not _lost(log) and fonts.FAMILY.replace(" ", "-").encode() in pdf
    return json.dumps({"whole": whole, "fast": harfbuzz_subset is not None}).encode()


# ---- between the two -------------------------------------------------------------------------------------------


def _packed(rendered: Rendered) -> bytes:
    head = asdict(rendered) | {"pdf": None}
    return json.dumps(head).encode("ascii") + b"\n" + rendered.pdf


def _unpacked(answer: bytes) -> Rendered:
    head, _newline, pdf = answer.partition(b"\n")
    values = json.loads(head)
    return Rendered(**(values | {"pdf": pdf, "lost_characters": tuple(values["lost_characters"])}))


def main() -> None:
    """The child, started by ``new_press``: its argument is the folder of the fonts."""
    folder = Path(sys.argv[1])
    _renderer(folder.resolve())

    def answer(question: bytes) -> bytes:
        if not question:
            return _check(folder)
        return _packed(render_here(ReportDocument.from_json(question.decode("utf-8", "surrogatepass")), folder=folder))

    serve(answer, cpu_seconds=CPU_SECONDS, memory=MEMORY)


if __name__ == "__main__":
    main()
