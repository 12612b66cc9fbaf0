"""docker/compose.yaml without Docker: its services, variables, commands and health checks, as native processes.

What cannot be seen without an engine is the image, and that Compose itself takes the file.
"""

from __future__ import annotations

from urllib.parse import quote

import duckdb
import pytest

from tests.services.topology import running_topology

pytestmark = pytest.mark.xdist_group("celery")

DAG_ID = "journey_nightly_aggregates"


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    with running_topology(tmp_path_factory.mktemp("topology")) as running:
        yield running


@pytest.fixture(scope="module")
def night(topology):
    """Last night's run, which begins when the DAG is switched on."""
    topology.unpause(DAG_ID)
    (run,) = topology.ended_runs(DAG_ID, 1)
    return run


def test_a_night_leaves_its_days_in_the_lake_that_all_containers_share(topology, night):
    start, end = (instant[:10] for instant in topology.extracted(night).split("/"))
    partitions = topology.partitions("journey_aggregates")
    assert len(partitions) == 4
    assert start == min(partitions)
    assert max(partitions) < end
    for day, manifest in partitions.items():
        file = topology.lake / "journey_aggregates" / f"dt={day}" / "part-0.parquet"
        assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(manifest["rows"],)]
        assert manifest["rows"] > 0


def test_one_of_two_workers_took_the_task(topology, night):
    assert sorted(topology.tasks_received()) == [0, 1]


def test_the_tasks_log_is_read_through_the_api_server(topology, night):
    task = f"/dags/{DAG_ID}/dagRuns/{quote(night['dag_run_id'])}/taskInstances/extract"
    events = [line["event"] for line in topology.airflow.get(f"{task}/logs/1")["content"]]
    assert any("in 4 partitions" in event for event in events)
