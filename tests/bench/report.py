"""One line of the benchmark, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """What was measured. ``value`` and its limits in ``unit``; less is better."""

    what: str
    value: float
    unit: str
    aim: float | None = None
    must: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.must is not None and self.value > self.must


def say(line: Line) -> None:
    """Print a line with its verdict."""
    limits = [f"{name} ≤ {limit:g}" for name, limit in (("aim", line.aim), ("must", line.must)) if limit is not None]
    verdict = "MISSED" if line.missed else "aim" if line.aim is not None and line.value <= line.aim else ""
    frame = f"({', '.join(limits)})" if limits else ""
    print(f"  {line.what:<58} {line.value:>9.3g} {line.unit:<9} {frame:<26} {verdict:<6} {line.note}", flush=True)
