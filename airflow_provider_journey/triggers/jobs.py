"""Waiting for asynchronous aggregate jobs in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_journey.aggregates.jobs import Submitted
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.triggers.outcome import DONE, Outcome
from airflow_provider_journey.triggers.polling import PollingTrigger
from airflow_provider_journey.triggers.sharing import sharing

if TYPE_CHECKING:
    from airflow_provider_journey.api.operations import Call, Entity


class AggregateJobsTrigger(PollingTrigger):
    """Waits until jobs have ended, one way or another; the task that resumes looks how.

    When a user ends the deferred task (marks it as failed or successful, clears it), the jobs are cancelled;
    from Airflow 3.3 on, which tells triggers of it. A triggerer that stops leaves them alone.

    :param submitted: the jobs, as :meth:`Submitted.to_dict` returns them; with the requests sent since, it is
        the result of every event. Where it names no deadline, the trigger's own is theirs.
    :param polling: as for :class:`~airflow_provider_journey.triggers.polling.PollingTrigger`.
    """

    def __init__(self, *, submitted: Mapping[str, Any], **polling: Any) -> None:
        super().__init__(**polling)
        self.submitted = dict(submitted)
        found = Submitted.from_dict(submitted)
        self._waiting = [job_id for _, job_id in found.parts()] if found else []
        self._calls = 0

    def arguments(self) -> dict[str, Any]:
        """Return the jobs."""
        return {"submitted": self.submitted}

    def next_call(self, segments_api: str) -> Call[Entity]:
        """Return the request for the state of the first job that has not ended."""
        self._calls += 1
        return operations.get_aggregates_job(self._waiting[0])

    def heard(self, answer: Entity) -> Outcome | None:
        """Take in a job's state."""
        self.log.info("Job %s is %s.", self._waiting[0], answer["state"])
        if answer["state"] in operations.FINAL_STATES:
            self._waiting.pop(0)
        return None if self._waiting else Outcome(DONE, "The jobs have ended.")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire how it ended."""
        async for event in super().run():
            calls = self.submitted.get("calls", 0) + self._calls
            result = {"deadline": self.deadline, **self.submitted, "calls": calls}
            yield TriggerEvent({**event.payload, "result": result})

    async def on_kill(self) -> None:
        """Cancel the jobs: a user has ended the task."""
        found = Submitted.from_dict(self.submitted)
        async with sharing(self.journey_conn_id, self.clock) as connection:
            client = await connection.client()
            for job_id in found.jobs.values() if found else ():
                try:
                    await client.run(operations.cancel_aggregates_job(job_id))
                except JourneyError as error:
                    self.log.warning("Job %s was not cancelled: %s", job_id, error)
                else:
                    self.log.info("Job %s is cancelled.", job_id)
