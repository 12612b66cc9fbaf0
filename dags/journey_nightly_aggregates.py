"""Last night's journey aggregates, as Parquet files in the lake.

Every night this DAG asks Genesys Cloud which web actions yesterday's visitors were offered, which of them
they took up and which not. It writes one file for each day:

    <lake>/journey_aggregates/dt=2026-11-22/part-0.parquet

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, and a lake, named by the
environment variable `JOURNEY_LAKE`: whatever Airflow's `ObjectStoragePath` can write to, for example
`s3://my_connection@my-bucket/lake`.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
FILES = f"{LAKE.rstrip('/')}/journey_aggregates"

# What to ask. To have another number in the files, add its metric here: nothing else has to change.
QUERY = AggregateQuery(
    metrics=[
        "nWebActionsQualified",
        "nWebActionsOffered",
        "nWebActionsAccepted",
        "nWebActionsRejected",
        "nWebActionsEngaged",
    ],
    group_by=["journeyActionMapId", "journeyActionMediaType"],
    granularity="PT1H",
    time_zone="UTC",  # a day is a day of this zone; with "Europe/Berlin" one may have 23 or 25 hours
)

with DAG(
    dag_id="journey_nightly_aggregates",
    description="Last night's journey aggregates, as Parquet files in the lake",
    doc_md=__doc__,
    # Two hours after midnight, when the day before is over. `airflow backfill create` runs nights again, and
    # replaces their files.
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    # Switched on, it begins with last night. True: it begins with start_date and catches up, night by night.
    catchup=False,
    # Each night writes the three days before it as well, so two nights at once could overtake each other.
    max_active_runs=1,
    default_args={
        # Waits for the rate limit happen inside a try. Retries are for outages, so they take their time.
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
    },
    tags=["genesys-cloud", "journey"],
) as dag:
    JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query=QUERY,
        path=FILES,
        # Genesys Cloud corrects its numbers for some days: the three days before are fetched anew as well.
        lookback=3,
        # DAGs that are scheduled on this asset start when the files are there.
        outlets=[Asset(name="journey_aggregates", uri=FILES)],
    )
