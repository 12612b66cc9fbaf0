"""From a query and its windows to published partitions: ask, spool, read, sort, publish."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates import files, windows
from airflow_provider_journey.aggregates.answers import RowTable
from airflow_provider_journey.aggregates.calendars import Calendar, Window
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError, ResponseError, ServerError
from airflow_provider_journey.storage.objects import publish
from airflow_provider_journey.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_journey.api.client import JourneyClient

# What a 400 says that a smaller request would not be answered with; limits and codes are not documented.
_TOO_LARGE = re.compile(
    r"too[ ._-]?(large|many|long|big|wide)|exceed|maximum|\bmax\b|\blimit|smaller|shorter|narrow",
    re.IGNORECASE,
)
Report = Callable[[str], None]


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
class FileExtract:
    """What to extract into which files.

    :param query: what to ask, without an interval.
    :param partitions: the partitions to replace, oldest first, without a gap.
    :param calendar: what a partition is.
    :param granularity: what a bucket is; divides the partition.
    :param shape: the columns of the rows.
    :param root: the folder of the partitions.
    :param file_format: one of :data:`~airflow_provider_journey.aggregates.files.FORMATS`.
    """

    query: AggregateQuery
    partitions: Sequence[Window]
    calendar: Calendar
    granularity: Calendar
    shape: RowShape
    root: ObjectStoragePath
    file_format: str

    @property
    def window(self) -> Window:
        """All partitions together."""
        return Window(self.partitions[0].start, self.partitions[-1].end)


def extract_to_files(client: JourneyClient, extract: FileExtract, report: Report) -> list[Published]:
    """Replace the partitions by what the service answers now (postAnalyticsJourneysAggregatesQuery).

    Nothing is published before every answer is read and every file is written and checked.

    :param client: whom to ask.
    :param report: called with a line of text whenever there is progress to tell.
    :return: the partitions, oldest first.
    :raises JourneyError: the service refuses, fails, or answers what the contract does not have.
    :raises OSError: disk or store do not take a file; what was there before stands.
    """
    with scratch_folder() as directory:
        with RowTable(extract.shape, extract.partitions, views_of(extract.query), directory) as table:
            body = {**extract.query.to_dict(), "granularity": extract.granularity.period.text}
            fetch(client, table, body, extract, report)
            table.finish()
            written = [_write(table, extract, part, directory) for part in extract.partitions]
        return [_publish(extract, *each, body, report) for each in written]


def fetch(
    client: JourneyClient, table: RowTable, body: Mapping[str, Any], extract: FileExtract, report: Report
) -> None:
    """Ask for the extract's window in as few requests as possible and add the answers' rows to ``table``.

    An answer that means "too large" has the request halved between two buckets, and all that follow asked in
    pieces no longer than that: a 413, a 504 (after the client's own tries), and a 400 that speaks of a limit.

    :raises InvalidRequestError: a single bucket is too large, or the query is refused; the request is shown.
    """
    waiting = deque(windows.requests(extract.window, extract.granularity))
    ceiling: int | None = None
    while waiting:
        part = waiting.popleft()
        size = len(extract.granularity.split(part))
        cut = windows.halves(part, extract.granularity)
        if cut and ceiling and size > ceiling:
            waiting.extendleft(reversed(cut))
            continue
        request = {**body, "interval": part.text(extract.calendar.zone)}
        try:
            rows = ask(client, table, request, part)
        except (InvalidRequestError, ServerError) as error:
            if not is_too_large(error):
                raise
            if cut is None:
                raise _with(error, "A single bucket is too large: narrow groupBy or filter.") from error
            ceiling = (size + 1) // 2
            waiting.extendleft(reversed(cut))
            report(f"{request['interval']} is too large for one answer: asking for its halves")
        else:
            report(f"{request['interval']}: {rows:,} rows; requests to go: {len(waiting)}")


def ask(client: JourneyClient, table: RowTable, body: Mapping[str, Any], part: Window) -> int:
    """Ask one request and add its rows to ``table``.

    :param body: the request, interval included.
    :param part: the window that the interval means.
    :return: how many rows the answer has.
    :raises JourneyError: as the client does, and ``ResponseError`` for what the contract does not have; where
        the service does not say what is wrong with a request, the request is shown.
    """
    spool = table.directory / "answer.json"
    answer = None
    try:
        with spool.open("w+b") as stream:
            answer = client.download(operations.query_aggregates(body), stream)
        return table.add(spool, part)
    except (InvalidRequestError, ResponseError) as error:
        if answer is not None:  # it came whole: what is wrong is in it
            error.status, error.correlation_id = answer.status, answer.correlation_id
            error.message += f" [correlation id {answer.correlation_id}]"
        raise _with(error, f"The request was: {json.dumps(body, ensure_ascii=False)}") from error


def is_too_large(error: JourneyError) -> bool:
    """Return whether a request for less could be answered where this one was not."""
    if error.status in (413, 504):
        return True
    # The message begins with what was asked on which connection: names, that may be any words.
    cause = error.message.partition(f": {error.status}")[2].partition(" The request was: ")[0]
    return error.status == 400 and bool(_TOO_LARGE.search(f"{error.code or ''} {cause}"))


def views_of(query: AggregateQuery) -> dict[str, str]:
    """Return the metric of each of the query's views, by the view's name."""
    return {view["name"]: view["target"] for view in query.views}


def _with(error: JourneyError, advice: str) -> JourneyError:
    details = {name: value for name, value in vars(error).items() if name != "message"}
    return type(error)(f"{error.message} {advice}", **details)


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
