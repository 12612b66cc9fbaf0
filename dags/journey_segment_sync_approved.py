"""As journey_segment_sync, but a person sees the plan first, and two OAuth clients share the work.

The group `sync` has four tasks. `plan` compares the warehouse with the ledger. `approval` shows the figures
to a person, in Airflow under *Required Actions*, and waits. `apply` carries out the plan that was approved,
in one task for each connection: an OAuth client has a rate limit of its own, so two are twice as fast.
`commit` records what came of it. Rejected, nothing is sent and `announce` is skipped.

It needs what journey_segment_sync needs, and a second connection, `journey_second`, with another OAuth client
of the same organisation.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.task_groups.segment_sync import journey_segment_sync

LAKE = os.environ.get("JOURNEY_LAKE", "file:///tmp/journey_lake")
# A ledger of its own: two DAGs that mirror the same segments would undo each other's work.
LEDGER = f"{LAKE.rstrip('/')}/segment_ledger_approved"
SEGMENTS = os.environ.get("JOURNEY_SEGMENTS_APPROVED", "d9dfa58f-e706-46d6-ae8b-5e75e8c92caf").split(",")

with DAG(
    dag_id="journey_segment_sync_approved",
    description="Segments of Genesys Cloud, as the warehouse has them and a person approves",
    doc_md=__doc__,
    schedule="0 8 * * MON",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["genesys-cloud", "journey"],
) as dag:
    sync = journey_segment_sync(
        "sync",
        audience=SqlAudience(
            conn_id="warehouse", sql="SELECT external_contact_id, segment_id FROM campaign_members"
        ),
        segment_ids=SEGMENTS,
        mode="mirror",
        ledger=LEDGER,
        journey_conn_ids=["journey_default", "journey_second"],
        # Whoever does not answer by the evening has said no. What else can be said here is described at
        # Airflow's ApprovalOperator: who may answer (assigned_users), who is told (notifiers).
        approval={"response_timeout": timedelta(hours=10), "defaults": "Reject"},
        # A person looks at the figures, so the guard may be wider.
        max_unassign_fraction=0.5,
    )

    @task
    def announce() -> str:
        """Stand for what comes after a sync, such as switching on a campaign."""
        return "The segments are up to date."

    sync >> announce()
