"""The operators against the emulator: what lands in the store, what is asked, what is refused."""

import copy
import json
import os
import uuid
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pendulum
import pytest
from airflow.sdk import DAG, Asset, ObjectStoragePath
from airflow.sdk.io.store import _STORE_CACHE as STORE_CACHE
from airflow.sdk.io.store import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_journey.aggregates import files
from airflow_provider_journey.aggregates.query import AggregateQuery, QueryError
from airflow_provider_journey.api.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    ResponseError,
    ServerError,
)
from airflow_provider_journey.hooks.journey import JourneyHook
from airflow_provider_journey.operators.aggregates import (
    JourneyAggregateQueryOperator,
    JourneyAggregatesToObjectStorageOperator,
)
from airflow_provider_journey.operators.failing import fail_exception, skip_exception
from airflow_provider_journey.operators.reporting import RunReport

# Each version of Airflow keeps them somewhere else.
AirflowFailException, AirflowSkipException = type(fail_exception("")), type(skip_exception(""))
QUERY_CALL = "postAnalyticsJourneysAggregatesQuery"
QUERY = AggregateQuery(["nWebActionsOffered"], group_by=["journeyActionMapId"], granularity="PT1H")
NIGHT = pendulum.datetime(2026, 3, 11, 2)
LAST_DAY = "2026-03-10T00:00:00Z/2026-03-11T00:00:00Z"


class TaskInstance:
    def __init__(self):
        self.xcoms = {}

    def xcom_push(self, key, value):
        self.xcoms[key] = json.loads(json.dumps(value))


def run(operator, **run_context):
    """Render and execute ``operator`` in the context of a run; return the context, with its ``result``."""
    outlets = {outlet: SimpleNamespace(extra={}) for outlet in operator.outlets}
    context = {
        "ti": TaskInstance(),
        "outlet_events": outlets,
        "params": {},
        "dag_run": SimpleNamespace(run_after=NIGHT),
    } | run_context
    operator.render_template_fields(context)
    context["result"] = operator.execute(context)
    return context


def report(context):
    return context["ti"].xcoms["journey_run"]


@pytest.fixture
def conn_id(monkeypatch, journey_emulator):
    name = f"journey_{uuid.uuid4().hex}"
    connection = {
        "conn_type": "journey",
        "login": journey_emulator.client_id,
        "password": journey_emulator.client_secret,
        "host": journey_emulator.base_url,
        # The client's tries are proven elsewhere, with a clock that does not make a test wait.
        "extra": {"max_retries": 0},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    return name


@pytest.fixture
def to_files(conn_id, tmp_path):
    def make(query=QUERY, path=tmp_path / "lake", **options):
        options.setdefault("journey_conn_id", conn_id)
        return JourneyAggregatesToObjectStorageOperator(
            task_id="extract",
            query=query,
            path=path if isinstance(path, str) else f"file://{path}",
            **options,
        )

    return make


@pytest.fixture
def to_xcom(conn_id):
    def make(query=QUERY, **options):
        return JourneyAggregateQueryOperator(
            task_id="ask", query=query, **{"journey_conn_id": conn_id} | options
        )

    return make


def asked(emulator):
    """Return the bodies of the queries that the emulator answered with 200, in order."""
    return [json.loads(r["body"]) for r in emulator.requests(QUERY_CALL) if str(r["status"]) == "200"]


def keys(lake):
    return sorted(folder.name.removeprefix("dt=") for folder in lake.iterdir())


def total(lake, day="*"):
    return duckdb.sql(f"SELECT sum(count)::BIGINT FROM '{lake}/dt={day}/part-0.parquet'").fetchall()[0][0]


def contents(lake):
    return {str(file.relative_to(lake)): file.read_bytes() for file in lake.rglob("*") if file.is_file()}


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


def test_the_manifest_says_what_lies_beside_it(to_files, tmp_path):
    run(to_files())
    folder = tmp_path / "lake" / "dt=2026-03-10"
    file = folder / "part-0.parquet"
    text = (folder / "_manifest.json").read_text()
    assert json.loads(text) == {
        "version": 1,
        "file": "part-0.parquet",
        "layout": "long",
        "rows": duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0],
        "bytes": file.stat().st_size,
        "window": LAST_DAY,
        "query": QUERY.to_dict(),
    }
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("layout", ["long", "wide"])
def test_the_same_query_twice_gives_the_same_bytes(to_files, tmp_path, file_format, layout):
    lakes = [tmp_path / "one", tmp_path / "two"]
    for lake in lakes:
        run(to_files(path=lake, lookback=1, file_format=file_format, layout=layout))
    assert contents(lakes[0]) == contents(lakes[1])
    assert sorted(contents(lakes[0])) == [
        f"dt=2026-03-{day}/{name}"
        for day in ("09", "10")
        for name in ("_manifest.json", f"part-0.{file_format}")
    ]


