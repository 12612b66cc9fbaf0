"""The segment operations of the contract (genesys-cloud.md section 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_journey.emulator.clock import format_ms
from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.errors import ServiceError, bad_request, not_found
from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.emulator.operation import Call, Operation
from airflow_provider_journey.emulator.paging import by_cursor
from airflow_provider_journey.emulator.state import Assignment, Contacts

_STATES = ("Assigned", "Unassigned")
_SCOPES = ("Session", "Customer")
_BASE = "/api/v2/journey"


def operations(emulator: Emulator) -> list[Operation]:
    """List what this module serves.

    :param emulator: the state.
    :returns: the operations.
    """
    contacts = emulator.contacts
    view = ("journey:segmentassignment:view",)
    change = ("journey:segmentassignment:add", "journey:segmentassignment:delete")

    async def by_contact(call: Call) -> Any:
        contact = _known(contacts.by_id, call.params["externalContactId"], "externalContact")
        return _listing(contacts, call, contacts.canonical(contact), "email")

    async def by_session(call: Call) -> Any:
        contact = _known(contacts.by_session, call.params["sessionId"], "session")
        return _listing(contacts, call, contact, "cookie")

    async def by_customer(call: Call) -> Any:
        kind = call.params["customerIdType"].lower()
        if kind not in ("email", "phone", "cookie"):
            raise bad_request("The type of customer id must be email, phone or cookie.", "customerIdType")
        contact = contacts.by_customer(kind, call.params["customerId"])
        if contact is None:
            raise not_found("customer", call.params["customerId"])
        return _listing(contacts, call, contact, kind)

    async def update(call: Call) -> Any:
        contact = _known(contacts.by_id, call.params["externalContactId"], "externalContact")
        for segment, state in _changes(contacts, call.json()):
            contacts.update(contacts.canonical(contact), segment, state)

    segments = "/externalcontacts/{externalContactId}/segments"
    customer = "/customers/{customerIdType}/{customerId}/segments"
    session = "/sessions/{sessionId}/segments"
    return [
        Operation("getJourneyCustomerCustomerIdSegments", "GET", _BASE + customer, view, by_customer),
        Operation("getJourneyExternalcontactSegments", "GET", _BASE + segments, view, by_contact),
        Operation("getJourneySessionSegments", "GET", _BASE + session, view, by_session),
        Operation("postJourneyExternalcontactSegments", "POST", _BASE + segments, change, update),
    ]


def _known(find: Callable[[str], int | None], name: str, kind: str) -> int:
    found = find(name)
    if found is None:
        raise not_found(kind, name)
    return found


def _changes(contacts: Contacts, body: Any) -> list[tuple[int, str]]:
    """Check a whole update before any of it is done; an unknown segment refuses all of it with 400."""
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise bad_request("The request body must be a list of segment assignments.")
    changes = []
    for item in body:
        segment_id, state = item.get("segmentId"), item.get("state")
        if state not in _STATES:
            raise bad_request("The state must be Assigned or Unassigned.", "state", "invalid.value")
        changes.append((check_segment(contacts, segment_id), state))
    return changes


def check_segment(contacts: Contacts, segment_id: Any) -> int:
    """Find a segment that contacts can be assigned to.

    :param contacts: the state.
    :param segment_id: what the request says.
    :returns: the segment's number.
    :raises ServiceError: 400 for a segment that is unknown, not active or session-scoped.
    """
    catalogue = contacts.catalogue
    index = catalogue.segment_index.get(segment_id) if isinstance(segment_id, str) else None
    if index is None:
        raise _bad_segment("There is no active segment {segmentId}.", str(segment_id))
    if catalogue.segments[index].scope != "Customer":
        raise _bad_segment(
            "Segment {segmentId} is session-scoped: visitors get it by what they do.", str(segment_id)
        )
    return index


def _bad_segment(message: str, segment_id: str) -> ServiceError:
    detail = {
        "errorCode": "invalid.value",
        "fieldName": "segmentId",
        "entityId": segment_id,
        "entityName": "segment",
    }
    return ServiceError(400, "invalid.value", message, params={"segmentId": segment_id}, details=[detail])


def _listing(contacts: Contacts, call: Call, contact: int, customer_id_type: str) -> dict[str, Any]:
    scope = _choice(call.query, "segmentScope", _SCOPES)
    state = _choice(call.query, "assignmentState", _STATES)
    held = contacts.assignments(contact)
    segments = contacts.catalogue.segments

    def asked(key: int) -> bool:
        present = "Assigned" if held[key].unassigned is None else "Unassigned"
        return scope in (None, segments[key].scope) and state in (None, present)

    def entity(key: int) -> dict[str, Any]:
        return _entity(contacts, contact, key, held[key], customer_id_type)

    return by_cursor(call.path, call.query, sorted(filter(asked, held)), entity)


def _choice(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    text = query.get(name)
    if not text:
        return None
    found = next((value for value in allowed if value.lower() == text.lower()), None)
    if found is None:
        raise bad_request(f"{name} must be one of {', '.join(allowed)}.", name, "invalid.value")
    return found


def _entity(
    contacts: Contacts, contact: int, key: int, assignment: Assignment, customer_id_type: str
) -> dict[str, Any]:
    segment, contact_id = contacts.catalogue.segments[key], contacts.ids[contact]
    entity: dict[str, Any] = {
        "id": make_id(contacts.catalogue.seed, "assignment", contact, key),
        "state": "Assigned" if assignment.unassigned is None else "Unassigned",
        "dateAssigned": format_ms(assignment.assigned),
        "dateModified": format_ms(assignment.modified),
        "segment": {
            "id": segment.id,
            "scope": segment.scope,
            "version": 1,
            "selfUri": f"{_BASE}/segments/{segment.id}",
        },
        "customerId": contacts.customer_ids(contact)[customer_id_type],
        "customerIdType": customer_id_type,
        "externalContact": {"id": contact_id, "selfUri": f"/api/v2/externalcontacts/contacts/{contact_id}"},
    }
    if assignment.unassigned is not None:
        entity["dateUnassigned"] = format_ms(assignment.unassigned)
    if segment.scope == "Session":
        session = contacts.sessions[contact]
        entity["session"] = {"id": session, "type": "web", "selfUri": f"{_BASE}/sessions/{session}"}
    return entity
