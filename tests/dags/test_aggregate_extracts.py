"""Jobs, tables and partitions under a real scheduler and triggerer, judged at the emulator and in what was written."""

from __future__ import annotations

import contextlib
import sqlite3
from urllib.parse import quote

import duckdb
import pendulum
import pytest
from airflow import sdk

from demo.processes import wait_until
from tests.emulator.asking import Asker, totals
from tests.scheduling import RUN_S

pytestmark = pytest.mark.xdist_group("scheduler")

STATUS = "getAnalyticsJourneysAggregatesJob"
# Partitions, the store of a task's state, and triggers that are told of a user who ends a task.
SINCE_33 = hasattr(sdk, "PartitionedAtRuntime")


@pytest.fixture(scope="module")
def asker(platform):
    # What starts with the scheduler goes first: on SQLite, runs that are started meanwhile may wait for long.
    for dag_id in ("cron", "cron_interval"):
        platform.ended_runs(dag_id, 3)
    return Asker(platform.emulator)


@pytest.fixture
def slow_jobs(platform):
    platform.emulator.limits(job_seconds=3600)
    yield
    platform.emulator.limits(job_seconds=0)


def start(platform, dag_id, **body):
    platform.unpause(dag_id)
    body = {"logical_date": None, **body}
    return platform.airflow.request("POST", f"/dags/{dag_id}/dagRuns", body)


def path(run):
    return f"/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'])}/taskInstances/extract"


def clear(platform, run):
    body = {"dry_run": False, "dag_run_id": run["dag_run_id"], "task_ids": ["extract"], "only_failed": False}
    platform.airflow.request("POST", f"/dags/{run['dag_id']}/clearTaskInstances", body)


def wait_for_state(platform, run, *states):
    wait_until(lambda: platform.airflow.get(path(run))["state"] in states, f"{path(run)} {states}", RUN_S)


def jobs_of(platform, count):
    """Return the states of the jobs that were submitted after the first ``count``."""
    return list(platform.emulator.jobs().values())[count:]


def end_by_its_only_job(platform, run, before):
    """Let the time of a slow job pass, and wait until the run has ended with that job and no other."""
    platform.emulator.advance_clock(3600)
    try:
        wait_for_state(platform, run, "success")
    finally:
        platform.emulator.advance_clock(-3600)
    assert len(jobs_of(platform, before)) == 1


def wait_for_looks(platform, run):
    """Wait until the triggerer has taken a deferred task up: it is deferred before."""
    wait_for_state(platform, run, "deferred")
    seen = looks(platform)
    wait_until(lambda: looks(platform) > seen + 1, "a look in the triggerer", RUN_S)


def looks(platform):
    return platform.emulator.calls().get(STATUS, {}).get("200", 0)


def counted(lake, name):
    return duckdb.sql(f"SELECT sum(count)::BIGINT FROM '{lake}/{name}/dt=*/part-0.parquet'").fetchall()[0][0]


def test_a_month_is_extracted_by_one_job_in_the_triggerer(platform, asker):
    before = len(platform.emulator.jobs())
    platform.emulator.limits(job_seconds=5)
    try:
        platform.unpause("journey_aggregates_by_jobs")
        (run, *_) = platform.ended_runs("journey_aggregates_by_jobs", 1)
    finally:
        platform.emulator.limits(job_seconds=0)
    window = platform.extracted(run)
    assert window.split("/")[0].endswith("-01T00:00:00Z")
    days = platform.partitions("journey_aggregates_by_jobs")
    assert 28 <= len(days) <= 31
    results = asker.query(window, "nJourneyOutcomesAchieved", "oJourneyOutcomeValue")
    assert counted(platform.lake, "journey_aggregates_by_jobs") == sum(totals(results).values())
    assert jobs_of(platform, before) == ["FULFILLED"]
    calls = platform.airflow.xcom(run, "journey_run")["calls"]
    # The submission, the worker's looks before and after, those of the triggerer, and the pages.
    assert calls >= 5


def test_a_night_is_in_the_table(platform, asker):
    platform.unpause("journey_aggregates_to_sql")
    [run] = platform.ended_runs("journey_aggregates_to_sql", 1)
    # Until two o'clock it is the night before last that has just been.
    end = pendulum.parse(run["run_after"]).in_timezone("UTC").start_of("day")
    window = f"{end.subtract(days=4).to_iso8601_string()}/{end.to_iso8601_string()}"
    for name, metric in (("actions", "nWebActionsOffered"), ("outcomes", "nJourneyOutcomesAchieved")):
        with contextlib.closing(sqlite3.connect(platform.warehouse)) as warehouse:
            found = warehouse.execute(
                "SELECT sum(count) FROM journey_aggregates WHERE extract = ? AND metric = ?", (name, metric)
            ).fetchall()
        assert found == [(totals(asker.query(window, metric))[metric],)]


