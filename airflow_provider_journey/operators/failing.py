"""Which errors Airflow may try again, and which it should not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    InvalidRequestError,
    JourneyError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedOperationError,
)

_LASTING = (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedOperationError,
    QueryError,
)


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Fail the task without a retry on what another try cannot heal.

    That is a wrong secret, region, permission, ``segments_api``, id or query. Anything else is left as it is,
    for Airflow to try again as the task's ``retries`` say.

    :raises AirflowFailException: in the place of such an error, with its words.
    """
    try:
        yield
    except _LASTING as error:
        if isinstance(error, JourneyError) and error.transient:
            raise
        raise fail_exception(str(error)) from error


def fail_exception(message: str) -> Exception:
    """Return the exception that fails a task without a retry."""
    try:
        from airflow.sdk.exceptions import AirflowFailException
    except ImportError:  # Airflow 3.1 keeps it elsewhere
        from airflow.exceptions import AirflowFailException
    return AirflowFailException(message)


def skip_exception(message: str) -> Exception:
    """Return the exception that skips a task."""
    try:
        from airflow.sdk.exceptions import AirflowSkipException
    except ImportError:  # Airflow 3.1 keeps it elsewhere
        from airflow.exceptions import AirflowSkipException
    return AirflowSkipException(message)
