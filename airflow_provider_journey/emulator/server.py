"""The HTTP server: every surface's operations, the token endpoint, and the emulator's own endpoints."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from airflow_provider_journey.emulator import control
from airflow_provider_journey.emulator.emulator import Emulator
from airflow_provider_journey.emulator.errors import ServiceError
from airflow_provider_journey.emulator.gate import MAX_BODY, api_handler, token_handler
from airflow_provider_journey.emulator.operation import Call, Operation
from airflow_provider_journey.emulator.options import Options
from airflow_provider_journey.emulator.routes import (
    action_targets,
    aggregates,
    external_contacts,
    segment_assignments,
)

_ALWAYS = (action_targets, aggregates)
_SURFACES = {"journey": segment_assignments, "externalcontacts": external_contacts}
_UNKNOWN = "/api/v2/{tail:.*}"


def make_app(emulator: Emulator) -> web.Application:
    """Put the application together.

    :param emulator: the state behind it.
    :returns: the application.
    """
    app = web.Application(client_max_size=MAX_BODY)
    chosen = [module for name, module in _SURFACES.items() if emulator.options.surface in ("both", name)]
    operations = [operation for module in (*_ALWAYS, *chosen) for operation in module.operations(emulator)]
    for operation in operations:
        app.router.add_route(operation.method, operation.path, api_handler(emulator, operation))
    app.router.add_post("/oauth/token", token_handler(emulator))
    app.add_routes(control.routes(emulator))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        unknown = Operation("unknown", method, _UNKNOWN, (), _refuse(operations, method))
        app.router.add_route(method, _UNKNOWN, api_handler(emulator, unknown))
    return app


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[tuple[Emulator, str]]:
    """Run the emulator while the block lasts.

    :param options: the switches.
    :returns: the emulator and its base URL.
    :raises OSError: when the port is taken or the address is none of this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        emulator = await asyncio.to_thread(Emulator, options)
        runner = web.AppRunner(make_app(emulator), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=1024).start()
            yield emulator, _url(listener)
        finally:
            await runner.cleanup()
            emulator.close()


def _refuse(operations: list[Operation], method: str) -> Any:
    """Answer a path that is not served: 405 where another method is, 404 without an entity elsewhere."""
    patterns = {re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path) + r"\Z") for operation in operations}

    async def refuse(call: Call) -> Any:
        if any(pattern.match(call.path) for pattern in patterns):
            raise ServiceError(405, "method.not.allowed", f"HTTP {method} is not allowed on this resource.")
        raise ServiceError(404, "not.found", "The requested resource was not found.")

    return refuse


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
