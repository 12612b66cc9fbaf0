"""Every operation of the service as data: one line each, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from airflow_provider_journey.api.errors import InvalidRequestError

JOURNEY = "journey"
EXTERNAL_CONTACTS = "externalcontacts"
SEGMENTS_APIS = (JOURNEY, EXTERNAL_CONTACTS)
# What HTTP clients resolve away in a path, however it is written there.
NO_IDS = (".", "..")
# An id that is nothing to encode, as most are: found out faster than by encoding it.
_PLAIN = re.compile("[A-Za-z0-9_-]+").fullmatch


@dataclass(frozen=True)
class Endpoint:
    """One operation.

    :param operation_id: the name the service's own reference gives it.
    :param method: HTTP method.
    :param path: path template below the API's base URL; ``{…}`` are ids.
    :param permissions: what the OAuth client's role needs, any one of them.
    :param paging: how the listing goes on: ``pageNumber``, ``after`` (a cursor in ``nextUri``), ``cursor`` or
        ``None``.
    :param served_by: the values of the connection's ``segments_api`` under which it exists.
    :param resend: whether it may be sent again when its bytes left and no answer was read.
    :param looks_up: whether its body says who a person is: a 404 may mean nobody, and what the service says
        of it is not repeated.
    """

    operation_id: str
    method: str
    path: str
    permissions: tuple[str, ...]
    paging: str | None = None
    served_by: tuple[str, ...] = SEGMENTS_APIS
    resend: bool = True
    looks_up: bool = False

    def path_for(self, **ids: str) -> str:
        """Return the path with ``ids`` in their places, percent-encoded.

        :raises InvalidRequestError: an id is empty, or ``.`` or ``..``, which HTTP clients resolve away.
        """
        return self.path.format(**{name: self._encoded(name, value) for name, value in ids.items()})

    def _encoded(self, name: str, value: str) -> str:
        if isinstance(value, str) and _PLAIN(value):
            return value
        if not isinstance(value, str) or not value.strip() or value in NO_IDS:
            raise InvalidRequestError(f"{self.operation_id}: {name} is no id: {value!r}")
        return quote(value, safe="")


_VIEW_SEGMENTS = ("journey:segmentassignment:view",)
_QUERY_AGGREGATES = ("analytics:journeyAggregate:view",)
_JOBS = "/analytics/journeys/aggregates/jobs"

GET_ACTION_TARGET = Endpoint(
    "getJourneyActiontarget",
    "GET",
    "/journey/actiontargets/{action_target_id}",
    ("journey:actiontarget:view",),
)
LIST_ACTION_TARGETS = Endpoint(
    "getJourneyActiontargets",
    "GET",
    "/journey/actiontargets",
    ("journey:actiontarget:view",),
    paging="pageNumber",
)
UPDATE_ACTION_TARGET = Endpoint(
    "patchJourneyActiontarget",
    "PATCH",
    "/journey/actiontargets/{action_target_id}",
    ("journey:actiontarget:edit",),
    served_by=(JOURNEY,),
)
LIST_CUSTOMER_SEGMENTS = Endpoint(
    "getJourneyCustomerCustomerIdSegments",
    "GET",
    "/journey/customers/{customer_id_type}/{customer_id}/segments",
    _VIEW_SEGMENTS,
    paging="after",
    served_by=(JOURNEY,),
)
LIST_EXTERNAL_CONTACT_SEGMENTS = Endpoint(
    "getJourneyExternalcontactSegments",
    "GET",
    "/journey/externalcontacts/{external_contact_id}/segments",
    _VIEW_SEGMENTS,
    paging="after",
    served_by=(JOURNEY,),
)
LIST_SESSION_SEGMENTS = Endpoint(
    "getJourneySessionSegments",
    "GET",
    "/journey/sessions/{session_id}/segments",
    _VIEW_SEGMENTS,
    paging="after",
    served_by=(JOURNEY,),
)
UPDATE_EXTERNAL_CONTACT_SEGMENTS = Endpoint(
    "postJourneyExternalcontactSegments",
    "POST",
    "/journey/externalcontacts/{external_contact_id}/segments",
    ("journey:segmentassignment:add", "journey:segmentassignment:delete"),
    served_by=(JOURNEY,),
)
LIST_CONTACT_SEGMENTS = Endpoint(
    "getExternalcontactsContactJourneySegments",
    "GET",
    "/externalcontacts/contacts/{contact_id}/journey/segments",
    ("externalContacts:segmentAssignment:view",),
    served_by=(EXTERNAL_CONTACTS,),
)
UPDATE_CONTACT_SEGMENTS = Endpoint(
    "postExternalcontactsContactJourneySegments",
    "POST",
    "/externalcontacts/contacts/{contact_id}/journey/segments",
    ("externalContacts:segmentAssignment:add", "externalContacts:segmentAssignment:delete"),
    served_by=(EXTERNAL_CONTACTS,),
)
LOOKUP_CONTACT = Endpoint(
    "postExternalcontactsIdentifierlookupContacts",
    "POST",
    "/externalcontacts/identifierlookup/contacts",
    ("externalContacts:contact:view",),
    served_by=(EXTERNAL_CONTACTS,),
    looks_up=True,
)
GET_SESSION = Endpoint(
    "getJourneySession",
    "GET",
    "/journey/sessions/{session_id}",
    ("journey:session:view", "externalContacts:session:view"),
    served_by=(EXTERNAL_CONTACTS,),
)
LIST_SEGMENTS = Endpoint(
    "getJourneySegments",
    "GET",
    "/journey/segments",
    ("journey:segment:view",),
    paging="pageNumber",
    served_by=(EXTERNAL_CONTACTS,),
)
QUERY_AGGREGATES = Endpoint(
    "postAnalyticsJourneysAggregatesQuery",
    "POST",
    "/analytics/journeys/aggregates/query",
    _QUERY_AGGREGATES,
)
SUBMIT_AGGREGATES_JOB = Endpoint(
    "postAnalyticsJourneysAggregatesJobs",
    "POST",
    _JOBS,
    _QUERY_AGGREGATES,
    resend=False,
)
GET_AGGREGATES_JOB = Endpoint(
    "getAnalyticsJourneysAggregatesJob",
    "GET",
    _JOBS + "/{job_id}",
    _QUERY_AGGREGATES,
)
LIST_AGGREGATES_JOB_RESULTS = Endpoint(
    "getAnalyticsJourneysAggregatesJobResults",
    "GET",
    _JOBS + "/{job_id}/results",
    _QUERY_AGGREGATES,
    paging="cursor",
)
CANCEL_AGGREGATES_JOB = Endpoint(
    "deleteAnalyticsJourneysAggregatesJob",
    "DELETE",
    _JOBS + "/{job_id}",
    _QUERY_AGGREGATES,
)

ENDPOINTS = {
    endpoint.operation_id: endpoint
    for endpoint in (
        GET_ACTION_TARGET,
        LIST_ACTION_TARGETS,
        UPDATE_ACTION_TARGET,
        LIST_CUSTOMER_SEGMENTS,
        LIST_EXTERNAL_CONTACT_SEGMENTS,
        LIST_SESSION_SEGMENTS,
        UPDATE_EXTERNAL_CONTACT_SEGMENTS,
        LIST_CONTACT_SEGMENTS,
        UPDATE_CONTACT_SEGMENTS,
        LOOKUP_CONTACT,
        GET_SESSION,
        LIST_SEGMENTS,
        QUERY_AGGREGATES,
        SUBMIT_AGGREGATES_JOB,
        GET_AGGREGATES_JOB,
        LIST_AGGREGATES_JOB_RESULTS,
        CANCEL_AGGREGATES_JOB,
    )
}
