"""The operations: what a request looks like, what its answer means, where the next page is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar
from urllib.parse import parse_qs, urlsplit

from airflow_provider_journey.api import answers, endpoints
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS, JOURNEY, Endpoint
from airflow_provider_journey.api.errors import InvalidRequestError, ResponseError
from airflow_provider_journey.api.messages import Answer, Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")
Entity = dict[str, Any]
# The most segment changes that one call takes.
MAX_CHANGES = 10


class SegmentFilter(TypedDict, total=False):
    """Which segment assignments are listed, and how many a request."""

    segment_scope: str | None
    assignment_state: str | None
    page_size: int


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


def get_action_target(action_target_id: str) -> Call[Entity]:
    """Retrieve one action target (getJourneyActiontarget)."""
    endpoint = endpoints.GET_ACTION_TARGET
    return _object_call(Request(endpoint, endpoint.path_for(action_target_id=action_target_id)))


def list_action_targets(page_size: int = 25) -> Call[Page]:
    """Retrieve all action targets, ``page_size`` a page (getJourneyActiontargets)."""
    endpoint = endpoints.LIST_ACTION_TARGETS
    return _numbered(endpoint, endpoint.path_for(), _page_size(endpoint, page_size, 200), 1)


def update_action_target(
    action_target_id: str, *, name: str | None = None, service_level: Mapping[str, Any] | None = None
) -> Call[Entity]:
    """Change an action target's name or service level (patchJourneyActiontarget)."""
    endpoint = endpoints.UPDATE_ACTION_TARGET
    body: Entity = {}
    if name is not None:
        body["name"] = name
    if service_level is not None:
        body["serviceLevel"] = dict(service_level)
    if not body:
        raise InvalidRequestError(f"{endpoint.operation_id}: nothing to change: give name or service_level.")
    return _object_call(Request(endpoint, endpoint.path_for(action_target_id=action_target_id), body=body))


def list_customer_segments(
    customer_id_type: str, customer_id: str, **filters: Unpack[SegmentFilter]
) -> Call[Page]:
    """Retrieve segment assignments by customer id (getJourneyCustomerCustomerIdSegments)."""
    endpoint = endpoints.LIST_CUSTOMER_SEGMENTS
    path = endpoint.path_for(customer_id_type=customer_id_type, customer_id=customer_id)
    return _cursored(endpoint, path, _segment_query(endpoint, **filters))


def list_external_contact_segments(external_contact_id: str, **filters: Unpack[SegmentFilter]) -> Call[Page]:
    """Retrieve segment assignments by external contact id (getJourneyExternalcontactSegments)."""
    endpoint = endpoints.LIST_EXTERNAL_CONTACT_SEGMENTS
    path = endpoint.path_for(external_contact_id=external_contact_id)
    return _cursored(endpoint, path, _segment_query(endpoint, **filters))


def list_session_segments(session_id: str, **filters: Unpack[SegmentFilter]) -> Call[Page]:
    """Retrieve segment assignments by session id (getJourneySessionSegments)."""
    endpoint = endpoints.LIST_SESSION_SEGMENTS
    path = endpoint.path_for(session_id=session_id)
    return _cursored(endpoint, path, _segment_query(endpoint, **filters))


def list_contact_segments(contact_id: str, limit: int = 500) -> Call[Page]:
    """Retrieve a contact's segment assignments where they live today, all in one answer.

    (getExternalcontactsContactJourneySegments)
    """
    endpoint = endpoints.LIST_CONTACT_SEGMENTS
    query = (("limit", str(_page_size(endpoint, limit, 500))),)
    request = Request(endpoint, endpoint.path_for(contact_id=contact_id), query)

    def read(answer: Answer) -> Page:
        return Page(_entities(answers.read_object(answer, request), request, answer), None)

    return Call(request, read)


def update_external_contact_segments(
    external_contact_id: str,
    *,
    assign: Iterable[str] = (),
    unassign: Iterable[str] = (),
    segments_api: str = JOURNEY,
) -> Call[dict[str, list[str]]]:
    """Assign and unassign segments of one contact, at most ten together.

    (postJourneyExternalcontactSegments, postExternalcontactsContactJourneySegments)

    :param external_contact_id: the contact.
    :param assign: ids of segments to assign; one that is assigned already has its expiry renewed.
    :param unassign: ids of segments to take away.
    :param segments_api: the surface that is asked. ``journey`` answers a success without a body: everything
        was done. On ``externalcontacts`` a 200 is no success by itself: what it names was not done.
    :return: a call that reads what was not processed, ``{"assign": [ids], "unassign": [ids]}``.
    :raises InvalidRequestError: no changes or more than ten, or an id both to assign and to unassign.
    """
    today = segments_api == EXTERNAL_CONTACTS
    endpoint = endpoints.UPDATE_CONTACT_SEGMENTS if today else endpoints.UPDATE_EXTERNAL_CONTACT_SEGMENTS
    changes = {"assign": list(dict.fromkeys(assign)), "unassign": list(dict.fromkeys(unassign))}
    if both := set(changes["assign"]) & set(changes["unassign"]):
        raise InvalidRequestError(
            f"{endpoint.operation_id}: {sorted(both)[0]!r} is both to be assigned and to be unassigned."
        )
    if not 1 <= (count := sum(map(len, changes.values()))) <= MAX_CHANGES:
        raise InvalidRequestError(
            f"{endpoint.operation_id}: one call takes 1 to {MAX_CHANGES} changes, not {count}."
        )
    if today:
        body = {kind: {"segments": [{"id": name} for name in ids]} for kind, ids in changes.items() if ids}
        request = Request(endpoint, endpoint.path_for(contact_id=external_contact_id), body=body)
        return Call(request, lambda answer: _unprocessed(answer, request, changes))
    items = [
        {"segmentId": segment_id, "state": f"{kind.capitalize()}ed"}
        for kind, ids in changes.items()
        for segment_id in ids
    ]
    request = Request(endpoint, endpoint.path_for(external_contact_id=external_contact_id), body=items)
    return Call(request, lambda _: {"assign": [], "unassign": []})


