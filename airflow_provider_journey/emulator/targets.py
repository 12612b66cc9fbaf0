"""Action targets: the one thing of the contract that is configured through the API."""

from __future__ import annotations

from typing import Any

from airflow_provider_journey.emulator.catalogue import Catalogue
from airflow_provider_journey.emulator.clock import Clock, format_ms
from airflow_provider_journey.emulator.errors import bad_request, not_found
from airflow_provider_journey.emulator.identity import number

PATH = "/api/v2/journey/actiontargets"
_CREATED_MS = 1_577_836_800_000
_MEDIA = (["webchat"], ["webMessagingOffer"], ["webchat", "webMessagingOffer"])


class ActionTargets:
    """The organisation's action targets, as the documents that the service answers.

    :param catalogue: where the ids come from.
    :param clock: the emulator's clock.
    """

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._clock = clock
        self._seed = catalogue.seed
        self.items = {name: self._make(k, name) for k, name in enumerate(catalogue.action_targets)}

    def get(self, target_id: str) -> dict[str, Any]:
        """Give one action target.

        :param target_id: its id.
        :returns: its document.
        :raises ServiceError: 404.
        """
        if target_id not in self.items:
            raise not_found("actionTarget", target_id)
        return self.items[target_id]

    def patch(self, target_id: str, change: Any) -> dict[str, Any]:
        """Change name or service level.

        :param target_id: the target's id.
        :param change: the request's body.
        :returns: the changed document.
        :raises ServiceError: 404, or 400 for a value that cannot be.
        """
        target = self.get(target_id)
        if not isinstance(change, dict):
            raise bad_request("The request body must be an object.")
        name, level = change.get("name"), change.get("serviceLevel")
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise bad_request("The name must be a text that is not blank.", "name", "invalid.value")
        if level is not None:
            target["serviceLevel"] = _service_level(level)
        if name is not None:
            target["name"] = name
        target["modifiedDate"] = format_ms(self._clock.ms())
        return target

    def _make(self, k: int, target_id: str) -> dict[str, Any]:
        created = format_ms(_CREATED_MS + number(self._seed, "created", k) % 200_000_000_000)
        return {
            "id": target_id,
            "name": f"Queue {k + 1}",
            "userData": [{"key": "team", "value": f"team-{k % 4}"}],
            "supportedMediaTypes": _MEDIA[k % 3],
            "state": "inactive" if k % 10 == 9 else "active",
            "description": f"Sends visitors to queue {k + 1}",
            "serviceLevel": {"percentage": 0.8, "durationMs": 20_000},
            "selfUri": f"{PATH}/{target_id}",
            "createdDate": created,
            "modifiedDate": created,
        }


def _service_level(level: Any) -> dict[str, Any]:
    if not isinstance(level, dict):
        raise bad_request("The service level must be an object.", "serviceLevel", "invalid.value")
    share, duration = level.get("percentage"), level.get("durationMs")
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise bad_request(
            "The percentage must lie between 0 and 1.", "serviceLevel.percentage", "invalid.value"
        )
    if isinstance(duration, bool) or not isinstance(duration, int) or duration < 0:
        message = "The duration must be a number of milliseconds."
        raise bad_request(message, "serviceLevel.durationMs", "invalid.value")
    return {"percentage": share, "durationMs": duration}
