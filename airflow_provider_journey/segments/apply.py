"""Apply: carries out one plan, or one task's share of it, and writes down what came of every call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.allotment import Applied, Budget, Share
from airflow_provider_journey.segments.calls import PlannedCall, PlannedCalls
from airflow_provider_journey.segments.crew import Crew
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.feed import CallFeed
from airflow_provider_journey.segments.journal import JournalWriter
from airflow_provider_journey.segments.keeping import Kept
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.ledger import Ledger
from airflow_provider_journey.segments.progress import FewNames, Progress
from airflow_provider_journey.segments.runs import Run
from airflow_provider_journey.segments.scribe import Scribe
from airflow_provider_journey.segments.sending import Sender
from airflow_provider_journey.segments.summary import PlanSummary
from airflow_provider_journey.storage.scratch import local_folder

DEFAULT_CONCURRENCY = 16
_TELL_EVERY = 5.0
_RENEW_EVERY = 300.0


class Apply:
    """One task's work on a plan; :meth:`run` it once.

    :param client: whom to ask.
    :param ledger: the ledger that the plan was made from.
    :param run: the plan's run.
    :param plan_hash: the hash that was planned, or approved: nothing else is carried out.
    :param share: which task of how many this is.
    :param concurrency: how many calls are in flight at most.
    :param budget: what this task may spend.
    :param lease: the run's lease on the ledger, to be taken up and kept; ``None``: the caller sees to that.
    :param clock: where moments and waits come from.
    :param report: called with each line of progress.
    :param names: through whom lines go that name a contact; by default ``report``'s first few.
    """

    def __init__(
        self,
        client: JourneyAsyncClient,
        ledger: Ledger,
        run: Run,
        plan_hash: str,
        *,
        share: Share | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        budget: Budget | None = None,
        lease: Lease | None = None,
        clock: Clock | None = None,
        report: Callable[[str], None] | None = None,
        names: FewNames | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {concurrency}")
        self._client = client
        self._ledger = ledger
        self._run = run
        self._plan_hash = plan_hash
        self._share = share or Share()
        self._concurrency = concurrency
        self._budget = budget or Budget()
        self._lease = lease
        self._clock = clock or SystemClock()
        self._report = report or (lambda line: None)
        self._names = names or FewNames(self._report)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._crew: Crew[PlannedCall] | None = None
        self._stopped: str | None = None
        self._error: Exception | None = None

    async def run(self) -> Applied:
        """Carry out what is left of the plan.

        What earlier tries have journalled is not sent again. Unprocessed changes and failures that may pass
        are tried again at the end.

        :raises PlanMismatchError: what lies in the store is not the plan of ``plan_hash``; nothing was sent.
        :raises LedgerMovedError: another run changed the ledger before this one began; nothing was sent.
        :raises LeaseError: another run works on the ledger, or took over.
        :raises JourneyError: the service refuses this client (``AuthenticationError``,
            ``PermissionDeniedError``, ``UnsupportedOperationError``), has an outage, or asks for a wait that
            is longer than a task waits. What came before, and what was in flight, is journalled.
        :raises OSError: the journal cannot be written; what it has taken is not lost.
        """
        self._loop = asyncio.get_running_loop()
        stack = ExitStack()
        opening = asyncio.ensure_future(asyncio.to_thread(self._open, stack))
        try:
            planned, journal, progress, kept = await asyncio.shield(opening)
            await self._carry_out(planned, journal, progress, kept)
        finally:
            self._loop = None
            await asyncio.wait({opening})  # a thread cannot be cancelled
            try:
                await asyncio.to_thread(stack.close)
            except OSError as error:
                self._error = self._error or error
        if self._error:
            raise self._error
        return Applied(
            progress.total,
            progress.done,
            progress.rejected,
            progress.requests,
            dict(progress.outcomes),
            self._stopped,
        )

    def stop(self, reason: str) -> None:
        """Begin no further call, give those in flight a moment, and write down what is known.

        May be called from any thread, and from a signal's handler; :meth:`run` returns soon afterwards.
        """
        self._stopped = self._stopped or reason
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop_crew)

    def _stop_crew(self) -> None:
        if self._crew is not None and self._stopped:
            self._crew.stop(self._stopped)

    def _open(self, stack: ExitStack) -> tuple[PlannedCalls, JournalWriter, Progress, Kept]:
        share, run = self._share, self._run
        directory = stack.enter_context(local_folder())
        if self._lease is not None:
            self._lease.acquire()
        # The journal first: it brings to the store what an earlier try could not.
        with suppress(FileNotFoundError):  # a plan that is not there is missed below
            calls = PlanSummary.from_dict(run.store.read_json(run.summary)).calls
            writer = JournalWriter(run, calls, writer=share.writer, writers=share.writers, clock=self._clock)
            journal = stack.enter_context(writer)
        planned = stack.enter_context(PlannedCalls(run, self._plan_hash, directory))
        if not run.fingerprint():
            self._ledger.check_base(planned.summary)
        kept = stack.enter_context(closing(Kept(self._ledger, run)))
        return planned, journal, self._progress(planned), kept

    def _progress(self, planned: PlannedCalls) -> Progress:
        counts = planned.counts
        return Progress(
            total=sum(counts.values()),
            done=counts.get("done", 0),
            rejected=counts.get("rejected", 0),
            calls_left=planned.calls_left,
            writers=self._share.writers,
            began=self._clock.monotonic(),
            statistics=self._client.statistics,
        )

    async def _carry_out(
        self, planned: PlannedCalls, journal: JournalWriter, progress: Progress, kept: Kept
    ) -> None:
        scribe = Scribe(journal, self._clock, self._end_from_thread)
        # A mirror takes away whom the audience does not name; elsewhere it says so itself.
        of_mirror = kept.segments if planned.summary.mode == "mirror" else None
        sender = Sender(self._client, scribe, progress, self._names, of_mirror)
        feed = CallFeed(planned, journal)
        crew = self._crew = Crew(feed, sender, progress, self._budget, self._concurrency, self._clock)
        aside = [asyncio.ensure_future(task) for task in (scribe.keep(), self._tell(progress))]
        self._stop_crew()
        try:
            await crew.first_pass()
            await crew.further_passes()
        finally:
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, crew.dismiss(), return_exceptions=True)
            scribe.release(crew.unsent)
            await scribe.finish()
            self._stopped, self._error = crew.stopped, crew.error
        self._say(progress)
        if crew.stopped:
            self._report(f"{crew.stopped} has ended it: {progress.left:,} changes are left for the next run")

    async def _tell(self, progress: Progress) -> None:
        """Report progress, and keep the lease, until cancelled."""
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep_async(_TELL_EVERY)
            self._say(progress)
            if self._lease is not None and self._clock.monotonic() - renewed >= _RENEW_EVERY:
                renewed = self._clock.monotonic()
                await self._renew(self._lease)

    async def _renew(self, lease: Lease) -> None:
        try:
            await asyncio.to_thread(lease.renew)
        except (LeaseError, OSError) as error:
            self._end(error)

    def _say(self, progress: Progress) -> None:
        self._report(progress.line(self._clock.monotonic(), self._client.standing))

    def _end(self, error: Exception) -> None:
        if self._crew is not None:
            self._crew.end(error)

    def _end_from_thread(self, error: OSError) -> None:
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._end, error)
