"""Extracts by asynchronous jobs under faults, other versions of Airflow, and what cannot be."""

import json
import time

import pytest

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.api.errors import JourneyError, ServerError
from airflow_provider_journey.triggers.outcome import GRACE
from tests.emulator.deferring import (
    RESULTS,
    STATUS,
    Task,
    states,
    submitted,
    wait,
)
from tests.emulator.extracting import QUERY, QUERY_CALL, AirflowFailException, contents, report
from tests.emulator.waiting import TaskDeferred


class TestBelowAirflow33:
    """Where Airflow has no task state store."""

    def test_a_deferred_task_is_resumed_by_what_the_event_says(
        self, task, whole, lake, journey_emulator, clock
    ):
        journey_emulator.limits(job_seconds=100)
        own = task(store=False)
        own.resume(wait(own.start(), clock))
        assert contents(lake) == whole
        assert len(submitted(journey_emulator)) == 1

    def test_a_try_that_fails_cancels_its_job_which_nobody_would_find(self, task, lake, journey_emulator):
        journey_emulator.script({"fault": "500", "operation": RESULTS})
        own = task(store=False)
        with pytest.raises(ServerError):
            own.start()
        assert states(journey_emulator) == ["CANCELLED"]
        assert len(own.start()) == 4

    def test_the_time_to_wait_ends_and_the_jobs_with_it(self, task, journey_emulator, clock):
        journey_emulator.limits(job_seconds=10_000)
        own = task(store=False, job_timeout=100.0)
        with pytest.raises(ServerError, match="cancelled"):
            own.resume(wait(own.start(), clock))
        assert states(journey_emulator) == ["CANCELLED"]


def test_what_cannot_heal_cancels_what_is_submitted(task, journey_emulator):
    journey_emulator.limits(job_seconds=100)
    journey_emulator.script({"fault": "403", "operation": STATUS})
    own = task()
    with pytest.raises(AirflowFailException, match="analytics:journeyAggregate:view"):
        own.start()
    assert states(journey_emulator) == ["CANCELLED"]
    assert own.store.kept == {}


FAULTS = ["429", "429-date", "503", "502-html", "504-empty", "408", "500", "reset-before", "reset-after"]
FAULTS += ["truncated", "cut-json", "non-json", "wrong-shape", "empty-body"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wait_rides_out_what_can_get_better(task, whole, lake, journey_emulator, clock, fault, monkeypatch):
    journey_emulator.limits(job_seconds=100)
    journey_emulator.script({"fault": fault, "operation": STATUS, "times": 2})
    own = task()
    trigger = own.start()  # the first of them hits the worker
    event = wait(trigger, clock)
    assert event["status"] == "done"
    own.resume(event)
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_wait_ends_with_what_cannot_get_better(task, journey_emulator, clock, fault):
    journey_emulator.limits(job_seconds=1000)
    own = task()
    trigger = own.start()
    journey_emulator.script({"fault": fault, "operation": STATUS, "times": 100})
    event = wait(trigger, clock)
    assert event["status"] == "failed"
    with pytest.raises(AirflowFailException, match=STATUS):
        own.resume(event)
    assert states(journey_emulator) == ["CANCELLED"]


@pytest.mark.parametrize("fault", ["500", "truncated", "cut-json", "non-json", "wrong-shape", "empty-body"])
def test_broken_pages_publish_nothing_and_the_next_try_reads_the_same_job(
    task, whole, lake, journey_emulator, fault
):
    journey_emulator.script({"fault": fault, "operation": RESULTS, "after": 1})
    own = task(page_size=2)
    with pytest.raises(JourneyError, match=f"{RESULTS}|results of job"):
        own.start()
    assert not lake.exists()
    own.start()
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


@pytest.mark.parametrize("apart", [600, -600])
def test_clocks_ten_minutes_apart_change_nothing(task, whole, lake, journey_emulator, clock, apart):
    journey_emulator.advance_clock(apart)
    journey_emulator.limits(job_seconds=100, job_lifetime=500)
    own = task(job_timeout=300.0)
    own.resume(wait(own.start(), clock))
    assert contents(lake) == whole
    assert len(submitted(journey_emulator)) == 1


def test_an_event_of_another_shape_is_refused(task, journey_emulator):
    with pytest.raises(ValueError, match="another shape"):
        task().resume({"status": "done"})


def test_the_deferral_has_airflow_s_own_timeout_a_little_later(task, to_files, journey_emulator):
    from datetime import timedelta

    from tests.emulator.extracting import run

    journey_emulator.limits(job_seconds=100)
    operator = to_files(use_jobs=True, deferrable=True, execution_timeout=timedelta(seconds=500))
    with pytest.raises(TaskDeferred) as caught:
        run(operator)
    assert caught.value.timeout.total_seconds() == pytest.approx(500 + GRACE, abs=5)
    assert caught.value.trigger.deadline == pytest.approx(time.time() + 500, abs=5)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"deferrable": True}, "deferrable: needs use_jobs"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"job_timeout": "1 h"}, "job_timeout"),
        ({"job_timeout": float("inf")}, "job_timeout"),
        ({"job_timeout": 1e12}, "job_timeout"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": True}, "page_size"),
        ({"lookback": -1}, "lookback"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_parsed(to_files, options, field):
    with pytest.raises(QueryError, match=field):
        to_files(**options)


def test_jobs_fill_a_table_as_well(conn_id, journey_emulator, clock, tmp_path, monkeypatch):
    from airflow_provider_journey.operators.aggregates import JourneyAggregatesToSqlOperator

    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    options = {"query": QUERY, "conn_id": "warehouse", "table": "t", "journey_conn_id": conn_id}
    counts = []
    for more in ({}, {"use_jobs": True, "deferrable": True}):
        journey_emulator.limits(job_seconds=100)
        own = Task(lambda: JourneyAggregatesToSqlOperator(task_id="extract", **options, **more))  # noqa: B023
        result = own.start()
        counts.append(own.resume(wait(result, clock)) if more else result)
    assert counts[0] == counts[1] > 0
    assert report(own.context)["counts"]["replaced"] == counts[0]
    assert sum(journey_emulator.calls()[QUERY_CALL].values()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"conn_id": "journey"}, "not one of an SQL database"),
        ({"conn_id": "warehouse", "extract": ""}, "extract"),
    ],
)
def test_no_job_is_submitted_for_a_table_that_cannot_be(
    conn_id, journey_emulator, tmp_path, monkeypatch, options, said
):
    from airflow_provider_journey.operators.aggregates import JourneyAggregatesToSqlOperator

    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    monkeypatch.setenv("AIRFLOW_CONN_JOURNEY", journey_emulator.connection_uri)
    own = Task(
        lambda: JourneyAggregatesToSqlOperator(
            task_id="extract", query=QUERY, table="t", journey_conn_id=conn_id, use_jobs=True, **options
        )
    )
    with pytest.raises(AirflowFailException, match=said):
        own.start()
    assert states(journey_emulator) == []


def test_no_job_is_submitted_for_a_store_that_there_is_not(to_files, journey_emulator):
    with pytest.raises(AirflowFailException, match="nosuchstore"):
        Task(lambda: to_files(path="nosuchstore://bucket/journey", use_jobs=True)).start()
    assert states(journey_emulator) == []
