"""What is sent again, and after how long: tenacity strategies that both clients use.

Genesys Cloud's guidance is to retry 429, 502, 503 and 504; a 500 is not transient.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

from tenacity import BaseRetrying, DoSleep, RetryCallState
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from airflow_provider_journey.api.errors import JourneyError

MAX_WAIT = 600.0
_TRANSIENT_STATUSES = frozenset({408, 429, 502, 503, 504})
# Answers which say that nothing was done, so that even a job may be submitted again.
_NOT_PROCESSED = frozenset({429, 503})


def is_transient(status: int) -> bool:
    """Whether an answer with this HTTP status may be another one next time."""
    return status in _TRANSIENT_STATUSES


class RetryDecision:
    """Whether a failed try is followed by another: a predicate for tenacity's ``retry``.

    :param resend: whether the request may be sent again when the service may already have carried it out.
    :param max_wait: seconds; an answer that asks for more is left to whoever runs the task.
    """

    def __init__(self, *, resend: bool, max_wait: float = MAX_WAIT) -> None:
        self._resend = resend
        self._max_wait = max_wait

    def __call__(self, state: RetryCallState) -> bool:
        """Decide by the error of the try that ended."""
        error = _error(state)
        if not isinstance(error, JourneyError) or not error.transient:
            return False
        if error.maybe_processed and not self._resend and error.status not in _NOT_PROCESSED:
            return False
        return error.retry_after is None or error.retry_after <= self._max_wait


class WaitAsAsked(wait_base):
    """Wait what the service asked for, with jitter on top; otherwise exponentially longer, with jitter.

    Clients which were refused in the same window would otherwise all come back in the same instant, and be
    refused again.

    :param base: seconds; the first back-off lies between half of it and it.
    :param longest: seconds; no back-off of our own is longer.
    :param uniform: draws a number between two bounds.
    """

    def __init__(
        self,
        *,
        base: float = 1.0,
        longest: float = 60.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._base = base
        self._longest = longest
        self._uniform = uniform

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next try."""
        error = _error(retry_state)
        asked = error.retry_after if isinstance(error, JourneyError) else None
        if asked is not None:
            return asked + self._uniform(0.1, 1.0 + min(asked, 60.0) * 0.05)
        backoff = min(self._longest, self._base * 2 ** (retry_state.attempt_number - 1))
        return self._uniform(backoff / 2, backoff)


class StopAfterRetries(stop_base):
    """Stop when a request was sent again ``max_retries`` times."""

    def __init__(self, max_retries: int) -> None:
        self._max_retries = max_retries

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether the try that ended was the last one."""
        return retry_state.attempt_number > self._max_retries


class Tries(BaseRetrying):
    """tenacity's state machine, driven by the conversation instead of by a loop that sleeps.

    Made when a first try has failed: most requests need none.

    :param resend: whether the request may be sent again when the service may already have carried it out.
    :param max_retries: how often it is sent again.
    """

    def __init__(self, *, resend: bool, max_retries: int) -> None:
        super().__init__(
            retry=RetryDecision(resend=resend),
            wait=WaitAsAsked(),
            stop=StopAfterRetries(max_retries),
            reraise=True,
        )
        self.begin()
        self._state = RetryCallState(self, fn=None, args=(), kwargs={})
        self._doubtful = False
        # Of the try that failed last.
        self.number = 0

    def __call__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Refuse: the conversation drives the tries."""
        raise TypeError("a conversation drives the tries itself")

    def failed(self, error: JourneyError) -> float:
        """Return the seconds until the next try; raise the error that is being handled if there is none."""
        state = self._state
        self.number = state.attempt_number
        self._doubtful = self._doubtful or error.maybe_processed
        state.set_exception(sys.exc_info())  # type: ignore[arg-type]  # set while handling
        try:
            step = self.iter(state)
        except JourneyError:
            # An earlier try may have been carried out, whatever the last one came to.
            error.maybe_processed = self._doubtful
            error.tries = self.number
            raise
        state.prepare_for_next_attempt()
        return step if isinstance(step, DoSleep) else 0.0


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
