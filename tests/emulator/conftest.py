"""Operators over the emulator of the test."""

import pytest

from airflow_provider_journey.operators.aggregates import (
    JourneyAggregateQueryOperator,
    JourneyAggregatesToObjectStorageOperator,
)
from tests.emulator import calling
from tests.emulator.deferring import EmulatorClock, Task
from tests.emulator.extracting import QUERY, contents
from tests.emulator.people import PeopleSync
from tests.emulator.syncing import Sync, segments


@pytest.fixture(params=["journey", "externalcontacts"])
def surface(request):
    """Which segments API the connection names."""
    return request.param


@pytest.fixture
def connect(monkeypatch):
    """Make the connection to an emulator, with these extras; return its id."""
    # The client's tries are proven elsewhere, with a clock that does not make a test wait.
    return lambda emulator, **extra: calling.connect(monkeypatch, emulator, **{"max_retries": 0, **extra})


@pytest.fixture
def conn_id(connect, journey_emulator):
    return connect(journey_emulator)


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


@pytest.fixture
def sync(journey_emulator, tmp_path):
    """A sync over today's surface, whose audience may know people by something else than contacts' ids."""
    return PeopleSync(journey_emulator, tmp_path / "ledger")


@pytest.fixture
def segment(sync):
    """A segment that the sync looks after."""
    return segments(sync.emulator, 1)[0]


@pytest.fixture
def impatient(journey_emulator, tmp_path, surface):
    """A connection whose client does not try again by itself."""
    return Sync(journey_emulator, tmp_path / "ledger", segments_api=surface, max_retries=0)
