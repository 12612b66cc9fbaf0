"""An aggregates request, checked and put into SQL pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_journey.emulator.dimensions import MULTIVALUED
from airflow_provider_journey.emulator.errors import ServiceError, bad_request
from airflow_provider_journey.emulator.intervals import edges, parse_interval, parse_period, parse_zone
from airflow_provider_journey.emulator.metrics import METRICS, Metric

_KEYS = frozenset(
    (
        "interval",
        "granularity",
        "timeZone",
        "groupBy",
        "filter",
        "metrics",
        "flattenMultivaluedDimensions",
        "views",
        "alternateTimeDimension",
    )
)
_MOST_VIEWS = 10
_RANGE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True)
class View:
    """A named count of the events of a metric whose value lies in a range.

    :param name: the view's name.
    :param sql: the aggregate.
    """

    name: str
    sql: str


@dataclass(frozen=True)
class Query:
    """A request that can be answered.

    :param edges: the buckets' edges, milliseconds since 1970.
    :param metrics: the metrics asked for, in their order.
    :param group_by: SQL by dimension, in the order asked for.
    :param unnest: dimensions whose every value makes a group of its own.
    :param where: SQL of the filter.
    :param values: the filter's parameters.
    :param views: the views asked for.
    :param time_column: which of an event's two times decides its bucket.
    """

    edges: list[int]
    metrics: dict[str, Metric]
    group_by: dict[str, str]
    unnest: frozenset[str]
    where: str
    values: list[Any]
    views: list[View]
    time_column: str


def parse_query(body: Any, known: Mapping[str, str]) -> Query:
    """Check a request's body.

    :param body: the body as JSON gives it.
    :param known: SQL of every dimension there is.
    :returns: the query.
    :raises ServiceError: 400 naming the field that is wrong.
    """
    if not isinstance(body, dict):
        raise bad_request("The request body must be an object.")
    for key in body.keys() - _KEYS:
        raise bad_request(f"Unrecognized field {key!r}.", key)
    start, end = parse_interval(body.get("interval"))
    zone = parse_zone(body.get("timeZone"), start.tzinfo)
    period = None if body.get("granularity") is None else parse_period(body["granularity"])
    flatten = body.get("flattenMultivaluedDimensions") or False
    if not isinstance(flatten, bool):
        raise _invalid("flattenMultivaluedDimensions", flatten)
    alternate = body.get("alternateTimeDimension")
    if alternate not in (None, "eventTime"):
        raise _invalid("alternateTimeDimension", alternate)
    names = _names(body.get("groupBy") or [], "groupBy", known)
    conditions = _Filter(known)
    where = conditions.clause(body.get("filter"), depth=0)
    return Query(
        edges=edges(start, end, period, zone),
        metrics={name: METRICS[name] for name in _names(body.get("metrics"), "metrics", METRICS, least=1)},
        group_by={name: _grouped(name, known[name], flatten) for name in names},
        unnest=frozenset() if flatten else MULTIVALUED.intersection(names),
        where=where,
        values=conditions.values,
        views=_views(body.get("views") or []),
        time_column="happened" if alternate else "reported",
    )


def _grouped(name: str, sql: str, flatten: bool) -> str:
    if name not in MULTIVALUED:
        return sql
    if flatten:
        return f"nullif(array_to_string({sql}, ','), '')"
    return f"CASE WHEN len({sql}) = 0 THEN [NULL]::VARCHAR[] ELSE {sql} END"


def _names(value: Any, field: str, known: Mapping[str, Any], least: int = 0) -> list[str]:
    if not isinstance(value, list) or len(value) < least:
        raise bad_request(f"{field} must be a list that is not empty.", field, "invalid.value")
    for name in value:
        if not isinstance(name, str) or name not in known:
            raise _invalid(field, name)
    return list(dict.fromkeys(value))


def _views(value: Any) -> list[View]:
    if not isinstance(value, list) or len(value) > _MOST_VIEWS:
        raise bad_request(f"views must be a list of at most {_MOST_VIEWS}.", "views", "invalid.value")
    return [_view(item) for item in value]


def _view(item: Any) -> View:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise bad_request("A view must be an object with a name.", "views.name", "invalid.value")
    if item.get("function") != "rangeBound":
        raise _invalid("views.function", item.get("function"))
    (target,) = _names([item.get("target")], "views.target", METRICS)
    metric = METRICS[target]
    bounds = _bounds(item.get("range"), "views.range", ("gte", "lt"))
    value = f"{metric.value} / 100.0" if metric.value else "1"
    condition = " AND ".join([metric.condition, *(f"{value} {sign} {bound}" for sign, bound in bounds)])
    return View(item["name"], f"count(*) FILTER (WHERE {condition})")


def _bounds(value: Any, field: str, allowed: tuple[str, ...] = tuple(_RANGE)) -> list[tuple[str, float]]:
    if not isinstance(value, dict) or not value or not value.keys() <= set(allowed):
        raise bad_request(f"{field} must hold some of {', '.join(allowed)}.", field, "invalid.value")
    for bound in value.values():
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
            raise _invalid(field, bound)
    return [(_RANGE[key], float(bound)) for key, bound in value.items()]


class _Filter:
    """Turns a filter into SQL, collecting the values it compares with."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        self.values: list[Any] = []

    def clause(self, value: Any, depth: int) -> str:
        if value is None:
            return "true"
        if not isinstance(value, dict) or str(value.get("type")).lower() not in ("and", "or"):
            raise bad_request("A filter must be an object of type and/or.", "filter.type", "invalid.value")
        clauses, predicates = value.get("clauses") or [], value.get("predicates") or []
        if clauses and depth:
            raise bad_request("Clauses may not hold clauses.", "filter.clauses", "invalid.value")
        parts = [self.clause(item, depth + 1) for item in _list(clauses, "filter.clauses")]
        parts += [self._predicate(item) for item in _list(predicates, "filter.predicates")]
        if not parts:
            raise bad_request("A filter must hold clauses or predicates.", "filter", "invalid.value")
        return "(" + f" {value['type'].upper()} ".join(parts) + ")"

    def _predicate(self, item: Any) -> str:
        if not isinstance(item, dict):
            raise _invalid("filter.predicates", item)
        kind = str(item.get("type") or "dimension").lower()
        operator = str(item.get("operator") or "matches").lower()
        if operator not in ("matches", "exists", "notexists"):
            raise _invalid("filter.operator", item.get("operator"))
        if kind == "metric":
            return self._of_metric(item, operator)
        if kind not in ("dimension", "property"):
            raise _invalid("filter.type", item.get("type"))
        (name,) = _names([item.get(kind) or item.get("dimension")], f"filter.{kind}", self._known)
        return self._of_dimension(name, item, operator)

    def _of_metric(self, item: Mapping[str, Any], operator: str) -> str:
        """Keep the events that a metric looks at, or those whose value lies in a range."""
        (name,) = _names([item.get("metric") or item.get("dimension")], "filter.metric", METRICS)
        metric = METRICS[name]
        if operator != "matches":
            return metric.condition if operator == "exists" else f"NOT ({metric.condition})"
        value = f"{metric.value} / 100.0" if metric.value else "1"
        bounds = _bounds(item.get("range"), "filter.range")
        return "(" + " AND ".join([metric.condition, *(f"{value} {s} {bound}" for s, bound in bounds)]) + ")"

    def _of_dimension(self, name: str, item: Mapping[str, Any], operator: str) -> str:
        sql, many = self._known[name], name in MULTIVALUED
        if operator != "matches":
            present = f"len({sql}) > 0" if many else f"{sql} IS NOT NULL"
            return f"({present})" if operator == "exists" else f"(NOT ({present}))"
        if item.get("range") is not None:
            number = f"try_cast({sql} AS DOUBLE)"
            bounds = _bounds(item["range"], "filter.range")
            return "(" + " AND ".join(f"coalesce({number} {s} {bound}, false)" for s, bound in bounds) + ")"
        if not isinstance(item.get("value"), str):
            raise _invalid("filter.value", item.get("value"))
        self.values.append(item["value"])
        return f"list_contains({sql}, ?)" if many else f"coalesce({sql} = ?, false)"


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(field, value)
    return value


def _invalid(field: str, value: Any) -> ServiceError:
    return bad_request(f"Invalid value [{value}] for {field}.", field, "invalid.value")
