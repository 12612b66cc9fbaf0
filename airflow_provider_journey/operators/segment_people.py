"""Between Airflow and an audience's people: the key they are known by, and what is never shown of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.segments.audience import Audience, RowsAudience
from airflow_provider_journey.segments.errors import SegmentSyncError

if TYPE_CHECKING:
    from airflow_provider_journey.api.settings import ConnectionSettings
    from airflow_provider_journey.segments.identity_cache import IdentityKey

_SHORTEST_KEY = 16


def identity_key(variable: str | None, settings: ConnectionSettings) -> IdentityKey:
    """Return the key by which people are known in a ledger.

    :param variable: the name of the Airflow Variable that it is made of; ``None``: it is made of the client's
        secret.
    :param settings: the connection.
    :raises SegmentSyncError: the Variable is too short to be a key.
    :raises AirflowRuntimeError: there is no such Variable.
    """
    from airflow.sdk import Variable
    from airflow.sdk.log import mask_secret

    from airflow_provider_journey.segments.identity_cache import IdentityKey

    if variable is None:
        return IdentityKey.derived(settings.client_secret)
    secret = Variable.get(variable)
    mask_secret(secret)
    if not isinstance(secret, str) or len(secret) < _SHORTEST_KEY:
        raise SegmentSyncError(
            f"The Variable {variable!r} is no key: at least {_SHORTEST_KEY} characters that nobody guesses."
        )
    return IdentityKey.derived(secret)


def without_rows(audience: Any) -> Any:
    """Return an audience that shows none of its rows where Airflow shows rendered fields.

    :param audience: as it was rendered.
    """
    if isinstance(audience, Audience):
        return audience
    if isinstance(audience, Mapping):
        if audience.get("kind") in ("file", "sql"):
            return audience
        audience = audience.get("rows", audience)
    # Also what is no list of rows, as the text that a template makes of one: it is refused when it is read.
    return RowsAudience(audience)
