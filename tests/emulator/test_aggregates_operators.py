"""Extracts against the emulator: what is asked for which run, and what lands in the files."""

from pathlib import Path

import duckdb
import pendulum
import pytest
from airflow.sdk import Asset, ObjectStoragePath

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    ResponseError,
    ServerError,
)
from airflow_provider_journey.operators.aggregates import (
    JourneyAggregatesToObjectStorageOperator,
)
from tests.emulator.extracting import (
    NIGHT,
    QUERY,
    QUERY_CALL,
    AirflowFailException,
    AirflowSkipException,
    asked,
    contents,
    keys,
    report,
    run,
    total,
)


def test_a_night_becomes_a_file_and_a_report(to_files, journey_emulator, tmp_path, conn_id):
    asset = Asset(name="lake", uri="file:///lake")
    context = run(to_files(lookback=2, outlets=[asset]))
    lake = tmp_path / "lake"
    uri = f"file://{lake}"
    files = [f"{uri}/dt=2026-03-{day:02d}/part-0.parquet" for day in (8, 9, 10)]
    assert context["result"] == files
    assert [body["interval"] for body in asked(journey_emulator)] == [
        "2026-03-08T00:00:00Z/2026-03-11T00:00:00Z"
    ]
    rows = duckdb.sql(f"SELECT count(*) FROM '{lake}/*/*.parquet'").fetchall()[0][0]
    sizes = sum(Path(file.removeprefix("file://")).stat().st_size for file in files)
    expected = {
        "v": 1,
        "kind": "extract",
        "conn_id": conn_id,
        "window": "2026-03-08T00:00:00Z/2026-03-11T00:00:00Z",
        "rows": rows,
        "counts": {"partitions": 3, "bytes": sizes},
        "calls": 1,
        "waited_s": 0.0,
        "uri": uri,
        "errors": {},
    }
    found = report(context)
    assert found.pop("duration_s") > 0
    assert found == expected
    assert rows > 0
    assert context["outlet_events"][asset].extra == {
        "uri": uri,
        "rows": rows,
        "window": expected["window"],
        "partitions": ["2026-03-08", "2026-03-09", "2026-03-10"],
    }


def test_what_is_in_the_files_is_what_the_service_counts(to_files, to_xcom, tmp_path):
    run(to_files(lookback=1))
    for day in ("2026-03-09", "2026-03-10"):
        whole = AggregateQuery(["nWebActionsOffered"])
        (row,) = run(to_xcom(whole, interval=f"{day}/P1D"))["result"]
        assert total(tmp_path / "lake", day) == row["count"] > 0


def test_a_path_object_is_as_good_as_its_uri(to_files, conn_id, tmp_path):
    path = ObjectStoragePath(f"file://{tmp_path}/lake")
    operator = JourneyAggregatesToObjectStorageOperator(
        task_id="extract", query=QUERY, path=path, journey_conn_id=conn_id
    )
    assert run(operator)["result"] == run(to_files())["result"]
    assert operator.path == str(path)


RUNS = {
    "data interval": {
        "data_interval_start": pendulum.datetime(2026, 3, 8),
        "data_interval_end": pendulum.datetime(2026, 3, 10),
        "logical_date": pendulum.datetime(2026, 3, 8),
    },
    "cron": {"data_interval_start": NIGHT, "data_interval_end": NIGHT, "logical_date": NIGHT},
    "manual with a date": {"logical_date": NIGHT.subtract(days=1)},
    "asset": {},
}


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("data interval", ["2026-03-08", "2026-03-09"]),
        ("cron", ["2026-03-10"]),
        ("manual with a date", ["2026-03-09"]),
        ("asset", ["2026-03-10"]),
    ],
)
def test_every_kind_of_run_means_its_window(to_files, tmp_path, kind, days):
    run(to_files(), **RUNS[kind])
    assert keys(tmp_path / "lake") == days


def test_a_data_interval_in_another_zone_is_widened(to_files, tmp_path, journey_emulator):
    query = {**QUERY.to_dict(), "timeZone": "Europe/Berlin"}
    run(to_files(query), **RUNS["data interval"])
    assert keys(tmp_path / "lake") == ["2026-03-08", "2026-03-09", "2026-03-10"]
    (body,) = asked(journey_emulator)
    assert body["interval"] == "2026-03-08T00:00:00+01:00/2026-03-11T00:00:00+01:00"
    assert body["timeZone"] == "Europe/Berlin"


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
@pytest.mark.parametrize("granularity", ["PT1H", "P1D"])
def test_days_of_a_clock_change_have_their_own_length(to_files, to_xcom, tmp_path, day, hours, granularity):
    query = AggregateQuery(["nJourneySessions"], time_zone="Europe/Berlin", granularity=granularity)
    first = pendulum.parse(day).subtract(days=1).to_date_string()
    run(to_files(query, interval=f"{first}/P3D"))
    file = f"{tmp_path}/lake/dt={day}/part-0.parquet"
    length = "(max(epoch(interval_end)) - min(epoch(interval_start))) / 3600"
    whole = AggregateQuery(["nJourneySessions"], time_zone="Europe/Berlin")
    (row,) = run(to_xcom(whole, interval=f"{day}/P1D"))["result"]
    assert total(tmp_path / "lake", day) == row["count"]
    assert duckdb.sql(f"SELECT {length} <= {hours} FROM '{file}'").fetchall() == [(True,)]
    if granularity == "P1D":
        assert duckdb.sql(f"SELECT {length} FROM '{file}'").fetchall() == [(hours,)]


