"""What a DAG file pays for importing every operator of ours, beside one that imports Airflow's SDK only."""

import pkgutil
import statistics
import subprocess
import sys

import airflow_provider_journey
from airflow_provider_journey.get_provider_info import get_provider_info
from tests.benchmarks.harness import Figure

LIMIT_MS = 50.0
_ROUNDS = 7
_BASE = "from airflow.sdk import DAG, Asset"
_TIMED = "import time; before = time.process_time(); {}; print(time.process_time() - before)"


def _modules() -> list[str]:
    """Return every module that a DAG file may import an operator, sensor or task group from."""
    info = get_provider_info()
    named = [
        name
        for kind in ("operators", "sensors")
        for each in info.get(kind, [])
        for name in each["python-modules"]
    ]
    rooms = {f"{airflow_provider_journey.__name__}.{room}" for room in ("task_groups",)}
    found = [
        module.name
        for module in pkgutil.walk_packages(airflow_provider_journey.__path__, "airflow_provider_journey.")
        if module.name.rpartition(".")[0] in rooms
    ]
    return [*named, *found, "airflow_provider_journey.aggregates.query"]


def _seconds(statement: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> list[Figure]:
    """Time both in processes of their own, alternating, with warm bytecode."""
    ours = "; ".join([_BASE, *(f"import {name}" for name in _modules())])
    _seconds(ours)  # bytecode is warm from here on
    pairs = [(_seconds(_BASE), _seconds(ours)) for _ in range(_ROUNDS)]
    base, full = (statistics.median(times) for times in zip(*pairs, strict=True))
    more = (full - base) * 1000
    return [
        Figure(
            "import of every operator over airflow.sdk",
            more,
            "ms",
            limit=f"<= {LIMIT_MS:g}",
            ok=more <= LIMIT_MS,
            note=f"CPU time, which other work on the machine does not stretch; airflow.sdk alone {base * 1000:.0f} ms, "
            f"median of {_ROUNDS}",
        )
    ]
