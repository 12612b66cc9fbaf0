"""One DAG for each way in which Airflow starts a run, each extracting one day.

``JOURNEY_TEST_TODAY`` is the day on which the tests began, so that they and the DAGs mean the same nights.
"""

from __future__ import annotations

import os
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_journey.operators.aggregates import JourneyAggregatesToObjectStorageOperator

TODAY = pendulum.parse(os.environ["JOURNEY_TEST_TODAY"])
EXTRACTED = Asset(name="extracted_by_hand", uri="journey-test://extracted-by-hand")


def extracting_dag(dag_id: str, *, outlets: tuple[Asset, ...] = (), **kwargs: Any) -> DAG:
    with DAG(dag_id, is_paused_upon_creation=False, **kwargs) as dag:
        JourneyAggregatesToObjectStorageOperator(
            task_id="extract",
            query={"metrics": ["nJourneySessions"], "granularity": "PT1H", "timeZone": "UTC"},
            path=f"{os.environ['JOURNEY_LAKE']}/{dag_id}",
            outlets=outlets,
        )
    return dag


three_nights = {"start_date": TODAY.subtract(days=4), "end_date": TODAY.subtract(days=2), "catchup": True}
cron = extracting_dag("cron", schedule=CronTriggerTimetable("0 0 * * *", timezone="UTC"), **three_nights)
cron_interval = extracting_dag(
    "cron_interval", schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"), **three_nights
)
by_hand = extracting_dag("by_hand", schedule=None, outlets=(EXTRACTED,))
by_asset = extracting_dag("by_asset", schedule=[EXTRACTED])
