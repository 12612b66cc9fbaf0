"""Ten million pairs of a ledger against ten million of an audience: the plan, and the bare anti-joins.

``python -m tests.benchmarks.plan 100000000`` measures another number of pairs, and the disk it takes.
"""

import importlib
import json
import shutil
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.harness import Cost, Figure, measure, report, table

PAIRS, CHANGED = 10_000_000, 0.01
TIMES, MEMORY_MIB = 3.0, 2048
SEGMENTS = [f"b4d8c5a2-0000-4000-8000-00000000000{number}" for number in range(10)]
KEY = "external_contact_id, segment_id"


def make(folder, pairs):
    """A ledger, and an audience with half of the changed pairs gone and as many new ones."""
    import duckdb

    moved = int(pairs * CHANGED / 2)
    (folder / "ledger" / "snapshots").mkdir(parents=True)
    (folder / "ledger" / "heads").mkdir()
    snapshot, pending = "snapshots/00000001-0.parquet", "snapshots/00000001-0-pending.parquet"
    database = duckdb.connect(config={"temp_directory": str(folder / "duckdb"), "memory_limit": "1500MiB"})
    database.execute("SET TimeZone = 'UTC'")
    # A contact is in two of the ten segments.
    database.execute(
        f"""CREATE VIEW everything AS SELECT i, CAST(md5(CAST(i // 2 AS VARCHAR))[:8] || '-' ||
        md5(CAST(i // 2 AS VARCHAR))[9:12] || '-4000-8000-' || lpad(CAST(i // 2 AS VARCHAR), 12, '0')
        AS VARCHAR) AS external_contact_id, {SEGMENTS}[1 + (i // 2 * 7 + i % 2 * 3) % 10] AS segment_id
        FROM range({pairs + moved}) AS r(i)"""
    )
    database.execute(
        f"""COPY (SELECT {KEY}, 'assigned' AS state, TIMESTAMPTZ '2026-11-22 00:00:00+00' AS confirmed_at,
        'abc' AS plan_hash FROM everything WHERE i < {pairs} ORDER BY ALL)
        TO '{folder / "ledger" / snapshot}' (COMPRESSION zstd)"""
    )
    database.execute(
        f"""COPY (SELECT {KEY} FROM everything WHERE i >= {moved} ORDER BY hash(i))
        TO '{folder / "audience.parquet"}' (COMPRESSION zstd)"""
    )
    database.execute(
        f"""COPY (SELECT '' AS external_contact_id, '' AS segment_id, '' AS action, '' AS outcome LIMIT 0)
        TO '{folder / "ledger" / pending}'"""
    )
    head = {"version": 1, "snapshot": snapshot, "pending": pending, "run": "r", "committed_at": ""}
    head |= {"counts": {}, "folded": {}, "calls_per_minute": None}
    (folder / "ledger" / "heads" / "00000001.json").write_text(json.dumps(head))
    shutil.rmtree(folder / "duckdb", ignore_errors=True)


def ours(folder):
    from airflow_provider_journey.segments.audience import FileAudience
    from airflow_provider_journey.segments.ledger import Ledger
    from airflow_provider_journey.segments.plan import PlanRequest, make_plan

    importlib.import_module("duckdb")
    ledger = Ledger.at(str(folder / "ledger"))

    def work():
        request = PlanRequest(SEGMENTS, "mirror")
        plan = make_plan(ledger, "night", FileAudience(str(folder / "audience.parquet")), request)
        (folder / "summary.json").write_text(json.dumps(plan.summary.to_dict()))

    return work


def bare(folder):
    """All the memory that DuckDB wants, which is faster than within bounds."""
    import duckdb

    sides = [f"'{folder / 'audience.parquet'}'", f"'{folder / 'ledger/snapshots/00000001-0.parquet'}'"]

    def work():
        database = duckdb.connect()
        database.execute("SET preserve_insertion_order = false")
        for name, (left, right) in {"new": sides, "left": sides[::-1]}.items():
            database.execute(
                f"COPY (SELECT {KEY} FROM {left} ANTI JOIN {right} USING ({KEY})) TO '{folder / name}.parquet'"
            )

    return work


WORK = {"ours": ours, "bare": bare}


def main(pairs=PAIRS, runs=3):
    with TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what it took at most would count as its children's.
        subprocess.run([sys.executable, "-m", "tests.benchmarks.plan", "make", name, str(pairs)], check=True)
        runs_of = {who: [] for who in WORK}
        with DiskUse(folder) as disk:
            # In turns, so that whatever else the machine does falls on both.
            for _ in range(runs):
                for who, costs in runs_of.items():
                    shutil.rmtree(folder / "ledger" / "runs", ignore_errors=True)
                    costs.append(measure("tests.benchmarks.plan", who, name, runs=1))
        summary = json.loads((folder / "summary.json").read_text())
    return figures({who: median(costs) for who, costs in runs_of.items()}, summary, pairs, disk.most_gib)


def median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs), statistics.median(cost.peak_mib for cost in costs)
    )


def figures(costs: dict[str, Cost], summary, pairs, disk_gib):
    times = costs["ours"].seconds / costs["bare"].seconds
    changed = 2 * int(pairs * CHANGED / 2)
    told = f"{pairs:,} against {pairs:,} pairs, {CHANGED:.0%} changed"
    return [
        Figure(
            "plan ÷ bare two-sided anti-join, time",
            times,
            "x",
            f"<= {TIMES}",
            times <= TIMES,
            f"{told}: {costs['ours'].seconds:.1f} s and {costs['bare'].seconds:.1f} s",
        ),
        Figure(
            "plan, peak memory",
            costs["ours"].peak_mib,
            "MiB",
            f"<= {MEMORY_MIB}",
            costs["ours"].peak_mib <= MEMORY_MIB,
            f"bare: {costs['bare'].peak_mib:,.0f} MiB",
        ),
        Figure("plan, disk beside ledger and audience", disk_gib, "GiB", "<= 20", disk_gib <= 20),
        Figure(
            "changes planned ÷ changes needed",
            summary["changes"] / changed,
            "",
            "= 1",
            summary["changes"] == changed,
        ),
    ]


class DiskUse:
    """The most disk that was taken on the folder's file system while it was watched."""

    def __init__(self, folder):
        self.folder, self.most_gib, self._done = folder, 0.0, threading.Event()

    def __enter__(self):
        self._free = shutil.disk_usage(self.folder).free
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.2):
            taken = (self._free - shutil.disk_usage(self.folder).free) / 2**30
            self.most_gib = max(self.most_gib, taken)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] in WORK:
        report(WORK[sys.argv[1]](Path(sys.argv[2])))
    else:
        print(table(main(int(sys.argv[1]), runs=1)))
