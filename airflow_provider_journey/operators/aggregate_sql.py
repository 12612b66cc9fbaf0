"""The operator that extracts journey aggregates into a database table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates import tables
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.aggregate_extract import ExtractOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.aggregates.asking import Extract, Gather
    from airflow_provider_journey.aggregates.load import Destination
    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.operators.reporting import RunReport


class JourneyAggregatesToSqlOperator(ExtractOperator):
    """Extract journey aggregates into a table, through any connection whose hook is a ``DbApiHook``.

    Windows and requests are as for ``JourneyAggregatesToObjectStorageOperator``. The table is made where
    there is none, and gets a column for each dimension that it lacks; then the window's rows are deleted and
    the new ones inserted in one transaction, by COPY on PostgreSQL. Each row says in its column ``extract``
    whose it is, and only an extract's own rows are replaced, so that several share a table. Returns the
    number of rows.

    :param query: what to ask, an :class:`~airflow_provider_journey.aggregates.query.AggregateQuery` or its
        dict, without an interval; templated. Its granularity must divide ``period``, and is ``period`` by
        default.
    :param conn_id: id of the database's connection; templated.
    :param table: the table's name, with its schema before it if need be; templated.
    :param interval: ISO-8601 ``start/end`` or ``start/period``; templated. Default: the run's data interval,
        or the last whole ``period`` before the run.
    :param period: length of a partition: ``P1D``, ``P1W``, ``P1M``, or a time that divides a day.
    :param lookback: how many partitions before the window are extracted anew as well, since recent numbers
        still change.
    :param extract: the name that the rows carry; templated. Default: ``dag_id.task_id``. A mapped task has to
        be given one, by which its parts are told apart.
    :param column_types: SQL types by kind (``TIMESTAMPTZ``, ``VARCHAR``, ``BIGINT``, ``DOUBLE``) or by
        column, in the place of those that SQLAlchemy has for the database.
    :param layout: ``long``, a row for each metric, or ``wide``, a column for each.
    :param include_open: whether a partition that has not ended yet is extracted.
    :param journey_conn_id: id of the connection to Genesys Cloud; templated.
    :param kwargs: as for :class:`~airflow_provider_journey.operators.aggregate_extract.ExtractOperator`:
        ``use_jobs``, ``deferrable``, ``poll_interval``, ``job_timeout``, ``page_size``, ``partitioned``; and
        Airflow's own.
    :raises QueryError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("query", "conn_id", "table", "extract", "interval", "journey_conn_id")

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        conn_id: str,
        table: str,
        interval: str | None = None,
        period: str = "P1D",
        lookback: int = 0,
        extract: str | None = None,
        column_types: Mapping[str, str] | None = None,
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
        self.conn_id = conn_id
        self.table = table
        self.extract = extract
        self.column_types = {} if column_types is None else column_types
        if not is_rendered_later(table):
            tables.check_table(table)
        if not is_rendered_later(self.query):
            query = AggregateQuery.from_dict(self.query)
            if not is_rendered_later(query.group_by) and not is_rendered_later(query.metrics):
                self._check_types(query)

    def check_destination(self, context: Context) -> None:
        """Refuse a connection that is no database's, a missing name, and types that there are not."""
        from airflow_provider_journey.aggregates.load import dialect

        destination = self._destination(context)
        query = self._rendered_query()
        self._check_types(query)
        shape = RowShape.of(query, self.layout)
        tables.SqlTable(
            destination.table, shape, dialect(destination.hook), destination.column_types
        ).create()

    def deliver(
        self, context: Context, client: JourneyClient, extract: Extract, gather: Gather, report: RunReport
    ) -> int:
        """Replace the window's rows in the table.

        :return: how many there are now.
        :raises Exception: what the database's driver raises; the rows that were there stand.
        """
        from airflow_provider_journey.aggregates.load import extract_to_table

        destination = self._destination(context)
        self._check_types(extract.query)
        loaded = extract_to_table(client, extract, destination, self.log.info, gather)
        self.log.info(
            "%s: %s rows in the place of %s", destination.table, f"{loaded.rows:,}", f"{loaded.replaced:,}"
        )
        uri = f"{destination.hook.conn_type}://{self.conn_id}/{destination.table}"
        self._tell(
            context,
            extract,
            report,
            rows=loaded.rows,
            counts={"replaced": max(loaded.replaced, 0)},
            where={"uri": uri, "extract": destination.extract},
        )
        return loaded.rows

    def _check_types(self, query: AggregateQuery) -> None:
        shape = RowShape.of(query, self.layout)
        tables.check_column_types(self.column_types, [name for name, _ in shape.columns])

    def _destination(self, context: Context) -> Destination:
        """Return where the rows go, as it was rendered."""
        from airflow.sdk import BaseHook

        from airflow_provider_journey.aggregates.load import Destination

        fields = {"conn_id": self.conn_id, "table": self.table, "extract": self.extract or ""}
        for leftover in leftover_templates(fields, "operator"):
            raise QueryError(leftover, "still holds a template after rendering.")
        tables.check_table(self.table)
        hook = BaseHook.get_hook(self.conn_id)
        if not hasattr(hook, "placeholder") or not callable(getattr(hook, "get_conn", None)):
            raise QueryError("conn_id", f"the connection {self.conn_id!r} is not one of an SQL database.")
        return Destination(hook, self.table, self._mark(context), self.column_types)

    def _mark(self, context: Context) -> str:
        extract = self.extract
        if extract is None:
            if getattr(context["ti"], "map_index", -1) >= 0:
                raise QueryError(
                    "extract",
                    "is missing: the parts of a mapped task would take each other's rows for their own. Map "
                    "it too, or name one for all where each part has another interval.",
                )
            extract = f"{self.dag_id}.{self.task_id}"
        if not isinstance(extract, str) or not 0 < len(extract) <= tables.MAX_EXTRACT:
            raise QueryError("extract", f"has 1 to {tables.MAX_EXTRACT} characters, not {extract!r}.")
        return extract
