"""The way every request goes: who asks, how much, what goes wrong, and then the operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import uuid4

from aiohttp import web

from airflow_provider_journey.emulator import breaking
from airflow_provider_journey.emulator.calls import Record
from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.errors import ServiceError
from airflow_provider_journey.emulator.faults import AFTER, BEFORE, OWN, THROTTLES, TOKEN, Fault
from airflow_provider_journey.emulator.oauth import Token, TokenRefusedError, require
from airflow_provider_journey.emulator.operation import Call, Operation

MAX_BODY = 512_000
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


def api_handler(emulator: Emulator, operation: Operation) -> Serve:
    """Wrap an operation for the server.

    :param emulator: the state.
    :param operation: what is served.
    :returns: the request handler.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        return await _Passage(emulator, operation, request).run()

    return serve


class _Passage:
    """One API request on its way through."""

    def __init__(self, emulator: Emulator, operation: Operation, request: web.Request) -> None:
        self.emulator = emulator
        self.operation = operation
        self.request = request
        self.correlation_id = str(uuid4())
        self.body = b""
        self.quota: str | None = None

    async def run(self) -> web.StreamResponse:
        try:
            self.body = await _read(self.request)
            token = self.emulator.oauth.authenticate(self.request.headers.get("Authorization"))
            response = await self._after_authentication(token)
        except ServiceError as error:
            response = self._refusal(error)
        return self._record(response)

    async def _after_authentication(self, token: Token) -> web.StreamResponse:
        emulator = self.emulator
        per_token = emulator.options.rate_limit_scope == "token"
        self.quota = f"token {token.ordinal}" if per_token else token.client.client_id
        emulator.limiter.check(self.quota)
        fault = emulator.faults.next(self.operation.id)
        name = fault.name if fault else ""
        if name not in THROTTLES:
            emulator.limiter.take(self.quota)
        await _hold_back(emulator, fault)
        if fault and name in BEFORE:
            if name == "reset-before":
                return breaking.reset(self.request)
            return self._signed(breaking.refuse(fault, emulator.clock, self.request.match_info))
        require(token.client, self.operation.permissions)
        response = await self._perform(fault if name in OWN else None)
        return await self._spoiled(fault, response) if fault and name in AFTER else self._signed(response)

    async def _perform(self, fault: Fault | None) -> web.Response:
        request = self.request
        call = Call(
            request.raw_path.partition("?")[0],
            request.match_info,
            request.query,
            request.query_string,
            request.content_type,
            self.body,
            fault,
        )
        answer = await self.operation.handler(call)
        if answer is None:
            return web.Response(status=204)
        body = answer if isinstance(answer, bytes) else json.dumps(answer, separators=(",", ":")).encode()
        return web.Response(body=body, content_type="application/json")

    async def _spoiled(self, fault: Fault, response: web.Response) -> web.StreamResponse:
        if fault.name == "reset-after":
            return breaking.reset(self.request)
        if fault.name == "truncated":
            return await breaking.truncate(self.request, self._signed(response))
        return self._signed(breaking.spoil(fault, response))

    def _refusal(self, error: ServiceError) -> web.Response:
        body = json.dumps(error.body(self.correlation_id)).encode()
        response = web.Response(status=error.status, body=body, content_type="application/json")
        response.headers.update(error.headers)
        return self._signed(response)

    def _signed(self, response: web.Response) -> web.Response:
        response.headers["ININ-Correlation-Id"] = self.correlation_id
        if self.quota is not None:
            response.headers.update(self.emulator.limiter.headers(self.quota))
        return response

    def _record(self, response: web.StreamResponse) -> web.StreamResponse:
        _take_down(self.emulator, self.operation.id, self.request, self.body, response)
        return response


def token_handler(emulator: Emulator) -> Serve:
    """Give the handler of the token endpoint.

    :param emulator: the state.
    :returns: the request handler.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            fault = emulator.faults.next("token")
            await _hold_back(emulator, fault)
            response = await _grant(emulator, request, fault)
        except TokenRefusedError as error:
            response = web.json_response(error.body, status=error.status)
        except ServiceError as error:
            response = web.json_response(error.body(str(uuid4())), status=error.status, headers=error.headers)
        _take_down(emulator, "token", request, b"", response)
        return response

    return serve


async def _grant(emulator: Emulator, request: web.Request, fault: Fault | None) -> web.StreamResponse:
    name = fault.name if fault else ""
    if fault and name in BEFORE:
        return breaking.reset(request) if name == "reset-before" else breaking.refuse(fault, emulator.clock)
    if name == "token-rate-limit":
        raise TokenRefusedError(400, "invalid_request", "rate limit exceeded")
    if name == "token-401":
        raise TokenRefusedError(401, "invalid_client", "authentication failed")
    if name == "token-html":
        return web.Response(text="<html><body>Sign in</body></html>", content_type="text/html")
    if name == "token-garbage":
        return web.json_response({"token": ["unexpected"]})
    form = {key: str(value) for key, value in (await request.post()).items()}
    answer = emulator.oauth.grant(request.headers.get("Authorization"), form)
    if name == "token-no-expiry":
        del answer["expires_in"]
    response = web.json_response(answer)
    if not fault or name not in AFTER or name in TOKEN:
        return response
    if name == "reset-after":
        return breaking.reset(request)
    return (
        await breaking.truncate(request, response) if name == "truncated" else breaking.spoil(fault, response)
    )


async def _hold_back(emulator: Emulator, fault: Fault | None) -> None:
    seconds = emulator.options.latency_ms / 1000
    if fault and fault.name == "slow":
        seconds += fault.seconds
    if seconds:
        await asyncio.sleep(seconds)


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        limit = {"key": "request.bytes.max", "namespace": "gateway", "value": MAX_BODY}
        message = "The request body is larger than the service takes."
        raise ServiceError(413, "request.entity.too.large", message, limit=limit) from None


def _take_down(
    emulator: Emulator, operation: str, request: web.Request, body: bytes, response: web.StreamResponse
) -> None:
    gone = request.transport is None or (request.transport.is_closing() and not response.prepared)
    emulator.calls.add(
        Record(
            operation,
            request.method,
            request.path_qs.partition("?")[0],
            request.query,
            body,
            breaking.RESET if gone else str(response.status),
            request.headers,
            emulator.oauth.ordinal(request.headers.get("Authorization")),
        )
    )
