"""The metrics and dimensions known today, to help with typing errors; the service decides what exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_WEB_ACTION_EVENTS = (
    "Qualified",
    "Offered",
    "Accepted",
    "Rejected",
    "Ignored",
    "Timedout",
    "Started",
    "Engaged",
    "Abandoned",
    "Errored",
    "QualifiedOutsideSchedule",
    "OfferedOutsideSchedule",
    "FrequencyCapReached",
)

METRICS = frozenset(
    {
        "nJourneySessions",
        "nJourneySegmentsAssigned",
        "nJourneyOutcomesAchieved",
        "nJourneyOutcomesAttributed",
        "nJourneyActionsBlocked",
        "nDistinctJourneyActions",
        "nDistinctJourneySessions",
        "oJourneyOutcomeValue",
        "oJourneyOutcomeTouchpointValue",
        *(f"nWebActions{event}" for event in _WEB_ACTION_EVENTS),
    }
)

DIMENSIONS = frozenset(
    {
        "journeyActionId",
        "journeyActionMapId",
        "journeyActionMapVersion",
        "journeyActionMediaType",
        "journeyActionTargetId",
        "journeyActionTemplateId",
        "journeyBlockingActionMapId",
        "journeyBlockingEmergencyScheduleGroupId",
        "journeyBlockingReason",
        "journeyBlockingScheduleGroupId",
        "journeyCustomerId",
        "journeyCustomerIdType",
        "journeyDeviceCategory",
        "journeyDeviceType",
        "journeyFrequencyCapReason",
        "journeyIpGeolocationCountry",
        "journeyOutcomeId",
        "journeySegmentAssignmentState",
        "journeySegmentId",
        "journeySegmentScope",
        "journeySessionId",
        "journeySessionSegmentId",
        "journeySessionType",
        *(
            f"touchpoint{part}"
            for part in (
                "ActionMapId",
                "AgentId",
                "AttributionScope",
                "ChannelMessageType",
                "ChannelPlatform",
                "ChannelType",
                "ConversationId",
                "InteractionType",
                "QueueId",
                "RequestedRouting",
                "UsedRouting",
                "WrapupCode",
            )
        ),
        *(
            f"{comparison}Condition"
            for comparison in (
                "containsAll",
                "containsAny",
                "endsWith",
                "equal",
                "notContainsAll",
                "notContainsAny",
                "notEqual",
                "startsWith",
            )
        ),
    }
)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or nothing.

    :param name: what was written.
    :param known: the names there are.
    :return: a sentence with a leading space, empty where nothing is close.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
