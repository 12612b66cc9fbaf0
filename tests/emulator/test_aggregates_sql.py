"""Extracts into SQLite: what is in the table afterwards, and what never is touched."""

import json
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import Asset

from airflow_provider_journey.aggregates.asking import Extract
from airflow_provider_journey.aggregates.calendars import Calendar, Period, Window
from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.load import Destination, dialect, extract_to_table
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.rows import RowShape
from airflow_provider_journey.aggregates.tables import SqlTable
from airflow_provider_journey.api.errors import ServerError
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToSqlOperator
from tests.emulator.extracting import (
    LAST_DAY,
    NIGHT,
    QUERY,
    QUERY_CALL,
    AirflowFailException,
    TaskInstance,
    asked,
    report,
    run,
    total,
)


@pytest.fixture
def database(tmp_path, monkeypatch):
    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def ask(sql, *parameters):
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute(sql, parameters).fetchall()
            connection.commit()
        return found

    return ask


@pytest.fixture
def to_table(conn_id, database):
    def make(query=QUERY, **options):
        options = {"journey_conn_id": conn_id, "conn_id": "warehouse", "table": "aggregates"} | options
        return JourneyAggregatesToSqlOperator(
            task_id=options.pop("task_id", "extract"), query=query, **options
        )

    return make


def test_a_night_becomes_rows_and_a_report(to_table, to_files, database, journey_emulator, tmp_path, conn_id):
    asset = Asset(name="table", uri="sqlite://warehouse/aggregates")
    context = run(to_table(lookback=1, extract="web", outlets=[asset]))
    run(to_files(lookback=1))
    assert asked(journey_emulator)[0] == asked(journey_emulator)[1]
    for day in ("2026-03-09", "2026-03-10"):
        rows = database("SELECT sum(count) FROM aggregates WHERE interval_start LIKE ?", f"{day}%")
        assert rows == [(total(tmp_path / "lake", day),)]
    (count,) = database("SELECT count(*) FROM aggregates WHERE extract = 'web'")[0]
    assert context["result"] == count > 0
    found = report(context)
    assert (found["rows"], found["window"]) == (count, "2026-03-09T00:00:00Z/2026-03-11T00:00:00Z")
    assert (found["uri"], found["counts"]) == (
        "sqlite://warehouse/aggregates",
        {"partitions": 2, "replaced": 0},
    )
    assert context["outlet_events"][asset].extra == {
        "uri": "sqlite://warehouse/aggregates",
        "extract": "web",
        "rows": count,
        "window": found["window"],
        "partitions": ["2026-03-09", "2026-03-10"],
    }


def test_a_row_holds_what_the_service_says(to_table, to_xcom, database):
    query = AggregateQuery(["nWebActionsOffered", "oJourneyOutcomeValue"], group_by=["journeyDeviceCategory"])
    run(to_table(query))
    names = "interval_start, interval_end, journeyDeviceCategory, other_dimensions, metric, view, qualifier"
    stats = "count, count_negative, sum, min, max, p99"
    columns = f"{names}, {stats}".split(", ")
    rows = database(f"SELECT {', '.join(columns)} FROM aggregates ORDER BY {names}")
    expected = run(to_xcom(query, interval=LAST_DAY))["result"]
    assert [dict(zip(columns, row, strict=True)) for row in rows] == [
        {name: json.dumps(row[name]) if name == "other_dimensions" else row[name] for name in columns}
        for row in expected
    ]
    assert len(rows) > 4
    assert {row[0] for row in rows} == {"2026-03-10T00:00:00.000Z"}


def test_wide_rows_have_a_column_for_each_metric(to_table, database):
    query = AggregateQuery(["nWebActionsOffered", "oJourneyOutcomeValue"])
    run(to_table(query, layout="wide"))
    ((offered, value, count),) = database(
        "SELECT nWebActionsOffered, oJourneyOutcomeValue_sum, oJourneyOutcomeValue_count FROM aggregates"
    )
    assert offered > 0
    assert value > count > 0


def test_running_it_again_replaces_the_window_and_nothing_else(to_table, database):
    run(to_table(interval="2026-03-08/P3D"))
    before = sorted(database("SELECT * FROM aggregates"))
    context = run(to_table())
    assert sorted(database("SELECT * FROM aggregates")) == before
    assert report(context)["counts"]["replaced"] == report(context)["rows"] < len(before)
    run(to_table(interval="2026-03-09/P1D"))
    assert sorted(database("SELECT * FROM aggregates")) == before


def test_a_night_without_events_leaves_no_rows(to_table, database, journey_emulator):
    run(to_table(interval="2026-03-09/P2D"))
    nobody = {"type": "and", "predicates": [{"dimension": "journeyActionMapId", "value": "nobody"}]}
    assert run(to_table({**QUERY.to_dict(), "filter": nobody}))["result"] == 0
    days = database("SELECT DISTINCT substr(interval_start, 1, 10) FROM aggregates")
    assert days == [("2026-03-09",)]


