"""A DAG that starts when numbers change: days that were corrected are extracted anew, and no others.

Genesys Cloud corrects its numbers for some days. A watcher in the triggerer asks, every five minutes and for
one request, what the last four days look like. When a day differs from the last look, or a new one has ended,
it fires an event that says which, and this DAG extracts those days into the lake:

    <lake>/journey_outcomes/dt=2026-11-22/part-0.parquet

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, a lake, named by the
environment variable `JOURNEY_LAKE`, and a running triggerer. What the watcher has seen is kept in the asset's
state store, so that a triggerer that starts again goes on from there; before Airflow 3.3 there is no such
store, and it begins with a new look.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator
from airflow_provider_journey.retries import journey_retries
from airflow_provider_journey.triggers.changes import JourneyAggregateChangeTrigger

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
INTERVAL = float(os.environ.get("JOURNEY_POLL_SECONDS", "300"))

QUERY = AggregateQuery(metrics=["nJourneyOutcomesAchieved"], group_by=["journeyOutcomeId"])

CHANGES = Asset(
    name="journey_outcome_changes",
    watchers=[
        AssetWatcher(
            name="last_days",
            trigger=JourneyAggregateChangeTrigger(query=QUERY, period="P1D", partitions=4, interval=INTERVAL),
        )
    ],
)
# From the first day that changed to the last, over all events that started this run.
EVENTS = "triggering_asset_events.values() | sum(start=[]) | map(attribute='extra.payload.{}') | {}"
CHANGED = f"{{{{ {EVENTS.format('start', 'min')} }}}}/{{{{ {EVENTS.format('end', 'max')} }}}}"

with DAG(
    dag_id="journey_on_change",
    description="Days whose numbers have changed, extracted anew",
    doc_md=__doc__,
    schedule=[CHANGES],
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=journey_retries(4, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:
    JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query=QUERY,
        path=f"{LAKE.rstrip('/')}/journey_outcomes",
        interval=CHANGED,
    )
