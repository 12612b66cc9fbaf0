"""Operators that extract journey aggregates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.aggregate_base import AggregateOperator
from airflow_provider_journey.operators.aggregate_extract import ExtractOperator
from airflow_provider_journey.operators.aggregate_sql import JourneyAggregatesToSqlOperator
from airflow_provider_journey.operators.failing import failing_for_good
from airflow_provider_journey.operators.reporting import RunReport

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_journey.aggregates.asking import Extract, Gather
    from airflow_provider_journey.api.client import JourneyClient

__all__ = [
    "JourneyAggregateQueryOperator",
    "JourneyAggregatesToObjectStorageOperator",
    "JourneyAggregatesToSqlOperator",
]

FILE_FORMATS = ("parquet", "csv", "jsonl")
# file:// with a word behind it is a folder below wherever the worker runs, and so it is with four slashes.
_ABSOLUTE = re.compile(r"(((file|local)://)?/(?!/)|(?!file:|local:)[\w.+-]+:///*[^/]).*", re.DOTALL)


class JourneyAggregateQueryOperator(AggregateOperator):
    """Query journey aggregates and return the rows, for answers small enough for XCom.

    One request for exactly the interval asked (postAnalyticsJourneysAggregatesQuery). Rows are dicts with the
    columns of the long or wide layout, times as ISO-8601 text in UTC, sorted by their key columns.

    :param query: what to ask, an :class:`~airflow_provider_journey.aggregates.query.AggregateQuery` or its
        dict, without an interval; templated.
    :param interval: ISO-8601 ``start/end`` or ``start/period``; templated. Default: the run's data interval,
        or the last whole ``period`` before the run.
    :param period: ISO-8601 period, the default interval's length where the run has no data interval, and of
        the partitions of ``partitioned``.
    :param layout: ``long``, a row for each metric, or ``wide``, a column for each.
    :param partitioned: whether the run's partition key, where it has one, says what the default interval is
        (from Airflow 3.3 on; below, no run has one).
    :param max_rows: more rows than this are refused.
    :param journey_conn_id: id of the connection; templated.
    :raises QueryError: when the DAG is parsed, for a query, interval or period that cannot be right.
    """

    template_fields: Sequence[str] = ("query", "interval", "journey_conn_id")

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        interval: str | None = None,
        period: str = "P1D",
        layout: str = "long",
        partitioned: bool = False,
        max_rows: int = 1000,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            query=query,
            interval=interval,
            period=period,
            layout=layout,
            partitioned=partitioned,
            journey_conn_id=journey_conn_id,
            **kwargs,
        )
        self.max_rows = max_rows
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 0:
            raise QueryError("max_rows", f"is a number of rows, not {max_rows!r}.")

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask, check and return the rows.

        :raises AirflowFailException: for what another try cannot heal: a bad query, credentials, permission,
            or more than ``max_rows`` rows.
        :raises JourneyError: for what it may.
        """
        from airflow_provider_journey.hooks.journey import JourneyHook

        with failing_for_good():
            query = self._rendered_query()
            window = self._window(context, self._calendar(query.zone))
            with JourneyHook(self.journey_conn_id) as hook:
                report = RunReport(hook.client)
                rows = self._rows(hook.client, query, window)
            text = window.text(query.zone)
            self.log.info("%s: %s rows", text, len(rows))
            report.push(
                context, "extract", self.journey_conn_id, window=text, uri=None, rows=len(rows), counts={}
            )
            return rows

    def _rows(self, client: JourneyClient, query: AggregateQuery, window: Window) -> list[dict[str, Any]]:
        from airflow_provider_journey.aggregates import asking
        from airflow_provider_journey.aggregates.answers import RowTable
        from airflow_provider_journey.storage.scratch import scratch_folder

        body = {**query.to_dict(), "interval": window.text(query.zone)}
        shape = RowShape.of(query, self.layout)
        with scratch_folder() as folder, RowTable(shape, [window], asking.views_of(query), folder) as table:
            asking.ask(client, table, body, window)
            table.finish()
            rows = table.fetch(window, self.max_rows + 1)
        if len(rows) > self.max_rows:
            raise QueryError(
                "max_rows",
                f"the answer has more than {self.max_rows} rows, too many for XCom: "
                "use JourneyAggregatesToObjectStorageOperator.",
            )
        return rows


