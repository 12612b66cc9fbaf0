"""How each fault looks on the wire."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import web

from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.errors import ServiceError, not_found
from airflow_provider_journey.emulator.faults import THROTTLES, Fault
from airflow_provider_journey.emulator.limits import throttled

RESET = "reset"
_CODES = {
    400: ("bad.request", "The request could not be understood."),
    401: ("bad.credentials", "Invalid login credentials."),
    403: ("missing.any.permissions", "Unable to perform the requested action."),
    404: ("not.found", "The requested resource was not found."),
    408: ("request.timeout", "The request timed out."),
    413: ("request.entity.too.large", "The request is too large."),
    500: ("internal.server.error", "The server encountered an unexpected condition."),
    501: ("not.implemented", "This feature is not switched on."),
    502: ("bad.gateway", "The upstream service gave no usable answer."),
    503: ("service.unavailable", "The service is temporarily unavailable."),
    504: ("gateway.timeout", "The upstream service gave no answer in time."),
}
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_WRONG = (
    '{"results":[{"group":"none","data":[{"interval":7,"metrics":[{"stats":{"count":"many"}}]}]}],'
    '"entities":{"id":["not","a","list"]}}'
)


def too_large(key: str, value: int) -> ServiceError:
    """Refuse a request that a smaller one could replace.

    :param key: the limit's name.
    :param value: the limit's value.
    :returns: the 413, to be raised.
    """
    code, message = _CODES[413]
    return ServiceError(413, code, message, limit={"key": key, "namespace": "analytics", "value": value})


def refuse(fault: Fault, clock: Clock, ids: Mapping[str, str] | None = None) -> web.Response:
    """Give the answer of a fault that strikes before anything is done, or raise it.

    :param fault: any of :data:`faults.BEFORE` but ``reset-before``.
    :param clock: the emulator's clock, for Retry-After as a date.
    :param ids: the ids in the request's path, the first of which a 404 does not find; with none it is
        the path itself that is not found.
    :returns: the gateway's own answer for the faults that have one.
    :raises ServiceError: for every other one.
    """
    if fault.name == "502-html":
        return web.Response(status=502, text=_HTML, content_type="text/html")
    if fault.name == "504-empty":
        return web.Response(status=504)
    if fault.name in THROTTLES:
        raise _throttle(fault, clock)
    if fault.name == "too-large":
        raise too_large("max.buckets", 0)
    if fault.name == "404" and ids:
        name, value = next(iter(ids.items()))
        raise not_found(name.removesuffix("Id"), value)
    status = int(fault.name)
    code, message = _CODES[status]
    wait = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    raise ServiceError(status, code, message, headers=wait)


def spoil(fault: Fault, response: web.Response) -> web.Response:
    """Spoil an answer after the work was done.

    :param fault: one of ``cut-json``, ``non-json``, ``wrong-shape``, ``empty-body``.
    :param response: the answer as it should have been.
    :returns: what is sent instead.
    """
    whole = response.body if isinstance(response.body, bytes) else b""
    if fault.name == "cut-json":
        return web.Response(body=whole[: len(whole) // 2] or b"{", content_type="application/json")
    if fault.name == "non-json":
        return web.Response(text="<html><body>Scheduled maintenance</body></html>", content_type="text/html")
    if fault.name == "wrong-shape":
        return web.Response(text=_WRONG, content_type="application/json")
    return web.Response(body=b"", content_type="application/json")


async def truncate(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Promise the whole answer, send half of it, and hang up.

    :param request: the request.
    :param response: the answer as it should have been.
    :returns: what was begun.
    """
    whole = response.body if isinstance(response.body, bytes) and response.body else b"{}"
    begun = web.StreamResponse(
        status=200 if response.status == 204 else response.status, headers=response.headers
    )
    begun.content_type = "application/json"
    begun.content_length = len(whole)
    begun.force_close()
    await begun.prepare(request)
    await begun.write(whole[: len(whole) // 2])
    if request.transport is not None:
        request.transport.close()
    return begun


def reset(request: web.Request) -> web.Response:
    """Cut the connection so that the peer sees a reset.

    :param request: the request whose connection it is.
    :returns: an answer that goes nowhere.
    """
    if request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def _throttle(fault: Fault, clock: Clock) -> ServiceError:
    seconds = 1 if fault.retry_after is None else fault.retry_after
    if fault.name == "429-no-header":
        return throttled(None)
    if fault.name == "429-date":
        error = throttled(seconds, formatdate(clock.time() + seconds, usegmt=True))
        error.headers["Date"] = formatdate(clock.time(), usegmt=True)
        return error
    return throttled(seconds)
