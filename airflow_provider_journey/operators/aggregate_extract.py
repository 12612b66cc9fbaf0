"""What the operators share that extract whole partitions: their windows, and how the rows are got."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pendulum

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Window
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.templates import is_rendered_later
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.operators.aggregate_base import AggregateOperator
from airflow_provider_journey.operators.failing import failing_for_good, skip_exception
from airflow_provider_journey.operators.reporting import RunReport, emit_partitions, extend_outlets

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.aggregates.asking import Extract, Gather
    from airflow_provider_journey.aggregates.jobs import Submitted
    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.operators.aggregate_jobs import JobRun

_LONGEST_S = 365 * 86_400.0


class ExtractOperator(AggregateOperator):
    """An extract of whole partitions, by the query or by asynchronous jobs.

    :param lookback: how many partitions before the window are extracted anew as well.
    :param include_open: whether a partition that has not ended yet is extracted.
    :param partitioned: whether the run's partition key, where it has one, says which partitions are meant,
        and the outlets' asset events carry the keys of what was extracted (from Airflow 3.3 on).
        DAGs that are scheduled on such an asset without partitions do not start then.
    :param use_jobs: whether asynchronous jobs are used, which today's service has, instead of the query.
    :param deferrable: whether the triggerer waits for the jobs instead of a worker; needs ``use_jobs``.
    :param poll_interval: seconds between two looks at the jobs.
    :param job_timeout: seconds after which a try cancels jobs that have not ended and fails, however often
        worker and triggerer hand them over; the task's ``execution_timeout`` counts where it is shorter.
    :param page_size: results on a page of a job's; ``None`` leaves it to the service.
    :param kwargs: as for the operators over aggregates, and Airflow's own.
    """

    # Tests put their own in its place.
    _clock: ClassVar[Clock] = SystemClock()

    def __init__(
        self,
        *,
        lookback: int = 0,
        include_open: bool = False,
        partitioned: bool = False,
        use_jobs: bool = False,
        deferrable: bool = False,
        poll_interval: float = 30.0,
        job_timeout: float = 21_600.0,
        page_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(partitioned=partitioned, **kwargs)
        self.lookback = lookback
        self.include_open = include_open
        self.use_jobs = use_jobs
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.job_timeout = job_timeout
        self.page_size = page_size
        self._jobs: tuple[JobRun, JourneyClient] | None = None
        if isinstance(lookback, bool) or not isinstance(lookback, int) or lookback < 0:
            raise QueryError("lookback", f"is a number of partitions, not {lookback!r}.")
        if deferrable and not use_jobs:
            raise QueryError("deferrable", "needs use_jobs=True: only for jobs is there something to wait.")
        for name, seconds in (("poll_interval", poll_interval), ("job_timeout", job_timeout)):
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not number or not 0 < seconds <= _LONGEST_S:
                raise QueryError(name, f"is a number of seconds, at most a year's, not {seconds!r}.")
        if page_size is not None and (type(page_size) is not int or page_size < 1):
            raise QueryError("page_size", f"is a number of results, not {page_size!r}.")

    def _check(self, query: AggregateQuery) -> None:
        super()._check(query)
        if query.granularity is not None and not is_rendered_later(query.granularity):
            granularity = self._calendar(pendulum.UTC, query.granularity, "granularity")
            if not granularity.period.divides(self._calendar(pendulum.UTC).period):
                raise QueryError(
                    "granularity", f"{query.granularity!r} does not divide period={self.period!r}."
                )

    def execute(self, context: Context) -> Any:
        """Extract the window's partitions and replace them.

        :raises AirflowFailException: for what another try cannot heal: a bad query, credentials, permission.
        :raises AirflowSkipException: no partition of the window has ended.
        :raises TaskDeferred: with ``deferrable``, while jobs are waited for.
        :raises JourneyError: for what it may.
        """
        return self._run(context)

    def resume(self, context: Context, event: Any = None) -> Any:
        """Go on after a deferral; as :meth:`execute`.

        :param event: how the wait ended, as the trigger says.
        """
        return self._run(context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume, and cancel the jobs where Airflow's own time-out of the deferral came first."""
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            return self._run(context, {"status": "timeout", "message": "Trigger timeout.", "result": {}})
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the jobs that are waited for."""
        from airflow_provider_journey.operators.aggregate_jobs import cancel_apart

        if self._jobs is not None:
            run, client = self._jobs
            run.stop()
            cancel_apart(client.settings, run.job_ids, self.log.info)

    @abstractmethod
    def check_destination(self, context: Context) -> None:
        """Refuse a place that rows cannot be put in, before anybody is asked for them."""

    @abstractmethod
    def deliver(
        self, context: Context, client: JourneyClient, extract: Extract, gather: Gather, report: RunReport
    ) -> Any:
        """Get the rows, put them in their place, report, and return what the operator returns."""

    def _run(self, context: Context, event: Any = None) -> Any:
        from airflow_provider_journey.aggregates.asking import fetch
        from airflow_provider_journey.hooks.journey import JourneyHook

        with failing_for_good(), JourneyHook(self.journey_conn_id) as hook:
            if not self.use_jobs:
                extract = self._extract(context)
                self._announce(extract)
                return self.deliver(context, hook.client, extract, fetch, RunReport(hook.client))
            return self._run_jobs(context, hook.client, event)

    def _run_jobs(self, context: Context, client: JourneyClient, event: Any) -> Any:
        from airflow_provider_journey.aggregates.jobs import Submitted
        from airflow_provider_journey.operators.aggregate_jobs import JobRun, Memory, Waiting
        from airflow_provider_journey.triggers.outcome import TIMEOUT, Outcome

        outcome = None if event is None else Outcome.from_event(event)
        if outcome is None:
            self.check_destination(context)
        defer = self._defer if self.deferrable else None
        waiting = Waiting(self.poll_interval, self._patience, self.page_size, defer, self._clock)
        run = JobRun(client, Memory(context), waiting, self.log.info)
        if outcome and outcome.status == TIMEOUT:
            run.abandon(Submitted.from_dict(outcome.result), outcome.message)
        asked = self._asked(context)
        submitted = run.recall(asked, outcome.result if outcome else None)
        extract = self._extract(context, submitted.window if submitted else None)
        self._announce(extract)
        self._jobs = run, client
        return run.finish(
            extract,
            submitted or Submitted(asked, extract.window.text(pendulum.UTC)),
            lambda *args: self.deliver(context, client, *args),
        )

    @property
    def _patience(self) -> float:
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.job_timeout
        return min(self.job_timeout, limit)

    def _defer(self, submitted: Submitted, left: float, begin_after: float | None) -> None:
        from airflow_provider_journey.triggers.jobs import AggregateJobsTrigger
        from airflow_provider_journey.triggers.outcome import GRACE

        trigger = AggregateJobsTrigger(
            submitted=submitted.to_dict(),
            journey_conn_id=self.journey_conn_id,
            interval=self.poll_interval,
            deadline=submitted.deadline,
            begin_after=begin_after,
        )
        self.defer(trigger=trigger, method_name="resume", timeout=timedelta(seconds=left + GRACE))

    def _asked(self, context: Context) -> str:
        """Return a digest of what the task asks, which the moment it is asked at has no part in."""
        query = self._rendered_query()
        window = self._window(context, self._calendar(query.zone))
        what = [query.to_dict(), self.period, window.text(query.zone), self.lookback, self.include_open]
        return hashlib.sha256(json.dumps([*what, self.journey_conn_id], sort_keys=True).encode()).hexdigest()

    def _extract(self, context: Context, window: str | None = None) -> Extract:
        """Return what to extract.

        :param window: the window as jobs were submitted for it; ``None`` finds the one that is meant now.
        """
        from airflow_provider_journey.aggregates.asking import Extract

        query = self._rendered_query()
        calendar = self._calendar(query.zone)
        if window is not None:
            partitions = calendar.split(windows.parse_interval(window, query.zone))
        else:
            partitions = self._partitions(context, calendar)
        granularity = self._calendar(query.zone, query.granularity, "granularity")
        return Extract(query, partitions, calendar, granularity, RowShape.of(query, self.layout))

    def _partitions(self, context: Context, calendar: Calendar) -> list[Window]:
        window = self._window(context, calendar)
        found = windows.partitions(
            window,
            calendar,
            now=pendulum.now("UTC"),
            lookback=self.lookback,
            include_open=self.include_open,
        )
        if not found:
            raise skip_exception(
                f"No partition of {window.text(calendar.zone)} has ended; "
                "include_open=True extracts open ones."
            )
        return found

    def _announce(self, extract: Extract) -> None:
        text = extract.window.text(extract.calendar.zone)
        self.log.info("extracting %s in %s partitions", text, len(extract.partitions))

    def _tell(
        self,
        context: Context,
        extract: Extract,
        report: RunReport,
        *,
        rows: int,
        counts: Mapping[str, int],
        where: Mapping[str, str],
    ) -> None:
        """Push ``journey_run``, and tell the outlets what was extracted, and where to."""
        text = extract.window.text(extract.calendar.zone)
        keys = [extract.calendar.key(part) for part in extract.partitions]
        counts = {"partitions": len(keys), **counts}
        report.push(
            context,
            "extract",
            self.journey_conn_id,
            window=text,
            uri=where["uri"],
            rows=rows,
            counts=counts,
        )
        extend_outlets(self, context, {**where, "rows": rows, "window": text, "partitions": keys})
        if self.partitioned:
            emit_partitions(self, context, keys)
