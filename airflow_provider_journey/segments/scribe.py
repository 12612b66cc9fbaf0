"""Between an event loop and a journal: what came of calls is written down in a thread, little by little."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.segments.journal import Entry, JournalWriter

# Seconds between two visits to the disk, and how many outcomes may wait for it: what a killed process has to
# send again, beside what is in flight.
_PAUSE = 0.05
MOST_WAITING = 200
# So many make the visit come at once, so that nobody has to wait for room.
_MANY = MOST_WAITING // 2


class Scribe:
    """Takes outcomes from the event loop and hands them to the journal in batches.

    :param journal: where they go.
    :param clock: where the pauses come from.
    :param on_failure: called with the error when disk or store do not take them.
    """

    def __init__(self, journal: JournalWriter, clock: Clock, on_failure: Callable[[OSError], None]) -> None:
        self._journal = journal
        self._clock = clock
        self._on_failure = on_failure
        self._waiting: deque[Entry] = deque()
        self._unsent: list[int] = []
        self._room = asyncio.Event()
        self._room.set()
        self._resting: asyncio.Task[None] | None = None
        self._writing = threading.Lock()
        self._disk_failed = False

    def note(
        self,
        call: int,
        outcome: str,
        segment_ids: tuple[str, ...] | None,
        attempts: int,
        error: JourneyError | None = None,
    ) -> None:
        """Take down what came of a call; see :meth:`JournalWriter.record` for what the fields mean."""
        # By their places: this is done for every call.
        if error is None:
            entry = Entry(call, outcome, segment_ids, None, None, None, attempts)
        else:
            code = error.code or type(error).__name__
            entry = Entry(call, outcome, segment_ids, error.status, code, error.correlation_id, attempts)
        waiting = self._waiting
        waiting.append(entry)
        if len(waiting) >= _MANY:
            if len(waiting) >= MOST_WAITING:
                self._room.clear()
            if self._resting is not None:
                self._resting.cancel()

    @property
    def full(self) -> bool:
        """Whether too much has not been written down for another call to be begun."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait while it is full."""
        await self._room.wait()

    def release(self, calls: Sequence[int]) -> None:
        """Take down that these calls were claimed and not sent."""
        self._unsent.extend(calls)

    async def keep(self) -> None:
        """Write down and publish what comes, until cancelled."""
        while True:
            if len(self._waiting) < _MANY or self._disk_failed:
                await self._rest()
            if self._waiting or self._journal.due:
                await asyncio.to_thread(self._write)
                # Also when the disk has failed: who waits learns then that it has ended.
                self._room.set()

    async def _rest(self) -> None:
        """Let the pause pass, or less when much comes."""
        self._resting = asyncio.ensure_future(self._clock.sleep_async(_PAUSE))
        try:
            await asyncio.wait({self._resting})
        finally:
            self._resting.cancel()

    async def finish(self) -> None:
        """Write down all that has come; publishing the rest is the journal's own last act."""
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        # One at a time: a cancelled ``keep`` may still have its thread at work.
        with self._writing:
            if not self._disk_failed:
                self._put_down()
                self._publish()

    def _put_down(self) -> None:
        try:
            # What is being written still counts as waiting.
            while batch := [self._waiting[number] for number in range(len(self._waiting))]:
                self._journal.record_all(batch)
                for _ in batch:
                    self._waiting.popleft()
            if self._unsent:
                self._journal.release(self._unsent)
                self._unsent = []
        except OSError as error:
            # The local file may end within a line; nothing may follow there.
            self._disk_failed = True
            self._on_failure(error)

    def _publish(self) -> None:
        try:
            if self._journal.due:
                self._journal.flush()
        except OSError as error:
            self._on_failure(error)
