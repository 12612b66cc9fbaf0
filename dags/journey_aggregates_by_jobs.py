"""A month of journey aggregates in one asynchronous job, as Parquet files in the lake.

Genesys Cloud takes a query as a job as well, works on it for as long as it needs, and keeps the results to be
read page by page. That suits large answers: by outcome and country, hour by hour, for a whole month, as here.
Once a month this DAG submits one job for the month that has ended, waits for it in the triggerer, where it
takes no worker's place, and writes one file for each day:

    <lake>/journey_aggregates_by_jobs/dt=2026-11-22/part-0.parquet

A worker that crashes, or a task that is tried again, finds its job instead of submitting another. A job whose
task is cleared or marked as failed while it waits is cancelled (from Airflow 3.3 on).

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

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
FILES = f"{LAKE.rstrip('/')}/journey_aggregates_by_jobs"

# Any day of it will do.
LAST_MONTH = "(dag_run.run_after.replace(day=1) - macros.timedelta(days=1))"

QUERY = AggregateQuery(
    metrics=["nJourneyOutcomesAchieved", "oJourneyOutcomeValue"],
    group_by=["journeyOutcomeId", "journeyIpGeolocationCountry"],
    granularity="PT1H",
    time_zone="UTC",
)

with DAG(
    dag_id="journey_aggregates_by_jobs",
    description="A month of journey aggregates in one asynchronous job, as Parquet files in the lake",
    doc_md=__doc__,
    # On the fifth, when the month's numbers are corrected no more.
    schedule="0 3 5 * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=journey_retries(4, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:
    JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query=QUERY,
        path=FILES,
        # The last whole month before the run. Partitions are days all the same.
        interval=f"{{{{ {LAST_MONTH}.strftime('%Y-%m') }}}}-01/P1M",
        use_jobs=True,
        deferrable=True,
        poll_interval=float(os.environ.get("JOURNEY_POLL_SECONDS", "60")),
        # Jobs that have not ended by then are cancelled.
        job_timeout=timedelta(hours=12).total_seconds(),
        outlets=[Asset(name="journey_aggregates_by_jobs", uri=FILES)],
    )
