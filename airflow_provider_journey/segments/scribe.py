"""Between an event loop and a journal: what came of calls is written down in a thread, little by little."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.segments.journal import JournalWriter

# Seconds between two visits to the disk: what a killed process has to send again.
_PAUSE = 0.05


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
        self._waiting: deque[tuple[int, str, dict[str, Any]]] = deque()
        self._unsent: deque[int] = deque()
        self._writing = threading.Lock()
        self._disk_failed = False

    def note(
        self,
        call: int,
        outcome: str,
        segment_ids: Sequence[str] | None,
        attempts: int,
        error: JourneyError | None = None,
    ) -> None:
        """Take down what came of a call; see :meth:`JournalWriter.record` for what the fields mean."""
        details: dict[str, Any] = {"segment_ids": segment_ids, "attempts": attempts}
        if error is not None:
            details |= {
                "status": error.status,
                "code": error.code or type(error).__name__,
                "correlation_id": error.correlation_id,
            }
        self._waiting.append((call, outcome, details))

    def release(self, calls: Sequence[int]) -> None:
        """Take down that these calls were claimed and not sent."""
        self._unsent.extend(calls)

    async def keep(self) -> None:
        """Write down and publish what comes, until cancelled."""
        while True:
            await self._clock.sleep_async(_PAUSE)
            if self._waiting or self._journal.due:
                await asyncio.to_thread(self._write)

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
            while self._waiting:
                call, outcome, details = self._waiting.popleft()
                self._journal.record(call, outcome, **details)
            while self._unsent:
                self._journal.release([self._unsent.popleft()])
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
