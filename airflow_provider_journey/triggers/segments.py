"""Waiting for segment assignments in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.membership import Holder, Look, Membership
from airflow_provider_journey.triggers.outcome import DONE, Outcome
from airflow_provider_journey.triggers.polling import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_journey.api.operations import Call, Page


class SegmentAssignmentTrigger(PollingTrigger):
    """Waits until somebody holds segments, or holds them no more.

    Where a listing has several pages it takes as many intervals to read it.

    :param holder: the fields of :class:`~airflow_provider_journey.segments.membership.Holder`.
    :param segment_ids: the segments.
    :param state: ``Assigned`` or ``Unassigned``.
    :param match: ``all`` or ``any`` of the segments.
    :param polling: as for :class:`~airflow_provider_journey.triggers.polling.PollingTrigger`.
    """

    def __init__(
        self,
        *,
        holder: Mapping[str, str | None],
        segment_ids: Sequence[str],
        state: str = "Assigned",
        match: str = "all",
        **polling: Any,
    ) -> None:
        super().__init__(**polling)
        self.holder = dict(holder)
        self.segment_ids = list(segment_ids)
        self.state = state
        self.match = match
        self._look = Look(Holder(**self.holder))
        self._wanted = Membership(self.segment_ids, state, match)

    def arguments(self) -> dict[str, Any]:
        """Return whom and what it waits for."""
        return {
            "holder": self.holder,
            "segment_ids": self.segment_ids,
            "state": self.state,
            "match": self.match,
        }

    def next_call(self, segments_api: str) -> Call[Page]:
        """Return the request for the next page of what is assigned."""
        return self._look.next_call(segments_api)

    def heard(self, answer: Page) -> Outcome | None:
        """Take in a page."""
        complete = self._look.heard(answer)
        assigned = self._look.assigned
        if not complete and not self._wanted.is_settled(assigned):
            return None
        self._look.end()
        if not self._wanted.is_met(assigned):
            return None
        return Outcome(DONE, "The segments are as they have to be.", self._wanted.held(assigned))

    def begin_anew(self) -> bool:
        """Begin with the first page again."""
        return self._look.end()
