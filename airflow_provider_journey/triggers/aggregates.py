"""Waiting for a query's total in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates.totals import Condition, Total
from airflow_provider_journey.api import operations
from airflow_provider_journey.triggers.outcome import DONE, Outcome
from airflow_provider_journey.triggers.polling import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_journey.api.operations import Call, Entity


class AggregateTotalTrigger(PollingTrigger):
    """Waits until a query's total meets a condition.

    :param body: the request (postAnalyticsJourneysAggregatesQuery).
    :param metric: the metric that counts.
    :param stat: its statistic.
    :param condition: what the total has to be, such as ``>= 1000``.
    :param polling: as for :class:`~airflow_provider_journey.triggers.polling.PollingTrigger`.
    """

    def __init__(
        self, *, body: Mapping[str, Any], metric: str, stat: str, condition: str, **polling: Any
    ) -> None:
        super().__init__(**polling)
        self.body = dict(body)
        self.metric = metric
        self.stat = stat
        self.condition = condition
        self._condition = Condition.parse(condition)

    def arguments(self) -> dict[str, Any]:
        """Return what it waits for."""
        return {"body": self.body, "metric": self.metric, "stat": self.stat, "condition": self.condition}

    def next_call(self, segments_api: str) -> Call[Entity]:
        """Return the query."""
        return operations.query_aggregates(self.body)

    def heard(self, answer: Entity) -> Outcome | None:
        """Take in an answer."""
        total = Total(self.metric, self.stat).read(answer)
        self.log.info("%s %s is %s; waiting for %s.", self.metric, self.stat, total, self.condition)
        if not self._condition.is_met(total):
            return None
        return Outcome(DONE, f"{self.metric} {self.stat} is {total}.", total)
