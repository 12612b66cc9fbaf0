"""Operators that list action targets and change them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.operators.failing import failing_for_good

if TYPE_CHECKING:
    from airflow.sdk import Context

STATES = ("active", "inactive", "deleted")


class JourneyActionTargetListOperator(BaseOperator):
    """List the organisation's action targets (getJourneyActiontargets) and return them, for XCom.

    Each is a dict with the service's own keys: ``id, name, state, serviceLevel {percentage, durationMs},
    supportedMediaTypes, …``.

    :param state: only targets that are ``active``, ``inactive`` or ``deleted``; ``None``: all.
    :param page_size: targets a request, 1 to 200.
    :param journey_conn_id: id of the connection; templated.
    :raises InvalidRequestError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("journey_conn_id",)

    def __init__(
        self,
        *,
        state: str | None = None,
        page_size: int = 200,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.state = state
        self.page_size = page_size
        self.journey_conn_id = journey_conn_id
        if state not in (None, *STATES):
            raise InvalidRequestError(f"state is one of {', '.join(STATES)}, not {state!r}.")
        operations.list_action_targets(page_size)  # refuses a size that cannot be

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List and return them.

        :raises AirflowFailException: for what another try cannot heal: credentials, permission.
        :raises JourneyError: for what it may.
        """
        from airflow_provider_journey.hooks.journey import JourneyHook

        with failing_for_good(), JourneyHook(self.journey_conn_id) as hook:
            found = [
                target
                for target in hook.list_action_targets(self.page_size)
                if self.state is None or target.get("state") == self.state
            ]
        self.log.info("%d action targets", len(found))
        return found


class JourneyActionTargetUpdateOperator(BaseOperator):
    """Give an action target a name or a service level, unless it has it (patchJourneyActiontarget).

    It is read first (getJourneyActiontarget), and changed only where that changes something, so that it can
    run every hour and be tried again. Returns the target as it is then.

    :param action_target_id: the target; templated.
    :param name: its name; ``None``: as it is; templated.
    :param service_level: ``{"percentage": 0..1, "durationMs": milliseconds}``, what it lacks stays as it is;
        ``None``: as it is; templated.
    :param journey_conn_id: id of the connection; templated.
    :raises InvalidRequestError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = ("action_target_id", "name", "service_level", "journey_conn_id")

    def __init__(
        self,
        *,
        action_target_id: str,
        name: str | None = None,
        service_level: Mapping[str, Any] | None = None,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action_target_id = action_target_id
        self.name = name
        self.service_level = service_level
        self.journey_conn_id = journey_conn_id
        self._level()

    def execute(self, context: Context) -> dict[str, Any]:
        """Read it, and change what is to be changed.

        :raises AirflowFailException: for what another try cannot heal: a target that is not there, a value
            that cannot be, credentials, permission, an organisation whose targets cannot be changed.
        :raises JourneyError: for what it may.
        """
        from airflow_provider_journey.hooks.journey import JourneyHook

        with failing_for_good():
            fields = {name: getattr(self, name) for name in self.template_fields}
            for leftover in leftover_templates(fields, "operator"):
                raise InvalidRequestError(f"{leftover} still holds a template after rendering.")
            level = self._level()
            with JourneyHook(self.journey_conn_id) as hook:
                target = hook.get_action_target(self.action_target_id)
                changes = _changes(target, self.name, level)
                if not changes:
                    self.log.info("Action target %s is already as it is to be.", self.action_target_id)
                    return target
                self.log.info("Action target %s: %s", self.action_target_id, changes)
                return hook.update_action_target(self.action_target_id, **changes)

    def _level(self) -> dict[str, float]:
        """Return the service level's numbers, having checked what is to be changed."""
        if self.name is None and self.service_level is None:
            raise InvalidRequestError("There is nothing to change: give name or service_level.")
        if self.name is not None and not is_rendered_later(self.name):
            _check_name(self.name)
        return _numbers(self.service_level)


def _changes(target: Mapping[str, Any], name: str | None, level: Mapping[str, float]) -> dict[str, Any]:
    """Return what of ``name`` and ``level`` the target has not, as the hook's arguments."""
    changes: dict[str, Any] = {}
    if name is not None and name != target.get("name"):
        changes["name"] = name
    has = {key: value for key, value in (target.get("serviceLevel") or {}).items() if value is not None}
    if any(key not in has or not math.isclose(has[key], value) for key, value in level.items()):
        changes["service_level"] = {**has, **level}
    return changes


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequestError(f"name is a text that is not blank, not {name!r}.")


def _numbers(level: Mapping[str, Any] | None) -> dict[str, float]:
    """Return a service level's numbers; what is rendered later is left out, and what was rendered is text.

    :raises InvalidRequestError: it is no service level.
    """
    found: dict[str, float] = {}
    if level is None or is_rendered_later(level):
        return found
    if not isinstance(level, Mapping) or not level or level.keys() - {"percentage", "durationMs"}:
        raise InvalidRequestError(
            f"service_level holds percentage and durationMs, or one of them: {level!r}."
        )
    for key, value in level.items():
        if is_rendered_later(value):
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if key == "percentage" and not 0 <= number <= 1:
            raise InvalidRequestError(f"service_level's percentage lies between 0 and 1, unlike {value!r}.")
        if key == "durationMs" and not (number > 0 and number.is_integer()):
            raise InvalidRequestError(f"service_level's durationMs are whole milliseconds, not {value!r}.")
        found[key] = int(number) if key == "durationMs" else number
    return found
