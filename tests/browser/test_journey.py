"""A visit from plan to PDF in a real browser, on a phone, with a finger; and the same without JavaScript."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from tests.browser.conftest import Served
from tests.browser.hands import (
    DESK,
    PHONE,
    TURNED,
    draw,
    eventually,
    is_saved,
    next_step,
    open_visit,
    photo,
    plan,
    record_is_open,
    screen_is,
    someone,
    take_back,
    type_name,
    walk,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def office(browser: Browser, served: Served) -> Iterator[Page]:
    """The dispatcher zhaomin at her desk."""
    context = someone(browser, served, "zhaomin", size=DESK)
    yield context.new_page()
    context.close()


@pytest.fixture
def phone(browser: Browser, served: Served) -> Iterator[Page]:
    """The phone of the engineer wanglei."""
    context = someone(browser, served, "wanglei")
    yield context.new_page()
    context.close()


@pytest.fixture
def plain_phone(browser: Browser, served: Served) -> Iterator[Page]:
    """The same on a phone that runs no scripts."""
    context = someone(browser, served, "wanglei", scripts=False)
    yield context.new_page()
    context.close()


def test_a_visit_from_plan_to_pdf(office: Page, phone: Page, tmp_path: Path) -> None:
    number, day = plan(office, "王磊", "08:00")
    visit = open_visit(phone, day, "08:00")
    customer = phone.locator("h1").inner_text()
    walk(phone, "accepted", "traveling", "arrived", "working")

    next_step(phone).click()
    record_is_open(phone)
    remind_of_backup(phone)
    fill(phone, tmp_path)
    next_step(phone).click()
    sign_as_customer(phone)
    take_back_at_the_second_try(phone)
    draw(phone, "engineer_strokes")
    next_step(phone).click()

    expect(phone).to_have_url(visit)
    expect(phone.locator("[data-visit-id]").first).to_have_attribute("data-status", "completed")
    said = report_of(phone)
    assert "客户服务记录表" in said
    assert customer in said
    assert "更换电源模块" in said
    see_delivery(office, number, "更换电源模块")


def test_the_same_without_javascript(office: Page, plain_phone: Page, tmp_path: Path) -> None:
    phone = plain_phone
    number, day = plan(office, "王磊", "09:00")
    visit = open_visit(phone, day, "09:00")
    customer = phone.locator("h1").inner_text()
    walk(phone, "accepted", "traveling", "arrived", "working")

    next_step(phone).click()
    phone.locator("main a[href$=backup-acknowledgement]").first.click()
    type_name(phone, "backup_ack_typed", "陈晓")
    next_step(phone).click()
    phone.locator("[name=content_text]").fill("清洁并校准")
    phone.locator("label[for^=outcome-]").first.click()
    phone.locator(".unscripted button[form], #record .unscripted button").first.click()
    expect(phone.locator("[name=content_text]")).to_have_value("清洁并校准")
    phone.locator("#photos-before-input-files").set_input_files(photo(tmp_path, "door.jpg", "teal"))
    phone.locator("#photos-before .unscripted button").click()
    expect(phone.locator("#photos-before .thumbs img")).to_have_count(1)
    next_step(phone).click()

    phone.locator("label[for=skill_rating-2]").click()
    type_name(phone, "customer_typed", "陈晓")
    next_step(phone).click()
    expect(phone.locator("code")).to_have_text([phone.locator("code").inner_text()])
    phone.locator("[name=pin]").fill("demo")
    next_step(phone).click()
    type_name(phone, "engineer_typed", "王磊")
    next_step(phone).click()

    expect(phone).to_have_url(visit)
    expect(phone.locator("[data-visit-id]").first).to_have_attribute("data-status", "completed")
    said = report_of(phone)
    assert "客户服务记录表" in said
    assert customer in said
    see_delivery(office, number, "清洁并校准")


def test_what_goes_wrong_on_site_loses_nothing(office: Page, phone: Page) -> None:
    _number, day = plan(office, "王磊", "10:00")
    visit = open_visit(phone, day, "10:00")
    walk(phone, "accepted", "traveling", "arrived", "working")
    next_step(phone).click()

    # an error at the form keeps what was typed, and says at the fields what is missing
    record_is_open(phone)
    phone.locator("[name=remark]").fill("下周来电确认")
    phone.locator("[name=content_text]").fill("")
    next_step(phone).click()
    expect(phone.locator("#content_text-error")).to_be_visible()
    expect(phone.locator("#outcome-error")).to_be_visible()
    expect(phone.locator("#backup-error")).to_be_visible()
    expect(phone.locator("[name=remark]")).to_have_value("下周来电确认")
    expect(phone.locator(".notice a[href='#content_text']")).to_be_visible()

    # the backup reminder is refused with a reason, the customer refuses as well
    phone.locator("[name=content_text]").fill("检查完毕")
    phone.locator("label[for^=outcome-]").first.click()
    is_saved(phone)
    phone.locator("#backup a").first.click()
    refuse(phone, "backup_ack_reason", "客户自行备份")
    record_is_open(phone)
    expect(phone.locator("[name=content_text]")).to_have_value("检查完毕")
    expect(phone.locator("#backup")).to_contain_text("客户自行备份")
    next_step(phone).click()
    screen_is(phone, "customer")
    phone.locator("label[for=attitude_rating-1]").click()
    phone.locator("#customer_method > summary").click()
    phone.locator("[name=customer_method][value=refused]").click()
    expect(phone.locator("#customer_reason-error")).to_be_visible()
    expect(phone.locator("#attitude_rating-1")).to_be_checked()
    phone.locator("[name=customer_reason]").fill("需先请示领导")
    phone.locator("[name=customer_method][value=refused]").click()
    screen_is(phone, "thanks")
    take_back(phone)
    draw(phone, "engineer_strokes")
    next_step(phone).click()

    expect(phone).to_have_url(visit)
    expect(phone.locator("[data-visit-id]").first).to_have_attribute("data-status", "completed")
    assert "需先请示领导" in report_of(phone)


# ---- the engineer's part ----------------------------------------------------------------------------


def remind_of_backup(phone: Page) -> None:
    """The customer reads the reminder and signs it with a finger."""
    phone.locator("main a[href$=backup-acknowledgement]").first.click()
    draw(phone, "backup_ack_strokes")
    phone.locator("[name=backup_ack_name]").fill("陈晓")
    next_step(phone).click()
    record_is_open(phone)
    expect(phone.locator("#backup")).to_contain_text("陈晓")


def fill(phone: Page, folder: Path) -> None:
    """Type, tap phrases, add a part and photos; everything is kept on the phone by itself."""
    phone.locator("[name=content_text]").fill("更换电源模块")
    phone.locator("[data-target=content_text] .phrase").first.click()
    phone.locator("label[for^=outcome-]").first.click()
    phone.locator("#parts > summary").click()
    phone.locator("[name=parts-0-name]").fill("电源模块 800W")
    phone.locator("[name=parts-0-serial]").fill("PSU-9")
    phone.locator("[name=cause]").fill("滤波电容老化")
    phone.locator("[name=cause]").blur()
    is_saved(phone)
    for kind, colour in (("before", "teal"), ("after", "olive")):
        phone.locator(f"#photos-{kind}-input-files").set_input_files(photo(folder, f"{kind}.jpg", colour))
        expect(phone.locator(f"#photos-{kind} .thumbs li")).to_have_attribute("data-state", "saved")
    phone.reload()
    record_is_open(phone)
    expect(phone.locator("[name=parts-0-name]")).to_have_value("电源模块 800W")
    expect(phone.locator("#photos-after .thumbs img")).to_have_count(1)


def take_back_at_the_second_try(phone: Page) -> None:
    """The engineer has the phone again: the wrong PIN first, then the right one."""
    screen_is(phone, "thanks")
    phone.locator("#back-pin").fill("0000")
    next_step(phone).click()
    expect(phone.locator("#back-pin")).to_have_attribute("aria-invalid", "true")
    take_back(phone)


# ---- the customer's part ----------------------------------------------------------------------------


def sign_as_customer(phone: Page) -> None:
    """Read, rate, sign, turn the phone, sign off; the rest of the application is out of reach meanwhile."""
    screen_is(phone, "customer")
    shown = phone.locator("section[data-screen=customer]")
    expect(shown).to_contain_text("更换电源模块")
    expect(shown).to_contain_text("PSU-9")
    expect(shown.locator("img")).to_have_count(2)
    handed = phone.url
    phone.goto("/")
    expect(phone).to_have_url(handed)
    screen_is(phone, "customer")
    expect(phone.locator("[name=content_text]")).not_to_be_visible()
    phone.locator("label[for=skill_rating-2]").click()
    phone.locator("label[for=attitude_rating-2]").click()
    phone.locator("#signer_phone").fill("13900000001")
    draw(phone, "customer_strokes")
    turn_and_look(phone)
    next_step(phone).click()
    expect(phone.locator("#back-pin")).to_be_visible()
    expect(phone.locator("#customer")).not_to_be_visible()


def turn_and_look(phone: Page) -> None:
    """The drawing is still there when the phone was turned and turned back."""
    drawn = phone.locator("#customer_strokes").input_value()
    phone.set_viewport_size(TURNED)
    expect(phone.locator("#customer_strokes-pad")).to_be_visible()
    assert painted(phone) > 200
    phone.set_viewport_size(PHONE)
    assert painted(phone) > 200
    assert phone.locator("#customer_strokes").input_value() == drawn


def painted(phone: Page) -> int:
    """How many of the canvas' pixels carry ink, once it was redrawn."""
    script = """(c) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
        c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 9).length))))"""
    return int(phone.locator("#customer_strokes-pad").evaluate(script))


def refuse(phone: Page, field: str, reason: str) -> None:
    """Say no, and why."""
    phone.locator(f"details:has([name={field}]) > summary").last.click()
    phone.locator(f"[name={field}]").fill(reason)
    phone.locator(f"details:has([name={field}]) button").click()


# ---- what came of it --------------------------------------------------------------------------------


def report_of(phone: Page) -> str:
    """The text of the PDF behind the link on the visit's page, as soon as the worker has made it."""
    link = phone.locator("main [data-record] a[href^='/reports/'][href$='.pdf']").first

    def made() -> bool:
        phone.reload()
        return link.count() > 0

    eventually(made, "the report on the visit's page")
    answer = phone.context.request.get(link.get_attribute("href") or "")
    assert answer.headers["content-type"] == "application/pdf"
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.body())).pages)


def see_delivery(office: Page, number: str, words: str) -> None:
    """The ticket store has the note and the PDF."""
    file = office.locator("main a[href*='/files/']").filter(has_text=".pdf")

    def delivered() -> bool:
        office.goto(f"/desk/{number}")
        return file.count() > 0

    eventually(delivered, "the delivery to the ticket store")
    expect(office.locator("main")).to_contain_text(words)
