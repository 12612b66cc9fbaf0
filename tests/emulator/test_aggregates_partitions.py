"""The window of a run that means a partition, and the keys of what was extracted."""

from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import Asset

from airflow_provider_journey.aggregates import windows
from airflow_provider_journey.aggregates.calendars import Calendar, Period
from airflow_provider_journey.aggregates.query import AggregateQuery
from tests.emulator.extracting import NIGHT, AirflowFailException, TaskInstance, keys, report, run

ASSET = Asset(name="lake", uri="file:///lake")


class Event:
    """An outlet's event as Airflow 3.3 has it."""

    def __init__(self):
        self.extra = {}
        self.partition_keys = []

    def add_partitions(self, keys):
        self.partition_keys += keys


def execute(operator, key=None, event=None):
    event = event or Event()
    context = {
        "ti": TaskInstance(),
        "dag_run": SimpleNamespace(run_after=NIGHT, partition_key=key),
        "outlet_events": type("Events", (), {"__getitem__": lambda self, asset: event})(),
    }
    run(operator, **context)
    return event


@pytest.mark.parametrize(
    ("key", "period", "start", "end"),
    [
        ("2026-03-08", "P1D", "2026-03-08T00:00:00+01:00", "2026-03-09T00:00:00+01:00"),
        ("2026-03-29", "P1D", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("2026-03-08T23:30:00", "P1D", "2026-03-08T00:00:00+01:00", "2026-03-09T00:00:00+01:00"),
        ("2026-03-08T23:30:00Z", "P1D", "2026-03-09T00:00:00+01:00", "2026-03-10T00:00:00+01:00"),
        ("2026-03-08T0500Z", "PT6H", "2026-03-08T06:00:00+01:00", "2026-03-08T12:00:00+01:00"),
        ("2026-03-09 (W11)", "P1W", "2026-03-09T00:00:00+01:00", "2026-03-16T00:00:00+01:00"),
        ("2026-03", "P1M", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ("2026-03-11", "P1W", "2026-03-09T00:00:00+01:00", "2026-03-16T00:00:00+01:00"),
        # A key that names a longer stretch means all of its partitions.
        ("2026", "P1M", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
        ("2026-03", "P1D", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ("2026-03-09 (W11)", "P1D", "2026-03-09T00:00:00+01:00", "2026-03-16T00:00:00+01:00"),
        ("2026-W13", "P1D", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("2026-03-29", "PT1H", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("2026-10-26T02", "PT15M", "2026-10-26T02:00:00+01:00", "2026-10-26T03:00:00+01:00"),
    ],
)
def test_a_key_means_the_partitions_that_its_stretch_lies_in(key, period, start, end):
    zone = pendulum.timezone("Europe/Berlin")
    calendar = Calendar(Period.of(period, windows.parse_period(period)), zone)
    assert windows.partitions_of(key, calendar).text(zone) == f"{start}/{end}"


def test_a_month_s_key_extracts_and_emits_its_days(to_files, tmp_path):
    event = execute(to_files(partitioned=True, interval=None, lookback=0, outlets=[ASSET]), "2026-02")
    assert event.partition_keys == [f"2026-02-{day:02d}" for day in range(1, 29)]


@pytest.mark.parametrize("key", ["eu", "", "P1D", "eu|2026-03-08", "now"])
def test_a_key_that_is_no_date_is_refused(key):
    with pytest.raises(ValueError, match="partition key"):
        windows.partitions_of(key, Calendar(Period("P1D", days=1), pendulum.UTC))


def test_the_run_s_key_is_the_window_and_the_event_carries_the_keys(to_files, tmp_path):
    event = execute(to_files(partitioned=True, lookback=1, outlets=[ASSET]), "2026-03-08T02:00:00")
    assert keys(tmp_path / "lake") == event.partition_keys == ["2026-03-07", "2026-03-08"]
    assert event.extra["partitions"] == event.partition_keys


def test_keys_that_extracts_emit_mean_the_same_partitions_again(to_files, tmp_path):
    query = AggregateQuery(["nJourneySessions"], time_zone="Europe/Berlin", granularity="PT1H")
    options = {"partitioned": True, "period": "PT6H", "outlets": [ASSET]}
    event = execute(to_files(query, interval="2026-03-28T12:00/PT24H", **options))
    # Clocks change on that night, within the first of the six hours that begin at midnight.
    assert len(event.partition_keys) == 5
    for key in event.partition_keys:
        assert execute(to_files(query, **options), key).partition_keys == [key]


def test_an_interval_comes_before_the_key(to_files, tmp_path):
    execute(to_files(partitioned=True, interval="2026-03-05/P1D"), "2026-03-08")
    assert keys(tmp_path / "lake") == ["2026-03-05"]


def test_rows_for_xcom_are_those_of_the_key(to_xcom):
    keyed = SimpleNamespace(run_after=NIGHT, partition_key="2026-03-08")
    context = run(to_xcom(partitioned=True), dag_run=keyed)
    assert report(context)["window"] == "2026-03-08T00:00:00Z/2026-03-09T00:00:00Z"


def test_without_being_asked_neither_is_done(to_files, tmp_path):
    event = execute(to_files(outlets=[ASSET]), "2026-03-08")
    assert keys(tmp_path / "lake") == ["2026-03-10"]
    assert event.partition_keys == []


def test_a_run_without_a_key_means_what_others_mean(to_files, tmp_path):
    assert execute(to_files(partitioned=True, outlets=[ASSET])).partition_keys == ["2026-03-10"]


def test_an_airflow_without_keys_gets_its_event_without_them(to_files):
    event = execute(to_files(partitioned=True, outlets=[ASSET]), event=SimpleNamespace(extra={}))
    assert event.extra["partitions"] == ["2026-03-10"]


def test_a_run_whose_key_is_no_date_fails_for_good(to_files):
    with pytest.raises(
        AirflowFailException, match="'eu' is not a date or time. Give the operator an interval"
    ):
        execute(to_files(partitioned=True), "eu")
