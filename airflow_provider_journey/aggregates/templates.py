"""Jinja expressions in what is going to be rendered, or should have been."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_EXPRESSION = re.compile(r"\{\{|\{%")


def has_template(value: object) -> bool:
    """Return whether ``value`` is a string with a Jinja expression or statement in it."""
    return isinstance(value, str) and bool(_EXPRESSION.search(value))


def leftover_templates(value: Any, path: str) -> Iterator[str]:
    """Yield ``path: text`` for every string in ``value``, however deep, that holds a Jinja expression.

    :param value: what a request is made of: strings, lists, dicts.
    :param path: how the outermost value is called.
    """
    if has_template(value):
        yield f"{path}: {value!r}"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leftover_templates(key, f"{path} (key)")
            yield from leftover_templates(item, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            yield from leftover_templates(item, f"{path}[{index}]")
