"""The official SDK 269 against the emulator: an outside judge of today's surface."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_journey.emulator.options import ClientSpec

SCRIPTS = [Path(__file__).with_name(name) for name in ("sdk269.py", "sdk269_jobs.py")]
REQUIREMENTS = ["purecloudplatformclientv2==269.0.0"]
OPERATIONS = {
    "getExternalcontactsContactJourneySegments",
    "postExternalcontactsContactJourneySegments",
    "getJourneyActiontarget",
    "getJourneyActiontargets",
    "getJourneySegments",
    "getJourneySession",
    "deleteAnalyticsJourneysAggregatesJob",
    "getAnalyticsJourneysAggregatesJob",
    "getAnalyticsJourneysAggregatesJobResults",
    "postAnalyticsJourneysAggregatesJobs",
    "postAnalyticsJourneysAggregatesQuery",
    "postExternalcontactsIdentifierlookupContacts",
}


def test_the_official_sdk_performs_every_operation_of_today(start_journey_emulator, official_sdk):
    few = ClientSpec("few", "secret", ("journey:actiontarget:view",))
    emulator = start_journey_emulator(events=30_000, clients=(few,), surface="externalcontacts")
    for script in SCRIPTS:
        official_sdk(script, REQUIREMENTS, emulator.base_url)
    served = {
        operation for operation, statuses in emulator.calls().items() if {"200", "204"} & statuses.keys()
    }
    assert served == OPERATIONS | {"token"}
