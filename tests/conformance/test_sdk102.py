"""The official SDK 102 against the emulator: an outside judge of whether the contract is kept."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_journey.emulator.options import ClientSpec

SCRIPT = Path(__file__).with_name("sdk102.py")
REQUIREMENTS = ["purecloudplatformclientv2==102.0.0", "urllib3<2"]
OPERATIONS = {
    "getJourneyActiontarget",
    "getJourneyActiontargets",
    "patchJourneyActiontarget",
    "getJourneyCustomerCustomerIdSegments",
    "getJourneyExternalcontactSegments",
    "getJourneySessionSegments",
    "postJourneyExternalcontactSegments",
    "postAnalyticsJourneysAggregatesQuery",
}


def test_the_official_sdk_performs_all_eight_operations(start_journey_emulator, official_sdk):
    few = ClientSpec("few", "secret", ("journey:actiontarget:view",))
    emulator = start_journey_emulator(events=30_000, clients=(few,), surface="journey")
    official_sdk(SCRIPT, REQUIREMENTS, emulator.base_url)
    served = {
        operation for operation, statuses in emulator.calls().items() if statuses.keys() & {"200", "204"}
    }
    assert served == OPERATIONS | {"token"}
