"""What an operation is to the emulator, and what a handler sees of a request."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_journey.emulator.errors import ServiceError, bad_request
from airflow_provider_journey.emulator.faults import Fault


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its handler sees it: authenticated, counted, its body read.

    :param path: the path as it was sent.
    :param params: the path's parameters, decoded.
    :param query: the query parameters.
    :param query_string: the query as it was sent.
    :param content_type: the media type of the body.
    :param body: the body's bytes.
    :param fault: what the handler itself is to let go wrong, one of :data:`faults.OWN`; None for nothing.
    """

    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    query_string: str
    content_type: str
    body: bytes
    fault: Fault | None = None

    def json(self) -> Any:
        """Read the body as JSON.

        :returns: what it holds.
        :raises ServiceError: 415 for another media type, 400 for no JSON.
        """
        if self.content_type != "application/json":
            message = "The content type must be application/json."
            raise ServiceError(415, "unsupported.media.type", message)
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise bad_request("The request could not be understood: its body is not valid JSON.") from None


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One operation of a surface.

    :param id: its operation id, by which calls are counted and faults chosen.
    :param method: HTTP method.
    :param path: path with parameters in braces.
    :param permissions: any of these is enough.
    :param handler: gives what is answered as JSON; None answers 204 without a body.
    """

    id: str
    method: str
    path: str
    permissions: tuple[str, ...]
    handler: Handler