def query_aggregates(query: Any) -> Call[Entity]:
    """Query journey aggregates (postAnalyticsJourneysAggregatesQuery).

    :param query: the body as a mapping, or anything with ``to_dict()``.
    """
    endpoint = endpoints.QUERY_AGGREGATES
    body = query.to_dict() if hasattr(query, "to_dict") else query
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"{endpoint.operation_id}: a query is no {type(query).__name__}.")
    request = Request(endpoint, endpoint.path_for(), body=dict(body))

    def read(answer: Answer) -> Entity:
        content = answers.read_object(answer, request)
        if not isinstance(content.get("results") or [], list):
            raise _broken(request, answer, "its results are no list")
        return content

    return Call(request, read)


def _unprocessed(answer: Answer, request: Request, sent: dict[str, list[str]]) -> dict[str, list[str]]:
    """Read what a 200 says was not done; an answer that does not add up proves nothing done."""
    items = answers.read_object(answer, request).get("unprocessedItems")
    if not isinstance(items, dict):
        raise _broken(request, answer, "it does not say what was not processed")
    found = {kind: _ids(items.get(kind)) for kind in sent}
    for kind, ids in found.items():
        if ids is None or not set(ids) <= set(sent[kind]):
            raise _broken(request, answer, f"what it calls unprocessed is not what was sent to {kind}")
    left = {kind: list(dict.fromkeys(ids or ())) for kind, ids in found.items()}
    count = items.get("count")
    if count is not None and count != sum(map(len, left.values())):
        raise _broken(request, answer, f"its count of unprocessed items, {count!r}, is not how many it names")
    return left


def _ids(part: Any) -> list[str] | None:
    """Return the ids in ``{"segments": [{"id": ...}]}``, ``None`` where it is something else."""
    segments = (part.get("segments") or []) if isinstance(part, dict) else ([] if part is None else None)
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        return None
    ids = [segment.get("id") for segment in segments]
    return ids if all(isinstance(name, str) for name in ids) else None


def _object_call(request: Request) -> Call[Entity]:
    return Call(request, lambda answer: answers.read_object(answer, request))


def _segment_query(
    endpoint: Endpoint,
    *,
    segment_scope: str | None = None,
    assignment_state: str | None = None,
    page_size: int = 200,
) -> dict[str, str]:
    query = {"pageSize": str(_page_size(endpoint, page_size, 200))}
    for key, value, allowed in (
        ("segmentScope", segment_scope, ("Session", "Customer")),
        ("assignmentState", assignment_state, ("Assigned", "Unassigned")),
    ):
        if value is None:
            continue
        if value not in allowed:
            raise InvalidRequestError(f"{endpoint.operation_id}: {key} {value!r} is none of {allowed}.")
        query[key] = value
    return query


def _page_size(endpoint: Endpoint, page_size: int, most: int) -> int:
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= most:
        raise InvalidRequestError(f"{endpoint.operation_id}: page_size is 1 to {most}, not {page_size!r}.")
    return page_size


def _numbered(endpoint: Endpoint, path: str, page_size: int, number: int) -> Call[Page]:
    request = Request(endpoint, path, (("pageNumber", str(number)), ("pageSize", str(page_size))))

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        entities = _entities(content, request, answer)
        count = content.get("pageCount")
        # Without a page count the listing ends with the first page that is not full.
        more = number < count if isinstance(count, int) else len(entities) >= page_size
        return Page(entities, _numbered(endpoint, path, page_size, number + 1) if more and entities else None)

    return Call(request, read)


def _cursored(endpoint: Endpoint, path: str, query: dict[str, str]) -> Call[Page]:
    request = Request(endpoint, path, tuple(query.items()))

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        entities = _entities(content, request, answer)
        following = content.get("nextUri")
        if not following:
            return Page(entities, None)
        # Only the cursor is taken from nextUri: where requests go is for the connection to say.
        cursor = parse_qs(urlsplit(str(following)).query).get("after", [""])[0]
        if not cursor or cursor == query.get("after"):
            raise _broken(request, answer, f"its nextUri {following!r} leads nowhere new")
        return Page(entities, _cursored(endpoint, path, {**query, "after": cursor}))

    return Call(request, read)


def _entities(content: Entity, request: Request, answer: Answer) -> list[Entity]:
    entities = content.get("entities") or []
    if not isinstance(entities, list) or not all(isinstance(entity, dict) for entity in entities):
        raise _broken(request, answer, "its entities are no list of objects")
    return entities


def _broken(request: Request, answer: Answer, cause: str) -> ResponseError:
    return ResponseError(
        f"{request} was answered {answer.status}, but {cause}.",
        status=answer.status,
        correlation_id=answer.correlation_id,
    )
