"""Who is behind an identifier: today's identifier look-up, and which of merged contacts counts."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.api import answers, endpoints
from airflow_provider_journey.api.calls import Call, Entity, broken
from airflow_provider_journey.api.errors import InvalidRequestError, NotFoundError
from airflow_provider_journey.api.messages import Answer, Request, to_json

# As the service spells them; another one is passed on as it is, for the service to judge.
_IDENTIFIER_TYPES = {
    name.lower(): name
    for name in (
        "Email",
        "Phone",
        "Cookie",
        "ExternalId",
        "AppleOpaqueId",
        "SocialLine",
        "SocialFacebook",
        "SocialTwitter",
        "SocialWhatsapp",
        "SocialWhatsappBsuid",
        "SocialInstagram",
        "SocialInstagramHandle",
    )
}


def lookup_contact(
    identifier_type: str, value: str, external_source: str | None = None
) -> Call[Entity | None]:
    """Find the contact that an identifier belongs to (postExternalcontactsIdentifierlookupContacts).

    :param identifier_type: ``Email``, ``Phone`` (with country code and ``+``), ``Cookie``, ``ExternalId`` and
        others, in any case.
    :param value: the identifier; it appears in no error.
    :param external_source: id of the external source; ``ExternalId`` needs one, nothing else takes one.
    :return: a call that reads the contact, ``None`` where there is nobody of that identifier.
    :raises InvalidRequestError: type or value is blank, or the external source is missing or too much.
    """
    endpoint = endpoints.LOOKUP_CONTACT
    for name, given in (("identifier_type", identifier_type), ("value", value)):
        if not isinstance(given, str) or not given.strip():
            raise InvalidRequestError(f"{endpoint.operation_id}: {name} is blank or no text.")
    kind = _IDENTIFIER_TYPES.get(identifier_type.strip().lower(), identifier_type.strip())
    if bool(external_source) != (kind == "ExternalId"):
        raise InvalidRequestError(
            f"{endpoint.operation_id}: an ExternalId comes with the id of its external_source, and nothing "
            f"else does; this is {kind}."
        )
    body: Entity = {"type": kind, "value": value.strip()}
    if external_source:
        body["externalSource"] = {"id": external_source}
    request = Request(endpoint, endpoint.path_for(), content=to_json(endpoint, body))

    def read(answer: Answer) -> Entity | None:
        if answer.status == 404:
            return None
        contact = answers.read_object(answer, request)
        if not _id(contact) or (contact.get("canonicalContact") and not _id(contact["canonicalContact"])):
            raise broken(request, answer, "it names no contact")
        return contact

    return Call(request, read)


def canonical_id(contact: Entity) -> str:
    """Return the id under which a looked-up contact lives on.

    Merged contacts keep their records; the one at the head of the merge speaks for all of them.
    """
    return _id(contact.get("canonicalContact")) or str(contact["id"])


def merged_ids(contact: Entity, canonical: str) -> list[str]:
    """Return the ids of the contacts that a looked-up contact says were merged into ``canonical``."""
    members = contact.get("mergeSet")
    named = [_id(member) for member in members] if isinstance(members, list) else []
    return sorted({name for name in (_id(contact), *named) if name and name != canonical})


def nobody(identifier_type: str, request: Request, answer: Answer) -> NotFoundError:
    """Return the error for a look-up that had to find somebody; it does not say whom it looked for."""
    return NotFoundError(
        f"{request}: no contact has this {identifier_type}.",
        status=answer.status,
        correlation_id=answer.correlation_id,
    )


def _id(entity: Any) -> str | None:
    found = entity.get("id") if isinstance(entity, dict) else None
    return found if isinstance(found, str) and found else None
