"""What the operators take, what they refuse and when, and what they give back through XCom."""

import copy
import json
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG

from airflow_provider_journey.aggregates.query import AggregateQuery, QueryError
from airflow_provider_journey.hooks.journey import JourneyHook
from airflow_provider_journey.operators.reporting import RunReport
from tests.emulator.extracting import (
    LAST_DAY,
    NIGHT,
    QUERY,
    AirflowFailException,
    TaskInstance,
    asked,
    keys,
    report,
    run,
)


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
        ({"path": "file://relative/folder"}, "path"),
        ({"path": "file:////lake"}, "path"),
        ({"path": "file://"}, "path"),
        ({"path": "s3://"}, "path"),
        ({"path": ""}, "path"),
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