class JourneyAggregatesToObjectStorageOperator(ExtractOperator):
    """Extract journey aggregates into files ``path/dt=<partition>/part-0.<format>``, one for each partition.

    The window is widened to whole partitions, days of the query's ``time_zone`` unless ``period`` says
    otherwise, and every partition in it is replaced in one step: running it again gives the same files, and a
    night without events an empty file with the schema. Requests (postAnalyticsJourneysAggregatesQuery) are as
    few as possible, and halved between buckets where an answer would be too large. Beside each file lies
    ``_manifest.json`` with rows, bytes, query and window, written last. Returns the URIs of the files.

    :param query: what to ask, an :class:`~airflow_provider_journey.aggregates.query.AggregateQuery` or its
        dict, without an interval; templated. Its granularity must divide ``period``, and is ``period`` by
        default.
    :param path: the folder, any ``ObjectStoragePath`` or its URI; templated.
    :param interval: ISO-8601 ``start/end`` or ``start/period``; templated. Default: the run's data interval,
        or the last whole ``period`` before the run.
    :param period: length of a partition: ``P1D``, ``P1W``, ``P1M``, or a time that divides a day, whose
        partitions are called by their beginning in UTC, ``dt=2026-11-22T0600Z``.
    :param lookback: how many partitions before the window are extracted anew as well, since recent numbers
        still change.
    :param file_format: ``parquet``, ``csv`` or ``jsonl``.
    :param layout: ``long``, a row for each metric, or ``wide``, a column for each.
    :param include_open: whether a partition that has not ended yet is extracted.
    :param journey_conn_id: id of the connection; templated.
    :param kwargs: as for :class:`~airflow_provider_journey.operators.aggregate_extract.ExtractOperator`:
        ``use_jobs``, ``deferrable``, ``poll_interval``, ``job_timeout``, ``page_size``, ``partitioned``; and
        Airflow's own.
    :raises QueryError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("query", "path", "interval", "journey_conn_id")

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        path: str | ObjectStoragePath,
        interval: str | None = None,
        period: str = "P1D",
        lookback: int = 0,
        file_format: str = "parquet",
        layout: str = "long",
        include_open: bool = False,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            query=query,
            interval=interval,
            period=period,
            lookback=lookback,
            layout=layout,
            include_open=include_open,
            journey_conn_id=journey_conn_id,
            **kwargs,
        )
        # An ObjectStoragePath's text has its connection in it, and nothing that a template could not render.
        self.path = str(path) if hasattr(path, "joinpath") else path
        self.file_format = file_format
        if file_format not in FILE_FORMATS:
            raise QueryError("file_format", f"is {', '.join(FILE_FORMATS)}, not {file_format!r}.")
        if not is_rendered_later(self.path):
            self._check_path()

    def check_destination(self, context: Context) -> None:
        """Refuse a path that means nothing, or no store that is installed."""
        self._root()

    def deliver(
        self, context: Context, client: JourneyClient, extract: Extract, gather: Gather, report: RunReport
    ) -> list[str]:
        """Publish the partitions as files.

        :return: their URIs.
        :raises OSError: disk or store do not take a file.
        """
        from airflow_provider_journey.aggregates.extract import FileExtract, extract_to_files

        to_files = FileExtract(**vars(extract), root=self._root(), file_format=self.file_format)
        published = extract_to_files(client, to_files, self.log.info, gather)
        rows, size = (sum(getattr(part, name) for part in published) for name in ("rows", "bytes"))
        self._tell(context, extract, report, rows=rows, counts={"bytes": size}, where={"uri": self.path})
        return [part.uri for part in published]

    def _root(self) -> ObjectStoragePath:
        """Return the folder that the path was rendered to."""
        from airflow.sdk import ObjectStoragePath

        for leftover in leftover_templates(self.path, "path"):
            raise QueryError(leftover, "still holds a template after rendering.")
        self._check_path()
        try:
            root = ObjectStoragePath(self.path)
            root.fs  # noqa: B018 - looks the store up
        except (ValueError, ImportError) as error:
            raise QueryError("path", f"was rendered to {self.path!r}: {error}") from error
        return root

    def _check_path(self) -> None:
        if not isinstance(self.path, str) or not _ABSOLUTE.fullmatch(self.path):
            raise QueryError("path", f"is {self.path!r}, which is neither a URI nor an absolute path.")