def test_an_empty_night_replaces_yesterday_s_rows_by_an_empty_file(to_files, tmp_path):
    lake = tmp_path / "lake"
    run(to_files())
    assert total(lake) > 0
    full = duckdb.sql(f"DESCRIBE FROM '{lake}/*/*.parquet'").fetchall()
    nobody = {"type": "and", "predicates": [{"dimension": "journeyActionMapId", "value": "nobody"}]}
    run(to_files({**QUERY.to_dict(), "filter": nobody}))
    assert duckdb.sql(f"SELECT count(*) FROM '{lake}/*/*.parquet'").fetchall() == [(0,)]
    assert duckdb.sql(f"DESCRIBE FROM '{lake}/*/*.parquet'").fetchall() == full


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
    with pytest.raises(ResponseError):
        run(to_files(AggregateQuery(["nWebActionsOffered"])))
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


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_store_that_fails_keeps_the_old_partition(to_files, tmp_path, monkeypatch, failing):
    lake = tmp_path / "lake"
    run(to_files())
    before = contents(lake)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match=r"lake/dt=2026-03-10/part-0.parquet was not written.*No space left"):
        run(to_files(AggregateQuery(["nWebActionsOffered"])))
    assert contents(lake) == before


def test_nothing_is_published_before_every_file_is_written(to_files, tmp_path, monkeypatch):
    lake = tmp_path / "lake"
    run(to_files(lookback=1))
    before = contents(lake)
    write = files.write_rows

    def full(table, part, file, file_format):
        if "2026-03-10" in file.name:
            raise OSError(28, "No space left on device")
        return write(table, part, file, file_format)

    monkeypatch.setattr(files, "write_rows", full)
    with pytest.raises(OSError, match="No space left on device, on the local disk below"):
        run(to_files(AggregateQuery(["nWebActionsOffered"]), lookback=1))
    assert contents(lake) == before


def test_a_store_that_cannot_be_written_is_an_error(to_files, tmp_path):
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="lake"):
        run(to_files())


def test_local_temporaries_are_gone_afterwards(to_files, journey_emulator, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(to_files())
    journey_emulator.script({"fault": "cut-json", "operation": QUERY_CALL})
    with pytest.raises(ResponseError):
        run(to_files())
    assert [file.name for file in tmp_path.iterdir()] == ["lake"]


class PutStore(MemoryFileSystem):
    """An object store: takes whole objects in one request, and nothing in pieces."""

    cachable = False

    def __init__(self):
        super().__init__()
        self.store, self.puts, self.broken = {}, [], False

    def put_file(self, lpath, rpath, **_):
        if self.broken:
            raise OSError(28, "No space left on device")
        self.puts.append(rpath)
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def open(self, path, mode="rb", **options):
        assert mode == "rb" or "data" in options
        return super().open(path, mode, **options)


@pytest.fixture
def put_store():
    protocol = "memory"
    store = PutStore()
    attach(protocol, fs=store)
    yield store
    STORE_CACHE.pop(protocol)


def test_another_store_gets_one_put_for_each_object(to_files, put_store):
    lake = "memory://bucket/lake"
    context = run(to_files(path=lake, lookback=1, file_format="csv"))
    assert context["result"] == [f"{lake}/dt=2026-03-{day}/part-0.csv" for day in ("09", "10")]
    assert put_store.puts == [
        f"/bucket/lake/dt=2026-03-{day}/{name}"
        for day in ("09", "10")
        for name in ("part-0.csv", "_manifest.json")
    ]
    before = {name: put_store.cat_file(name) for name in put_store.puts}
    manifest = json.loads(before["/bucket/lake/dt=2026-03-10/_manifest.json"])
    assert manifest["bytes"] == len(before["/bucket/lake/dt=2026-03-10/part-0.csv"])
    put_store.broken = True
    with pytest.raises(OSError, match="No space left"):
        run(to_files(AggregateQuery(["nJourneySessions"]), path=lake, lookback=1, file_format="csv"))
    assert {name: put_store.cat_file(name) for name in put_store.puts} == before


def test_templates_are_rendered_for_each_run_anew(to_files, tmp_path, journey_emulator):
    operator = to_files(
        {**QUERY.to_dict(), "metrics": ["{{ params.metric }}"]},
        path=f"file://{tmp_path}/{{{{ params.night }}}}",
        interval="{{ params.night }}/P1D",
    )
    for night, metric in (("2026-03-09", "nWebActionsOffered"), ("2026-03-10", "nWebActionsAccepted")):
        run(copy.copy(operator), params={"night": night, "metric": metric})
        assert keys(tmp_path / night) == [night]
    assert [(body["metrics"], body["interval"][:10]) for body in asked(journey_emulator)] == [
        (["nWebActionsOffered"], "2026-03-09"),
        (["nWebActionsAccepted"], "2026-03-10"),
    ]


@pytest.mark.filterwarnings("ignore::airflow_provider_journey.aggregates.query.UnknownNameWarning")
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"interval": "{{ params.nothing }}/P1D"}, "'/P1D'"),
        ({"interval": "{{ params.text }}"}, "'tomorrow'"),
        ({"path": "{{ params.text }}"}, "'tomorrow'"),
        ({"path": "nowhere://{{ params.text }}"}, "nowhere://tomorrow"),
        ({"path": "file:///{{ params.braces }}"}, "{{ braces }}"),
        ({"query": {"metrics": "{{ params.text }}"}}, "'tomorrow'"),
        ({"query": {"metrics": ["{{ params.text }} !"]}}, "'tomorrow !'"),
        ({"query": {"metrics": ["nJourneySessions"], "timeZone": "{{ params.text }}"}}, "'tomorrow'"),
        ({"query": {"metrics": ["nJourneySessions"], "groupBy": ["{{ params.braces }}"]}}, "{{ braces }}"),
        ({"query": "{{ params.text }}"}, "'tomorrow'"),
    ],
)
def test_rubbish_after_rendering_is_shown(to_files, journey_emulator, options, shown):
    with pytest.raises(AirflowFailException) as caught:
        run(to_files(**options), params={"text": "tomorrow", "braces": "{{ braces }}", "nothing": ""})
    assert shown in str(caught.value)
    assert journey_emulator.calls() == {}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"query": {**QUERY.to_dict(), "interval": "2026-03-10/P1D"}}, "interval"),
        ({"query": {}}, "metrics"),
        ({"query": None}, "query"),
        ({"query": "nJourneySessions"}, "query"),
        ({"interval": 5}, "interval"),
        ({"path": "relative/folder"}, "path"),
        ({"interval": "tomorrow"}, "interval"),
        ({"period": "P2D"}, "period"),
        ({"period": "often"}, "period"),
        ({"period": "PT30M"}, "granularity"),
        ({"query": {**QUERY.to_dict(), "granularity": "P1M"}}, "granularity"),
        ({"layout": "tall"}, "layout"),
        ({"file_format": "xlsx"}, "file_format"),
        ({"lookback": -1}, "lookback"),
        ({"lookback": "3"}, "lookback"),
    ],
)
def test_what_cannot_be_right_fails_when_the_dag_is_parsed(to_files, options, field):
    with pytest.raises(QueryError) as caught:
        to_files(**options)
    assert caught.value.field == field


