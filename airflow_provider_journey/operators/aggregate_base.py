"""What the operators over journey aggregates share: a query and its window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk import BaseOperator

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.hooks import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.sdk import Context


class AggregateOperator(BaseOperator):
    """A query and its window, before and after rendering."""

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        interval: str | None = None,
        period: str = "P1D",
        layout: str = "long",
        partitioned: bool = False,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Templates are rendered into plain data; a frozen query could not take what is rendered.
        self.query = query.to_dict() if isinstance(query, AggregateQuery) else query
        self.interval = interval
        self.period = period
        self.layout = layout
        self.partitioned = partitioned
        self.journey_conn_id = journey_conn_id
        if not is_rendered_later(self.query):
            self._check(AggregateQuery.from_dict(self.query))

    def _check(self, query: AggregateQuery) -> None:
        """Refuse what cannot be right: when the DAG is parsed, and again with the templates rendered."""
        if query.interval is not None:
            raise QueryError("interval", "belongs to the operator, not to its query.")
        RowShape.of(query, self.layout)
        zone = pendulum.UTC if is_rendered_later(query.time_zone) else query.zone
        self._calendar(zone)
        if self.interval is not None and not is_rendered_later(self.interval):
            self._parsed_interval(zone)

    def _calendar(self, zone: pendulum.Timezone, text: str | None = None, field: str = "period") -> Calendar:
        text = text or self.period
        try:
            return Calendar(Period.of(text, windows.parse_period(text)), zone)
        except ValueError as error:
            raise QueryError(field, str(error)) from None

    def _parsed_interval(self, zone: pendulum.Timezone) -> Window:
        try:
            return windows.parse_interval("" if self.interval is None else self.interval, zone)
        except ValueError as error:
            raise QueryError("interval", str(error)) from None

    def _rendered_query(self) -> AggregateQuery:
        """Build and check the query from what its template was rendered to."""
        fields = {"query": self.query, "interval": self.interval, "journey_conn_id": self.journey_conn_id}
        for leftover in leftover_templates(fields, "operator"):
            raise QueryError(leftover, "still holds a template after rendering.")
        try:
            query = AggregateQuery.from_dict(self.query)
            self._check(query)
        except QueryError as error:
            raise QueryError(
                error.field, f"{error.cause} The query was rendered to: {self.query!r}"
            ) from None
        return query

    def _window(self, context: Context, calendar: Calendar) -> Window:
        """Return the window asked for, the one that the run's partition key names, or that the run means."""
        if self.interval is not None:
            return self._parsed_interval(calendar.zone)
        run = context.get("dag_run")
        # Runs have no key below Airflow 3.3, and mean then what they mean without one.
        key = getattr(run, "partition_key", None)
        if self.partitioned and key is not None:
            try:
                return windows.partitions_of(key, calendar)
            except ValueError as error:
                raise QueryError("partitioned", f"{error} Give the operator an interval.") from None
        return windows.default_window(
            calendar,
            data_interval=(context.get("data_interval_start"), context.get("data_interval_end")),
            logical_date=context.get("logical_date"),
            run_after=getattr(run, "run_after", None),
        )
