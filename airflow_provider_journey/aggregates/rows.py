"""The shape of the rows: columns whose names and types follow from the query alone, never from the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.templates import is_rendered_later
from airflow_provider_journey.storage.database import quoted

LAYOUTS = ("long", "wide")
# Column, type and the service's key of every statistic that the model of an answer has.
STATS = (
    ("count", "BIGINT", "count"),
    ("count_negative", "BIGINT", "countNegative"),
    ("count_positive", "BIGINT", "countPositive"),
    ("sum", "DOUBLE", "sum"),
    ("min", "DOUBLE", "min"),
    ("max", "DOUBLE", "max"),
    ("current", "DOUBLE", "current"),
    ("ratio", "DOUBLE", "ratio"),
    ("numerator", "DOUBLE", "numerator"),
    ("denominator", "DOUBLE", "denominator"),
    ("target", "DOUBLE", "target"),
    ("p95", "DOUBLE", "p95"),
    ("p99", "DOUBLE", "p99"),
    ("calculated_metric_value", "DOUBLE", "calculatedMetricValue"),
)
_BUCKET = (("interval_start", "TIMESTAMPTZ"), ("interval_end", "TIMESTAMPTZ"))
_OTHER = ("other_dimensions", "MAP(VARCHAR, VARCHAR)")
# For what has no type for an instant: ISO-8601 text in UTC.
ISO_TIMES = ", ".join(
    f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%gZ') AS {name}" for name, _ in _BUCKET
)
_METRIC = (("metric", "VARCHAR"), ("view", "VARCHAR"), ("qualifier", "VARCHAR"))


@dataclass(frozen=True)
class RowShape:
    """The columns of an extract.

    :param layout: ``long``, a row for each bucket, group, metric and view; or ``wide``, a row for each bucket
        and group with columns for the metrics that were asked.
    :param group_by: the dimensions asked for, in their order.
    :param metrics: the metrics asked for, in their order.
    """

    layout: str
    group_by: tuple[str, ...]
    metrics: tuple[str, ...]

    @classmethod
    def of(cls, query: AggregateQuery, layout: str = "long") -> RowShape:
        """Return the shape of the rows that answer ``query``.

        :param layout: ``long`` or ``wide``.
        :raises QueryError: the layout is neither, it has no place for the query's views, or two columns would
            be of one name.
        """
        if layout not in LAYOUTS:
            raise QueryError("layout", f"is {' or '.join(LAYOUTS)}, not {layout!r}.")
        if layout == "wide" and query.views:
            raise QueryError("views", "have no columns in the wide layout: use layout='long'.")
        shape = cls(layout, _given(query.group_by), _given(query.metrics))
        seen: set[str] = set()
        for name, _ in shape.columns:
            # The engine that writes the rows, like most that read them, does not tell upper from lower case.
            if name.lower() in seen:
                raise QueryError("groupBy", f"two columns of the rows would be called {name!r}.")
            seen.add(name.lower())
        return shape

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Name and type of the columns that tell one row from another, in the order rows are sorted by."""
        dimensions = tuple((name, "VARCHAR") for name in self.group_by)
        return (*_BUCKET, *dimensions, _OTHER, *(_METRIC if self.layout == "long" else ()))

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and DuckDB type of every column, in order."""
        if self.layout == "long":
            return (*self.keys, *((name, kind) for name, kind, _ in STATS))
        return (*self.keys, *((name, kind) for name, kind, _, _ in self.wide_columns()))

    def wide_columns(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield name, type, metric and statistic of every metric's columns in the wide layout.

        A metric whose name begins with ``n`` and a capital letter is a number of events: one column, its
        count. Any other, known or not, has a value: count, sum, min and max.
        """
        for metric in self.metrics:
            if metric[:1] == "n" and metric[1:2].isupper():
                yield metric, "BIGINT", metric, "count"
            else:
                yield f"{metric}_count", "BIGINT", metric, "count"
                for stat in ("sum", "min", "max"):
                    yield f"{metric}_{stat}", "DOUBLE", metric, stat


def _given(names: Sequence[str]) -> tuple[str, ...]:
    return () if is_rendered_later(names) else tuple(names)


def names(columns: Sequence[tuple[str, str]]) -> str:
    """Return the names of ``columns`` as an SQL list."""
    return ", ".join(quoted(name) for name, _ in columns)