def test_extracts_share_a_table_and_never_touch_each_other_s_rows(to_table, database):
    run(to_table(task_id="maps"))
    own = "SELECT interval_start, journeyActionMapId, count FROM aggregates WHERE extract LIKE '%.maps'"
    before = sorted(database(own))
    devices = AggregateQuery(["nWebActionsOffered"], group_by=["journeyDeviceCategory"])
    for _ in range(2):
        assert run(to_table(devices, task_id="devices"))["result"] > 0
    assert sorted(database(own)) == before
    columns = [row[1] for row in database("PRAGMA table_info(aggregates)")]
    assert columns[-1] == "journeyDeviceCategory"
    assert database(
        "SELECT DISTINCT journeyDeviceCategory IS NULL FROM aggregates WHERE extract LIKE '%.maps'"
    ) == [(1,)]
    assert len(database("SELECT DISTINCT extract FROM aggregates")) == 2


def test_what_stops_in_the_middle_leaves_the_old_rows(to_table, database):
    run(to_table(lookback=1))
    before = sorted(database("SELECT * FROM aggregates"))
    database(
        "CREATE TRIGGER full BEFORE INSERT ON aggregates"
        " WHEN NEW.interval_start > '2026-03-10T12' BEGIN SELECT raise(ABORT, 'no room'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="no room"):
        run(to_table(lookback=1))
    assert sorted(database("SELECT * FROM aggregates")) == before


def test_a_service_that_fails_leaves_the_table_alone(to_table, database, journey_emulator):
    run(to_table())
    before = sorted(database("SELECT * FROM aggregates"))
    journey_emulator.script({"fault": "500", "operation": QUERY_CALL})
    with pytest.raises(ServerError):
        run(to_table(AggregateQuery(["nJourneySessions"], group_by=["journeySessionType"])))
    assert sorted(database("SELECT * FROM aggregates")) == before


def test_names_are_templates(to_table, database):
    run(
        to_table(table="t_{{ params.x }}", extract="e {{ params.x }}", conn_id="ware{{ params.x }}"),
        params={"x": "house"},
    )
    assert database("SELECT DISTINCT extract FROM t_house") == [("e house",)]


@pytest.mark.parametrize("table", ["", "a b", "t; DROP TABLE t", "a.b.c.d", 'a"b', 7])
def test_what_is_not_a_table_s_name_is_refused_when_the_dag_is_parsed(to_table, table):
    with pytest.raises(QueryError, match="table"):
        to_table(table=table)


@pytest.mark.parametrize(
    ("types", "hint"),
    [
        ({"VARCHER": "TEXT"}, "Did you mean 'VARCHAR'"),
        ({"VARCHAR": ""}, "is an SQL type"),
        ({"journeyDeviceType": "TEXT"}, "neither a column"),
        ("TEXT", "is a dict"),
    ],
)
def test_column_types_are_checked_when_the_dag_is_parsed(to_table, types, hint):
    with pytest.raises(QueryError, match=hint):
        to_table(column_types=types)


def test_column_types_come_before_the_dialect_s(to_table, database):
    run(to_table(column_types={"VARCHAR": "CHAR(99)", "journeyActionMapId": "CLOB"}))
    kinds = {row[1]: row[2] for row in database("PRAGMA table_info(aggregates)")}
    assert (kinds["extract"], kinds["metric"], kinds["journeyActionMapId"]) == (
        "CHAR(99)",
        "CHAR(99)",
        "CLOB",
    )
    assert (kinds["interval_start"], kinds["count"]) == ("DATETIME", "BIGINT")


@pytest.mark.parametrize("uri", ["nosuchdialect://host/database", "", "oracle://host/database"])
def test_a_database_without_types_is_refused_and_told_the_way_out(uri):
    hook = SimpleNamespace(get_uri=lambda: uri)
    shape = RowShape.of(QUERY)
    with pytest.raises(QueryError, match="column_types="):
        SqlTable("t", shape, dialect(hook)).create()
    given = {"TIMESTAMPTZ": "TIMESTAMP", "VARCHAR": "VARCHAR(99)", "BIGINT": "NUMBER", "DOUBLE": "NUMBER"}
    sql = SqlTable("t", shape, dialect(hook), given).create()
    assert "interval_start TIMESTAMP" in sql.replace('"', "")


def test_what_has_no_type_is_refused_before_the_service_is_asked():
    day = Calendar(Period("P1D", days=1), pendulum.UTC)
    window = day.split(Window(NIGHT.subtract(days=1), NIGHT))
    hook = SimpleNamespace(get_uri=lambda: "nosuchdialect://host/database")
    with pytest.raises(QueryError, match="column_types="):
        extract_to_table(
            None, Extract(QUERY, window, day, day, RowShape.of(QUERY)), Destination(hook, "t", "e"), print
        )


def test_a_mapped_task_has_to_say_whose_rows_they_are(to_table, database):
    instance = TaskInstance()
    instance.map_index = 0
    with pytest.raises(AirflowFailException, match="extract: is missing"):
        run(to_table(), ti=instance)
    assert run(to_table(extract="all"), ti=instance)["result"] > 0


def test_a_connection_that_is_no_database_s_is_refused(to_table, conn_id):
    with pytest.raises(AirflowFailException, match="not one of an SQL database"):
        run(to_table(conn_id=conn_id))
