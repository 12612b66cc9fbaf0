"""Sensors as a worker runs them: looking, giving up, riding out, deferring and resuming."""

import json
from types import SimpleNamespace

import pendulum
import pytest

from airflow_provider_journey.aggregates.errors import QueryError
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.sensors.aggregates import JourneyAggregateSensor
from airflow_provider_journey.sensors.segments import JourneySegmentAssignmentSensor
from airflow_provider_journey.triggers.outcome import DONE, FAILED, GRACE, TIMEOUT, Outcome
from tests.emulator.asking import Asker
from tests.emulator.calling import connect
from tests.emulator.deferring import another_process
from tests.emulator.waiting import (
    QUERY,
    SEGMENTS,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
    WatchedClock,
    again,
    fire,
)

ASKED = AggregateQuery(
    metrics=["nJourneySessions", "oJourneyOutcomeValue"],
    group_by=["journeySessionType"],
    granularity="PT1H",
    time_zone="Europe/Berlin",
)
DAY = f"{pendulum.now('UTC').subtract(days=3).to_date_string()}/P1D"
REFUSED = ["400", "403", "404", "413", "501"]


@pytest.fixture
def conn_id(monkeypatch, journey_emulator):
    return connect(monkeypatch, journey_emulator)


@pytest.fixture
def segment(journey_emulator):
    return journey_emulator.examples["external_contact_id"], journey_emulator.examples["segment_id"]


@pytest.fixture
def in_segment(conn_id, segment):
    def make(**options):
        who = {} if {"session_id", "customer_id"} & options.keys() else {"external_contact_id": segment[0]}
        defaults = {"segment_ids": segment[1], "journey_conn_id": conn_id, **who}
        return JourneySegmentAssignmentSensor(task_id="wait", **defaults | options)

    return make


@pytest.fixture
def total(conn_id):
    def make(**options):
        defaults = {"query": ASKED, "metric": "nJourneySessions", "interval": DAY, "journey_conn_id": conn_id}
        return JourneyAggregateSensor(task_id="wait", **defaults | options)

    return make


def test_default_interval_is_five_minutes(in_segment, total):
    assert in_segment().poke_interval == total().poke_interval == 300


@pytest.mark.parametrize(
    ("state", "match", "held", "met"),
    [
        ("Assigned", "all", [], False),
        ("Assigned", "all", [0], False),
        ("Assigned", "all", [0, 1], True),
        ("Assigned", "any", [1], True),
        ("Assigned", "any", [], False),
        ("Unassigned", "all", [], True),
        ("Unassigned", "all", [0], False),
        ("Unassigned", "any", [0], True),
        ("Unassigned", "any", [0, 1], False),
    ],
)
def test_any_or_all_assigned_or_not(state, match, held, met, in_segment, segment, journey_emulator):
    segments = [entry["id"] for entry in journey_emulator.about()["segments"]]
    mine = {m["segment_id"] for m in journey_emulator.assignments() if m["external_contact_id"] == segment[0]}
    two = [name for name in segments if name not in mine][:2]
    if held:
        Asker(journey_emulator).assign(segment[0], *(two[index] for index in held))
    found = in_segment(segment_ids=two, state=state, match=match).poke({})
    assert found.is_done is met
    assert found.xcom_value == [two[index] for index in held]


def test_total_is_that_of_the_service_whatever_the_query_groups_by(total, journey_emulator):
    expected = Asker(journey_emulator).query(
        total().poke({})
        and journey_emulator.requests(QUERY)[-1]["body"]
        and json.loads(journey_emulator.requests(QUERY)[-1]["body"])["interval"],
        "nJourneySessions",
        "oJourneyOutcomeValue",
    )[0]["data"][0]["metrics"]
    stats = {metric["metric"]: metric["stats"] for metric in expected}
    assert stats["nJourneySessions"]["count"] > 0
    for metric, stat in (
        ("nJourneySessions", "count"),
        ("oJourneyOutcomeValue", "sum"),
        ("oJourneyOutcomeValue", "max"),
    ):
        value = stats[metric][stat]
        assert total(metric=metric, stat=stat, condition=f">= {value}").poke({}).xcom_value == value
        assert not total(metric=metric, stat=stat, condition=f"> {value}").poke({})
    body = json.loads(journey_emulator.requests(QUERY)[-1]["body"])
    assert body == {
        "metrics": ["oJourneyOutcomeValue"],
        "timeZone": "Europe/Berlin",
        "interval": body["interval"],
    }


