"""The rate limit: fixed windows that begin with the first call in them (genesys-cloud.md section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.errors import ServiceError


@dataclass
class _Window:
    ends: float
    count: int = 0


class RateLimiter:
    """Counts calls by client or by token.

    :param allowed: calls in a window; 0 switches the limit off.
    :param seconds: a window's length.
    :param clock: the emulator's clock.
    """

    def __init__(self, allowed: int, seconds: float, clock: Clock) -> None:
        self.allowed = allowed
        self.seconds = seconds
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def check(self, key: str) -> None:
        """Refuse a call that is over the limit.

        :param key: whose quota it is.
        :raises ServiceError: 429 with Retry-After in whole seconds.
        """
        window = self._windows.get(key)
        if not self.allowed or window is None:
            return
        if window.ends > self._clock.time() and window.count >= self.allowed:
            raise throttled(self._seconds_left(window))

    def take(self, key: str) -> None:
        """Count a call that is served.

        :param key: whose quota it is.
        """
        now = self._clock.time()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            window = self._windows[key] = _Window(now + self.seconds)
        window.count += 1

    def headers(self, key: str) -> dict[str, str]:
        """Say where a caller stands.

        :param key: whose quota it is.
        :returns: the three headers, or none when there is no limit.
        """
        if not self.allowed:
            return {}
        window = self._windows.get(key)
        if window is None or window.ends <= self._clock.time():
            window = _Window(self._clock.time() + self.seconds)
        return {
            "inin-ratelimit-count": str(window.count),
            "inin-ratelimit-allowed": str(self.allowed),
            "inin-ratelimit-reset": str(self._seconds_left(window)),
        }

    def reset(self) -> None:
        """Forget every window, as after a change of the limit."""
        self._windows.clear()

    def _seconds_left(self, window: _Window) -> int:
        return max(1, math.ceil(window.ends - self._clock.time()))


def throttled(seconds: int | None, header: str | None = None) -> ServiceError:
    """Give the service's 429.

    :param seconds: what the message says one should wait; None: the answer carries no Retry-After.
    :param header: another text for the Retry-After header, such as a date.
    :returns: the refusal, to be raised.
    """
    message = f"Rate limit exceeded the maximum. Retry the request in [{seconds or 60}] seconds"
    headers = {} if seconds is None else {"Retry-After": header or str(seconds)}
    return ServiceError(429, "too.many.requests.retry.after", message, headers=headers)
