"""Segment assignments: three reads and one update, on the contract's surface and on today's.

The contract's surface lists them with cursors, past assignments included. Today's knows what is assigned now:
a contact's in one answer of at most 500, a session's inside the session; a customer id is looked up first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_journey.api import answers, contacts, endpoints
from airflow_provider_journey.api.calls import Call, Page, broken, checked_size, cursored, entities
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS, JOURNEY, Endpoint
from airflow_provider_journey.api.errors import InvalidRequestError, UnsupportedOperationError
from airflow_provider_journey.api.messages import Answer, Request, to_json

if TYPE_CHECKING:
    from typing_extensions import Unpack

# The most segment changes that one call takes.
MAX_CHANGES = 10
_UPDATES = {
    JOURNEY: endpoints.UPDATE_EXTERNAL_CONTACT_SEGMENTS,
    EXTERNAL_CONTACTS: endpoints.UPDATE_CONTACT_SEGMENTS,
}
_MOST = {JOURNEY: 200, EXTERNAL_CONTACTS: 500}


class SegmentFilter(TypedDict, total=False):
    """Which segment assignments are listed, and how many a request."""

    segment_scope: str | None
    assignment_state: str | None
    page_size: int
    include_merged: bool


def list_customer_segments(
    customer_id_type: str, customer_id: str, *, segments_api: str = JOURNEY, **filters: Unpack[SegmentFilter]
) -> Call[Page]:
    """Retrieve segment assignments by customer id.

    (getJourneyCustomerCustomerIdSegments; today postExternalcontactsIdentifierlookupContacts and then
    getExternalcontactsContactJourneySegments of the canonical contact)
    """
    if segments_api == JOURNEY:
        endpoint = endpoints.LIST_CUSTOMER_SEGMENTS
        path = endpoint.path_for(customer_id_type=customer_id_type, customer_id=customer_id)
        return cursored(endpoint, path, _segment_query(endpoint, **filters))
    _check_today(endpoints.LIST_CONTACT_SEGMENTS, **filters)
    found = contacts.lookup_contact(customer_id_type, customer_id)

    def read(answer: Answer) -> Page:
        contact = found.read(answer)
        if contact is None:
            raise contacts.nobody(customer_id_type, found.request, answer)
        return Page([], _contact_listing(contacts.canonical_id(contact), **filters))

    return Call(found.request, read)


def list_external_contact_segments(
    external_contact_id: str, *, segments_api: str = JOURNEY, **filters: Unpack[SegmentFilter]
) -> Call[Page]:
    """Retrieve segment assignments by external contact id.

    (getJourneyExternalcontactSegments, getExternalcontactsContactJourneySegments)
    """
    if segments_api == EXTERNAL_CONTACTS:
        return _contact_listing(external_contact_id, **filters)
    endpoint = endpoints.LIST_EXTERNAL_CONTACT_SEGMENTS
    path = endpoint.path_for(external_contact_id=external_contact_id)
    return cursored(endpoint, path, _segment_query(endpoint, **filters))


def list_session_segments(
    session_id: str, *, segments_api: str = JOURNEY, **filters: Unpack[SegmentFilter]
) -> Call[Page]:
    """Retrieve segment assignments by session id (getJourneySessionSegments, getJourneySession)."""
    if segments_api == JOURNEY:
        endpoint = endpoints.LIST_SESSION_SEGMENTS
        path = endpoint.path_for(session_id=session_id)
        return cursored(endpoint, path, _segment_query(endpoint, **filters))
    endpoint = endpoints.GET_SESSION
    _check_today(endpoint, **filters)
    if filters.get("segment_scope") is not None:
        raise _unsupported(endpoint, "segment_scope", "a session names its segments without their scope")
    if filters.get("include_merged"):
        raise _unsupported(endpoint, "include_merged", "a session is one contact's")
    request = Request(endpoint, endpoint.path_for(session_id=session_id))

    def read(answer: Answer) -> Page:
        content = answers.read_object(answer, request)
        return Page(entities(content, request, answer, "segmentAssignments"), None)

    return Call(request, read)


def update_external_contact_segments(
    external_contact_id: str,
    *,
    assign: Iterable[str] = (),
    unassign: Iterable[str] = (),
    segments_api: str = JOURNEY,
    follow: bool = True,
) -> Call[dict[str, list[str]]]:
    """Assign and unassign segments of one contact, at most ten together.

    (postJourneyExternalcontactSegments, postExternalcontactsContactJourneySegments)

    :param external_contact_id: the contact.
    :param assign: ids of segments to assign; one that is assigned already has its expiry renewed.
    :param unassign: ids of segments to take away.
    :param segments_api: the surface that is asked. ``journey`` answers a success without a body: everything
        was done. On ``externalcontacts`` a 200 is no success by itself: what it names was not done.
    :param follow: whether changes of a merged contact go to the one that speaks for it; otherwise the call
        raises ``MergedContactError``, which names that one.
    :return: a call that reads what was not processed, ``{"assign": [ids], "unassign": [ids]}``.
    :raises InvalidRequestError: no changes or more than ten, something that is no id, or an id both to assign
        and to unassign.
    """
    endpoint = _UPDATES[segments_api]
    if isinstance(assign, str) or isinstance(unassign, str):
        raise InvalidRequestError(
            f"{endpoint.operation_id}: assign and unassign are lists of segments' ids, not a text."
        )
    changes, content = _changes(segments_api, tuple(assign), tuple(unassign))
    if segments_api == EXTERNAL_CONTACTS:
        path = endpoint.path_for(contact_id=external_contact_id)
        request = Request(endpoint, path, content=content, follow=follow)
        return Call(request, lambda answer: _unprocessed(answer, request, changes))
    path = endpoint.path_for(external_contact_id=external_contact_id)
    return Call(Request(endpoint, path, content=content), lambda _: {"assign": [], "unassign": []})


# A sync makes the same few changes of many contacts.
@functools.lru_cache(maxsize=1024)
def _changes(
    segments_api: str, assign: tuple[str, ...], unassign: tuple[str, ...]
) -> tuple[dict[str, tuple[str, ...]], bytes]:
    """Return what is to be changed, each change once, and the body that says so."""
    endpoint = _UPDATES[segments_api]
    for name in (*assign, *unassign):
        if not isinstance(name, str) or not name.strip():
            raise InvalidRequestError(f"{endpoint.operation_id}: {name!r} is no segment's id.")
    changes = {"assign": tuple(dict.fromkeys(assign)), "unassign": tuple(dict.fromkeys(unassign))}
    if both := set(changes["assign"]) & set(changes["unassign"]):
        raise InvalidRequestError(
            f"{endpoint.operation_id}: {sorted(both)[0]!r} is both to be assigned and to be unassigned."
        )
    if not 1 <= (count := sum(map(len, changes.values()))) <= MAX_CHANGES:
        raise InvalidRequestError(
            f"{endpoint.operation_id}: one call takes 1 to {MAX_CHANGES} changes, not {count}."
        )
    if segments_api == EXTERNAL_CONTACTS:
        body: Any = {
            kind: {"segments": [{"id": name} for name in ids]} for kind, ids in changes.items() if ids
        }
    else:
        body = [
            {"segmentId": segment_id, "state": f"{kind.capitalize()}ed"}
            for kind, ids in changes.items()
            for segment_id in ids
        ]
    return changes, to_json(endpoint, body)


def _segment_query(
    endpoint: Endpoint,
    *,
    segment_scope: str | None = None,
    assignment_state: str | None = None,
    page_size: int = 200,
    include_merged: bool = False,
) -> dict[str, str]:
    if include_merged:
        raise _unsupported(endpoint, "include_merged", "merged contacts are unknown to it", JOURNEY)
    query = {"pageSize": str(checked_size(endpoint, page_size, _MOST[JOURNEY]))}
    for key, value in (("segmentScope", segment_scope), ("assignmentState", assignment_state)):
        _check_choice(endpoint, key, value)
        if value is not None:
            query[key] = value
    return query


def _contact_listing(contact_id: str, **filters: Unpack[SegmentFilter]) -> Call[Page]:
    """List what a contact holds now: one answer, which has neither cursor nor filters."""
    endpoint = endpoints.LIST_CONTACT_SEGMENTS
    limit, most = _check_today(endpoint, **filters), _MOST[EXTERNAL_CONTACTS]
    merged = (("includeMerged", "true"),) if filters.get("include_merged") else ()
    request = Request(endpoint, endpoint.path_for(contact_id=contact_id), (("limit", str(limit)), *merged))
    scope = filters.get("segment_scope")

    def read(answer: Answer) -> Page:
        found = entities(answers.read_object(answer, request), request, answer)
        if len(found) < limit:
            # Session-scoped segments, and only those, name the session which they were assigned in.
            held = ("Session" if entity.get("session") else "Customer" for entity in found)
            return Page([e for e, kind in zip(found, held, strict=True) if scope in (None, kind)], None)
        if limit < most:
            wider = filters.copy()
            wider["page_size"] = most
            return Page([], _contact_listing(contact_id, **wider))
        raise broken(
            request,
            answer,
            f"it is full: this surface lists at most {most} assignments and has no second page, so there may "
            "be more that nobody can list",
        )

    return Call(request, read)


def _check_today(
    endpoint: Endpoint,
    *,
    segment_scope: str | None = None,
    assignment_state: str | None = None,
    page_size: int = 200,
    include_merged: bool = False,
) -> int:
    """Refuse what today's surface cannot list; return the number of entities to ask for."""
    _check_choice(endpoint, "segmentScope", segment_scope)
    _check_choice(endpoint, "assignmentState", assignment_state)
    if assignment_state == "Unassigned":
        raise _unsupported(endpoint, "assignment_state='Unassigned'", "it lists what is assigned now, only")
    return checked_size(endpoint, page_size, _MOST[EXTERNAL_CONTACTS])


