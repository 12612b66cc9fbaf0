"""Waiting until a number is what it has to be: that data has arrived, for instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.aggregates.totals import Condition, Total
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.aggregate_base import AggregateOperator
from airflow_provider_journey.sensors.base import JourneySensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.triggers.aggregates import AggregateTotalTrigger


class JourneyAggregateSensor(AggregateOperator, JourneySensor):
    """Wait until a query's total meets a condition (postAnalyticsJourneysAggregatesQuery).

    The total is one number: a metric's statistic over the whole window, whatever the query groups by. Where
    there is no data a count or a sum is 0, and a minimum or maximum meets no condition. Returns the total.

    :param query: what to ask, an :class:`~airflow_provider_journey.aggregates.query.AggregateQuery` or its
        dict, without an interval, such as the one that is to be extracted; templated. Of it, ``metric``,
        filter and time zone count.
    :param condition: what the total has to be: ``>``, ``>=``, ``<``, ``<=``, ``==`` or ``!=`` and a number;
        templated.
    :param metric: the metric that counts, where the query asks for several.
    :param stat: ``count``, or of a metric that has values ``sum``, ``min`` or ``max``.
    :param interval: ISO-8601 ``start/end`` or ``start/period``; templated. Default: the run's data interval,
        or the last whole ``period`` before the run.
    :param period: ISO-8601 period, the default interval's length where the run has no data interval, and of
        the partitions of ``partitioned``.
    :param partitioned: whether the run's partition key, where it has one, says what the default interval is:
        the partitions that an extract of this run would extract (from Airflow 3.3 on; below, no run has one).
    :param journey_conn_id: id of the connection; templated.
    :param sensing: as for :class:`~airflow_provider_journey.sensors.base.JourneySensor`, such as
        ``poke_interval`` (300 s), ``timeout``, ``mode`` and ``deferrable``.
    :raises QueryError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("query", "condition", "interval", "journey_conn_id")

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        condition: str = "> 0",
        metric: str | None = None,
        stat: str = "count",
        interval: str | None = None,
        period: str = "P1D",
        partitioned: bool = False,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **sensing: Any,
    ) -> None:
        super().__init__(
            query=query,
            interval=interval,
            period=period,
            partitioned=partitioned,
            journey_conn_id=journey_conn_id,
            **sensing,
        )
        self.condition = condition
        self.metric = metric
        self.stat = stat
        if not is_rendered_later(self.query):
            Total.of(AggregateQuery.from_dict(self.query), metric, stat)
        if not is_rendered_later(condition):
            Condition.parse(condition)

    def look(self, context: Context, client: JourneyClient) -> PokeReturnValue:
        """Ask for the total."""
        from airflow_provider_journey.api import operations

        body, total, condition = self._wanted(context)
        answer = client.run(operations.query_aggregates(body))
        found = total.read(answer)
        met = condition.is_met(found)
        self.log.info("%s: %s %s is %s", body["interval"], total.metric, total.stat, found)
        return PokeReturnValue(met, found)

    def trigger(self, context: Context, **polling: Any) -> AggregateTotalTrigger:
        """Return the trigger that goes on waiting."""
        from airflow_provider_journey.triggers.aggregates import AggregateTotalTrigger

        body, total, _ = self._wanted(context)
        return AggregateTotalTrigger(
            body=body, metric=total.metric, stat=total.stat, condition=self.condition, **polling
        )

    def _wanted(self, context: Context) -> tuple[dict[str, Any], Total, Condition]:
        for leftover in leftover_templates(self.condition, "condition"):
            raise InvalidRequestError(f"{leftover} still holds a template after rendering.")
        query = self._rendered_query()
        window = self._window(context, self._calendar(query.zone))
        total = Total.of(query, self.metric, self.stat)
        return total.body(query, window.text(query.zone)), total, Condition.parse(self.condition)
