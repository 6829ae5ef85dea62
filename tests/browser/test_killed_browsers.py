"""X1 and X2: the browser dies while somebody types. What the page had said is saved is there again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, BrowserType, Error, Page, Playwright, expect

from tests.browser.hands import open_record
from tests.browser.installation import Installation, let_in

pytestmark = [pytest.mark.browser, pytest.mark.crash, pytest.mark.timeout(900)]
POINTS, WITHIN_MS = 50, 3_000
KEY_EVERY_MS = 30
# Tells what stood in the field whenever the line says that it is saved.
WITNESS = """() => {
  const line = document.querySelector("[data-draft-state]");
  const field = document.querySelector("[name=content_text]");
  const look = () => line.dataset.state === "saved" && console.log("saved:" + field.value);
  new MutationObserver(look).observe(line, {attributes: true, childList: true});
}"""


class Phone:
    """A browser with its own profile on the disk, so that it can be killed and started again."""

    def __init__(self, chromium: BrowserType, options: dict[str, Any], profile: Path, here: Installation) -> None:
        self.chromium, self.options, self.profile, self.here = chromium, options, profile, here

    def open(self, visit: str) -> Page:
        """Start the browser and open the record of a visit."""
        self.context: BrowserContext = self.chromium.launch_persistent_context(
            str(self.profile), base_url=self.here.address, viewport={"width": 360, "height": 640}, **self.options
        )
        let_in(self.context, self.here, "wanglei")
        page = self.context.new_page()
        self.saved: list[str] = []
        page.on("console", lambda message: self._hear(message.text))
        open_record(page, f"/visits/{visit}")
        page.evaluate(WITNESS)
        return page

    def kill(self) -> None:
        """kill -9 of every process of this browser; none may say goodbye."""
        for process in self._processes():
            os.kill(process, signal.SIGKILL)
        with suppress(Error):  # it is dead, as it should be
            self.context.close()

    def _hear(self, text: str) -> None:
        if text.startswith("saved:"):
            self.saved.append(text.removeprefix("saved:"))

    def _processes(self) -> list[int]:
        mine = f"--user-data-dir={self.profile}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mine in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # it ended meanwhile
        return found


@pytest.fixture
def phone(
    playwright: Playwright, browser_type_launch_args: dict[str, Any], tmp_path: Path, here: Installation
) -> Iterator[Phone]:
    options = {name: browser_type_launch_args[name] for name in ("executable_path", "args")}
    phone = Phone(playwright.chromium, options, tmp_path / "profile", here)
    yield phone
    phone.kill()


def test_x1_fifty_killed_browsers_lose_nothing_that_was_said_to_be_saved(here: Installation, phone: Phone) -> None:
    visit, chance, kept, banners = here.visit(steps=4), random.Random(20261122), "", 0
    page = phone.open(visit)
    for point in range(POINTS):
        page.locator("[name=content_text]").press_sequentially(f"第{point}次 ", delay=5)
        page.wait_for_timeout(chance.uniform(0, WITHIN_MS / 6 if point % 2 else WITHIN_MS))
        phone.kill()
        kept = max([kept, *phone.saved], key=len)

        page = phone.open(visit)
        back = page.locator("[name=content_text]").input_value()
        assert back.startswith(kept), f"point {point}: {kept!r} was said to be saved, {back!r} is there"
        if back and page.locator("[data-recovered]").is_visible():
            banners += 1
            expect(page.locator("[data-recovered]")).to_contain_text("1001")
        kept = back
    assert kept.count("次") > POINTS / 2
    assert banners > POINTS / 2


def test_x2_a_page_that_is_gone_without_a_word_loses_at_most_a_second(here: Installation, phone: Phone) -> None:
    visit = here.visit(steps=4)
    page = phone.open(visit)
    typed = "设备运行正常" * 20

    page.locator("[name=content_text]").press_sequentially(typed, delay=KEY_EVERY_MS)
    with pytest.raises(Error):
        page.goto("chrome://crash")
    page.close()
    page = phone.context.new_page()
    open_record(page, f"/visits/{visit}")

    back = page.locator("[name=content_text]").input_value()
    assert typed.startswith(back)
    assert len(back) >= len(typed) - 1_000 / KEY_EVERY_MS
