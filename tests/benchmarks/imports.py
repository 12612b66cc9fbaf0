"""What a DAG file pays for importing every operator of ours, beside one that imports Airflow's SDK only."""

import statistics
import subprocess
import sys

from airflow_provider_journey.get_provider_info import get_provider_info
from tests.benchmarks.harness import Figure

LIMIT_MS = 50.0
_ROUNDS = 7
_BASE = "from airflow.sdk import DAG, Asset"
# In one process, so that what the machine does to the larger part is not in the difference.
_TIMED = (
    "import time; clock = time.process_time; began = clock(); {base}; middle = clock(); {ours}; "
    "print(middle - began, clock() - middle)"
)


def _modules() -> list[str]:
    """Return every module that a DAG file may import an operator, sensor or task group from."""
    info = get_provider_info()
    named = [
        name
        for kind in ("operators", "sensors")
        for each in info.get(kind, [])
        for name in each["python-modules"]
    ]
    # What an approval needs beside is Airflow's own, and imported where one is asked for.
    return [
        *named,
        "airflow_provider_journey.task_groups.segment_sync",
        "airflow_provider_journey.aggregates.query",
    ]


def _seconds(ours: str) -> tuple[float, float]:
    """Return what the SDK takes, and ours behind it, in a process of their own."""
    timed = _TIMED.format(base=_BASE, ours=ours)
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    base, more = done.stdout.split()[-2:]
    return float(base), float(more)


def main() -> list[Figure]:
    """Time the imports with warm bytecode."""
    ours = "; ".join(f"import {name}" for name in _modules())
    _seconds(ours)  # bytecode is warm from here on
    rounds = [_seconds(ours) for _ in range(_ROUNDS)]
    base, more = (statistics.median(times) * 1000 for times in zip(*rounds, strict=True))
    return [
        Figure(
            "import of every operator over airflow.sdk",
            more,
            "ms",
            limit=f"<= {LIMIT_MS:g}",
            ok=more <= LIMIT_MS,
            note=f"CPU time, airflow.sdk imported before, which takes {base:.0f} ms; median of {_ROUNDS}",
        )
    ]
