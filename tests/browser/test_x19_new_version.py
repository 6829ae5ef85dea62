"""X19: a new version is deployed while a draft is open. Two real versions, one after the other at the same address."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fieldapp.config import ROOT
from tests.browser.hands import eventually
from tests.browser.installation import Installation, all_received, ready_offline, stores
from tests.conftest import SECRET
from tests.ports import free_port

pytestmark = pytest.mark.browser
CHANGED = "static/js/copy.js"


def test_x19_a_new_version_waits_for_the_draft_and_loses_nothing(
    here: Installation, phone: Page, tmp_path: Path
) -> None:
    user, visit = here.people["wanglei"], here.visit()
    ready_offline(phone, visit)
    phone.goto(f"/visits/{visit}/record")
    old = phone.locator("body").get_attribute("data-build") or ""
    phone.locator("[name=content_text]").fill("更换电源模块")
    phone.locator("[name=content_text]").blur()
    expect(phone.locator("[data-draft-state]").first).to_have_attribute("data-state", "saved")

    here.kill()
    with next_version(here, tmp_path / "next") as new:
        assert new != old
        other = phone.context.new_page()
        other.goto("/")  # a page of the new version, and with it the new worker, which waits
        expect(other.locator("body")).to_have_attribute("data-build", new)
        eventually(lambda: _waits(other), "the new version is on the phone")
        expect(other.locator("[data-update]")).to_be_hidden()  # the draft is open
        expect(phone.locator("body")).to_have_attribute("data-build", old)
        phone.locator("[name=cause]").fill("滤波电容老化")
        phone.locator("[name=cause]").blur()
        eventually(lambda: "滤波电容老化" in _draft(phone, user), "the old page still saves")
        assert _late_module(phone, old), "what the old page loads late is still there"

        phone.close()
        other.goto(f"/visits/{visit}")
        expect(other.locator("[data-update]")).to_be_visible()
        with other.expect_navigation():
            other.locator("[data-update] button").click()
        eventually(lambda: not _waits(other), "the new version has taken over")
        expect(other.locator("[data-update]")).to_be_hidden()

        other.goto(f"/visits/{visit}/record")
        expect(other.locator("body")).to_have_attribute("data-build", new)
        expect(other.locator("[name=content_text]")).to_have_value("更换电源模块")
        expect(other.locator("[name=cause]")).to_have_value("滤波电容老化")
        other.goto(f"/visits/{visit}")
        other.locator(".actionbar .button:not(.quiet):visible").click()
        all_received(other, user)
        assert here.visit_now(visit)["status"] == "accepted"


# ---- below ------------------------------------------------------------------------------------------


@contextmanager
def next_version(here: Installation, folder: Path) -> Iterator[str]:
    """The same application with one script changed, at the same address and on the same data; its build."""
    for name in ("fieldapp", "templates", "static"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "migrations"):
        (folder / name).symlink_to(ROOT / name)
    (folder / CHANGED).write_text((folder / CHANGED).read_text("utf-8") + "export const NEXT = true;\n", "utf-8")
    port = free_port()
    own = {"FIELDAPP_DATA_DIR": str(here.folder), "FIELDAPP_SECRET_KEY": SECRET, "FIELDAPP_LOG_LEVEL": "ERROR"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FIELDAPP_")}
    command = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env={**kept, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: _answers(port), "the next version answers")
        here.proxy.server_port = port
        yield _build(port)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return True
    except OSError:
        return False


def _build(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/service-worker.js", timeout=60) as answer:
        found = re.search(r'const BUILD = "(\w+)"', answer.read().decode())
    assert found is not None
    return found[1]


def _waits(page: Page) -> bool:
    script = "navigator.serviceWorker.getRegistration().then((found) => Boolean(found?.waiting))"
    return bool(page.evaluate(script))


def _late_module(page: Page, build: str) -> bool:
    return bool(page.evaluate("(path) => fetch(path).then((found) => found.ok)", f"/assets/{build}/{CHANGED[7:]}"))


def _draft(page: Page, user: str) -> str:
    return str(stores(page, user)["drafts"])
