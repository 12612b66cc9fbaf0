"""The aggregates query of the contract, and today's jobs (genesys-cloud.md section 6)."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.operation import Call, Operation

_BASE = "/api/v2/analytics/journeys/aggregates"
_VIEW = ("analytics:journeyAggregate:view",)


def operations(emulator: Emulator) -> list[Operation]:
    """List what this module serves.

    :param emulator: the state.
    :returns: the operations.
    """
    jobs = emulator.jobs

    async def query(call: Call) -> Any:
        return await emulator.aggregates.answer(call.json())

    async def submit(call: Call) -> Any:
        return jobs.submit(call.json(), call.fault)

    async def status(call: Call) -> Any:
        return await jobs.status(call.params["jobId"], call.fault)

    async def results(call: Call) -> Any:
        return await jobs.results(call.params["jobId"], call.query.get("cursor"), call.fault)

    async def cancel(call: Call) -> Any:
        jobs.cancel(call.params["jobId"])

    one = _BASE + "/jobs/{jobId}"
    return [
        Operation("postAnalyticsJourneysAggregatesQuery", "POST", f"{_BASE}/query", _VIEW, query),
        Operation("postAnalyticsJourneysAggregatesJobs", "POST", f"{_BASE}/jobs", _VIEW, submit),
        Operation("getAnalyticsJourneysAggregatesJob", "GET", one, _VIEW, status),
        Operation("getAnalyticsJourneysAggregatesJobResults", "GET", f"{one}/results", _VIEW, results),
        Operation("deleteAnalyticsJourneysAggregatesJob", "DELETE", one, _VIEW, cancel),
    ]
