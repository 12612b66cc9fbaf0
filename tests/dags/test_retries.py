"""Failed tries under a real scheduler: the policy's word counts, and not the DAG's delay of an hour."""

from __future__ import annotations

from urllib.parse import quote

import pendulum
import pytest

from airflow_provider_journey.retries import HAS_RETRY_POLICIES
from demo.processes import wait_until
from tests.scheduling import RUN_S

pytestmark = pytest.mark.xdist_group("scheduler")

LISTING, TARGET = "getJourneyActiontargets", "getJourneyActiontarget"
ASKED_S = 5

if HAS_RETRY_POLICIES:

    def test_a_lasting_error_ends_a_task_and_a_429_delays_it_as_it_asks(platform):
        # What starts with the scheduler goes first: on SQLite, runs that are started meanwhile may wait long.
        for dag_id in ("cron", "cron_interval"):
            platform.ended_runs(dag_id, 3)
        before = platform.emulator.calls()
        platform.emulator.script({"fault": "429", "operation": LISTING, "retry_after": ASKED_S})
        platform.unpause("retrying")
        run = platform.airflow.request("POST", "/dags/retrying/dagRuns", {"logical_date": None})
        tasks = f"/dags/retrying/dagRuns/{quote(run['dag_run_id'])}/taskInstances"

        def states():
            found = platform.airflow.get(tasks)["task_instances"]
            return {each["task_id"]: (each["state"], each["try_number"]) for each in found}

        expected = {"gone": ("failed", 1), "listed": ("success", 2)}
        wait_until(lambda: states() == expected, f"tasks to end as {expected}", RUN_S)
        tries = platform.airflow.get(f"{tasks}/listed/tries")["task_instances"]
        refused, again = sorted(tries, key=lambda each: each["try_number"])
        waited = pendulum.parse(again["start_date"]) - pendulum.parse(refused["end_date"])
        assert waited.total_seconds() >= ASKED_S
        calls = platform.emulator.calls()
        assert calls[TARGET]["404"] - before.get(TARGET, {}).get("404", 0) == 1
        assert calls[LISTING]["429"] - before.get(LISTING, {}).get("429", 0) == 1
