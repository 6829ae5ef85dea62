"""Fault X26: what an engineer types is printed as typed. It fetches nothing, attaches nothing, and costs little."""

from __future__ import annotations

import http.server
import io
import resource
import socketserver
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pikepdf
import pypdf
import pytest

from fieldapp.reports import fonts, pdf
from fieldapp.reports.document import (
    Asset,
    Change,
    Correction,
    Customer,
    OpenItem,
    Part,
    Photo,
    ReportDocument,
    Signature,
    Site,
)
from fieldapp.reports.page import html_of
from tests.reports import samples

TYPED = (
    "<img src=file:///etc/passwd>",
    "<img src='{trap}/img.png'>",
    "<link rel=attachment href=file:///etc/passwd>",
    "<link rel=stylesheet href={trap}/style.css>",
    "<a rel=attachment href='{trap}/a'>x</a>",
    "<object data={trap}/object></object>",
    "<style>@import url({trap}/import.css); * {{ width: 99999999999999px }}</style>",
    '"><svg><image href="{trap}/svg"/></svg>',
    "</title><base href={trap}/><meta name=generator content=evil>",
    "{{{{7*7}}}} {{% for i in range(9) %}}x{{% endfor %}} {{{{ d.__class__.__mro__ }}}}",
    "url({trap}/url) width:1e308px;line-height:1e-300",
    "&lt;img src=x&gt; &#x3c;b&#x3e; &amp;copy;",
    "\u202eمرحبا بالعالم\u202c שלום <b>",
    "]]> <!-- --> <?php ?> \x00\x0b\x1b\x7f \ud800 \ufffe",
    "𠮷👍🏽‍🔧é",
)


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine that notes who comes."""
    visits: list[str] = []

    class Noting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            visits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            return

    with socketserver.TCPServer(("127.0.0.1", 0), Noting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", visits
        server.shutdown()


def everywhere(text: str) -> ReportDocument:
    """The full report with ``text`` in every place that holds text."""
    document = samples.full()
    words: dict[str, Any] = {
        each.name: text
        for each in fields(document)
        if each.type == "str" and each.name not in ("locale", "timezone", "service_kind", "outcome", "verify_url")
        if not each.name.startswith("rating")
    }
    picture = samples.photo((90, 90, 90))
    return replace(
        document,
        **words,
        customer=Customer(name=text, contact=text, phone=text),
        site=Site(name=text, address=text),
        asset=Asset(model=text, serial=text, software_version=text),
        engineers=(text, text),
        parts=(Part(name=text, number=text, serial=text),),
        open_items=(OpenItem(text=text, cause=text, part=text, promised_by=text),),
        photos=(Photo(kind="label", jpeg=picture, caption=text),),
        correction=Correction(
            of_number=text, of_revision=1, reason=text, changes=(Change(field=text, before=text, after=text),)
        ),
        signatures=(
            Signature(role="customer", method="refused", name=text, reason=text, code=text),
            Signature(role="engineer", method="drawn", name=text, png=samples.ink(), code=text),
        ),
    )


def read(made: pdf.Rendered) -> str:
    return "".join("".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(made.pdf)).pages)


def test_what_people_type_is_printed_and_does_nothing(trap: tuple[str, list[str]]) -> None:
    address, visits = trap
    typed = "\n".join(TYPED).format(trap=address)

    made = pdf.render(everywhere(typed))
    here = pdf.render_here(everywhere(typed))  # this process has a network, the child may have none

    said = read(made)
    assert visits == []
    for text in ("<imgsrc=file:///etc/passwd>", "{{7*7}}", "@importurl(", "<linkrel=attachment", "&lt;img", "1e308px"):
        assert said.count(text) >= 10, text
    assert "49" not in said.replace(address.rpartition(":")[2], "")
    assert "root:" not in said
    assert here.sha256 == made.sha256
    with pikepdf.open(io.BytesIO(made.pdf)) as file:
        assert list(file.attachments) == ["record.json"]
        assert not [each for each in file.objects if isinstance(each, pikepdf.Dictionary) and "/URI" in each]
        assert str(file.docinfo.Creator) == "FieldApp"
        assert file.open_metadata().pdfa_status == "3A"


def test_no_markup_of_theirs_reaches_the_page() -> None:
    page = html_of(everywhere("<b>\"'`=x {{7*7}}</b>"))

    assert "<b>&#34;" not in page
    assert '<b>"' not in page
    assert "&lt;b&gt;&#34;&#39;`=x {{7*7}}&lt;/b&gt;" in page


def test_characters_that_no_font_has_are_reported_and_the_rest_is_printed() -> None:
    made = pdf.render(replace(samples.full(), remarks="\n".join(TYPED)))

    assert {"𠮷", "👍", "م", "ש"} <= set(made.lost_characters)
    assert "@importurl(" in read(made)
    assert "U+20BB7" in read(made)


@pytest.mark.parametrize(
    "text",
    [
        "W" * 6_000,
        "汉" * 10_000,
        "a\u0301" * 3_000,
        "\n" * 1_000 + "end",
        "\u202e" * 3_000 + "end",
        "字 " * 5_000,
        "9" * 6_000 + "px",
    ],
    ids=["latin", "chinese", "combining", "lines", "override", "words", "number"],
)
def test_texts_without_end_break_and_cost_little(text: str) -> None:
    made = pdf.render(replace(samples.full(), service_content=text, cause=text))  # or the child's limits had ended it

    assert made.pages < 220


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_full_report_needs_far_less_memory_than_the_child_may_have() -> None:
    press = pdf.new_press(fonts.FOLDER)

    for _report in range(3):
        pdf.ask(press, replace(samples.full(), photos=samples.photos()))

    status = Path(f"/proc/{press.pid}/status").read_text()
    peak = int(status.partition("VmPeak:")[2].split()[0]) * 1024
    limits = Path(f"/proc/{press.pid}/limits").read_text()
    press.close()
    assert peak < pdf.MEMORY * 0.9
    assert str(pdf.MEMORY) in limits.partition("Max address space")[2].split("\n")[0]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY  # the limit is the child's alone


def test_a_record_too_large_for_the_child_is_a_sentence_not_a_crash() -> None:
    press = pdf.new_press(fonts.FOLDER, seconds=40)
    enormous = replace(samples.full(), cause="无尽的文字" * 300_000)

    with pytest.raises(pdf.RenderFailed):
        pdf.ask(press, enormous)

    assert pdf.ask(press, samples.minimal()).pages == 2
    press.close()


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "http://127.0.0.1/x.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png;base64,PHN2Zy8+",
        "data:text/css,*{}",
        "data:image/png;base64,%%%",
        "ftp://127.0.0.1/x",
    ],
)
def test_the_fetcher_serves_only_pictures_that_are_pictures(address: str) -> None:
    with pytest.raises(pdf.RenderFailed, match="refused|Error fetching"):
        pdf.laid_out(f'<html lang="en"><img alt="x" src="{address}">')