@pytest.mark.parametrize("max_rows", [-1, "5", None])
def test_a_limit_of_rows_is_a_number(to_xcom, max_rows):
    with pytest.raises(QueryError, match="max_rows: is a number of rows"):
        to_xcom(max_rows=max_rows)


@pytest.mark.parametrize("native", [False, True], ids=["references", "native templates"])
def test_whole_lists_may_come_from_elsewhere(to_xcom, journey_emulator, native):
    given = {"metrics": ["nWebActionsOffered"], "map": journey_emulator.examples["action_target_id"]}
    with DAG("elsewhere", render_template_as_native_obj=native) as dag:
        metrics, value = ("{{ params.metrics }}", "{{ params.map }}")
        if not native:
            metrics, value = (dag.param(name, default=given[name]) for name in given)
        predicate = {"dimension": "journeyActionTargetId", "value": value}
        operator = to_xcom({"metrics": metrics, "filter": {"type": "and", "predicates": [predicate]}})
    run(operator, params=given, dag_run=SimpleNamespace(run_after=NIGHT, conf={}))
    (body,) = asked(journey_emulator)
    assert body["metrics"] == given["metrics"]
    assert body["filter"]["predicates"][0]["value"] == given["map"]


def test_rows_in_xcom_are_plain_and_the_interval_is_asked_as_it_is(to_xcom, journey_emulator, conn_id):
    query = AggregateQuery(["nWebActionsOffered"], group_by=["journeyActionMediaType"])
    context = run(to_xcom(query, interval="2026-03-10T06:30:00+01:00/PT12H"))
    assert [body["interval"] for body in asked(journey_emulator)] == [
        "2026-03-10T05:30:00Z/2026-03-10T17:30:00Z"
    ]
    assert json.loads(json.dumps(context["result"])) == context["result"] != []
    assert {row["interval_start"] for row in context["result"]} == {"2026-03-10T05:30:00.000Z"}
    found = report(context)
    assert (found["kind"], found["rows"], found["calls"]) == ("extract", len(context["result"]), 1)


def test_a_report_counts_from_where_it_began(conn_id):
    context = {"ti": TaskInstance()}
    with JourneyHook(conn_id) as hook:
        body = {"metrics": ["nJourneySessions"], "interval": LAST_DAY}
        hook.query_aggregates(body)
        began = RunReport(hook.client)
        hook.query_aggregates(body)
        began.push(context, "extract", conn_id, rows=0, counts={})
    assert report(context)["calls"] == 1


def test_xcom_takes_no_more_rows_than_it_may(to_xcom):
    rows = run(to_xcom())["result"]
    assert run(to_xcom(max_rows=len(rows)))["result"] == rows
    with pytest.raises(AirflowFailException, match="JourneyAggregatesToObjectStorageOperator"):
        run(to_xcom(max_rows=len(rows) - 1))
