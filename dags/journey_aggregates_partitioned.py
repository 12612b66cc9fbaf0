"""Journey aggregates by partition: each day is a partition of an asset, and what follows runs for each day.

From Airflow 3.3 on, a run can mean a partition instead of a stretch of time. The first DAG runs for each day
that has ended, extracts it into the lake and says so by the key of its asset event, `2026-11-22`:

    <lake>/journey_partitioned/offers/dt=2026-11-22/part-0.parquet

The second one is scheduled on that asset and runs once for each key: a back-fill of the first takes it along,
day by day. It reads its window from the key of its run:

    <lake>/journey_partitioned/outcomes/dt=2026-11-22/part-0.parquet

An event with a key starts only DAGs that are scheduled by partition; DAGs that are scheduled on the asset
itself do not start. That is why operators emit keys only with `partitioned=True`. Below Airflow 3.3 the first
DAG is a nightly extract like others, and there is no second one.

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, and a lake, named by the
environment variable `JOURNEY_LAKE`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow import sdk
from airflow.sdk import DAG, Asset

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator
from airflow_provider_journey.retries import journey_retries

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
FILES = f"{LAKE.rstrip('/')}/journey_partitioned"
OFFERS = Asset(name="journey_offers", uri=f"{FILES}/offers")
# Airflow 3.1 and 3.2 have no partitions of this kind.
HAS_PARTITIONS = hasattr(sdk, "PartitionedAtRuntime")
COMMON: dict[str, Any] = {
    "start_date": pendulum.datetime(2026, 11, 1, tz="UTC"),
    "catchup": False,
    "doc_md": __doc__,
    "default_args": journey_retries(4, retry_delay=timedelta(minutes=2)),
    "tags": ["genesys-cloud", "journey"],
}

with DAG(
    dag_id="journey_aggregates_partitioned",
    description="Each day's web actions, as a partition of an asset",
    # Two hours after midnight for the day before, which is what the run's key says.
    schedule=sdk.CronPartitionTimetable("0 2 * * *", timezone="UTC", run_offset=-1)
    if HAS_PARTITIONS
    else "0 2 * * *",
    **COMMON,
) as dag:
    JourneyAggregatesToObjectStorageOperator(
        task_id="extract",
        query=AggregateQuery(metrics=["nWebActionsOffered"], group_by=["journeyActionMapId"]),
        path=f"{FILES}/offers",
        partitioned=True,
        outlets=[OFFERS],
    )

if HAS_PARTITIONS:
    with DAG(
        dag_id="journey_aggregates_partitioned_outcomes",
        description="The same day's outcomes, whenever a day's web actions are there",
        schedule=sdk.PartitionedAssetTimetable(assets=OFFERS),
        **COMMON,
    ):
        JourneyAggregatesToObjectStorageOperator(
            task_id="extract",
            query=AggregateQuery(metrics=["nJourneyOutcomesAchieved"], group_by=["journeyOutcomeId"]),
            path=f"{FILES}/outcomes",
            partitioned=True,
        )
