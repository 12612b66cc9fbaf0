"""The example DAG, back-filled under a real scheduler, leaves in the lake what the service counts."""

from __future__ import annotations

import datetime
from collections import Counter

import duckdb
import pytest

from demo.backfill import create_backfill
from tests.emulator.asking import Asker

pytestmark = pytest.mark.xdist_group("scheduler")

DAG_ID = "journey_nightly_aggregates"
METRICS = (
    "nWebActionsQualified",
    "nWebActionsOffered",
    "nWebActionsAccepted",
    "nWebActionsRejected",
    "nWebActionsEngaged",
)
GROUPS = ("journeyActionMapId", "journeyActionMediaType")


@pytest.fixture(scope="module")
def backfilled(platform):
    """Three nights, run again by the back-fill; and last night's, which switching the DAG on starts."""
    platform.unpause(DAG_ID)
    two_o_clock = datetime.datetime.combine(platform.today, datetime.time(2), datetime.timezone.utc)
    first, last = (two_o_clock - datetime.timedelta(days=ago) for ago in (9, 7))
    create_backfill(platform.airflow, DAG_ID, first, last)
    return platform.ended_runs(DAG_ID, 4)


def days(platform, *ago):
    return [platform.day(number) for number in ago]


def last_tick_days_ago(platform) -> int:
    two_o_clock = datetime.datetime.combine(platform.today, datetime.time(2), datetime.timezone.utc)
    return 0 if datetime.datetime.now(datetime.timezone.utc) >= two_o_clock else 1


def test_exactly_the_nights_and_their_look_back_are_partitions(platform, backfilled):
    last = last_tick_days_ago(platform)
    expected = days(platform, 13, 12, 11, 10, 9, 8, *(last + ago for ago in (4, 3, 2, 1)))
    assert list(platform.partitions(DAG_ID.replace("_nightly", ""))) == expected
    assert [run["run_type"] for run in backfilled] == ["backfill"] * 3 + ["scheduled"]
    assert [platform.extracted(run) for run in backfilled] == [
        platform.window(13, 9),
        platform.window(12, 8),
        platform.window(11, 7),
        platform.window(last + 4, last),
    ]


def test_rows_are_the_services_own_totals(platform, backfilled):
    asker = Asker(platform.emulator)
    for day, manifest in platform.partitions("journey_aggregates").items():
        expected: Counter[tuple[str | None, ...]] = Counter()
        for result in asker.query(manifest["window"], *METRICS, groupBy=list(GROUPS)):
            for bucket in result["data"]:
                for metric in bucket["metrics"]:
                    key = (*(result["group"].get(name) for name in GROUPS), metric["metric"])
                    expected[key] += metric["stats"]["count"]
        file = platform.lake / "journey_aggregates" / f"dt={day}" / "part-0.parquet"
        rows = duckdb.sql(
            f"SELECT {', '.join(GROUPS)}, metric, sum(count)::BIGINT FROM '{file}' GROUP BY ALL"
        ).fetchall()
        assert {row[:-1]: row[-1] for row in rows} == expected, day
        assert sum(expected.values()) > 0
        assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(manifest["rows"],)]
