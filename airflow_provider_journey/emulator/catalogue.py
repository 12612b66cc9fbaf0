"""What an organisation has configured: segments, action maps, outcomes and whatever else events point at."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_journey.emulator.identity import make_id

EXPIRY_DAYS = 30
_EMPTY, _ORGANIC, _SESSION = 10, 5, 5


@dataclass(frozen=True)
class Segment:
    """A segment.

    :param id: its id.
    :param name: what people call it.
    :param scope: ``Customer`` or ``Session``.
    :param organic: whether visitors got into it by themselves, before anyone assigned them.
    """

    id: str
    name: str
    scope: str
    organic: bool


class Catalogue:
    """Everything that is configured rather than happening.

    :param seed: what the ids follow from.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.segments = (
            [Segment(self._id("segment", k), f"Audience {k + 1}", "Customer", False) for k in range(_EMPTY)]
            + [Segment(self._id("habit", k), f"Habit {k + 1}", "Customer", True) for k in range(_ORGANIC)]
            + [Segment(self._id("visit", k), f"Visit {k + 1}", "Session", True) for k in range(_SESSION)]
        )
        # Nobody can be assigned to it: it is listed, on today's surface, as no longer active.
        self.retired = Segment(self._id("retired", 0), "Retired", "Customer", False)
        self.external_source = self._id("externalsource", 0)
        self.segment_index = {segment.id: k for k, segment in enumerate(self.segments)}
        self.action_maps = self._ids("actionmap", 12)
        self.action_templates = self._ids("actiontemplate", 5)
        self.outcomes = self._ids("outcome", 6)
        self.schedule_groups = self._ids("schedulegroup", 3)
        self.queues = self._ids("queue", 4)
        self.agents = self._ids("agent", 8)
        self.wrapup_codes = self._ids("wrapupcode", 4)
        self.action_targets = self._ids("actiontarget", 30)

    def segment_ids(self, scope: str) -> list[str]:
        """List the ids of a scope's segments that visitors get into by themselves."""
        return [segment.id for segment in self.segments if segment.scope == scope and segment.organic]

    def _ids(self, kind: str, count: int) -> list[str]:
        return [self._id(kind, k) for k in range(count)]

    def _id(self, kind: str, k: int) -> str:
        return make_id(self.seed, kind, k)
