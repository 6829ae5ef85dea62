"""The browser of these tests: the Chromium that the machine has."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from fieldapp.config import ROOT


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Chromium as found by the set-up, quiet, and able to run as root in a container."""
    path = subprocess.run([ROOT / ".setup/find-chromium"], check=True, capture_output=True, text=True).stdout.strip()
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    return {**browser_type_launch_args, "executable_path": path, "args": ["--no-sandbox", *quiet]}
