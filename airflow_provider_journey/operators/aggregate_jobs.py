"""An extract by asynchronous jobs, over tries, deferrals and crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.aggregates import jobs
from airflow_provider_journey.aggregates.jobs import ResultsGoneError, Submitted
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.errors import JourneyError, ServerError
from airflow_provider_journey.operators.failing import is_lasting
from airflow_provider_journey.operators.reporting import RunReport

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.aggregates.asking import Extract, Gather, Report
    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.api.settings import ConnectionSettings

    Deliver = Callable[[Extract, Gather, RunReport], Any]

STORE_KEY = "journey_jobs"
# How often jobs that are gone are submitted anew before it is left to Airflow's next try.
_MOST_RENEWALS = 1
# A worker that is told to end is ended after five seconds.
_CANCEL_S = 4.0


class Memory:
    """What a task knows of its jobs after a crash, where Airflow keeps it: the task state store of 3.3.

    A retry finds it. A task that was cleared does not take it for its own: its ``max_tries`` is another.

    :param context: the task's.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        self._max_tries = getattr(context["ti"], "max_tries", None)

    @property
    def lasts(self) -> bool:
        """Whether there is such a store."""
        return self._store is not None

    def recall(self) -> tuple[Submitted | None, bool]:
        """Return what is kept, if anything, and whether it is this task's own."""
        kept = self._store.get(STORE_KEY) if self.lasts else None
        if not isinstance(kept, dict):
            return None, False
        return Submitted.from_dict(kept.get("submitted")), kept.get("max_tries") == self._max_tries

    def keep(self, submitted: Submitted) -> None:
        """Keep what is submitted."""
        if self.lasts:
            self._store.set(STORE_KEY, {"max_tries": self._max_tries, "submitted": submitted.to_dict()})

    def forget(self) -> None:
        """Forget it: the jobs are of no use any more."""
        if self.lasts:
            self._store.delete(STORE_KEY)


@dataclass(frozen=True)
class Waiting:
    """How an operator waits for its jobs.

    :param interval: seconds between two looks.
    :param timeout: seconds after which a try gives the jobs up, however often they change hands in it.
    :param page_size: results on a page; ``None`` leaves it to the service.
    :param defer: called to go on in the triggerer, with the jobs and their deadline, the seconds that are
        left, and those that the service asked for, if it did; it does not return. ``None`` waits here.
    :param clock: where every wait comes from.
    """

    interval: float
    timeout: float
    page_size: int | None
    defer: Callable[[Submitted, float, float | None], None] | None
    clock: Clock


