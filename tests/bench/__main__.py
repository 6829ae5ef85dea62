"""``make bench``: how fast the app is, as ratios against a baseline measured in the same run.

Milliseconds differ from machine to machine; ratios and growth hardly do. Each line says what it aims at and what it must reach.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import deliveries, growth, pages, paint, printing
from tests.bench.report import Line, say


def main(chosen: list[str]) -> int:
    """Run the parts named (default: all); 1 when something misses what it must reach."""
    parts: dict[str, Callable[[Path], list[Line]]] = {
        "pages": pages.measure,
        "pdf": printing.measure,
        "growth": growth.measure,
        "paint": paint.measure,
        "deliveries": deliveries.measure,
    }
    missed = False
    for name in chosen or list(parts):
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            print(f"\n{name}", flush=True)
            for line in parts[name](Path(folder)):
                say(line)
                missed = missed or line.missed
    return 1 if missed else 0


sys.exit(main(sys.argv[1:]))
