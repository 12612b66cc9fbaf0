"""Segment syncs that do not end as planned, each with a task behind it; each has a segment of its own."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_journey.segments.audience import SqlAudience
from airflow_provider_journey.task_groups.segment_sync import journey_segment_sync

SEGMENTS = os.environ["JOURNEY_TEST_SEGMENTS"].split(",")


def syncing_dag(dag_id: str, segment_id: str, rows: int = 0, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None, is_paused_upon_creation=False) as dag:

        @task
        def after() -> None:
            """Follow the group."""

        @task
        def row(number: int) -> dict[str, str]:
            """Name one contact."""
            return {"External_Contact_ID": f"contact-{number}"}

        sql = f"SELECT external_contact_id, segment_id FROM members WHERE segment_id = '{segment_id}'"
        ledger = f"{os.environ['JOURNEY_LAKE']}/ledgers/{dag_id}"
        audience = row.expand(number=list(range(rows))) if rows else SqlAudience("warehouse", sql)
        group = journey_segment_sync("sync", audience, [segment_id], "mirror", ledger, **options)
        group >> after()
    return dag


rejected = syncing_dag("sync_rejected", SEGMENTS[0], approval={})
dry = syncing_dag("sync_dry", SEGMENTS[1], rows=5, approval={}, dry_run=True)
half = syncing_dag("sync_half", SEGMENTS[2], journey_conn_ids=["journey_broken", "journey_default"])
empty = syncing_dag("sync_empty", SEGMENTS[3])
changed = syncing_dag("sync_changed", SEGMENTS[4], approval={})
refused = syncing_dag("sync_refused", SEGMENTS[5])
marked = syncing_dag("sync_marked", SEGMENTS[6], approval={})
