"""The workers that send calls, those of a plan or look-ups, pass after pass, and what makes them stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.api.exchange import HaltedError
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.errors import SegmentSyncError
from airflow_provider_journey.segments.sending import Verdict

T = TypeVar("T")

# Seconds before each further pass over what may yet succeed.
_PAUSES = (1.0, 5.0, 15.0)
# When none of so many calls in a row is carried out the service has an outage: that is for a later try.
_OUTAGE = 50
# Seconds that calls in flight get when the task is being killed; Airflow gives it five altogether.
_LAST_WORDS = 2.5


class Feed(Protocol[T]):
    """Where calls come from; see :class:`~airflow_provider_journey.segments.feed.CallFeed`."""

    def at_hand(self) -> bool:
        """Return whether there is a call to take at once."""

    async def ready(self) -> bool:
        """Wait until there is a call to take; return whether there is one."""

    def take(self) -> T:
        """Return the next call."""

    def put(self, calls: Iterable[T]) -> None:
        """Hand out these as well."""

    async def close(self) -> list[int]:
        """Return the numbers of the calls that were claimed and not taken."""


class Sending(Protocol[T]):
    """What sends calls; see :class:`~airflow_provider_journey.segments.sending.Sender`."""

    begun: int

    @property
    def full(self) -> bool:
        """Whether another call has to wait."""

    async def room(self) -> None:
        """Wait until another call may be begun."""

    async def send(self, call: T, attempt: int, halt: asyncio.Future[None]) -> Verdict[T]:
        """Send a call; ``attempt`` is the how manieth time in this run.

        :param halt: when it is done, nothing that has not left may leave.
        :raises HaltedError: that came first; what is to be noted is noted.
        """


class Effort(Protocol):
    """What was spent so far; see :class:`~airflow_provider_journey.segments.progress.Progress`."""

    began: float
    calls: int

    @property
    def requests(self) -> int:
        """How many requests were sent."""


class Crew(Generic[T]):
    """A number of workers; each sends a call, sees what came of it, and takes the next.

    :param feed: where the calls come from.
    :param sender: how they are sent.
    :param progress: where calls are counted.
    :param budget: what may be spent.
    :param size: how many calls are in flight at most.
    :param clock: where moments and waits come from.
    """

    def __init__(
        self, feed: Feed[T], sender: Sending[T], progress: Effort, budget: Budget, size: int, clock: Clock
    ) -> None:
        self._feed = feed
        self._sender = sender
        self._progress = progress
        self._budget = budget
        self._size = size
        self._clock = clock
        self._failures = 0
        self._again: list[T] = []
        self._workers: list[asyncio.Task[None]] = []
        self._hurry: asyncio.Task[None] | None = None
        self._resting: asyncio.Task[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._halt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Numbers of the calls that were claimed and then not sent.
        self.unsent: list[int] = []
        self.stopped: str | None = None
        self.error: Exception | None = None

    async def first_pass(self) -> None:
        """Send every call once."""
        if self._budget.max_duration is not None:
            self._alarm = asyncio.ensure_future(self._end_in_time(self._budget.max_duration))
        try:
            await self._pass(1)
        finally:
            self.unsent = await self._feed.close()

    async def further_passes(self) -> None:
        """Send what was left undone and may yet succeed, a bounded number of times."""
        for attempt, pause in enumerate(_PAUSES, start=2):
            if not self._again:
                return
            await self._rest(pause)
            if self._at_end:
                return
            self._feed.put(self._again)
            self._again = []
            await self._pass(attempt)

    def end(self, error: Exception) -> None:
        """Let no further call leave, because of ``error``; those in flight are still awaited and noted."""
        self.error = self.error or error
        self._hold_back()

    def stop(self, reason: str) -> None:
        """Let no further call leave, and give those in flight no more than a moment."""
        self.stopped = self.stopped or reason
        self._hold_back()
        if self._hurry is None:
            self._hurry = asyncio.ensure_future(self._cut_short())

    async def dismiss(self) -> None:
        """Let nothing of this run on."""
        aside = [task for task in (self._hurry, self._alarm) if task is not None]
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)

    @property
    def _at_end(self) -> bool:
        return self.stopped is not None or self.error is not None

    async def _rest(self, seconds: float) -> None:
        """Let a pause pass, unless there is nothing to wait for."""
        if not self._at_end:
            self._resting = asyncio.ensure_future(self._clock.sleep_async(seconds))
            await asyncio.wait({self._resting})

    def _hold_back(self) -> None:
        """Let who waits wait no longer, and send nothing: for a place, for another try, for the next pass."""
        if not self._halt.done():
            self._halt.set_result(None)
        if self._resting is not None:
            self._resting.cancel()

    async def _end_in_time(self, seconds: float) -> None:
        # By itself: all the workers may be waiting for the next window.
        await self._clock.sleep_async(max(0.0, self._progress.began + seconds - self._clock.monotonic()))
        self.stopped = self.stopped or f"max_duration={seconds:g} s"
        self._hold_back()

    async def _cut_short(self) -> None:
        await self._clock.sleep_async(_LAST_WORDS)
        for worker in self._workers:
            worker.cancel()

    async def _pass(self, attempt: int) -> None:
        self._workers = [asyncio.ensure_future(self._work(attempt)) for _ in range(self._size)]
        try:
            done, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        for worker in done:
            if not worker.cancelled():
                worker.result()

    async def _work(self, attempt: int) -> None:
        while await self._may_begin():
            call = self._feed.take()
            try:
                verdict = await self._sender.send(call, attempt, self._halt)
            except HaltedError:
                return
            except JourneyError as error:
                self.end(error)
            else:
                self._judge(verdict)
            self._progress.calls += attempt == 1

    async def _may_begin(self) -> bool:
        # No coroutine where there is nothing to wait for: this is done for every call.
        if self._sender.full:
            await self._sender.room()
        if self._at_end or not (self._feed.at_hand() or await self._ready()):
            return False
        self._keep_to_budget()
        return not self._at_end

    async def _ready(self) -> bool:
        try:
            return await self._feed.ready() and not self._at_end
        except (OSError, SegmentSyncError) as error:
            self.end(error)
            return False

    def _keep_to_budget(self) -> None:
        budget, progress = self._budget, self._progress
        if budget.max_calls is not None and max(self._sender.begun, progress.requests) >= budget.max_calls:
            self.stopped = f"max_calls={budget.max_calls}"
        if budget.max_duration is not None:
            elapsed = self._clock.monotonic() - progress.began
            if elapsed >= budget.max_duration:
                self.stopped = f"max_duration={budget.max_duration:g} s"

    def _judge(self, verdict: Verdict[T]) -> None:
        if verdict.again is not None:
            self._again.append(verdict.again)
        self._failures = self._failures + 1 if verdict.error else 0
        if verdict.error and self._failures >= max(_OUTAGE, 2 * self._size):
            self.end(verdict.error)
