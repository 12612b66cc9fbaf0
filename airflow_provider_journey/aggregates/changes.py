"""Which partitions of a query have other numbers than when they were last seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pendulum

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import ResponseError


@dataclass(frozen=True)
class RecentPartitions:
    """The last partitions of a query that have ended, and what they look like.

    :param query: without an interval; it is asked for one bucket each partition.
    :param calendar: what a partition is.
    :param count: how many.
    """

    query: AggregateQuery
    calendar: Calendar
    count: int

    @classmethod
    def of(cls, query: AggregateQuery, period: str, count: int) -> RecentPartitions:
        """Return the last ``count`` partitions of the length ``period`` in the query's zone.

        :raises QueryError: what cannot be right.
        """
        if query.interval is not None:
            raise QueryError("interval", "is not for a query that is watched: its partitions move on.")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise QueryError("partitions", f"is a number of partitions, at least 1, not {count!r}.")
        try:
            length = Period.of(period, windows.parse_period(period))
        except ValueError as error:
            raise QueryError("period", str(error)) from None
        return cls(query, Calendar(length, query.zone), count)

    def at(self, now: datetime) -> list[Window]:
        """Return the partitions, oldest first."""
        end = self.calendar.start_of(pendulum.instance(now))
        found: list[Window] = []
        for _ in range(self.count):
            found.insert(0, Window(self.calendar.before(end), end))
            end = found[0].start
        return found

    def body(self, partitions: list[Window]) -> dict[str, Any]:
        """Return the request for what ``partitions`` hold (postAnalyticsJourneysAggregatesQuery)."""
        window = Window(partitions[0].start, partitions[-1].end)
        return {
            **self.query.to_dict(),
            "granularity": self.calendar.period.text,
            "interval": window.text(self.calendar.zone),
        }

    def prints(self, partitions: list[Window], answer: Mapping[str, Any]) -> dict[str, str]:
        """Return a fingerprint of each partition by its name, an empty one where it holds nothing.

        :raises ResponseError: the answer has not the shape of one.
        """
        parts: dict[str, list[str]] = {self.calendar.key(part): [] for part in partitions}
        try:
            for result in answer.get("results") or []:
                for bucket in result["data"]:
                    start = windows.parse_interval(bucket["interval"], self.calendar.zone).start
                    part = Window(self.calendar.start_of(start), start)
                    said = [result.get("group"), bucket["metrics"], bucket.get("views")]
                    parts[self.calendar.key(part)].append(_canonical(said))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ResponseError(
                f"An answer to the aggregates query breaks the contract: {type(error).__name__}: {error}."
            ) from None
        return {key: _print(said) for key, said in parts.items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the partitions that have changed; one that is new has, unless it is empty."""
    return [key for key, value in now.items() if before.get(key, "") != value]


def _canonical(value: Any) -> str:
    """Return ``value`` as text that is the same in whatever order the service lists things."""
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(_canonical, value))) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    return json.dumps(value)


def _print(said: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16] if said else ""
