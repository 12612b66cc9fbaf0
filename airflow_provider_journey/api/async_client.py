"""The asynchronous client: carries a conversation's bytes with aiohttp, and never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_provider_journey.api import failures, redirects
from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.api.exchange import (
    Conversation,
    Exchange,
    Join,
    Send,
    Statistics,
    Step,
    Wait,
    shared,
)
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.api.operations import Call, Entity, Page
from airflow_provider_journey.api.pacing import Standing
from airflow_provider_journey.api.settings import ConnectionSettings

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")


class JourneyAsyncClient:
    """Runs operations over one connection, as many at a time as tasks ask; belongs to one event loop.

    :param exchange: the connection's settings, clock, tokens and governor.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

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

    async def run(self, call: Call[T]) -> T:
        """Send one request and return what its answer means.

        :raises JourneyError: whatever the last try came to.
        """
        return call.read(await self._drive(self._exchange.conversation(call.request)))

    async def once(self, call: Call[T], quiet: float) -> T | Call[T]:
        """Send one request and no second one, whatever is answered: see :meth:`Exchange.single`.

        :param quiet: seconds for which a failed token request is not repeated.
        :return: what the answer means, or the call that takes the place of this one: the contact was merged.
        :raises JourneyError: what the one try came to.
        """
        answer = await self._drive(self._exchange.single(call.request, quiet))
        onward = redirects.onward(answer, call.request)
        return Call(onward, call.read) if onward is not None else call.read(answer)

    async def iterate(self, call: Call[Page]) -> AsyncIterator[Entity]:
        """Yield the entities of all pages, asking for a page when the one before it has been consumed."""
        following: Call[Page] | None = call
        while following is not None:
            page = await self.run(following)
            for entity in page.entities:
                yield entity
            following = page.following

    async def aclose(self) -> None:
        """Close the connections to the service."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _drive(self, conversation: Conversation) -> Answer:
        try:
            step: Step = next(conversation)
            while True:
                try:
                    outcome = await self._perform(step)
                except JourneyError as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(outcome)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        finally:
            conversation.close()

    async def _perform(self, step: Step) -> Answer | None:
        if isinstance(step, Send):
            return await self._carry(step)
        if isinstance(step, Wait):
            await self._exchange.clock.sleep_async(step.seconds)
        elif isinstance(step, Join):
            # Shielded: when this task is cancelled the others still want the token.
            await asyncio.shield(asyncio.wrap_future(step.future))
        return None

    async def _carry(self, step: Send) -> Answer:
        import aiohttp
        from yarl import URL

        session = self._session or self._open()
        settings = self._exchange.settings
        response: aiohttp.ClientResponse | None = None
        try:
            async with session.request(
                step.method,
                URL(step.url, encoded=True),
                headers=step.headers,
                data=step.content,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            heard = None if response is None else Answer(response.status, response.headers)
            raise failures.of_aiohttp(error, step, settings, heard) from error

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        settings = self._exchange.settings
        self._proxy = settings.proxy or _environment_proxy(settings.site.api_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_tls_check(settings.verify)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.timeout, sock_read=settings.timeout
            ),
        )
        # By itself it would send a GET a second time when a connection breaks: what is sent again is for the
        # exchange to decide, and to count.
        self._session._retry_connection = False
        return self._session


def _environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for ``url``.

    Not by aiohttp's ``trust_env``: it would let a .netrc stand in the way of our Authorization header.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _tls_check(verify: bool | str) -> Any:
    """Return what aiohttp takes for the connection's ``verify``: a flag, or a context with a CA bundle."""
    if isinstance(verify, bool):
        return verify
    import ssl

    return ssl.create_default_context(cafile=verify)


def connect(settings: ConnectionSettings, **options: Any) -> JourneyAsyncClient:
    """Return a client that shares token and governor with this process's others of the same connection."""
    return JourneyAsyncClient(shared(settings, **options))
