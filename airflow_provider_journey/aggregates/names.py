"""The metrics and dimensions known today, to help with typing errors; the service decides what exists."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable, Set
from types import FrameType

# Whose frames lie between a DAG's line and a warning about it.
_OURS = ("airflow", __name__.partition(".")[0])
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


class UnknownNameWarning(UserWarning):
    """A metric or dimension that this release does not know; the service may know it all the same."""


def warn_of_unknown(field: str, name: str, known: Set[str]) -> None:
    """Draw :class:`UnknownNameWarning` for a name that is not ``known``, at the line that made the query."""
    if name in known:
        return
    frame: FrameType | None = sys._getframe()
    level = 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    message = f"{field}: {name!r} is not known to this release.{did_you_mean(name, known)}"
    warnings.warn(message, UnknownNameWarning, stacklevel=level)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or nothing.

    :param name: what was written.
    :param known: the names there are.
    :return: a sentence with a leading space, empty where nothing is close.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
