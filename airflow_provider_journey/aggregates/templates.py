"""What stands in for a value until the task runs: Jinja expressions, and what another task returns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_EXPRESSION = re.compile(r"\{\{|\{%")


def is_rendered_later(value: object) -> bool:
    """Return whether Airflow puts something else in the place of ``value`` before the task runs.

    That is text with a Jinja expression or statement in it, and what refers to another task's result or to a
    parameter of the DAG: an ``XComArg``, a ``DagParam``.
    """
    if isinstance(value, str):
        return bool(_EXPRESSION.search(value))
    # The mark of Airflow's references; Airflow itself is not imported in this room.
    return hasattr(value, "iter_references")


def leftover_templates(value: Any, path: str) -> Iterator[str]:
    """Yield ``path: text`` for every string in ``value``, however deep, that holds a Jinja expression.

    :param value: what a request is made of: strings, lists, dicts.
    :param path: how the outermost value is called.
    """
    if is_rendered_later(value):
        yield f"{path}: {value!r}"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leftover_templates(key, f"{path} (key)")
            yield from leftover_templates(item, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            yield from leftover_templates(item, f"{path}[{index}]")
