"""When there is no answer: what the two HTTP libraries raise, in this provider's words."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from airflow_provider_journey.api.errors import ConnectionFailedError, JourneyError, ResponseError
from airflow_provider_journey.api.exchange import Send
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.api.settings import ConnectionSettings

if TYPE_CHECKING:
    import requests


def of_requests(
    error: requests.RequestException, step: Send, settings: ConnectionSettings, heard: Answer | None
) -> JourneyError:
    """Return the error that an exception of requests means for ``step``.

    :param heard: status and headers, where the answer had begun.
    """
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(
        error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    ):
        return _cut_off(step, heard)
    if isinstance(error, requests.exceptions.SSLError):
        return _failed(step, settings, _tls_cause(error), transient=False)
    if isinstance(error, requests.exceptions.ProxyError):
        return _failed(step, settings, "the proxy did not connect")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _failed(step, settings, f"no connection within {settings.timeout:g} s")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return _failed(step, settings, f"no answer within {settings.timeout:g} s", sent=True)
    cause: object = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    if isinstance(cause, NewConnectionError):
        return _failed(step, settings, _innermost(cause))
    if isinstance(error, requests.exceptions.ConnectionError):
        return _failed(step, settings, f"the connection broke ({_innermost(error)})", sent=True)
    return _failed(step, settings, f"{type(error).__name__}", transient=False)


def of_aiohttp(
    error: BaseException, step: Send, settings: ConnectionSettings, heard: Answer | None
) -> JourneyError:
    """Return the error that an exception of aiohttp, or a time-out, means for ``step``.

    :param heard: status and headers, where the answer had begun.
    """
    import asyncio

    import aiohttp

    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        return _cut_off(step, heard)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)):
        return _failed(step, settings, _tls_cause(error), transient=False)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return _failed(step, settings, "the proxy did not connect")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _failed(step, settings, f"no connection within {settings.timeout:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _failed(step, settings, _innermost(error))
    # Two types on Python 3.10, and aiohttp's time-out is only the second.
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return _failed(step, settings, f"no answer within {settings.timeout:g} s", sent=True)
    if isinstance(error, aiohttp.InvalidURL):
        return _failed(step, settings, "the URL is not valid", transient=False)
    return _failed(step, settings, f"the connection broke ({_innermost(error)})", sent=True)


def _failed(
    step: Send, settings: ConnectionSettings, cause: str, *, sent: bool = False, transient: bool = True
) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"{step.what} on connection {settings.conn_id!r} got no answer from {settings.site.name}: {cause}.",
        transient=transient,
        maybe_processed=sent,
    )


def _cut_off(step: Send, heard: Answer | None) -> ResponseError:
    traced = heard.correlation_id if heard else None
    return ResponseError(
        f"{step.what} was answered, but the answer was cut off on its way."
        + (f" [correlation id {traced}]" if traced else ""),
        status=heard.status if heard else None,
        correlation_id=traced,
        transient=True,
        maybe_processed=True,
    )


def _tls_cause(error: BaseException) -> str:
    if "certificate verify failed" in str(error).lower().replace("_", " "):
        return "its certificate was not accepted"
    return "it does not speak TLS as it should; is it https at all?"


def _innermost(error: BaseException) -> str:
    """Return the words of the operating system, which the libraries wrap several times."""
    seen: BaseException = error
    while (deeper := seen.__cause__ or seen.__context__) is not None:
        seen = deeper
    if isinstance(seen, OSError) and seen.errno is not None:
        # asyncio puts words of its own in the place of the system's; a failed look-up has numbers of its own.
        return (isinstance(seen, socket.gaierror) and seen.strerror) or os.strerror(seen.errno)
    return str(seen) or type(seen).__name__
