"""From a query and its windows to published partitions: ask, spool, read, sort, publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates import files
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.asking import Extract, Gather, Report, fetch, gathered
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.storage.objects import publish
from airflow_provider_journey.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_journey.api.client import JourneyClient


@dataclass(frozen=True)
class Published:
    """One partition in the store.

    :param key: its local date, or for parts of a day its beginning in UTC.
    :param uri: where its rows are.
    :param rows: how many there are.
    :param bytes: the size of its file.
    """

    key: str
    uri: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class FileExtract(Extract):
    """What to extract into which files.

    :param root: the folder of the partitions.
    :param file_format: one of :data:`~airflow_provider_journey.aggregates.files.FORMATS`.
    """

    root: ObjectStoragePath
    file_format: str


def extract_to_files(
    client: JourneyClient, extract: FileExtract, report: Report, gather: Gather = fetch
) -> list[Published]:
    """Replace the partitions by what the service answers now (postAnalyticsJourneysAggregatesQuery).

    Nothing is published before every answer is read and every file is written and checked.

    :param client: whom to ask.
    :param report: called with a line of text whenever there is progress to tell.
    :param gather: how the rows are got.
    :return: the partitions, oldest first.
    :raises JourneyError: the service refuses, fails, or answers what the contract does not have.
    :raises OSError: disk or store do not take a file; what was there before stands.
    """
    with scratch_folder() as directory:
        with gathered(client, extract, directory, report, gather) as table:
            written = [_write(table, extract, part, directory) for part in extract.partitions]
        return [_publish(extract, *each, extract.body, report) for each in written]


def _write(table: RowTable, extract: FileExtract, part: Window, directory: Path) -> tuple[Window, Path, int]:
    file = directory / f"{extract.calendar.key(part)}.{extract.file_format}"
    return part, file, files.write_rows(table, part, file, extract.file_format)


def _publish(
    extract: FileExtract, part: Window, file: Path, rows: int, body: Mapping[str, Any], report: Report
) -> Published:
    key = extract.calendar.key(part)
    folder = extract.root / f"dt={key}"
    target = folder / f"part-0.{extract.file_format}"
    size = file.stat().st_size
    _put(file, target)
    manifest = file.with_suffix(".manifest")
    files.write_manifest(
        manifest,
        {
            "version": 1,
            "file": target.name,
            "layout": extract.shape.layout,
            "rows": rows,
            "bytes": size,
            "window": part.text(extract.calendar.zone),
            "query": body,
        },
    )
    _put(manifest, folder / files.MANIFEST)
    report(f"published {target}: {rows:,} rows, {size:,} bytes")
    return Published(key, str(target), rows, size)


def _put(file: Path, target: ObjectStoragePath) -> None:
    try:
        publish(file, target)
    except OSError as error:
        # Stores say what is wrong, and hardly ever where.
        raise OSError(f"{target} was not written, what was there stands: {error}") from error
