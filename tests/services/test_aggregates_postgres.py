"""Extracts into a real PostgreSQL server, through both of its drivers."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from airflow_provider_journey.aggregates.load import prepare
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToSqlOperator
from tests.emulator.calling import connect
from tests.emulator.extracting import QUERY, report, run
from tests.postgres import DATABASE, connection
from tests.services import loading

ROOT = Path(__file__).parents[2]
ODD = [
    "",
    "NULL",
    r"\N",
    r"\.",
    'a "quoted" one',
    "a,b;c\td",
    "two\nlines",
    "Ünïcode ☃",
    "'; DROP TABLE t; --",
    None,
]


@pytest.fixture
def ask(warehouse):
    def ask(sql, *parameters):
        with closing(loading.connect("psycopg", warehouse)) as own:
            cursor = own.execute(sql, parameters)
            found = cursor.fetchall() if cursor.description else None
            own.commit()
            return found

    return ask


@pytest.fixture
def to_table(journey_emulator, warehouse, monkeypatch):
    conn_id = connect(monkeypatch, journey_emulator, max_retries=0)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection(warehouse)))

    def make(query=QUERY, **options):
        return JourneyAggregatesToSqlOperator(
            task_id="extract", query=query, conn_id="warehouse", journey_conn_id=conn_id, **options
        )

    return make


@pytest.fixture
def name():
    return f"t_{uuid.uuid4().hex[:8]}"


def test_a_night_becomes_rows_of_the_database_s_own_types(to_table, ask, name, journey_emulator):
    assert run(to_table(table=f"public.{name}"))["result"] > 0
    kinds = dict(
        ask("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", name)
    )
    assert kinds["interval_start"] == kinds["interval_end"] == "timestamp with time zone"
    assert (kinds["extract"], kinds["journeyActionMapId"]) == ("character varying", "text")
    assert (kinds["count"], kinds["sum"], kinds["p99"]) == ("bigint", "double precision", "double precision")
    assert json.loads(ask(f"SELECT other_dimensions FROM {name} LIMIT 1")[0][0]) == {}
    before = ask(f"SELECT * FROM {name} ORDER BY 2, 4")
    again = report(run(to_table(table=name)))
    assert again["counts"]["replaced"] == again["rows"] == len(before)
    assert ask(f"SELECT * FROM {name} ORDER BY 2, 4") == before


def test_a_new_dimension_is_a_new_column(to_table, ask, name):
    first = run(to_table(table=name, extract="maps"))["result"]
    devices = AggregateQuery(["nWebActionsOffered"], group_by=["journeyDeviceCategory"])
    second = run(to_table(devices, table=name, extract="devices"))["result"]
    found = ask(f'SELECT extract, count("journeyDeviceCategory"), count(*) FROM {name} GROUP BY 1 ORDER BY 1')
    assert found == [("devices", second, second), ("maps", 0, first)]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_odd_texts_arrive_as_they_are(warehouse, ask, tmp_path, name, driver):
    groups = [{"journeyActionMapId": text, "journeyDeviceType": str(place)} for place, text in enumerate(ODD)]
    with closing(loading.connect(driver, warehouse)) as own, loading.rows(tmp_path, groups) as found:
        assert loading.load(own, found, name, extract="a 'mark', \"quoted\"").rows == len(ODD)
    assert ask(f'SELECT "journeyActionMapId" FROM {name} ORDER BY "journeyDeviceType"::int') == [
        (text,) for text in ODD
    ]
    assert ask(f"SELECT DISTINCT extract FROM {name}") == [("a 'mark', \"quoted\"",)]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_rows_come_by_copy(warehouse, ask, tmp_path, name, driver):
    with closing(loading.connect(driver, warehouse)) as own, loading.rows(tmp_path, [{}]) as found:
        loading.load(own, found, name)
        ask(
            f"CREATE FUNCTION f_{name}() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN NEW.qualifier := current_query(); RETURN NEW; END'"
        )
        ask(f"CREATE TRIGGER t BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION f_{name}()")
        loading.load(own, found, name)
    assert ask(f"SELECT qualifier FROM {name}")[0][0].startswith("COPY ")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_table_without_room_keeps_its_rows(warehouse, ask, tmp_path, name, driver):
    groups = [{"journeyActionMapId": "a", "journeyDeviceType": str(place)} for place in range(20)]
    with closing(loading.connect(driver, warehouse)) as own, loading.rows(tmp_path, groups) as found:
        loading.load(own, found, name)
        ask(f"ALTER TABLE {name} ADD CONSTRAINT room CHECK (count < 19) NOT VALID")
        with pytest.raises(Exception, match="room"):
            loading.load(own, found, name)
        own.rollback()
    assert ask(f"SELECT count(*) FROM {name}") == [(20,)]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_engine_that_stops_halfway_is_not_taken_for_the_end(
    warehouse, ask, tmp_path, name, driver, monkeypatch
):
    def half(found, sink):
        os.write(sink, b"own,2026-03-10 00:00:00+00" + b"," * (len(loading.table(name).columns) - 2) + b"\n")
        os.close(sink)
        raise OSError("the disk is full")

    groups = [{"journeyActionMapId": "a", "journeyDeviceType": str(place)} for place in range(20)]
    with closing(loading.connect(driver, warehouse)) as own, loading.rows(tmp_path, groups) as found:
        loading.load(own, found, name)
        monkeypatch.setattr("airflow_provider_journey.aggregates.load._write", half)
        with pytest.raises(Exception, match="the disk is full"):
            loading.load(own, found, name)
    assert ask(f"SELECT count(*) FROM {name}") == [(20,)]


def test_runs_of_one_extract_at_once_do_not_double_its_rows(warehouse, ask, tmp_path, name):
    groups = [{"journeyActionMapId": "a", "journeyDeviceType": str(place)} for place in range(2_000)]
    begin = threading.Barrier(4)

    def work(number):
        directory = tmp_path / str(number)
        directory.mkdir()
        with closing(loading.connect("psycopg", warehouse)) as own, loading.rows(directory, groups) as found:
            prepare(own, loading.table(name))
            begin.wait(30)
            for _ in range(5):
                loading.load(own, found, name)

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))
    assert ask(f"SELECT count(*) FROM {name}") == [(2_000,)]


def test_runs_that_make_one_table_at_once_do_not_fail(warehouse, ask):
    begin = threading.Barrier(8)

    def work(names):
        with closing(loading.connect("psycopg", warehouse)) as own:
            for name in names:
                begin.wait(30)
                prepare(own, loading.table(name))

    names = [f"t_{uuid.uuid4().hex[:8]}" for _ in range(5)]
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(work, [names] * 8))
    assert all(ask(f"SELECT count(*) FROM {name}") == [(0,)] for name in names)


def test_a_role_that_may_make_no_table_fills_one_that_is_there(warehouse, ask, tmp_path, name):
    with closing(loading.connect("psycopg", warehouse)) as owner:
        prepare(owner, loading.table(name))
    ask(f"CREATE ROLE filler_{name} LOGIN")
    ask(f"GRANT SELECT, INSERT, DELETE ON {name} TO filler_{name}")
    with (
        loading.rows(tmp_path, [{"journeyActionMapId": "one"}]) as found,
        closing(psycopg.connect(host=str(warehouse), user=f"filler_{name}", dbname=DATABASE)) as own,
    ):
        assert loading.load(own, found, name).rows == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema public"):
            prepare(own, loading.table(f"{name}_2"))
    assert ask(f"SELECT count(*) FROM {name}") == [(1,)]


def test_killed_at_any_moment_the_table_holds_one_whole_load(warehouse, ask, tmp_path, name):
    dice = random.Random(20261123)
    seen = set()
    for turn in range(8):
        scratch = tmp_path / str(turn)
        scratch.mkdir()
        command = [sys.executable, loading.__file__, str(warehouse), str(scratch), name, "1000"]
        with subprocess.Popen(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, stdout=subprocess.PIPE
        ) as victim:
            # Aimed at the load: after so many of them have begun, and a moment.
            for _ in range(dice.randint(1, 3)):
                assert victim.stdout.readline()
            time.sleep(dice.uniform(0.0, 0.2))
            victim.kill()
        if ask("SELECT to_regclass(%s)", name) != [(None,)]:
            counts = ask(f'SELECT "journeyActionMapId", count(*) FROM {name} GROUP BY 1')
            assert counts in ([], [(counts[0][0], 20_000)] if counts else [])
            seen.add(bool(counts))
    assert True in seen, "some of them had finished a load"


def test_psycopg_s_own_errors_are_known(warehouse):
    with closing(loading.connect("psycopg", warehouse)) as own, pytest.raises(psycopg.Error):
        prepare(own, loading.table("no_such_schema.t"))
