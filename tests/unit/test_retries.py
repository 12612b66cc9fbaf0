"""Which retries make sense, and when: what the policy decides, and what an Airflow without policies gets."""

import importlib.util
import json
from datetime import timedelta

import pytest

from airflow_provider_journey import retries
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.api import errors
from airflow_provider_journey.segments.errors import LeaseError


def decide(error):
    return retries.JourneyRetryPolicy().evaluate(error, 1, 3)


def raised_from(cause, error):
    try:
        try:
            raise cause
        except type(cause) as inner:
            raise error from inner
    except type(error) as outer:
        return outer


if retries.HAS_RETRY_POLICIES:

    @pytest.mark.parametrize(
        "error",
        [
            errors.AuthenticationError("no"),
            errors.PermissionDeniedError("no"),
            errors.InvalidRequestError("no"),
            errors.NotFoundError("no"),
            errors.UnsupportedOperationError("no"),
            QueryError("metrics", "no"),
            raised_from(errors.PermissionDeniedError("no"), RuntimeError("wrapped")),
        ],
    )
    def test_what_cannot_heal_fails_at_once(error):
        decision = decide(error)
        assert decision.action.value == "fail"
        assert "no" in decision.reason

    def test_next_try_comes_when_the_service_said():
        error = errors.RateLimitedError("full", retry_after=700.0)
        decision = decide(raised_from(error, RuntimeError("wrapped")))
        assert decision.action.value == "retry"
        assert decision.retry_delay == timedelta(seconds=700)

    @pytest.mark.parametrize(
        "error",
        [
            errors.ServerError("down", status=503, transient=True),
            errors.ConnectionFailedError("silence", transient=True),
            errors.PartialUpdateError("half", transient=True),
            errors.InvalidRequestError("passing", transient=True),
            errors.ResponseError("garbled"),
            LeaseError("somebody else's"),
            ValueError("not ours"),
        ],
    )
    def test_everything_else_is_left_to_the_task(error):
        assert decide(error).action.value == "default"

    def test_error_that_was_hidden_on_purpose_does_not_count():
        error = raised_from(errors.PermissionDeniedError("no"), RuntimeError("another"))
        error.__cause__, error.__suppress_context__ = None, True
        assert decide(error).action.value == "default"

    def test_policy_is_serialized_with_its_dag():
        from airflow.sdk import DAG
        from airflow.serialization.serialized_objects import DagSerialization

        from airflow_provider_journey.operators.action_targets import JourneyActionTargetListOperator

        with DAG("serialized", default_args=retries.journey_retries(2)) as dag:
            JourneyActionTargetListOperator(task_id="list")
        assert dag.get_task("list").retries == 2
        assert isinstance(dag.get_task("list").retry_policy, retries.JourneyRetryPolicy)
        json.dumps(DagSerialization.to_dict(dag))
        policy = retries.JourneyRetryPolicy()
        assert isinstance(policy.deserialize(policy.serialize()), retries.JourneyRetryPolicy)


def test_airflow_without_policies_gets_retries_alone(monkeypatch):
    import airflow.sdk

    monkeypatch.setitem(airflow.sdk.__dict__, "RetryPolicy", None)
    monkeypatch.delitem(airflow.sdk.__dict__, "RetryPolicy")
    lazily = airflow.sdk.__getattr__

    def without(name):
        if name == "RetryPolicy":
            raise AttributeError(name)
        return lazily(name)

    monkeypatch.setattr(airflow.sdk, "__getattr__", without)
    spec = importlib.util.find_spec(retries.__name__)
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)
    assert older.journey_retries(4, retry_delay=7) == {"retries": 4, "retry_delay": 7}
    with pytest.raises(RuntimeError, match="needs Airflow 3.3"):
        older.JourneyRetryPolicy()
