"""Wait until a contact is in one segment, then put it into another.

Started by hand or by another system, with a contact as its parameter. The first task asks until the contact
is in the segment `JOURNEY_SEGMENT_FROM`, into which Genesys Cloud's own rules assign visitors; the second
assigns the segment `JOURNEY_SEGMENT_TO`. It needs an Airflow connection `journey_default` of the type
*Genesys Cloud Journey*.

The wait takes a worker's place only for the moment of asking (`mode="reschedule"`), and needs no triggerer.
Where there is one, `deferrable=True` is lighter still: hundreds of waits share one process and one token.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from airflow_provider_journey.operators.segments import JourneySegmentAssignmentOperator
from airflow_provider_journey.retries import journey_retries
from airflow_provider_journey.sensors.segments import JourneySegmentAssignmentSensor

SEGMENT_FROM = os.environ.get("JOURNEY_SEGMENT_FROM", "c1ed859a-da81-4e69-a405-9350156f7fe6")
SEGMENT_TO = os.environ.get("JOURNEY_SEGMENT_TO", "c1ed859a-da81-4e69-a405-9350156f7fe6")
INTERVAL = timedelta(seconds=float(os.environ.get("JOURNEY_POLL_SECONDS", "300")))
CONTACT = "{{ params.external_contact_id }}"

with DAG(
    dag_id="journey_wait_for_segment",
    description="Wait until a contact is in one segment, then put it into another",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    params={"external_contact_id": Param(type="string", minLength=1, title="External contact")},
    default_args=journey_retries(2, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:
    assigned = JourneySegmentAssignmentSensor(
        task_id="wait",
        external_contact_id=CONTACT,
        segment_ids=[SEGMENT_FROM],
        state="Assigned",
        mode="reschedule",
        poke_interval=INTERVAL,
        timeout=timedelta(days=1),
    )
    assign = JourneySegmentAssignmentOperator(
        task_id="assign",
        external_contact_id=CONTACT,
        assign=[SEGMENT_TO],
    )
    assigned >> assign
