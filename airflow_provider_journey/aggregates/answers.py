"""From answers as they came over the wire to rows: the one place where either is read."""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import pendulum
from pendulum import UTC, DateTime

from airflow_provider_journey.aggregates import answer_sql, rows
from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.rows import STATS, RowShape
from airflow_provider_journey.api.errors import ResponseError
from airflow_provider_journey.storage.database import literal, open_database, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_MEMORY_LIMIT_MIB = 512
# What DuckDB was measured to take for a JSON object that is read as one piece, as a multiple of its size.
_MEMORY_PER_BYTE_OF_OBJECT = 32
_SMALL = 64 * 1024
_ENDS = 64
_EPOCH = pendulum.from_timestamp(0)
_FINITE = " AND ".join(
    f"coalesce(isfinite({quoted(name)}), true)" for name, kind, _ in STATS if kind == "DOUBLE"
)
_HEAD = re.compile(rb'\s*\{\s*"results"\s*:\s*(?=\[)')
_TAIL = re.compile(rb"(?<=\])\s*\}\s*\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class RowTable:
    """The rows of one extract, in a database in memory that goes to disk when it grows.

    :param shape: the columns of the rows.
    :param partitions: the partitions of the window, without a gap; no bucket may lie across two of them.
    :param views: the metric that each view of the query is a view of, by the view's name.
    :param directory: local folder for answers and for what does not fit into memory.
    """

    def __init__(
        self, shape: RowShape, partitions: Sequence[Window], views: Mapping[str, str], directory: Path
    ) -> None:
        self.shape = shape
        self.partitions = partitions
        self.directory = directory
        self._views = views
        self._answers = 0
        self._memory_limit = _MEMORY_LIMIT_MIB
        self.database = open_database(directory, self._memory_limit)
        self._long = RowShape("long", shape.group_by, shape.metrics)
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in self._long.columns)
        self.database.execute(f"CREATE TABLE answered ({columns}, answer INTEGER)")

    def __enter__(self) -> RowTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def limit_memory(self, mebibytes: int) -> None:
        """Hold no more than this in memory, and the rest on disk."""
        self._memory_limit = mebibytes
        self.database.execute(f"SET memory_limit = '{mebibytes}MiB'")

    def add(self, file: Path, window: Window) -> int:
        """Add the rows of one answer.

        :param file: the answer's body on local disk; the file is used up.
        :param window: what the answer was asked about.
        :return: how many rows it has.
        :raises ResponseError: it is not what the contract says an answer is.
        """
        self._answers += 1
        if file.stat().st_size <= _SMALL and _is_empty(file.read_bytes()):
            return 0
        with _reading(file):
            self._load(file)
            return self._check(window)

    def finish(self) -> None:
        """Check what only all answers together can show: that no row is there twice.

        :raises ResponseError: one is.
        """
        keys = rows.names(self._long.keys)
        named = self._long.keys[2:]
        doubled = self.database.table("answered").aggregate(f"{keys}, count(*) AS times", keys)
        for row in doubled.filter("times > 1").limit(1).project(rows.names(named)).fetchall():
            text = ", ".join(f"{name}={value!r}" for (name, _), value in zip(named, row, strict=True))
            raise _broken(f"a bucket has two rows with {text}")

    def select(self, part: Window) -> DuckDBPyRelation:
        """Return the rows whose bucket lies in ``part``, sorted by all key columns.

        :param part: one of the partitions, or the whole window.
        """
        return self.select_unsorted(part).order(rows.names(self.shape.keys))

    def select_unsorted(self, part: Window) -> DuckDBPyRelation:
        """Return the rows whose bucket lies in ``part``, for a reader to whom their order means nothing."""
        keys = rows.names(self.shape.keys)
        found = self.database.table("answered").filter(
            f"interval_start >= {_sql(part.start)} AND interval_start < {_sql(part.end)}"
        )
        if self.shape.layout == "long":
            return found.project(rows.names(self.shape.columns))
        values = ", ".join(
            f"any_value({quoted(stat)}) FILTER (WHERE metric = {literal(metric)}) AS {quoted(name)}"
            for name, _, metric, stat in self.shape.wide_columns()
        )
        return found.aggregate(f"{keys}, {values}", keys)

    def fetch(self, part: Window, limit: int) -> list[dict[str, Any]]:
        """Return at most ``limit`` rows as dicts of plain JSON values; times are ISO-8601 in UTC."""
        names = [name for name, _ in self.shape.columns]
        found = self.select(part).limit(limit).project(f"* REPLACE ({rows.ISO_TIMES})").fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]

    def _load(self, file: Path) -> None:
        import duckdb

        ends = _unwrap(file)
        if ends is not None:
            try:
                self._insert(answer_sql.from_list(file))
            except duckdb.InvalidInputException:
                # Something may follow the list of results: the answer is then read, or refused, as one piece.
                _wrap(file, ends)
            else:
                return
        size = file.stat().st_size
        limit = self._memory_limit + _MEMORY_PER_BYTE_OF_OBJECT * size // 2**20
        self.database.execute(f"SET memory_limit = '{limit}MiB'")
        self._insert(answer_sql.from_object(file, size))
        self.limit_memory(self._memory_limit)

    def _insert(self, source: str) -> None:
        self.database.execute(answer_sql.insert(source, self.shape.group_by, self._views, self._answers))

    def _check(self, window: Window) -> int:
        added = self.database.table("answered").filter(f"answer = {self._answers}")
        starts = [part.start for part in self.partitions]
        buckets = added.project("interval_start, interval_end").distinct().order("ALL")
        # Asked before Python reads any: it has no word for every instant that the engine has.
        outside = buckets.filter(
            f"interval_start < {_sql(window.start)} OR interval_start >= interval_end"
            f" OR interval_end > {_sql(window.end)}"
        ).limit(1)
        for times in outside.project("interval_start::VARCHAR, interval_end::VARCHAR").fetchall():
            raise _broken(f"the bucket {'/'.join(times)} lies outside of the window {window.text(UTC)}")
        for times in buckets.project("epoch_us(interval_start), epoch_us(interval_end)").fetchall():
            bucket = Window(*(_EPOCH.add(microseconds=time) for time in times))
            if bucket.end > self.partitions[bisect_right(starts, bucket.start) - 1].end:
                raise _broken(f"the bucket {bucket.text(UTC)} lies across two partitions")
        count = 0
        for metric, times, qualifiers, numbers in added.aggregate(
            f"metric, count(*), count(qualifier), bool_and({_FINITE})", "metric"
        ).fetchall():
            count += times
            if not _NAME.fullmatch(metric):
                raise _broken(f"{metric!r} is not the name of a metric")
            if not numbers:
                raise _broken(f"a statistic of {metric} is not a number")
            if self.shape.layout == "wide" and (qualifiers or metric not in self.shape.metrics):
                what = "has qualifiers" if qualifiers else "was not asked for"
                raise _broken(
                    f"the metric {metric} {what}, so the wide layout has no column for it; use 'long'"
                )
        return count


