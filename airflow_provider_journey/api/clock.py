"""The one source of time: every wait and every deadline of the provider goes through a clock."""

from __future__ import annotations

import asyncio
from time import monotonic, sleep, time
from typing import Protocol


class Clock(Protocol):
    """What the clients need of time; tests inject one that does not wait."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never going back."""

    def time(self) -> float:
        """Seconds since the epoch, to read dates that a server sent."""

    def sleep(self, seconds: float) -> None:
        """Wait, blocking the thread."""

    async def sleep_async(self, seconds: float) -> None:
        """Wait without blocking the event loop."""


class SystemClock:
    """The machine's own clock."""

    monotonic = staticmethod(monotonic)
    time = staticmethod(time)
    sleep = staticmethod(sleep)

    async def sleep_async(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)
