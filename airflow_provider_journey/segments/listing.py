"""The segments of a plan, looked up in the organisation's list of segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.endpoints import LIST_SEGMENTS
from airflow_provider_journey.api.errors import (
    NotFoundError,
    PermissionDeniedError,
    UnsupportedOperationError,
)
from airflow_provider_journey.segments.errors import SegmentSyncError
from airflow_provider_journey.segments.summary import PlanSummary

_PAGE = 200
_NOT_TOLD = (NotFoundError, PermissionDeniedError, UnsupportedOperationError)


async def find_inactive(
    client: JourneyAsyncClient, segment_ids: Sequence[str], report: Callable[[str], None]
) -> dict[str, str]:
    """Return those of the segments that are not active, and their names (getJourneySegments).

    Where the surface has no list of segments nothing is asked; where this client may not see it, that is
    reported, and nothing is checked.

    :param report: called with a line for the log.
    :raises SegmentSyncError: the organisation has not got some of the segments; the message names them.
    """
    if client.segments_api not in LIST_SEGMENTS.served_by:
        return {}
    wanted = set(segment_ids)
    found: dict[str, str] = {}
    inactive: dict[str, str] = {}
    try:
        async for segment in client.iterate(operations.list_segments(_PAGE)):
            name = str(segment.get("displayName") or "")
            if (segment_id := segment.get("id")) in wanted:
                found[segment_id] = name
                if segment.get("isActive") is False:
                    inactive[segment_id] = name
    except _NOT_TOLD as error:
        report(f"The segments' ids are not checked: {error}")
        return {}
    if missing := sorted(wanted - found.keys()):
        raise SegmentSyncError(
            f"The organisation has no segment {', '.join(missing)}. Nothing was sent: correct segment_ids."
        )
    return inactive


def check_active(summary: PlanSummary, inactive: Mapping[str, str]) -> None:
    """Refuse a plan that assigns a segment which is not active; taking such a one away is tried.

    :param inactive: the names of the segments that are not active, by id.
    :raises SegmentSyncError: the message names them.
    """
    refused = [
        f"{segment_id} ({name})"
        for segment_id, name in sorted(inactive.items())
        if summary.segments[segment_id]["assign"] or summary.segments[segment_id]["renew"]
    ]
    if refused:
        raise SegmentSyncError(
            f"The plan assigns segments that are not active: {', '.join(refused)}. Nothing was sent: "
            "activate them, or leave them out of segment_ids."
        )