def _sql(instant: DateTime) -> str:
    return f"TIMESTAMPTZ {literal(instant.isoformat())}"


def _is_empty(body: bytes) -> bool:
    """Return whether a small answer has no results; refuse one that is no answer at all."""
    try:
        content = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _broken(f"it is not JSON ({error}): {body[:200]!r}") from None
    if content == {}:
        return True
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise _broken(f"it is not an object with a list of results: {body[:200]!r}")
    return not content["results"]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _unwrap(file: Path) -> tuple[bytes, bytes] | None:
    """Blank what stands around the list of results, so that the file can be read piece by piece.

    :return: the bytes that stood at its two ends, or ``None`` where the list is not plain to see.
    """
    with file.open("r+b") as stream:
        start = stream.read(_ENDS)
        stream.seek(-min(_ENDS, file.stat().st_size), os.SEEK_END)
        end = stream.read()
        if not start.lstrip().startswith(b"{"):
            raise _broken(f"it is not an object: {start!r}")
        head, tail = _HEAD.match(start), _TAIL.search(end)
        if not head or not tail:
            return None
        _overwrite(stream, b" " * len(head[0]), b" " * len(tail[0]))
    return head[0], tail[0]


def _wrap(file: Path, ends: tuple[bytes, bytes]) -> None:
    with file.open("r+b") as stream:
        _overwrite(stream, *ends)


def _overwrite(stream: BinaryIO, start: bytes, end: bytes) -> None:
    stream.seek(0)
    stream.write(start)
    stream.seek(-len(end), os.SEEK_END)
    stream.write(end)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        # The first line says what is wrong; the others are about the statement. The file will be gone.
        cause = str(error).splitlines()[0].removeprefix("Invalid Input Error: ").rstrip(". ")
        raise _broken(cause.replace(f' in file "{file}"', "")) from None


def _broken(cause: str) -> ResponseError:
    return ResponseError(f"An answer to the aggregates query breaks the contract: {cause}.")
