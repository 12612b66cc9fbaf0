"""What today's surface answers, in the fields of today's models."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.emulator.catalogue import EXPIRY_DAYS, Catalogue
from airflow_provider_journey.emulator.clock import format_ms
from airflow_provider_journey.emulator.identity import digest
from airflow_provider_journey.emulator.state import Contacts

IDENTIFIER_TYPES = frozenset(
    {
        "SocialLine",
        "SocialFacebook",
        "SocialTwitter",
        "SocialWhatsapp",
        "SocialWhatsappBsuid",
        "SocialInstagram",
        "SocialInstagramHandle",
        "AppleOpaqueId",
        "Email",
        "Phone",
        "Cookie",
        "ExternalId",
    }
)
_CONFIGURED = "2026-01-05T08:00:00.000Z"


def assignment(contacts: Contacts, contact: int, key: int) -> dict[str, Any]:
    """Give an assignment that stands, as a contact's listing has it.

    :param contacts: the state.
    :param contact: the contact's number.
    :param key: the segment's number.
    :returns: the document.
    """
    segment, held = contacts.catalogue.segments[key], contacts.assignments(contact)[key]
    document = {
        "dateAssigned": format_ms(held.assigned),
        "dateForUnassignment": format_ms(held.expires),
        "segment": _segment_reference(segment.id),
        "externalContact": _contact_reference(contacts, contact),
    }
    if segment.scope == "Session":
        name = contacts.sessions[contact]
        document["session"] = {"id": name, "type": "web", "selfUri": f"/api/v2/journey/sessions/{name}"}
    return document


def session(contacts: Contacts, contact: int) -> dict[str, Any]:
    """Give a contact's session with the segments that the contact is in.

    :param contacts: the state.
    :param contact: the contact's number.
    :returns: the document.
    """
    name, held = contacts.sessions[contact], contacts.assignments(contact)
    assigned = [
        {
            "segment": _segment_reference(contacts.catalogue.segments[key].id),
            "assignedDate": format_ms(held[key].assigned),
        }
        for key in contacts.held_now(contact)
    ]
    return {
        "id": name,
        "type": "web",
        "externalContact": _contact_reference(contacts, contact),
        "customerId": contacts.customer_ids(contact)["cookie"],
        "customerIdType": "cookie",
        "shortId": str(10_000 + contact % 90_000),
        "segmentAssignments": assigned,
        "eventCount": 1 + len(assigned),
        "pageviewCount": 1,
        "durationInSeconds": 60,
        "createdDate": format_ms(contacts.born_ms),
        "selfUri": f"/api/v2/journey/sessions/{name}",
    }


def contact(contacts: Contacts, number: int) -> dict[str, Any]:
    """Give an external contact as the identifier look-up answers it.

    A merged contact answers as itself, and names the one at the head of the merge.

    :param contacts: the state.
    :param number: the contact's number.
    :returns: the document.
    """
    ids, created = contacts.customer_ids(number), format_ms(contacts.born_ms)
    source = {"id": contacts.catalogue.external_source}
    identifiers = [
        {"type": kind.capitalize(), "value": value, "dateCreated": created} for kind, value in ids.items()
    ]
    external = {"type": "ExternalId", "value": contacts.external_id(number), "externalSource": source}
    document = {
        **_contact_reference(contacts, number),
        "firstName": "Customer",
        "lastName": str(number),
        "personalEmail": ids["email"],
        "cellPhone": {"display": ids["phone"], "e164": ids["phone"], "countryCode": "US"},
        "identifiers": [*identifiers, {**external, "dateCreated": created}],
        "externalIds": [{"value": external["value"], "externalSource": source}],
        "type": "Ephemeral" if contacts.is_ephemeral(number) else "Identified",
        "createDate": created,
        "modifyDate": created,
    }
    if len(merged := contacts.merge_set(number)) > 1:
        document["canonicalContact"] = _contact_reference(contacts, contacts.canonical(number))
        document["mergeSet"] = [_contact_reference(contacts, member) for member in merged]
    return document


def segments(catalogue: Catalogue) -> list[dict[str, Any]]:
    """List the organisation's segments, one of them not active.

    :param catalogue: what is configured.
    :returns: the documents.
    """
    return [
        {
            "id": segment.id,
            "isActive": segment is not catalogue.retired,
            "displayName": segment.name,
            "description": f"Customers of {segment.name}",
            "version": 1,
            "color": f"#{digest(segment.id)[:6]}",
            "scope": segment.scope,
            "shouldDisplayToAgent": True,
            "context": {"patterns": []},
            "journey": {"patterns": []},
            "assignmentExpirationDays": EXPIRY_DAYS,
            "createdDate": _CONFIGURED,
            "modifiedDate": _CONFIGURED,
            "selfUri": f"/api/v2/journey/segments/{segment.id}",
        }
        for segment in [*catalogue.segments, catalogue.retired]
    ]


def _segment_reference(segment_id: str) -> dict[str, Any]:
    return {"id": segment_id, "selfUri": f"/api/v2/journey/segments/{segment_id}"}


def _contact_reference(contacts: Contacts, number: int) -> dict[str, Any]:
    contact_id = contacts.ids[number]
    return {"id": contact_id, "selfUri": f"/api/v2/externalcontacts/contacts/{contact_id}"}
