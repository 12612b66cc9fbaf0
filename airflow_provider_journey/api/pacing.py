"""The rate-limit governor: from what the answers' headers say to when the next call may leave.

Pure arithmetic over ``inin-ratelimit-count``, ``-allowed`` and ``-reset``; the time is always handed in. The
headers are trusted, not a number in a document: limits differ between organisations and endpoints.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

_NEWS = 1.0  # seconds for which a count tells how things stand
_POLL = 0.02  # seconds until somebody asks again who waits for an answer to others
_DRAIN = 0.2  # part of the window in which one client takes two thirds of what is left
_GENTLE = 2.0  # seconds; the same, at least, however short the window or what remains of it
_TURNS = 8  # calls one after the other; the same, at least, where answers take long
_PAUSE = 0.5  # seconds between two calls at most, lest the count grow old
_SPARE = (
    0.01  # part of the limit that is left where a quota is shared: what luck may add to the others' calls
)
_CAUTION = 0.1  # part of the limit that the others' expected calls can keep from us at most
_MEMORY = 0.125  # weight of the newest answer in the average of the others' calls
_ALONE = 0.2  # others' calls for each of ours, below which it is only the answers that came out of order


@dataclass(frozen=True)
class Standing:
    """Where the caller stood when an answer was given.

    :param count: calls counted in this window so far, everybody's who shares the quota.
    :param allowed: the most that are served in a window.
    :param reset: seconds until the window ends; headers tell whole ones.
    """

    count: int
    allowed: int
    reset: float


def read_standing(headers: Mapping[str, str]) -> Standing | None:
    """Return the standing that ``headers`` (looked up in lower case) tell, ``None`` where they tell none."""
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

    **When a window ends.** Its first answer says so: when it came + reset. That is never too early where the
    service rounds up, nor in any case if it came when the window began, and the window may begin with the
    first call: waiting longer would be lost. Otherwise it may be a second too early. So a second is added
    where reset is less than a whole window (the longest seen; at first, any round number), where the longest
    looks rounded down itself (59), and for good after a call behind the end was counted in the old window.

    **One asks, the others follow.** A new window's count is not known, nor is one that nobody has told for a
    second: then one call leaves, and as many more may be on their way as have been answered since.

    **The others.** Of a shared quota each client sees but the count. What it grew by beyond the client's own
    call is averaged: the others' calls for one of ours. A call leaves if the places left hold, for each call
    of ours on its way and this one, one and the others', and a spare hundredth.

    **The pace.** Were the places taken as fast as the network allows, who learns of the new window a moment
    late would find it full. So a call follows the last after T ÷ (places left), T a fifth of the window: the
    fuller, the slower, and the same for all who share the quota, however many. Near the window's end T is
    what remains of it, so that no place is lost.

    :param share: share of the limit, 0 < share <= 1, at which this client stops in a window.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._blocked_until = -math.inf
        self._in_flight = 0
        self._waiting = 0  # claims denied since the last call left
        self._departed = -math.inf  # when it left
        self._heard = -math.inf  # when the last answer came
        self._latency = 0.0
        self._proven = 0  # answers since the count was last in doubt
        self._others = 0.0
        self._allowed: int | None = None
        self._count = 0
        self._reset = 0.0  # told by the answer that the end is taken from
        self._ends = -math.inf
        self._earliest = -math.inf  # before which the window cannot end
        self._length = 0.0  # the largest reset told
        self._windows = 0
        self._ended_early = False

    def claim(self, now: float) -> float:
        """Take a place in the window and return 0, or return the seconds to wait before asking again.

        Every claim that returned 0 is given back with :meth:`answered` or :meth:`abandoned`.
        """
        with self._lock:
            delay = max(self._blocked_until - now, self._delay(now))
            if delay > 0:
                self._waiting += 1
                return delay
            self._in_flight += 1
            self._departed, self._waiting = now, 0
            return 0.0

    def answered(self, standing: Standing | None, sent: float, now: float) -> None:
        """Give a place back, with what an answer's headers told.

        :param standing: what they told; ``None`` counts the call without them.
        :param sent: when the call left.
        :param now: when its answer came.
        """
        with self._lock:
            self._in_flight -= 1
            self._heard, self._latency = now, now - sent
            if standing is None:
                self._count_blindly(now)
            elif now + standing.reset + 1 >= self._earliest:  # else it tells of a window that is over
                self._learn(standing, sent, now)

    def abandoned(self, now: float) -> None:
        """Give a place back after a call without an answer; it may have been counted."""
        with self._lock:
            self._in_flight -= 1
            self._count_blindly(now)

    def refused(self, seconds: float, now: float) -> None:
        """Let nobody send before ``seconds`` have passed: the service answered 429."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, now + seconds)

    def standing(self, now: float) -> Standing | None:
        """Return where this client stands: calls counted or on their way, its share of the limit, time left.

        ``None`` until headers told a limit; the count of a window that is not heard of yet is 0.
        """
        with self._lock:
            if self._allowed is None:
                return None
            left = max(0.0, self._end() - now)
            return Standing(self._in_flight + (self._count if left else 0), self._limit(self._allowed), left)

    def rate(self) -> float | None:
        """Return the calls per second that the limit last told allows us, ``None`` until one was told.

        A window counts as long as the largest reset seen: from a first window which was joined late the rate
        is too high until that window ends.
        """
        with self._lock:
            if self._allowed is None or not self._length:
                return None
            return self._limit(self._allowed) / (self._length + self._looks_rounded_down())

    def _delay(self, now: float) -> float:
        end = self._end()
        if self._allowed is None and self._heard > -math.inf:
            return 0.0
        if now >= min(end, self._heard + _NEWS):
            self._proven = min(self._proven, self._in_flight)
        # With each round of answers twice as many may be on their way.
        poll = min(_POLL * (1 + self._waiting).bit_length(), _NEWS)
        if self._in_flight > self._proven and now < self._departed + _NEWS:
            return poll
        if now >= end or self._allowed is None:
            return 0.0
        limit = self._limit(self._allowed)
        left = limit - self._count
        others = self._others if self._others > _ALONE else 0.0
        expected = (self._in_flight + 1) * min(1 + others, max(1.0, _CAUTION * limit))
        if expected + (_SPARE * limit if others else 0.0) > left:
            return min(poll, end - now) if self._in_flight and left > 0 else end - now
        drain = max(_GENTLE, min(max(_DRAIN * self._length, _TURNS * self._latency), end - now))
        pace = min(drain / (left - self._in_flight), max(_PAUSE, 2 * self._latency))
        slot = self._departed + pace
        # Who waits behind others is told a later moment, lest all wake for each place.
        return 0.0 if slot <= now else min(slot + pace * self._waiting, end) - now

    def _learn(self, standing: Standing, sent: float, now: float) -> None:
        ends, earliest = now + standing.reset, sent + standing.reset - 1
        after_end = sent >= self._end()
        if earliest > self._ends + 1 or (after_end and standing.count < self._count):
            self._open(standing.reset, ends, earliest)
        elif after_end:
            self._ended_early, self._ends = True, ends
        elif ends < self._ends - 1:  # the answers before were so slow
            self._ends, self._reset = ends, standing.reset
        self._length = max(self._length, standing.reset)
        if standing.allowed != self._allowed:
            self._allowed, self._count = standing.allowed, standing.count
        else:
            grown = max(0, standing.count - self._count)
            self._others += (grown - 1 - self._others) * _MEMORY
            self._count += grown
        self._proven += 1

    def _count_blindly(self, now: float) -> None:
        if self._allowed is not None and now >= self._end():
            self._open(self._length, now + self._length, now)
        self._count += 1
        self._proven += 1

    def _open(self, reset: float, ends: float, earliest: float) -> None:
        self._windows += 1
        self._reset, self._ends, self._earliest = reset, ends, earliest
        self._count = 0

    def _end(self) -> float:
        whole = self._reset == self._length if self._windows > 1 else self._reset % 10 == 0
        return self._ends + (not whole or self._ended_early or self._looks_rounded_down())

    def _looks_rounded_down(self) -> bool:
        return self._length % 10 == 9

    def _limit(self, allowed: int) -> int:
        return max(1, math.floor(self._share * allowed))
