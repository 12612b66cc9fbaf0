"""What the demo prints: a line a night, a table of partitions, the first rows, and where everything lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from demo.stage import Stage

SHOWN_ROWS = 8


def night(dag_run: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return the line of one night that has ended."""
    return (
        f"{dag_run['logical_date'][:16]}  {dag_run['state']}  {dag_run['duration'] or 0:.1f} s"
        f"  {summary.get('rows', 0):,} rows, {summary.get('calls', 0)} calls"
    )


def partitions(stage: Stage, summaries: Sequence[dict[str, Any]]) -> None:
    """Print what lies in the lake, and how many calls of the API it took."""
    print("\nPartitions in the lake (each night also re-pulls the days before it, for late data)\n")
    print(f"{'day':<12}{'rows':>10}{'bytes':>12}{'calls':>8}")
    calls = {newest_day(summary): summary.get("calls", 0) for summary in summaries}
    folders = sorted((stage.lake / "journey_aggregates").glob("dt=*"))
    for folder in folders:
        manifest = json.loads((folder / "_manifest.json").read_text())
        day = folder.name.removeprefix("dt=")
        print(f"{day:<12}{manifest['rows']:>10,}{manifest['bytes']:>12,}{calls.get(day, '-'):>8}")
    total = sum(summary.get("calls", 0) for summary in summaries)
    print(f"{len(folders)} partitions; {total} calls of the API in {len(summaries)} nights")


def newest_day(summary: dict[str, Any]) -> str:
    """Return the last day of a run's window: the night it was for."""
    days: list[str] = summary.get("partitions") or [""]
    return max(days)


def first_rows(stage: Stage) -> None:
    """Read the lake back as its user would, and print the first rows without the columns that are empty."""
    files = stage.lake / "journey_aggregates" / "dt=*" / "part-0.parquet"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        "CREATE VIEW lake AS SELECT * FROM read_parquet(?, union_by_name = true)".replace("?", literal(files))
    )
    columns = [name for name, *_ in connection.execute("DESCRIBE lake").fetchall()]
    counts = connection.execute(
        f"SELECT {', '.join(f'count({identifier(name)})' for name in columns)} FROM lake"
    ).fetchone()
    filled = [identifier(name) for name, count in zip(columns, counts or (), strict=True) if count]
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


def identifier(name: str) -> str:
    """Return a column's name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path as a string of SQL; a view takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def places(stage: Stage) -> None:
    """Print where everything lies, and what to do next."""
    print(f"Lake          {stage.lake}")
    print(f"Airflow home  {stage.home}")
    print(f"Task logs     {stage.home / 'logs'}")
    print(f"Process logs  {stage.home / 'process-logs'}, {stage.logs}")
    print("The DAG       dags/journey_nightly_aggregates.py: change its metrics, and make demo again")
    print("In the UI     make ui")
