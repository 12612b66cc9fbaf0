"""The calls of a plan, handed out one by one; each block is claimed before the first of it leaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from airflow_provider_journey.segments.calls import PlannedCall, PlannedCalls
from airflow_provider_journey.segments.journal import JournalWriter


class CallFeed:
    """Hands out calls, and reads ahead in a thread so that nobody waits for disk or store.

    :param planned: the calls still to be made.
    :param journal: where blocks are claimed.
    """

    def __init__(self, planned: PlannedCalls, journal: JournalWriter) -> None:
        self._planned = planned
        self._journal = journal
        self._blocks = self._claimed_blocks()
        self._ready: deque[PlannedCall] = deque()
        self._reading: asyncio.Task[bool] | None = None
        self._exhausted = False

    def at_hand(self) -> bool:
        """Return whether there is a call to take at once, and have further ones read."""
        self._read_ahead()
        return bool(self._ready)

    async def ready(self) -> bool:
        """Wait until there is a call to :meth:`take`; return whether there is one.

        :raises OSError: the store does not take a claim, or does not give the plan.
        """
        while not self.at_hand() and self._reading is not None:
            reading = self._reading
            await asyncio.wait({reading})
            if reading is self._reading:
                self._exhausted = not reading.result()
                self._reading = None
        return bool(self._ready)

    def take(self) -> PlannedCall:
        """Return the next call; :meth:`ready` has just said that there is one."""
        return self._ready.popleft()

    def put(self, calls: Iterable[PlannedCall]) -> None:
        """Hand out these as well, which were claimed before."""
        self._ready.extend(calls)

    async def close(self) -> list[int]:
        """Claim nothing more; return the numbers of the calls that were claimed and not taken."""
        if self._reading is not None:
            await asyncio.wait({self._reading})
        self._exhausted = True
        left = [call.number for call in self._ready]
        self._ready.clear()
        return left

    def _read_ahead(self) -> None:
        if self._reading is not None and self._reading.done() and self._reading.exception() is None:
            self._exhausted = not self._reading.result()
            self._reading = None
        if self._reading is None and not self._exhausted and len(self._ready) < self._journal.block // 2:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> bool:
        calls = await asyncio.to_thread(self._next_block)
        self._ready.extend(calls or ())
        return calls is not None

    def _next_block(self) -> list[PlannedCall] | None:
        numbers = next(self._blocks, None)
        return None if numbers is None else list(self._planned.read(numbers))

    def _claimed_blocks(self) -> Iterator[range]:
        journal = self._journal
        for block in self._planned.unfinished(journal.writer, journal.writers):
            yield journal.reclaim(block)
        while (numbers := journal.claim()) is not None:
            yield numbers
