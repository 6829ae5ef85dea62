"""The components in a real browser: how they look to axe, and that what a person did is neither lost nor sent twice."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from fieldapp.config import ROOT
from tests.browser.gallery_app import Office, gallery

pytestmark = pytest.mark.browser

PHONE, DESK = {"width": 360, "height": 640}, {"width": 1280, "height": 800}
TURNED = {"width": 640, "height": 360}
AXE = ROOT / "node_modules/axe-core/axe.min.js"

TOO_SMALL = """() => [...document.querySelectorAll('main :is(button, a.button, a.link, select, summary, .options label),'
    + ' main input:not([type=hidden], [type=checkbox], [type=radio], [type=file]), main textarea, header :is(a, button)')]
    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML)"""
SMALL_PRINT = """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && e.innerText?.trim()
    && parseFloat(getComputedStyle(e).fontSize) < 16).map((e) => e.outerHTML)"""
JUMPS = """() => new Promise((done) => { let sum = 0;
    new PerformanceObserver((list) => { for (const e of list.getEntries()) sum += e.value; })
        .observe({type: 'layout-shift', buffered: true});
    requestAnimationFrame(() => requestAnimationFrame(() => done(sum))); })"""


@pytest.fixture(scope="module")
def app() -> Flask:
    return gallery()


@pytest.fixture(scope="module")
def address(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def office(app: Flask) -> Office:
    """What the office received in this test."""
    app.extensions["office"].__init__()
    return app.extensions["office"]


@pytest.fixture
def phone(page: Page, address: str, office: Office) -> Page:
    """The engineer's page on a phone, every module started."""
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/phone?lang=en")
    expect(page.locator(".signature")).to_have_attribute("data-ready", "")
    return page


