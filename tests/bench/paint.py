"""First paint of today and of a visit in Chromium on a bad line: 400 kbit/s, 400 ms, a slow phone, nothing cached."""

from __future__ import annotations

import gzip
import http.client
import subprocess
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

from fieldapp.config import ROOT
from tests.bench.installation import Installation, prepared
from tests.bench.report import Line
from tests.bench.server import Server, data_folder, serving

LATENCY_MS = 400
BYTES_A_SECOND = 400_000 / 8
SLOWER = 4
ROUNDS = 5
AIM_S, MUST_S = 0.7, 1.2
FIRST_BYTES_KIB = 14
PAINTED = """() => new Promise(done => new PerformanceObserver((list, seen) => {
  const entry = list.getEntriesByName("first-contentful-paint")[0];
  if (entry) { seen.disconnect(); done(entry.startTime); }
}).observe({type: "paint", buffered: true}))"""


def measure(folder: Path) -> list[Line]:
    """Seconds to first paint, and KiB of the first answer."""
    there = prepared(folder)
    with serving("app:app", data_folder(folder)) as server:
        lines = []
        for name, path in (("today", "/"), ("visit", f"/visits/{there.visit}")):
            lines.append(Line(f"{name}: first paint", _paint(server, there, path), "s", AIM_S, MUST_S))
            lines.append(
                Line(f"{name}: first answer, compressed", _weight(server, there, path), "KiB", None, FIRST_BYTES_KIB)
            )
    return lines


def _paint(server: Server, there: Installation, path: str) -> float:
    """The median of some cold starts."""
    chromium = subprocess.run(
        [ROOT / ".setup/find-chromium"], check=True, capture_output=True, text=True
    ).stdout.strip()
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _round in range(ROUNDS):
            context = browser.new_context(viewport={"width": 360, "height": 640}, locale="zh-CN")
            seconds.append(_once(context, server, there, path))
            context.close()
        browser.close()
    return sorted(seconds)[ROUNDS // 2]


def _once(context: BrowserContext, server: Server, there: Installation, path: str) -> float:
    name, _equals, value = there.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{server.port}"}])
    page = context.new_page()
    _slow(page)
    page.goto(f"http://127.0.0.1:{server.port}{path}", wait_until="commit")
    return float(page.evaluate(PAINTED)) / 1000


def _slow(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    line = {
        "offline": False,
        "latency": LATENCY_MS,
        "downloadThroughput": BYTES_A_SECOND,
        "uploadThroughput": BYTES_A_SECOND,
    }
    devtools.send("Network.emulateNetworkConditions", line)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})


def _weight(server: Server, there: Installation, path: str) -> float:
    """KiB of the answer as it travels; compressed here when the server did not."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(
        "GET", path, headers={"Cookie": there.cookie, "Accept-Encoding": "gzip", "Accept-Language": "zh-CN"}
    )
    answer = connection.getresponse()
    body = answer.read()
    return len(body if answer.headers.get("Content-Encoding") else gzip.compress(body)) / 1024
