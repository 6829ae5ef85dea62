"""The two fonts of the report, and how they become the only ones that the renderer can see.

Two raw TTF files in one folder, named to fontconfig by a private fonts.conf: with the system's fonts in reach the same
record would look different on every machine, and a Chinese page would cost seconds instead of a tenth of one.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from html import escape
from pathlib import Path

FAMILY = "Noto Sans SC"
FILES = ("NotoSansSC_400Regular.ttf", "NotoSansSC_700Bold.ttf")
PRIVATE = "fieldapp-fonts-"
FOLDER = Path(__file__).resolve().parents[2] / "var" / "fonts"


def missing(folder: Path) -> list[str]:
    """The names of the font files that are not in ``folder``."""
    return [name for name in FILES if not (folder / name).is_file()]


def environment(folder: Path) -> dict[str, str]:
    """The variables under which fontconfig sees ``folder`` and nothing else.

    The configuration and its cache stand in a new folder of this user's own that goes when the process does: the
    fonts' folder may be read-only, and a fixed name under /tmp could be somebody else's.
    """
    private = Path(tempfile.mkdtemp(prefix=PRIVATE))
    atexit.register(_remove, private, os.getpid())
    configuration = private / "fonts.conf"
    configuration.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n'
        f"<fontconfig><dir>{escape(str(folder.resolve()))}</dir>"
        f"<cachedir>{escape(str(private / 'cache'))}</cachedir></fontconfig>\n",
        "utf-8",
    )
    return {"FONTCONFIG_FILE": str(configuration)}


def use_here(folder: Path) -> None:
    """Make ``folder`` the fonts of this process, unless our parent has; must come before the renderer is imported."""
    if not Path(os.environ.get("FONTCONFIG_FILE", "")).parent.name.startswith(PRIVATE):
        os.environ.update(environment(folder))


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork's exit must not take the fonts from its parent
        shutil.rmtree(folder, ignore_errors=True)
