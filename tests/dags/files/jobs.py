"""Extracts by jobs that are interrupted: by a person, by a failing service, by a triggerer that ends."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator

QUERY = {"metrics": ["nJourneySessions"], "granularity": "PT1H", "timeZone": "UTC"}


def job_dag(dag_id: str, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, is_paused_upon_creation=False) as dag:
        JourneyAggregatesToObjectStorageOperator(
            task_id="extract",
            query=QUERY,
            path=f"{os.environ['JOURNEY_LAKE']}/{dag_id}",
            use_jobs=True,
            poll_interval=1.0,
            retry_delay=timedelta(seconds=1),
            **options,
        )
    return dag


deferred = job_dag("job_deferred", deferrable=True)
retried = job_dag("job_retried", retries=1)
killed = job_dag("job_killed", deferrable=False)
