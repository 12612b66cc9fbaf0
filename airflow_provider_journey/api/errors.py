"""What can go wrong between this provider and Genesys Cloud, as one tree.

Every error names the operation, the URL path and the cause, never a secret, and carries what support and
a retry need: the HTTP status, the service's code, its correlation id and how long it asked to be left alone.
"""

from __future__ import annotations

from typing import Any


class JourneyError(Exception):
    """Base of every error that this provider raises about the Journey API.

    :param message: what happened, in words for the person on call; no secrets.
    :param status: HTTP status of the answer, ``None`` where there was no answer.
    :param code: the service's error code, for example ``missing.any.permissions``.
    :param correlation_id: ``ININ-Correlation-Id`` of the answer; Genesys Cloud support asks for it.
    :param retry_after: seconds the service asked to wait before the next request.
    :param transient: whether the same request, sent again, may succeed.
    :param maybe_processed: whether the service may have carried the request out although no answer was read.

    ``tries`` tells how often the request was sent before this was raised.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        correlation_id: str | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        maybe_processed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.correlation_id = correlation_id
        self.retry_after = retry_after
        self.transient = transient
        self.maybe_processed = maybe_processed
        self.tries = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException rebuilds from ``args`` alone, which would lose every attribute between processes.
        return (_rebuild, (type(self), self.__dict__.copy()))


class AuthenticationError(JourneyError):
    """The service does not know this client: id, secret or region is wrong, or the grant is barred."""


class PermissionDeniedError(JourneyError):
    """The client is known but may not do this (403); the message names the permission it lacks."""


class NotFoundError(JourneyError):
    """The entity does not exist (404), or the organisation does not serve this path.

    :param entity_id: the entity that the service looked for and did not find; ``None`` where it names none.
    """

    def __init__(self, message: str, *, entity_id: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.entity_id = entity_id


class InvalidRequestError(JourneyError):
    """The service understood the request and refuses it as it stands (400, 409, 413, 415 and other 4xx)."""


class RateLimitedError(JourneyError):
    """The service is asked too often (429); a wait of more than ten minutes is left to the caller."""


class ServerError(JourneyError):
    """The service failed (408, 5xx but 501)."""


class ConnectionFailedError(JourneyError):
    """No answer: the name does not resolve, the connection is refused or breaks, or the time is up."""


class ResponseError(JourneyError):
    """The answer is not what the contract says: cut off, not JSON, or of another shape."""


class PartialUpdateError(JourneyError):
    """The service answered 200 but left part of a segment update undone.

    :param unprocessed: the ids that were not done, ``{"assign": [...], "unassign": [...]}``.
    """

    def __init__(
        self, message: str, *, unprocessed: dict[str, list[str]] | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.unprocessed = unprocessed or {"assign": [], "unassign": []}


class UnsupportedOperationError(JourneyError):
    """The organisation has no such operation.

    Raised before any request where the connection's ``segments_api`` has it not, and for a 501, a feature
    that is not switched on. Nothing was done.
    """


def _rebuild(cls: type[JourneyError], state: dict[str, Any]) -> JourneyError:
    error = cls.__new__(cls, state["message"])
    error.args = (state["message"],)
    error.__dict__.update(state)
    return error