class JobRun:
    """One stretch of an extract by jobs: from its start or resumption to its end, failure or deferral.

    :param client: whom to ask.
    :param memory: where a later try finds the jobs.
    :param waiting: how to wait.
    :param report: called with a line of text whenever there is progress to tell.
    """

    def __init__(self, client: JourneyClient, memory: Memory, waiting: Waiting, report: Report) -> None:
        self._client = client
        self._memory = memory
        self._waiting = waiting
        self._report = report
        self._submitted = Submitted("", "")
        self._fulfilled: set[str] = set()
        self._effort = RunReport(client)
        self._stopped = False
        self._deferred = False
        self._retry_after: float | None = None

    @property
    def job_ids(self) -> Sequence[str]:
        """The jobs that are submitted now."""
        return list(self._submitted.jobs.values())

    def stop(self) -> None:
        """Have the run end instead of submitting anew what is cancelled from outside."""
        self._stopped = True

    def recall(self, asked: str, event: Any = None) -> Submitted | None:
        """Return the jobs to go on with; what was kept and is of no use is cancelled.

        A resumed try has the deadline that it had; another try that finds the jobs has one of its own.

        :param asked: a digest of what the task asks now.
        :param event: the jobs as a trigger's event has them, where the task was deferred.
        """
        kept, own = self._memory.recall()
        if event is not None:
            kept, own = Submitted.from_dict(event), True
        if kept is None:
            return None
        if own and kept.asked == asked:
            return kept if event is not None else replace(kept, deadline=None)
        jobs.cancel(self._client, kept.jobs.values(), self._report)
        return None

    def abandon(self, submitted: Submitted | None, message: str) -> None:
        """Cancel the jobs, since the time to wait for them is over.

        :raises ServerError: saying so.
        """
        self._submitted = submitted or self._memory.recall()[0] or self._submitted
        self._give_up()
        raise ServerError(f"{message} The jobs are cancelled.")

    def finish(self, extract: Extract, submitted: Submitted, deliver: Deliver) -> Any:
        """Submit what is missing, wait for it, and deliver the rows.

        :param submitted: what is submitted already.
        :param deliver: publishes the rows; may be called again where results were gone before they were read.
        :return: what ``deliver`` returns.
        :raises ServerError: a job has failed, with the service's words, or did not end in time.
        :raises JourneyError: as the client does.
        """
        clock, deadline = self._waiting.clock, submitted.deadline
        if deadline is None:
            deadline = clock.time() + self._waiting.timeout
        # From here to the next hand-over, setting the machine's clock changes nothing.
        end = clock.monotonic() + deadline - clock.time()
        self._submitted = replace(submitted, deadline=deadline)
        self._effort = RunReport(self._client, submitted.calls)
        lost = not self._memory.lasts
        try:
            result = self._until_delivered(extract, deliver, end)
            lost = False
        except JourneyError as error:
            lost = lost or is_lasting(error)
            raise
        finally:
            # Where nobody would find the jobs again, they are not left running.
            if lost and not self._deferred:
                self._give_up()
        self._memory.forget()
        return result

    def _until_delivered(self, extract: Extract, deliver: Deliver, end: float) -> Any:
        while True:
            jobs.submit(
                self._client, extract, self._submitted, self._waiting.page_size, self._keep, self._report
            )
            if self._is_waiting():
                self._wait(end)
            elif not any(self._submitted.missing()):
                try:
                    return deliver(extract, partial(jobs.read, submitted=self._submitted), self._effort)
                except ResultsGoneError as gone:
                    self._renew(gone.job_id, gone.state)
            if self._stopped:
                raise ServerError("The task was ended while it waited for its jobs.")

    def _is_waiting(self) -> bool:
        """Look at the jobs up to the first that has not ended."""
        self._retry_after = None
        for _, job_id in self._submitted.parts():
            if job_id in self._fulfilled:
                continue
            try:
                state, words = jobs.look(self._client, job_id)
            except JourneyError as error:
                if is_lasting(error):
                    raise
                self._retry_after = error.retry_after
                self._report(f"{error} The next try follows in {self._pause:.0f} s.")
                return True
            if state == operations.FULFILLED:
                self._fulfilled.add(job_id)
            elif state == operations.FAILED:
                self._keep(self._submitted.without(job_id))
                raise ServerError(f"The job {job_id} has failed: {words}")
            elif state in (operations.EXPIRED, operations.CANCELLED):
                self._renew(job_id, state)
            else:
                self._report(f"job {job_id} is {state}")
                return True
        return False

    @property
    def _pause(self) -> float:
        return max(self._waiting.interval, self._retry_after or 0.0)

    def _wait(self, end: float) -> None:
        left = end - self._waiting.clock.monotonic()
        if left <= 0:
            self.abandon(self._submitted, f"The jobs had not ended after {self._waiting.timeout:.0f} s.")
        if self._waiting.defer is not None:
            self._deferred = True
            calls = self._effort.effort()["calls"]
            self._waiting.defer(replace(self._submitted, calls=calls), left, self._retry_after)
        self._waiting.clock.sleep(min(self._pause, left))

    def _renew(self, job_id: str, state: str) -> None:
        """Have a job submitted anew whose results cannot be read, or are to be read from the beginning."""
        renewed = self._submitted.renewed + 1
        if state != operations.FULFILLED:
            self._keep(self._submitted.without(job_id))
        if renewed > _MOST_RENEWALS:
            raise ServerError(f"The job {job_id} is {state} before its results were read, once more.")
        self._report(f"job {job_id} is {state} before its results were read: once more")
        self._keep(replace(self._submitted, renewed=renewed))

    def _keep(self, submitted: Submitted) -> None:
        self._submitted = submitted
        self._memory.keep(submitted)

    def _give_up(self) -> None:
        jobs.cancel(self._client, self.job_ids, self._report)
        self._submitted = replace(self._submitted, jobs={})
        self._memory.forget()


def cancel_apart(settings: ConnectionSettings, job_ids: Sequence[str], report: Report) -> None:
    """Cancel jobs from inside of a signal handler, within the time that a worker has left.

    In a thread and by a client of its own: whatever the interrupted code holds (a connection, a lock on the
    tokens, the line to the supervisor, by which a token would be masked) is not waited for for long, or not
    at all. Nothing shows this client's token.
    """
    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.api.credentials import TokenStore
    from airflow_provider_journey.api.exchange import Exchange
    from airflow_provider_journey.api.pacing import Governor

    hurried = replace(settings, max_retries=0, timeout=min(settings.timeout, _CANCEL_S))
    exchange = Exchange(hurried, SystemClock(), TokenStore(), Governor(1.0))
    client = JourneyClient(exchange)
    worker = threading.Thread(target=jobs.cancel, args=(client, job_ids, report), daemon=True)
    worker.start()
    worker.join(_CANCEL_S)
