"""What an answer means: JSON as the contract has it, or the error that says what happened."""

from __future__ import annotations

import json
import re
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_journey.api.errors import (
    AuthenticationError,
    InvalidRequestError,
    JourneyError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ResponseError,
    ServerError,
    UnsupportedOperationError,
)
from airflow_provider_journey.api.messages import Answer, Request
from airflow_provider_journey.api.retrying import is_transient

# What a 404 says of a path that is not served, whatever it was asked for.
_NO_SUCH_PATH = re.compile(r"requested resource|HTTP 404|no such path", re.IGNORECASE)
# The message of a 429 says it too, for gateways that drop the header.
_RETRY_IN = re.compile(r"\[(\d+)\] seconds")


def check(answer: Answer, request: Request, conn_id: str, now: float) -> None:
    """Raise the error that a non-2xx ``answer`` means; ``now`` is the clock's epoch time.

    A look-up's 404 that means nobody is no error: its reader gets it.
    """
    if 200 <= answer.status < 300 or _found_nobody(answer, request):
        return
    content = read_error(answer)
    code = content.get("code")
    cause = _cause(answer, request, content)
    text = f"{request} on connection {conn_id!r}: {answer.status} {code or ''}".rstrip() + f": {cause}"
    details: dict[str, Any] = {}
    if answer.status == 404 and not request.endpoint.looks_up:
        details["entity_id"] = content.get("entityId")
    raise _kind(answer.status)(
        f"{text}{_advice(answer, request, content)}{_trace(answer, content)}",
        status=answer.status,
        code=code if isinstance(code, str) else None,
        correlation_id=answer.correlation_id or _text(content.get("contextId")),
        retry_after=retry_after(answer, now),
        transient=is_transient(answer.status),
        maybe_processed=answer.status == 408 or answer.status == 500 or answer.status > 501,
        **details,
    )


def read_object(answer: Answer, what: object) -> dict[str, Any]:
    """Return the JSON object in the body.

    :raises ResponseError: the body is not JSON, or not an object.
    """
    try:
        content = _parsed(answer.body)
    except ValueError as error:
        raise ResponseError(
            f"{what} was answered {answer.status} with something that is not JSON ({error}): "
            f"{_shown(answer, what)}{_trace(answer, {})}",
            status=answer.status,
            correlation_id=answer.correlation_id,
            maybe_processed=True,
        ) from None
    if not isinstance(content, dict):
        raise ResponseError(
            f"{what} was answered {answer.status} with a JSON {type(content).__name__} instead of an object."
            f"{_trace(answer, {})}",
            status=answer.status,
            correlation_id=answer.correlation_id,
            maybe_processed=True,
        )
    return content


def read_error(answer: Answer) -> dict[str, Any]:
    """Return an error's JSON object, empty where the body has none: gateways answer with HTML or nothing."""
    try:
        content = _parsed(answer.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def retry_after(answer: Answer, now: float | None = None) -> float | None:
    """Return the seconds the service asked to be left alone, ``None`` where it asked for nothing.

    Read from ``Retry-After`` (seconds, or an HTTP date, which is compared with the answer's ``Date`` or else
    with ``now``, the epoch time), and on a 429 without it from the rate-limit window or the message.
    """
    header = answer.headers.get("retry-after", "").strip()
    if header.isdecimal():
        return float(header)
    moment = _epoch(header)
    # A date is meant by the service's own clock, and that may be minutes away from ours.
    told = _epoch(answer.headers.get("date", ""))
    if moment is not None and (told is not None or now is not None):
        return max(0.0, moment - (told if told is not None else now or 0.0))
    if answer.status != 429:
        return None
    if found := _RETRY_IN.search(str(read_error(answer).get("message"))):
        return float(found[1])
    reset = answer.headers.get("inin-ratelimit-reset", "").strip()
    return float(reset) if reset.isdecimal() else None


def _parsed(body: bytes) -> Any:
    try:
        return _decode(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


# JSON has no NaN and no Infinity; Python's decoder takes them unless it is told.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _epoch(text: str) -> float | None:
    """Return the seconds since 1970 of an HTTP date, ``None`` where ``text`` is none."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _found_nobody(answer: Answer, request: Request) -> bool:
    """Whether a look-up's 404 is the service's word that nobody has the identifier.

    That a path is not served is said by a 404 as well, and a gateway may say it by one without JSON.
    """
    if answer.status != 404 or not request.endpoint.looks_up:
        return False
    content = read_error(answer)
    named = content.get("entityId") or content.get("entityName")
    return bool(content.get("code")) and bool(named or not _NO_SUCH_PATH.search(str(content.get("message"))))


def _cause(answer: Answer, request: Request, content: dict[str, Any]) -> str:
    message = content.get("message")
    if isinstance(message, str) and message and not request.endpoint.looks_up:
        return message
    return _shown(answer, request)


def _shown(answer: Answer, what: object) -> str:
    """Return what of a body a message may show: of a look-up's nothing, it may say who somebody is."""
    if isinstance(what, Request) and what.endpoint.looks_up:
        return "what the service says of it may repeat the identifier and is not shown"
    return _excerpt(answer)


def _kind(status: int) -> type[JourneyError]:
    kinds: dict[int, type[JourneyError]] = {
        401: AuthenticationError,
        403: PermissionDeniedError,
        404: NotFoundError,
        408: ServerError,
        429: RateLimitedError,
        501: UnsupportedOperationError,
    }
    if status in kinds:
        return kinds[status]
    if status >= 500:
        return ServerError
    # A redirect is followed by nobody: its target could read the token.
    return InvalidRequestError if status >= 400 else ResponseError


def _advice(answer: Answer, request: Request, content: dict[str, Any]) -> str:
    endpoint = request.endpoint
    if answer.status == 401:
        return " (if a new token was refused as well: is the client still enabled?)"
    if answer.status == 403:
        return f" (this operation needs {' or '.join(endpoint.permissions)})"
    if answer.status == 501:
        return " (the organisation has not got this feature, or it is not switched on)"
    if answer.status in (404, 405) and len(endpoint.served_by) == 1 and not content.get("entityId"):
        return (
            f" (if the organisation does not serve {endpoint.path}, the connection's segments_api="
            f"{endpoint.served_by[0]!r} is the wrong choice)"
        )
    listed = content.get("details")
    details = [
        f"{detail.get('fieldName')}: {detail.get('errorCode')}"
        for detail in (listed if isinstance(listed, list) else [])
        if isinstance(detail, dict) and detail.get("fieldName")
    ]
    return f" ({'; '.join(details[:5])})" if details else ""


def _trace(answer: Answer, content: dict[str, Any]) -> str:
    correlation_id = answer.correlation_id or _text(content.get("contextId"))
    return f" [correlation id {correlation_id}]" if correlation_id else ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _excerpt(answer: Answer) -> str:
    """Return the beginning of a body for a message, on one line."""
    text = " ".join(answer.body[:400].decode("utf-8", "replace").split())
    return repr(text[:160]) if text else "an empty body"
