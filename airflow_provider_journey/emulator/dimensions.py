"""The dimensions: SQL over the event table for every name of genesys-cloud.md section 6.

An expression is null where a dimension says nothing about an event; that key is then missing in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_journey.emulator.catalogue import Catalogue
from airflow_provider_journey.emulator.identity import make_id, sql_id
from airflow_provider_journey.emulator.metrics import CODE

MULTIVALUED = frozenset({"journeySessionSegmentId"})
_NEVER_SET = (
    "containsAllCondition",
    "containsAnyCondition",
    "endsWithCondition",
    "equalCondition",
    "notContainsAllCondition",
    "notContainsAnyCondition",
    "notEqualCondition",
    "startsWithCondition",
)
_COUNTRIES = ("DE", "GB", "US", "FR", "NL", "PL", "ES")


def dimensions(catalogue: Catalogue) -> dict[str, str]:
    """Give every dimension as SQL.

    :param catalogue: the ids that events point at.
    :returns: an expression by dimension name; VARCHAR, or VARCHAR[] for those in :data:`MULTIVALUED`.
    """
    known = dict.fromkeys(_NEVER_SET, "NULL::VARCHAR")
    return known | _visit(catalogue) | _actions(catalogue) | _segments(catalogue) | _touchpoints(catalogue)


def _visit(catalogue: Catalogue) -> dict[str, str]:
    seed = catalogue.seed
    cookie = make_id(seed, "cookie")[:-12]
    kind = "(s >> 56) % 3"
    return {
        "journeySessionId": sql_id(f"{seed}:session", "contact"),
        "journeySessionType": _pick(["web", "web", "web", "mobileapp"], "s >> 33"),
        "journeyDeviceCategory": _pick(["desktop", "mobile", "tablet"], "s >> 37"),
        "journeyDeviceType": _pick(["windows", "mac", "linux", "android", "ios"], "s >> 41"),
        "journeyIpGeolocationCountry": _pick([*_COUNTRIES, None], "s >> 45"),
        "journeyCustomerIdType": _pick(["email", "phone", "cookie"], "s >> 56"),
        "journeyCustomerId": f"CASE {kind} WHEN 0 THEN concat('customer', contact, '@example.com') "
        f"WHEN 1 THEN concat('+1555', lpad(contact::VARCHAR, 7, '0')) "
        f"ELSE concat('{cookie}', lpad(printf('%x', contact::BIGINT), 12, '0')) END",
    }


def _actions(catalogue: Catalogue) -> dict[str, str]:
    media = ["webchat", "webMessagingOffer", "contentOffer", "architectFlow"]
    blocked, capped = (CODE[name] for name in ("nJourneyActionsBlocked", "nWebActionsFrequencyCapReached"))
    groups = catalogue.schedule_groups
    return {
        "journeyActionId": f"CASE WHEN act IS NOT NULL THEN {sql_id(f'{catalogue.seed}:action', 'act')} END",
        "journeyActionMapId": _pick(catalogue.action_maps, "map"),
        "journeyActionMapVersion": _pick(["1", "2", "3"], "map"),
        "journeyActionMediaType": _pick(media, "map"),
        "journeyActionTargetId": _when(
            "map % 4 < 2", _pick(catalogue.action_targets, "s >> 43"), "act IS NOT NULL"
        ),
        "journeyActionTemplateId": _when("map % 4 = 2", _pick(catalogue.action_templates, "map")),
        "journeyBlockingActionMapId": _when(f"m = {blocked}", _pick(catalogue.action_maps, "h >> 9")),
        "journeyBlockingEmergencyScheduleGroupId": _when(
            f"m = {blocked} AND h % 5 = 0", _pick(groups, "h >> 11")
        ),
        "journeyBlockingReason": _when(
            f"m = {blocked}", _pick(["ActionMapLimit", "OutsideSchedule", "EmergencyGroup"], "h >> 13")
        ),
        "journeyBlockingScheduleGroupId": _when(f"m = {blocked} AND h % 5 = 1", _pick(groups, "h >> 15")),
        "journeyFrequencyCapReason": _when(f"m = {capped}", _pick(["PerSession", "PerDay"], "h >> 17")),
    }


def _segments(catalogue: Catalogue) -> dict[str, str]:
    assigned = f"m = {CODE['nJourneySegmentsAssigned']}"
    every = catalogue.segment_ids("Customer") + catalogue.segment_ids("Session")
    a, b, c = catalogue.segment_ids("Session")[:3]
    lists = ", ".join(_list(ids) for ids in ([], [a], [b], [a, b], [c], [a, b, c], [b, c]))
    outcome = f"m IN ({CODE['nJourneyOutcomesAchieved']}, {CODE['nJourneyOutcomesAttributed']})"
    is_session = f"(h >> 5) % {len(every)} >= {len(catalogue.segment_ids('Customer'))}"
    return {
        "journeySegmentId": _when(assigned, _pick(every, "h >> 5")),
        "journeySegmentScope": _when(assigned, f"CASE WHEN {is_session} THEN 'Session' ELSE 'Customer' END"),
        "journeySegmentAssignmentState": _when(assigned, "'Assigned'"),
        "journeySessionSegmentId": f"([{lists}])[(1 + (s >> 47) % 7)::BIGINT]",
        "journeyOutcomeId": _when(outcome, _pick(catalogue.outcomes, "s >> 49")),
    }


def _touchpoints(catalogue: Catalogue) -> dict[str, str]:
    values: dict[str, Sequence[str | None]] = {
        "ActionMapId": catalogue.action_maps,
        "AgentId": catalogue.agents,
        "AttributionScope": ["touchpoint", "session"],
        "ChannelMessageType": ["web", "sms", None],
        "ChannelPlatform": ["web", "mobile"],
        "ChannelType": ["chat", "message", "voice"],
        "InteractionType": ["agent", "bot"],
        "QueueId": catalogue.queues,
        "RequestedRouting": ["standard", "bullseye"],
        "UsedRouting": ["standard", "bullseye", "predictive"],
        "WrapupCode": catalogue.wrapup_codes,
    }
    attributed = f"m = {CODE['nJourneyOutcomesAttributed']}"
    columns = {
        f"touchpoint{n}": _when(attributed, _pick(v, f"h >> {19 + k}"))
        for k, (n, v) in enumerate(values.items())
    }
    conversation = sql_id(f"{catalogue.seed}:conversation", "day", "h")
    return columns | {"touchpointConversationId": _when(attributed, conversation)}


def _pick(values: Sequence[str | None], bits: str) -> str:
    return f"({_list(values)})[(1 + ({bits}) % {len(values)})::BIGINT]"


def _list(values: Sequence[str | None]) -> str:
    literals = ", ".join("NULL" if value is None else f"'{value}'" for value in values)
    return f"[{literals}]::VARCHAR[]"


def _when(condition: str, expression: str, also: str = "true") -> str:
    return f"CASE WHEN {condition} AND {also} THEN {expression} END"
