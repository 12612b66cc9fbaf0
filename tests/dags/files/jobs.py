"""Extracts by jobs that are interrupted: by a person, a failing service, a worker or triggerer that ends."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import DAG, get_current_context

from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator

# Says which try was killed.
KILLED = Path(urlsplit(os.environ["JOURNEY_LAKE"]).path).with_name("killed")
QUERY = {"metrics": ["nJourneySessions"], "granularity": "PT1H", "timeZone": "UTC"}


class KilledBeforeItDefers(JourneyAggregatesToObjectStorageOperator):
    """An extract whose worker ends when it has submitted, before anybody knows that it defers; once."""

    def defer(self, **kwargs: Any) -> None:
        with suppress(FileExistsError):
            with KILLED.open("x") as note:
                note.write(str(get_current_context()["ti"].try_number))
            os.kill(os.getpid(), signal.SIGKILL)
        super().defer(**kwargs)


def job_dag(dag_id: str, kind: type = JourneyAggregatesToObjectStorageOperator, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, is_paused_upon_creation=False) as dag:
        kind(
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
# The kill is one failed try; a busy machine may take others, before it or after it.
killed_early = job_dag("job_killed_early", KilledBeforeItDefers, deferrable=True, retries=4)
