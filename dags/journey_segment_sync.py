"""A warehouse says who belongs to which segment; every night this DAG makes Genesys Cloud agree.

The query below names the contacts of each segment. The DAG compares them with its ledger, a folder of files
in which it keeps what Genesys Cloud has confirmed, and sends the difference: who is new is assigned, who has
left is taken away. A night on which two of a hundred contacts change costs two calls, not a hundred.

It needs two Airflow connections: `journey_default` of the type *Genesys Cloud Journey*, and `warehouse`, any
database that Airflow has a hook for. The ledger lives below the environment variable `JOURNEY_LAKE`, and
`JOURNEY_SEGMENTS` lists the ids of the segments; they are in Genesys Cloud under Admin, Segments.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset

from airflow_provider_journey.operators.segments import JourneySegmentSyncOperator
from airflow_provider_journey.segments.audience import SqlAudience

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
LEDGER = f"{LAKE.rstrip('/')}/segment_ledger"
SEGMENTS = os.environ.get("JOURNEY_SEGMENTS", "c1ed859a-da81-4e69-a405-9350156f7fe6").split(",")

# Who is to be in which segment: one row for each contact and segment.
AUDIENCE = SqlAudience(
    conn_id="warehouse",
    sql="SELECT external_contact_id, segment_id FROM segment_members",
)

with DAG(
    dag_id="journey_segment_sync",
    description="Segments of Genesys Cloud, as the warehouse has them",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    # What counts is who belongs to the segments now: nights that were missed are not made up for.
    catchup=False,
    # One ledger, one run at a time.
    max_active_runs=1,
    default_args={
        # A retry goes on behind what is done. Waits for the rate limit happen inside a try.
        "retries": 4,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
    },
    tags=["genesys-cloud", "journey"],
) as dag:
    JourneySegmentSyncOperator(
        task_id="sync",
        audience=AUDIENCE,
        segment_ids=SEGMENTS,
        # Exactly the audience. "upsert" would take nobody away; with "changes" each row says what to do.
        mode="mirror",
        ledger=LEDGER,
        # Genesys Cloud ends an assignment after the days that the segment says: send it again before that.
        renew_after=timedelta(days=20),
        # When a query breaks, its audience shrinks: the task fails before it takes more than a fifth away.
        max_unassign_fraction=0.2,
        # Refusals are recorded and tried again another night. The task fails if there are more than these.
        max_reject_fraction=0.01,
        # What is not done by the morning is left for the next night.
        max_duration=timedelta(hours=3),
        outlets=[Asset(name="journey_segments", uri=LEDGER)],
    )
