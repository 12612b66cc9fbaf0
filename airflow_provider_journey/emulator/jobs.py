"""Asynchronous aggregate jobs, whose states go by the emulator's clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from airflow_provider_journey.emulator.aggregates import Aggregates
from airflow_provider_journey.emulator.clock import Clock, format_ms
from airflow_provider_journey.emulator.errors import ServiceError, bad_request, not_found
from airflow_provider_journey.emulator.faults import Fault
from airflow_provider_journey.emulator.paging import decode, encode

_LARGEST_PAGE = 10_000
_FAILED = "The query could not be completed: it ran out of the memory that it is allowed."


@dataclass
class Job:
    """A job that was submitted.

    :param submitted: when, in seconds since 1970.
    :param seconds: how long it is queued and pending.
    :param lifetime: how long its results are kept once they are there, in seconds.
    :param pages: the results; being counted takes no time of the clock's.
    :param ended: the state that it was brought into, whatever the clock says.
    """

    submitted: float
    seconds: float
    lifetime: float
    pages: asyncio.Task[list[bytes]]
    ended: str | None = None

    def state(self, now: float) -> str:
        """Give its state at an instant."""
        if self.ended:
            return self.ended
        passed = now - self.submitted
        if passed < self.seconds / 2:
            return "QUEUED"
        if passed < self.seconds:
            return "PENDING"
        return "FULFILLED" if passed < self.seconds + self.lifetime else "EXPIRED"


class Jobs:
    """The jobs of an organisation.

    :param aggregates: what counts their results.
    :param clock: the emulator's clock.
    """

    def __init__(self, aggregates: Aggregates, clock: Clock) -> None:
        self._aggregates = aggregates
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self.seconds = 0.0
        self.lifetime = 86_400.0
        self.page_size = 1000

    def submit(self, body: Any, fault: Fault | None) -> dict[str, Any]:
        """Take a job on; what is wrong with its query is said at once.

        :param body: a query, and ``pageSize``.
        :param fault: ``job-failed``, or None.
        :returns: its id.
        :raises ServiceError: as the query's operation, and 400 for a page size that cannot be.
        """
        size = body.pop("pageSize", None) if isinstance(body, dict) else None
        size = self.page_size if size is None else size
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _LARGEST_PAGE:
            raise bad_request(f"Invalid value [{size}] for pageSize.", "pageSize", "invalid.value")
        self._aggregates.check(body)
        job_id = str(uuid4())
        pages = asyncio.ensure_future(self._aggregates.pages(body, size))
        self._jobs[job_id] = Job(self._clock.time(), self.seconds, self.lifetime, pages)
        if fault:
            self._jobs[job_id].ended = "FAILED"
        return {"jobId": job_id}

    async def status(self, job_id: str, fault: Fault | None) -> dict[str, Any]:
        """Say how a job stands.

        :param job_id: the job.
        :param fault: ``job-cancelled``, ``job-expired``, or None.
        :returns: its state, error and dates.
        :raises ServiceError: 404 for a job that is not known.
        """
        job = self._found(job_id, fault)
        state = job.state(self._clock.time())
        if state == "FULFILLED":
            await asyncio.shield(job.pages)
        answer = {"state": state, "submissionDate": format_ms(job.submitted * 1000)}
        if state == "FAILED":
            answer["errorMessage"] = _FAILED
        if state not in ("QUEUED", "PENDING"):
            ended = job.submitted + job.seconds
            answer["completionDate"] = format_ms(ended * 1000)
            answer["expirationDate"] = format_ms((ended + job.lifetime) * 1000)
        return answer

    async def results(self, job_id: str, cursor: str | None, fault: Fault | None) -> bytes:
        """Give a page of a job's results.

        :param job_id: the job.
        :param cursor: what the page before gave; None for the first page.
        :param fault: ``job-cancelled``, ``job-expired``, ``cursor-expired``, or None.
        :returns: results, and the cursor of the next page where there is one, as JSON.
        :raises ServiceError: 404 for a job that is not known or whose results are gone, 400 for one that has
            none yet and for a cursor that is none, or no longer.
        """
        job = self._found(job_id, fault)
        state = job.state(self._clock.time())
        if state in ("EXPIRED", "CANCELLED"):
            raise not_found("job", job_id)
        if state != "FULFILLED":
            raise bad_request(f"The job has no results: its state is {state}.")
        if fault and fault.name == "cursor-expired":
            raise ServiceError(400, "invalid.value", "The cursor has expired.")
        pages = await asyncio.shield(job.pages)
        page = decode(cursor, "cursor") if cursor else 0
        if not 0 <= page < len(pages):
            raise bad_request("The cursor is not one that this job gave.", "cursor", "invalid.value")
        following = f',"cursor":"{encode(page + 1)}"'.encode() if page + 1 < len(pages) else b""
        return b'{"results":' + pages[page] + following + b"}"

    def cancel(self, job_id: str) -> None:
        """Cancel a job; the results of one that has ended are gone.

        :param job_id: the job.
        :raises ServiceError: 404 for a job that is not known.
        """
        job = self._found(job_id, None)
        if job.ended != "FAILED":
            job.ended = "CANCELLED"

    def states(self) -> dict[str, str]:
        """Give the state of every job by its id, the oldest first."""
        return {job_id: job.state(self._clock.time()) for job_id, job in self._jobs.items()}

    def _found(self, job_id: str, fault: Fault | None) -> Job:
        if job_id not in self._jobs:
            raise not_found("job", job_id)
        job = self._jobs[job_id]
        if fault and fault.name in ("job-cancelled", "job-expired"):
            job.ended = fault.name.removeprefix("job-").upper()
        return job
