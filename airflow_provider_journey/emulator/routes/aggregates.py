"""The aggregates query of the contract (genesys-cloud.md section 6)."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.operation import Call, Operation

PATH = "/api/v2/analytics/journeys/aggregates/query"


def operations(emulator: Emulator) -> list[Operation]:
    """List what this module serves.

    :param emulator: the state.
    :returns: the operations.
    """

    async def query(call: Call) -> Any:
        return await emulator.aggregates.answer(call.json())

    view = ("analytics:journeyAggregate:view",)
    return [Operation("postAnalyticsJourneysAggregatesQuery", "POST", PATH, view, query)]