def test_a_triggerer_that_ends_leaves_the_job_alone(platform, asker, slow_jobs):
    before = len(platform.emulator.jobs())
    run = start(platform, "job_deferred")
    wait_for_looks(platform, run)
    platform.airflow.restart("triggerer")
    assert jobs_of(platform, before) == ["QUEUED"]
    end_by_its_only_job(platform, run, before)


def test_a_worker_that_waits_and_is_ended_cancels_its_job(platform, asker, slow_jobs):
    before = len(platform.emulator.jobs())
    run = start(platform, "job_killed")
    wait_until(lambda: jobs_of(platform, before) == ["QUEUED"], "the job", RUN_S)
    platform.airflow.request("PATCH", path(run), {"new_state": "failed"})
    wait_until(lambda: jobs_of(platform, before) == ["CANCELLED"], "the job to be cancelled", RUN_S)


if SINCE_33:

    def test_a_partition_is_extracted_and_takes_the_next_dag_along(platform, asker):
        platform.unpause("journey_aggregates_partitioned_outcomes")
        start(platform, "journey_aggregates_partitioned", partition_key=f"{platform.day(3)}T02:00:00")
        platform.ended_runs("journey_aggregates_partitioned", 1)
        wait_until(
            lambda: platform.day(3) in platform.partitions("journey_partitioned/outcomes"),
            "the outcomes of the same day",
            RUN_S,
        )
        assert platform.day(3) in platform.partitions("journey_partitioned/offers")
        runs = platform.ended_runs("journey_aggregates_partitioned_outcomes", 1)
        assert platform.day(3) in {run["partition_key"] for run in runs}
        for name, metric in (("offers", "nWebActionsOffered"), ("outcomes", "nJourneyOutcomesAchieved")):
            window = f"{platform.day(3)}T00:00:00Z/{platform.day(2)}T00:00:00Z"
            file = platform.lake / "journey_partitioned" / name / f"dt={platform.day(3)}" / "part-0.parquet"
            assert duckdb.sql(f"SELECT sum(count)::BIGINT FROM '{file}'").fetchall() == [
                (totals(asker.query(window, metric))[metric],)
            ]

    def test_a_user_who_ends_a_waiting_task_cancels_its_job(platform, asker, slow_jobs):
        before = len(platform.emulator.jobs())
        run = start(platform, "job_deferred")
        wait_for_looks(platform, run)
        platform.airflow.request("PATCH", path(run), {"new_state": "failed"})
        wait_until(lambda: jobs_of(platform, before) == ["CANCELLED"], "the job to be cancelled", RUN_S)

    def test_a_user_who_clears_a_waiting_task_cancels_its_job_for_another(platform, asker, slow_jobs):
        before = len(platform.emulator.jobs())
        run = start(platform, "job_deferred")
        wait_for_looks(platform, run)
        clear(platform, run)
        wait_until(
            lambda: jobs_of(platform, before) == ["CANCELLED", "QUEUED"], "the job to be another one", RUN_S
        )
        # Nothing is left waiting; on SQLite, the id of a trigger that has just gone may be another's already.
        wait_for_state(platform, run, "deferred")
        platform.airflow.request("PATCH", path(run), {"new_state": "failed"})

    def test_a_retry_finds_its_job_and_a_later_clear_does_not(platform, asker):
        before = len(platform.emulator.jobs())
        platform.emulator.script({"fault": "500", "operation": f"{STATUS}Results"})
        run = start(platform, "job_retried")
        wait_for_state(platform, run, "success")
        assert platform.airflow.get(path(run))["try_number"] == 2
        assert jobs_of(platform, before) == ["FULFILLED"]
        clear(platform, run)
        wait_until(lambda: jobs_of(platform, before) == ["FULFILLED"] * 2, "a job of its own", RUN_S)
        wait_for_state(platform, run, "success")

    def test_a_worker_killed_between_submission_and_deferral_leaves_its_job_to_the_next_try(
        platform, asker, slow_jobs
    ):
        before = len(platform.emulator.jobs())
        run = start(platform, "job_killed_early")
        wait_for_looks(platform, run)
        killed = int(platform.lake.with_name("killed").read_text())
        assert platform.airflow.get(path(run))["try_number"] > killed
        assert jobs_of(platform, before) == ["QUEUED"]
        end_by_its_only_job(platform, run, before)