def _check_choice(endpoint: Endpoint, key: str, value: str | None) -> None:
    allowed = {"segmentScope": ("Session", "Customer"), "assignmentState": ("Assigned", "Unassigned")}[key]
    if value is not None and value not in allowed:
        raise InvalidRequestError(f"{endpoint.operation_id}: {key} {value!r} is none of {allowed}.")


def _unsupported(
    endpoint: Endpoint, what: str, cause: str, segments_api: str = EXTERNAL_CONTACTS
) -> UnsupportedOperationError:
    return UnsupportedOperationError(
        f"{endpoint.operation_id} has no {what} where the connection says segments_api={segments_api!r}: "
        f"{cause}."
    )


def _unprocessed(answer: Answer, request: Request, sent: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Read what a 200 says was not done; an answer that does not add up proves nothing done."""
    items = answers.read_object(answer, request).get("unprocessedItems")
    if not isinstance(items, dict):
        raise broken(request, answer, "it does not say what was not processed")
    found = {kind: _ids(items.get(kind)) for kind in sent}
    for kind, ids in found.items():
        if ids is None or not set(ids) <= set(sent[kind]):
            raise broken(request, answer, f"what it calls unprocessed is not what was sent to {kind}")
    left = {kind: list(dict.fromkeys(ids or ())) for kind, ids in found.items()}
    count = items.get("count")
    if count is not None and count != sum(map(len, left.values())):
        raise broken(request, answer, f"its count of unprocessed items, {count!r}, is not how many it names")
    return left


def _ids(part: Any) -> list[str] | None:
    """Return the ids in ``{"segments": [{"id": ...}]}``, ``None`` where it is something else."""
    segments = part.get("segments") if isinstance(part, dict) else part
    if segments is None:
        return []
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        return None
    ids = [segment.get("id") for segment in segments]
    return ids if all(isinstance(name, str) for name in ids) else None
