"""Each way in which Airflow starts a run leads to the window that it should, under a real scheduler."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.xdist_group("scheduler")


def test_cron_without_data_intervals_extracts_the_day_before_each_date(platform):
    runs = platform.ended_runs("cron", 3)
    assert {run["run_type"] for run in runs} == {"scheduled"}
    assert [platform.extracted(run) for run in runs] == [
        platform.window(5, 4),
        platform.window(4, 3),
        platform.window(3, 2),
    ]
    assert list(platform.partitions("cron")) == [platform.day(5), platform.day(4), platform.day(3)]


def test_cron_with_data_intervals_extracts_the_interval(platform):
    runs = platform.ended_runs("cron_interval", 3)
    assert [run["data_interval_start"][:10] for run in runs] == [platform.day(ago) for ago in (4, 3, 2)]
    assert [platform.extracted(run) for run in runs] == [
        platform.window(4, 3),
        platform.window(3, 2),
        platform.window(2, 1),
    ]
    assert list(platform.partitions("cron_interval")) == [platform.day(ago) for ago in (4, 3, 2)]


def test_runs_by_hand_and_by_asset(platform):
    platform.airflow.wait_for_dag("by_hand")
    platform.airflow.cli("dags", "trigger", "by_hand", "--run-id", "cli")
    dated = f"{platform.day(8)}T05:00:00+00:00"
    platform.airflow.cli("dags", "trigger", "by_hand", "--run-id", "cli_dated", "--logical-date", dated)
    platform.airflow.request(
        "POST", "/dags/by_hand/dagRuns", {"dag_run_id": "rest", "logical_date": None, "conf": {}}
    )
    interval = {
        "data_interval_start": f"{platform.day(12)}T00:00:00Z",
        "data_interval_end": f"{platform.day(10)}T00:00:00Z",
    }
    platform.airflow.request(
        "POST",
        "/dags/by_hand/dagRuns",
        {"dag_run_id": "rest_dated", "logical_date": f"{platform.day(10)}T00:00:00Z", **interval},
    )
    runs = platform.ended_runs("by_hand", 4)
    # An update of the asset starts the other DAG, which knows no date at all.
    followers = platform.ended_runs("by_asset", 1)

    yesterday = platform.window(1, 0)
    assert {run["dag_run_id"]: platform.extracted(run) for run in runs} == {
        "cli": yesterday,
        "cli_dated": platform.window(9, 8),
        "rest": yesterday,
        "rest_dated": platform.window(12, 10),
    }
    assert {run["run_type"] for run in followers} == {"asset_triggered"}
    assert {run["logical_date"] for run in followers} == {None}
    assert {platform.extracted(run) for run in followers} == {yesterday}
    assert list(platform.partitions("by_hand")) == [platform.day(ago) for ago in (12, 11, 9, 1)]
    assert list(platform.partitions("by_asset")) == [platform.day(1)]
