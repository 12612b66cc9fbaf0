"""What carries the asynchronous client's bytes: one aiohttp session. Imported when the first is sent."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from airflow_provider_journey.api import failures
from airflow_provider_journey.api.exchange import Send
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.api.settings import ConnectionSettings


class Carrier:
    """Sends one request at a time for each who asks, once, wherever it is told to; belongs to one event loop.

    :param settings: time-outs, proxy and TLS checks are the connection's.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
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

    async def carry(self, step: Send) -> Answer:
        """Send the step's bytes and return the answer, whatever its status.

        :raises JourneyError: there was none, or not a whole one.
        """
        response: aiohttp.ClientResponse | None = None
        try:
            async with self._session.request(
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
            raise failures.of_aiohttp(error, step, self._settings, heard) from error

    async def aclose(self) -> None:
        """Close the connections to the service."""
        await self._session.close()


def _environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for ``url``.

    Not by aiohttp's ``trust_env``: it would let a .netrc stand in the way of our Authorization header.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _tls_check(verify: bool | str) -> bool | ssl.SSLContext:
    """Return what aiohttp takes for the connection's ``verify``: a flag, or a context with a CA bundle."""
    return verify if isinstance(verify, bool) else ssl.create_default_context(cafile=verify)
