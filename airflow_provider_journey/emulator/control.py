"""The emulator's own endpoints: what a test asks and sets. The real service has nothing like them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from airflow_provider_journey.emulator.emulator import Emulator

_CHUNK = 2000


def routes(emulator: Emulator) -> list[web.RouteDef]:
    """List the control endpoints.

    :param emulator: the state.
    :returns: the routes.
    """
    endpoints = _Endpoints(emulator)
    return [
        web.get("/emulator", endpoints.describe),
        web.get("/emulator/calls", endpoints.calls),
        web.delete("/emulator/calls", endpoints.forget_calls),
        web.get("/emulator/requests", endpoints.requests),
        web.get("/emulator/assignments", endpoints.assignments),
        web.get("/emulator/jobs", endpoints.jobs),
        web.post("/emulator/tokens/revoke", endpoints.revoke),
        web.post("/emulator/contacts/merge", _checked(endpoints.merge)),
        web.post("/emulator/contacts/vanish", _checked(endpoints.vanish)),
        web.put("/emulator/faults", _checked(endpoints.set_faults)),
        web.post("/emulator/script", _checked(endpoints.add_script)),
        web.delete("/emulator/script", endpoints.clear_script),
        web.put("/emulator/limits", _checked(endpoints.set_limits)),
        web.put("/emulator/clock", _checked(endpoints.set_clock)),
    ]


class _Endpoints:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def describe(self, request: web.Request) -> web.Response:
        return web.json_response(self._emulator.describe(f"{request.scheme}://{request.host}"))

    async def calls(self, request: web.Request) -> web.Response:
        return web.json_response(self._emulator.calls.counts())

    async def forget_calls(self, request: web.Request) -> web.Response:
        self._emulator.calls.clear()
        return web.Response(status=204)

    async def requests(self, request: web.Request) -> web.Response:
        return web.json_response(self._emulator.calls.recent(request.query.get("operation")))

    async def assignments(self, request: web.Request) -> web.StreamResponse:
        segment_id = request.query.get("segment_id")
        segment = None if segment_id is None else self._emulator.catalogue.segment_index.get(segment_id)
        if segment_id is not None and segment is None:
            return web.json_response({"error": f"there is no segment {segment_id}"}, status=404)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        lines: list[str] = []
        for member in self._emulator.contacts.members(segment):
            lines.append(json.dumps(member) + "\n")
            if len(lines) >= _CHUNK:
                await response.write("".join(lines).encode())
                lines.clear()
        await response.write("".join(lines).encode())
        return response

    async def jobs(self, request: web.Request) -> web.Response:
        return web.json_response(self._emulator.jobs.states())

    async def revoke(self, request: web.Request) -> web.Response:
        self._emulator.oauth.revoke()
        return web.Response(status=204)

    async def clear_script(self, request: web.Request) -> web.Response:
        self._emulator.faults.clear_script()
        return web.Response(status=204)

    def merge(self, body: Any) -> None:
        self._emulator.contacts.merge(body["contact"], body["into"])

    def vanish(self, body: Any) -> None:
        self._emulator.contacts.vanish(body["contacts"])

    def set_faults(self, body: Any) -> None:
        self._emulator.faults.set_shares(dict(body))

    def add_script(self, body: Any) -> None:
        self._emulator.faults.add_script(body if isinstance(body, list) else [body])

    def set_limits(self, body: Any) -> None:
        jobs = self._emulator.jobs
        of_jobs = {"job_seconds": "seconds", "job_lifetime": "lifetime", "job_page_size": "page_size"}
        unknown = body.keys() - {"rate_limit", "window", "max_buckets", *of_jobs}
        if unknown:
            raise ValueError(f"there is no limit {', '.join(sorted(unknown))}")
        for name in of_jobs.keys() & body.keys():
            setattr(jobs, of_jobs[name], type(getattr(jobs, of_jobs[name]))(body[name]))
        limiter = self._emulator.limiter
        limiter.allowed = int(body.get("rate_limit", limiter.allowed))
        limiter.seconds = float(body.get("window", limiter.seconds))
        limiter.reset()
        if "max_buckets" in body:
            self._emulator.aggregates.max_buckets = body["max_buckets"]

    def set_clock(self, body: Any) -> None:
        if "advance" in body:
            self._emulator.clock.offset += float(body["advance"])
        else:
            self._emulator.clock.set(body["now"])


def _checked(change: Callable[[Any], None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make an endpoint of a change, which answers what is wrong with a body in plain words."""

    async def endpoint(request: web.Request) -> web.Response:
        try:
            change(await request.json())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.Response(status=204)

    return endpoint
