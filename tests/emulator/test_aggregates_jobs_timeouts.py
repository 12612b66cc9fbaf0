"""How long jobs are waited for, on a worker, in the triggerer, and from one to the other."""

import pytest

from airflow_provider_journey.api.errors import ServerError
from airflow_provider_journey.operators.aggregate_extract import ExtractOperator
from tests.emulator.deferring import CANCEL, STATUS, states, wait


@pytest.fixture
def endless(task, journey_emulator, clock, monkeypatch):
    """Make a task whose jobs never end, on whose worker time does not pass by itself either."""
    journey_emulator.limits(job_seconds=100_000)
    monkeypatch.setattr(ExtractOperator, "_clock", clock)

    def make(**options):
        return task(**{"job_timeout": 200.0, "poll_interval": 30.0, **options})

    return make


def test_the_time_to_wait_ends_and_the_jobs_with_it(task, journey_emulator, clock, lake):
    journey_emulator.limits(job_seconds=10_000)
    own = task(job_timeout=3000.0)
    event = wait(own.start(), clock)
    assert event["status"] == "timeout"
    with pytest.raises(ServerError, match="time to wait is over.*cancelled"):
        own.resume(event)
    assert states(journey_emulator) == ["CANCELLED"]
    assert own.store.kept == {}
    assert sum(clock.slept) == pytest.approx(3000, abs=5)


def test_a_worker_s_time_to_wait_ends_too(endless, journey_emulator, clock):
    own = endless(deferrable=False, job_timeout=100.0)
    with pytest.raises(ServerError, match="had not ended after 100 s"):
        own.start()
    assert states(journey_emulator) == ["CANCELLED"]
    assert sum(clock.slept) == 100


def test_the_time_to_wait_goes_on_where_the_jobs_change_hands(endless, journey_emulator, clock):
    own = endless()
    began = clock.time()
    trigger = own.start()
    for _ in range(3):
        # Whoever may not log in gives the wait back to the worker, who may.
        journey_emulator.script({"fault": "401", "operation": STATUS, "times": 2})
        event = wait(trigger, clock)
        assert event["status"] == "failed"
        trigger = own.resume(event)
        assert trigger.deadline == began + 200.0
    with pytest.raises(ServerError, match="time to wait is over.*cancelled"):
        own.resume(wait(trigger, clock))
    assert sum(clock.slept) == pytest.approx(200, abs=5)
    assert states(journey_emulator) == ["CANCELLED"]


def test_a_worker_that_is_handed_the_jobs_too_late_gives_them_up(endless, journey_emulator, clock):
    own = endless()
    trigger = own.start()
    journey_emulator.script({"fault": "401", "operation": STATUS, "times": 2})
    event = wait(trigger, clock)
    clock.sleep(200)
    with pytest.raises(ServerError, match="had not ended after 200 s.*cancelled"):
        own.resume(event)
    assert states(journey_emulator) == ["CANCELLED"]


def test_a_trigger_stored_without_the_jobs_deadline_gives_its_own(endless, journey_emulator, clock):
    own = endless()
    stored = own.start()
    assert stored.submitted.pop("deadline") == stored.deadline
    stored.deadline -= 100
    journey_emulator.script({"fault": "401", "operation": STATUS, "times": 2})
    assert own.resume(wait(stored, clock)).deadline == stored.deadline


def test_another_try_has_a_time_to_wait_of_its_own(endless, journey_emulator, clock):
    own = endless()
    own.start()  # killed after it has submitted, and before Airflow knew of the deferral
    clock.sleep(1000)
    assert own.start().deadline == clock.time() + 200.0
    assert states(journey_emulator) == ["QUEUED"]


def test_below_airflow_33_jobs_are_cancelled_once(task, journey_emulator, clock, monkeypatch):
    journey_emulator.limits(job_seconds=10_000)
    monkeypatch.setattr(ExtractOperator, "_clock", clock)
    with pytest.raises(ServerError, match="had not ended after 100 s"):
        task(deferrable=False, job_timeout=100.0, store=False).start()
    assert sum(journey_emulator.calls()[CANCEL].values()) == 1


def test_airflow_s_own_timeout_of_the_deferral_cancels_the_jobs(task, journey_emulator):
    journey_emulator.limits(job_seconds=100)
    own = task()
    own.start()
    with pytest.raises(ServerError, match="Trigger timeout.*cancelled"):
        own.fail("Trigger timeout")
    assert states(journey_emulator) == ["CANCELLED"]
