"""The PDF: says everything, in three languages, the same bytes everywhere, small, accessible; failures are sentences."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pikepdf
import pypdf
import pytest

from fieldapp.errors import FieldAppError
from fieldapp.reports import fonts, pdf
from fieldapp.reports.document import Correction, Photo, ReportDocument, Signature
from fieldapp.reports.labels import LABELS
from fieldapp.reports.page import STYLE
from fieldapp.reports.press import Press
from tests.reports import samples
from tests.reports.test_document import PRINTED

LONG = "更换电源模块后连续运行四十分钟,未再重启;客户现场确认。" * 150
RARE = "臺灣鎮海閾值檢測：堃喆犇淼龘赟祎翀昇珺姵嬅玥甯邨峯髙﨑仝佘亓郄昝䶮㛃"


@pytest.fixture(scope="module")
def rendered() -> pdf.Rendered:
    return pdf.render(replace(samples.full(), photos=samples.photos()))


def texts(made: pdf.Rendered) -> list[str]:
    """The text of each page, without the spaces that layout puts in."""
    return ["".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(made.pdf)).pages]


def bare(text: str) -> str:
    return "".join(text.split())


# ---- what it says --------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", LABELS)
def test_page_one_is_the_form_with_every_label(locale: str) -> None:
    first = texts(pdf.render(samples.full(locale)))[0]

    missing = [name for name in PRINTED if bare(LABELS[locale][name]) not in first]

    assert missing == []
    assert first.count("✓") == 5  # type of service, still to be solved, reminded, two ratings


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_another_reader_finds_the_chinese_labels(rendered: pdf.Rendered, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(rendered.pdf)

    found = subprocess.run(["pdftotext", "-layout", tmp_path / "report.pdf", "-"], capture_output=True, check=True)

    text = bare(found.stdout.decode())
    assert [word for word in PRINTED.values() if word not in text] == []


def test_it_says_everything_the_document_says(rendered: pdf.Rendered) -> None:
    said = "".join(texts(rendered))

    for value in (
        "智维信息技术有限公司",
        "SR-20261121-0007",
        "宁波镇海精密机械有限公司",
        "李晓敏",
        "王磊",
        "钱军",
        "2026年11月21日14时05分至21日15时30分",
        "13805746621",
        "2026-11-2115:32校验码7F3A-91C2",
        "浪潮NF5280M6",
        "21908A7C4456",
        "U8+16.5.1",
        "2028-03-31",
        "T-20261120-0031",
        "2026-11-2114:00–14:30",
        "2026-11-2113:58",
        "42分钟",
        "1小时25分钟",
        "PSU-800-M6",
        "P8M6-22-00417",
        "备件无库存",
        "2026-11-27",
        "2号电源模块红灯常亮",
        "https://service.example.cn/verify/7F3A-91C2-5D08-BB61",
        samples.full().content_hash,
        "第1页，共3页",
        *(bare(line) for line in samples.CONTENT.split("\n")),
    ):
        assert value in said, value


def test_refusals_and_absences_say_why() -> None:
    refused, absent = (texts(pdf.render(made()))[0] for made in (samples.refused, samples.absent))

    assert "客户拒绝确认原因：客户表示账套由集团统一备份。" in refused
    assert "客户拒签李晓敏原因：客户认为电源模块应免费更换,不同意在记录上签字。2026-11-2115:35" in refused
    assert "不适用：本次服务不涉及账套数据" in absent
    assert "客户不在场原因：客户已下班,门卫开门。" in absent
    assert "钱军键入姓名签署2026-11-2309:05" in absent


def test_every_way_to_sign_is_printed_at_every_place() -> None:
    made = {"drawn": {"png": samples.ink()}, "refused": {"reason": "不愿意"}, "absent": {"reason": "不在场"}}
    for method in ("drawn", "typed", "remote", "refused", "absent", "not_applicable", "pending"):
        places = tuple(
            Signature(role=role, method=method, name="李晓敏", **made.get(method, {}))  # type: ignore[arg-type]
            for role in ("backup_ack", "customer", "engineer", "manager")
        )

        first = texts(pdf.render(replace(samples.full("en"), signatures=places)))[0]

        assert first.count("李晓敏") == (0 if method == "pending" else 4)


def test_a_correction_says_what_it_replaces_and_what_changed() -> None:
    said = "".join(texts(pdf.render(samples.corrected())))

    assert "更正单更正SR-20261121-0007第1版；原表仍然保留。" in said
    assert "更正原因：结束时间和备件序列号填写有误,经客户同意更正。" in said
    assert "2026-11-2114:05–15:00" in said
    assert "（空）P8M6-22-00417" in said


def test_a_report_without_its_photos_says_so_on_every_page() -> None:
    document = replace(samples.full(), photos_pending=True)

    pages = texts(pdf.render(document))

    assert all("照片待补" in page for page in pages)
    assert "照片待补" not in "".join(texts(pdf.render(samples.full())))


def test_the_least_record_is_a_form_that_can_be_signed_by_hand() -> None:
    made = pdf.render(samples.minimal())

    assert made.pages == 2
    assert "校验码" not in "".join(texts(made))


@pytest.mark.parametrize("locale", LABELS)
def test_long_texts_go_on_behind_the_form_and_nothing_is_lost(locale: str) -> None:
    document = replace(
        samples.corrected(locale),
        service_content=LONG,
        outcome_text=LONG[:900],
        remarks=LONG[:800],
        cause=LONG,
        correction=Correction(of_number="SR-20261121-0007", of_revision=1, reason=LONG[:300]),
    )

    pages = texts(pdf.render(document))

    for label in ("sign_backup_ack", "sign_customer", "sign_engineer", "sign_manager", "remarks"):
        assert bare(LABELS[locale][label]) in pages[0], "the form stays on page 1"
    assert bare(LABELS[locale]["continued"]) in pages[1]
    sentences = LONG.count("现场确认。") * 2 + sum(LONG[:cut].count("现场确认。") for cut in (900, 800, 300))
    assert "".join(pages).count("现场确认。") >= sentences - 12  # page feet may stand inside a sentence


def test_the_widest_letters_do_not_push_the_form_off_its_page() -> None:
    wide = "WMWM " * 600
    place = {"name": wide, "reason": wide}
    document = replace(
        samples.corrected("en"),
        service_content=wide,
        outcome_text=wide,
        remarks=wide,
        contact_phone=wide,
        customer=replace(samples.full().customer, name=wide),
        signatures=tuple(
            Signature(role=role, method="refused", **place)  # type: ignore[arg-type]
            for role in ("backup_ack", "customer", "engineer", "manager")
        ),
    )

    first = texts(pdf.render(document))[0]

    assert bare(LABELS["en"]["sign_manager"]) in first


def test_traditional_and_rare_characters_have_glyphs() -> None:
    made = pdf.render(replace(samples.full("zh_Hant_TW"), remarks=RARE))

    assert made.lost_characters == ()
    assert RARE in texts(made)[0]


def test_a_character_that_no_font_has_is_reported() -> None:
    made = pdf.render(replace(samples.full(), remarks="𠮷野家 👍 𠮷"))

    assert made.lost_characters == ("👍", "𠮷")
    assert "〓野家〓〓" in texts(made)[0]
    assert "record.json：U+1F44D、U+20BB7" in texts(made)[-1]


# ---- what kind of file it is -----------------------------------------------------------------------------


def test_it_names_its_language_title_dates_and_standards(rendered: pdf.Rendered) -> None:
    with pikepdf.open(io.BytesIO(rendered.pdf)) as file:
        assert str(file.Root.Lang) == "zh-CN"
        assert bool(file.Root.MarkInfo.Marked)
        assert bool(file.Root.ViewerPreferences.DisplayDocTitle)
        assert str(file.docinfo.Title) == "客户服务记录表 SR-20261121-0007 – 宁波镇海精密机械有限公司"
        assert str(file.docinfo.CreationDate) == str(file.docinfo.ModDate) == "D:20261121074000Z"
        with file.open_metadata() as metadata:
            assert metadata.pdfa_status == "3A"
            assert metadata["pdfuaid:part"] == "1"
        described = [each for each in file.objects if isinstance(each, pikepdf.Dictionary) and "/FontName" in each]
        assert described
        assert all("/FontFile2" in each and "Noto-Sans-SC" in str(each.FontName) for each in described)


def test_every_picture_says_what_it_shows(rendered: pdf.Rendered) -> None:
    with pikepdf.open(io.BytesIO(rendered.pdf)) as file:
        figures = [
            each for each in file.objects if isinstance(each, pikepdf.Dictionary) and each.get("/S") == "/Figure"
        ]

        assert len(figures) == 9  # four signatures, four photos, the QR code
        assert all(str(figure.get("/Alt", "")) for figure in figures)


def test_the_signed_record_is_its_only_attachment(rendered: pdf.Rendered) -> None:
    with pikepdf.open(io.BytesIO(rendered.pdf)) as file:
        assert list(file.attachments) == ["record.json"]
        assert file.attachments["record.json"].get_file().read_bytes() == samples.RECORD


def test_it_says_nothing_by_colour() -> None:
    css = STYLE.read_text("utf-8")

    colours = re.findall(r"#([0-9a-f]+)\b", css)

    assert colours
    assert all(len(set(re.findall(r".." if len(each) == 6 else ".", each))) == 1 for each in colours)


def test_it_is_small_enough_to_mail(rendered: pdf.Rendered) -> None:
    assert len(pdf.render(samples.full()).pdf) <= 150 * 1024
    assert len(rendered.pdf) <= 400 * 1024


def test_the_same_document_gives_the_same_bytes_in_every_process(rendered: pdf.Rendered) -> None:
    document = replace(samples.full(), photos=samples.photos())
    other = pdf.new_press(fonts.FOLDER)

    pdf.ask(other, samples.minimal())
    again = pdf.ask(other, document)
    other.close()

    assert again.pdf == rendered.pdf
    assert again.sha256 == rendered.sha256


def test_another_document_has_another_identifier(rendered: pdf.Rendered) -> None:
    other = pdf.render(replace(samples.full(), photos=samples.photos(), record_json=b'{"a":1}'))

    with pikepdf.open(io.BytesIO(rendered.pdf)) as one, pikepdf.open(io.BytesIO(other.pdf)) as two:
        assert bytes(one.trailer.ID[0]) != bytes(two.trailer.ID[0])


# ---- failures ------------------------------------------------------------------------------------------


@pytest.fixture
def press() -> Iterator[Press]:
    press = pdf.new_press(fonts.FOLDER, seconds=120, renders=2)
    yield press
    press.close()


def test_a_renderer_killed_at_work_fails_with_a_sentence_and_the_next_report_is_made(press: Press) -> None:
    pdf.ask(press, samples.minimal())
    assert press.pid is not None
    os.kill(press.pid, signal.SIGSTOP)  # so that it is certainly at work when it is killed
    killer = threading.Timer(3.0, os.kill, (press.pid, signal.SIGKILL))
    killer.start()

    with pytest.raises(pdf.RenderFailed, match="stopped") as failure:
        pdf.ask(press, samples.minimal())

    killer.join()
    assert isinstance(failure.value, FieldAppError)
    assert (failure.value.status, failure.value.code) == (503, "render_failed")
    assert pdf.ask(press, samples.minimal()).pages == 2


def test_a_stuck_renderer_is_stopped_and_replaced(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    pdf.ask(press, samples.minimal())
    stuck = press.pid
    assert stuck is not None
    os.kill(stuck, signal.SIGSTOP)

    with monkeypatch.context() as now:
        now.setattr(press, "_seconds", 0.5)  # a renderer that starts on a busy machine needs more
        with pytest.raises(pdf.RenderFailed, match="too long"):
            pdf.ask(press, samples.minimal())

    assert pdf.ask(press, samples.minimal()).pages == 2
    assert press.pid != stuck


def test_the_renderer_is_replaced_after_its_number_of_reports(press: Press) -> None:
    pids = []

    for _report in range(3):
        pdf.ask(press, samples.minimal())
        pids.append(press.pid)

    assert pids[0] == pids[1] != pids[2]


def test_a_picture_that_cannot_be_read_is_no_silent_gap() -> None:
    broken = Photo(kind="before", jpeg=samples.photo((1, 2, 3))[:40])

    with pytest.raises(pdf.RenderFailed):
        pdf.render(replace(samples.full(), photos=(broken,)))

    assert pdf.render(samples.minimal()).pages == 2


def test_without_fonts_nothing_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(pdf.RenderFailed, match="fonts"):
        pdf.render(samples.minimal(), folder=tmp_path)

    assert "NotoSansSC_400Regular.ttf" in (pdf.check_fonts(tmp_path) or "")


def test_the_doctor_finds_our_fonts_in_order() -> None:
    assert pdf.check_fonts() is None


def test_the_doctor_says_when_the_fonts_hold_no_chinese(tmp_path: Path) -> None:
    for name in fonts.FILES:
        _latin_only(tmp_path / name)

    assert "Chinese" in (pdf.check_fonts(tmp_path) or "")


def test_the_doctor_says_when_the_renderer_does_not_start(tmp_path: Path) -> None:
    for name in fonts.FILES:
        (tmp_path / name).write_bytes(b"no font")

    assert pdf.check_fonts(tmp_path) is not None


def _latin_only(path: Path) -> None:
    from fontTools import subset  # type: ignore[import-untyped]
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    font = TTFont(fonts.FOLDER / path.name)
    subsetter = subset.Subsetter()
    subsetter.populate(text="Latin letters only")
    subsetter.subset(font)
    font.save(path)


# ---- the page ------------------------------------------------------------------------------------------


def test_the_page_is_html_without_any_address_but_its_own_pictures() -> None:
    page = pdf.html_of(replace(samples.full(), photos=samples.photos()))

    sources = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(sources) == 9
    assert all(source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in sources)


def test_here_and_in_the_child_come_the_same_bytes(rendered: pdf.Rendered) -> None:
    document: ReportDocument = replace(samples.full(), photos=samples.photos())

    assert pdf.render_here(document).sha256 == rendered.sha256
