"""What travels: a request as data, and an answer as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from airflow_provider_journey.api.errors import InvalidRequestError

if TYPE_CHECKING:
    from airflow_provider_journey.api.endpoints import Endpoint

# One encoder for all bodies: json.dumps would make one for each.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def to_json(endpoint: Endpoint, body: Any) -> bytes:
    """Return a body as it is sent.

    :raises InvalidRequestError: JSON has no word for something in it.
    """
    try:
        return _encode(body).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{endpoint.operation_id}: the body cannot be JSON: {error}.") from None


class Request(NamedTuple):
    """One request to the API, without host and credentials.

    :param endpoint: the operation asked for.
    :param path: the URL path below the API's base, ids percent-encoded.
    :param query: query parameters in order.
    :param content: the body's bytes, of JSON, the same for every try; ``None`` sends no body.
    :param follow: whether it is sent on to the contact that its own was merged into.
    """

    endpoint: Endpoint
    path: str
    query: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    follow: bool = True

    def __str__(self) -> str:
        return f"{self.endpoint.operation_id} ({self.endpoint.method} {self.path})"

    @property
    def target(self) -> str:
        """Path and query, percent-encoded, below the API's base URL."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Answer(NamedTuple):
    """One answer as it came.

    :param status: HTTP status.
    :param headers: the headers, to be looked up by their names in lower case.
    :param body: the bytes; empty where they were written to a file instead.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def correlation_id(self) -> str | None:
        """The service's id of this exchange, which support asks for."""
        return self.headers.get("inin-correlation-id")
