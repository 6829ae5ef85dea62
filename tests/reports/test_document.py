"""The report as plain values: it travels as JSON unchanged, and refuses what would print wrongly."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldapp.reports import paper
from fieldapp.reports.document import (
    METHODS,
    ROLES,
    BadDocument,
    Correction,
    Photo,
    ReportDocument,
    Signature,
    Times,
)
from fieldapp.reports.labels import LABELS
from tests.reports import samples

PRINTED = {
    "title": "客户服务记录表",
    "service_kind": "服务类型",
    "implementation": "实施",
    "maintenance": "维护",
    "remote": "远程",
    "customer": "客户名称",
    "service_content": "服务内容",
    "outcome": "本次服务完成情况",
    "all_done": "已全部完成",
    "more_needed": "还需解决:",
    "backup_reminded": "已提醒客户备份账套!",
    "sign_backup_ack": "客户签名:",
    "rating": "客户评价",
    "rating_skill": "实施服务人员技术水平",
    "rating_attitude": "实施服务人员服务态度",
    "poor": "较差",
    "fair": "一般",
    "good": "较好",
    "period": "服务起止时间",
    "remarks": "备注",
    "sign_customer": "客户签字",
    "contact_phone": "联系电话",
    "sign_engineer": "服务人员签字",
    "sign_manager": "部门经理签字",
}
ENDS_LATER = Times(started_at=samples.moment(30, 15, 0), ended_at=datetime(2026, 11, 30, 17, 5, tzinfo=UTC))


# ---- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [samples.full, samples.minimal, samples.refused, samples.absent, samples.corrected])
def test_a_document_comes_back_from_json_as_it_went(make: object) -> None:
    document = replace(make(), photos=samples.photos())  # type: ignore[operator]

    back = ReportDocument.from_json(document.as_json())

    assert back == document
    assert back.as_json() == document.as_json()


def test_a_document_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        samples.full().number = "SR-1"  # type: ignore[misc]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        samples.minimal().as_json().replace('"revision":1', '"revision":"1"'),
        samples.minimal().as_json().replace('"revision":1', '"revision":true'),
        samples.minimal().as_json().replace('"revision":1', '"revision":1,"drawer":2'),
        samples.minimal().as_json().replace('"issued_at":"2026', '"issued_at":"soon'),
        samples.minimal().as_json().replace('"locale":"zh_Hans_CN"', '"locale":"de"'),
        samples.minimal().as_json().replace('"parts":[]', '"parts":{}'),
        samples.minimal().as_json().replace('"record_json":"', '"record_json":"*'),
    ],
)
def test_other_json_is_no_document(text: str) -> None:
    with pytest.raises(BadDocument):
        ReportDocument.from_json(text)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"locale": "zh-CN"}, "language"),
        ({"service_kind": "repair"}, "service kind"),
        ({"outcome": "done"}, "outcome"),
        ({"rating_skill": "5"}, "rating"),
        ({"rating_attitude": "5"}, "rating"),
        ({"verify_url": "javascript:alert(1)"}, "https"),
        ({"verify_url": "https://a b"}, "https"),
        ({"issued_at": datetime(2026, 11, 21, 14, 5)}, "time zone"),  # noqa: DTZ001 - the refusal is the point
        ({"times": replace(samples.full().times, ended_at=datetime(2026, 11, 21, 14, 5))}, "time zone"),  # noqa: DTZ001
        ({"signatures": samples.full().signatures * 2}, "one place"),
    ],
)
def test_values_that_would_print_wrongly_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(BadDocument, match=says):
        replace(samples.full(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("role", "method", "reason", "png"),
    [
        ("cook", "drawn", "", samples.ink()),
        ("customer", "stamped", "", b""),
        ("customer", "drawn", "", b""),
        ("customer", "drawn", "", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("customer", "refused", "", b""),
        ("customer", "absent", "", b""),
    ],
)
def test_a_signature_place_says_how_it_was_filled_or_why_not(role: str, method: str, reason: str, png: bytes) -> None:
    with pytest.raises(BadDocument):
        Signature(role=role, method=method, reason=reason, png=png)


def test_a_photo_is_a_jpeg_of_a_known_kind() -> None:
    with pytest.raises(BadDocument, match="JPEG"):
        Photo(kind="before", jpeg=b"<svg/>")
    with pytest.raises(BadDocument, match="kind"):
        Photo(kind="selfie", jpeg=samples.photo((1, 2, 3)))


def test_a_place_that_nobody_signed_yet_is_pending() -> None:
    place = samples.minimal().signature("manager")

    assert (place.method, place.given) == ("pending", False)


# ---- words ---------------------------------------------------------------------------------------------


def test_the_chinese_form_says_the_printed_words() -> None:
    assert {name: LABELS["zh_Hans_CN"][name] for name in PRINTED} == PRINTED


def test_every_language_has_every_word() -> None:
    for words in LABELS.values():
        assert list(words) == list(LABELS["zh_Hans_CN"])
        assert [name for name, word in words.items() if not word] in ([], ["page_end"])


def test_every_role_and_method_has_its_words() -> None:
    for words in LABELS.values():
        assert {f"sign_{role}" for role in ROLES} <= set(words)
        assert {f"method_{method}" for method in METHODS if method != "drawn"} <= set(words)


# ---- on paper --------------------------------------------------------------------------------------------


def said(pairs: list[tuple[str, str]]) -> str:
    return "".join(value + word for value, word in pairs)


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("zh_Hans_CN", "2026年11月21日14时05分 至 21日15时30分"),
        ("zh_Hant_TW", "2026年11月21日14時05分 至 21日15時30分"),
        ("en", "21 Nov 2026 14:05 to 21 Nov 15:30"),
    ],
)
def test_the_period_is_said_as_the_form_says_it(locale: str, text: str) -> None:
    document = samples.full(locale)

    assert said(paper.period(document.times, document.zone, locale)) == text


def test_a_period_may_cross_midnight_and_the_month() -> None:
    document = replace(samples.full(), times=ENDS_LATER)

    assert said(paper.period(document.times, document.zone, "zh_Hans_CN")) == "2026年11月30日23时00分 至 01日01时05分"


def test_a_window_names_its_second_day_only_when_there_is_one() -> None:
    zone = samples.full().zone

    assert paper.window(samples.moment(21, 6, 0), samples.moment(21, 6, 30), zone) == "2026-11-21 14:00–14:30"
    assert (
        paper.window(samples.moment(21, 15, 0), samples.moment(21, 17, 0), zone)
        == "2026-11-21 23:00 – 2026-11-22 01:00"
    )
    assert paper.window(samples.moment(21, 6, 0), None, zone) == "2026-11-21 14:00"
    assert paper.window(None, None, zone) == ""


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(None, ""), (0, "0 分钟"), (42, "42 分钟"), (60, "1 小时"), (85, "1 小时 25 分钟"), (-7, "7 分钟")],
)
def test_spans_are_hours_and_minutes(minutes: int | None, text: str) -> None:
    assert paper.span(minutes, "zh_Hans_CN") == text


def test_a_clock_that_disagreed_is_remarked_on() -> None:
    assert paper.clock_remark(samples.full()) == ""
    assert "快 6 分钟" in paper.clock_remark(replace(samples.full(), clock_skew_minutes=6))
    assert "慢 1 小时 30 分钟" in paper.clock_remark(replace(samples.full(), clock_skew_minutes=-90))
    assert "6 min ahead" in paper.clock_remark(replace(samples.full("en"), clock_skew_minutes=6))
    received = replace(samples.full("en"), clock_skew_minutes=6, received_at=samples.moment(21, 7, 40))
    assert paper.clock_remark(received).endswith("Received by the server: 2026-11-21 15:40.")


@given(st.text(st.sampled_from("汉字。，ab W.\n,"), max_size=400), st.integers(2, 40), st.integers(1, 6))
def test_what_fits_and_the_rest_are_the_whole_text(text: str, ems: int, lines: int) -> None:
    fitted = paper.fit(text, ems=ems, lines=lines)

    assert fitted.shown + fitted.rest == text
    assert len(fitted.shown) <= 2 * ems * lines + len(text) - len(text.rstrip())
    assert fitted.rest == "" or fitted.rest.strip()


def test_a_long_text_is_cut_after_a_sentence_when_one_ends_nearby() -> None:
    fitted = paper.fit("汉" * 17 + "。" + "字" * 40, ems=10, lines=2)

    assert fitted.shown == "汉" * 17 + "。"


def test_a_long_text_without_any_end_is_cut_where_the_box_ends() -> None:
    assert paper.fit("汉" * 50, ems=10, lines=2).shown == "汉" * 20


def test_what_does_not_fit_on_page_one_goes_on_behind_under_its_label() -> None:
    long = "很长的说明" * 400
    document = replace(
        samples.refused(),
        remarks=long,
        outcome_text=long,
        correction=Correction(of_number="SR-1", of_revision=1, reason=long),
        signatures=(Signature(role="customer", method="absent", reason=long, name=long),),
    )

    page = paper.first_page(document)

    assert [label for label, _rest in page.continued] == [
        "本次服务完成情况",
        "备注",
        "更正原因",
        "客户签字",
        "客户签字",
    ]
    assert page.remarks.shown + page.continued[1][1] == long


def test_the_json_is_canonical() -> None:
    text = samples.full().as_json()

    assert text == json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
