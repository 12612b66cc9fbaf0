"""What operations are made of: a request with the reading of its answer, and listings page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

from airflow_provider_journey.api import answers
from airflow_provider_journey.api.endpoints import Endpoint
from airflow_provider_journey.api.errors import InvalidRequestError, ResponseError
from airflow_provider_journey.api.messages import Answer, Request

T = TypeVar("T")
Entity = dict[str, Any]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    request: Request
    read: Callable[[Answer], T]


@dataclass(frozen=True)
class Page:
    """One page of a listing: its entities and the request for the next one."""

    entities: list[Entity]
    following: Call[Page] | None


def checked_size(endpoint: Endpoint, size: int, most: int) -> int:
    """Return ``size`` if a request may ask for so many entities.

    :raises InvalidRequestError: it is no whole number from 1 to ``most``.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
        raise InvalidRequestError(f"{endpoint.operation_id}: page_size is 1 to {most}, not {size!r}.")
    return size


def whole(request: Request) -> Call[Entity]:
    """Return the call whose answer is one object."""
    return Call(request, lambda answer: answers.read_object(answer, request))


def numbered(endpoint: Endpoint, path: str, size: int, number: int = 1) -> Call[Page]:
    """Return the call for page ``number`` of a listing that is paged by number."""
    request = Request(endpoint, path, (("pageNumber", str(number)), ("pageSize", str(size))))

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        found = entities(content, request, answer)
        count = content.get("pageCount")
        if count is not None and type(count) is not int:
            raise broken(request, answer, f"its pageCount is {count!r}")
        # Without a page count the listing ends with the first page that is not full.
        more = len(found) >= size if count is None else number < count
        return Page(found, numbered(endpoint, path, size, number + 1) if more and found else None)

    return Call(request, read)


def cursored(endpoint: Endpoint, path: str, query: dict[str, str]) -> Call[Page]:
    """Return the call for a page of a listing whose ``nextUri`` holds the next page's cursor."""
    request = Request(endpoint, path, tuple(query.items()))

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        found = entities(content, request, answer)
        following = content.get("nextUri")
        if not following:
            return Page(found, None)
        # Only the cursor is taken from nextUri: where requests go is for the connection to say.
        cursor = _cursor(str(following))
        if not cursor or cursor == query.get("after"):
            raise broken(request, answer, f"its nextUri {following!r} leads nowhere new")
        return Page(found, cursored(endpoint, path, {**query, "after": cursor}))

    return Call(request, read)


def _cursor(uri: str) -> str:
    try:
        return parse_qs(urlsplit(uri).query).get("after", [""])[0]
    except ValueError:  # not a URI
        return ""


def entities(content: Entity, request: Request, answer: Answer, key: str = "entities") -> list[Entity]:
    """Return the objects listed under ``key``.

    :raises ResponseError: it is no list of objects.
    """
    found = content.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entity, dict) for entity in found):
        raise broken(request, answer, f"its {key} are no list of objects")
    return found


def broken(request: Request, answer: Answer, cause: str) -> ResponseError:
    """Return the error for an answer that does not keep the contract: what was done is not known."""
    return ResponseError(
        f"{request} was answered {answer.status}, but {cause}.",
        status=answer.status,
        correlation_id=answer.correlation_id,
        maybe_processed=True,
    )
