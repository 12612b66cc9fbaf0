"""The rate-limit governor: from what the answers' headers say to when the next call may leave.

Pure arithmetic over ``inin-ratelimit-count``, ``-allowed`` and ``-reset``; the time is always handed in. The
headers are trusted, not a number in a document: limits differ between organisations and endpoints.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """Where the caller stood when an answer was given.

    :param count: calls counted in this window so far, everybody's who shares the quota.
    :param allowed: the most that are served in a window.
    :param reset: seconds until the window ends, a whole number.
    """

    count: int
    allowed: int
    reset: float


def read_standing(headers: Mapping[str, str]) -> Standing | None:
    """Return the standing that ``headers`` (names in lower case) tell, ``None`` where they tell none."""
    try:
        standing = Standing(
            count=int(headers["inin-ratelimit-count"]),
            allowed=int(headers["inin-ratelimit-allowed"]),
            reset=float(headers["inin-ratelimit-reset"]),
        )
    except (KeyError, ValueError):
        return None
    usable = standing.count >= 0 and standing.allowed > 0 and 0 <= standing.reset < math.inf
    return standing if usable else None


class Governor:
    """Says when the next call may leave; one for all threads and tasks that share a connection.

    :param share: share of the limit, 0 < share <= 1, at which this client stops in a window.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._in_flight = 0
        self._used = 0
        self._allowed: int | None = None
        self._window_ends = -math.inf
        self._blocked_until = -math.inf

    def claim(self, now: float) -> float:
        """Take a place in the window and return 0, or return the seconds to wait before asking again.

        Every claim that returned 0 is given back with :meth:`answered` or :meth:`abandoned`.
        """
        with self._lock:
            if now < self._blocked_until:
                return self._blocked_until - now
            if now >= self._window_ends:
                self._used = 0
            elif self._allowed is not None:
                # A call on its way may be counted already or not yet: it is taken as not yet.
                limit = max(1, math.floor(self._share * self._allowed))
                if self._used + self._in_flight >= limit:
                    return self._window_ends - now
            self._in_flight += 1
            return 0.0

    def answered(self, standing: Standing | None, now: float) -> None:
        """Give a place back, with what the answer's headers told at ``now``."""
        with self._lock:
            self._in_flight -= 1
            if standing is None:
                self._used += 1
                return
            ends = now + standing.reset
            if ends > self._window_ends + 1.5:
                self._window_ends = ends
                self._used = standing.count
            elif ends > self._window_ends - 1.5:
                # The same window; its end is known to a second, so the earliest moment told is the nearest.
                self._window_ends = min(self._window_ends, ends)
                self._used = max(self._used, standing.count)
            self._allowed = standing.allowed

    def abandoned(self) -> None:
        """Give a place back after a call without an answer; it may have been counted."""
        with self._lock:
            self._in_flight -= 1
            self._used += 1

    def refused(self, seconds: float, now: float) -> None:
        """Let nobody send before ``seconds`` have passed: the service answered 429."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, now + seconds)
