"""Partitions as files: written and checked on local disk, then published in one step each."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.rows import ISO_TIMES, literal

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

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
        written = database.read_csv(name, header=True, all_varchar=True)
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


def publish(file: Path, target: ObjectStoragePath) -> None:
    """Put a finished local file in the place of ``target`` in one step.

    A reader sees the old object or the new one, never a part of it, and a failure leaves the old one. On a
    local path a sibling is renamed; an object store takes one put.

    :param file: the local file; it stays.
    :param target: the object to replace or to make.
    :raises OSError: the store does not take it.
    """
    if target.protocol in ("", "file"):
        _replace(file, Path(target.path))
    else:
        target.fs.put_file(str(file), target.path)


def _replace(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and of another pattern than the finished files: what a killed process leaves is read by nobody.
    sibling = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(file, sibling)
        with sibling.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(sibling, target)
    finally:
        sibling.unlink(missing_ok=True)
