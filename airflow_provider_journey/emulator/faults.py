"""Which call goes wrong, and how: by a script first, by chance after that."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_STATUSES = frozenset(
    {"400", "404", "500", "501", "502", "503", "504", "408", "413", "401", "403", "too-large"}
)
THROTTLES = frozenset({"429", "429-date", "429-no-header"})
_GATEWAYS = frozenset({"502-html", "504-empty"})
BEFORE = _STATUSES | THROTTLES | _GATEWAYS | {"reset-before"}
AFTER = frozenset({"reset-after", "truncated", "cut-json", "non-json", "wrong-shape", "empty-body"})
TOKEN = frozenset({"token-rate-limit", "token-401", "token-html", "token-garbage", "token-no-expiry"})
_UPDATE = "postExternalcontactsContactJourneySegments"
_JOB = "getAnalyticsJourneysAggregatesJob"
# What an operation's handler brings about itself, and the operations that can.
OWN = {
    "unprocessed": frozenset({_UPDATE}),
    "job-failed": frozenset({"postAnalyticsJourneysAggregatesJobs"}),
    "job-cancelled": frozenset({_JOB, f"{_JOB}Results"}),
    "job-expired": frozenset({_JOB, f"{_JOB}Results"}),
    "cursor-expired": frozenset({f"{_JOB}Results"}),
}
NAMES = BEFORE | AFTER | TOKEN | {"slow", *OWN}


@dataclass
class Fault:
    """A fault that is to happen.

    :param name: one of :data:`NAMES`.
    :param operation: the operation it waits for; None: any but the token endpoint.
    :param times: how many calls it hits.
    :param after: how many matching calls it lets pass first.
    :param retry_after: seconds that a 429 or 503 asks to wait.
    :param seconds: how long ``slow`` holds an answer back.
    :param items: the share of an update's items that ``unprocessed`` leaves undone, rounded up.
    """

    name: str
    operation: str | None = None
    times: int = 1
    after: int = 0
    retry_after: int | None = None
    seconds: float = 2.0
    items: float = 0.5

    def __post_init__(self) -> None:
        _check(self.name)
        if self.name in TOKEN:
            self.operation = "token"

    def meets(self, operation: str) -> bool:
        """Say whether the fault is meant for an operation."""
        if self.name in OWN and operation not in OWN[self.name]:
            return False
        return operation == self.operation or (self.operation is None and operation != "token")


class FaultPlan:
    """Chooses the fault of each call.

    :param shares: share of calls (0 to 1) by fault name.
    :param seed: what chance follows from.
    """

    def __init__(self, shares: Mapping[str, float], seed: int) -> None:
        self._random = random.Random(f"{seed}:faults")  # noqa: S311 - chance that repeats is the point
        self._script: list[Fault] = []
        self.shares: dict[str, float] = {}
        self.set_shares(shares)

    def set_shares(self, shares: Mapping[str, Any]) -> None:
        """Replace the shares.

        :param shares: share by fault name.
        :raises ValueError: for an unknown name, or a share outside 0 to 1.
        """
        for name, share in shares.items():
            _check(name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ValueError(f"the share of {name} must lie between 0 and 1, not {share!r}")
        self.shares = dict(shares)

    def add_script(self, items: list[dict[str, Any]]) -> None:
        """Append to the script.

        :param items: the fields of :class:`Fault`, its name under ``fault``.
        :raises ValueError: for an unknown fault.
        :raises TypeError: for an unknown field.
        """
        faults = [
            Fault(str(item.get("fault")), **{k: v for k, v in item.items() if k != "fault"}) for item in items
        ]
        self._script.extend(faults)

    def clear_script(self) -> None:
        """Forget what the script still holds."""
        self._script.clear()

    def next(self, operation: str) -> Fault | None:
        """Choose what happens to a call.

        :param operation: its operation id, or ``token``.
        :returns: the fault, or None.
        """
        scripted = next((fault for fault in self._script if fault.meets(operation)), None)
        if scripted is not None:
            return self._consume(scripted)
        return self._by_chance(operation) if self.shares else None

    def choose(self, items: list[_T], share: float) -> set[_T]:
        """Choose a share of items by chance, rounded up; a share of 0 chooses none."""
        return set(self._random.sample(items, math.ceil(min(share, 1.0) * len(items))))

    def _consume(self, fault: Fault) -> Fault | None:
        if fault.after > 0:
            fault.after -= 1
            return None
        fault.times -= 1
        if fault.times <= 0:
            self._script.remove(fault)
        return fault

    def _by_chance(self, operation: str) -> Fault | None:
        dice = self._random.random()
        for name, share in self.shares.items():
            if (name in TOKEN) != (operation == "token") or operation not in OWN.get(name, {operation}):
                continue
            if dice < share:
                return Fault(name)
            dice -= share
        return None


def _check(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"{name!r} is no fault; there are {', '.join(sorted(NAMES))}")
