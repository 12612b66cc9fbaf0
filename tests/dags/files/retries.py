"""Tasks whose retries the policy decides: left alone, each would be tried again after an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_journey.hooks.journey import JourneyHook
from airflow_provider_journey.operators.action_targets import JourneyActionTargetListOperator
from airflow_provider_journey.retries import journey_retries

# Its client sends nothing again: what goes wrong is Airflow's.
CONN_ID = "journey_once"

with DAG(
    "retrying",
    schedule=None,
    is_paused_upon_creation=False,
    default_args=journey_retries(2, retry_delay=timedelta(hours=1)),
):
    JourneyActionTargetListOperator(task_id="listed", journey_conn_id=CONN_ID)

    @task
    def gone() -> dict[str, Any]:
        """Ask by the hook for what there is not."""
        with JourneyHook(CONN_ID) as hook:
            return hook.get_action_target("00000000-0000-0000-0000-000000000000")

    gone()
