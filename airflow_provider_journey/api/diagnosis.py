"""What is wrong with a connection: a token, one read of each kind, and a plain answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_journey.api import exchange, operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.client import JourneyClient
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS, JOURNEY
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    JourneyError,
    NotFoundError,
    PermissionDeniedError,
    ResponseError,
    UnsupportedOperationError,
)
from airflow_provider_journey.api.operations import Call
from airflow_provider_journey.api.settings import ConnectionSettings

# No contact has it: the read costs next to nothing, and its 404 shows that somebody looked.
_NOBODY = "00000000-0000-0000-0000-000000000000"
_TIMEOUT = 10.0
_REFUSALS = (PermissionDeniedError, UnsupportedOperationError)


def diagnose(settings: ConnectionSettings, on_secret: Callable[[str], None]) -> tuple[bool, str]:
    """Get a token, read one hour of aggregates and nobody's segments.

    :param settings: the connection; it is asked with a time-out of at most 10 s and one retry.
    :param on_secret: masks the token in logs.
    :return: whether the connection is of use, and what is right or wrong with it.
    """
    settings = dataclasses.replace(
        settings, timeout=min(settings.timeout, _TIMEOUT), max_retries=min(settings.max_retries, 1)
    )
    client = JourneyClient(exchange.shared(settings, on_secret=on_secret))
    other = EXTERNAL_CONTACTS if settings.segments_api == JOURNEY else JOURNEY
    other_settings = dataclasses.replace(settings, segments_api=other)
    other_client = JourneyClient(exchange.shared(other_settings, on_secret=on_secret))
    try:
        aggregates = _ask(client, _last_hour())
        segments = _ask(client, _segments_of_nobody(settings.segments_api))
        if _is_elsewhere(segments) and not _is_elsewhere(_ask(other_client, _segments_of_nobody(other))):
            return False, (
                f"Authenticated at {settings.site.name}, but this organisation does not serve segments_api="
                f"{settings.segments_api!r}; it serves {other!r}: change the extra segments_api."
            )
    except JourneyError as error:
        return False, _blame(error)
    finally:
        client.close()
        other_client.close()
    reads = {"aggregates": aggregates, f"segments ({settings.segments_api})": segments}
    useful = any(not isinstance(error, _REFUSALS) for error in reads.values())
    verdict = "; ".join(f"{name}: {_verdict(error)}" for name, error in reads.items())
    served = not _is_elsewhere(segments) and not isinstance(segments, UnsupportedOperationError)
    answering = f" This organisation serves segments_api={settings.segments_api!r}." if served else ""
    return useful, f"Authenticated at {settings.site.name}. {verdict}.{answering}"


async def served_instead(client: JourneyAsyncClient) -> str | None:
    """Return the ``segments_api`` that an organisation serves in the place of the one that its client names.

    Two reads of nobody's segments, one on each surface.

    :return: ``None`` if the client may be right.
    :raises JourneyError: the service does not answer.
    """
    own = client.segments_api
    if not _is_elsewhere(await _ask_async(client, _segments_of_nobody(own))):
        return None
    other = EXTERNAL_CONTACTS if own == JOURNEY else JOURNEY
    other_client = client.on(other)
    try:
        error = await _ask_async(other_client, _segments_of_nobody(other))
    finally:
        await other_client.aclose()
    return None if _is_elsewhere(error) else other


def _last_hour() -> Call[operations.Entity]:
    end = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    interval = "/".join(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (end - timedelta(hours=1), end))
    return operations.query_aggregates({"interval": interval, "metrics": ["nJourneySessions"]})


def _segments_of_nobody(segments_api: str) -> Call[operations.Page]:
    return operations.list_external_contact_segments(_NOBODY, page_size=1, segments_api=segments_api)


def _ask(client: JourneyClient, call: Call[Any]) -> JourneyError | None:
    """Return what the read was refused with, if that says something of permissions, features or surfaces."""
    try:
        client.run(call)
    except (*_REFUSALS, NotFoundError) as error:
        return error
    return None


async def _ask_async(client: JourneyAsyncClient, call: Call[Any]) -> JourneyError | None:
    try:
        await client.run(call)
    except (*_REFUSALS, NotFoundError) as error:
        return error
    return None


def _is_elsewhere(error: JourneyError | None) -> bool:
    """Whether a read of nobody's segments was answered as a path is that nobody serves."""
    return isinstance(error, NotFoundError) and not error.entity_id


def _verdict(error: JourneyError | None) -> str:
    if isinstance(error, PermissionDeniedError):
        return f"not permitted ({error})"
    if isinstance(error, UnsupportedOperationError):
        return f"not available ({error})"
    if _is_elsewhere(error):
        return "answered 404 without naming the contact; if segment operations fail, check segments_api"
    return "permitted"


def _blame(error: JourneyError) -> str:
    if isinstance(error, AuthenticationError):
        return f"Credentials or region: {error}"
    if error.status is None or isinstance(error, ResponseError):
        return f"Network or region: {error}"
    return str(error)
