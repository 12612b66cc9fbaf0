"""What look-ups and verification share: a list that is read in batches, how far they are, a lease to keep."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.exchange import Statistics
from airflow_provider_journey.segments.crew import Crew
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.progress import duration

T = TypeVar("T")
_TELL_EVERY = 5.0
_RENEW_EVERY = 300.0
_BATCH = 2000


@dataclass
class Effort:
    """What asking has taken so far.

    :param began: the clock's time then, in seconds.
    :param statistics: what the client counts.
    :param total: how many are asked about.
    :param calls: how many of them are finished with.
    """

    began: float
    statistics: Statistics
    total: int
    calls: int = 0

    def __post_init__(self) -> None:
        self._requests_before = self.statistics.calls

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self.statistics.calls - self._requests_before

    def line(self, now: float, answered: int, what: str) -> str:
        """Return where things stand, in one line.

        :param now: the clock's time, in seconds.
        :param answered: of how many an answer was read.
        :param what: what they are, and what is done with them.
        """
        elapsed = now - self.began
        parts = [f"{answered:,} of {self.total:,} {what}"]
        if elapsed > 0:
            parts.append(f"{self.requests / elapsed:.1f} calls/s")
        if self.calls and elapsed > 0 and self.total > self.calls:
            parts.append(f"time left about {duration((self.total - self.calls) * elapsed / self.calls)}")
        return "; ".join(parts)


class Batches(Generic[T]):
    """Hands out a list one by one, with a batch of it in memory at a time: a crew's feed.

    :param read: returns what is at these places of the list, in order; called in a thread.
    :param total: how long the list is.
    """

    def __init__(self, read: Callable[[int, int], list[T]], total: int) -> None:
        self._read = read
        self._total = total
        self._place = 0
        self._here: deque[T] = deque()
        self._reading = asyncio.Lock()

    def at_hand(self) -> bool:
        """Return whether there is one to take at once."""
        return bool(self._here)

    async def ready(self) -> bool:
        """Wait until there is one to take; return whether there is."""
        async with self._reading:
            if not self._here and self._place < self._total:
                end = min(self._place + _BATCH, self._total)
                self._here.extend(await asyncio.to_thread(self._read, self._place, end))
                self._place = end
        return bool(self._here)

    def take(self) -> T:
        """Return the next."""
        return self._here.popleft()

    def put(self, calls: Iterable[T]) -> None:
        """Hand out these as well."""
        self._here.extend(calls)

    async def close(self) -> list[int]:
        """Hand out no further batch; there is nothing to give back."""
        async with self._reading:
            self._place = self._total
            self._here.clear()
        return []


async def tell(crew: Crew[T], say: Callable[[], None], lease: Lease | None, clock: Clock) -> None:
    """Report progress, and keep the lease, until cancelled.

    :param crew: who is ended when the lease is lost.
    :param say: called every few seconds.
    :param lease: the ledger's lease; ``None``: the caller sees to that.
    :param clock: where moments and waits come from.
    """
    renewed = clock.monotonic()
    while True:
        await clock.sleep_async(_TELL_EVERY)
        say()
        if lease is not None and clock.monotonic() - renewed >= _RENEW_EVERY:
            renewed = clock.monotonic()
            try:
                await asyncio.to_thread(lease.renew)
            except (LeaseError, OSError) as error:
                crew.end(error)
