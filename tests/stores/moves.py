"""A company's move out of a live store into the desk, by the command that an administrator runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from fieldapp.config import ROOT
from fieldapp.extensions import db
from fieldapp.tickets.desk.models import DeskTicket
from tests.conftest import SECRET

# Small steps, so that few tickets are many.
FLASK = "from flask.cli import main; from fieldapp.tickets import moving; moving.BATCH = moving.PAGE = 2; main()"


@dataclass(frozen=True, kw_only=True)
class Move:
    """The installation in ``folder``, which reaches the store ``name`` at ``address`` and calls its place ``place``."""

    folder: Path
    name: str
    address: str
    secret: str
    place: str

    def arrived(self) -> int:
        """How many tickets the desk holds; what was read is let go, or the command could not write."""
        count = db.session.scalar(select(func.count()).select_from(DeskTicket)) or 0
        db.session.rollback()
        return count

    def run(self, *options: str, crash_at: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command to its end, or until it is killed at the named point."""
        mapping = self.folder / "mapping.toml"
        mapping.write_text(f'place = "{self.place}"\n', "utf-8")
        environment = {
            **os.environ,
            "FIELDAPP_DATA_DIR": str(self.folder),
            "FIELDAPP_SECRET_KEY": SECRET,
            "FIELDAPP_LOCALE": "en",
            "FIELDAPP_STORE_URL": self.address,
            "FIELDAPP_STORE_SECRET": self.secret,
            "FIELDAPP_STORE_MAPPING": str(mapping),
            "FIELDAPP_STORE_NETWORKS": "127.0.0.0/8",
            "FIELDAPP_CRASH_AT": crash_at,
        }
        flask = [sys.executable, "-c", FLASK, "--app", "app"]
        command = [*flask, "import-tickets", "--from-store", self.name, *options]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
