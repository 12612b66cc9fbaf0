"""The asynchronous client: holds conversations with the service, and never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_journey.api import redirects
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.api.exchange import (
    Conversation,
    Exchange,
    HaltedError,
    Join,
    Send,
    Statistics,
    Step,
    Wait,
    shared,
)
from airflow_provider_journey.api.messages import Answer, Request
from airflow_provider_journey.api.operations import Call, Entity, Page
from airflow_provider_journey.api.pacing import Standing
from airflow_provider_journey.api.settings import ConnectionSettings

if TYPE_CHECKING:
    from airflow_provider_journey.api.carrier import Carrier

T = TypeVar("T")


class JourneyAsyncClient:
    """Runs operations over one connection, as many at a time as tasks ask; belongs to one event loop.

    :param exchange: the connection's settings, clock, tokens and governor.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._carrier: Carrier | None = None

    @property
    def segments_api(self) -> str:
        """The segment surface that the connection names, for callers that build operations."""
        return self._exchange.settings.segments_api

    @property
    def statistics(self) -> Statistics:
        """What this client has done so far."""
        return self._exchange.statistics

    @property
    def standing(self) -> Standing | None:
        """What the rate limit leaves, as far as this process knows."""
        return self._exchange.standing

    @property
    def rate(self) -> float | None:
        """Calls per second that the rate limit allows, once it was told."""
        return self._exchange.rate

    def on(self, segments_api: str) -> JourneyAsyncClient:
        """Return a client for the other segments API, to be closed by itself; its calls count here."""
        return JourneyAsyncClient(self._exchange.on(segments_api))

    async def run(self, call: Call[T], halt: asyncio.Future[None] | None = None) -> T:
        """Send one request and return what its answer means.

        :param halt: when it is done nothing of the call leaves any more; what is on its way is awaited.
        :raises HaltedError: ``halt`` came before the call could leave, or leave again.
        :raises JourneyError: whatever the last try came to.
        """
        return call.read(await self._drive(self._exchange.conversation(call.request), halt))

    async def once(self, call: Call[T], quiet: float) -> T | Call[T]:
        """Send one request and no second one, whatever is answered: see :meth:`Exchange.single`.

        :param quiet: seconds for which a failed token request is not repeated.
        :return: what the answer means, or the call that takes the place of this one: the contact was merged.
        :raises JourneyError: what the one try came to.
        """
        answer = await self._drive(self._exchange.single(call.request, quiet))
        onward = redirects.onward(answer, call.request)
        return Call(onward, call.read) if onward is not None else call.read(answer)

    async def iterate(
        self, call: Call[Page], halt: asyncio.Future[None] | None = None
    ) -> AsyncIterator[Entity]:
        """Yield the entities of all pages, asking for a page when the one before it has been consumed.

        :param halt: see :meth:`run`.
        """
        following: Call[Page] | None = call
        while following is not None:
            page = await self.run(following, halt)
            for entity in page.entities:
                yield entity
            following = page.following

    async def aclose(self) -> None:
        """Close the connections to the service."""
        if self._carrier is not None:
            carrier, self._carrier = self._carrier, None
            await carrier.aclose()

    async def _drive(self, conversation: Conversation, halt: asyncio.Future[None] | None = None) -> Answer:
        try:
            step: Step = next(conversation)
            while True:
                outcome: Answer | None = None
                try:
                    if isinstance(step, Send):
                        if halt is not None and halt.done() and isinstance(step.what, Request):
                            raise _held_back(step.what)
                        outcome = await (self._carrier or self._open()).carry(step)
                    else:
                        await self._pass_time(step, halt)
                except JourneyError as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(outcome)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        finally:
            conversation.close()

    def _open(self) -> Carrier:
        from airflow_provider_journey.api.carrier import Carrier

        self._carrier = Carrier(self._exchange.settings)
        return self._carrier

    async def _pass_time(self, step: Wait | Join, halt: asyncio.Future[None] | None) -> None:
        if isinstance(step, Wait):
            sleeping = self._exchange.clock.sleep_async(step.seconds)
            await (sleeping if halt is None else _unless(halt, sleeping))
        else:
            # Shielded: when this task is cancelled the others still want the token.
            await asyncio.shield(asyncio.wrap_future(step.future))


async def _unless(halt: asyncio.Future[None], sleeping: Coroutine[Any, Any, None]) -> None:
    """Sleep, unless ``halt`` comes first or was there before."""
    asleep = asyncio.ensure_future(sleeping)
    try:
        await asyncio.wait({asleep, halt}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asleep.cancel()
    if halt.done():
        raise _held_back("a call")


def _held_back(what: object) -> HaltedError:
    return HaltedError(f"{what} was held back: whoever wanted it has come to an end.")


def connect(settings: ConnectionSettings, **options: Any) -> JourneyAsyncClient:
    """Return a client that shares token and governor with this process's others of the same connection."""
    return JourneyAsyncClient(shared(settings, **options))
