"""The two kinds of paging that the contract has: by cursor and by page number."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from airflow_provider_journey.emulator.errors import bad_request

_LARGEST = 200


def page_size(query: Mapping[str, str], default: int) -> int:
    """Read ``pageSize``.

    :param query: the request's query parameters.
    :param default: the size when none is asked for.
    :returns: a size from 1 to 200.
    :raises ServiceError: 400 for anything else.
    """
    return whole_number(query, "pageSize", default, _LARGEST)


def by_cursor(
    path: str, query: Mapping[str, str], keys: Sequence[int], entity: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
    """Answer one page of entities that have a fixed order.

    The cursor is the last key which was given, so what changes between two pages neither repeats an entity
    nor hides one.

    :param path: the request's path, as it was sent.
    :param query: the request's query parameters.
    :param keys: the entities' keys, ascending.
    :param entity: makes an entity of a key.
    :returns: the listing.
    :raises ServiceError: 400 for a page size or cursor that cannot be.
    """
    size = page_size(query, _LARGEST)
    after = decode(query["after"], "after") if query.get("after") else -1
    rest = [key for key in keys if key > after]
    listing: dict[str, Any] = {"entities": [entity(key) for key in rest[:size]], "selfUri": _uri(path, query)}
    if len(rest) > size:
        listing["nextUri"] = _uri(path, {**query, "after": encode(rest[size - 1])})
    return listing


def by_number(path: str, query: Mapping[str, str], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Answer one numbered page.

    :param path: the request's path.
    :param query: the request's query parameters.
    :param items: everything there is.
    :returns: the listing.
    :raises ServiceError: 400 for a page size or number that cannot be.
    """
    size, page = page_size(query, 25), whole_number(query, "pageNumber", 1, 1_000_000)
    last = max(1, -(-len(items) // size))

    def uri(number: int) -> str:
        return _uri(path, {**query, "pageSize": str(size), "pageNumber": str(number)})

    listing = {
        "entities": items[(page - 1) * size : page * size],
        "pageSize": size,
        "pageNumber": page,
        "total": len(items),
        "pageCount": last,
        "firstUri": uri(1),
        "lastUri": uri(last),
        "selfUri": uri(page),
    }
    if page < last:
        listing["nextUri"] = uri(page + 1)
    if page > 1:
        listing["previousUri"] = uri(min(page - 1, last))
    return listing


def whole_number(query: Mapping[str, str], name: str, default: int, largest: int) -> int:
    """Read a query parameter that is a whole number.

    :param query: the request's query parameters.
    :param name: the parameter.
    :param default: what its absence means.
    :param largest: the largest it may be; the smallest is 1.
    :returns: the number.
    :raises ServiceError: 400 for anything else.
    """
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= largest):
        raise bad_request(f"{name} must be a whole number from 1 to {largest}.", name, "invalid.value")
    return int(text)


def _uri(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def encode(key: int) -> str:
    """Give the cursor that stands for a key."""
    return base64.urlsafe_b64encode(f"k{key}".encode()).decode().rstrip("=")


def decode(cursor: str, field: str) -> int:
    """Read a cursor.

    :param cursor: what the client sent.
    :param field: the query parameter it came in.
    :returns: the key it stands for.
    :raises ServiceError: 400 for one that was never given.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return int(text.removeprefix("k"))
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise bad_request("The cursor is not one that this listing gave.", field, "invalid.value") from None
