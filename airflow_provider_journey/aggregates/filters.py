"""The filter of a query: and/or over predicates, and one more level of clauses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.names import DIMENSIONS, METRICS, did_you_mean, warn_of_unknown
from airflow_provider_journey.aggregates.templates import is_rendered_later

_LOGIC = ("and", "or")
_SUBJECTS = ("dimension", "property", "metric")
_OPERATORS = ("matches", "exists", "notExists")
_PREDICATE_KEYS = {"type", "dimension", "property", "propertyType", "metric", "operator", "value", "range"}
_BOUNDS = {"gt", "gte", "lt", "lte"}


def check_filter(content: Any) -> None:
    """Refuse a filter that the service cannot take.

    :param content: ``{"type": "and" | "or", "clauses": [...], "predicates": [...]}``.
    :raises QueryError: naming the place and the cause.
    """
    _check_group("filter", content, {"type", "clauses", "predicates"})
    for index, clause in enumerate(_list("filter.clauses", content.get("clauses"))):
        if is_rendered_later(clause):
            continue
        place = f"filter.clauses[{index}]"
        if isinstance(clause, Mapping) and "clauses" in clause:
            raise QueryError(place, "is nested too deep: a clause holds predicates only.")
        _check_group(place, clause, {"type", "predicates"})


def check_keys(place: str, content: Any, allowed: Set[str]) -> None:
    """Refuse ``content`` that is no object or has a key outside ``allowed``.

    :raises QueryError: naming the key and the one that may be meant.
    """
    if not isinstance(content, Mapping):
        raise QueryError(place, f"is an object, not {content!r}.")
    for key in content:
        if key not in allowed:
            raise QueryError(f"{place}.{key}", f"there is no such key here.{did_you_mean(str(key), allowed)}")


def check_range(place: str, content: Any, allowed: Set[str]) -> None:
    """Refuse a range without a bound, or with one that is not a number.

    :param allowed: the bounds that may be given here, of gt, gte, lt and lte.
    :raises QueryError: naming the bound.
    """
    if is_rendered_later(content):
        return
    if not content:
        raise QueryError(place, f"is missing; it takes {', '.join(sorted(allowed))}.")
    check_keys(place, content, allowed)
    for bound, value in content.items():
        if is_rendered_later(value):
            continue
        # JSON has no word for infinity, nor for what is not a number.
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise QueryError(f"{place}.{bound}", f"is a number, not {value!r}.")


def is_text(content: Any) -> bool:
    """Return whether ``content`` is text, or will be as far as can be known before it is rendered."""
    return isinstance(content, str) or is_rendered_later(content)


def _check_group(place: str, content: Any, allowed: Set[str]) -> None:
    check_keys(place, content, allowed)
    _check_choice(f"{place}.type", content.get("type"), _LOGIC)
    if not content.get("predicates") and not content.get("clauses"):
        raise QueryError(place, "has no predicate.")
    for index, predicate in enumerate(_list(f"{place}.predicates", content.get("predicates"))):
        if not is_rendered_later(predicate):
            _check_predicate(f"{place}.predicates[{index}]", predicate)


def _check_predicate(place: str, content: Any) -> None:
    check_keys(place, content, _PREDICATE_KEYS)
    subject = content.get("type", "dimension")
    _check_choice(f"{place}.type", subject, _SUBJECTS)
    if subject in _SUBJECTS:
        _check_subject(f"{place}.{subject}", subject, content.get(subject))
    operator = content.get("operator", "matches")
    _check_choice(f"{place}.operator", operator, _OPERATORS)
    has_value, has_range = content.get("value") is not None, content.get("range") is not None
    if operator == "matches" and has_value == has_range:
        raise QueryError(place, "'matches' takes a value or a range, one of the two.")
    if operator in ("exists", "notExists") and (has_value or has_range):
        raise QueryError(place, f"{operator!r} takes neither value nor range.")
    if has_value and not is_text(content["value"]):
        raise QueryError(f"{place}.value", f"is a string, not {content['value']!r}.")
    if has_range:
        check_range(f"{place}.range", content["range"], _BOUNDS)


def _check_subject(place: str, subject: str, name: Any) -> None:
    if not is_text(name) or not name:
        raise QueryError(place, f"the predicate does not say which {subject} it is about.")
    known = {"dimension": DIMENSIONS, "metric": METRICS}.get(subject)
    if known is not None and not is_rendered_later(name):
        warn_of_unknown(place, name, known)


def _check_choice(place: str, given: Any, choices: Sequence[str]) -> None:
    if given in choices or is_rendered_later(given):
        return
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    raise QueryError(place, f"is {', '.join(choices[:-1])} or {choices[-1]}, not {given!r}.{hint}")


def _list(place: str, content: Any) -> Sequence[Any]:
    if content is None or is_rendered_later(content):
        return ()
    if isinstance(content, str | bytes) or not isinstance(content, Sequence):
        raise QueryError(place, f"is a list, not {content!r}.")
    return content
