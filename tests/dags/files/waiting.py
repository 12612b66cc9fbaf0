"""Waits and watches over segments, each for a contact of its own, named by the environment."""

from __future__ import annotations

import os

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_journey.sensors.segments import JourneySegmentAssignmentSensor
from airflow_provider_journey.triggers.changes import JourneySegmentChangeTrigger

SEGMENT = os.environ["JOURNEY_SEGMENT_FROM"]
LOOK_S = float(os.environ["JOURNEY_POLL_SECONDS"])
WATCHED = os.environ["JOURNEY_TEST_WATCHED"]

with DAG("wait_deferred", schedule=None, is_paused_upon_creation=False):
    JourneySegmentAssignmentSensor(
        task_id="wait",
        external_contact_id="{{ dag_run.conf.contact }}",
        segment_ids=SEGMENT,
        poke_interval=LOOK_S,
        timeout=600,
        deferrable=True,
    )

CHANGED = Asset(
    name="watched_contact",
    watchers=[
        AssetWatcher(
            name="segments",
            trigger=JourneySegmentChangeTrigger(external_contact_id=WATCHED, interval=LOOK_S),
        )
    ],
)

with DAG("watching", schedule=[CHANGED], is_paused_upon_creation=False):

    @task
    def tell(triggering_asset_events: object = None) -> list[object]:
        """Return what the events said."""
        events = [event for found in triggering_asset_events.values() for event in found]
        return [event.extra["payload"] for event in events]

    tell()
