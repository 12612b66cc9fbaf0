"""Service levels of action targets that follow the business hours.

An action target is where Genesys Cloud sends a visitor who accepts an offer: a queue, for example. Within
business hours enough agents are there to answer 80 % within 20 seconds; at other times 50 % within two
minutes is what can be kept. Every half hour this DAG gives the active targets the level that holds now: all
of them, or those whose ids are in `JOURNEY_ACTION_TARGETS`. A target which has it already is read and left
alone, so most runs change nothing.

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, of an organisation that
still lets action targets be changed (`segments_api: journey`). Business hours are counted on the clocks of
the environment variable `JOURNEY_TIME_ZONE`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_journey.operators.action_targets import (
    JourneyActionTargetListOperator,
    JourneyActionTargetUpdateOperator,
)
from airflow_provider_journey.retries import journey_retries

TIME_ZONE = os.environ.get("JOURNEY_TIME_ZONE", "Europe/Berlin")
TARGETS = {name for name in os.environ.get("JOURNEY_ACTION_TARGETS", "").split(",") if name}
OPENS, CLOSES = 8, 18  # o'clock, Monday to Friday
IN_HOURS = {"percentage": 0.8, "durationMs": 20_000}
OUT_OF_HOURS = {"percentage": 0.5, "durationMs": 120_000}


def service_level(at: pendulum.DateTime) -> dict[str, Any]:
    """Return the service level that holds at a moment."""
    local = at.in_timezone(TIME_ZONE)
    is_open = local.isoweekday() <= 5 and OPENS <= local.hour < CLOSES
    return IN_HOURS if is_open else OUT_OF_HOURS


with DAG(
    dag_id="journey_action_targets",
    description="Service levels of action targets, by business hours",
    doc_md=__doc__,
    schedule="*/30 * * * *",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    # What counts is the level that holds now: runs that were missed are not made up for.
    catchup=False,
    max_active_runs=1,
    # From Airflow 3.3 on, a try that could only come to the same is not made, and another comes when the
    # service said that it may; before, these are two more tries, two minutes apart.
    default_args=journey_retries(2, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:

    @task
    def changes(targets: Any) -> list[dict[str, Any]]:
        """Say what each target is to have."""
        level = service_level(pendulum.now("UTC"))
        ids = [target["id"] for target in targets if not TARGETS or target["id"] in TARGETS]
        return [{"action_target_id": name, "service_level": level} for name in ids]

    active = JourneyActionTargetListOperator(task_id="list", state="active")
    JourneyActionTargetUpdateOperator.partial(task_id="update").expand_kwargs(changes(active.output))
