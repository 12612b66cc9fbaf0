"""Two syncs of people who are not known by contacts' ids, from a database and from a file, with an asset behind them."""

from __future__ import annotations

import os

from airflow.sdk import DAG, Asset

from airflow_provider_journey.operators.segments import JourneySegmentSyncOperator
from airflow_provider_journey.segments.audience import FileAudience, SqlAudience
from airflow_provider_journey.task_groups.segment_sync import journey_segment_sync

# Nobody is ever in it but by these.
SEGMENT = os.environ["JOURNEY_TEST_SEGMENTS"].split(",")[3]
LAKE = os.environ["JOURNEY_LAKE"]

with DAG("sync_people", schedule=None, is_paused_upon_creation=False) as dag:
    group = journey_segment_sync(
        "sync",
        SqlAudience("warehouse", "SELECT * FROM people"),
        [SEGMENT],
        "upsert",
        f"{LAKE}/ledgers/people",
        journey_conn_ids=["journey_today"],
        outlets=[Asset("people")],
    )
    group >> JourneySegmentSyncOperator(
        task_id="file",
        audience=FileAudience(os.environ["JOURNEY_TEST_PEOPLE"]),
        segment_ids=[SEGMENT],
        mode="mirror",
        ledger=f"{LAKE}/ledgers/people_file",
        journey_conn_id="journey_today",
        outlets=[Asset("people")],
    )
