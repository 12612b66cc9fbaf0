"""The one loop of all triggers: ask, wait an interval, ask again, until it is over one way or another."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.calls import Call
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.errors import AuthenticationError, JourneyError
from airflow_provider_journey.operators.failing import is_lasting
from airflow_provider_journey.triggers.outcome import FAILED, GRACE, TIMEOUT, Outcome
from airflow_provider_journey.triggers.sharing import SharedConnection, sharing


class Asking:
    """Asks the service one thing at a time, one request each, and takes note of what cannot get better.

    :param connection: shared with the other triggers.
    :param interval: seconds for which a failed token request is not repeated.
    """

    def __init__(self, connection: SharedConnection, interval: float) -> None:
        self._connection = connection
        self._interval = interval
        self._moved: dict[str, str] = {}  # paths of merged contacts, and of those that speak for them
        self._refused = False

    async def client(self) -> JourneyAsyncClient:
        """Return the client of the connection as it is now."""
        return await self._connection.client()

    async def ask(self, call: Call[Any]) -> Any:
        """Send one request, at most, and return what its answer means.

        :return: ``None`` where the answer was that another contact is to be asked, which the next one is.
        :raises JourneyError: ``transient`` unless it makes no sense to ask again.
        """
        path = call.request.path
        while path in self._moved:
            path = self._moved[path]
        request = call.request._replace(path=path)
        client = await self.client()
        try:
            async with self._connection.turns:
                found = await client.once(Call(request, call.read), self._interval)
        except JourneyError as error:
            error.transient = await self._may_get_better(error, client)
            raise
        self._refused = False
        if isinstance(found, Call):
            self._moved[path] = found.request.path
            # It speaks for itself now, whatever was said of it before: nothing leads around in a circle.
            self._moved.pop(found.request.path, None)
            return None
        return found

    async def _may_get_better(self, error: JourneyError, client: JourneyAsyncClient) -> bool:
        if not isinstance(error, AuthenticationError):
            self._refused = False
            return not is_lasting(error)
        # A token may have been revoked. When the next is refused as well, the secret may have been changed.
        again, self._refused = self._refused, True
        if error.transient and not again:
            return True
        return await self._connection.is_another(client)


def spread(interval: float) -> float:
    """Return the seconds before a first request: a bit more than ``interval``, and not the same for all.

    A triggerer that starts takes up all its triggers in the same moment.
    """
    return interval * random.uniform(1.0, 1.1)  # noqa: S311 - nobody is kept from guessing it


class PollingTrigger(BaseTrigger):
    """Asks once per interval, whatever is answered, and fires one event: an :class:`Outcome`.

    The first request leaves an interval after the start: the worker has just asked, or the triggerer in which
    this trigger ran before. Credentials, a permission or a request that are wrong end the wait, anything else
    is ridden out; a ``Retry-After`` that is longer than the interval is honoured.

    :param journey_conn_id: id of the connection; its secrets are read where the trigger runs.
    :param interval: seconds between two requests.
    :param deadline: seconds since 1970 UTC, when the wait is over; where Airflow has its own for the
        deferral, that counts instead (less ``GRACE``), since clocks of two machines may differ.
    :param begin_after: seconds before the first request, where the service asked the worker for more than an
        interval.
    """

    # Not an argument: those are stored as JSON. Tests put their own in its place.
    clock: ClassVar[Clock] = SystemClock()

    def __init__(
        self,
        *,
        journey_conn_id: str,
        interval: float,
        deadline: float | None = None,
        begin_after: float | None = None,
    ) -> None:
        super().__init__()
        self.journey_conn_id = journey_conn_id
        self.interval = interval
        self.deadline = deadline
        self.begin_after = begin_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and the arguments that make the same trigger again."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {
            "journey_conn_id": self.journey_conn_id,
            "interval": self.interval,
            "deadline": self.deadline,
            "begin_after": self.begin_after,
            **self.arguments(),
        }

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments beside those of this class, as JSON."""

    @abstractmethod
    def next_call(self, segments_api: str) -> Call[Any]:
        """Return the request to send next.

        :raises JourneyError: the connection's ``segments_api`` has none such, or its arguments cannot be.
        """

    @abstractmethod
    def heard(self, answer: Any) -> Outcome | None:
        """Take in what an answer means; return how the wait ended, ``None`` while it goes on."""

    def begin_anew(self) -> bool:
        """Forget the half of an answer that was heard; return whether there was one.

        A listing's next page may be refused when it is asked for an interval later.
        """
        return False

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire how it ended."""
        async with sharing(self.journey_conn_id, self.clock) as connection:
            outcome = await self._wait(Asking(connection, self.interval))
        yield TriggerEvent(outcome.to_event())

    async def _wait(self, asking: Asking) -> Outcome:
        end = self.clock.monotonic() + self._time_left()
        pause, last = spread(max(self.interval, self.begin_after or 0.0)), "It was not asked yet."
        while True:
            left = end - self.clock.monotonic()
            await self.clock.sleep_async(max(0.0, min(pause, left)))
            if left <= pause:
                return Outcome(TIMEOUT, f"The time to wait is over. {last}")
            pause = self.interval
            try:
                client = await asking.client()
                answer = await asking.ask(self.next_call(client.segments_api))
                outcome = None if answer is None else self.heard(answer)
            except JourneyError as error:
                if is_lasting(error) and not self.begin_anew():
                    return Outcome(FAILED, str(error))
                last = f"The last answer was: {error}"
                pause = max(pause, error.retry_after or 0.0)
                self.log.warning("%s The next try follows in %.0f s.", error, pause)
            else:
                last = "What it waited for had not come."
                if outcome is not None:
                    return outcome

    def _time_left(self) -> float:
        airflows: datetime | None = getattr(self, "timeout_after", None)
        if airflows is not None:
            aware = airflows if airflows.tzinfo else airflows.replace(tzinfo=timezone.utc)
            return aware.timestamp() - GRACE - self.clock.time()
        return float("inf") if self.deadline is None else self.deadline - self.clock.time()
