"""The browser of these tests, the Chromium that the machine has, and the whole application serving the demo day to it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from fieldapp.config import ROOT
from tests.browser.installation import Installation, installation, phone_of
from tests.ports import free_port

START_WITHIN_S, STOP_WITHIN_S = 90, 40
expect.set_options(timeout=20_000)  # two browsers and their servers share two cores


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Chromium as found by the set-up, quiet, and able to run as root in a container."""
    path = subprocess.run([ROOT / ".setup/find-chromium"], check=True, capture_output=True, text=True).stdout.strip()
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    return {**browser_type_launch_args, "executable_path": path, "args": ["--no-sandbox", *quiet]}


@dataclass(frozen=True)
class Served:
    """A running installation: where it answers and where it keeps its things."""

    address: str
    folder: Path


@pytest.fixture(scope="session")
def served(demo_day: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``flask serve``, web and worker, on a copy of the demo day; stopped at the end by its own pid."""
    folder = tmp_path_factory.mktemp("served") / "data"
    shutil.copytree(demo_day, folder)
    port = free_port()
    log = (folder / "serve.log").open("wb")
    process = subprocess.Popen(
        [*FLASK, "serve"], cwd=ROOT, env=_environment(folder, port), stdout=log, stderr=subprocess.STDOUT
    )
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, folder / "serve.log")
        yield Served(f"http://127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(STOP_WITHIN_S)
        log.close()


@pytest.fixture(scope="session")
def demo_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a fresh demo day; made once, also when several test processes ask for it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "demo_day", shared / "demo_day.done"
    with (shared / "demo_day.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for command in (["db", "upgrade"], ["seed"]):
                subprocess.run([*FLASK, *command], cwd=ROOT, env=_environment(folder), check=True, capture_output=True)
            done.touch()
    return folder


@pytest.fixture
def here(migrated: Path, tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own, whose server can be killed."""
    with installation(migrated, tmp_path / "installation") as made:
        yield made


@pytest.fixture
def phone(browser: Browser, here: Installation) -> Iterator[Page]:
    """The phone of the engineer wanglei at that installation."""
    context = phone_of(browser, here)
    yield context.new_page()
    context.close()


# ---- below ------------------------------------------------------------------------------------------

FLASK = [sys.executable, "-m", "flask", "--app", "app"]


def _environment(folder: Path, port: int = 8000) -> dict[str, str]:
    """Nothing of the surrounding installation but where its programs are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FIELDAPP_")}
    own = {"FIELDAPP_DEMO": "1", "FIELDAPP_DATA_DIR": str(folder), "FIELDAPP_ARGON2_MEMORY_KIB": "19456"}
    return {**kept, **own, "PORT": str(port)}


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_WITHIN_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the application did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")
