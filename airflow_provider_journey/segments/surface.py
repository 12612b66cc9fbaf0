"""Whether the organisation serves the segments API that the connection names."""

from __future__ import annotations

import asyncio

from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.diagnosis import served_instead
from airflow_provider_journey.api.errors import JourneyError, NotFoundError, UnsupportedOperationError


class Surface:
    """Tells a contact that is not there from a path that is not served.

    A 404 that names no contact may be either. The first one, if nothing has been answered otherwise before,
    leads to two reads of nobody's segments, one on each surface; the run goes by what they show.

    :param client: whom to ask.
    """

    def __init__(self, client: JourneyAsyncClient) -> None:
        self._client = client
        self._proven = False
        self._asking: asyncio.Task[str | None] | None = None

    def prove(self) -> None:
        """Take down that a call was answered as the surface answers."""
        self._proven = True

    async def refute(self, error: NotFoundError) -> UnsupportedOperationError | None:
        """Return what is wrong with the connection's choice, if that is what a 404 means."""
        self._proven = self._proven or bool(error.entity_id)
        if self._proven:
            return None
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
        # Shielded: others wait for the same answer.
        other = await asyncio.shield(self._asking)
        if other is None:
            return None
        return UnsupportedOperationError(
            f"This organisation does not serve segments_api={self._client.segments_api!r}, it serves "
            f"{other!r}: change the extra segments_api of the connection. Nothing is lost: the next run goes "
            f"on. ({error})",
            status=error.status,
            code=error.code,
            correlation_id=error.correlation_id,
        )

    async def _ask(self) -> str | None:
        try:
            return await served_instead(self._client)
        except JourneyError:
            return None  # undecided: what the service answers otherwise will be seen by the calls themselves
