"""What the tests of extracts share: a run to execute operators in, and what became of it."""

import json
from types import SimpleNamespace

import duckdb
import pendulum

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.failing import fail_exception, skip_exception

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


class OutletEvents(dict):
    """Events by asset, found by its name: assets of Airflow 3.1 cannot be keys."""

    def __getitem__(self, outlet):
        return super().__getitem__(outlet.name)


def run(operator, **run_context):
    """Render and execute ``operator`` in the context of a run; return the context, with its ``result``."""
    outlets = OutletEvents({outlet.name: SimpleNamespace(extra={}) for outlet in operator.outlets})
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


def asked(emulator):
    """Return the bodies of the queries that the emulator answered with 200, in order."""
    return [json.loads(r["body"]) for r in emulator.requests(QUERY_CALL) if str(r["status"]) == "200"]


def keys(lake):
    return sorted(folder.name.removeprefix("dt=") for folder in lake.iterdir())


def total(lake, day="*"):
    return duckdb.sql(f"SELECT sum(count)::BIGINT FROM '{lake}/dt={day}/part-0.parquet'").fetchall()[0][0]


def contents(lake):
    return {str(file.relative_to(lake)): file.read_bytes() for file in lake.rglob("*") if file.is_file()}
