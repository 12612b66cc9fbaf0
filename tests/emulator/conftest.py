"""Operators over the emulator of the test."""

import json
import uuid

import pytest

from airflow_provider_journey.operators.aggregates import (
    JourneyAggregateQueryOperator,
    JourneyAggregatesToObjectStorageOperator,
)
from tests.emulator.deferring import EmulatorClock, Task
from tests.emulator.extracting import QUERY, contents


@pytest.fixture(params=["journey", "externalcontacts"])
def surface(request):
    """Which segments API the connection names."""
    return request.param


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


@pytest.fixture
def connect(monkeypatch):
    def connect(emulator, **extra):
        name = f"journey_{uuid.uuid4().hex}"
        connection = {
            "conn_type": "journey",
            "login": emulator.client_id,
            "password": emulator.client_secret,
            "host": emulator.base_url,
            "extra": {"max_retries": 0, **extra},
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        return name

    return connect


@pytest.fixture
def clock(journey_emulator):
    return EmulatorClock(journey_emulator)


@pytest.fixture
def whole(to_files, tmp_path):
    """What the query puts into the files."""
    Task(lambda: to_files(path=tmp_path / "whole", lookback=3)).start()
    return contents(tmp_path / "whole")


@pytest.fixture
def task(to_files, tmp_path):
    """A task that waits in the triggerer, over four days."""

    def make(**options):
        store = options.pop("store", True)
        options = {"use_jobs": True, "deferrable": True, "lookback": 3} | options
        return Task(lambda: to_files(**options), store)

    return make


@pytest.fixture
def lake(tmp_path):
    return tmp_path / "lake"
