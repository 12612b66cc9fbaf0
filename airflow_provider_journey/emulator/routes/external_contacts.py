"""Today's surface: a contact's segments, its session, the identifier look-up, the segments there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_journey.emulator import documents
from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.errors import ServiceError, bad_request, not_found
from airflow_provider_journey.emulator.operation import Call, Operation
from airflow_provider_journey.emulator.paging import by_number, whole_number
from airflow_provider_journey.emulator.routes.segment_assignments import check_segment
from airflow_provider_journey.emulator.state import Contacts

_CONTACTS = "/api/v2/externalcontacts/contacts"
_SEGMENTS = "/api/v2/journey/segments"
_KINDS = ("assign", "unassign")
_MOST_CHANGES, _MOST_LISTED = 10, 500


def operations(emulator: Emulator) -> list[Operation]:
    """List what this module serves.

    :param emulator: the state.
    :returns: the operations.
    """
    contacts = emulator.contacts
    may = "externalContacts:segmentAssignment"

    async def listing(call: Call) -> Any:
        contact = _reached(contacts, call)
        limit = whole_number(call.query, "limit", 25, _MOST_LISTED)
        merged = _flag(call.query, "includeMerged")
        members = contacts.merge_set(contact) if merged else [contact]
        held = [(member, k) for member in members for k in contacts.held_now(member)]
        return {"entities": [documents.assignment(contacts, *pair) for pair in held[:limit]]}

    async def update(call: Call) -> Any:
        contact = _reached(contacts, call)
        changes = _changes(contacts, call.json())
        undone = emulator.faults.choose(list(changes), call.fault.items if call.fault else 0.0)
        for (kind, segment_id), index in changes.items():
            if (kind, segment_id) not in undone:
                contacts.update(contact, index, f"{kind.capitalize()}ed")
        left = {
            kind: {"segments": [{"id": s} for k, s in changes if k == kind and (k, s) in undone]}
            for kind in _KINDS
        }
        return {"unprocessedItems": {**left, "count": len(undone)}}

    async def session(call: Call) -> Any:
        contact = contacts.by_session(call.params["sessionId"])
        if contact is None:
            raise not_found("session", call.params["sessionId"])
        return documents.session(contacts, contact)

    async def lookup(call: Call) -> Any:
        return documents.contact(contacts, _identified(contacts, call.json()))

    async def segments(call: Call) -> Any:
        known = documents.segments(emulator.catalogue)
        active = _flag(call.query, "isActive") if "isActive" in call.query else None
        return by_number(_SEGMENTS, call.query, [s for s in known if active in (None, s["isActive"])])

    own = _CONTACTS + "/{contactId}/journey/segments"
    sessions = "/api/v2/journey/sessions/{sessionId}"
    find = "/api/v2/externalcontacts/identifierlookup/contacts"
    see = ("journey:session:view", "externalContacts:session:view")
    change = (f"{may}:add", f"{may}:delete")
    return [
        Operation("getExternalcontactsContactJourneySegments", "GET", own, (f"{may}:view",), listing),
        Operation("postExternalcontactsContactJourneySegments", "POST", own, change, update),
        Operation("getJourneySession", "GET", sessions, see, session),
        Operation(
            "postExternalcontactsIdentifierlookupContacts",
            "POST",
            find,
            ("externalContacts:contact:view",),
            lookup,
        ),
        Operation("getJourneySegments", "GET", _SEGMENTS, ("journey:segment:view",), segments),
    ]


def _reached(contacts: Contacts, call: Call) -> int:
    """Find the contact of the path; a merged one is answered with the way to its canonical one."""
    contact = contacts.by_id(call.params["contactId"])
    if contact is None:
        raise not_found("contact", call.params["contactId"])
    canonical = contacts.canonical(contact)
    if canonical != contact:
        target = f"{_CONTACTS}/{contacts.ids[canonical]}/journey/segments"
        query = f"?{call.query_string}" if call.query_string else ""
        message = "The contact was merged into another one."
        raise ServiceError(307, "contact.merged", message, headers={"Location": target + query})
    return contact


def _changes(contacts: Contacts, body: Any) -> dict[tuple[str, str], int]:
    """Check a whole update before any of it is done; an unknown segment refuses all of it with 400."""
    if not isinstance(body, dict):
        raise bad_request("The request body must be an object.")
    changes: dict[tuple[str, str], int] = {}
    for kind in _KINDS:
        part = body.get(kind) or {}
        items = part.get("segments") or [] if isinstance(part, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise bad_request("The segments must be a list of objects with an id.", kind, "invalid.value")
        for item in items:
            changes[kind, str(item.get("id"))] = check_segment(contacts, item.get("id"))
    if not changes:
        raise bad_request("There is nothing to assign and nothing to unassign.")
    if len(changes) > _MOST_CHANGES:
        raise bad_request(f"At most {_MOST_CHANGES} segments can be assigned and unassigned at a time.")
    return changes


def _identified(contacts: Contacts, body: Any) -> int:
    kind, value = (body.get("type"), body.get("value")) if isinstance(body, dict) else (None, None)
    if kind not in documents.IDENTIFIER_TYPES:
        raise bad_request("The type of the identifier is not known.", "type", "invalid.value")
    if not isinstance(value, str) or not value.strip() or len(value) > 255:
        raise bad_request("The identifier must have 1 to 255 characters.", "value", "invalid.value")
    if kind == "Phone" and not value.strip().startswith("+"):
        raise bad_request("A phone number begins with + and its country code.", "value", "invalid.value")
    if kind == "ExternalId":
        source = body.get("externalSource")
        if not isinstance(source, dict) or not source.get("id"):
            raise bad_request("An external id needs its source.", "externalSource", "invalid.value")
        contact = contacts.by_external_id(str(source["id"]), value.strip())
    else:
        contact = contacts.by_customer(kind, _normal(kind, value.strip()))
    if contact is None:
        raise ServiceError(404, "not.found", "No contact has this identifier.")
    return contact


def _normal(kind: str, value: str) -> str:
    if kind == "Phone":
        return "+" + "".join(filter(str.isdigit, value))
    return value.lower()


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise bad_request(f"{name} must be true or false.", name, "invalid.value")
    return text == "true"
