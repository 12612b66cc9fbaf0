"""Which errors Airflow may try again, and which it should not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    InvalidRequestError,
    JourneyError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedOperationError,
)
from airflow_provider_journey.segments.errors import LeaseError, SegmentSyncError

_LASTING = (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedOperationError,
    QueryError,
    SegmentSyncError,
)


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Fail the task without a retry on what another try cannot heal.

    That is a wrong secret, region, permission, ``segments_api``, id or query, and what stops a segment sync
    but another run's lease, which ends. Anything else is left as it is,
    for Airflow to try again as the task's ``retries`` say.

    :raises AirflowFailException: in the place of such an error, with its words.
    """
    try:
        yield
    except _LASTING as error:
        if not is_lasting(error):
            raise
        raise fail_exception(str(error)) from error


def is_lasting(error: BaseException) -> bool:
    """Return whether another try would come to the same."""
    if isinstance(error, JourneyError) and error.transient:
        return False
    return isinstance(error, _LASTING) and not isinstance(error, LeaseError)


def fail_exception(message: str) -> Exception:
    """Return the exception that fails a task without a retry."""
    return _of_airflow("AirflowFailException", message)


def skip_exception(message: str) -> Exception:
    """Return the exception that skips a task."""
    return _of_airflow("AirflowSkipException", message)


def timeout_exception(message: str) -> Exception:
    """Return the exception of a sensor whose time is over."""
    return _of_airflow("AirflowSensorTimeout", message)


def _of_airflow(name: str, message: str) -> Exception:
    from airflow.sdk import exceptions

    # Airflow 3.1 has not moved them there yet.
    kind = getattr(exceptions, name, None) or getattr(import_module("airflow.exceptions"), name)
    error: Exception = kind(message)
    return error