def test_no_data_is_nothing_and_neither_smallest_nor_largest(total):
    early = {"interval": f"{pendulum.now('UTC').add(days=3).to_date_string()}/P1D"}
    assert total(condition="== 0", **early).poke({})
    assert total(metric="oJourneyOutcomeValue", stat="sum", condition="<= 0", **early).poke({})
    assert not total(metric="oJourneyOutcomeValue", stat="min", condition="< 1e9", **early).poke({})


def test_window_of_the_run_is_the_default(total, journey_emulator):
    run = {"logical_date": pendulum.datetime(2026, 11, 10, 5), "data_interval_start": None}
    total(interval=None).poke(run)
    body = json.loads(journey_emulator.requests(QUERY)[-1]["body"])
    assert body["interval"] == "2026-11-09T00:00:00+01:00/2026-11-10T00:00:00+01:00"


WHOLE_DAY = "2026-11-08T00:00:00+01:00/2026-11-09T00:00:00+01:00"
BY_THE_RUN = "2026-11-09T00:00:00+01:00/2026-11-10T00:00:00+01:00"


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("2026-11-08", {"partitioned": True}, WHOLE_DAY),
        ("2026-11-08T05:00", {"partitioned": True}, WHOLE_DAY),
        ("2026-11-08T0000Z", {"partitioned": True, "period": "PT6H"}, "2026-11-08T00:00:00+01:00/2026-11-08T06:00:00+01:00"),
        ("2026-11", {"partitioned": True}, "2026-11-01T00:00:00+01:00/2026-12-01T00:00:00+01:00"),
        ("2026-11-08", {"partitioned": True, "interval": "2026-11-09/P1D"}, BY_THE_RUN),
        ("2026-11-08", {}, BY_THE_RUN),
        (None, {"partitioned": True}, BY_THE_RUN),
    ],
)  # fmt: skip
@pytest.mark.parametrize("deferrable", [False, True])
def test_run_s_partition_key_is_the_window_where_the_sensor_goes_by_partitions(
    key, options, expected, deferrable, total, journey_emulator
):
    run = {
        "logical_date": pendulum.datetime(2026, 11, 10, 5),
        "dag_run": SimpleNamespace(partition_key=key, run_after=None),
    }
    sensor = total(**{"interval": None, "condition": "< 0", "deferrable": deferrable} | options)
    if deferrable:
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(run)
        assert deferred.value.trigger.body["interval"] == expected
    else:
        assert not sensor.poke(run)
    assert json.loads(journey_emulator.requests(QUERY)[-1]["body"])["interval"] == expected


def test_below_airflow_33_runs_have_no_key_and_mean_what_others_mean(total, journey_emulator):
    run = {"dag_run": SimpleNamespace(run_after=pendulum.datetime(2026, 11, 10, 5))}
    total(interval=None, partitioned=True).poke(run)
    assert json.loads(journey_emulator.requests(QUERY)[-1]["body"])["interval"] == BY_THE_RUN


def test_a_key_that_is_no_date_fails_for_good(total, journey_emulator):
    run = {"dag_run": SimpleNamespace(partition_key="eu")}
    with pytest.raises(
        AirflowFailException, match="'eu' is not a date or time. Give the operator an interval"
    ):
        total(interval=None, partitioned=True).poke(run)
    assert QUERY not in journey_emulator.calls()


