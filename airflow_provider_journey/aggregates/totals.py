"""A query's total, and the condition it is to meet: decided here for whoever waits for it, and however."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_journey.aggregates import names
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.templates import is_rendered_later
from airflow_provider_journey.api.errors import ResponseError

# How the values of several groups or buckets become one; where there are none, a sum is nothing.
_JOINED: dict[str, Callable[[list[float]], float | None]] = {
    "count": math.fsum,
    "sum": math.fsum,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_CONDITION = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """A comparison with a number.

    :param comparison: one of ``> >= < <= == !=``.
    :param bound: the number.
    """

    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition such as ``>= 1000``.

        :raises QueryError: it is none.
        """
        found = _CONDITION.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise QueryError("condition", f"is a comparison with a number such as '>= 1000', not {text!r}.")
        return cls(found[1], float(found[2]))

    def is_met(self, total: float | None) -> bool:
        """Whether ``total`` is as it has to be; a total that there is not (``None``) never is."""
        return total is not None and _COMPARISONS[self.comparison](total, self.bound)


@dataclass(frozen=True)
class Total:
    """One number of a query: a metric's statistic over all groups and buckets.

    :param metric: name of the metric.
    :param stat: ``count``, or of a metric that has values ``sum``, ``min`` or ``max``.
    """

    metric: str
    stat: str = "count"

    @classmethod
    def of(cls, query: AggregateQuery, metric: str | None, stat: str) -> Total:
        """Return the number that is meant; ``metric`` may be absent where ``query`` asks for only one.

        :raises QueryError: there is no such number.
        """
        if stat not in _JOINED and not is_rendered_later(stat):
            raise QueryError("stat", f"is one of {', '.join(_JOINED)}, not {stat!r}.")
        if metric is None:
            if len(query.metrics) != 1 and not is_rendered_later(query.metrics):
                raise QueryError("metric", f"has to be named, since the query asks for {len(query.metrics)}.")
            metric = query.metrics[0]
        elif not is_rendered_later(metric) and metric not in query.metrics:
            hint = names.did_you_mean(str(metric), query.metrics)
            raise QueryError("metric", f"{metric!r} is not among the query's metrics.{hint}")
        if metric in names.METRICS and metric.startswith("n") and stat in ("sum", "min", "max"):
            raise QueryError("stat", f"{metric} has nothing but a count.")
        return cls(metric, stat)

    def body(self, query: AggregateQuery, interval: str) -> dict[str, Any]:
        """Return the smallest request that tells it.

        Without groups and buckets, which are a sum's only way of being wrong: a session of two groups counts
        in both, and distinct numbers cannot be added.
        """
        body = {**query.to_dict(), "metrics": [self.metric], "interval": interval}
        for key in ("groupBy", "granularity", "views", "flattenMultivaluedDimensions"):
            body.pop(key, None)
        return body

    def read(self, answer: Mapping[str, Any]) -> float | None:
        """Return the number, ``None`` where there is no data that could have it.

        :param answer: to the request of :meth:`body`.
        :raises ResponseError: it has not the shape of an answer.
        """
        values = list(self._values(answer))
        total = _JOINED[self.stat](values)
        return int(total) if total is not None and total == int(total) else total

    def _values(self, answer: Mapping[str, Any]) -> Iterator[float]:
        try:
            for result in answer.get("results") or []:
                for bucket in result["data"]:
                    for metric in bucket["metrics"]:
                        if metric["metric"] == self.metric and self.stat in metric["stats"]:
                            yield _number(metric["stats"][self.stat])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ResponseError(
                f"An answer to the aggregates query breaks the contract: {type(error).__name__}: {error}."
            ) from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
