"""The action target operations (genesys-cloud.md section 1); today's service only reads them."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.operation import Call, Operation
from airflow_provider_journey.emulator.paging import by_number
from airflow_provider_journey.emulator.targets import PATH


def operations(emulator: Emulator) -> list[Operation]:
    """List what this module serves.

    :param emulator: the state.
    :returns: the operations.
    """
    targets = emulator.targets
    view, edit = ("journey:actiontarget:view",), ("journey:actiontarget:edit",)

    async def get(call: Call) -> Any:
        return targets.get(call.params["actionTargetId"])

    async def listing(call: Call) -> Any:
        return by_number(PATH, call.query, list(targets.items.values()))

    async def patch(call: Call) -> Any:
        return targets.patch(call.params["actionTargetId"], call.json())

    one = PATH + "/{actionTargetId}"
    reads = [
        Operation("getJourneyActiontarget", "GET", one, view, get),
        Operation("getJourneyActiontargets", "GET", PATH, view, listing),
    ]
    if emulator.options.surface == "externalcontacts":
        return reads
    return [*reads, Operation("patchJourneyActiontarget", "PATCH", one, edit, patch)]