def test_hours_are_partitions_named_in_utc(to_files, tmp_path):
    run(to_files(interval="2026-10-25T02:00:00+02:00/2026-10-25T03:00:00+01:00", period="PT1H"))
    assert keys(tmp_path / "lake") == ["2026-10-25T0000Z", "2026-10-25T0100Z"]


def test_the_partition_is_the_default_granularity(to_files, journey_emulator):
    run(to_files(AggregateQuery(["nJourneySessions"]), period="PT6H", interval="2026-03-10/P1D"))
    assert asked(journey_emulator)[0]["granularity"] == "PT6H"


def test_open_partitions_are_left_out_unless_wanted(to_files, tmp_path):
    today = pendulum.now("UTC").start_of("day")
    interval = f"{today.subtract(days=1).isoformat()}/{today.add(days=2).isoformat()}"
    run(to_files(interval=interval))
    days = [today.add(days=offset).to_date_string() for offset in (-1, 0)]
    assert keys(tmp_path / "lake") == days[:1]
    run(to_files(interval=interval, include_open=True))
    assert keys(tmp_path / "lake") == days
    with pytest.raises(AirflowSkipException, match="include_open=True"):
        run(to_files(interval=f"{today.isoformat()}/P1D"))


def test_a_window_too_large_is_halved_between_buckets(to_files, journey_emulator, tmp_path):
    lake = tmp_path / "lake"
    run(to_files(lookback=3))
    whole = contents(lake)
    journey_emulator.limits(max_buckets=25)
    context = run(to_files(lookback=3))
    assert contents(lake) == whole
    # 96 hours: refused as one and as the first half, then asked in quarters without trying the second half.
    assert report(context)["calls"] == 6
    assert report(context)["errors"] == {"413": 2}
    assert [body["interval"].split("/")[0][8:13] for body in asked(journey_emulator)[1:]] == [
        "07T00",
        "08T00",
        "09T00",
        "10T00",
    ]


def test_a_gateway_s_timeout_is_halved_too(to_files, journey_emulator):
    journey_emulator.script("504")
    run(to_files())
    assert [body["interval"] for body in asked(journey_emulator)] == [
        "2026-03-10T00:00:00Z/2026-03-10T12:00:00Z",
        "2026-03-10T12:00:00Z/2026-03-11T00:00:00Z",
    ]


def test_a_single_bucket_too_large_names_the_way_out(to_files, journey_emulator, tmp_path):
    journey_emulator.limits(max_buckets=0)
    with pytest.raises(AirflowFailException, match="narrow groupBy or filter"):
        run(to_files(AggregateQuery(["nJourneySessions"])))
    assert not (tmp_path / "lake").exists()


@pytest.mark.filterwarnings("ignore::airflow_provider_journey.aggregates.query.UnknownNameWarning")
def test_a_refused_query_is_shown_and_asked_once(to_files, journey_emulator):
    query = AggregateQuery(["nNoSuchMetric"])
    with pytest.raises(AirflowFailException, match=r"The request was: .*nNoSuchMetric") as caught:
        run(to_files(query, lookback=3))
    assert "narrow groupBy" not in str(caught.value)
    assert isinstance(caught.value.__cause__, InvalidRequestError)
    assert sum(journey_emulator.calls()[QUERY_CALL].values()) == 1


@pytest.mark.parametrize("fault", ["truncated", "cut-json", "non-json", "wrong-shape", "empty-body"])
def test_a_broken_answer_publishes_nothing(to_files, journey_emulator, tmp_path, fault):
    run(to_files())
    before = contents(tmp_path / "lake")
    journey_emulator.script({"fault": fault, "operation": QUERY_CALL, "times": 20})
    with pytest.raises(ResponseError) as caught:
        run(to_files(AggregateQuery(["nWebActionsOffered"])))
    assert caught.value.correlation_id in str(caught.value)
    assert contents(tmp_path / "lake") == before


@pytest.mark.parametrize(("fault", "kind"), [("500", ServerError), ("reset-before", ConnectionFailedError)])
def test_a_failing_service_is_left_to_airflow_s_retries(to_files, journey_emulator, tmp_path, fault, kind):
    journey_emulator.script({"fault": fault, "operation": QUERY_CALL, "times": 20})
    with pytest.raises(kind):
        run(to_files())
    assert not (tmp_path / "lake").exists()


def test_a_missing_permission_is_not_retried(to_files, journey_emulator):
    journey_emulator.script({"fault": "403", "operation": QUERY_CALL, "times": 20})
    with pytest.raises(AirflowFailException, match="analytics:journeyAggregate:view"):
        run(to_files())
