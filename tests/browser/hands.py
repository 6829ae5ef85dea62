"""What people do with a browser: log in, tap, sign, hand the phone over. Fields are found by name, so any language works."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from fieldapp import clock
from fieldapp.config import ROOT

if TYPE_CHECKING:
    from tests.browser.conftest import Served

PHONE, TURNED, DESK = {"width": 360, "height": 640}, {"width": 640, "height": 360}, {"width": 1280, "height": 800}
AXE = ROOT / "node_modules/axe-core/axe.min.js"
SHANGHAI = ZoneInfo("Asia/Shanghai")
PATIENCE_S = 90
DEMO_PIN = "5937"


def someone(
    browser: Browser, served: Served, username: str, *, size: dict[str, int] = PHONE, scripts: bool = True
) -> BrowserContext:
    """A browser of their own in which this person of the demo is logged in."""
    context = browser.new_context(
        base_url=served.address,
        viewport=size,  # type: ignore[arg-type]  # two whole numbers
        has_touch=size is PHONE,
        locale="zh-CN",
        reduced_motion="reduce",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto("/login")
    page.locator("[name=username]").fill(username)
    page.locator("[name=password]").fill("demo")
    with page.expect_navigation():
        page.locator("[name=password]").press("Enter")
    expect(page.locator("[name=password]")).to_have_count(0)
    page.close()
    return context


# ---- the dispatcher ---------------------------------------------------------------------------------


def plan(office: Page, engineer: str, at: str) -> tuple[str, str]:
    """Plan the first waiting ticket for tomorrow at ``at``: (ticket number, tomorrow as 2026-11-21)."""
    office.goto("/dispatch")
    waiting = office.locator("[data-ticket-id]").first
    number = re.search(r"T-\d+-\d+", waiting.inner_text())
    assert number is not None
    waiting.locator("a.cover").click()
    tomorrow = f"{clock.local(clock.now() + timedelta(days=1), SHANGHAI):%Y-%m-%d}"
    office.locator("[name=day]").fill(tomorrow)
    office.locator("[name=window_start]").fill(at)
    office.locator("[name=window_end]").fill("")
    office.locator("fieldset#lead_id label").filter(has_text=engineer).click()
    with office.expect_navigation():
        next_step(office).click()
    expect(office.locator("form#plan")).to_have_count(0)
    return number.group(), tomorrow


# ---- the engineer -----------------------------------------------------------------------------------


def next_step(page: Page) -> Locator:
    """The one big button under the thumb."""
    return page.locator(".actionbar .button:not(.quiet):visible")


def open_visit(phone: Page, day: str, at: str) -> str:
    """From the day's list to the visit; its address."""
    phone.goto(f"/?day={day}")
    phone.locator("[data-visit-id]").filter(has_text=at).first.locator("a.cover").click()
    expect(phone).to_have_url(re.compile("/visits/"))
    return phone.url


def walk(phone: Page, *states: str) -> None:
    """Tap the next step until each of these states is reached in turn."""
    for state in states:
        next_step(phone).click()
        expect(phone.locator("[data-visit-id]").first).to_have_attribute("data-status", state)


def next_step_in(page: Page, screen: str) -> Locator:
    """The big button of one of the record page's screens: form, code, customer, thanks, engineer, done."""
    return page.locator(f".actionbar [data-screen={screen}] .button")


def open_record(page: Page, visit: str) -> None:
    """The record page of a visit, when its draft has been read."""
    page.goto(f"{visit}/record")
    record_is_open(page)


def record_is_open(page: Page) -> None:
    expect(page.locator("#record-page")).to_have_attribute("data-ready", "")


def screen_is(page: Page, screen: str) -> None:
    """Wait until the record page shows this screen."""
    expect(page.locator("body")).to_have_attribute("data-screen", screen)


def is_saved(page: Page) -> None:
    """Wait until the page says that all of it is on this phone."""
    expect(page.locator("[data-draft-state]")).to_have_attribute("data-state", "saved")


def take_back(page: Page, pin: str = DEMO_PIN) -> None:
    """The engineer has the phone again."""
    page.locator("#back-pin").fill(pin)
    next_step_in(page, "thanks").click()
    screen_is(page, "engineer")


def draw(page: Page, pad: str) -> None:
    """Sign with a finger on the pad of this name."""
    canvas = page.locator(f"#{pad}-pad")
    expect(page.locator(f".signature:has(#{pad}-pad)")).to_have_attribute("data-ready", "")
    canvas.evaluate("(canvas) => canvas.scrollIntoView({block: 'center'})")
    box = canvas.bounding_box()
    assert box is not None
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *spots: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in spots]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (30, 40))
    for step in range(12):
        touch("touchMove", (40 + step * 16, 95 if step % 2 else 35))
    touch("touchEnd")
    finger.detach()
    expect(page.locator(f"#{pad}")).not_to_have_value("")


def type_name(page: Page, field: str, name: str) -> None:
    """Sign by typing the name, for whom drawing is no way."""
    typed = page.locator(f"[name={field}]")
    page.locator(f"details:has([name={field}]) > summary").last.click()
    typed.fill(name)


def photo(folder: Path, name: str, colour: str) -> Path:
    """A picture as a phone takes it."""
    path = folder / name
    noise = Image.effect_noise((1280, 960), 30).convert("RGB")
    Image.blend(noise, Image.new("RGB", noise.size, colour), 0.7).save(path, "JPEG")
    return path


def eventually(look: Callable[[], bool], what: str) -> None:
    """Look again until it is so; the worker's work has no event that a browser could wait for."""
    give_up = time.monotonic() + PATIENCE_S
    pause = Event()
    while not look():
        assert time.monotonic() < give_up, f"{what}: not within {PATIENCE_S} s"
        pause.wait(0.5)
