"""A query for journey aggregates: what is asked, checked as far as it can be before the service is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pendulum

from airflow_provider_journey.aggregates import filters, names, windows
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.names import UnknownNameWarning
from airflow_provider_journey.aggregates.templates import is_rendered_later

__all__ = ["AggregateQuery", "QueryError", "UnknownNameWarning"]

MAX_VIEWS = 10
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_CAMEL_CASE = {
    "metrics": "metrics",
    "group_by": "groupBy",
    "filter": "filter",
    "granularity": "granularity",
    "time_zone": "timeZone",
    "flatten_multivalued_dimensions": "flattenMultivaluedDimensions",
    "views": "views",
    "alternate_time_dimension": "alternateTimeDimension",
    "interval": "interval",
}


@dataclass(frozen=True)
class AggregateQuery:
    """What to ask of postAnalyticsJourneysAggregatesQuery.

    What cannot be right is refused here, so that a DAG with it does not parse. A string that holds a Jinja
    expression is let through and is to be checked by building the query again once it is rendered.

    :param metrics: names of metrics, at least one; an unknown one draws :class:`UnknownNameWarning`.
    :param group_by: names of dimensions, in the order in which their columns are wanted.
    :param filter: ``{"type": "and" | "or", "predicates": [...], "clauses": [...]}``, as the service takes it.
    :param granularity: length of a bucket, an ISO-8601 period; absent, the whole interval is one.
    :param time_zone: IANA name of the zone whose days are meant; absent, UTC.
    :param flatten_multivalued_dimensions: whether each value of a dimension with several is a group.
    :param views: at most ten ``{"target", "name", "function": "rangeBound", "range": {"gte", "lt"}}``.
    :param alternate_time_dimension: ``eventTime`` or nothing.
    :param interval: ISO-8601 ``start/end`` or ``start/period``; operators take theirs apart from the query.
    :raises QueryError: naming the field and what is wrong with it.
    """

    metrics: Sequence[str]
    group_by: Sequence[str] = ()
    filter: Mapping[str, Any] | None = None
    granularity: str | None = None
    time_zone: str | None = None
    flatten_multivalued_dimensions: bool | str = False
    views: Sequence[Mapping[str, Any]] = ()
    alternate_time_dimension: str | None = None
    interval: str | None = None

    def __post_init__(self) -> None:
        # The query keeps copies: a dict changed later must not change what was checked.
        for field in ("metrics", "group_by", "views"):
            value = getattr(self, field)
            if is_rendered_later(value):
                continue
            if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
                raise QueryError(_CAMEL_CASE[field], f"is a list, not {value!r}.")
            object.__setattr__(self, field, tuple(_copied(value)))
        object.__setattr__(self, "filter", _copied(self.filter))
        if not self.metrics:
            raise QueryError("metrics", "at least one metric must be asked.")
        _check_names("metrics", self.metrics, names.METRICS)
        _check_names("groupBy", self.group_by, names.DIMENSIONS)
        if self.filter is not None and not is_rendered_later(self.filter):
            filters.check_filter(self.filter)
        _check_views(self.views)
        self._check_scalars()

    def _check_scalars(self) -> None:
        if not isinstance(self.flatten_multivalued_dimensions, bool) and not is_rendered_later(
            self.flatten_multivalued_dimensions
        ):
            raise QueryError(
                "flattenMultivaluedDimensions",
                f"is true or false, not {self.flatten_multivalued_dimensions!r}.",
            )
        if self.alternate_time_dimension not in (None, "eventTime") and not is_rendered_later(
            self.alternate_time_dimension
        ):
            raise QueryError(
                "alternateTimeDimension", f"is 'eventTime' or absent, not {self.alternate_time_dimension!r}."
            )
        zone: pendulum.Timezone | None = None
        for field, parse in (("time_zone", windows.parse_zone), ("granularity", windows.parse_period)):
            value = getattr(self, field)
            if value is not None and not is_rendered_later(value):
                try:
                    parsed = parse(value)
                except ValueError as error:
                    raise QueryError(_CAMEL_CASE[field], str(error)) from None
                zone = parsed if isinstance(parsed, pendulum.Timezone) else zone
        if self.interval is not None and not is_rendered_later(self.interval):
            try:
                windows.parse_interval(self.interval, zone or pendulum.UTC)
            except ValueError as error:
                raise QueryError("interval", str(error)) from None

    @property
    def zone(self) -> pendulum.Timezone:
        """The zone whose days the query means, UTC where it names none."""
        return pendulum.UTC if self.time_zone is None else windows.parse_zone(self.time_zone)

    def to_dict(self) -> dict[str, Any]:
        """Return the request's body in the service's own keys, without what is not set."""
        body: dict[str, Any] = {}
        for field, key in _CAMEL_CASE.items():
            value = getattr(self, field)
            if value not in (None, (), False):
                body[key] = _copied(value)
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> AggregateQuery:
        """Build a query from a request's body.

        :param body: the service's own keys, as :meth:`to_dict` gives them.
        :return: the checked query.
        :raises QueryError: a key that a query does not have, or what the constructor refuses.
        """
        if not isinstance(body, Mapping):
            raise QueryError("query", f"is an AggregateQuery or a dict, not {body!r}.")
        by_key = {key: field for field, key in _CAMEL_CASE.items()}
        for key in body:
            if key not in by_key:
                raise QueryError(str(key), f"a query has no such key.{names.did_you_mean(str(key), by_key)}")
        # JSON has null for what is not set.
        given = {by_key[key]: value for key, value in body.items() if value is not None}
        return cls(**{"metrics": (), **given})


def _copied(value: Any) -> Any:
    """Return ``value`` with every dict and list in it copied, and what they hold as it is.

    A reference to another task must stay the object it is: a copy would be one to a copy of the whole DAG.
    """
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_copied(item) for item in value]
    return value


def _check_names(field: str, given: Sequence[Any], known: frozenset[str]) -> None:
    if is_rendered_later(given):
        return
    for name in given:
        if is_rendered_later(name):
            continue
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise QueryError(field, f"{name!r} is not a name.")
        names.warn_of_unknown(field, name, known)
    if doubled := [name for index, name in enumerate(given) if name in given[:index]]:
        raise QueryError(field, f"{doubled[0]!r} is listed twice.")


def _check_views(views: Sequence[Any]) -> None:
    if is_rendered_later(views):
        return
    if len(views) > MAX_VIEWS:
        raise QueryError("views", f"one query takes at most {MAX_VIEWS} views, not {len(views)}.")
    seen: set[str] = set()
    for index, view in enumerate(views):
        if is_rendered_later(view):
            continue
        field = f"views[{index}]"
        filters.check_keys(field, view, {"target", "name", "function", "range"})
        for key in ("target", "name", "function"):
            if not filters.is_text(view.get(key)) or not view[key]:
                raise QueryError(f"{field}.{key}", "is missing.")
        if not is_rendered_later(view["target"]):
            names.warn_of_unknown(f"{field}.target", view["target"], names.METRICS)
        if view["function"] != "rangeBound" and not is_rendered_later(view["function"]):
            raise QueryError(f"{field}.function", f"is 'rangeBound', not {view['function']!r}.")
        filters.check_range(f"{field}.range", view.get("range"), {"gte", "lt"})
        if view["name"] in seen:
            raise QueryError(f"{field}.name", f"{view['name']!r} is the name of another view.")
        seen.add(view["name"])