# ---- looks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("size", "language"), [(PHONE, "zh"), (PHONE, "en"), (DESK, "zh")], ids=["phone-zh", "phone-en", "desk"]
)
@pytest.mark.parametrize("name", ["phone", "desk", "calm"])
def test_a_page_is_readable_by_everybody(
    browser: Browser, address: str, name: str, size: Any, language: str, scheme: Any
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(f"{address}/{name}?lang={language}", wait_until="networkidle")

    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.evaluate(JUMPS) < 0.01
    assert page.evaluate(TOO_SMALL) == []
    assert page.evaluate(SMALL_PRINT) == []
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert complaints == []
    context.close()


def test_the_first_page_and_everything_it_loads_are_small(app: Flask) -> None:
    page = app.test_client().get("/phone").data
    sheet = str(app.extensions["assets"].css).encode()
    scripts = [*(ROOT / "static/js").glob("*.js"), ROOT / "static/vendor/signature_pad.js"]

    assert len(gzip.compress(page)) <= 14 * 1024
    assert len(gzip.compress(sheet)) <= 6 * 1024
    assert len(gzip.compress(sheet)) + sum(len(gzip.compress(path.read_bytes())) for path in scripts) <= 60 * 1024


def test_the_one_next_step_stands_under_the_thumb(phone: Page) -> None:
    button = phone.locator(".actionbar .button")

    for _scroll in range(2):
        box = button.bounding_box()
        assert box is not None
        assert box["y"] > PHONE["height"] * 0.75
        assert box["y"] + box["height"] <= PHONE["height"]
        phone.evaluate("scrollTo(0, 1500)")


def test_without_javascript_nothing_dead_is_shown_and_photos_still_go(
    browser: Browser, address: str, office: Office, tmp_path: Path
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{address}/phone?lang=en")
    picture = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(picture)

    assert not page.locator(".phrases").is_visible()
    assert not page.locator(".paper").is_visible()
    page.locator("#photos-files").set_input_files(picture)
    page.get_by_role("button", name="Send photos").click()

    assert office.forms[0][1]["kind"] == "before"
    assert [sent for _key, _body, sent in office.photos if sent] == [picture.read_bytes()]
    context.close()


# ---- signature --------------------------------------------------------------------------------------


def sign(page: Page, *, points: int = 12) -> None:
    """Draw a name-like zigzag with the mouse."""
    pad = page.locator(".paper canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 30, box["y"] + 60)
    page.mouse.down()
    for step in range(points):
        page.mouse.move(box["x"] + 30 + step * 15, box["y"] + (40 if step % 2 else 90), steps=3)
    page.mouse.up()


def ink(page: Page) -> dict[str, Any]:
    """What the pad would send."""
    value = page.locator("#customer_signature").input_value()
    return json.loads(value) if value else {"strokes": []}


def painted(page: Page) -> int:
    """How many of the canvas' pixels carry ink."""
    script = """(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 9).length"""
    return int(page.locator(".paper canvas").evaluate(script))


def test_a_drawn_signature_is_whole_numbers_in_order_of_time(phone: Page) -> None:
    sign(phone)

    drawn = ink(phone)
    numbers = [number for stroke in drawn["strokes"] for point in stroke for number in point]
    assert drawn["v"] == 1
    assert abs(drawn["w"] - 2 * drawn["h"]) <= 1
    assert all(isinstance(number, int) for number in numbers)
    assert all(0 <= x <= 10_000 and 0 <= y <= 5_000 for stroke in drawn["strokes"] for x, y, _t in stroke)
    times = [t for stroke in drawn["strokes"] for _x, _y, t in stroke]
    assert times == sorted(times)


def test_a_finger_can_sign(browser: Browser, address: str, office: Office) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/phone?lang=en")
    expect(page.locator(".signature")).to_have_attribute("data-ready", "")
    page.locator(".paper canvas").scroll_into_view_if_needed()
    box = page.locator(".paper canvas").bounding_box()
    assert box is not None
    finger = context.new_cdp_session(page)

    def touch(kind: str, *spots: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in spots]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (30, 40))
    for step in range(10):
        touch("touchMove", (40 + step * 15, 90 if step % 2 else 40))
    touch("touchEnd")

    assert len(ink(page)["strokes"]) == 1
    assert page.evaluate("getComputedStyle(document.querySelector('.paper canvas')).touchAction") == "none"
    context.close()


def test_a_signature_survives_turning_the_phone_and_the_keyboard(phone: Page) -> None:
    sign(phone)
    before = ink(phone)["strokes"]
    assert painted(phone) > 200

    phone.set_viewport_size({"width": 360, "height": 400})  # the keyboard opens
    phone.set_viewport_size(TURNED)
    expect(phone.locator(".paper canvas")).not_to_have_attribute("width", "")

    assert painted(phone) > 200
    assert ink(phone)["strokes"] == before
    box = phone.locator(".paper").bounding_box()
    assert box is not None
    assert box["height"] < TURNED["height"]


def test_undo_takes_back_one_stroke_and_clear_all(phone: Page) -> None:
    sign(phone)
    sign(phone, points=4)
    assert len(ink(phone)["strokes"]) == 2

    phone.get_by_role("button", name="Undo").click()
    assert len(ink(phone)["strokes"]) == 1
    assert painted(phone) > 200
    phone.get_by_role("button", name="Clear").click()

    assert phone.locator("#customer_signature").input_value() == ""
    assert painted(phone) == 0


def test_a_dot_is_no_signature_and_says_so(phone: Page, office: Office) -> None:
    phone.locator(".paper canvas").click()

    phone.locator("#record").evaluate("(form) => form.requestSubmit()")

    expect(phone.locator("[data-complaint]")).to_contain_text("a dot or a short line is not enough")
    assert "/record" not in [path for path, _form in office.forms]
    sign(phone)
    expect(phone.locator("[data-complaint]")).to_be_hidden()


def test_enter_in_a_field_does_not_send_a_form_that_is_signed(phone: Page, office: Office) -> None:
    sign(phone)

    phone.locator("#phone").press("Enter")

    assert phone.url.endswith("/phone?lang=en")
    phone.locator("#record").evaluate("(form) => form.requestSubmit()")
    phone.wait_for_url("**/record")
    assert [path for path, _form in office.forms].count("/record") == 1


def test_a_typed_name_stands_for_a_drawn_one(phone: Page, office: Office) -> None:
    phone.get_by_text("Cannot draw?").click()
    phone.get_by_label("Full name as signature").fill("陈晓")

    phone.locator("#record").evaluate("(form) => form.requestSubmit()")

    phone.wait_for_url("**/record")
    assert office.forms[-1][1]["signed_as"] == "陈晓"


# ---- phrases, buttons -----------------------------------------------------------------------------------


def test_a_phrase_is_added_on_a_line_of_its_own(phone: Page) -> None:
    phone.locator("#work_done").fill("检查了电源。")

    phone.get_by_role("button", name="Restarted the service").click()

    expect(phone.locator("#work_done")).to_have_value("检查了电源。\nRestarted the service")


def test_a_tapped_button_answers_at_once_and_a_second_tap_does_nothing(phone: Page, office: Office) -> None:
    button = phone.locator(".actionbar .button")

    words = button.evaluate("(b) => { b.click(); const said = b.innerText; b.click(); return said; }")
    phone.wait_for_url("**/arrival")

    assert words == "Sending…"
    assert [path for path, _form in office.forms] == ["/visits/1/arrival"]
    assert office.forms[0][1]["submission_id"]
