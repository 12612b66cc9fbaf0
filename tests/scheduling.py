"""A running Airflow beside an emulator and a lake: what tests under a real scheduler stand on."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_journey.emulator.emulator import connection_uri
from airflow_provider_journey.emulator.identity import make_id
from airflow_provider_journey.emulator.local import LocalEmulator
from airflow_provider_journey.emulator.options import ClientSpec, Options
from demo.airflow_home import COMPONENTS, AirflowHome
from demo.processes import ROOT, wait_until

RUN_S = 120.0
# A second OAuth client of the same organisation, and one whose secret is wrong.
SECOND = ClientSpec("second-client", "second-secret")
BROKEN = ClientSpec("second-client", "another-secret")
# Of seed 1, so that DAG files and tests mean the same segments; visitors got into the others by themselves.
SEGMENTS = [make_id(1, "segment", number) for number in range(10)]
HABITS = [make_id(1, "habit", number) for number in range(8)]
TARGETS = [make_id(1, "actiontarget", number) for number in range(3)]
# A contact whom no sync is about.
WATCHED = make_id(1, "contact", 399)
# How often sensors and watchers look, in seconds.
LOOK_S = 2.0
# A triggerer that is gone is missed within seconds.
TRIGGERER = {"job_heartbeat_sec": "1", "triggerer_health_check_threshold": "5"}


class Scheduler:
    """A running Airflow, and the lake it writes to."""

    def __init__(self, airflow: AirflowHome, lake: Path, today: datetime.date) -> None:
        self.airflow, self.lake, self.today = airflow, lake, today

    def day(self, days_ago: int) -> str:
        return (self.today - datetime.timedelta(days=days_ago)).isoformat()

    def window(self, first_days_ago: int, end_days_ago: int) -> str:
        return f"{self.day(first_days_ago)}T00:00:00Z/{self.day(end_days_ago)}T00:00:00Z"

    def unpause(self, dag_id: str) -> None:
        self.airflow.wait_for_dag(dag_id)
        self.airflow.request("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def ended_runs(self, dag_id: str, count: int, **query: Any) -> list[dict[str, Any]]:
        """Wait until a DAG has at least this many runs, and all are successful; the oldest first."""
        self.airflow.wait_for_dag(dag_id)

        def ended() -> list[dict[str, Any]] | None:
            runs = self.airflow.get(f"/dags/{dag_id}/dagRuns", order_by="run_after", **query)["dag_runs"]
            for run in runs:
                self.airflow.check_run(run)
            return runs if len(runs) >= count and {run["state"] for run in runs} == {"success"} else None

        return wait_until(ended, f"{count} successful runs of {dag_id}", RUN_S)

    def extracted(self, run: dict[str, Any]) -> str:
        """The window that the run says it has extracted."""
        return self.airflow.xcom(run, "journey_run")["window"]

    def partitions(self, name: str) -> dict[str, dict[str, Any]]:
        """The manifests below a folder of the lake, by day: a day without one is being written."""
        return {
            manifest.parent.name.removeprefix("dt="): json.loads(manifest.read_text())
            for manifest in sorted((self.lake / name).glob("dt=*/_manifest.json"))
        }


class Platform(Scheduler):
    """A running Airflow, the emulator it talks to, and the lake it writes to, with a warehouse beside it."""

    def __init__(
        self, airflow: AirflowHome, emulator: LocalEmulator, lake: Path, today: datetime.date
    ) -> None:
        super().__init__(airflow, lake, today)
        self.emulator = emulator
        self.warehouse = lake.with_name("warehouse.db")
        self.people = lake.with_name("people.csv")


@contextlib.contextmanager
def running_platform(
    folder: Path,
    *dag_files: Path,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Platform]:
    """Run the example DAGs, and further DAG files, in an Airflow below ``folder`` until the block ends."""
    dags = folder / "dags"
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for file in dag_files:
        shutil.copy(file, dags)
    lake = folder / "lake"
    today = datetime.datetime.now(datetime.timezone.utc).date()
    options = Options(port=0, contacts=400, events=9000, rate_limit=100_000, clients=(SECOND,))
    with LocalEmulator(options) as emulator:
        variables = {
            "AIRFLOW_CONN_JOURNEY_DEFAULT": emulator.connection_uri,
            "AIRFLOW_CONN_JOURNEY_TODAY": f"{emulator.connection_uri}?segments_api=externalcontacts",
            "AIRFLOW_CONN_JOURNEY_ONCE": f"{emulator.connection_uri}?max_retries=0",
            "AIRFLOW_CONN_JOURNEY_SECOND": connection_uri(emulator.base_url, SECOND),
            "AIRFLOW_CONN_JOURNEY_BROKEN": connection_uri(emulator.base_url, BROKEN),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(
                {"conn_type": "sqlite", "host": str(folder / "warehouse.db")}
            ),
            "JOURNEY_SEGMENTS": ",".join(SEGMENTS[:2]),
            "JOURNEY_SEGMENTS_APPROVED": SEGMENTS[2],
            "JOURNEY_TEST_SEGMENTS": ",".join(SEGMENTS[3:]),
            "JOURNEY_SEGMENT_FROM": HABITS[0],
            "JOURNEY_SEGMENT_TO": HABITS[1],
            "JOURNEY_POLL_SECONDS": str(LOOK_S),
            "JOURNEY_ACTION_TARGETS": ",".join(TARGETS),
            "JOURNEY_TEST_WATCHED": WATCHED,
            "JOURNEY_LAKE": lake.as_uri(),
            "JOURNEY_TEST_TODAY": today.isoformat(),
            "JOURNEY_TEST_PEOPLE": (folder / "people.csv").as_uri(),
            **(environment or {}),
        }
        home = AirflowHome(
            folder / "airflow",
            dags,
            environment=variables,
            settings={"triggerer": TRIGGERER, **(settings or {})},
            # What defers waits there; below 3.3 an approval does.
            components=(*COMPONENTS, "triggerer"),
        )
        with home as airflow:
            yield Platform(airflow, emulator, lake, today)
