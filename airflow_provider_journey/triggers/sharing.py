"""What the triggers of one connection share in a triggerer: client, token and governor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from airflow.sdk import BaseHook

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.errors import ConnectionFailedError
from airflow_provider_journey.api.settings import ConnectionSettings
from airflow_provider_journey.hooks import connection

_log = logging.getLogger(__name__)
# Requests in flight at a time. A thousand triggers that start together would open a thousand connections.
_AT_ONCE = 16


class SharedConnection:
    """A connection's one client in an event loop.

    :param conn_id: id of the Airflow connection.
    :param clock: where the client's waits come from.
    """

    def __init__(self, conn_id: str, clock: Clock) -> None:
        self.users = 0
        self.turns = asyncio.Semaphore(_AT_ONCE)
        self._conn_id = conn_id
        self._clock = clock
        self._reading = asyncio.Lock()
        self._settings: ConnectionSettings | None = None
        self._clients: list[JourneyAsyncClient] = []

    async def client(self) -> JourneyAsyncClient:
        """Return the client, made of the Airflow connection when the first asks for it.

        :raises JourneyError: the connection cannot be used as it is.
        """
        async with self._reading:
            if not self._clients:
                self._open(await self._read())
            return self._clients[-1]

    async def is_another(self, refused: JourneyAsyncClient) -> bool:
        """Read the Airflow connection again, since the service does not know ``refused``.

        :return: whether it has changed, so that :meth:`client` is another one from now on.
        """
        async with self._reading:
            if self._clients[-1] is refused:
                settings = await self._read()
                if settings == self._settings:
                    return False
                # The old one stays open: others may be in the middle of a request.
                self._open(settings)
            return True

    async def aclose(self) -> None:
        """Close what was opened."""
        while self._clients:
            await self._clients.pop().aclose()

    async def _read(self) -> ConnectionSettings:
        from asgiref.sync import sync_to_async

        # In a thread, since that works in triggerers and ``dag.test()`` alike, and blocks neither's loop. By
        # asgiref: from any other thread, a question to the supervisor ends the triggerer of Airflow 3.1.
        try:
            return await sync_to_async(lambda: connection.read(BaseHook.get_connection(self._conn_id)))()
        except connection.not_found() as error:
            # Airflow says so, too, while its API server does not answer.
            raise ConnectionFailedError(
                f"The Airflow connection {self._conn_id!r} could not be read: {error}.", transient=True
            ) from error

    def _open(self, settings: ConnectionSettings) -> None:
        exchange = connection.exchange(settings, _log)
        exchange.clock = self._clock
        self._settings = settings
        self._clients.append(JourneyAsyncClient(exchange))


_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Clock], SharedConnection]] = (
    WeakKeyDictionary()
)


@asynccontextmanager
async def sharing(conn_id: str, clock: Clock) -> AsyncIterator[SharedConnection]:
    """Share the connection ``conn_id`` with all who do so in this event loop; the last one closes it."""
    shared = _SHARED.setdefault(asyncio.get_running_loop(), {})
    key = (conn_id, clock)
    found = shared.setdefault(key, SharedConnection(conn_id, clock))
    found.users += 1
    try:
        yield found
    finally:
        found.users -= 1
        if not found.users:
            del shared[key]
            await found.aclose()
