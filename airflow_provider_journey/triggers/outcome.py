"""How a wait in the triggerer ended: written by a trigger, read and checked by the task that resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DONE = "done"
TIMEOUT = "timeout"
FAILED = "failed"
# Seconds by which Airflow's own time-out of a deferral is to be later than the trigger's, which knows what it
# waited for.
GRACE = 60.0
_STATUSES = (DONE, TIMEOUT, FAILED)


@dataclass(frozen=True)
class Outcome:
    """The payload of a trigger's only event.

    :param status: ``done``: what was waited for has come; ``timeout``: it has not; ``failed``: it cannot.
    :param message: what is to be said of it, in words for the person on call.
    :param result: what has come, as JSON.
    """

    status: str
    message: str
    result: Any = None

    def to_event(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)

    @classmethod
    def from_event(cls, event: Any) -> Outcome:
        """Read the event that a deferred task was resumed with.

        :raises ValueError: it is none that a trigger of this provider sends.
        """
        if not isinstance(event, Mapping) or event.keys() != {"status", "message", "result"}:
            raise ValueError(f"A deferred wait ended with an event of another shape: {event!r}")
        if event["status"] not in _STATUSES or not isinstance(event["message"], str):
            raise ValueError(f"A deferred wait ended with an event that means nothing: {event!r}")
        return cls(**event)
