"""A retry policy for tasks that talk to Genesys Cloud: whether the next try makes sense, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api.errors import JourneyError
from airflow_provider_journey.operators.failing import is_lasting

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk import RetryPolicy
    except ImportError:
        RetryPolicy = object

HAS_RETRY_POLICIES = RetryPolicy is not object


class JourneyRetryPolicy(RetryPolicy):
    """Fails at once what another try cannot heal, and waits as long as the service asked otherwise.

    A wrong secret, region, permission, ``segments_api``, id or query ends the task. Where an answer said when
    to come back, the next try is then. Everything else is left to ``retries`` and ``retry_delay``. It sees
    errors of this provider's hooks in any task, also where another exception was raised from one.

    Airflow has retry policies since 3.3. Below, tasks take none, and this class says so when it is made;
    :func:`journey_retries` does what each version can.

    :raises RuntimeError: when it is made below Airflow 3.3.
    """

    def __init__(self) -> None:
        if not HAS_RETRY_POLICIES:
            raise RuntimeError(
                "JourneyRetryPolicy needs Airflow 3.3: below it tasks have no retry_policy. Give them "
                "**journey_retries(...) instead, which leaves it out there."
            )

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the error of the try that failed.

        :param exception: the error; what it was raised from counts as well.
        :param try_number: which try it was, from 1.
        :param max_tries: how often the task may be tried again.
        :param context: not needed.
        """
        from airflow.sdk import RetryDecision

        error = _cause(exception)
        if error is None:
            return RetryDecision.default()
        if is_lasting(error):
            return RetryDecision.fail(f"Another try would come to the same: {error}")
        if isinstance(error, JourneyError) and error.retry_after is not None:
            wait = timedelta(seconds=error.retry_after)
            return RetryDecision.retry(wait, f"The service asked for {error.retry_after:.0f} s: {error}")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what a serialized DAG says of it."""
        return {"__type": f"{type(self).__module__}.{type(self).__qualname__}"}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> JourneyRetryPolicy:
        """Return the policy, which has no settings."""
        return cls()


def journey_retries(retries: int, **arguments: Any) -> dict[str, Any]:
    """Return a task's arguments ``retries`` and others, with the policy where Airflow has such (3.3).

    ``default_args=journey_retries(4, retry_delay=timedelta(minutes=2))``

    :param retries: how often a failed try is followed by another.
    :param arguments: further arguments of the task.
    """
    policy = {"retry_policy": JourneyRetryPolicy()} if HAS_RETRY_POLICIES else {}
    return {"retries": retries, **arguments, **policy}


def _cause(exception: BaseException) -> BaseException | None:
    """Return the first error of this provider among ``exception`` and what it was raised from."""
    found: BaseException | None = exception
    while found is not None and not isinstance(found, JourneyError) and not is_lasting(found):
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return found
