"""Partitions as files, written and checked on local disk before they are published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.rows import ISO_TIMES
from airflow_provider_journey.storage.database import literal

FORMATS = ("parquet", "csv", "jsonl")
MANIFEST = "_manifest.json"
_TEXT = f"* REPLACE ({ISO_TIMES})"
_FLAT_TEXT = f"* REPLACE ({ISO_TIMES}, CAST(to_json(other_dimensions) AS VARCHAR) AS other_dimensions)"


def write_rows(table: RowTable, part: Window, file: Path, file_format: str) -> int:
    """Write the rows of one partition to a local file and read back how many there are.

    Rows are sorted by all their key columns, so that the same rows give the same bytes. Parquet has instants
    and a map; CSV has ISO-8601 times in UTC and the map as JSON text, JSON lines has the map as an object.

    :param part: the partition.
    :param file: a path that does not exist yet.
    :param file_format: one of :data:`FORMATS`.
    :return: the number of rows, none included: the file then has the schema and nothing else.
    :raises OSError: the file does not hold what was written.
    """
    found, database, name = table.select(part), table.database, str(file)
    if file_format == "parquet":
        found.write_parquet(name, compression="zstd")
        written = database.read_parquet(name)
    elif file_format == "csv":
        found.project(_FLAT_TEXT).write_csv(name, header=True)
        # The dialect is told, not guessed: values may be full of semicolons and quotes.
        written = database.read_csv(
            name,
            header=True,
            auto_detect=False,
            sep=",",
            quotechar='"',
            escapechar='"',
            columns={name: "VARCHAR" for name, _ in table.shape.columns},
        )
    else:
        found.project(_TEXT).create_view("to_write")
        database.execute(f"COPY to_write TO {literal(name)} (FORMAT json)")
        written = database.read_json(name, format="newline_delimited", columns={"interval_start": "VARCHAR"})
    expected, count = (int(rows.aggregate("count(*)").fetchall()[0][0]) for rows in (found, written))
    if count != expected:
        raise OSError(f"{name} holds {count} rows where {expected} were written")
    return count


def write_manifest(file: Path, content: Mapping[str, Any]) -> None:
    """Write what a partition holds to a local file; equal contents give equal bytes."""
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
