"""``airflow backfill create`` on an Airflow whose database is SQLite."""

from __future__ import annotations

import datetime
import time
import urllib.error
from http import HTTPStatus

from demo.airflow_home import AirflowHome
from demo.processes import DemoError

TRIES = 5


def create_backfill(
    airflow: AirflowHome, dag_id: str, start: datetime.datetime, end: datetime.datetime
) -> None:
    """Make the runs of a DAG from ``start`` to ``end``, also those that were done before, one after another.

    SQLite refuses a transaction that has read before it writes while somebody else writes: then it is begun
    again, which the scheduler does for itself and the command line does not.
    """
    for attempt in range(1, TRIES + 1):
        _close_open_backfills(airflow, dag_id)
        try:
            airflow.cli(
                "backfill",
                "create",
                f"--dag-id={dag_id}",
                f"--from-date={start.isoformat(timespec='seconds')}",
                f"--to-date={end.isoformat(timespec='seconds')}",
                "--max-active-runs=1",
                "--reprocess-behavior=completed",
            )
        except DemoError as error:
            if "database is locked" not in str(error) or attempt == TRIES:
                raise
            time.sleep(1)
        else:
            return


def _close_open_backfills(airflow: AirflowHome, dag_id: str) -> None:
    """Close what Airflow takes for a running back-fill: its scheduler marks an end some time after it."""
    for earlier in airflow.get("/backfills", dag_id=dag_id, limit=100)["backfills"]:
        if earlier["completed_at"] is None:
            try:
                airflow.request("PUT", f"/backfills/{earlier['id']}/cancel")
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.CONFLICT:  # The scheduler has marked it meanwhile.
                    raise
