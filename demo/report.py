"""What the demo prints: a line a night, a table of partitions, the first rows, and where everything lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from airflow_provider_journey.segments.summary import DOCUMENTED_CALLS_PER_MINUTE, PlanSummary
from demo.stage import Stage

SHOWN_ROWS = 8
# They say again what interval_start says, or are a map which has entries only where the service adds keys.
UNSHOWN = ("interval_end", "other_dimensions", "dt")


def night(dag_run: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return the line of one night that has ended."""
    return (
        f"{dag_run['logical_date'][:16]}  {dag_run['state']}  {dag_run['duration'] or 0:.1f} s"
        f"  {summary['rows']:,} rows, {summary['calls']} calls"
    )


def partitions(stage: Stage, summaries: Sequence[dict[str, Any]]) -> None:
    """Print what lies in the lake, and how many calls of the API it took."""
    print("\nPartitions in the lake (each night also re-pulls the days before it, for late data)\n")
    print(f"{'day':<12}{'rows':>10}{'bytes':>12}{'calls':>8}")
    calls = {window_end(summary): summary["calls"] for summary in summaries}
    folders = sorted((stage.lake / "journey_aggregates").glob("dt=*"))
    for folder in folders:
        manifest = json.loads((folder / "_manifest.json").read_text())
        day = folder.name.removeprefix("dt=")
        asked = calls.get(window_end(manifest), "-")
        print(f"{day:<12}{manifest['rows']:>10,}{manifest['bytes']:>12,}{asked:>8}")
    total = sum(summary["calls"] for summary in summaries)
    print(f"{len(folders)} partitions; {total} calls of the API in {len(summaries)} nights")


def window_end(described: dict[str, Any]) -> str:
    """Return where a run's or a partition's window ends: a night is named by the last day it wrote."""
    end: str = described["window"].partition("/")[2]
    return end


def first_rows(stage: Stage) -> None:
    """Read the lake back as its user would, and print the first rows without the columns that are empty."""
    files = stage.lake / "journey_aggregates" / "dt=*" / "part-0.parquet"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE VIEW lake AS SELECT * FROM read_parquet({literal(files)}, union_by_name = true)"
    )
    columns = [name for name, *_ in connection.execute("DESCRIBE lake").fetchall() if name not in UNSHOWN]
    counting = ", ".join(f"count({identifier(name)})" for name in columns)
    (counts,) = connection.execute(f"SELECT {counting} FROM lake").fetchall()
    filled = [identifier(name) for name, count in zip(columns, counts, strict=True) if count]
    if not filled:
        print("\nThere are no rows: the emulator had no events in these days.")
        return
    print(f"\nThe first rows, read back with DuckDB from {files}\n")
    connection.sql(f"SELECT {', '.join(filled)} FROM lake ORDER BY ALL LIMIT {SHOWN_ROWS}").show(
        max_width=150
    )
    if "metric" in columns:
        print("Rows by metric\n")
        connection.sql("SELECT metric, count(*) AS rows FROM lake GROUP BY metric ORDER BY metric").show()


def syncs(whole: dict[str, Any], changed: dict[str, Any]) -> None:
    """Print the figures of two syncs side by side."""
    print("\nThe segment syncs\n")
    print(f"{'':<28}{'whole audience':>16}{'2 % changed':>16}")
    before, after = _figures(**whole), _figures(**changed)
    for name, figure in before.items():
        print(f"{name:<28}{figure:>16}{after[name]:>16}")
    print()


def _figures(report: dict[str, Any], plan: PlanSummary) -> dict[str, str]:
    documented = DOCUMENTED_CALLS_PER_MINUTE
    return {
        "rows": f"{report['rows']:,}",
        "unchanged": f"{plan.unchanged:,}",
        "assigned": f"{plan.assign:,}",
        "taken away": f"{plan.unassign:,}",
        "calls": f"{report['calls']:,}",
        "seconds": f"{report['duration_s']:.1f}",
        f"seconds at {documented:.0f} calls/min": f"{report['calls'] * 60 / documented:.0f}",
    }


def identifier(name: str) -> str:
    """Return a column's name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path as a string of SQL; a view takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def places(stage: Stage) -> None:
    """Print where everything lies, and what to do next."""
    print(f"Lake          {stage.lake}")
    print(f"Ledger        {stage.ledger}")
    print(f"Airflow home  {stage.home}")
    print(f"Task logs     {stage.home / 'logs'}")
    print(f"Process logs  {stage.home / 'process-logs'}, {stage.logs}")
    print("The DAG       dags/journey_nightly_aggregates.py: change its metrics, and make demo again")
    print("In the UI     make ui")
