"""An emulator in a thread of this process, with helpers that ask its control endpoints over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.parse
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from types import TracebackType
from typing import Any

from airflow_provider_journey.emulator.options import Options

_PATIENCE = 30.0


class LocalEmulator:
    """A running emulator and what a test wants of it; a context manager.

    :ivar base_url: its address, such as ``http://127.0.0.1:43121``.
    :ivar connection_uri: a value for ``AIRFLOW_CONN_JOURNEY_DEFAULT``.
    :ivar client_id: the default client's id.
    :ivar client_secret: the default client's secret.
    :ivar examples: one id of each kind, as in ``GET /emulator``.
    :param options: the switches.
    """

    connection_uri: str
    client_id: str
    client_secret: str
    examples: dict[str, str]

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ready = threading.Event()
        self._end: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journey-emulator")
        self.base_url = ""

    def __enter__(self) -> LocalEmulator:
        """Start it and wait until it answers."""
        self._end = self._worker.submit(self._run)
        self._ready.wait(_PATIENCE)
        if not self.base_url:
            self._end.result(_PATIENCE)
        about = self.control("GET", "/emulator")
        self.connection_uri, self.examples = about["connection_uri"], about["examples"]
        self.client_id, self.client_secret = about["client_id"], about["client_secret"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._worker.shutdown()

    def about(self) -> dict[str, Any]:
        """Give what ``GET /emulator`` answers: clients, segments, limits."""
        found: dict[str, Any] = self.control("GET", "/emulator")
        return found

    def calls(self) -> dict[str, dict[str, int]]:
        """Count the calls by operation and status; ``token`` is the token endpoint."""
        found: dict[str, dict[str, int]] = self.control("GET", "/emulator/calls")
        return found

    def reset_calls(self) -> None:
        """Forget the calls so far."""
        self.control("DELETE", "/emulator/calls")

    def requests(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Give the last thousand requests.

        :param operation: only this operation's.
        :returns: operation, method, path, query, body, status, headers, token ordinal; oldest first.
        """
        query = f"?operation={operation}" if operation else ""
        found: list[dict[str, Any]] = self.control("GET", f"/emulator/requests{query}")
        return found

    def assignments(self, segment_id: str | None = None) -> list[dict[str, Any]]:
        """Say who is, or was, in a segment.

        :param segment_id: the segment; None: all of them.
        :returns: contact, segment, state, and when it was assigned, modified, unassigned and will expire.
        """
        query = f"?segment_id={urllib.parse.quote(segment_id)}" if segment_id else ""
        return [json.loads(line) for line in self._send("GET", f"/emulator/assignments{query}").splitlines()]

    def members(self, segment_id: str) -> set[str]:
        """Give the ids of the contacts that are in a segment now."""
        return {m["external_contact_id"] for m in self.assignments(segment_id) if m["state"] == "Assigned"}

    def jobs(self) -> dict[str, str]:
        """Give the state of every job by its id, the oldest first."""
        found: dict[str, str] = self.control("GET", "/emulator/jobs")
        return found

    def script(self, *faults: dict[str, Any] | str) -> None:
        """Append faults that strike in this order.

        :param faults: names, or ``{"fault", "operation", "times", "after", "retry_after", "seconds",
            "items"}``.
        """
        items = [{"fault": fault} if isinstance(fault, str) else fault for fault in faults]
        self.control("POST", "/emulator/script", items)

    def clear_script(self) -> None:
        """Forget the faults that have not struck."""
        self.control("DELETE", "/emulator/script")

    def faults(self, **shares: float) -> None:
        """Replace the shares of calls that chance spoils; none given ends it.

        :param shares: share (0 to 1) by fault name; names with a dash go through ``**{"reset-after": 0.1}``.
        """
        self.control("PUT", "/emulator/faults", shares)

    def limits(self, **limits: float | None) -> None:
        """Change a limit.

        :param limits: ``rate_limit`` (calls), ``window`` (seconds), ``max_buckets``; of the jobs that are
            submitted from now on ``job_seconds`` (until they are fulfilled), ``job_lifetime`` (seconds for
            which results are kept), ``job_page_size`` (results, where none is asked for).
        """
        self.control("PUT", "/emulator/limits", limits)

    def set_clock(self, now: str | None) -> None:
        """Let the emulator's clock show another instant (ISO-8601), or real time again."""
        self.control("PUT", "/emulator/clock", {"now": now})

    def advance_clock(self, seconds: float) -> None:
        """Move the emulator's clock: tokens and windows age, events arrive."""
        self.control("PUT", "/emulator/clock", {"advance": seconds})

    def revoke_tokens(self) -> None:
        """Refuse every token given out so far."""
        self.control("POST", "/emulator/tokens/revoke")

    def merge(self, contact_id: str, into: str) -> None:
        """Let one contact be merged into another, which speaks for both from now on."""
        self.control("POST", "/emulator/contacts/merge", {"contact": contact_id, "into": into})

    def vanish(self, *contact_ids: str) -> None:
        """Let contacts be gone, as ephemeral ones are after 60 days."""
        self.control("POST", "/emulator/contacts/vanish", {"contacts": contact_ids})

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask a control endpoint.

        :param method: HTTP method.
        :param path: path with query.
        :param body: sent as JSON; None sends nothing.
        :returns: the answer's JSON, or None for an empty one.
        :raises RuntimeError: with what the endpoint says is wrong.
        """
        answer = self._send(method, path, None if body is None else json.dumps(body).encode())
        return json.loads(answer) if answer else None

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = HTTPConnection(self.base_url.partition("//")[2], timeout=_PATIENCE)
        with closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {answer.decode()}")
        return answer

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from airflow_provider_journey.emulator.server import serving

        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self._options) as (_, self.base_url):
            self._ready.set()
            await self._stopped.wait()
