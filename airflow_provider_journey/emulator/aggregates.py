"""The aggregates query: counted from the events by DuckDB, off the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, islice
from typing import Any, TypeVar

from airflow_provider_journey.emulator.breaking import too_large
from airflow_provider_journey.emulator.clock import format_ms
from airflow_provider_journey.emulator.dimensions import dimensions
from airflow_provider_journey.emulator.events import Events
from airflow_provider_journey.emulator.metrics import Metric
from airflow_provider_journey.emulator.query import Query, parse_query

_T = TypeVar("_T")
_NEEDED = "m, contact, act, cents"


class Aggregates:
    """Answers aggregate queries.

    :param events: what is counted.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._dimensions = dimensions(events.catalogue)
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="aggregates")
        self.max_buckets: int | None = None

    async def answer(self, body: Any) -> bytes:
        """Answer a query.

        :param body: the request's body as JSON gives it.
        :returns: the response as JSON.
        :raises ServiceError: 400 for a query that cannot be, 413 for one above the set number of buckets.
        """
        results = await self._in_worker(lambda query: _encoded(_results(query, self._rows(query))), body)
        return b'{"results":' + results + b"}"

    async def pages(self, body: Any, size: int) -> list[bytes]:
        """Answer a query in pages.

        :param body: as for :meth:`answer`.
        :param size: how many results a page has.
        :returns: the list of results of each page as JSON.
        :raises ServiceError: as :meth:`answer`.
        """

        def compute(query: Query) -> list[bytes]:
            results = _results(query, self._rows(query))
            first = list(islice(results, size))
            rest = iter(lambda: list(islice(results, size)), [])
            return [_encoded(page) for page in chain([first], rest)]

        return await self._in_worker(compute, body)

    def check(self, body: Any) -> Query:
        """Read a query.

        :param body: as for :meth:`answer`.
        :returns: the query.
        :raises ServiceError: as :meth:`answer`.
        """
        query = parse_query(body, self._dimensions)
        if self.max_buckets is not None and len(query.edges) - 1 > self.max_buckets:
            raise too_large("max.buckets", self.max_buckets)
        return query

    def close(self) -> None:
        """Let the workers go."""
        self._workers.shutdown()

    async def _in_worker(self, compute: Callable[[Query], _T], body: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, lambda: compute(self.check(body)))

    def _rows(self, query: Query) -> list[tuple[Any, ...]]:
        with self._events.connection.cursor() as cursor:
            cursor.execute(self._sql(query), [query.edges[:-1], *query.values])
            return cursor.fetchall()

    def _sql(self, query: Query) -> str:
        start, end, time = query.edges[0], query.edges[-1], query.time_column
        keys = [f"k{place}" for place in range(len(query.group_by))]
        chosen = "".join(f", {sql} AS {key}" for key, sql in zip(keys, query.group_by.values(), strict=True))
        single = "".join(
            f", unnest({key}) AS {key}" if name in query.unnest else f", {key}"
            for key, name in zip(keys, query.group_by, strict=True)
        )
        totals = [column for metric in query.metrics.values() for column in metric.columns()]
        totals += [view.sql for view in query.views]
        by = ", ".join([*keys, "bucket"])
        # The edges are the first parameter: the CTE that reads them must stay in front of the filter.
        return f"""
            WITH edges AS (SELECT unnest(?::BIGINT[]) AS bucket),
            chosen AS (
                SELECT {time} AS t, {_NEEDED}{chosen} FROM ({self._events.source(start, end)})
                WHERE {time} >= {start} AND {time} < {end} AND {query.where}
            ),
            placed AS (
                SELECT bucket, {_NEEDED}{single} FROM chosen ASOF JOIN edges ON t >= bucket
            )
            SELECT {by}, {", ".join(totals)} FROM placed GROUP BY {by} ORDER BY {by}"""  # noqa: S608 - our own pieces; what a request says is bound


def _encoded(results: Iterable[dict[str, Any]]) -> bytes:
    return json.dumps(list(results), separators=(",", ":")).encode()


def _results(query: Query, rows: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    ends = dict(zip(query.edges[:-1], query.edges[1:], strict=True))
    width = len(query.group_by)
    for key, members in groupby(rows, lambda row: row[:width]):
        data = [entry for row in members if (entry := _bucket(query, ends, row[width:]))]
        group = {name: value for name, value in zip(query.group_by, key, strict=True) if value is not None}
        if data:
            yield {"group": group, "data": data} if width else {"data": data}


def _bucket(query: Query, ends: dict[int, int], row: tuple[Any, ...]) -> dict[str, Any] | None:
    """Give one bucket of one group; None where nothing that was asked for happened."""
    values = iter(row[1:])
    metrics = [_metric(name, metric, values) for name, metric in query.metrics.items()]
    counts = [(view.name, next(values)) for view in query.views]
    found = [metric for metric in metrics if metric]
    views = [{"name": name, "stats": {"count": count}} for name, count in counts if count]
    if not found and not views:
        return None
    entry: dict[str, Any] = {"interval": f"{format_ms(row[0])}/{format_ms(ends[row[0]])}", "metrics": found}
    return entry | {"views": views} if views else entry


def _metric(name: str, metric: Metric, values: Iterator[Any]) -> dict[str, Any] | None:
    count = next(values)
    stats: dict[str, Any] = {"count": count}
    if metric.value is not None:
        stats |= {
            stat: None if (value := next(values)) is None else value / 100 for stat in ("sum", "min", "max")
        }
    return {"metric": name, "stats": stats} if count else None
