"""Yesterday's journey aggregates, as soon as there are any.

Genesys Cloud has a day's numbers some time after midnight. Instead of beginning late enough for the worst
night, this DAG begins at midnight and waits: its first task asks every five minutes whether yesterday had
any sessions. It waits in the triggerer, so that it takes no worker's place, and gives up at noon. Then
yesterday's numbers are written to the lake:

    <lake>/journey_sessions/dt=2026-11-22/part-0.parquet

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, a lake, named by the
environment variable `JOURNEY_LAKE`, and a running triggerer.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator
from airflow_provider_journey.retries import journey_retries
from airflow_provider_journey.sensors.aggregates import JourneyAggregateSensor

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
FILES = f"{LAKE.rstrip('/')}/journey_sessions"
# How often is asked. Every request counts against the organisation's rate limit.
INTERVAL = timedelta(seconds=float(os.environ.get("JOURNEY_POLL_SECONDS", "300")))

QUERY = AggregateQuery(metrics=["nJourneySessions"], group_by=["journeySessionType"], granularity="PT1H")

with DAG(
    dag_id="journey_wait_for_data",
    description="Yesterday's journey aggregates, as soon as there are any",
    doc_md=__doc__,
    schedule="0 0 * * *",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=journey_retries(4, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:
    arrived = JourneyAggregateSensor(
        task_id="wait",
        query=QUERY,
        # Of the query above it is the total that counts, whatever it groups by.
        condition="> 0",
        poke_interval=INTERVAL,
        timeout=timedelta(hours=12),
        deferrable=True,
    )
    extract = JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query=QUERY,
        path=FILES,
        outlets=[Asset(name="journey_sessions", uri=FILES)],
    )
    arrived >> extract
