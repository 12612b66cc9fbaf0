"""The operations: what a request looks like, what its answer means, where the next page is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_journey.api import endpoints
from airflow_provider_journey.api.aggregates import (
    CANCELLED,
    EXPIRED,
    FAILED,
    FINAL_STATES,
    FULFILLED,
    cancel_aggregates_job,
    get_aggregates_job,
    iter_aggregates_job_results,
    query_aggregates,
    submit_aggregates_job,
)
from airflow_provider_journey.api.assignments import (
    MAX_CHANGES,
    SegmentFilter,
    list_customer_segments,
    list_external_contact_segments,
    list_session_segments,
    update_external_contact_segments,
)
from airflow_provider_journey.api.calls import Call, Entity, Page, T, checked_size, numbered, whole
from airflow_provider_journey.api.contacts import canonical_id, lookup_contact
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.api.messages import Request, to_json

__all__ = [
    "CANCELLED",
    "EXPIRED",
    "FAILED",
    "FINAL_STATES",
    "FULFILLED",
    "MAX_CHANGES",
    "Call",
    "Entity",
    "Page",
    "SegmentFilter",
    "T",
    "cancel_aggregates_job",
    "canonical_id",
    "get_action_target",
    "get_aggregates_job",
    "iter_aggregates_job_results",
    "list_action_targets",
    "list_customer_segments",
    "list_external_contact_segments",
    "list_segments",
    "list_session_segments",
    "lookup_contact",
    "query_aggregates",
    "submit_aggregates_job",
    "update_action_target",
    "update_external_contact_segments",
]


def get_action_target(action_target_id: str) -> Call[Entity]:
    """Retrieve one action target (getJourneyActiontarget)."""
    endpoint = endpoints.GET_ACTION_TARGET
    return whole(Request(endpoint, endpoint.path_for(action_target_id=action_target_id)))


def list_action_targets(page_size: int = 25) -> Call[Page]:
    """Retrieve all action targets, ``page_size`` a page (getJourneyActiontargets)."""
    endpoint = endpoints.LIST_ACTION_TARGETS
    return numbered(endpoint, endpoint.path_for(), checked_size(endpoint, page_size, 200))


def update_action_target(
    action_target_id: str, *, name: str | None = None, service_level: Mapping[str, Any] | None = None
) -> Call[Entity]:
    """Change an action target's name or service level (patchJourneyActiontarget)."""
    endpoint = endpoints.UPDATE_ACTION_TARGET
    body: Entity = {}
    if name is not None:
        body["name"] = name
    if service_level is not None:
        if not isinstance(service_level, Mapping):
            raise InvalidRequestError(f"{endpoint.operation_id}: service_level is no {service_level!r}.")
        body["serviceLevel"] = dict(service_level)
    if not body:
        raise InvalidRequestError(f"{endpoint.operation_id}: nothing to change: give name or service_level.")
    path = endpoint.path_for(action_target_id=action_target_id)
    return whole(Request(endpoint, path, content=to_json(endpoint, body)))


def list_segments(page_size: int = 100) -> Call[Page]:
    """Retrieve the organisation's segments, ``page_size`` (1 to 200) a page (getJourneySegments)."""
    endpoint = endpoints.LIST_SEGMENTS
    return numbered(endpoint, endpoint.path_for(), checked_size(endpoint, page_size, 200))