@pytest.mark.parametrize(
    "fault",
    [
        "429",
        "500",
        "502-html",
        "503",
        "504-empty",
        "reset-before",
        "cut-json",
        "non-json",
        "empty-body",
        "token-rate-limit",
        "token-html",
        "truncated",
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_can_get_better_is_ridden_out_and_asked_once(
    fault, deferrable, in_segment, total, journey_emulator
):
    for sensor in (in_segment(deferrable=deferrable), total(deferrable=deferrable, condition="< 0")):
        journey_emulator.reset_calls()
        journey_emulator.script({"fault": fault, "times": 1, "retry_after": 1})
        if deferrable:
            with pytest.raises(TaskDeferred):
                sensor.execute({})
        else:
            assert not sensor.poke({})
        asked = sum(sum(statuses.values()) for statuses in journey_emulator.calls().values())
        assert asked <= 2
        journey_emulator.clear_script()


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_cannot_get_better_fails_at_once(fault, deferrable, in_segment, total, journey_emulator):
    for sensor in (in_segment(deferrable=deferrable), total(deferrable=deferrable)):
        journey_emulator.script({"fault": fault, "times": 1})
        with pytest.raises(AirflowFailException, match=fault):
            sensor.execute({})


def test_soft_fail_skips_on_a_worker_and_after_a_deferral(in_segment, journey_emulator):
    journey_emulator.script({"fault": "403", "times": 1})
    with pytest.raises(AirflowSkipException):
        in_segment(soft_fail=True, deferrable=True).execute({})
    for outcome in (Outcome(FAILED, "no"), Outcome(TIMEOUT, "late")):
        with pytest.raises(AirflowSkipException):
            in_segment(soft_fail=True, deferrable=True).resume_execution(
                "execute_complete", {"event": outcome.to_event()}, {}
            )


def test_deferral_carries_no_secret_and_respects_the_timeout(in_segment, total, journey_emulator):
    for sensor in (
        in_segment(deferrable=True, timeout=900),
        total(deferrable=True, timeout=900, condition="< 0"),
    ):
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute({})
        found = deferred.value
        assert found.timeout.total_seconds() == 900 + GRACE
        _, arguments = found.trigger.serialize()
        assert arguments["deadline"] == pytest.approx(pendulum.now().timestamp() + 900, abs=30)
        assert arguments["interval"] == 300
        assert arguments["journey_conn_id"] == sensor.journey_conn_id
        assert journey_emulator.client_secret not in json.dumps(arguments)
        assert found.method_name == "execute_complete"


def test_met_at_the_first_look_is_not_deferred(total, journey_emulator):
    assert total(deferrable=True).execute({}) > 0
    assert journey_emulator.calls()[QUERY] == {"200": 1}


def test_poke_mode_looks_once_per_interval_until_its_time_is_over(in_segment, journey_emulator, monkeypatch):
    slept = []
    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", slept.append)
    monkeypatch.setattr("airflow.sdk.bases.sensor.time.monotonic", lambda: sum(slept))
    with pytest.raises(AirflowSensorTimeout):
        in_segment(segment_ids=["nothing"], timeout=1000).execute({})
    assert slept == [300.0] * 4
    assert journey_emulator.calls()[SEGMENTS] == {"200": 5}


@pytest.mark.parametrize("fault", ["429", "503"])
def test_what_the_service_asks_for_counts_for_the_triggerer_too(fault, total, journey_emulator):
    journey_emulator.script({"fault": fault, "operation": QUERY, "retry_after": 900})
    with pytest.raises(TaskDeferred) as deferred:
        total(deferrable=True, timeout=3600).execute({})
    trigger = again(deferred.value.trigger)
    trigger.deadline = 3600.0
    another_process()
    clock = WatchedClock(journey_emulator)
    assert fire(trigger, clock).status == DONE
    assert clock.slept[0] >= 900


@pytest.mark.parametrize("fault", ["429", "503"])
def test_what_the_service_asks_for_counts_for_the_next_worker_too(fault, total, journey_emulator):
    class FirstLook:
        def get_first_reschedule_date(self, context):
            return None

    journey_emulator.script({"fault": fault, "operation": QUERY, "retry_after": 900})
    with pytest.raises(AirflowRescheduleException) as again_later:
        total(mode="reschedule", timeout=3600).execute({"ti": FirstLook()})
    assert (again_later.value.reschedule_date - pendulum.now("UTC")).total_seconds() > 880


def test_poke_mode_waits_as_long_as_the_service_asks(total, journey_emulator, monkeypatch):
    slept = []
    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", slept.append)
    journey_emulator.script({"fault": "503", "operation": QUERY, "retry_after": 900})
    total(condition="> 0").execute({})
    assert slept == [900.0]


def test_resumed_with_what_came_of_it(total):
    def resumed(event):
        return total(deferrable=True, timeout=900).resume_execution("execute_complete", {"event": event}, {})

    assert resumed(Outcome(DONE, "there", 7).to_event()) == 7
    with pytest.raises(AirflowSensorTimeout, match="late. The sensor's timeout is 900 s"):
        resumed(Outcome(TIMEOUT, "late.").to_event())
    with pytest.raises(AirflowFailException, match="403"):
        resumed(Outcome(FAILED, "403").to_event())


@pytest.mark.parametrize(
    "event",
    [
        None,
        "done",
        {},
        {"status": "success"},
        {"status": "done"},
        {"status": "odd", "message": "", "result": 1},
        {"status": "done", "message": None, "result": 1},
        {"status": "done", "message": "", "result": 1, "more": 2},
    ],
)
def test_event_that_is_none_of_ours_is_refused(event, in_segment):
    with pytest.raises(ValueError, match="A deferred wait ended with an event"):
        in_segment(deferrable=True).execute_complete({}, event)


def test_airflows_own_time_out_is_the_sensors(in_segment):
    with pytest.raises(AirflowSensorTimeout):
        in_segment(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, {})


@pytest.mark.parametrize(
    "options",
    [
        {"external_contact_id": None},
        {"session_id": "one", "external_contact_id": "another"},
        {"customer_id": "somebody", "external_contact_id": None},
        {"external_contact_id": " "},
        {"customer_id": "somebody", "customer_id_type": ""},
        {"segment_ids": []},
        {"segment_ids": ["", "x"]},
        {"segment_ids": [7]},
        {"state": "assigned"},
        {"match": "some"},
        {"segment_scope": "Everywhere"},
    ],
)
def test_segments_that_cannot_be_are_refused_when_the_dag_is_parsed(options, in_segment):
    with pytest.raises(InvalidRequestError):
        in_segment(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"condition": "1000"},
        {"condition": "=> 1"},
        {"condition": ">= many"},
        {"condition": None},
        {"metric": None},
        {"metric": "nJourneySession"},
        {"stat": "avg"},
        {"stat": "sum"},
        {"interval": "yesterday"},
        {"period": "P2D"},
        {"query": {"metrics": []}},
    ],
)
def test_totals_that_cannot_be_are_refused_when_the_dag_is_parsed(options, total):
    with pytest.raises(QueryError):
        total(**options)


def test_deferred_sensor_without_an_interval_is_refused(in_segment):
    with pytest.raises(ValueError, match="at most once a second"):
        in_segment(deferrable=True, poke_interval=0)


def test_templates_are_let_through_and_refused_where_they_are_left(in_segment, total, journey_emulator):
    sensors = (
        in_segment(external_contact_id="{{ params.contact }}", segment_ids=["{{ params.segment }}"]),
        total(condition="{{ params.condition }}"),
        total(query={"metrics": ["{{ params.metric }}"]}, metric="{{ params.metric }}"),
    )
    for sensor in sensors:
        with pytest.raises(AirflowFailException, match="template"):
            sensor.poke({})
    assert journey_emulator.calls().keys() <= {"token"}
    template = "{{ params.contact }}"
    rendered = in_segment(external_contact_id=template)
    rendered.render_template_fields({"params": {"contact": "nobody-there"}})
    assert rendered.external_contact_id == "nobody-there"
