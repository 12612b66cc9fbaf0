"""What the sensors share: asking once per interval, on a worker or in the triggerer."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseHook, BaseSensorOperator, PokeReturnValue

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.operators.failing import fail_exception, failing_for_good, timeout_exception
from airflow_provider_journey.triggers.outcome import DONE, GRACE, TIMEOUT, Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.triggers.polling import PollingTrigger

# Numbers come into being by the minute, and every request counts against the organisation's rate limit.
INTERVAL = 300.0


class JourneySensor(BaseSensorOperator):
    """Asks the service once per ``poke_interval``, until it says what is waited for.

    Credentials, a permission, an id or a request that are wrong fail the task at once and for good; anything
    else is ridden out until ``timeout``, and a ``Retry-After`` that is longer than the interval is honoured.

    :param poke_interval: seconds (or a timedelta) between two looks, each of one request where its answer has
        one page.
    :param deferrable: whether the triggerer waits, so that no worker does. The first look is the worker's.
    """

    # Tests put one in its place that does not wait.
    clock: ClassVar[Clock] = SystemClock()
    journey_conn_id: str

    def __init__(
        self, *, poke_interval: timedelta | float = INTERVAL, deferrable: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable = deferrable
        # What the last look was answered with, where it was no usable answer.
        self._retry_after: float | None = None
        if deferrable and self.poke_interval < 1:
            raise ValueError(f"A deferred sensor looks at most once a second: poke_interval={poke_interval}.")

    @abstractmethod
    def look(self, context: Context, client: JourneyClient) -> PokeReturnValue:
        """Ask, and say whether it is over, and what came of it.

        :raises JourneyError: there was no usable answer.
        """

    @abstractmethod
    def trigger(self, context: Context, **polling: Any) -> PollingTrigger:
        """Return the trigger that goes on waiting, with the arguments ``polling`` for its loop."""

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; where it is not over and the sensor is deferrable, leave the waiting to the triggerer.

        :raises AirflowFailException: for what cannot get better.
        :raises TaskDeferred: to go on in the triggerer.
        """
        self._retry_after = None
        try:
            with failing_for_good():
                found = self._ask(context)
        except JourneyError as error:
            self._retry_after = error.retry_after
            pause = max(self.poke_interval, error.retry_after or 0.0)
            self.log.warning("%s The next look follows in %.0f s.", error, pause)
            found = PokeReturnValue(is_done=False)
        if not found and self.deferrable:
            self.defer(
                trigger=self.trigger(
                    context,
                    journey_conn_id=self.journey_conn_id,
                    interval=self.poke_interval,
                    deadline=self.clock.time() + self.timeout,
                    begin_after=self._retry_after,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout + GRACE),
            )
        return found

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Go on after the triggerer's wait.

        :param event: what the trigger fired, an :class:`~airflow_provider_journey.triggers.outcome.Outcome`.
        :return: what came of it, as the worker's look would have.
        :raises AirflowFailException: it cannot get better.
        :raises AirflowSensorTimeout: the sensor's ``timeout`` is over.
        :raises ValueError: the event is none of ours.
        """
        outcome = Outcome.from_event(event)
        if outcome.status == TIMEOUT:
            raise timeout_exception(f"{outcome.message} The sensor's timeout is {self.timeout:.0f} s.")
        if outcome.status != DONE:
            raise fail_exception(outcome.message)
        self.log.info("%s", outcome.message)
        return outcome.result

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Return the seconds to the next look, at least those that the service asked for."""
        return max(super()._get_next_poke_interval(*args, **kwargs), self._retry_after or 0.0)

    def _ask(self, context: Context) -> PokeReturnValue:
        from airflow_provider_journey.api.client import JourneyClient
        from airflow_provider_journey.hooks import connection

        settings = connection.read(BaseHook.get_connection(self.journey_conn_id))
        # A look is one try: the next look is its retry.
        exchange = connection.exchange(dataclasses.replace(settings, max_retries=0), self.log)
        exchange.clock = self.clock
        with closing(JourneyClient(exchange)) as client:
            return self.look(context, client)
