"""What the benchmarks share: work in processes of its own, medians, and one table of figures."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    :param name: what was measured.
    :param value: how much it is.
    :param unit: of what.
    :param limit: what was promised, in words; empty for a figure that is only told.
    :param ok: whether that holds.
    :param note: what the figure was made from.
    """

    name: str
    value: float
    unit: str = ""
    limit: str = ""
    ok: bool = True
    note: str = ""

    def row(self) -> tuple[str, ...]:
        value = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.2f}"
        verdict = ("holds" if self.ok else "FAILS") if self.limit else ""
        return self.name, f"{value} {self.unit}".strip(), self.limit, verdict, self.note


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost, the median of its runs.

    :param seconds: the work alone, without the interpreter's start and imports.
    :param peak_mib: the most memory that the process ever had, everything included.
    """

    seconds: float
    peak_mib: float


def measure(module: str, *arguments: str, runs: int = 3, before: Callable[[], object] | None = None) -> Cost:
    """Run ``python -m module arguments`` several times, one after the other.

    :param module: calls :func:`report` with the work to measure.
    :param before: called before each run.
    """
    seconds, peaks = [], []
    for _ in range(runs):
        if before:
            before()
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        seconds.append(figures["seconds"])
        peaks.append(figures["peak_mib"])
    return Cost(statistics.median(seconds), statistics.median(peaks))


def report(work: Callable[[], object]) -> None:
    """Do ``work`` in this process and print what it cost, for :func:`measure` to read."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table of aligned columns."""
    rows = [("figure", "measured", "promised", "", ""), *(figure.row() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
